/* SPDX-License-Identifier: Apache-2.0 */

/*
 * table_fuzz - a mutated block is refused by cn_table_verify(), or everything it refers to can be
 * read.  The input is {which sample, then patches of {offset(3), octet}} applied behind a good
 * sample's header, or, with the first octet's high bit set, the bytes behind the header
 * themselves.  The block lies in memory of exact size, so that the sanitizer sees any read beyond
 * it.
 */

#include "table/verify.h"

#include "base/hash.h"
#include "base/pool.h"
#include "table/sample.h"

#define RAW         0x80u
#define PATCH_SIZE  4u
#define SIZE_MOST   (64u * 1024)

static volatile uint64_t  sink;         /* what is read is used */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* ---- reading all that a verified block refers to ---- */

static void
read_octets(const void *at, size_t len)
{
    const uint8_t  *octets = at;

    for (size_t i = 0; i < len; i++) {
        sink += octets[i];
    }
}


static void
read_string(const cn_block_t *block, cn_rel_bytes_t ref)
{
    cn_bytes_t  bytes = cn_block_bytes(block, ref);

    read_octets(bytes.ptr, bytes.len);
}


static void
read_filters(const cn_block_t *block, cn_rel_array_t ref)
{
    const cn_table_filter_t  *items = CN_BLOCK_ITEMS(block, ref, cn_table_filter_t);

    for (uint32_t i = 0; i < ref.count; i++) {
        read_string(block, items[i].name);
        sink += *(const uint32_t *) cn_block_at(block, items[i].config);
    }
}


static void
read_ops(const cn_block_t *block, cn_rel_array_t ref)
{
    const cn_table_header_op_t  *items = CN_BLOCK_ITEMS(block, ref, cn_table_header_op_t);

    for (uint32_t i = 0; i < ref.count; i++) {
        read_string(block, items[i].name);
        read_string(block, items[i].value);
    }
}


static void
read_matches(const cn_block_t *block, cn_rel_array_t ref)
{
    const cn_table_header_match_t  *items = CN_BLOCK_ITEMS(block, ref, cn_table_header_match_t);

    for (uint32_t i = 0; i < ref.count; i++) {
        read_string(block, items[i].name);

        if (!items[i].present_only) {
            read_string(block, items[i].value.value);
        }
    }
}


static void
read_route(const cn_block_t *block, const cn_table_route_t *route)
{
    const cn_table_destination_t  *destinations
        = CN_BLOCK_ITEMS(block, route->destinations, cn_table_destination_t);

    for (uint32_t i = 0; i < route->destinations.count; i++) {
        read_string(block, destinations[i].cluster_name);
        read_string(block, destinations[i].host_rewrite);
        read_ops(block, destinations[i].header_ops);
        read_filters(block, destinations[i].filters);
    }

    read_string(block, route->name);
    read_string(block, route->path);
    read_string(block, route->direct_body);
    read_string(block, route->host_rewrite);
    read_string(block, route->rewrite.pattern);
    read_string(block, route->rewrite.value);
    read_string(block, route->redirect.scheme);
    read_string(block, route->redirect.host);
    read_string(block, route->decorator);
    read_string(block, route->origin.file);
    read_string(block, route->origin.resource);
    read_matches(block, route->headers);
    read_matches(block, route->query);
    read_ops(block, route->header_ops);
    read_filters(block, route->filters);
    read_octets(cn_block_at(block, route->retry.statuses.at),
                route->retry.statuses.count * sizeof(uint32_t));
}


static void
read_index(const cn_block_t *block, const cn_table_route_index_t *index,
    const cn_table_route_t *routes)
{
    const cn_table_path_key_t  *exact = CN_BLOCK_ITEMS(block, index->exact, cn_table_path_key_t);
    const cn_table_path_key_t  *prefix = CN_BLOCK_ITEMS(block, index->prefix, cn_table_path_key_t);
    const uint32_t             *scan = CN_BLOCK_ITEMS(block, index->scan, uint32_t);

    for (uint32_t i = 0; i < index->exact.count; i++) {
        sink += routes[exact[i].route].action;
    }

    for (uint32_t i = 0; i < index->prefix.count; i++) {
        sink += routes[prefix[i].route].action;
    }

    for (uint32_t i = 0; i < index->scan.count; i++) {
        sink += routes[scan[i]].action;
    }

    read_octets(cn_block_at(block, index->prefix_lengths.at),
                index->prefix_lengths.count * sizeof(uint32_t));
}


static void
read_service(const cn_block_t *block)
{
    const cn_table_service_t  *service = cn_block_root(block);
    const cn_table_chain_t    *chains = CN_BLOCK_ITEMS(block, service->chains, cn_table_chain_t);

    read_string(block, service->host);
    read_string(block, service->name);
    read_string(block, service->name_space);
    read_string(block, service->origin.file);
    read_string(block, service->origin.resource);
    read_octets(cn_block_at(block, service->addresses.at), service->addresses.count * 16u);

    for (uint32_t i = 0; i < service->chains.count; i++) {
        const cn_table_route_t  *routes = CN_BLOCK_ITEMS(block, chains[i].routes, cn_table_route_t);

        read_string(block, chains[i].name);
        read_filters(block, chains[i].filters);
        read_index(block, &chains[i].index, routes);

        for (uint32_t j = 0; j < chains[i].routes.count; j++) {
            read_route(block, &routes[j]);
        }
    }
}


static void
read_cluster(const cn_block_t *block)
{
    const cn_table_cluster_t  *cluster = cn_block_root(block);

    read_string(block, cluster->name);
    read_string(block, cluster->service_host);
    read_string(block, cluster->service_name);
    read_string(block, cluster->service_namespace);
    read_string(block, cluster->origin.file);
    read_string(block, cluster->origin.resource);
}


static void
read_endpoints(const cn_block_t *block)
{
    const cn_table_endpoints_t  *set = cn_block_root(block);
    const cn_table_endpoint_t   *items = CN_BLOCK_ITEMS(block, set->endpoints, cn_table_endpoint_t);

    for (uint32_t i = 0; i < set->endpoints.count; i++) {
        read_string(block, items[i].principal);
        read_string(block, items[i].uid);
    }
}


static void
read_workload(const cn_block_t *block)
{
    const cn_table_workload_t  *workload = cn_block_root(block);
    const cn_rel_bytes_t       *strings = &workload->uid;

    _Static_assert(sizeof(cn_table_workload_t) == sizeof(cn_rel_array_t) + 10 * sizeof(cn_rel_bytes_t),
                   "ten strings follow the addresses");

    read_octets(cn_block_at(block, workload->addresses.at), workload->addresses.count * 16u);

    for (size_t i = 0; i < 10; i++) {
        read_string(block, strings[i]);
    }
}


static void
read_global(const cn_block_t *block)
{
    const cn_table_global_t  *global = cn_block_root(block);
    const cn_rel_bytes_t     *domains = CN_BLOCK_ITEMS(block, global->trust_domains, cn_rel_bytes_t);
    const cn_table_pin_t     *pins = CN_BLOCK_ITEMS(block, global->pins, cn_table_pin_t);

    read_string(block, global->waypoint);
    read_string(block, global->name_space);
    read_string(block, global->cluster_domain);
    read_string(block, global->cluster_id);
    read_string(block, global->access_log_format);

    for (uint32_t i = 0; i < global->trust_domains.count; i++) {
        read_string(block, domains[i]);
    }

    for (uint32_t i = 0; i < global->pins.count; i++) {
        read_string(block, pins[i].service_host);
    }
}


static void  (*const readers[CN_BLOCK_KIND_COUNT])(const cn_block_t *block) = {
    [CN_BLOCK_GLOBAL]    = read_global,
    [CN_BLOCK_SERVICE]   = read_service,
    [CN_BLOCK_CLUSTER]   = read_cluster,
    [CN_BLOCK_ENDPOINTS] = read_endpoints,
    [CN_BLOCK_WORKLOAD]  = read_workload,
};


/* ---- making blocks ---- */

static cn_block_builder_t *
sample_of(uint8_t kind)
{
    switch (kind) {
    case CN_BLOCK_GLOBAL:
        return sample_global(1);
    case CN_BLOCK_CLUSTER:
        return sample_cluster(1, 1);
    case CN_BLOCK_ENDPOINTS:
        return sample_endpoints(1, 1);
    case CN_BLOCK_WORKLOAD:
        return sample_workload(1, 1);
    default:
        return sample_service(1, 1, "/a");
    }
}


static void
apply_patches(cn_block_t *block, const uint8_t *data, size_t size)
{
    uint8_t  *bytes = (uint8_t *) (block + 1);
    size_t    room = block->size - sizeof(*block);

    for (; size >= PATCH_SIZE; data += PATCH_SIZE, size -= PATCH_SIZE) {
        size_t  at = (size_t) data[0] << 16 | (size_t) data[1] << 8 | data[2];

        bytes[at % room] = data[3];
    }
}


static cn_block_t *
patched_block(uint8_t kind, const uint8_t *data, size_t size)
{
    cn_block_builder_t  *builder = sample_of(kind);
    const cn_block_t    *good;
    cn_block_t          *block = NULL;

    if (builder != NULL && cn_block_finish(builder, &good) == CN_OK) {
        block = cn_alloc(good->size);

        if (block != NULL) {
            memcpy(block, good, good->size);
            apply_patches(block, data, size);
        }
    }

    cn_block_builder_destroy(builder);

    return block;
}


static cn_block_t *
raw_block(uint8_t kind, const uint8_t *data, size_t size)
{
    cn_block_t  *block = cn_alloc_zero(sizeof(*block) + size / 8 * 8);

    if (block == NULL) {
        return NULL;
    }

    *block = (cn_block_t) {
        .magic = CN_BLOCK_MAGIC,
        .version = CN_BLOCK_VERSION,
        .kind = kind,
        .size = (uint32_t) (sizeof(*block) + size / 8 * 8),
    };
    memcpy(block + 1, data, size / 8 * 8);

    return block;
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;
    cn_table_set_module_verify(sample_module_verify);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char  *what = NULL;
    uint8_t      kind;
    cn_block_t  *block;

    if (size == 0 || size > SIZE_MOST) {
        return 0;
    }

    kind = (uint8_t) ((data[0] & ~RAW) % CN_BLOCK_KIND_COUNT);
    block = (data[0] & RAW) != 0 ? raw_block(kind, data + 1, size - 1)
            : patched_block(kind, data + 1, size - 1);

    if (block == NULL) {
        return 0;
    }

    block->checksum = cn_hash(cn_bytes(block + 1, block->size - sizeof(*block)));

    if (cn_block_check(block, block->size) == CN_OK) {
        if (cn_table_verify(block, &what) == CN_OK) {
            readers[block->kind](block);

        } else {
            CN_BUG_ON(what == NULL);        /* a refusal says why */
        }
    }

    cn_free(block);

    return 0;
}
