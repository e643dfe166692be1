/* SPDX-License-Identifier: Apache-2.0 */

/*
 * compile - a cursor over the model.  Clusters come first, because services refer to their ids.
 *
 *   global -> clusters (each with its endpoints) -> services -> workloads -> done
 *
 * One thing that cannot be made does not stop the others: it keeps its last block or, if it has
 * none, is left out, which is closed: no block, no way through.
 */

#include "model/blocks.h"

#include "base/clock.h"
#include "base/map.h"
#include "table/keys.h"

#define ADDRESS_KEYS_MAX  4096          /* addresses times ports of one service */

typedef enum { AT_GLOBAL, AT_CLUSTER, AT_SERVICE, AT_WORKLOAD, AT_END } stage_t;

struct cn_compilation_s {
    cn_blocks_t       blocks;
    cn_publisher_t   *publisher;
    cn_report_t      *report;
    cn_pool_t        *pool;             /* keys */
    cn_map_t         *keys;             /* those put so far -> the name of whose they are */
    stage_t           stage;
    size_t            next;             /* position in the stage's list */
};

/* Keys of the block being put. */
typedef struct {
    cn_array_t  list;                   /* cn_bytes_t */
    cn_pool_t  *pool;
} keys_t;


cn_compilation_t *
cn_compile_start(const cn_model_t *model, cn_ids_t *ids, cn_slab_t *slab,
    cn_publisher_t *publisher, cn_report_t *report)
{
    cn_compilation_t  *compilation = cn_alloc_zero(sizeof(*compilation));

    if (compilation == NULL) {
        return NULL;
    }

    compilation->blocks = (cn_blocks_t) { .model = model, .ids = ids, .slab = slab };
    compilation->publisher = publisher;
    compilation->report = report;
    compilation->pool = cn_pool_create(4096, NULL);
    compilation->keys = cn_map_create();

    if (compilation->pool == NULL || compilation->keys == NULL) {
        cn_compile_end(compilation);
        return NULL;
    }

    if (slab != NULL) {
        cn_slab_cells_reclaim(slab);
    }

    cn_ids_begin_round(ids);
    cn_publisher_begin(publisher);

    return compilation;
}


void
cn_compile_end(cn_compilation_t *compilation)
{
    if (compilation == NULL) {
        return;
    }

    cn_map_destroy(compilation->keys);
    cn_pool_destroy(compilation->pool);
    cn_free(compilation);
}


static void
tell(cn_compilation_t *compilation, const cn_origin_t *origin, const char *field, const char *text)
{
    cn_doc_t  where = { .file = origin->file == NULL ? "" : origin->file, .line = origin->line,
        .column = 1 };

    cn_report_add(compilation->report, CN_REPORT_ERROR, *where.file == '\0' ? NULL : &where,
                  origin->resource == NULL ? "" : origin->resource, field, "%s", text);
}


/* ---- keys ------------------------------------------------------------------------------------ */


/* Adds a key unless another block has it: then *taken is set. */
static cn_status_t
add_key(cn_compilation_t *compilation, cn_array_t *keys, cn_bytes_t key, const void *owner,
    bool *taken)
{
    cn_bytes_t  *slot;

    if (key.len == 0) {
        return CN_ERR_LIMIT;
    }

    if (cn_map_get(compilation->keys, key) != NULL) {
        *taken = true;
        return CN_OK;
    }

    slot = cn_array_add(keys);

    if (slot == NULL || cn_pool_copy(compilation->pool, key, slot) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return cn_map_set(compilation->keys, key, (void *) (uintptr_t) owner);
}


/* Every VIP and the host name, with every port. */
static cn_status_t
service_keys(cn_compilation_t *compilation, const cn_service_t *service, cn_array_t *keys)
{
    uint8_t      buffer[CN_KEY_MAX];
    bool         taken = false;
    cn_status_t  status = CN_OK;

    CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
        CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, ip) {
            if (status == CN_OK && keys->count < ADDRESS_KEYS_MAX) {
                status = add_key(compilation, keys, cn_key_address(buffer, ip->ip, chain->port),
                                 service, &taken);
            }
        }

        if (status == CN_OK) {
            status = add_key(compilation, keys, cn_key_host(buffer, service->host, chain->port),
                             service, &taken);
        }
    }

    if (taken) {
        tell(compilation, &service->origin, "spec.clusterIPs",
             "another service has the same address and port, and is first");
    }

    return status;
}


static cn_status_t
workload_keys(cn_compilation_t *compilation, const cn_workload_t *workload, cn_array_t *keys)
{
    uint8_t      buffer[CN_KEY_MAX];
    bool         taken = false;
    cn_status_t  status = CN_OK;

    CN_ARRAY_EACH(&workload->addresses, const cn_table_ip_t, ip) {
        if (status == CN_OK) {
            status = add_key(compilation, keys, cn_key_workload(buffer, ip->ip), workload, &taken);
        }
    }

    return status;
}


/* ---- putting --------------------------------------------------------------------------------- */


/* Finishes the builder, which is used up, and hands its block over. */
static cn_status_t
put_block(cn_compilation_t *compilation, cn_block_builder_t *builder, const cn_bytes_t *keys,
    size_t key_count)
{
    const cn_block_t  *block;
    cn_status_t        status = cn_block_finish(builder, &block);

    if (status == CN_OK) {
        status = cn_publisher_put(compilation->publisher, block, keys, key_count);
    }

    cn_block_builder_destroy(builder);

    return status;
}


/* Memory ends the compilation; anything else leaves this one thing as it was. */
static cn_status_t
contain(cn_compilation_t *compilation, cn_block_kind_t kind, uint64_t id,
    const cn_origin_t *origin, cn_status_t status)
{
    if (status == CN_OK || status == CN_ERR_MEMORY) {
        return status;
    }

    if (cn_publisher_keep(compilation->publisher, kind, id) == CN_OK) {
        tell(compilation, origin, "", "cannot be put into the table: its last version stays");

    } else {
        tell(compilation, origin, "", "cannot be put into the table, and is left out");
    }

    return CN_OK;
}


static cn_status_t
put_global(cn_compilation_t *compilation)
{
    cn_block_builder_t  *builder;
    cn_bytes_t           key = cn_key_global();
    uint32_t             id = 0;
    cn_status_t          status = cn_ids_get(compilation->blocks.ids, CN_BLOCK_GLOBAL,
                                             CN_BYTES("global"), &id);

    if (status == CN_OK) {
        status = cn_blocks_global(&compilation->blocks, id, &builder);
    }

    return status == CN_OK ? put_block(compilation, builder, &key, 1) : status;
}


static cn_status_t
put_cluster(cn_compilation_t *compilation, const cn_cluster_t *cluster)
{
    cn_block_builder_t  *builder;
    uint8_t              buffer[CN_KEY_MAX];
    cn_bytes_t           key;
    uint32_t             id = 0;
    cn_status_t          status = cn_ids_get(compilation->blocks.ids, CN_BLOCK_CLUSTER,
                                             cluster->name, &id);

    if (status == CN_OK) {
        status = cn_blocks_cluster(&compilation->blocks, cluster, id, &builder);
    }

    if (status == CN_OK) {
        key = cn_key_cluster(buffer, id);
        status = put_block(compilation, builder, &key, 1);
    }

    status = contain(compilation, CN_BLOCK_CLUSTER, id, &cluster->origin, status);

    if (status != CN_OK) {
        return status;
    }

    status = cn_blocks_endpoints(&compilation->blocks, cluster, id, &builder);

    if (status == CN_OK) {
        key = cn_key_endpoints(buffer, id);
        status = put_block(compilation, builder, &key, 1);
    }

    return contain(compilation, CN_BLOCK_ENDPOINTS, id, &cluster->origin, status);
}


static cn_status_t
put_service(cn_compilation_t *compilation, const cn_service_t *service)
{
    cn_array_t           keys = CN_ARRAY_INIT(compilation->pool, cn_bytes_t);
    cn_block_builder_t  *builder;
    uint32_t             id = 0;
    cn_status_t          status = cn_ids_get(compilation->blocks.ids, CN_BLOCK_SERVICE,
                                             service->host, &id);

    if (status == CN_OK) {
        status = service_keys(compilation, service, &keys);
    }

    if (status == CN_OK) {
        status = cn_blocks_service(&compilation->blocks, service, id, &builder);
    }

    if (status == CN_OK) {
        status = put_block(compilation, builder, keys.items, keys.count);
    }

    return contain(compilation, CN_BLOCK_SERVICE, id, &service->origin, status);
}


static cn_status_t
put_workload(cn_compilation_t *compilation, const cn_workload_t *workload)
{
    static const cn_origin_t   nowhere = { .file = "", .resource = "" };
    cn_array_t                 keys = CN_ARRAY_INIT(compilation->pool, cn_bytes_t);
    cn_block_builder_t        *builder;
    uint32_t                   id = 0;
    cn_status_t                status = cn_ids_get(compilation->blocks.ids, CN_BLOCK_WORKLOAD,
                                                   workload->uid, &id);

    if (status == CN_OK) {
        status = workload_keys(compilation, workload, &keys);
    }

    if (status == CN_OK && keys.count > 0) {
        status = cn_blocks_workload(&compilation->blocks, workload, id, &builder);

        if (status == CN_OK) {
            status = put_block(compilation, builder, keys.items, keys.count);
        }
    }

    return contain(compilation, CN_BLOCK_WORKLOAD, id, &nowhere, status);
}


/* ---- the cursor ------------------------------------------------------------------------------ */


/* The list of a stage; NULL: it is not one. */
static const cn_array_t *
stage_list(const cn_compilation_t *compilation)
{
    const cn_model_t  *model = compilation->blocks.model;

    switch (compilation->stage) {
    case AT_CLUSTER:
        return &model->clusters;
    case AT_SERVICE:
        return &model->services;
    case AT_WORKLOAD:
        return &model->workloads;
    default:
        return NULL;
    }
}


static cn_status_t
put_next(cn_compilation_t *compilation)
{
    const cn_array_t  *list = stage_list(compilation);
    size_t             at = compilation->next;

    if (list == NULL || at + 1 >= list->count) {
        compilation->next = 0;
        compilation->stage++;

    } else {
        compilation->next++;
    }

    if (list == NULL) {
        return put_global(compilation);
    }

    if (at >= list->count) {
        return CN_OK;                   /* an empty list */
    }

    if (list == &compilation->blocks.model->clusters) {
        return put_cluster(compilation, CN_ARRAY_AT(list, const cn_cluster_t, at));
    }

    if (list == &compilation->blocks.model->services) {
        return put_service(compilation, CN_ARRAY_AT(list, const cn_service_t, at));
    }

    return put_workload(compilation, CN_ARRAY_AT(list, const cn_workload_t, at));
}


cn_status_t
cn_compile_step(cn_compilation_t *compilation, uint64_t budget_us)
{
    uint64_t  end = cn_clock_us_now() + budget_us;

    while (compilation->stage != AT_END) {
        cn_status_t  status = put_next(compilation);

        if (status != CN_OK) {
            cn_report_add(compilation->report, CN_REPORT_ERROR, NULL, "", "",
                          "the table cannot be made: %s",
                          cn_status_name(status));
            return status;
        }

        if (compilation->stage != AT_END && cn_clock_us_now() >= end) {
            return CN_AGAIN;
        }
    }

    cn_ids_end_round(compilation->blocks.ids, compilation->blocks.slab);

    return CN_OK;
}


/* ---- endpoints alone ------------------------------------------------------------------------- */

static cn_status_t
put_endpoints(const cn_blocks_t *blocks, const cn_cluster_t *cluster, cn_publisher_t *publisher)
{
    cn_block_builder_t  *builder;
    const cn_block_t    *block;
    uint8_t              buffer[CN_KEY_MAX];
    uint32_t             id = cn_ids_find(blocks->ids, CN_BLOCK_CLUSTER, cluster->name);
    cn_bytes_t           key;
    cn_status_t          status;

    if (id == 0) {
        return CN_ERR_NOT_FOUND;
    }

    status = cn_blocks_endpoints(blocks, cluster, id, &builder);

    if (status != CN_OK) {
        return status;
    }

    key = cn_key_endpoints(buffer, id);
    status = cn_block_finish(builder, &block);

    if (status == CN_OK) {
        status = cn_publisher_put(publisher, block, &key, 1);
    }

    cn_block_builder_destroy(builder);

    return status;
}


cn_status_t
cn_compile_endpoints(const cn_model_t *model, const cn_array_t *positions, cn_ids_t *ids,
    cn_slab_t *slab, cn_publisher_t *publisher)
{
    cn_blocks_t  blocks = { .model = model, .ids = ids, .slab = slab };

    cn_publisher_begin(publisher);

    CN_ARRAY_EACH(positions, const size_t, position) {
        const cn_cluster_t  *cluster = CN_ARRAY_AT(&model->clusters, const cn_cluster_t, *position);
        cn_status_t          status = put_endpoints(&blocks, cluster, publisher);

        if (status != CN_OK) {
            return status;
        }
    }

    return cn_publisher_keep_others(publisher);
}
