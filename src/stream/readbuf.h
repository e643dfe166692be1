/* SPDX-License-Identifier: Apache-2.0 */

/*
 * readbuf - the buffer that all connections of a process read into.
 *
 * Bytes are read into it and delivered as a slice.  Most owners are done with a slice when the
 * event returns; then the next read uses the same octets again, which are still in the cache.
 * While somebody holds a slice, the next read goes behind it, until too little room is left and the
 * holders keep the old buffer.
 *
 *      | held slices .......... | next read ->          |
 *      0                       fill                  capacity
 */

#ifndef CN_STREAM_READBUF_H
#define CN_STREAM_READBUF_H

#include "base/slice.h"

#define CN_READBUF_SIZE      65536      /* bytes of a buffer */
#define CN_READBUF_ROOM_MIN  16384      /* bytes; with less room left a new buffer is begun */

typedef struct {
    cn_buf_t  *buf;
    size_t     fill;
} cn_readbuf_t;

/*
 * Where to read to, and in *room how much fits (CN_READBUF_ROOM_MIN at least).  account: its
 * topmost parent is charged, because a buffer outlives the connection that began it.  NULL: memory.
 */
static inline uint8_t *
cn_readbuf_room(cn_readbuf_t *readbuf, cn_account_t *account, size_t *room)
{
    cn_buf_t  *buf = readbuf->buf;

    if (buf != NULL && buf->refs == 1) {
        readbuf->fill = 0;

    } else if (buf == NULL || buf->capacity - readbuf->fill < CN_READBUF_ROOM_MIN) {
        while (account != NULL && account->parent != NULL) {
            account = account->parent;
        }

        buf = cn_buf_create(CN_READBUF_SIZE - sizeof(cn_buf_t), account);
        if (buf == NULL) {
            return NULL;
        }

        cn_buf_unref(readbuf->buf);
        *readbuf = (cn_readbuf_t) { buf, 0 };
    }

    *room = buf->capacity - readbuf->fill;

    return buf->data + readbuf->fill;
}

/* The len bytes just read, with a reference of their own. */
static inline cn_slice_t
cn_readbuf_take(cn_readbuf_t *readbuf, size_t len)
{
    cn_slice_t  slice = cn_slice_of(readbuf->buf, readbuf->buf->data + readbuf->fill, len);

    readbuf->fill += len;

    return slice;
}

#endif
