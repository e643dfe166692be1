/* SPDX-License-Identifier: Apache-2.0 */

/*
 * block_service - a service as one block: its chains with filters, ordered routes and the index
 * over their paths.  Pointers into the builder move with every add, so structs are made beside it
 * and copied in when they are complete.
 */

#include "model/blocks.h"

#include "base/hash.h"

typedef struct {
    const cn_blocks_t   *blocks;
    cn_block_builder_t  *builder;
    cn_status_t          status;        /* of the first module that could not pack */
} packer_t;


static void
put(const packer_t *packer, uint32_t at, const void *made, size_t size)
{
    void  *out = at == 0 ? NULL : cn_block_builder_at(packer->builder, at);

    if (out != NULL) {
        memcpy(out, made, size);
    }
}


/* ---- routes ---------------------------------------------------------------------------------- */


static cn_rel_array_t
add_header_matches(packer_t *packer, const cn_array_t *matches)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, matches->count,
                                             sizeof(cn_table_header_match_t),
                                             _Alignof(cn_table_header_match_t));

    for (size_t i = 0; i < matches->count; i++) {
        const cn_header_match_t  *match = CN_ARRAY_AT(matches, const cn_header_match_t, i);
        cn_table_header_match_t   made = {
            .name = cn_block_add_bytes(packer->builder, match->name),
            .present_only = match->present_only,
            .invert = match->invert,
            .missing_as_empty = match->missing_as_empty,
            .value = cn_pack_string_match(&match->value, packer->builder),
        };

        put(packer, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    return ref;
}


static cn_rel_array_t
add_header_ops(packer_t *packer, const cn_array_t *ops)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, ops->count,
                                             sizeof(cn_table_header_op_t),
                                             _Alignof(cn_table_header_op_t));

    for (size_t i = 0; i < ops->count; i++) {
        const cn_header_op_t  *op = CN_ARRAY_AT(ops, const cn_header_op_t, i);
        cn_table_header_op_t   made = {
            .op = (uint8_t) op->op,
            .on_response = op->on_response,
            .format = op->format,
            .name = cn_block_add_bytes(packer->builder, op->name),
            .value = cn_block_add_bytes(packer->builder, op->value),
        };

        put(packer, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    return ref;
}


/* A module's place in the list of run parts; false: it has none in this build. */
static bool
module_place(const cn_module_config_t *module, uint16_t *place)
{
    for (uint16_t i = 0; cn_module_names[i] != NULL; i++) {
        if (strcmp(cn_module_names[i], module->name) == 0) {
            *place = i;
            return true;
        }
    }

    return false;
}


static cn_table_filter_t
pack_filter(packer_t *packer, const cn_filter_config_t *filter, bool on_route)
{
    cn_table_filter_t  made = { .name = cn_block_add_bytes(packer->builder, filter->name) };
    cn_status_t        status = CN_OK;

    if (!module_place(filter->module, &made.module)) {
        status = CN_ERR_UNSUPPORTED;

    } else if (filter->config != NULL && filter->module->pack != NULL) {
        status = filter->module->pack(filter->config, on_route, packer->builder, &made.config);
    }

    if (packer->status == CN_OK) {
        packer->status = status;
    }

    return made;
}


static cn_rel_array_t
add_filters(packer_t *packer, const cn_array_t *filters, bool on_route)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, filters->count,
                                             sizeof(cn_table_filter_t),
                                             _Alignof(cn_table_filter_t));

    for (size_t i = 0; i < filters->count; i++) {
        cn_table_filter_t  made = pack_filter(packer,
                                              CN_ARRAY_AT(filters, const cn_filter_config_t, i),
                                                  on_route);

        put(packer, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    return ref;
}


static cn_rel_array_t
add_destinations(packer_t *packer, const cn_array_t *destinations, uint32_t *total)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, destinations->count,
                                             sizeof(cn_table_destination_t),
                                             _Alignof(cn_table_destination_t));
    uint64_t        sum = 0;

    for (size_t i = 0; i < destinations->count; i++) {
        const cn_destination_t  *destination = CN_ARRAY_AT(destinations, const cn_destination_t, i);
        cn_table_destination_t   made = {
            .cluster = cn_ids_find(packer->blocks->ids, CN_BLOCK_CLUSTER, destination->cluster),
            .weight = destination->weight,
            .cluster_name = cn_block_add_bytes(packer->builder, destination->cluster),
            .host_rewrite = cn_block_add_bytes(packer->builder, destination->host_rewrite),
            .header_ops = add_header_ops(packer, &destination->header_ops),
            .filters = add_filters(packer, &destination->filters, true),
        };

        sum += destination->weight;
        put(packer, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    if (sum > UINT32_MAX && packer->status == CN_OK) {
        packer->status = CN_ERR_LIMIT;
    }

    *total = (uint32_t) sum;

    return ref;
}


static cn_table_retry_t
pack_retry(packer_t *packer, const cn_retry_t *retry)
{
    cn_table_retry_t  made = {
        .on = retry->on,
        .tries = retry->tries,
        .per_try_timeout_ms = retry->per_try_timeout_ms,
        .base_backoff_ms = retry->base_backoff_ms,
        .max_backoff_ms = retry->max_backoff_ms,
        .host_attempts = retry->host_attempts,
        .statuses = cn_block_add_array(packer->builder, retry->statuses.count, sizeof(uint32_t),
                                       _Alignof(uint32_t)),
    };

    if (retry->statuses.count > 0) {
        put(packer, made.statuses.at, retry->statuses.items,
            retry->statuses.count * sizeof(uint32_t));
    }

    return made;
}


static cn_table_route_t
pack_route(packer_t *packer, const cn_route_t *route)
{
    cn_block_builder_t  *builder = packer->builder;
    cn_table_route_t     made = {
        .path_kind = (uint8_t) route->path_kind,
        .path_ignore_case = route->path_ignore_case,
        .action = (uint8_t) route->action,
        .direct_status = route->direct_status,
        .no_cluster_status = route->no_cluster_status,
        .timeout_ms = route->timeout_ms,
        .max_grpc_timeout_ms = route->max_grpc_timeout_ms,
    };

    made.name = cn_block_add_bytes(builder, route->name);
    made.path = cn_block_add_bytes(builder, route->path);
    made.headers = add_header_matches(packer, &route->headers);
    made.query = add_header_matches(packer, &route->query);
    made.destinations = add_destinations(packer, &route->destinations, &made.total_weight);
    made.retry = pack_retry(packer, &route->retry);
    made.header_ops = add_header_ops(packer, &route->header_ops);
    made.filters = add_filters(packer, &route->filters, true);
    made.direct_body = cn_block_add_bytes(builder, route->direct_body);
    made.rewrite.kind = (uint8_t) route->rewrite.kind;
    made.rewrite.pattern = cn_block_add_bytes(builder, route->rewrite.pattern);
    made.rewrite.value = cn_block_add_bytes(builder, route->rewrite.value);
    made.host_rewrite = cn_block_add_bytes(builder, route->host_rewrite);
    made.redirect.scheme = cn_block_add_bytes(builder, route->redirect.scheme);
    made.redirect.host = cn_block_add_bytes(builder, route->redirect.host);
    made.redirect.port = route->redirect.port;
    made.decorator = cn_block_add_bytes(builder, route->decorator);
    made.origin = cn_pack_origin(&route->origin, builder);

    return made;
}


/* ---- the index over paths -------------------------------------------------------------------- */


static int
compare_keys(const void *a, const void *b)
{
    const cn_table_path_key_t  *left = a;
    const cn_table_path_key_t  *right = b;

    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }

    return (left->route > right->route) - (left->route < right->route);
}


static int
compare_descending(const void *a, const void *b)
{
    uint32_t  left = *(const uint32_t *) a;
    uint32_t  right = *(const uint32_t *) b;

    return (left < right) - (left > right);
}


static bool
add_number(cn_array_t *numbers, uint32_t number)
{
    uint32_t  *slot = cn_array_add(numbers);

    if (slot != NULL) {
        *slot = number;
    }

    return slot != NULL;
}


static bool
add_key(cn_array_t *keys, cn_bytes_t path, uint32_t route)
{
    cn_table_path_key_t  *slot = cn_array_add(keys);

    if (slot != NULL) {
        *slot = (cn_table_path_key_t) { .hash = cn_hash(path), .route = route,
            .length = (uint32_t) path.len };
    }

    return slot != NULL;
}


typedef struct {
    cn_array_t  exact;
    cn_array_t  prefix;
    cn_array_t  lengths;
    cn_array_t  scan;
} index_t;


/*
 * What a hash cannot find is tried one by one: letters of either case, patterns, and what has no
 * path.
 */
static bool
index_route(index_t *index, const cn_route_t *route, uint32_t position)
{
    if (route->path_ignore_case) {
        return add_number(&index->scan, position);
    }

    switch (route->path_kind) {

    case CN_PATH_MATCH_EXACT:
        return add_key(&index->exact, route->path, position);

    case CN_PATH_MATCH_PREFIX:
    case CN_PATH_MATCH_SEPARATED_PREFIX:
        return add_key(&index->prefix, route->path, position)
            && add_number(&index->lengths, (uint32_t) route->path.len);

    default:
        return add_number(&index->scan, position);
    }
}


static cn_rel_array_t
add_items(packer_t *packer, const cn_array_t *items, size_t align)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, items->count, items->item_size,
                                             align);

    if (items->count > 0) {
        put(packer, ref.at, items->items, items->count * items->item_size);
    }

    return ref;
}


static void
drop_repeats(cn_array_t *sorted)
{
    uint32_t  *numbers = sorted->items;
    size_t     kept = 0;

    for (size_t i = 0; i < sorted->count; i++) {
        if (kept == 0 || numbers[kept - 1] != numbers[i]) {
            numbers[kept++] = numbers[i];
        }
    }

    sorted->count = kept;
}


static cn_table_route_index_t
pack_index(packer_t *packer, const cn_array_t *routes, cn_pool_t *scratch)
{
    index_t                 index = {
        .exact = CN_ARRAY_INIT(scratch, cn_table_path_key_t),
        .prefix = CN_ARRAY_INIT(scratch, cn_table_path_key_t),
        .lengths = CN_ARRAY_INIT(scratch, uint32_t),
        .scan = CN_ARRAY_INIT(scratch, uint32_t),
    };
    cn_table_route_index_t  made = { .exact = { 0, 0 } };

    for (size_t i = 0; i < routes->count; i++) {
        if (!index_route(&index, CN_ARRAY_AT(routes, const cn_route_t, i), (uint32_t) i)) {
            packer->status = CN_ERR_MEMORY;
            return made;
        }
    }

    if (cn_array_sort(&index.exact, compare_keys) != CN_OK
        || cn_array_sort(&index.prefix, compare_keys) != CN_OK
        || cn_array_sort(&index.lengths, compare_descending) != CN_OK)
    {
        packer->status = CN_ERR_MEMORY;
        return made;
    }

    drop_repeats(&index.lengths);
    made.exact = add_items(packer, &index.exact, _Alignof(cn_table_path_key_t));
    made.prefix = add_items(packer, &index.prefix, _Alignof(cn_table_path_key_t));
    made.prefix_lengths = add_items(packer, &index.lengths, _Alignof(uint32_t));
    made.scan = add_items(packer, &index.scan, _Alignof(uint32_t));

    return made;
}


/* ---- chains ---------------------------------------------------------------------------------- */


static cn_rel_array_t
add_routes(packer_t *packer, const cn_array_t *routes)
{
    cn_rel_array_t  ref = cn_block_add_array(packer->builder, routes->count,
                                             sizeof(cn_table_route_t), _Alignof(cn_table_route_t));

    for (size_t i = 0; i < routes->count; i++) {
        cn_table_route_t  made = pack_route(packer, CN_ARRAY_AT(routes, const cn_route_t, i));

        put(packer, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    return ref;
}


static cn_table_chain_t
pack_chain(packer_t *packer, const cn_chain_config_t *chain, cn_pool_t *scratch)
{
    cn_table_chain_t  made = {
        .port = chain->port,
        .protocol = (uint8_t) chain->protocol,
        .path_level = chain->path_level,
        .http2_upstream = chain->http2_upstream,
        .http_10 = chain->http_10,
        .refused = chain->refused,
        .tcp_cluster = cn_ids_find(packer->blocks->ids, CN_BLOCK_CLUSTER, chain->tcp_cluster),
        .tcp_idle_timeout_ms = chain->tcp_idle_timeout_ms,
        .tcp_max_duration_ms = chain->tcp_max_duration_ms,
    };

    made.name = cn_block_add_bytes(packer->builder, chain->name);
    made.filters = add_filters(packer, &chain->filters, false);
    made.routes = add_routes(packer, &chain->routes);
    made.index = pack_index(packer, &chain->routes, scratch);

    return made;
}


static void
pack_service(packer_t *packer, const cn_service_t *service, cn_pool_t *scratch)
{
    cn_block_builder_t  *builder = packer->builder;
    cn_table_service_t   made = { .host = { 0, 0 } };
    void                *root;

    made.host = cn_block_add_bytes(builder, service->host);
    made.name = cn_block_add_bytes(builder, service->name);
    made.name_space = cn_block_add_bytes(builder, service->name_space);
    made.addresses = add_items(packer, &service->addresses, _Alignof(cn_table_ip_t));
    made.origin = cn_pack_origin(&service->origin, builder);
    made.chains = cn_block_add_array(builder, service->chains.count, sizeof(cn_table_chain_t),
                                     _Alignof(cn_table_chain_t));

    for (size_t i = 0; i < service->chains.count; i++) {
        cn_table_chain_t  chain = pack_chain(packer,
                                             CN_ARRAY_AT(&service->chains, const cn_chain_config_t,
                                                         i), scratch);

        put(packer, made.chains.at + (uint32_t) (i * sizeof(chain)), &chain, sizeof(chain));
    }

    root = cn_block_builder_root(builder);

    if (root != NULL) {
        memcpy(root, &made, sizeof(made));
    }
}


cn_status_t
cn_blocks_service(const cn_blocks_t *blocks, const cn_service_t *service, uint64_t id,
    cn_block_builder_t **builder)
{
    cn_pool_t  *scratch = cn_pool_create(4096, NULL);
    packer_t    packer = {
        .blocks = blocks,
        .builder = cn_block_builder_create(CN_BLOCK_SERVICE, id, sizeof(cn_table_service_t)),
        .status = CN_OK,
    };

    if (scratch == NULL || packer.builder == NULL) {
        packer.status = CN_ERR_MEMORY;

    } else {
        cn_block_builder_set_owner(packer.builder, blocks);
        pack_service(&packer, service, scratch);
    }

    cn_pool_destroy(scratch);

    if (packer.status != CN_OK) {
        cn_block_builder_destroy(packer.builder);
        return packer.status;
    }

    *builder = packer.builder;

    return CN_OK;
}
