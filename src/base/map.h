/* SPDX-License-Identifier: Apache-2.0 */

/*
 * map - from bytes to a pointer, in insertion order.  Hashing is keyed with a secret of the process
 * (XXH3 with a random seed), so that a peer cannot choose colliding keys.
 */

#ifndef CN_BASE_MAP_H
#define CN_BASE_MAP_H

#include "base/pool.h"

typedef struct cn_map_s cn_map_t;

/* On the heap; NULL when memory is spent. */
cn_map_t *cn_map_create(void) CN_MUST_USE;
void cn_map_destroy(cn_map_t *map);

/* A map that its pool destroys. */
cn_map_t *cn_map_create_in(cn_pool_t *pool) CN_MUST_USE;

/*
 * Sets key to value (not NULL); the key's octets are copied.  CN_ERR_MEMORY: the map is as it was.
 */
cn_status_t cn_map_set(cn_map_t *map, cn_bytes_t key, void *value) CN_MUST_USE;

/* NULL when absent. */
void *cn_map_get(const cn_map_t *map, cn_bytes_t key);

/* Returns what was there, or NULL. */
void *cn_map_remove(cn_map_t *map, cn_bytes_t key);
size_t cn_map_count(const cn_map_t *map);

/*
 * Walks in insertion order: start with *at = 0; false at the end.  The map must not change
 * meanwhile but for the removal of the item just given.
 */
bool cn_map_next(const cn_map_t *map, size_t *at, cn_bytes_t *key, void **value);

#endif
