/* SPDX-License-Identifier: Apache-2.0 */

/*
 * compile - model to blocks: one service, cluster, endpoint set or workload at a time, so that the caller's loop turns in
 * between.
 */

#include "model/compile.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "model/module_config.h"

struct cn_ids_s {
    _Atomic uint64_t  *last;
    cn_map_t          *ids;
};

typedef enum { AT_GLOBAL, AT_SERVICES, AT_CLUSTERS, AT_WORKLOADS, AT_END } stage_t;

struct cn_compilation_s {
    const cn_model_t  *model;
    cn_ids_t          *ids;
    cn_slab_t         *slab;
    cn_publisher_t    *publisher;
    cn_report_t       *report;
    stage_t            stage;
    size_t             at;
};


cn_ids_t *
cn_ids_create(_Atomic uint64_t *last_id)
{
    cn_ids_t  *ids = cn_alloc_zero(sizeof(cn_ids_t));

    if (ids == NULL) {
        return NULL;
    }

    ids->last = last_id;
    ids->ids = cn_map_create();

    if (ids->ids == NULL) {
        cn_free(ids);
        return NULL;
    }

    return ids;
}


void
cn_ids_destroy(cn_ids_t *ids)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    if (ids == NULL) {
        return;
    }

    while (cn_map_next(ids->ids, &at, &key, &value)) {
        cn_free(value);
    }

    cn_map_destroy(ids->ids);
    cn_free(ids);
}


/* The id of a name of a kind, the same as ever; 0: memory. */
static uint64_t
id_of(cn_ids_t *ids, char kind, cn_bytes_t name)
{
    uint8_t     key[1024];
    size_t      len = name.len < sizeof(key) - 1 ? name.len : sizeof(key) - 1;
    uint64_t   *id;

    key[0] = (uint8_t) kind;

    if (len > 0) {
        memcpy(key + 1, name.ptr, len);
    }

    id = cn_map_get(ids->ids, cn_bytes(key, len + 1));

    if (id != NULL) {
        return *id;
    }

    id = cn_alloc(sizeof(*id));

    if (id == NULL || cn_map_set(ids->ids, cn_bytes(key, len + 1), id) != CN_OK) {
        cn_free(id);
        return 0;
    }

    *id = atomic_fetch_add(ids->last, 1) + 1;

    return *id;
}


/* ---- packing -------------------------------------------------------------------------------------- */

static uint16_t
module_place(const cn_module_config_t *module)
{
    for (uint16_t i = 0; cn_module_names[i] != NULL; i++) {
        if (strcmp(cn_module_names[i], module->name) == 0) {
            return i;
        }
    }

    return UINT16_MAX;
}


static cn_rel_array_t
pack_filters(const cn_array_t *filters, bool on_route, cn_block_builder_t *builder)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, filters->count, sizeof(cn_table_filter_t), 4);

    for (size_t i = 0; i < filters->count; i++) {
        const cn_filter_config_t  *filter = CN_ARRAY_AT(filters, cn_filter_config_t, i);
        cn_table_filter_t          packed = { .module = module_place(filter->module) };
        cn_table_filter_t         *items;

        if (packed.module == UINT16_MAX
            || (filter->config != NULL && filter->module->pack != NULL
                && filter->module->pack(filter->config, on_route, builder, &packed.config)
                   != CN_OK))
        {
            /* a filter that cannot be said must not be missing: the whole block is spoiled */
            (void) cn_block_add(builder, SIZE_MAX, sizeof(cn_table_filter_t), 4);
            return (cn_rel_array_t) { 0, 0 };
        }

        packed.name = cn_block_add_bytes(builder, filter->name);
        items = cn_block_builder_at(builder, ref.at);

        if (items != NULL) {
            items[i] = packed;
        }
    }

    return ref;
}


static cn_rel_array_t
pack_header_ops(const cn_array_t *ops, cn_block_builder_t *builder)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, ops->count, sizeof(cn_table_header_op_t), 4);

    for (size_t i = 0; i < ops->count; i++) {
        const cn_header_op_t   *op = CN_ARRAY_AT(ops, cn_header_op_t, i);
        cn_table_header_op_t    packed = {
            .op = (uint8_t) op->op,
            .on_response = op->on_response,
            .name = cn_block_add_bytes(builder, op->name),
            .value = cn_block_add_bytes(builder, op->value),
        };
        cn_table_header_op_t   *items = cn_block_builder_at(builder, ref.at);

        if (items != NULL) {
            items[i] = packed;
        }
    }

    return ref;
}


static cn_rel_array_t
pack_header_matches(const cn_array_t *matches, cn_block_builder_t *builder)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, matches->count,
                                             sizeof(cn_table_header_match_t), 4);

    for (size_t i = 0; i < matches->count; i++) {
        const cn_header_match_t   *match = CN_ARRAY_AT(matches, cn_header_match_t, i);
        cn_table_header_match_t    packed = {
            .name = cn_block_add_bytes(builder, match->name),
            .present_only = match->present_only,
            .invert = match->invert,
            .missing_as_empty = match->missing_as_empty,
        };
        cn_table_header_match_t   *items;

        if (match->present_only) {
            packed.value.kind = CN_STRING_ANY;

        } else {
            packed.value = cn_pack_string_match(&match->value, builder);
        }

        items = cn_block_builder_at(builder, ref.at);

        if (items != NULL) {
            items[i] = packed;
        }
    }

    return ref;
}


static bool
cluster_exists(const cn_model_t *model, cn_bytes_t name)
{
    size_t  low = 0;
    size_t  high = model->clusters.count;

    while (low < high) {
        size_t  middle = low + (high - low) / 2;
        int     order = cn_bytes_compare(CN_ARRAY_AT(&model->clusters, cn_cluster_t, middle)->name,
                                         name);

        if (order == 0) {
            return true;
        }

        if (order < 0) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return false;
}


static uint32_t
cluster_id(cn_compilation_t *compilation, cn_bytes_t name)
{
    return cluster_exists(compilation->model, name)
               ? (uint32_t) id_of(compilation->ids, 'C', name) : 0;
}


static cn_rel_array_t
pack_destinations(cn_compilation_t *compilation, const cn_route_t *route,
    cn_block_builder_t *builder, uint32_t *total)
{
    const cn_array_t  *destinations = &route->destinations;
    cn_rel_array_t     ref = cn_block_add_array(builder, destinations->count,
                                                sizeof(cn_table_destination_t), 4);

    *total = 0;

    for (size_t i = 0; i < destinations->count; i++) {
        const cn_destination_t   *destination = CN_ARRAY_AT(destinations, cn_destination_t, i);
        cn_table_destination_t    packed = {
            .cluster = cluster_id(compilation, destination->cluster),
            .weight = destination->weight,
            .cluster_name = cn_block_add_bytes(builder, destination->cluster),
            .header_ops = pack_header_ops(&destination->header_ops, builder),
            .filters = pack_filters(&destination->filters, true, builder),
        };
        cn_table_destination_t   *items = cn_block_builder_at(builder, ref.at);

        *total += destination->weight;

        if (items != NULL) {
            items[i] = packed;
        }
    }

    return ref;
}


static cn_table_retry_t
pack_retry(const cn_retry_t *retry, cn_block_builder_t *builder)
{
    cn_table_retry_t  packed = {
        .on = retry->on,
        .tries = retry->tries,
        .per_try_timeout_ms = retry->per_try_timeout_ms,
        .base_backoff_ms = retry->base_backoff_ms,
        .max_backoff_ms = retry->max_backoff_ms,
        .host_attempts = retry->host_attempts,
        .statuses = cn_block_add_array(builder, retry->statuses.count, sizeof(uint32_t), 4),
    };
    uint32_t         *statuses = cn_block_builder_at(builder, packed.statuses.at);

    if (statuses != NULL && packed.statuses.at != 0) {
        memcpy(statuses, retry->statuses.items, retry->statuses.count * sizeof(uint32_t));
    }

    return packed;
}


static cn_table_route_t
pack_route(cn_compilation_t *compilation, const cn_route_t *route, cn_block_builder_t *builder)
{
    cn_table_route_t  packed = {
        .name = cn_block_add_bytes(builder, route->name),
        .path_kind = (uint8_t) route->path_kind,
        .path_ignore_case = route->path_ignore_case,
        .action = (uint8_t) route->action,
        .direct_status = route->direct_status,
        .no_cluster_status = route->no_cluster_status,
        .path = cn_block_add_bytes(builder, route->path),
        .headers = pack_header_matches(&route->headers, builder),
        .query = pack_header_matches(&route->query, builder),
        .timeout_ms = route->timeout_ms,
        .max_grpc_timeout_ms = route->max_grpc_timeout_ms,
        .retry = pack_retry(&route->retry, builder),
        .header_ops = pack_header_ops(&route->header_ops, builder),
        .filters = pack_filters(&route->filters, true, builder),
        .direct_body = cn_block_add_bytes(builder, route->direct_body),
        .decorator = cn_block_add_bytes(builder, route->decorator),
        .origin = cn_pack_origin(&route->origin, builder),
    };

    packed.destinations = pack_destinations(compilation, route, builder, &packed.total_weight);

    return packed;
}


/* ---- the index of routes --------------------------------------------------------------------------- */

static int
compare_keys(const void *a, const void *b)
{
    const cn_table_path_key_t  *left = a;
    const cn_table_path_key_t  *right = b;

    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }

    return left->route < right->route ? -1 : left->route > right->route;
}


static int
compare_lengths(const void *a, const void *b)
{
    uint32_t  left = *(const uint32_t *) a;
    uint32_t  right = *(const uint32_t *) b;

    return left > right ? -1 : left < right;
}


static cn_rel_array_t
pack_items(const cn_array_t *array, size_t align, cn_block_builder_t *builder)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, array->count, array->item_size, align);

    if (ref.at != 0) {
        memcpy(cn_block_builder_at(builder, ref.at), array->items,
               array->count * array->item_size);
    }

    return ref;
}


static cn_status_t
add_length(cn_array_t *lengths, uint32_t length)
{
    uint32_t  *item;

    CN_ARRAY_EACH(lengths, const uint32_t, known) {
        if (*known == length) {
            return CN_OK;
        }
    }

    item = cn_array_add(lengths);

    if (item == NULL) {
        return CN_ERR_MEMORY;
    }

    *item = length;

    return CN_OK;
}


static cn_status_t
index_route(const cn_route_t *route, uint32_t position, cn_array_t *exact, cn_array_t *prefix,
    cn_array_t *lengths, cn_array_t *scan)
{
    bool                  hashed = !route->path_ignore_case
                                   && (route->path_kind == CN_PATH_MATCH_EXACT
                                       || route->path_kind == CN_PATH_MATCH_PREFIX
                                       || route->path_kind == CN_PATH_MATCH_SEPARATED_PREFIX);
    cn_table_path_key_t  *key;

    if (!hashed) {
        uint32_t  *item = cn_array_add(scan);

        if (item == NULL) {
            return CN_ERR_MEMORY;
        }

        *item = position;

        return CN_OK;
    }

    key = cn_array_add(route->path_kind == CN_PATH_MATCH_EXACT ? exact : prefix);

    if (key == NULL) {
        return CN_ERR_MEMORY;
    }

    key->hash = cn_hash(route->path);
    key->route = position;
    key->length = (uint32_t) route->path.len;

    return route->path_kind == CN_PATH_MATCH_EXACT ? CN_OK : add_length(lengths, key->length);
}


static cn_status_t
pack_index(const cn_array_t *routes, cn_block_builder_t *builder, cn_table_route_index_t *index)
{
    cn_pool_t    *pool = cn_pool_create(1024, NULL);
    cn_array_t    exact = CN_ARRAY_INIT(pool, cn_table_path_key_t);
    cn_array_t    prefix = CN_ARRAY_INIT(pool, cn_table_path_key_t);
    cn_array_t    lengths = CN_ARRAY_INIT(pool, uint32_t);
    cn_array_t    scan = CN_ARRAY_INIT(pool, uint32_t);
    cn_status_t   status = pool != NULL ? CN_OK : CN_ERR_MEMORY;

    for (size_t i = 0; i < routes->count && status == CN_OK; i++) {
        status = index_route(CN_ARRAY_AT(routes, cn_route_t, i), (uint32_t) i, &exact, &prefix,
                             &lengths, &scan);
    }

    if (status == CN_OK
        && (cn_array_sort(&exact, compare_keys) != CN_OK
            || cn_array_sort(&prefix, compare_keys) != CN_OK
            || cn_array_sort(&lengths, compare_lengths) != CN_OK))
    {
        status = CN_ERR_MEMORY;
    }

    if (status == CN_OK) {
        index->exact = pack_items(&exact, 8, builder);
        index->prefix = pack_items(&prefix, 8, builder);
        index->prefix_lengths = pack_items(&lengths, 4, builder);
        index->scan = pack_items(&scan, 4, builder);
    }

    cn_pool_destroy(pool);

    return status;
}


/* ---- blocks --------------------------------------------------------------------------------------- */

static cn_status_t
put(cn_compilation_t *compilation, cn_block_builder_t *builder, const cn_bytes_t *keys,
    size_t count, const char *what, cn_bytes_t name)
{
    const cn_block_t  *block = NULL;
    cn_status_t        status = cn_block_finish(builder, &block);

    if (status == CN_OK) {
        status = cn_publisher_put(compilation->publisher, block, keys, count);
    }

    cn_block_builder_destroy(builder);

    if (status == CN_ERR_EXISTS) {
        char  text[300];

        cn_report_add(compilation->report, CN_REPORT_ERROR, NULL, what, "",
                      "%s: its host or address and port belong to another one already",
                      cn_bytes_escape(name, text, sizeof(text)));
        return CN_OK;           /* this one is left out, the rest goes on */
    }

    return status;
}


static cn_table_chain_t
pack_chain(cn_compilation_t *compilation, const cn_chain_config_t *chain,
    cn_block_builder_t *builder)
{
    cn_table_chain_t  packed = {
        .port = chain->port,
        .protocol = (uint8_t) chain->protocol,
        .path_level = chain->path_level,
        .http2_upstream = chain->http2_upstream,
        .refused = chain->refused,
        .name = cn_block_add_bytes(builder, chain->name),
        .filters = pack_filters(&chain->filters, false, builder),
        .routes = cn_block_add_array(builder, chain->routes.count, sizeof(cn_table_route_t), 8),
        .tcp_cluster = chain->tcp_cluster.len > 0 ? cluster_id(compilation, chain->tcp_cluster)
                                                  : 0,
    };

    for (size_t i = 0; i < chain->routes.count; i++) {
        cn_table_route_t   route = pack_route(compilation,
                                              CN_ARRAY_AT(&chain->routes, cn_route_t, i), builder);
        cn_table_route_t  *items = cn_block_builder_at(builder, packed.routes.at);

        if (items != NULL) {
            items[i] = route;
        }
    }

    return packed;
}


#define KEYS_MAX      512
#define KEY_OCTETS    300

typedef struct {
    cn_bytes_t  keys[KEYS_MAX];
    uint8_t     octets[KEYS_MAX][KEY_OCTETS];
    size_t      count;
} keys_t;


static void
add_address_key(keys_t *keys, const cn_table_ip_t *ip, uint16_t port)
{
    uint8_t  *octets = keys->octets[keys->count];

    if (keys->count == KEYS_MAX) {
        return;
    }

    octets[0] = 'A';
    memcpy(octets + 1, ip->ip, 16);
    octets[17] = (uint8_t) (port >> 8);
    octets[18] = (uint8_t) port;
    keys->keys[keys->count++] = cn_bytes(octets, 19);
}


static void
add_host_key(keys_t *keys, cn_bytes_t host, uint16_t port)
{
    uint8_t  *octets = keys->octets[keys->count];
    size_t    len = 1;

    if (keys->count == KEYS_MAX || host.len > 253) {
        return;
    }

    octets[0] = 'H';

    for (size_t i = 0; i < host.len; i++) {
        octets[len++] = cn_lower(host.ptr[i]);
    }

    octets[len++] = ':';
    len += cn_u64_print(port, (char *) octets + len);
    keys->keys[keys->count++] = cn_bytes(octets, len);
}


static cn_status_t
compile_service(cn_compilation_t *compilation, const cn_service_t *service)
{
    uint64_t             id = id_of(compilation->ids, 'S', service->host);
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_SERVICE, id,
                                                           sizeof(cn_table_service_t));
    keys_t              *keys = cn_alloc(sizeof(keys_t));
    cn_table_service_t   packed, *root;
    cn_status_t          status = CN_OK;

    if (builder == NULL || keys == NULL || id == 0) {
        cn_block_builder_destroy(builder);
        cn_free(keys);
        return CN_ERR_MEMORY;
    }

    keys->count = 0;
    packed = (cn_table_service_t) {
        .host = cn_block_add_bytes(builder, service->host),
        .name = cn_block_add_bytes(builder, service->name),
        .name_space = cn_block_add_bytes(builder, service->name_space),
        .addresses = pack_items(&service->addresses, 4, builder),
        .chains = cn_block_add_array(builder, service->chains.count, sizeof(cn_table_chain_t), 8),
        .origin = cn_pack_origin(&service->origin, builder),
    };

    for (size_t i = 0; i < service->chains.count && status == CN_OK; i++) {
        const cn_chain_config_t  *chain = CN_ARRAY_AT(&service->chains, cn_chain_config_t, i);
        cn_table_chain_t          one = pack_chain(compilation, chain, builder);
        cn_table_chain_t         *items;

        status = pack_index(&chain->routes, builder, &one.index);
        items = cn_block_builder_at(builder, packed.chains.at);

        if (items != NULL) {
            items[i] = one;
        }

        add_host_key(keys, service->host, chain->port);

        CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, ip) {
            add_address_key(keys, ip, chain->port);
        }
    }

    root = cn_block_builder_root(builder);
    *root = packed;

    if (status == CN_OK) {
        status = put(compilation, builder, keys->keys, keys->count, "service", service->host);

    } else {
        cn_block_builder_destroy(builder);
    }

    cn_free(keys);

    return status;
}


static void
id_key(char kind, uint32_t id, uint8_t key[5])
{
    key[0] = (uint8_t) kind;
    key[1] = (uint8_t) (id >> 24);
    key[2] = (uint8_t) (id >> 16);
    key[3] = (uint8_t) (id >> 8);
    key[4] = (uint8_t) id;
}


static cn_table_endpoint_t
pack_endpoint(cn_compilation_t *compilation, const cn_cluster_t *cluster,
    const cn_endpoint_config_t *endpoint, cn_block_builder_t *builder)
{
    uint8_t              key[16 + 2 + 128] = { 0 };
    size_t               uid_len = endpoint->uid.len < 128 ? endpoint->uid.len : 128;
    cn_table_endpoint_t  packed = {
        .port = endpoint->port,
        .hbone_port = endpoint->hbone_port,
        .flags = (endpoint->hbone_port != 0 ? CN_ENDPOINT_HBONE : 0u)
                 | (endpoint->healthy ? CN_ENDPOINT_HEALTHY : 0u),
        .weight = endpoint->weight > 0 ? endpoint->weight : 1,
        .cell = CN_CELL_OVERFLOW,
        .principal = cn_block_add_bytes(builder, endpoint->principal),
        .uid = cn_block_add_bytes(builder, endpoint->uid),
    };

    (void) cluster;
    memcpy(packed.ip, endpoint->ip, 16);
    memcpy(key, endpoint->ip, 16);
    memcpy(key + 16, &endpoint->port, 2);

    if (uid_len > 0) {
        memcpy(key + 18, endpoint->uid.ptr, uid_len);
    }

    packed.cell_key = cn_hash(cn_bytes(key, 18 + uid_len));

    if (compilation->slab != NULL) {
        packed.cell = cn_slab_cell_acquire(compilation->slab, packed.cell_key);
    }

    return packed;
}


static cn_status_t
compile_endpoints(cn_compilation_t *compilation, const cn_cluster_t *cluster, uint32_t id)
{
    uint64_t               block_id = id_of(compilation->ids, 'E', cluster->name);
    cn_block_builder_t    *builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, block_id,
                                                             sizeof(cn_table_endpoints_t));
    cn_table_endpoints_t   packed = { .cluster = id };
    cn_table_endpoints_t  *root;
    uint8_t                octets[5];
    cn_bytes_t             key = cn_bytes(octets, sizeof(octets));

    if (builder == NULL || block_id == 0) {
        cn_block_builder_destroy(builder);
        return CN_ERR_MEMORY;
    }

    id_key('E', id, octets);
    packed.endpoints = cn_block_add_array(builder, cluster->endpoints.count,
                                          sizeof(cn_table_endpoint_t), 8);

    for (size_t i = 0; i < cluster->endpoints.count; i++) {
        cn_table_endpoint_t   one = pack_endpoint(compilation, cluster,
            CN_ARRAY_AT(&cluster->endpoints, cn_endpoint_config_t, i), builder);
        cn_table_endpoint_t  *items = cn_block_builder_at(builder, packed.endpoints.at);

        packed.total_weight += (one.flags & CN_ENDPOINT_HEALTHY) ? one.weight : 0;

        if (items != NULL) {
            items[i] = one;
        }
    }

    root = cn_block_builder_root(builder);
    *root = packed;

    return put(compilation, builder, &key, 1, "cluster", cluster->name);
}


static cn_status_t
compile_cluster(cn_compilation_t *compilation, const cn_cluster_t *cluster)
{
    uint32_t             id = (uint32_t) id_of(compilation->ids, 'C', cluster->name);
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, id,
                                                           sizeof(cn_table_cluster_t));
    cn_table_cluster_t   packed, *root;
    uint8_t              octets[5];
    cn_bytes_t           key = cn_bytes(octets, sizeof(octets));
    cn_status_t          status;

    if (builder == NULL || id == 0) {
        cn_block_builder_destroy(builder);
        return CN_ERR_MEMORY;
    }

    id_key('C', id, octets);
    packed = (cn_table_cluster_t) {
        .id = id,
        .lb = (uint8_t) cluster->lb,
        .http2 = cluster->http2,
        .name = cn_block_add_bytes(builder, cluster->name),
        .service_host = cn_block_add_bytes(builder, cluster->service_host),
        .service_name = cn_block_add_bytes(builder, cluster->service_name),
        .service_namespace = cn_block_add_bytes(builder, cluster->service_namespace),
        .connect_timeout_ms = cluster->connect_timeout_ms,
        .idle_timeout_ms = cluster->idle_timeout_ms,
        .max_connections = cluster->max_connections,
        .max_pending = cluster->max_pending,
        .max_requests = cluster->max_requests,
        .max_retries = cluster->max_retries,
        .cell = CN_CELL_NONE,
        .origin = cn_pack_origin(&cluster->origin, builder),
    };

    if (compilation->slab != NULL && cluster->max_requests != UINT32_MAX) {
        packed.cell = cn_slab_cell_acquire(compilation->slab, cn_hash(cluster->name));
    }

    root = cn_block_builder_root(builder);
    *root = packed;
    status = put(compilation, builder, &key, 1, "cluster", cluster->name);

    return status == CN_OK ? compile_endpoints(compilation, cluster, id) : status;
}


static cn_status_t
compile_workload(cn_compilation_t *compilation, const cn_workload_t *workload)
{
    uint64_t              id = id_of(compilation->ids, 'W', workload->uid);
    cn_block_builder_t   *builder = cn_block_builder_create(CN_BLOCK_WORKLOAD, id,
                                                            sizeof(cn_table_workload_t));
    cn_table_workload_t   packed, *root;
    uint8_t               octets[16][17];
    cn_bytes_t            keys[16];
    size_t                count = 0;

    if (builder == NULL || id == 0) {
        cn_block_builder_destroy(builder);
        return CN_ERR_MEMORY;
    }

    CN_ARRAY_EACH(&workload->addresses, const cn_table_ip_t, ip) {
        if (count < 16) {
            octets[count][0] = 'W';
            memcpy(octets[count] + 1, ip->ip, 16);
            keys[count] = cn_bytes(octets[count], 17);
            count++;
        }
    }

    packed = (cn_table_workload_t) {
        .addresses = pack_items(&workload->addresses, 4, builder),
        .uid = cn_block_add_bytes(builder, workload->uid),
        .name = cn_block_add_bytes(builder, workload->name),
        .name_space = cn_block_add_bytes(builder, workload->name_space),
        .workload = cn_block_add_bytes(builder, workload->workload),
        .canonical_name = cn_block_add_bytes(builder, workload->canonical_name),
        .canonical_revision = cn_block_add_bytes(builder, workload->canonical_revision),
        .app = cn_block_add_bytes(builder, workload->app),
        .version = cn_block_add_bytes(builder, workload->version),
        .cluster = cn_block_add_bytes(builder, workload->cluster),
        .principal = cn_block_add_bytes(builder, workload->principal),
    };

    root = cn_block_builder_root(builder);
    *root = packed;

    return put(compilation, builder, keys, count, "workload", workload->uid);
}


static uint64_t
modules_hash(void)
{
    char    names[1024];
    size_t  len = 0;

    for (size_t i = 0; cn_module_names[i] != NULL; i++) {
        size_t  name_len = strlen(cn_module_names[i]) + 1;

        CN_BUG_ON(name_len > sizeof(names) - len);
        memcpy(names + len, cn_module_names[i], name_len);
        len += name_len;
    }

    return cn_hash(cn_bytes(names, len));
}


static cn_rel_array_t
pack_pins(const cn_array_t *pins, cn_block_builder_t *builder)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, pins->count, sizeof(cn_table_pin_t), 4);

    for (size_t i = 0; i < pins->count; i++) {
        const cn_pin_t   *pin = CN_ARRAY_AT(pins, cn_pin_t, i);
        cn_rel_bytes_t    host = cn_block_add_bytes(builder, pin->service_host);
        cn_table_pin_t   *items = cn_block_builder_at(builder, ref.at);

        if (items != NULL) {
            memcpy(items[i].ip, pin->ip, 16);
            items[i].port = pin->port;
            items[i].service_port = pin->service_port;
            items[i].service_host = host;
        }
    }

    return ref;
}


static cn_status_t
compile_global(cn_compilation_t *compilation)
{
    const cn_model_t    *model = compilation->model;
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_GLOBAL, 1,
                                                           sizeof(cn_table_global_t));
    cn_bytes_t           key = CN_BYTES("G");
    cn_table_global_t    packed, *root;

    if (builder == NULL) {
        return CN_ERR_MEMORY;
    }

    packed = (cn_table_global_t) {
        .waypoint = cn_block_add_bytes(builder, model->waypoint),
        .name_space = cn_block_add_bytes(builder, model->name_space),
        .cluster_domain = cn_block_add_bytes(builder, model->cluster_domain),
        .trust_domains = cn_block_add_array(builder, model->trust_domains.count,
                                            sizeof(cn_rel_bytes_t), 4),
        .cluster_id = cn_block_add_bytes(builder, model->cluster_id),
        .modules_hash = modules_hash(),
        .access_log = model->access_log,
        .access_log_format = cn_block_add_bytes(builder, model->access_log_format),
        .pins = pack_pins(&model->pins, builder),
    };

    for (size_t i = 0; i < model->trust_domains.count; i++) {
        cn_rel_bytes_t   name = cn_block_add_bytes(builder,
                                    *CN_ARRAY_AT(&model->trust_domains, cn_bytes_t, i));
        cn_rel_bytes_t  *items = cn_block_builder_at(builder, packed.trust_domains.at);

        if (items != NULL) {
            items[i] = name;
        }
    }

    root = cn_block_builder_root(builder);
    *root = packed;

    return put(compilation, builder, &key, 1, "waypoint", model->waypoint);
}


/* ---- the cursor ------------------------------------------------------------------------------------ */

cn_compilation_t *
cn_compile_start(const cn_model_t *model, cn_ids_t *ids, cn_slab_t *slab,
    cn_publisher_t *publisher, cn_report_t *report)
{
    cn_compilation_t  *compilation = cn_alloc_zero(sizeof(cn_compilation_t));

    if (compilation == NULL) {
        return NULL;
    }

    *compilation = (cn_compilation_t) {
        .model = model, .ids = ids, .slab = slab, .publisher = publisher, .report = report,
    };
    cn_publisher_begin(publisher);

    return compilation;
}


/* One block; moves on. */
static cn_status_t
compile_next(cn_compilation_t *compilation)
{
    const cn_model_t  *model = compilation->model;
    const cn_array_t  *items = compilation->stage == AT_SERVICES ? &model->services
                               : compilation->stage == AT_CLUSTERS ? &model->clusters
                                                                   : &model->workloads;
    size_t             at = compilation->at;

    if (compilation->stage == AT_GLOBAL) {
        compilation->stage = AT_SERVICES;
        return compile_global(compilation);
    }

    if (at == items->count) {
        compilation->stage++;
        compilation->at = 0;
        return CN_OK;
    }

    compilation->at++;

    switch (compilation->stage) {
    case AT_SERVICES:
        return compile_service(compilation, CN_ARRAY_AT(items, cn_service_t, at));
    case AT_CLUSTERS:
        return compile_cluster(compilation, CN_ARRAY_AT(items, cn_cluster_t, at));
    default:
        return compile_workload(compilation, CN_ARRAY_AT(items, cn_workload_t, at));
    }
}


cn_status_t
cn_compile_step(cn_compilation_t *compilation, uint64_t budget_us)
{
    uint64_t  until = cn_clock_us_now() + budget_us;

    while (compilation->stage != AT_END) {
        cn_status_t  status = compile_next(compilation);

        if (status != CN_OK) {
            cn_report_add(compilation->report, CN_REPORT_ERROR, NULL, "", "",
                          "the tables cannot be built: %s", cn_status_name(status));
            return status;
        }

        if (cn_clock_us_now() >= until) {
            return CN_AGAIN;
        }
    }

    return CN_OK;
}


void
cn_compile_end(cn_compilation_t *compilation)
{
    cn_free(compilation);
}
