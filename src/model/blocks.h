/* SPDX-License-Identifier: Apache-2.0 */

/*
 * blocks - one thing of the model as the bytes of one block.  A builder that failed says so when it
 * is finished.
 */

#ifndef CN_MODEL_BLOCKS_H
#define CN_MODEL_BLOCKS_H

#include "model/ids.h"
#include "model/module_config.h"

typedef struct {
    const cn_model_t  *model;
    cn_ids_t          *ids;
    cn_slab_t         *slab;        /* NULL: no cells */
} cn_blocks_t;

/*
 * Each makes a builder with all in it.  Ids of clusters must be known before services are made.
 * CN_OK: *builder is the caller's; CN_ERR_MEMORY, CN_ERR_LIMIT, or what a module's packer says:
 * there is none.
 */
cn_status_t cn_blocks_global(const cn_blocks_t *blocks, uint64_t id,
    cn_block_builder_t **builder) CN_MUST_USE;
cn_status_t cn_blocks_service(const cn_blocks_t *blocks, const cn_service_t *service, uint64_t id,
    cn_block_builder_t **builder) CN_MUST_USE;
cn_status_t cn_blocks_cluster(const cn_blocks_t *blocks, const cn_cluster_t *cluster, uint32_t id,
    cn_block_builder_t **builder) CN_MUST_USE;
cn_status_t cn_blocks_endpoints(const cn_blocks_t *blocks, const cn_cluster_t *cluster, uint32_t id,
    cn_block_builder_t **builder) CN_MUST_USE;
cn_status_t cn_blocks_workload(const cn_blocks_t *blocks, const cn_workload_t *workload,
    uint64_t id,
    cn_block_builder_t **builder) CN_MUST_USE;

#endif
