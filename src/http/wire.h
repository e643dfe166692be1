/* SPDX-License-Identifier: Apache-2.0 */

/*
 * wire - what the codecs share among themselves and nobody else uses: a session's head, reason
 * phrases, which octets an authority and a target may have, the date line.
 */

#ifndef CN_HTTP_WIRE_H
#define CN_HTTP_WIRE_H

#include "http/codec.h"

typedef struct {
    cn_exchange_t  *(*request)(cn_session_t *session, const cn_message_t *head, bool end,
                               cn_pool_t *pool,
                               const cn_exchange_events_t *events, void *owner);
    uint32_t        (*room)(const cn_session_t *session);
    uint32_t        (*active)(const cn_session_t *session);
    bool            (*leaving)(const cn_session_t *session);
    void            (*drain)(cn_session_t *session, bool final);
    void            (*close)(cn_session_t *session, cn_close_reason_t reason);
} cn_session_ops_t;

/* The head of both codecs' own structs. */
struct cn_session_s {
    const cn_session_ops_t     *ops;
    const cn_session_events_t  *events;
    void                       *owner;
    cn_stream_t                *stream;         /* NULL once it is closed */
    const cn_stream_info_t     *info;
    cn_loop_t                  *loop;
    cn_account_t               *account;        /* the stream's */
    cn_session_limits_t         limits;
};

/* Fills the head; limits may be NULL. */
void cn_session_init(cn_session_t *session, const cn_session_ops_t *ops, cn_stream_t *stream,
    const cn_session_limits_t *limits, const cn_session_events_t *events, void *owner);

/* A header whose id is known.  CN_ERR_MEMORY. */
cn_status_t cn_headers_push(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value,
    cn_header_id_t id) CN_MUST_USE;

/* "Not Found"; "Unknown" for a status without a phrase. */
const char *cn_http_reason(uint16_t status);

/* Only octets that RFC 3986 has in an authority (userinfo included); an empty one is valid. */
bool cn_http_authority_valid(cn_bytes_t authority);

/* Begins with '/' (or is "*") and has visible ASCII only. */
bool cn_http_path_valid(cn_bytes_t path);

/* No CR, LF, NUL or other control octet but HTAB; and: a lower-case token. */
bool cn_http_value_valid(cn_bytes_t value);
bool cn_http_name_valid(cn_bytes_t name);

/*
 * The scheme of a request of HTTP/1 whose target does not say it: x-forwarded-proto's, if there is
 * one that is "http" or "https" in any case, else the connection's (Envoy 1.40 does so).  Static.
 */
cn_bytes_t cn_http_forwarded_scheme(const cn_headers_t *headers, cn_bytes_t connection);

/* The Date of now, made once a second; valid until the next call. */
cn_bytes_t cn_http_date(void);

/* Does a comma-separated list have the token (case does not matter)? */
bool cn_http_list_has(cn_bytes_t list, cn_bytes_t token);

/*
 * A stream over an exchange whose codec passes raw bytes now: what to_stream returns.  The codec
 * raises on_body, on_end, on_sent, then on_over or on_reset, on the client side too.  NULL: memory.
 */
cn_stream_t *cn_exchange_stream_create(cn_exchange_t *exchange, cn_account_t *account) CN_MUST_USE;

#endif
