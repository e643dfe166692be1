/* SPDX-License-Identifier: Apache-2.0 */

/* ids - two maps on the heap: of names to ids and of keys to cells. */

#include "model/ids.h"

#include "base/map.h"

#define NAME_MAX_LEN  1024

typedef struct {
    uint32_t  number;               /* the id or the cell */
    uint32_t  round;                /* in which it was asked for last */
} entry_t;

struct cn_ids_s {
    _Atomic uint64_t  *last_id;
    cn_map_t          *names;       /* kind and name -> entry_t */
    cn_map_t          *cells;       /* key -> entry_t */
    uint32_t           round;
};


static void
destroy_entries(cn_map_t *map)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (map != NULL && cn_map_next(map, &at, &key, &value)) {
        cn_free(value);
    }

    cn_map_destroy(map);
}


cn_ids_t *
cn_ids_create(_Atomic uint64_t *last_id)
{
    cn_ids_t  *ids = cn_alloc_zero(sizeof(*ids));

    if (ids == NULL) {
        return NULL;
    }

    ids->last_id = last_id;
    ids->names = cn_map_create();
    ids->cells = cn_map_create();

    if (ids->names == NULL || ids->cells == NULL) {
        cn_ids_destroy(ids);
        return NULL;
    }

    return ids;
}


void
cn_ids_destroy(cn_ids_t *ids)
{
    if (ids == NULL) {
        return;
    }

    destroy_entries(ids->names);
    destroy_entries(ids->cells);
    cn_free(ids);
}


void
cn_ids_begin_round(cn_ids_t *ids)
{
    ids->round++;
}


static entry_t *
add_entry(cn_map_t *map, cn_bytes_t key, uint32_t number)
{
    entry_t  *entry = cn_alloc(sizeof(*entry));

    if (entry == NULL) {
        return NULL;
    }

    *entry = (entry_t) { .number = number };

    if (cn_map_set(map, key, entry) != CN_OK) {
        cn_free(entry);
        return NULL;
    }

    return entry;
}


/* A kind's number and the name, in out; none when the name is too long. */
static cn_bytes_t
name_key(cn_block_kind_t kind, cn_bytes_t name, uint8_t out[NAME_MAX_LEN + 1])
{
    if (name.len == 0 || name.len > NAME_MAX_LEN) {
        return CN_BYTES_NONE;
    }

    out[0] = (uint8_t) kind;
    memcpy(out + 1, name.ptr, name.len);

    return cn_bytes(out, name.len + 1);
}


cn_status_t
cn_ids_get(cn_ids_t *ids, cn_block_kind_t kind, cn_bytes_t name, uint32_t *id)
{
    uint8_t     buffer[NAME_MAX_LEN + 1];
    cn_bytes_t  key = name_key(kind, name, buffer);
    entry_t    *entry;

    if (key.len == 0) {
        return CN_ERR_LIMIT;
    }

    entry = cn_map_get(ids->names, key);

    if (entry == NULL) {
        uint64_t  next = atomic_fetch_add(ids->last_id, 1) + 1;

        if (next > UINT32_MAX) {
            return CN_ERR_LIMIT;
        }

        entry = add_entry(ids->names, key, (uint32_t) next);
    }

    if (entry == NULL) {
        return CN_ERR_MEMORY;
    }

    entry->round = ids->round;
    *id = entry->number;

    return CN_OK;
}


uint32_t
cn_ids_find(cn_ids_t *ids, cn_block_kind_t kind, cn_bytes_t name)
{
    uint8_t     buffer[NAME_MAX_LEN + 1];
    cn_bytes_t  key = name_key(kind, name, buffer);
    entry_t    *entry = key.len == 0 ? NULL : cn_map_get(ids->names, key);

    return entry == NULL || entry->round != ids->round ? 0 : entry->number;
}


uint32_t
cn_ids_cell(cn_ids_t *ids, cn_slab_t *slab, uint64_t key)
{
    cn_bytes_t  octets = cn_bytes(&key, sizeof(key));
    entry_t    *entry;
    uint32_t    cell;

    if (slab == NULL) {
        return CN_CELL_NONE;
    }

    cell = cn_slab_cell_acquire(slab, key);

    if (cell == CN_CELL_OVERFLOW) {
        return cell;
    }

    entry = cn_map_get(ids->cells, octets);

    if (entry == NULL) {
        entry = add_entry(ids->cells, octets, cell);
    }

    /* without an entry the cell is not given back until the next master; it is not lost */
    if (entry != NULL) {
        entry->number = cell;
        entry->round = ids->round;
    }

    return cell;
}


void
cn_ids_end_round(cn_ids_t *ids, cn_slab_t *slab)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (cn_map_next(ids->names, &at, &key, &value)) {
        if (((entry_t *) value)->round != ids->round) {
            (void) cn_map_remove(ids->names, key);
            cn_free(value);
        }
    }

    at = 0;

    while (cn_map_next(ids->cells, &at, &key, &value)) {
        entry_t  *entry = value;

        if (entry->round == ids->round) {
            continue;
        }

        if (slab != NULL) {
            cn_slab_cell_retire(slab, entry->number, atomic_load(cn_slab_generation(slab)) + 1);
        }

        (void) cn_map_remove(ids->cells, key);
        cn_free(entry);
    }
}
