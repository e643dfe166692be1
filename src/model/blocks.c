/* SPDX-License-Identifier: Apache-2.0 */

/*
 * blocks - the global block, clusters, endpoints and workloads.  Services, the larger part, are in
 * block_service.c.
 */

#include "model/blocks.h"

#include "base/hash.h"

#define KEY_MAX  1024

static cn_rel_array_t
add_addresses(cn_block_builder_t *builder, const cn_array_t *addresses)
{
    cn_rel_array_t   ref = cn_block_add_array(builder, addresses->count, sizeof(cn_table_ip_t),
                                              _Alignof(cn_table_ip_t));
    cn_table_ip_t   *out = cn_block_builder_at(builder, ref.at);

    if (ref.at != 0 && out != NULL) {
        memcpy(out, addresses->items, addresses->count * sizeof(*out));
    }

    return ref;
}


/* Copies a struct that was made beside the builder to its place in it. */
static void
put(cn_block_builder_t *builder, uint32_t at, const void *made, size_t size)
{
    void  *out = at == 0 ? NULL : cn_block_builder_at(builder, at);

    if (out != NULL) {
        memcpy(out, made, size);
    }
}


static void
put_root(cn_block_builder_t *builder, const void *made, size_t size)
{
    void  *root = cn_block_builder_root(builder);

    if (root != NULL) {
        memcpy(root, made, size);
    }
}


/* ---- global ---------------------------------------------------------------------------------- */


/* As cn_modules_hash() of the run parts makes it. */
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
add_trust_domains(cn_block_builder_t *builder, const cn_array_t *domains)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, domains->count, sizeof(cn_rel_bytes_t),
                                             _Alignof(cn_rel_bytes_t));

    for (size_t i = 0; i < domains->count; i++) {
        cn_rel_bytes_t  domain = cn_block_add_bytes(builder,
                                                    *CN_ARRAY_AT(domains, const cn_bytes_t, i));

        put(builder, ref.at + (uint32_t) (i * sizeof(domain)), &domain, sizeof(domain));
    }

    return ref;
}


static cn_rel_array_t
add_pins(cn_block_builder_t *builder, const cn_array_t *pins)
{
    cn_rel_array_t  ref = cn_block_add_array(builder, pins->count, sizeof(cn_table_pin_t),
                                             _Alignof(cn_table_pin_t));

    for (size_t i = 0; i < pins->count; i++) {
        const cn_pin_t  *pin = CN_ARRAY_AT(pins, const cn_pin_t, i);
        cn_table_pin_t   made = {
            .port = pin->port,
            .service_port = pin->service_port,
            .service_host = cn_block_add_bytes(builder, pin->service_host),
        };

        memcpy(made.ip, pin->ip, sizeof(made.ip));
        put(builder, ref.at + (uint32_t) (i * sizeof(made)), &made, sizeof(made));
    }

    return ref;
}


cn_status_t
cn_blocks_global(const cn_blocks_t *blocks, uint64_t id, cn_block_builder_t **builder)
{
    const cn_model_t   *model = blocks->model;
    cn_table_global_t   made = { .modules_hash = modules_hash(), .access_log = model->access_log,
                                .http_10 = model->http_10 };

    *builder = cn_block_builder_create(CN_BLOCK_GLOBAL, id, sizeof(made));

    if (*builder == NULL) {
        return CN_ERR_MEMORY;
    }

    made.waypoint = cn_block_add_bytes(*builder, model->waypoint);
    made.name_space = cn_block_add_bytes(*builder, model->name_space);
    made.cluster_domain = cn_block_add_bytes(*builder, model->cluster_domain);
    made.cluster_id = cn_block_add_bytes(*builder, model->cluster_id);
    made.access_log_format = cn_block_add_bytes(*builder, model->access_log_format);
    made.trust_domains = add_trust_domains(*builder, &model->trust_domains);
    made.pins = add_pins(*builder, &model->pins);
    put_root(*builder, &made, sizeof(made));

    return CN_OK;
}


/* ---- clusters and endpoints ------------------------------------------------------------------ */


/* What a cell stands for, as a number that is not 0. */
static uint64_t
cell_key(char letter, cn_bytes_t name)
{
    uint8_t   octets[KEY_MAX];
    uint64_t  key;

    if (name.len > sizeof(octets) - 1) {
        name.len = sizeof(octets) - 1;
    }

    octets[0] = (uint8_t) letter;

    if (name.len > 0) {
        memcpy(octets + 1, name.ptr, name.len);
    }

    key = cn_hash(cn_bytes(octets, name.len + 1));

    return key == 0 ? 1 : key;
}


/* An endpoint is one for all clusters that it is in: its load is its own. */
static uint64_t
endpoint_key(const cn_endpoint_config_t *endpoint)
{
    uint8_t     octets[KEY_MAX];
    cn_bytes_t  uid = endpoint->uid;

    if (uid.len > sizeof(octets) - 18) {
        uid.len = sizeof(octets) - 18;
    }

    memcpy(octets, endpoint->ip, 16);
    octets[16] = (uint8_t) (endpoint->port >> 8);
    octets[17] = (uint8_t) endpoint->port;

    if (uid.len > 0) {
        memcpy(octets + 18, uid.ptr, uid.len);
    }

    return cell_key('E', cn_bytes(octets, uid.len + 18));
}


cn_status_t
cn_blocks_cluster(const cn_blocks_t *blocks, const cn_cluster_t *cluster, uint32_t id,
    cn_block_builder_t **builder)
{
    cn_table_cluster_t  made = {
        .id = id,
        .lb = (uint8_t) cluster->lb,
        .http2 = cluster->http2,
        .client_protocol = cluster->client_protocol,
        .connect_timeout_ms = cluster->connect_timeout_ms,
        .idle_timeout_ms = cluster->idle_timeout_ms,
        .max_connections = cluster->max_connections,
        .max_pending = cluster->max_pending,
        .max_requests = cluster->max_requests,
        .max_retries = cluster->max_retries,
        .cell = cn_ids_cell(blocks->ids, blocks->slab, cell_key('C', cluster->name)),
    };

    *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, id, sizeof(made));

    if (*builder == NULL) {
        return CN_ERR_MEMORY;
    }

    made.name = cn_block_add_bytes(*builder, cluster->name);
    made.service_host = cn_block_add_bytes(*builder, cluster->service_host);
    made.service_name = cn_block_add_bytes(*builder, cluster->service_name);
    made.service_namespace = cn_block_add_bytes(*builder, cluster->service_namespace);
    made.origin = cn_pack_origin(&cluster->origin, *builder);
    put_root(*builder, &made, sizeof(made));

    return CN_OK;
}


static cn_table_endpoint_t
pack_endpoint(const cn_blocks_t *blocks, const cn_endpoint_config_t *endpoint,
    cn_block_builder_t *builder)
{
    cn_table_endpoint_t  made = {
        .port = endpoint->port,
        .hbone_port = endpoint->hbone_port,
        .flags = (endpoint->hbone_port != 0 ? CN_ENDPOINT_HBONE : 0u) | (endpoint->healthy
            ? CN_ENDPOINT_HEALTHY : 0u),
        .weight = endpoint->weight == 0 ? 1 : endpoint->weight,
        .cell_key = endpoint_key(endpoint),
    };

    memcpy(made.ip, endpoint->ip, sizeof(made.ip));
    made.cell = cn_ids_cell(blocks->ids, blocks->slab, made.cell_key);
    made.principal = cn_block_add_bytes(builder, endpoint->principal);
    made.uid = cn_block_add_bytes(builder, endpoint->uid);

    return made;
}


/* Those that are healthy, or those that are not, from the *next-th place on. */
static cn_status_t
pack_endpoints(const cn_blocks_t *blocks, const cn_array_t *endpoints, bool healthy,
    cn_block_builder_t *builder, cn_table_endpoints_t *made, uint32_t *next)
{
    CN_ARRAY_EACH(endpoints, const cn_endpoint_config_t, endpoint) {
        cn_table_endpoint_t  item;

        if (endpoint->healthy != healthy) {
            continue;
        }

        item = pack_endpoint(blocks, endpoint, builder);
        item.weight_before = made->total_weight;

        if (healthy) {
            if (item.weight > UINT32_MAX - made->total_weight) {
                return CN_ERR_LIMIT;
            }

            made->usable++;
            made->total_weight += item.weight;
            made->weight_unit = (uint32_t) cn_common_divisor(item.weight, made->weight_unit);
        }

        put(builder, made->endpoints.at + (uint32_t) (*next * sizeof(item)), &item, sizeof(item));
        (*next)++;
    }

    return CN_OK;
}


cn_status_t
cn_blocks_endpoints(const cn_blocks_t *blocks, const cn_cluster_t *cluster, uint32_t id,
    cn_block_builder_t **builder)
{
    const cn_array_t      *endpoints = &cluster->endpoints;
    cn_table_endpoints_t   made = { .cluster = id };
    uint32_t               next = 0;

    *builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, id, sizeof(made));

    if (*builder == NULL) {
        return CN_ERR_MEMORY;
    }

    made.endpoints = cn_block_add_array(*builder, endpoints->count, sizeof(cn_table_endpoint_t),
                                        _Alignof(cn_table_endpoint_t));

    if (pack_endpoints(blocks, endpoints, true, *builder, &made, &next) != CN_OK
        || pack_endpoints(blocks, endpoints, false, *builder, &made, &next) != CN_OK)
    {
        cn_block_builder_destroy(*builder);
        *builder = NULL;
        return CN_ERR_LIMIT;
    }

    put_root(*builder, &made, sizeof(made));

    return CN_OK;
}


/* ---- workloads ------------------------------------------------------------------------------- */


cn_status_t
cn_blocks_workload(const cn_blocks_t *blocks, const cn_workload_t *workload, uint64_t id,
    cn_block_builder_t **builder)
{
    cn_table_workload_t  made = { .addresses = { 0, 0 } };

    (void) blocks;
    *builder = cn_block_builder_create(CN_BLOCK_WORKLOAD, id, sizeof(made));

    if (*builder == NULL) {
        return CN_ERR_MEMORY;
    }

    made.addresses = add_addresses(*builder, &workload->addresses);
    made.uid = cn_block_add_bytes(*builder, workload->uid);
    made.name = cn_block_add_bytes(*builder, workload->name);
    made.name_space = cn_block_add_bytes(*builder, workload->name_space);
    made.workload = cn_block_add_bytes(*builder, workload->workload);
    made.canonical_name = cn_block_add_bytes(*builder, workload->canonical_name);
    made.canonical_revision = cn_block_add_bytes(*builder, workload->canonical_revision);
    made.app = cn_block_add_bytes(*builder, workload->app);
    made.version = cn_block_add_bytes(*builder, workload->version);
    made.cluster = cn_block_add_bytes(*builder, workload->cluster);
    made.principal = cn_block_add_bytes(*builder, workload->principal);
    put_root(*builder, &made, sizeof(made));

    return CN_OK;
}
