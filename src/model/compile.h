/* SPDX-License-Identifier: Apache-2.0 */

/*
 * compile - from the model to blocks.  One call yields to its caller between blocks, so that the
 * master's loop never stands still: a compilation is a cursor.  Ids of clusters come from the id
 * book, which keeps a name's id over reloads and over a new master.
 */

#ifndef CN_MODEL_COMPILE_H
#define CN_MODEL_COMPILE_H

#include "model/model.h"
#include "table/snapshot.h"
#include "stats/slab.h"

typedef struct cn_ids_s cn_ids_t;
typedef struct cn_compilation_s cn_compilation_t;

/* Ids start above *last_id, which is advanced (it lives in the slab).  NULL: memory. */
cn_ids_t *cn_ids_create(_Atomic uint64_t *last_id) CN_MUST_USE;
void cn_ids_destroy(cn_ids_t *ids);

/*
 * Starts compiling model into publisher (cn_publisher_begin is called).  Cells for endpoints are
 * taken from slab (NULL: none, for -T and offline explain).  All arguments outlive the compilation.
 * NULL: memory.
 */
cn_compilation_t *cn_compile_start(const cn_model_t *model, cn_ids_t *ids, cn_slab_t *slab,
    cn_publisher_t *publisher,
    cn_report_t *report) CN_MUST_USE;

/*
 * Works for at most budget_us: CN_AGAIN: call again; CN_OK: all put, commit the publisher;
 * CN_ERR_*: reported, do not commit.
 */
cn_status_t cn_compile_step(cn_compilation_t *compilation, uint64_t budget_us) CN_MUST_USE;
void cn_compile_end(cn_compilation_t *compilation);

/*
 * Puts the endpoints of the clusters at these positions of the model, which was compiled last by
 * the same ids into the same publisher, and keeps all other blocks.  Cells of endpoints that are
 * gone are given back by the next whole compilation.  Not CN_OK: do not commit.
 */
cn_status_t cn_compile_endpoints(const cn_model_t *model, const cn_array_t *positions,
    cn_ids_t *ids, cn_slab_t *slab, cn_publisher_t *publisher) CN_MUST_USE;

#endif
