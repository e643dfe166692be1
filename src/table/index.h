/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index - from a 64-bit number to a position: open addressing on the heap.  For this room
 * only.  Zero-initialise.
 */

#ifndef CN_TABLE_INDEX_H
#define CN_TABLE_INDEX_H

#include "base/status.h"

typedef struct {
    uint64_t  key;
    uint32_t  position;
    uint32_t  used;
} cn_index_slot_t;

typedef struct {
    cn_index_slot_t  *slots;
    size_t            capacity;         /* a power of two, or 0 */
    size_t            count;
} cn_index_t;

/*
 * Room for more keys: so many calls of cn_index_set() after this cannot fail.  CN_ERR_MEMORY: as it
 * was.
 */
cn_status_t cn_index_reserve(cn_index_t *index, size_t more) CN_MUST_USE;

/* The key is not in the index, and there is room. */
void cn_index_set(cn_index_t *index, uint64_t key, uint32_t position);
bool cn_index_get(const cn_index_t *index, uint64_t key, uint32_t *position);

/* Gives the memory back; the index is empty and usable. */
void cn_index_clear(cn_index_t *index);

#endif
