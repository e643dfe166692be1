/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Just enough HTTP/1.1 for a load generator and its upstream: where a head ends, how the body after
 * it is framed, and where a chunked body ends.  It trusts its peer; it is no parser for a proxy.
 */

#ifndef CN_BENCH_HTTP1_H
#define CN_BENCH_HTTP1_H

#include "common.h"

typedef struct {
    size_t size;            /* bytes, with the empty line */
    int status;             /* of a response; 0 in a request */
    uint64_t content_len;   /* 0 when there is none */
    bool chunked;
    bool close;             /* "connection: close" */
} hb_head_t;

typedef enum {
    HB_HEAD_WHOLE,
    HB_HEAD_PARTIAL,
    HB_HEAD_BAD
} hb_head_rc_t;

/* Looks for a whole head at data; *head is set only on HB_HEAD_WHOLE. */
hb_head_rc_t hb_head_scan(const uint8_t *data, size_t len, hb_head_t *head);

/*
 * Collects a head that may come in pieces.  On HB_HEAD_WHOLE *at is the head's first byte (in data
 * or in store) and *used the bytes of data that belong to it; on HB_HEAD_PARTIAL all of data was
 * kept.  store is empty between heads, and *at is valid until more is added to it.
 */
hb_head_rc_t hb_head_collect(hb_buf_t *store, const uint8_t *data, size_t len, hb_head_t *head,
                             const uint8_t **at, size_t *used);

typedef struct {
    enum {
        HB_CHUNK_SIZE,
        HB_CHUNK_DATA,
        HB_CHUNK_DATA_END,
        HB_CHUNK_TRAILER
    } state;
    uint64_t left;
    size_t line_len;
} hb_chunks_t;

/* Returns the bytes used, adds the body's to *body, and sets *end at the end of the body. */
size_t hb_chunks_feed(hb_chunks_t *chunks, const uint8_t *data, size_t len, uint64_t *body,
                      bool *end);

#endif
