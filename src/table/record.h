/* SPDX-License-Identifier: Apache-2.0 */

/*
 * record - which blocks a publication has, and under which keys: the publisher's two sets are of
 * this kind.  For this room only.
 */

#ifndef CN_TABLE_RECORD_H
#define CN_TABLE_RECORD_H

#include "table/block.h"
#include "table/index.h"

#define CN_RECORD_ID_MAX  (UINT64_MAX >> 3)     /* three bits of an index key are the kind's */

typedef struct cn_record_segment_s cn_record_segment_t;     /* the publisher's */

typedef struct {
    uint64_t              id;
    uint64_t              checksum;
    uint32_t              size;
    uint16_t              kind;
    cn_record_segment_t  *segment;      /* NULL: staged */
    uint32_t              offset;
    cn_block_t           *staged;       /* on the heap, the record's; NULL once written */
    size_t                key_at;       /* in the set's keys */
    size_t                key_count;
} cn_record_t;

typedef struct {
    cn_record_t  *records;
    size_t        count;
    size_t        capacity;
    uint64_t     *keys;                 /* hashes */
    size_t        key_count;
    size_t        key_capacity;
    cn_index_t    by_id;
    cn_index_t    by_key;               /* to the record that has it */
} cn_record_set_t;

/* Frees staged copies and all; the set is empty and usable. */
void cn_record_set_clear(cn_record_set_t *set);

/* Room for one more record with so many keys.  CN_ERR_MEMORY, CN_ERR_LIMIT. */
cn_status_t cn_record_set_reserve(cn_record_set_t *set, size_t key_count) CN_MUST_USE;

/* CN_ERR_EXISTS: that block, or another under one of the keys, is in the set; else CN_OK. */
cn_status_t cn_record_set_check(const cn_record_set_t *set, cn_block_kind_t kind, uint64_t id,
    const uint64_t *hashes, size_t count) CN_MUST_USE;

/*
 * Adds a copy of record under the hashes, after check and reserve.  The same hash given twice
 * counts once.
 */
void cn_record_set_add(cn_record_set_t *set, const cn_record_t *record, const uint64_t *hashes,
    size_t count);

/* NULL: not in the set. */
const cn_record_t *cn_record_set_find(const cn_record_set_t *set, cn_block_kind_t kind,
    uint64_t id);

#endif
