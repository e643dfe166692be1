/* SPDX-License-Identifier: Apache-2.0 */

/*
 * map - an open-addressed index over entries in insertion order.
 *
 *   slots    [ . | 2 | . | x | 0 | . | 1 | . ]    index + 1 of an entry, 0: empty, x: was removed
 *   entries  [ a | b | (removed) | c | ...   ]    value NULL: removed
 *
 * A lookup probes slots linearly until an empty one.  Removed entries and slots are dropped only
 * when a set needs room, so that a walk survives removals.
 */

#include "base/map.h"

#include "base/hash.h"
#include "base/random.h"

#define SLOTS_MIN     16u
#define SLOT_EMPTY    0u
#define SLOT_REMOVED  UINT32_MAX
#define SLOTS_MAX     (1u << 30)

typedef struct {
    uint64_t  hash;
    uint8_t  *key;
    size_t    key_len;
    void     *value;
} entry_t;

struct cn_map_s {
    entry_t   *entries;         /* room for 3/4 of slot_count */
    uint32_t  *slots;
    uint32_t   slot_count;      /* a power of two, or 0 */
    uint32_t   entry_count;     /* removed ones included */
    uint32_t   live;
};

static uint64_t  seed;
static bool      seeded;


static uint64_t
key_hash(cn_bytes_t key)
{
    if (!seeded) {
        cn_random_secret(&seed, sizeof(seed));
        seeded = true;
    }

    return cn_hash_seeded(key, seed);
}


static uint32_t
entries_max(uint32_t slot_count)
{
    return slot_count / 4 * 3;
}


/* Where key's entry index stands in slots; UINT32_MAX when it does not. */
static uint32_t
find_slot(const cn_map_t *map, cn_bytes_t key, uint64_t hash)
{
    uint32_t  mask = map->slot_count - 1;

    if (map->live == 0) {
        return UINT32_MAX;
    }

    /* ends: at least a quarter of the slots is empty */
    for (uint32_t at = (uint32_t) hash & mask; map->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        const entry_t  *entry;

        if (map->slots[at] == SLOT_REMOVED) {
            continue;
        }

        entry = &map->entries[map->slots[at] - 1];

        if (entry->hash == hash && cn_bytes_equal(cn_bytes(entry->key, entry->key_len), key)) {
            return at;
        }
    }

    return UINT32_MAX;
}


static void
insert_slot(cn_map_t *map, uint32_t index)
{
    uint32_t  mask = map->slot_count - 1;
    uint32_t  at = (uint32_t) map->entries[index].hash & mask;

    while (map->slots[at] != SLOT_EMPTY && map->slots[at] != SLOT_REMOVED) {
        at = (at + 1) & mask;
    }

    map->slots[at] = index + 1;
}


/* New arrays with room for one more live entry, and nothing removed in them. */
static cn_status_t
map_rebuild(cn_map_t *map)
{
    uint32_t   slot_count = SLOTS_MIN, count = 0;
    uint32_t  *slots;
    entry_t   *entries;

    /* at most half of the entries in use, so that a rebuild pays for itself */
    while (entries_max(slot_count) / 2 < map->live + 1) {
        if (slot_count == SLOTS_MAX) {
            return CN_ERR_MEMORY;
        }

        slot_count *= 2;
    }

    slots = cn_alloc_zero(slot_count * sizeof(*slots));
    if (slots == NULL) {
        return CN_ERR_MEMORY;
    }

    entries = cn_alloc(entries_max(slot_count) * sizeof(*entries));
    if (entries == NULL) {
        cn_free(slots);
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i < map->entry_count; i++) {
        if (map->entries[i].value != NULL) {
            entries[count++] = map->entries[i];
        }
    }

    cn_free(map->slots);
    cn_free(map->entries);
    map->slots = slots;
    map->entries = entries;
    map->slot_count = slot_count;
    map->entry_count = count;

    for (uint32_t i = 0; i < count; i++) {
        insert_slot(map, i);
    }

    return CN_OK;
}


cn_map_t *
cn_map_create(void)
{
    return cn_alloc_zero(sizeof(cn_map_t));
}


void
cn_map_destroy(cn_map_t *map)
{
    if (map == NULL) {
        return;
    }

    for (uint32_t i = 0; i < map->entry_count; i++) {
        if (map->entries[i].value != NULL) {
            cn_free(map->entries[i].key);
        }
    }

    cn_free(map->entries);
    cn_free(map->slots);
    cn_free(map);
}


static void
destroy_with_pool(void *map)
{
    cn_map_destroy(map);
}


cn_map_t *
cn_map_create_in(cn_pool_t *pool)
{
    cn_map_t  *map = cn_map_create();

    if (map != NULL && cn_pool_on_destroy(pool, destroy_with_pool, map) != CN_OK) {
        cn_map_destroy(map);
        return NULL;
    }

    return map;
}


cn_status_t
cn_map_set(cn_map_t *map, cn_bytes_t key, void *value)
{
    uint64_t  hash = key_hash(key);
    uint32_t  at = find_slot(map, key, hash);
    uint8_t  *copy;

    CN_BUG_ON(value == NULL);

    if (at != UINT32_MAX) {
        map->entries[map->slots[at] - 1].value = value;
        return CN_OK;
    }

    copy = cn_alloc(key.len);
    if (copy == NULL) {
        return CN_ERR_MEMORY;
    }

    if (map->entry_count == entries_max(map->slot_count) && map_rebuild(map) != CN_OK) {
        cn_free(copy);
        return CN_ERR_MEMORY;
    }

    if (key.len > 0) {
        memcpy(copy, key.ptr, key.len);
    }

    map->entries[map->entry_count] = (entry_t) {
        .hash = hash,
        .key = copy,
        .key_len = key.len,
        .value = value,
    };
    insert_slot(map, map->entry_count);
    map->entry_count++;
    map->live++;

    return CN_OK;
}


void *
cn_map_get(const cn_map_t *map, cn_bytes_t key)
{
    uint32_t  at;

    if (map->live == 0) {
        return NULL;
    }

    at = find_slot(map, key, key_hash(key));

    return at == UINT32_MAX ? NULL : map->entries[map->slots[at] - 1].value;
}


void *
cn_map_remove(cn_map_t *map, cn_bytes_t key)
{
    entry_t   *entry;
    void      *value;
    uint32_t   at;

    at = map->live == 0 ? UINT32_MAX : find_slot(map, key, key_hash(key));
    if (at == UINT32_MAX) {
        return NULL;
    }

    /* key may be the entry's own octets, as a walk gave them: nothing reads it after this */
    entry = &map->entries[map->slots[at] - 1];
    value = entry->value;
    cn_free(entry->key);
    entry->key = NULL;
    entry->value = NULL;
    map->slots[at] = SLOT_REMOVED;
    map->live--;

    return value;
}


size_t
cn_map_count(const cn_map_t *map)
{
    return map->live;
}


bool
cn_map_next(const cn_map_t *map, size_t *at, cn_bytes_t *key, void **value)
{
    while (*at < map->entry_count) {
        const entry_t  *entry = &map->entries[(*at)++];

        if (entry->value != NULL) {
            *key = cn_bytes(entry->key, entry->key_len);
            *value = entry->value;
            return true;
        }
    }

    return false;
}
