/* SPDX-License-Identifier: Apache-2.0 */

/*
 * slice - body bytes on their way through.  A slice views a part of a reference-counted buffer: the
 * one that the bytes were read into.  Passing a slice passes its reference.  Slices under 2 KiB are
 * copied out by cn_slice_compact(), so that a few bytes do not pin a large buffer.  Counts are not
 * atomic: a buffer stays in its process's one thread.
 */

#ifndef CN_BASE_SLICE_H
#define CN_BASE_SLICE_H

#include "base/pool.h"

#define CN_SLICE_PIN_MIN  2048          /* bytes; a shorter slice is copied out of a large buffer */

typedef struct {
    cn_account_t  *account;             /* charged with capacity; NULL: none */
    uint32_t       refs;
    uint32_t       capacity;            /* bytes in data */
    uint8_t        data[];
} cn_buf_t;

typedef struct {
    cn_buf_t       *buf;                /* NULL: static bytes that outlive the slice */
    const uint8_t  *ptr;
    size_t          len;
} cn_slice_t;

/*
 * A buffer of at least capacity octets with one reference; NULL when memory or the account's
 * budget is spent.
 */
cn_buf_t *cn_buf_create(size_t capacity, cn_account_t *account) CN_MUST_USE;

/* One reference more; NULL does nothing. */
static inline cn_buf_t *
cn_buf_ref(cn_buf_t *buf)
{
    if (buf != NULL) {
        buf->refs++;
    }

    return buf;
}

/* Gives one reference back; the last one frees.  NULL does nothing. */
void cn_buf_unref(cn_buf_t *buf);

/* A view of buf with a reference of its own. */
static inline cn_slice_t
cn_slice_of(cn_buf_t *buf, const uint8_t *ptr, size_t len)
{
    return (cn_slice_t) { cn_buf_ref(buf), ptr, len };
}

/* Static bytes: they must outlive every use. */
static inline cn_slice_t
cn_slice_static(cn_bytes_t bytes)
{
    return (cn_slice_t) { NULL, bytes.ptr, bytes.len };
}

static inline void
cn_slice_release(cn_slice_t *slice)
{
    cn_buf_unref(slice->buf);
    *slice = (cn_slice_t) { NULL, NULL, 0 };
}

static inline cn_bytes_t
cn_slice_bytes(const cn_slice_t *slice)
{
    return (cn_bytes_t) { slice->ptr, slice->len };
}

/* A fresh buffer with a copy of bytes.  CN_ERR_MEMORY: *slice is empty. */
cn_status_t cn_slice_copy(cn_bytes_t bytes, cn_account_t *account, cn_slice_t *slice) CN_MUST_USE;

/*
 * Replaces a short slice of a large buffer with a copy; a long one is left.  CN_ERR_MEMORY: the
 * slice is as it was.
 */
cn_status_t cn_slice_compact(cn_slice_t *slice, cn_account_t *account) CN_MUST_USE;

/*
 * A queue of slices, oldest first, that owns one reference of each.  Zeroed is empty; nothing is
 * allocated while it is.  Small appended bytes fill the spare room of its own last buffer.
 */
typedef struct {
    cn_slice_t    *ring;
    uint32_t       head;
    uint32_t       count;
    uint32_t       capacity;
    size_t         len;                 /* bytes queued */
    cn_account_t  *account;
} cn_chain_t;

/* Takes the slice's reference, also when it fails (CN_ERR_MEMORY). */
cn_status_t cn_chain_push(cn_chain_t *chain, cn_slice_t slice) CN_MUST_USE;

/* Copies bytes to the end.  CN_ERR_MEMORY: nothing was added. */
cn_status_t cn_chain_append(cn_chain_t *chain, cn_bytes_t bytes) CN_MUST_USE;

/* The oldest slice, still owned by the chain; an empty one when there is none. */
cn_slice_t cn_chain_first(const cn_chain_t *chain);

/* The slice at index i, 0 being the oldest; i < chain->count. */
cn_slice_t cn_chain_at(const cn_chain_t *chain, uint32_t i);

/* Takes the oldest slice (its reference becomes the caller's), cut to max bytes. */
cn_slice_t cn_chain_pop(cn_chain_t *chain, size_t max);

/* Drops the first len bytes; len <= chain->len. */
void cn_chain_drop(cn_chain_t *chain, size_t len);

/* Moves everything in from to the end of to.  CN_ERR_MEMORY: what was not moved stays in from. */
cn_status_t cn_chain_move(cn_chain_t *to, cn_chain_t *from) CN_MUST_USE;

/* Drops everything and frees the ring. */
void cn_chain_clear(cn_chain_t *chain);

#endif
