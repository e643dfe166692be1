/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ids - the book of ids and cells: what a name's number is, over all compilations of one master.  A
 * round is one compilation; what a finished round did not ask for is struck out, and a name that
 * comes back later gets a new number.
 */

#ifndef CN_MODEL_IDS_H
#define CN_MODEL_IDS_H

#include "model/compile.h"

/* A new compilation: nothing was asked for yet. */
void cn_ids_begin_round(cn_ids_t *ids);

/*
 * The id of a name of one kind of thing; a new one when it has none.  CN_ERR_MEMORY; CN_ERR_LIMIT:
 * 32 bits are spent.
 */
cn_status_t cn_ids_get(cn_ids_t *ids, cn_block_kind_t kind, cn_bytes_t name,
    uint32_t *id) CN_MUST_USE;

/* As above, but never makes one: 0 when the name has none in this round. */
uint32_t cn_ids_find(cn_ids_t *ids, cn_block_kind_t kind, cn_bytes_t name);

/* The slab's cell for a key; CN_CELL_NONE when slab is NULL. */
uint32_t cn_ids_cell(cn_ids_t *ids, cn_slab_t *slab, uint64_t key);

/*
 * Ends a round that went well: strikes out what it did not ask for, and retires the cells of it.
 * slab may be NULL.
 */
void cn_ids_end_round(cn_ids_t *ids, cn_slab_t *slab);

#endif
