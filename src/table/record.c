/* SPDX-License-Identifier: Apache-2.0 */

/* record - a growing list of records and of their keys' hashes, and an index over each. */

#include "table/record.h"

#include "base/pool.h"
#include "table/format.h"

#define KIND_BITS    3
#define FIRST_COUNT  256u

_Static_assert(CN_BLOCK_KIND_COUNT <= 1 << KIND_BITS, "a kind fits its bits");
_Static_assert(CN_RECORD_ID_MAX == UINT64_MAX >> KIND_BITS, "an id fits the rest");


static uint64_t
id_key(cn_block_kind_t kind, uint64_t id)
{
    return id << KIND_BITS | (uint64_t) kind;
}


void
cn_record_set_clear(cn_record_set_t *set)
{
    for (size_t i = 0; i < set->count; i++) {
        cn_free(set->records[i].staged);
    }

    cn_free(set->records);
    cn_free(set->keys);
    cn_index_clear(&set->by_id);
    cn_index_clear(&set->by_key);
    *set = (cn_record_set_t) { 0 };
}


static cn_status_t
room_for(void **items, size_t *capacity, size_t count, size_t size)
{
    size_t  larger = *capacity == 0 ? FIRST_COUNT : *capacity;
    void   *grown;

    while (larger < count) {
        larger *= 2;
    }

    if (larger == *capacity) {
        return CN_OK;
    }

    grown = cn_realloc(*items, larger * size);

    if (grown == NULL) {
        return CN_ERR_MEMORY;
    }

    *items = grown;
    *capacity = larger;

    return CN_OK;
}


cn_status_t
cn_record_set_reserve(cn_record_set_t *set, size_t key_count)
{
    void  *records = set->records;
    void  *keys = set->keys;

    if (set->count >= CN_ENTRIES_MAX || key_count > CN_ENTRIES_MAX - set->key_count) {
        return CN_ERR_LIMIT;
    }

    if (room_for(&records, &set->capacity, set->count + 1, sizeof(cn_record_t)) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    set->records = records;

    if (room_for(&keys, &set->key_capacity, set->key_count + key_count, sizeof(uint64_t))
        != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    set->keys = keys;

    if (cn_index_reserve(&set->by_id, 1) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return cn_index_reserve(&set->by_key, key_count);
}


void
cn_record_set_add(cn_record_set_t *set, const cn_record_t *record, const uint64_t *hashes,
    size_t count)
{
    uint32_t   position = (uint32_t) set->count;
    cn_record_t  *added = &set->records[set->count++];
    uint32_t   other;

    *added = *record;
    added->key_at = set->key_count;
    added->key_count = 0;
    cn_index_set(&set->by_id, id_key((cn_block_kind_t) record->kind, record->id), position);

    for (size_t i = 0; i < count; i++) {
        if (!cn_index_get(&set->by_key, hashes[i], &other)) {
            cn_index_set(&set->by_key, hashes[i], position);
            set->keys[set->key_count++] = hashes[i];
            added->key_count++;
        }
    }
}


cn_status_t
cn_record_set_check(const cn_record_set_t *set, cn_block_kind_t kind, uint64_t id,
    const uint64_t *hashes, size_t count)
{
    uint32_t  position;

    if (cn_index_get(&set->by_id, id_key(kind, id), &position)) {
        return CN_ERR_EXISTS;
    }

    for (size_t i = 0; i < count; i++) {
        if (cn_index_get(&set->by_key, hashes[i], &position)) {
            return CN_ERR_EXISTS;
        }
    }

    return CN_OK;
}


const cn_record_t *
cn_record_set_find(const cn_record_set_t *set, cn_block_kind_t kind, uint64_t id)
{
    uint32_t  position;

    return cn_index_get(&set->by_id, id_key(kind, id), &position) ? &set->records[position] : NULL;
}
