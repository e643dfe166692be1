/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slice - reference-counted buffers and queues of views into them.
 *
 * A chain's ring is a power of two of slices and exists only while the chain is not empty.  The
 * spare room of a chain's last buffer is filled only while the chain holds the buffer's one
 * reference: then nobody else can see, or be filling, the octets behind the last slice.
 */

#include "base/slice.h"
#include "base/block.h"

#define RING_MIN    8               /* slices */
#define APPEND_MIN  2048            /* bytes of the first buffer that append makes; then doubled */
#define APPEND_MAX  16384           /* one TLS record */


cn_buf_t *
cn_buf_create(size_t capacity, cn_account_t *account)
{
    size_t     size;
    cn_buf_t  *buf;

    if (capacity > UINT32_MAX / 2) {
        return NULL;
    }

    size = sizeof(cn_buf_t) + capacity;
    buf = cn_block_get(&size);
    if (buf == NULL) {
        return NULL;
    }

    capacity = size - sizeof(cn_buf_t);

    if (cn_account_charge(account, capacity) != CN_OK) {
        cn_block_put(buf, size);
        return NULL;
    }

    buf->account = account;
    buf->refs = 1;
    buf->capacity = (uint32_t) capacity;

    return buf;
}


void
cn_buf_unref(cn_buf_t *buf)
{
    if (buf == NULL) {
        return;
    }

    CN_BUG_ON(buf->refs == 0);

    if (--buf->refs == 0) {
        cn_account_release(buf->account, buf->capacity);
        cn_block_put(buf, sizeof(cn_buf_t) + buf->capacity);
    }
}


cn_status_t
cn_slice_copy(cn_bytes_t bytes, cn_account_t *account, cn_slice_t *slice)
{
    cn_buf_t  *buf;

    *slice = (cn_slice_t) { NULL, NULL, 0 };

    if (bytes.len == 0) {
        return CN_OK;
    }

    buf = cn_buf_create(bytes.len, account);
    if (buf == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(buf->data, bytes.ptr, bytes.len);
    *slice = (cn_slice_t) { buf, buf->data, bytes.len };

    return CN_OK;
}


cn_status_t
cn_slice_compact(cn_slice_t *slice, cn_account_t *account)
{
    cn_slice_t   copy;
    cn_status_t  status;

    /* a buffer that the slice fills by half or more is not worth a copy */
    if (slice->buf == NULL || slice->len >= CN_SLICE_PIN_MIN
        || slice->buf->capacity < 2 * CN_SLICE_PIN_MIN)
    {
        return CN_OK;
    }

    status = cn_slice_copy(cn_slice_bytes(slice), account, &copy);
    if (status != CN_OK) {
        return status;
    }

    cn_slice_release(slice);
    *slice = copy;

    return CN_OK;
}


static inline cn_slice_t *
chain_slot(const cn_chain_t *chain, uint32_t i)
{
    return &chain->ring[(chain->head + i) & (chain->capacity - 1)];
}


static void
ring_free(cn_chain_t *chain)
{
    cn_block_put(chain->ring, chain->capacity * sizeof(cn_slice_t));
    chain->ring = NULL;
    chain->head = 0;
    chain->capacity = 0;
}


/* Makes room for `more` slices beyond those in the chain. */
static cn_status_t
chain_reserve(cn_chain_t *chain, uint32_t more)
{
    uint32_t     capacity = chain->capacity == 0 ? RING_MIN : chain->capacity;
    size_t       size, held;
    cn_slice_t  *ring;

    if (more > UINT32_MAX / 4 - chain->count) {
        return CN_ERR_MEMORY;
    }

    while (capacity < chain->count + more) {
        capacity *= 2;
    }

    if (capacity == chain->capacity) {
        return CN_OK;
    }

    size = capacity * sizeof(cn_slice_t);
    held = size;
    ring = cn_block_get(&held);
    if (ring == NULL) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i < chain->count; i++) {
        ring[i] = *chain_slot(chain, i);
    }

    cn_block_put(chain->ring, chain->capacity * sizeof(cn_slice_t));
    chain->ring = ring;
    chain->head = 0;
    chain->capacity = capacity;

    return CN_OK;
}


static inline void
chain_put(cn_chain_t *chain, cn_slice_t slice)
{
    *chain_slot(chain, chain->count) = slice;
    chain->count++;
    chain->len += slice.len;
}


/* Forgets the oldest slice, whose reference has gone elsewhere. */
static void
chain_forget_first(cn_chain_t *chain)
{
    chain->len -= chain_slot(chain, 0)->len;
    chain->head = (chain->head + 1) & (chain->capacity - 1);
    chain->count--;

    if (chain->count == 0) {
        ring_free(chain);
    }
}


cn_status_t
cn_chain_push(cn_chain_t *chain, cn_slice_t slice)
{
    if (slice.len == 0) {
        cn_slice_release(&slice);
        return CN_OK;
    }

    if (chain->count == chain->capacity && chain_reserve(chain, 1) != CN_OK) {
        cn_slice_release(&slice);
        return CN_ERR_MEMORY;
    }

    chain_put(chain, slice);

    return CN_OK;
}


/* The chain's last slice if its buffer is the chain's alone, and how many octets fit behind it. */
static cn_slice_t *
chain_own_last(const cn_chain_t *chain, size_t *room)
{
    cn_slice_t  *last = chain->count == 0 ? NULL : chain_slot(chain, chain->count - 1);

    *room = 0;

    if (last == NULL || last->buf == NULL || last->buf->refs != 1) {
        return NULL;
    }

    *room = last->buf->capacity - (size_t) (last->ptr - last->buf->data) - last->len;

    return last;
}


static void
chain_fill(cn_chain_t *chain, cn_slice_t *last, cn_bytes_t bytes)
{
    size_t  at = (size_t) (last->ptr - last->buf->data) + last->len;

    memcpy(last->buf->data + at, bytes.ptr, bytes.len);
    last->len += bytes.len;
    chain->len += bytes.len;
}


cn_status_t
cn_chain_append(cn_chain_t *chain, cn_bytes_t bytes)
{
    size_t       room, capacity = APPEND_MIN;
    cn_slice_t  *last = chain_own_last(chain, &room);
    cn_buf_t    *buf;

    if (bytes.len == 0) {
        return CN_OK;
    }

    if (bytes.len <= room) {
        chain_fill(chain, last, bytes);
        return CN_OK;
    }

    if (last != NULL) {
        capacity = last->buf->capacity < APPEND_MAX / 2 ? 2 * (size_t) last->buf->capacity
                                                        : APPEND_MAX;
    }

    /* everything that can fail comes first: a failure adds nothing */
    buf = cn_buf_create(bytes.len - room > capacity ? bytes.len - room : capacity, chain->account);
    if (buf == NULL) {
        return CN_ERR_MEMORY;
    }

    if (chain_reserve(chain, 1) != CN_OK) {
        cn_buf_unref(buf);
        return CN_ERR_MEMORY;
    }

    if (room > 0) {
        /* the ring may have moved */
        chain_fill(chain, chain_slot(chain, chain->count - 1), cn_bytes(bytes.ptr, room));
        bytes = cn_bytes_from(bytes, room);
    }

    memcpy(buf->data, bytes.ptr, bytes.len);
    chain_put(chain, (cn_slice_t) { buf, buf->data, bytes.len });

    return CN_OK;
}


cn_slice_t
cn_chain_first(const cn_chain_t *chain)
{
    return chain->count == 0 ? (cn_slice_t) { NULL, NULL, 0 } : *chain_slot(chain, 0);
}


cn_slice_t
cn_chain_at(const cn_chain_t *chain, uint32_t i)
{
    CN_BUG_ON(i >= chain->count);

    return *chain_slot(chain, i);
}


cn_slice_t
cn_chain_pop(cn_chain_t *chain, size_t max)
{
    cn_slice_t  *first, part;

    if (chain->count == 0 || max == 0) {
        return (cn_slice_t) { NULL, NULL, 0 };
    }

    first = chain_slot(chain, 0);

    if (first->len <= max) {
        part = *first;
        chain_forget_first(chain);
        return part;
    }

    part = cn_slice_of(first->buf, first->ptr, max);
    first->ptr += max;
    first->len -= max;
    chain->len -= max;

    return part;
}


void
cn_chain_drop(cn_chain_t *chain, size_t len)
{
    CN_BUG_ON(len > chain->len);

    while (len > 0) {
        cn_slice_t  *first = chain_slot(chain, 0);

        if (first->len > len) {
            first->ptr += len;
            first->len -= len;
            chain->len -= len;
            return;
        }

        len -= first->len;
        cn_buf_unref(first->buf);
        chain_forget_first(chain);
    }
}


cn_status_t
cn_chain_move(cn_chain_t *to, cn_chain_t *from)
{
    if (from->count == 0) {
        return CN_OK;
    }

    if (to->count == 0) {
        cn_account_t  *account = to->account;

        *to = *from;
        to->account = account;
        *from = (cn_chain_t) { .account = from->account };
        return CN_OK;
    }

    if (chain_reserve(to, from->count) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i < from->count; i++) {
        chain_put(to, *chain_slot(from, i));
    }

    from->count = 0;
    from->len = 0;
    ring_free(from);

    return CN_OK;
}


void
cn_chain_clear(cn_chain_t *chain)
{
    cn_chain_drop(chain, chain->len);
}
