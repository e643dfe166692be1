/* SPDX-License-Identifier: Apache-2.0 */

/* array - items of one size in a growing block of a pool.  Zero-initialise with CN_ARRAY_INIT. */

#ifndef CN_BASE_ARRAY_H
#define CN_BASE_ARRAY_H

#include "base/pool.h"

typedef struct {
    void       *items;          /* moves when the array grows: keep indexes, not pointers */
    size_t      count;
    size_t      capacity;
    size_t      item_size;      /* bytes */
    cn_pool_t  *pool;           /* owns items */
} cn_array_t;

#define CN_ARRAY_INIT(owner, type)  ((cn_array_t) { NULL, 0, 0, sizeof(type), (owner) })
#define CN_ARRAY_AT(array, type, i) (&((type *) (array)->items)[i])

/* Walks items: CN_ARRAY_EACH(&list, thing_t, thing) { ... } */
#define CN_ARRAY_EACH(array, type, item)                                                 \
    for (type *item = (array)->items, *item##_end = item ? item + (array)->count : item; \
         item < item##_end; item++)

/* A new zeroed last item; NULL when memory is spent. */
void *cn_array_add(cn_array_t *array) CN_MUST_USE;

/* qsort's contract; stable.  CN_ERR_MEMORY: the order is as it was. */
cn_status_t cn_array_sort(cn_array_t *array, int (*compare)(const void *a, const void *b))
    CN_MUST_USE;

#endif
