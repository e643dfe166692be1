/* SPDX-License-Identifier: Apache-2.0 */

/* offer - gives a publication to tables as a worker would get it: with descriptors of its own. */

#ifndef CN_T_TABLE_OFFER_H
#define CN_T_TABLE_OFFER_H

#include "table/keys.h"
#include "table/snapshot.h"

#include "sample.h"

#include <unistd.h>


/* Descriptors of their own, which an offer takes. */
static inline cn_publication_t
offer_copy(const cn_publication_t *publication)
{
    cn_publication_t  copy = *publication;

    copy.directory = dup(publication->directory);

    for (size_t i = 0; i < copy.segment_count; i++) {
        copy.segments[i] = dup(publication->segments[i]);
    }

    return copy;
}


static inline cn_status_t
offer_all(cn_tables_t *tables, const cn_publication_t *publication)
{
    cn_publication_t  copy = offer_copy(publication);

    return cn_tables_offer(tables, &copy);
}


/* Adopts to the end; *slices: how many calls it took. */
static inline cn_status_t
adopt_all(cn_tables_t *tables, uint64_t budget_us, size_t *slices, const char **what)
{
    cn_status_t  status;

    for (*slices = 1; (status = cn_tables_adopt(tables, budget_us, what)) == CN_AGAIN; ++*slices) {
        continue;
    }

    return status;
}


/* Puts a service sample under its two keys. */
static inline cn_status_t
put_service(cn_publisher_t *publisher, uint64_t id, uint32_t number, const char *path)
{
    cn_block_builder_t  *builder = sample_service(id, number, path);
    uint8_t              address[CN_KEY_MAX];
    uint8_t              name[CN_KEY_MAX];
    uint8_t              ip[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, (uint8_t) (number >> 16),
                                    (uint8_t) (number >> 8), (uint8_t) number };
    char                 host[64];
    const cn_block_t    *block;
    cn_bytes_t           keys[2];
    cn_status_t          status = cn_block_finish(builder, &block);

    snprintf(host, sizeof(host), "svc%u.default.svc.cluster.local", number);
    keys[0] = cn_key_address(address, ip, 80);
    keys[1] = cn_key_host(name, cn_bytes_str(host), 80);

    if (status == CN_OK) {
        status = cn_publisher_put(publisher, block, keys, 2);
    }

    cn_block_builder_destroy(builder);

    return status;
}


static inline cn_status_t
put_built(cn_publisher_t *publisher, cn_block_builder_t *builder, cn_bytes_t key)
{
    const cn_block_t  *block;
    cn_status_t        status = cn_block_finish(builder, &block);

    if (status == CN_OK) {
        status = cn_publisher_put(publisher, block, &key, 1);
    }

    cn_block_builder_destroy(builder);

    return status;
}


/*
 * The path of the first route of service `number` as the tables have it; none when there is none.
 */
static inline cn_bytes_t
service_path(const cn_tables_t *tables, uint32_t number, cn_segment_t **segment)
{
    char                      host[64];
    const cn_block_t         *block;
    const cn_table_chain_t   *chain;
    const cn_table_route_t   *route;

    snprintf(host, sizeof(host), "svc%u.default.svc.cluster.local", number);
    block = cn_tables_service_by_host(tables, cn_bytes_str(host), 80, segment);

    if (block == NULL) {
        return CN_BYTES_NONE;
    }

    chain = CN_BLOCK_ITEMS(block, ((const cn_table_service_t *) cn_block_root(block))->chains,
                           cn_table_chain_t);
    route = CN_BLOCK_ITEMS(block, chain->routes, cn_table_route_t);

    return cn_block_bytes(block, route->path);
}

#endif
