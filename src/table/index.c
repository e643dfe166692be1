/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index - keys are the master's own ids and hashes of its own names: no peer chooses where they
 * fall.
 */

#include "table/index.h"

#include "base/pool.h"

#define FIRST_CAPACITY  64u
/* 2^64 over the golden ratio: spreads consecutive ids */
#define MIX             0x9e3779b97f4a7c15u


static cn_index_slot_t *
slot_of(cn_index_slot_t *slots, size_t capacity, uint64_t key)
{
    size_t  i = (size_t) ((key * MIX) >> 20) & (capacity - 1);

    while (slots[i].used && slots[i].key != key) {
        i = (i + 1) & (capacity - 1);
    }

    return &slots[i];
}


cn_status_t
cn_index_reserve(cn_index_t *index, size_t more)
{
    size_t            capacity = index->capacity == 0 ? FIRST_CAPACITY : index->capacity;
    cn_index_slot_t  *slots;

    while ((index->count + more) * 2 > capacity) {
        capacity *= 2;
    }

    if (capacity == index->capacity) {
        return CN_OK;
    }

    slots = cn_alloc_zero(capacity * sizeof(*slots));

    if (slots == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < index->capacity; i++) {
        if (index->slots[i].used) {
            *slot_of(slots, capacity, index->slots[i].key) = index->slots[i];
        }
    }

    cn_free(index->slots);
    index->slots = slots;
    index->capacity = capacity;

    return CN_OK;
}


void
cn_index_set(cn_index_t *index, uint64_t key, uint32_t position)
{
    *slot_of(index->slots, index->capacity, key) = (cn_index_slot_t) { key, position, 1 };
    index->count++;
}


bool
cn_index_get(const cn_index_t *index, uint64_t key, uint32_t *position)
{
    cn_index_slot_t  *slot;

    if (index->count == 0) {
        return false;
    }

    slot = slot_of(index->slots, index->capacity, key);
    *position = slot->position;

    return slot->used != 0;
}


void
cn_index_clear(cn_index_t *index)
{
    cn_free(index->slots);
    *index = (cn_index_t) { NULL, 0, 0 };
}
