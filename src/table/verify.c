/* SPDX-License-Identifier: Apache-2.0 */

/*
 * verify - a walk over everything that a block refers to.  Two rules keep it safe and short: an
 * array is looked into only after array_ok() has found it within the block, and each array's bytes
 * are paid from a budget that is a small multiple of the block's size, so that bytes that refer to
 * one array a million times cost no more than an honest block.
 */

#include "table/verify.h"

#define BUDGET_FACTOR    16u            /* how often the whole block may be walked over */
/* cn_path_level_t of http/normalize.h, which this room does not see */
#define PATH_LEVEL_MAX   3u
#define RETRY_BITS       0x1fffu        /* all of cn_retry_on_t */
#define ENDPOINT_BITS    7u             /* all of cn_endpoint_flags_t */

typedef struct {
    const cn_block_t  *block;
    size_t             budget;          /* bytes of array items that may still be walked over */
    cn_status_t        status;          /* of the failure */
    const char        *what;
} walk_t;

static cn_status_t  (*module_verify)(uint16_t module, const cn_block_t *block, uint32_t config);
static uint64_t       modules_hash;


static bool
wrong(walk_t *walk, const char *what)
{
    walk->status = CN_ERR_SYNTAX;
    walk->what = what;

    return false;
}


static bool
array_ok(walk_t *walk, cn_rel_array_t ref, size_t size, size_t align)
{
    if (!cn_block_range(walk->block, ref, size, align)) {
        return wrong(walk, "an array is out of bounds");
    }

    if (ref.count * size > walk->budget) {
        return wrong(walk, "arrays overlap too often");
    }

    walk->budget -= ref.count * size;

    return true;
}


/* Sets items once they are found in bounds; NULL when there are none. */
#define ITEMS(walk, ref, type, items)                              \
    (array_ok((walk), (ref), sizeof(type), _Alignof(type))         \
     && ((items) = CN_BLOCK_ITEMS((walk)->block, (ref), type), true))


static bool
string_ok(walk_t *walk, cn_rel_bytes_t ref)
{
    return cn_block_bytes_ok(walk->block, ref) || wrong(walk, "a string is out of bounds");
}


static bool
strings_ok(walk_t *walk, const cn_rel_bytes_t *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!string_ok(walk, refs[i])) {
            return false;
        }
    }

    return true;
}


static bool
name_ok(walk_t *walk, cn_rel_bytes_t ref, const char *empty)
{
    return string_ok(walk, ref) && (ref.len > 0 || wrong(walk, empty));
}


static bool
flag_ok(walk_t *walk, uint8_t flag)
{
    return flag <= 1 || wrong(walk, "a flag is neither 0 nor 1");
}


static bool
origin_ok(walk_t *walk, const cn_table_origin_t *origin)
{
    return string_ok(walk, origin->file) && string_ok(walk, origin->resource);
}


static bool
addresses_ok(walk_t *walk, cn_rel_array_t ref)
{
    return array_ok(walk, ref, sizeof(cn_table_ip_t), _Alignof(cn_table_ip_t));
}


static bool
string_match_ok(walk_t *walk, const cn_table_string_match_t *match)
{
    if (match->kind < CN_STRING_EXACT || match->kind > CN_STRING_ANY) {
        return wrong(walk, "an unknown kind of string match");
    }

    return flag_ok(walk, match->ignore_case) && string_ok(walk, match->value);
}


static bool
header_matches_ok(walk_t *walk, cn_rel_array_t ref)
{
    const cn_table_header_match_t  *items;

    if (!ITEMS(walk, ref, cn_table_header_match_t, items)) {
        return false;
    }

    for (uint32_t i = 0; i < ref.count; i++) {
        if (!name_ok(walk, items[i].name, "a header match without a name")
            || !flag_ok(walk, items[i].present_only) || !flag_ok(walk, items[i].invert)
            || !flag_ok(walk, items[i].missing_as_empty))
        {
            return false;
        }

        /* the value of one that asks for presence only is never read */
        if (!items[i].present_only && !string_match_ok(walk, &items[i].value)) {
            return false;
        }
    }

    return true;
}


static bool
header_ops_ok(walk_t *walk, cn_rel_array_t ref)
{
    const cn_table_header_op_t  *items;

    if (!ITEMS(walk, ref, cn_table_header_op_t, items)) {
        return false;
    }

    for (uint32_t i = 0; i < ref.count; i++) {
        if (items[i].op < CN_HEADER_OP_SET || items[i].op > CN_HEADER_OP_REMOVE) {
            return wrong(walk, "an unknown header operation");
        }

        if (!flag_ok(walk, items[i].on_response) || !flag_ok(walk, items[i].format)
            || !string_ok(walk, items[i].value)
            || !name_ok(walk, items[i].name, "a header operation without a name"))
        {
            return false;
        }
    }

    return true;
}


static bool
filter_ok(walk_t *walk, const cn_table_filter_t *filter)
{
    cn_status_t  status;

    if (!string_ok(walk, filter->name)) {
        return false;
    }

    if (filter->config != 0
        && (filter->config < sizeof(cn_block_t) || filter->config >= walk->block->size))
    {
        return wrong(walk, "a filter's configuration is out of bounds");
    }

    if (module_verify == NULL) {
        return wrong(walk, "a filter, and nobody to verify it");
    }

    status = module_verify(filter->module, walk->block, filter->config);

    if (status != CN_OK) {
        walk->status = status;
        walk->what = "a module refuses its configuration";
        return false;
    }

    return true;
}


static bool
filters_ok(walk_t *walk, cn_rel_array_t ref)
{
    const cn_table_filter_t  *items;

    if (!ITEMS(walk, ref, cn_table_filter_t, items)) {
        return false;
    }

    for (uint32_t i = 0; i < ref.count; i++) {
        if (!filter_ok(walk, &items[i])) {
            return false;
        }
    }

    return true;
}


static bool
destinations_ok(walk_t *walk, const cn_table_route_t *route)
{
    const cn_table_destination_t  *items;
    uint64_t                       sum = 0;

    if (!ITEMS(walk, route->destinations, cn_table_destination_t, items)) {
        return false;
    }

    for (uint32_t i = 0; i < route->destinations.count; i++) {
        if (!string_ok(walk, items[i].cluster_name) || !string_ok(walk, items[i].host_rewrite)
            || !header_ops_ok(walk, items[i].header_ops) || !filters_ok(walk, items[i].filters))
        {
            return false;
        }

        sum += items[i].weight;
    }

    if (route->destinations.count > 1 && sum != route->total_weight) {
        return wrong(walk, "a route's weights do not add up");
    }

    return true;
}


static bool
status_code_ok(walk_t *walk, uint32_t code)
{
    return (code >= 100 && code <= 599) || wrong(walk, "a status code is not 100..599");
}


static bool
retry_ok(walk_t *walk, const cn_table_retry_t *retry)
{
    const uint32_t  *statuses;

    if ((retry->on & ~RETRY_BITS) != 0) {
        return wrong(walk, "an unknown retry condition");
    }

    if (!ITEMS(walk, retry->statuses, uint32_t, statuses)) {
        return false;
    }

    for (uint32_t i = 0; i < retry->statuses.count; i++) {
        if (!status_code_ok(walk, statuses[i])) {
            return false;
        }
    }

    return true;
}


static bool
action_ok(walk_t *walk, const cn_table_route_t *route)
{
    if (route->action < CN_ACTION_FORWARD || route->action > CN_ACTION_REDIRECT) {
        return wrong(walk, "an unknown route action");
    }

    if (route->action != CN_ACTION_FORWARD) {
        return status_code_ok(walk, route->direct_status);
    }

    return route->no_cluster_status == 0 || status_code_ok(walk, route->no_cluster_status);
}


static bool
route_ok(walk_t *walk, const cn_table_route_t *route)
{
    const cn_rel_bytes_t  strings[] = {
        route->name, route->path, route->direct_body, route->decorator, route->host_rewrite,
        route->rewrite.pattern, route->rewrite.value, route->redirect.scheme,
        route->redirect.host,
    };

    if (route->path_kind < CN_PATH_MATCH_ANY || route->path_kind > CN_PATH_MATCH_REGEX) {
        return wrong(walk, "an unknown kind of path match");
    }

    if (route->rewrite.kind > CN_REWRITE_PATH) {
        return wrong(walk, "an unknown kind of path rewrite");
    }

    return flag_ok(walk, route->path_ignore_case)
           && action_ok(walk, route)
           && strings_ok(walk, strings, CN_COUNT_OF(strings))
           && header_matches_ok(walk, route->headers)
           && header_matches_ok(walk, route->query)
           && destinations_ok(walk, route)
           && retry_ok(walk, &route->retry)
           && header_ops_ok(walk, route->header_ops)
           && filters_ok(walk, route->filters)
           && origin_ok(walk, &route->origin);
}


static bool
path_keys_ok(walk_t *walk, cn_rel_array_t ref, uint32_t route_count)
{
    const cn_table_path_key_t  *keys;

    if (!ITEMS(walk, ref, cn_table_path_key_t, keys)) {
        return false;
    }

    for (uint32_t i = 0; i < ref.count; i++) {
        if (keys[i].route >= route_count) {
            return wrong(walk, "a path key names no route");
        }

        if (i > 0 && (keys[i].hash < keys[i - 1].hash
                      || (keys[i].hash == keys[i - 1].hash && keys[i].route < keys[i - 1].route)))
        {
            return wrong(walk, "path keys are out of order");
        }
    }

    return true;
}


static bool
index_ok(walk_t *walk, const cn_table_route_index_t *index, uint32_t route_count)
{
    const uint32_t  *lengths;
    const uint32_t  *scan;

    if (!path_keys_ok(walk, index->exact, route_count)
        || !path_keys_ok(walk, index->prefix, route_count)
        || !ITEMS(walk, index->prefix_lengths, uint32_t, lengths)
        || !ITEMS(walk, index->scan, uint32_t, scan))
    {
        return false;
    }

    for (uint32_t i = 1; i < index->prefix_lengths.count; i++) {
        if (lengths[i] >= lengths[i - 1]) {
            return wrong(walk, "prefix lengths are out of order");
        }
    }

    for (uint32_t i = 0; i < index->scan.count; i++) {
        if (scan[i] >= route_count || (i > 0 && scan[i] <= scan[i - 1])) {
            return wrong(walk, "positions to scan are out of order or name no route");
        }
    }

    return true;
}


static bool
routes_ok(walk_t *walk, cn_rel_array_t ref)
{
    const cn_table_route_t  *routes;

    if (!ITEMS(walk, ref, cn_table_route_t, routes)) {
        return false;
    }

    for (uint32_t i = 0; i < ref.count; i++) {
        if (!route_ok(walk, &routes[i])) {
            return false;
        }
    }

    return true;
}


static bool
chain_ok(walk_t *walk, const cn_table_chain_t *chain)
{
    if (chain->protocol < CN_PROTOCOL_HTTP || chain->protocol > CN_PROTOCOL_AUTO) {
        return wrong(walk, "an unknown protocol");
    }

    if (chain->path_level > PATH_LEVEL_MAX) {
        return wrong(walk, "an unknown level of path normalisation");
    }

    return flag_ok(walk, chain->http2_upstream)
           && flag_ok(walk, chain->http_10)
           && flag_ok(walk, chain->refused)
           && string_ok(walk, chain->name)
           && filters_ok(walk, chain->filters)
           && routes_ok(walk, chain->routes)
           && index_ok(walk, &chain->index, chain->routes.count);
}


static bool
service_ok(walk_t *walk, const void *root)
{
    const cn_table_service_t  *service = root;
    const cn_table_chain_t    *chains;

    if (!name_ok(walk, service->host, "a service without a host")
        || !string_ok(walk, service->name) || !string_ok(walk, service->name_space)
        || !addresses_ok(walk, service->addresses) || !origin_ok(walk, &service->origin)
        || !ITEMS(walk, service->chains, cn_table_chain_t, chains))
    {
        return false;
    }

    for (uint32_t i = 0; i < service->chains.count; i++) {
        if (i > 0 && chains[i].port <= chains[i - 1].port) {
            return wrong(walk, "chains are not in ascending order of ports");
        }

        if (!chain_ok(walk, &chains[i])) {
            return false;
        }
    }

    return true;
}


static bool
cluster_ok(walk_t *walk, const void *root)
{
    const cn_table_cluster_t  *cluster = root;
    const cn_rel_bytes_t       strings[] = {
        cluster->name, cluster->service_host, cluster->service_name, cluster->service_namespace,
    };

    if (cluster->lb < CN_LB_LEAST_REQUEST || cluster->lb > CN_LB_RANDOM) {
        return wrong(walk, "an unknown load balancing policy");
    }

    return flag_ok(walk, cluster->http2)
           && flag_ok(walk, cluster->client_protocol)
           && strings_ok(walk, strings, CN_COUNT_OF(strings))
           && origin_ok(walk, &cluster->origin);
}


static bool
endpoint_ok(walk_t *walk, const cn_table_endpoint_t *endpoint)
{
    if ((endpoint->flags & ~ENDPOINT_BITS) != 0) {
        return wrong(walk, "an unknown endpoint flag");
    }

    if (endpoint->weight == 0) {
        return wrong(walk, "an endpoint has no weight");
    }

    return string_ok(walk, endpoint->principal) && string_ok(walk, endpoint->uid);
}


static bool
endpoints_ok(walk_t *walk, const void *root)
{
    const cn_table_endpoints_t  *set = root;
    const cn_table_endpoint_t   *items;
    uint64_t                     sum = 0, unit = 0;

    if (!ITEMS(walk, set->endpoints, cn_table_endpoint_t, items)) {
        return false;
    }

    for (uint32_t i = 0; i < set->endpoints.count; i++) {
        if (!endpoint_ok(walk, &items[i])) {
            return false;
        }

        if (cn_endpoint_usable(&items[i]) != (i < set->usable)) {
            return wrong(walk, "endpoints that may be chosen do not stand first");
        }

        if (i < set->usable) {
            if (sum != items[i].weight_before) {
                return wrong(walk, "endpoint weights do not add up");
            }

            sum += items[i].weight;
            unit = cn_common_divisor(items[i].weight, unit);
        }
    }

    return (set->usable <= set->endpoints.count && sum == set->total_weight
            && unit == set->weight_unit) || wrong(walk, "endpoint weights do not add up");
}


static bool
workload_ok(walk_t *walk, const void *root)
{
    const cn_table_workload_t  *workload = root;
    const cn_rel_bytes_t        strings[] = {
        workload->uid, workload->name, workload->name_space, workload->workload,
        workload->canonical_name, workload->canonical_revision, workload->app, workload->version,
        workload->cluster, workload->principal,
    };

    return addresses_ok(walk, workload->addresses)
           && strings_ok(walk, strings, CN_COUNT_OF(strings));
}


static bool
global_ok(walk_t *walk, const void *root)
{
    const cn_table_global_t  *global = root;
    const cn_rel_bytes_t     *domains;
    const cn_table_pin_t     *pins;
    const cn_rel_bytes_t      strings[] = {
        global->waypoint, global->name_space, global->cluster_domain, global->cluster_id,
        global->access_log_format,
    };

    if (modules_hash != 0 && global->modules_hash != modules_hash) {
        return wrong(walk, "made by a build with other modules");
    }

    if (!flag_ok(walk, global->access_log) || !flag_ok(walk, global->http_10)
        || !strings_ok(walk, strings, CN_COUNT_OF(strings))
        || !ITEMS(walk, global->trust_domains, cn_rel_bytes_t, domains)
        || !strings_ok(walk, domains, global->trust_domains.count)
        || !ITEMS(walk, global->pins, cn_table_pin_t, pins))
    {
        return false;
    }

    for (uint32_t i = 0; i < global->pins.count; i++) {
        if (!name_ok(walk, pins[i].service_host, "a pinned listener without a service")) {
            return false;
        }
    }

    return true;
}


cn_status_t
cn_table_verify(const cn_block_t *block, const char **what)
{
    static const struct {
        size_t   root_size;
        bool   (*verify)(walk_t *walk, const void *root);
    } kinds[CN_BLOCK_KIND_COUNT] = {
        [CN_BLOCK_GLOBAL]    = { sizeof(cn_table_global_t), global_ok },
        [CN_BLOCK_SERVICE]   = { sizeof(cn_table_service_t), service_ok },
        [CN_BLOCK_CLUSTER]   = { sizeof(cn_table_cluster_t), cluster_ok },
        [CN_BLOCK_ENDPOINTS] = { sizeof(cn_table_endpoints_t), endpoints_ok },
        [CN_BLOCK_WORKLOAD]  = { sizeof(cn_table_workload_t), workload_ok },
    };

    walk_t  walk = {
        .block = block,
        .budget = (size_t) block->size * BUDGET_FACTOR,
        .status = CN_OK,
    };

    if (block->kind >= CN_BLOCK_KIND_COUNT || kinds[block->kind].verify == NULL) {
        *what = "an unknown kind of block";
        return CN_ERR_SYNTAX;
    }

    if (block->size < sizeof(cn_block_t) + kinds[block->kind].root_size) {
        *what = "the block is shorter than its root";
        return CN_ERR_SYNTAX;
    }

    if (!kinds[block->kind].verify(&walk, cn_block_root(block))) {
        *what = walk.what;
        return walk.status;
    }

    return CN_OK;
}


void
cn_table_set_module_verify(cn_status_t (*verify)(uint16_t module, const cn_block_t *block,
    uint32_t config))
{
    module_verify = verify;
}


void
cn_table_set_modules_hash(uint64_t hash)
{
    modules_hash = hash;
}
