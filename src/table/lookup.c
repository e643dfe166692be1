/* SPDX-License-Identifier: Apache-2.0 */

/*
 * lookup - blocks by what they stand for.  The directory knows hashes only, and a peer chooses the
 * host names it asks for: a block is given out only when it says itself that it is the one asked
 * for.
 */

#include "table/keys.h"
#include "table/snapshot.h"


static const cn_block_t *
find_kind(const cn_tables_t *tables, cn_bytes_t key, cn_block_kind_t kind, cn_segment_t **segment)
{
    const cn_block_t  *block = key.len == 0 ? NULL : cn_tables_find(tables, key, segment);

    return (block != NULL && block->kind == kind) ? block : NULL;
}


static bool
has_port(const cn_block_t *block, uint16_t port)
{
    const cn_table_service_t  *service = cn_block_root(block);
    const cn_table_chain_t    *chains = CN_BLOCK_ITEMS(block, service->chains, cn_table_chain_t);

    for (uint32_t i = 0; i < service->chains.count; i++) {
        if (chains[i].port == port) {
            return true;
        }
    }

    return false;
}


static bool
has_address(const cn_block_t *block, cn_rel_array_t addresses, const uint8_t ip[16])
{
    const cn_table_ip_t  *items = CN_BLOCK_ITEMS(block, addresses, cn_table_ip_t);

    for (uint32_t i = 0; i < addresses.count; i++) {
        if (memcmp(items[i].ip, ip, sizeof(items[i].ip)) == 0) {
            return true;
        }
    }

    return false;
}


const cn_block_t *
cn_tables_service_by_address(const cn_tables_t *tables, const uint8_t ip[16], uint16_t port,
    cn_segment_t **segment)
{
    uint8_t                    key[CN_KEY_MAX];
    const cn_table_service_t  *service;
    const cn_block_t          *block = find_kind(tables, cn_key_address(key, ip, port),
                                                 CN_BLOCK_SERVICE, segment);

    if (block == NULL) {
        return NULL;
    }

    service = cn_block_root(block);

    return has_address(block, service->addresses, ip) && has_port(block, port) ? block : NULL;
}


const cn_block_t *
cn_tables_service_by_host(const cn_tables_t *tables, cn_bytes_t lower_host, uint16_t port,
    cn_segment_t **segment)
{
    uint8_t                    key[CN_KEY_MAX];
    const cn_table_service_t  *service;
    const cn_block_t          *block = find_kind(tables, cn_key_host(key, lower_host, port),
                                                 CN_BLOCK_SERVICE, segment);

    if (block == NULL) {
        return NULL;
    }

    service = cn_block_root(block);

    return cn_bytes_equal_nocase(cn_block_bytes(block, service->host), lower_host)
           && has_port(block, port) ? block : NULL;
}


const cn_block_t *
cn_tables_cluster(const cn_tables_t *tables, uint32_t id, cn_segment_t **segment)
{
    uint8_t            key[CN_KEY_MAX];
    const cn_block_t  *block = find_kind(tables, cn_key_cluster(key, id), CN_BLOCK_CLUSTER,
                                         segment);

    return (block != NULL && ((const cn_table_cluster_t *) cn_block_root(block))->id == id)
           ? block : NULL;
}


const cn_block_t *
cn_tables_endpoints(const cn_tables_t *tables, uint32_t id, cn_segment_t **segment)
{
    uint8_t            key[CN_KEY_MAX];
    const cn_block_t  *block = find_kind(tables, cn_key_endpoints(key, id), CN_BLOCK_ENDPOINTS,
                                         segment);

    return (block != NULL && ((const cn_table_endpoints_t *) cn_block_root(block))->cluster == id)
           ? block : NULL;
}


const cn_block_t *
cn_tables_workload(const cn_tables_t *tables, const uint8_t ip[16], cn_segment_t **segment)
{
    uint8_t                     key[CN_KEY_MAX];
    const cn_block_t           *block = find_kind(tables, cn_key_workload(key, ip),
                                                  CN_BLOCK_WORKLOAD, segment);
    const cn_table_workload_t  *workload;

    if (block == NULL) {
        return NULL;
    }

    workload = cn_block_root(block);

    return has_address(block, workload->addresses, ip) ? block : NULL;
}


const cn_block_t *
cn_tables_global(const cn_tables_t *tables, cn_segment_t **segment)
{
    return find_kind(tables, cn_key_global(), CN_BLOCK_GLOBAL, segment);
}
