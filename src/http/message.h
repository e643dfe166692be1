/* SPDX-License-Identifier: Apache-2.0 */

/*
 * message - the head of a request or response, the same for HTTP/1 and HTTP/2.  Names are lower
 * case.  Pseudo headers are fields of the struct and never in the list; Host is `authority`.
 * Framing headers (content-length, transfer-encoding, connection and what it names, upgrade, te
 * other than trailers, keep-alive, proxy-connection) are taken out by the reader and put in by the
 * writer from the fields below. All bytes live in the message's pool: the request's.
 */

#ifndef CN_HTTP_MESSAGE_H
#define CN_HTTP_MESSAGE_H

#include "base/pool.h"
#include "http/header_names.h"

typedef enum {
    CN_HEADER_OTHER = 0,
#define X(id, name) CN_HEADER_##id,
    CN_HEADER_NAMES(X)
#undef X
    CN_HEADER_COUNT
} cn_header_id_t;

typedef struct {
    cn_bytes_t  name;               /* lower case */
    cn_bytes_t  value;
    uint16_t    id;                 /* cn_header_id_t; 0: not one of ours */
} cn_header_t;

typedef struct {
    cn_header_t  *items;            /* in the order received; in the pool, moves when it grows */
    uint32_t      count;
    uint32_t      capacity;
    size_t        octets;           /* sum of names and values */
    cn_pool_t    *pool;
} cn_headers_t;

typedef enum {
    CN_HTTP_10 = 10,
    CN_HTTP_11 = 11,
    CN_HTTP_2 = 20,
} cn_http_version_t;

#define CN_LENGTH_UNKNOWN  (-1)

typedef struct {
    /* a request */
    cn_bytes_t         method;
    cn_bytes_t         scheme;          /* "http" or "https" */
    cn_bytes_t         authority;       /* Host or :authority; none when absent */
    cn_bytes_t         path;            /* :path with query; none for CONNECT */
    /* of an upgrade or extended CONNECT: "websocket"; else none */
    cn_bytes_t         protocol;
    bool               expect_continue; /* Expect: 100-continue was there */

    /* a response */
    uint16_t           status;
    bool               last;            /* server side, HTTP/1: the connection ends behind it */

    /* both */
    cn_http_version_t  version;         /* as received */
    bool               keep_alive;      /* HTTP/1: the peer lets the connection live on */
    bool               chunked;         /* HTTP/1: the body came chunked */
    int64_t            content_length;  /* bytes, or CN_LENGTH_UNKNOWN */
    cn_headers_t       headers;
} cn_message_t;

/* Sets all to absent; headers grow in pool. */
void cn_message_init(cn_message_t *message, cn_pool_t *pool);

/* The id of a lower-case name, CN_HEADER_OTHER when it is none of ours; and the name of an id. */
cn_header_id_t cn_header_id(cn_bytes_t name);
cn_bytes_t cn_header_name(cn_header_id_t id);

/*
 * Adds at the end.  name is lower case; both must live as long as the pool (use cn_pool_copy).
 * CN_ERR_MEMORY.
 */
cn_status_t cn_headers_add(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value) CN_MUST_USE;
cn_status_t cn_headers_add_id(cn_headers_t *headers, cn_header_id_t id,
    cn_bytes_t value) CN_MUST_USE;

/* Removes all of that name, then adds one. */
cn_status_t cn_headers_set(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value) CN_MUST_USE;

/* How many were removed. */
uint32_t cn_headers_remove(cn_headers_t *headers, cn_bytes_t name);
uint32_t cn_headers_remove_id(cn_headers_t *headers, cn_header_id_t id);

/* The first of that name, or NULL; valid until the next change. */
const cn_header_t *cn_headers_find(const cn_headers_t *headers, cn_bytes_t name);
const cn_header_t *cn_headers_find_id(const cn_headers_t *headers, cn_header_id_t id);

/* A deep copy into to's pool, appended.  CN_ERR_MEMORY. */
cn_status_t cn_headers_copy(cn_headers_t *to, const cn_headers_t *from) CN_MUST_USE;

/* content-type begins with "application/grpc" (alone, or followed by '+' or ';'). */
bool cn_message_is_grpc(const cn_message_t *message);

#endif
