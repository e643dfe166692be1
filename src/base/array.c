/* SPDX-License-Identifier: Apache-2.0 */

/* array - growth by doubling, and a merge sort: the C library's qsort() is not stable. */

#include "base/array.h"

#define FIRST_COUNT  8                  /* of small items; .. */
#define FIRST_SIZE   256                /* .. of larger ones as many as fit this, or one */


/* Most lists of a model have one large item: room for more of them would be half of its memory. */
static size_t
first_capacity(size_t item_size)
{
    if (item_size <= FIRST_SIZE / FIRST_COUNT) {
        return FIRST_COUNT;
    }

    return item_size <= FIRST_SIZE ? FIRST_SIZE / item_size : 1;
}


static cn_status_t
array_grow(cn_array_t *array)
{
    size_t       capacity, size;
    void        *items;
    cn_status_t  status;

    status = cn_size_mul(array->capacity, 2, &capacity);
    if (status != CN_OK) {
        return status;
    }

    capacity = capacity == 0 ? first_capacity(array->item_size) : capacity;

    status = cn_size_mul(capacity, array->item_size, &size);
    if (status != CN_OK) {
        return status;
    }

    items = cn_pool_alloc(array->pool, size);
    if (items == NULL) {
        return CN_ERR_MEMORY;
    }

    if (array->count > 0) {
        memcpy(items, array->items, array->count * array->item_size);
    }

    array->items = items;
    array->capacity = capacity;

    return CN_OK;
}


void *
cn_array_add(cn_array_t *array)
{
    uint8_t  *item;

    if (array->count == array->capacity && array_grow(array) != CN_OK) {
        return NULL;
    }

    item = (uint8_t *) array->items + array->count * array->item_size;
    array->count++;

    return memset(item, 0, array->item_size);
}


/* Merges the sorted runs from[low..middle) and from[middle..high) into to[low..high). */
static void
merge(uint8_t *to, const uint8_t *from, size_t low, size_t middle, size_t high, size_t size,
      int (*compare)(const void *a, const void *b))
{
    size_t  i = low, j = middle;

    for (size_t at = low; at < high; at++) {
        /* of equals the left one comes first: that is what keeps the sort stable */
        bool    left = i < middle
                       && (j == high || compare(from + i * size, from + j * size) <= 0);
        size_t  next = left ? i++ : j++;

        memcpy(to + at * size, from + next * size, size);
    }
}


cn_status_t
cn_array_sort(cn_array_t *array, int (*compare)(const void *a, const void *b))
{
    size_t    count = array->count, size = array->item_size;
    uint8_t  *from = array->items, *to, *spare;

    if (count < 2) {
        return CN_OK;
    }

    spare = cn_alloc(count * size);
    if (spare == NULL) {
        return CN_ERR_MEMORY;
    }

    to = spare;

    for (size_t width = 1; width < count; width *= 2) {
        for (size_t low = 0; low < count; low += 2 * width) {
            size_t  middle = count - low < width ? count : low + width;
            size_t  high = count - low < 2 * width ? count : low + 2 * width;

            merge(to, from, low, middle, high, size, compare);
        }

        uint8_t  *swap = from;

        from = to;
        to = swap;
    }

    if (from == spare) {
        memcpy(array->items, spare, count * size);
    }

    cn_free(spare);

    return CN_OK;
}
