/* SPDX-License-Identifier: Apache-2.0 */

/*
 * codec - HTTP/1 (llhttp) and HTTP/2 (nghttp2) sessions over any stream.  A session owns its
 * stream.
 *
 * A server session raises on_exchange for each request.  A client session gives exchanges by
 * cn_client_request().  Both tell when they can take no more (GOAWAY, connection: close) and when
 * they have ended.
 *
 * Limits (all settable, all counted when hit): request head 60 KiB and 100 headers (431), response
 * head 60 KiB; HTTP/2: decoded header bytes count, 100 concurrent streams, resets in both
 * directions against one budget, bounded control frames, GOAWAY ENHANCE_YOUR_CALM past it.
 */

#ifndef CN_HTTP_CODEC_H
#define CN_HTTP_CODEC_H

#include "http/exchange.h"

typedef struct cn_session_s cn_session_t;

typedef struct {
    uint32_t  head_octets_max;          /* default 60 KiB */
    uint32_t  headers_max;              /* default 100 */
    uint32_t  streams_max;              /* HTTP/2 SETTINGS_MAX_CONCURRENT_STREAMS, default 100 */
    uint32_t  streams_first;            /* HTTP/2 client: until the peer has said; 0: streams_max */
    uint32_t  stream_window;            /* bytes, default 256 KiB */
    uint32_t  connection_window;        /* bytes, default 1 MiB */
    uint32_t  ping_interval_ms;         /* HTTP/2 keepalive, default 10 s; 0: none */
    uint32_t  ping_timeout_ms;          /* default 20 s */
    uint32_t  idle_timeout_ms;          /* no exchange for so long: drain; 0: none */
    uint32_t  head_timeout_ms;          /* a request's head must be complete within; 0: none */
    /* HTTP/2 server: CONNECT is accepted, SETTINGS_ENABLE_CONNECT_PROTOCOL is sent */
    bool      connect;
    bool      ping_busy;                /* HTTP/2: PING only while an exchange is open */
    bool      allow_http_10;            /* HTTP/1 server: off answers 426 low_version */
} cn_session_limits_t;

extern const cn_session_limits_t  cn_session_limits_default;

/*
 * A request that the codec itself refused, for log and metrics: nothing else will be heard of it.
 */
typedef struct {
    uint16_t           status;          /* what was answered; 0: reset */
    const char        *detail;          /* "http1.codec_error", "low_version" */
    const char        *flag;            /* "DPE" or "" */
    cn_message_t      *head;            /* what was understood of it, or NULL */
    cn_http_version_t  version;         /* of the session, not of the request */
    size_t             sent;            /* octets of the answer's body */
} cn_refused_t;

typedef struct {
    /*
     * Server: a request's head is complete.  The owner sets itself on the exchange
     * (cn_exchange_set_owner) before it returns.  end: no body follows.  head lives in
     * exchange->pool.
     */
    void  (*on_exchange)(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end);
    /* Server; may be NULL. */
    void  (*on_refused)(void *owner, const cn_refused_t *refused);
    /*
     * Client: how many more requests it can take has changed (settings, an exchange over, going
     * away); may be NULL.
     */
    void  (*on_room)(void *owner);
    /* The stream below opened (TLS done); may be NULL. */
    void  (*on_opened)(void *owner);
    /*
     * The session has ended, the last event: it frees itself at the end of the turn.  Its exchanges
     * were reset before.
     */
    void  (*on_closed)(void *owner, cn_close_reason_t reason);
} cn_session_events_t;

/*
 * Sessions over stream, which they own from now on (also while it is still connecting).  limits may
 * be NULL: the defaults; it is copied.  account is the connection's.  NULL: memory; the stream
 * stays the caller's.
 */
cn_session_t *cn_h1_server(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner) CN_MUST_USE;
cn_session_t *cn_h2_server(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner) CN_MUST_USE;
cn_session_t *cn_h1_client(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner) CN_MUST_USE;
cn_session_t *cn_h2_client(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner) CN_MUST_USE;

/*
 * Client: sends a request's head (queued while the stream is still opening) and returns its
 * exchange, whose events go to events and owner.  head is read during the call only.  pool is the
 * request's and outlives the exchange.  NULL: cn_session_room() is 0, or memory.
 */
cn_exchange_t *cn_client_request(cn_session_t *session, const cn_message_t *head, bool end,
    cn_pool_t *pool, const cn_exchange_events_t *events, void *owner) CN_MUST_USE;

/*
 * Client: how many requests it can take now: HTTP/1: 0 or 1; HTTP/2: the peer's limit less what is
 * open.  0 once it goes away.
 */
uint32_t cn_session_room(const cn_session_t *session);

/* Exchanges open now. */
uint32_t cn_session_active(const cn_session_t *session);

/*
 * Whether it takes no requests any more, ever: GOAWAY or `connection: close` came, or it was
 * drained; without room alone it may have some again.
 */
bool cn_session_is_leaving(const cn_session_t *session);

/* The stream's info; lives as long as the session. */
const cn_stream_info_t *cn_session_info(const cn_session_t *session);

/*
 * Going away.  Server: HTTP/2 sends GOAWAY (first a notice with 2^31-1, then, when called again
 * with final, the real last id); HTTP/1 answers `connection: close`.  The session closes when its
 * exchanges are over.  Client: takes no more requests.
 */
void cn_session_drain(cn_session_t *session, bool final);

/*
 * Ends it now: exchanges raise on_reset(TERMINATED) from the ready queue; on_closed does not
 * follow.
 */
void cn_session_close(cn_session_t *session, cn_close_reason_t reason);

#endif
