/* SPDX-License-Identifier: Apache-2.0 */

/*
 * exchange - one request and its response.  The second of the two interfaces that carry everything;
 * made by the HTTP/1 and HTTP/2 codecs, server side and client side, over any stream.
 *
 *   server side: the codec makes the exchange when a request's head is complete.  The owner hears
 *                the request and sends the response.
 *   client side: the owner makes it with cn_client_request() (http/codec.h), which sends the
 *                request's head, then hears the response.
 *
 * Rules
 *  - Calls go down, events go up, as stream.h says.  Order of events: [head] body* end, or reset at
 *    any point, last.  sent may come at any time before the exchange is over; informational before
 *    the head (client side).
 *  - An exchange is over when both directions have ended, or by reset.  On the client side it frees
 *    itself at the end of the turn after its last event.  On the server side `over` is the last
 *    event.
 *  - A response may begin and end before the request has: the codec then reads on and drops
 *    (HTTP/2: RST NO_ERROR; HTTP/1: the connection closes after a delayed close of 1 s).
 *  - Credit: as a stream's.  At most `window` body bytes are delivered and not given back by
 *    cn_exchange_consumed().
 *  - After cn_exchange_reset(), and after on_reset, no event follows: on_over neither.
 *  - on_reset(CN_RESET_PROTOCOL) on the server side before a response was begun: HTTP/1 has
 *    answered 400 itself.
 */

#ifndef CN_HTTP_EXCHANGE_H
#define CN_HTTP_EXCHANGE_H

#include "http/message.h"
#include "stream/stream.h"

typedef struct cn_exchange_s cn_exchange_t;

/* Why an exchange was reset.  Response flags and details follow from it (filter/reply.h). */
typedef enum {
    CN_RESET_NONE = 0,
    /* RST_STREAM by the peer (server side: the client went away, Envoy's DR) */
    CN_RESET_REMOTE,
    CN_RESET_REMOTE_REFUSED,        /* REFUSED_STREAM: nothing was processed */
    /* GOAWAY with a lower last stream id, or nothing was written: safe to repeat */
    CN_RESET_UNPROCESSED,
    CN_RESET_CONNECT_FAILED,        /* the connection could not be opened (UF) */
    CN_RESET_CONNECT_TIMEOUT,
    CN_RESET_TERMINATED,            /* the connection ended (UC; server side: DC) */
    CN_RESET_PROTOCOL,              /* the peer broke the protocol (UPE, DPE) */
    CN_RESET_LIMIT,                 /* headers too large or too many, budget spent */
    CN_RESET_OVERFLOW,              /* a circuit breaker (UO) */
    CN_RESET_LOCAL,                 /* we gave up */
} cn_reset_reason_t;

/* What the owner hears.  All required but informational, sent and over. */
typedef struct {
    /*
     * head: the response (client side); not called on the server side, where the request came with
     * on_exchange.  end: no body follows.
     */
    void  (*on_head)(void *owner, cn_message_t *head, bool end);
    void  (*on_informational)(void *owner, cn_message_t *head);
    /* Takes the slice by clearing it. */
    void  (*on_body)(void *owner, cn_slice_t *data);
    /*
     * The peer's message is complete.  trailers: NULL or empty when there are none; live until the
     * event returns.
     */
    void  (*on_end)(void *owner, cn_headers_t *trailers);
    /* len of the sent body's bytes have left. */
    void  (*on_sent)(void *owner, size_t len);
    /*
     * detail: Envoy's response code details where the codec knows them ("http1.codec_error"), else
     * ""; static.
     */
    void  (*on_reset)(void *owner, cn_reset_reason_t reason, const char *detail);
    /* Server side: the response has left wholly, or can no more; the last event.  Log here. */
    void  (*on_over)(void *owner);
} cn_exchange_events_t;

/* How a codec does it.  Called only through the functions below. */
typedef struct {
    void          (*send_informational)(cn_exchange_t *exchange, const cn_message_t *head);
    void          (*send_head)(cn_exchange_t *exchange, const cn_message_t *head, bool end);
    void          (*send_body)(cn_exchange_t *exchange, cn_slice_t data);
    void          (*send_end)(cn_exchange_t *exchange, const cn_headers_t *trailers);
    void          (*consumed)(cn_exchange_t *exchange, size_t len);
    void          (*reset)(cn_exchange_t *exchange, cn_reset_reason_t reason);
    size_t        (*pending)(const cn_exchange_t *exchange);
    cn_stream_t  *(*to_stream)(cn_exchange_t *exchange);
} cn_exchange_ops_t;

/* The head of every codec's own struct. */
struct cn_exchange_s {
    const cn_exchange_ops_t     *ops;
    const cn_exchange_events_t  *events;
    void                        *owner;
    cn_loop_t                   *loop;
    /*
     * of the request: server side: the codec made it and frees it after over; client side: the
     * caller's
     */
    cn_pool_t                   *pool;
    /* who is at the other end; lives as long as the exchange */
    const cn_stream_info_t      *connection;
    /* bytes of heads and bodies as on the wire, framing included */
    uint64_t                     wire_received;
    uint64_t                     wire_sent;
    /* HTTP/2, in on_reset(CN_RESET_REMOTE): the code of RST_STREAM */
    uint32_t                     reset_code;
    /* client side: bytes of it reached the kernel: a repeat is not free of risk */
    bool                         delivered;
};

static inline void
cn_exchange_set_owner(cn_exchange_t *exchange, const cn_exchange_events_t *events, void *owner)
{
    exchange->events = events;
    exchange->owner = owner;
}

/*
 * Its events reach nobody from now on: of a client's exchange that is over for its owner, and may
 * still be cut off.
 */
void cn_exchange_quiet(cn_exchange_t *exchange);

/* 1xx: server side. */
static inline void
cn_exchange_send_informational(cn_exchange_t *exchange, const cn_message_t *head)
{
    exchange->ops->send_informational(exchange, head);
}

/*
 * The response's head (server side).  The message is read during the call only.  end: no body, no
 * trailers.
 */
static inline void
cn_exchange_send_head(cn_exchange_t *exchange, const cn_message_t *head, bool end)
{
    exchange->ops->send_head(exchange, head, end);
}

/* Takes the slice.  Bytes beyond a stated content-length are a bug of the caller's. */
static inline void
cn_exchange_send_body(cn_exchange_t *exchange, cn_slice_t data)
{
    exchange->ops->send_body(exchange, data);
}

/* Ends our direction.  trailers may be NULL; HTTP/1 sends them only where the peer's TE allows. */
static inline void
cn_exchange_send_end(cn_exchange_t *exchange, const cn_headers_t *trailers)
{
    exchange->ops->send_end(exchange, trailers);
}

static inline void
cn_exchange_consumed(cn_exchange_t *exchange, size_t len)
{
    exchange->ops->consumed(exchange, len);
}

/* Detaches at once: no event follows.  HTTP/2: RST_STREAM; HTTP/1: the connection closes. */
static inline void
cn_exchange_reset(cn_exchange_t *exchange, cn_reset_reason_t reason)
{
    exchange->ops->reset(exchange, reason);
}

/* Sent body bytes that have not left yet. */
static inline size_t
cn_exchange_pending(const cn_exchange_t *exchange)
{
    return exchange->ops->pending(exchange);
}

/*
 * Turns the exchange into a byte stream: CONNECT, WebSocket.  Server side: after sending 2xx or
 * 101; client side: in on_head of such a response.  The exchange is then owned by the stream and
 * raises nothing more itself.  NULL: memory, or the codec cannot.
 */
static inline cn_stream_t *
cn_exchange_to_stream(cn_exchange_t *exchange)
{
    return exchange->ops->to_stream(exchange);
}

/* "remote reset", "connection termination": Envoy's words for the reset body; never NULL. */
const char *cn_reset_reason_name(cn_reset_reason_t reason);

#endif
