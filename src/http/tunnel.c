/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tunnel - an exchange as a stream: CONNECT in both directions, and what an upgrade leaves.
 *
 *   connecting --2xx--> open --close(LOCAL, DRAIN)--> linger --over, reset, 1 s--> closed
 *       |                 |
 *       +--other status---+--over, reset, close(other)--> closed
 *
 * The exchange is ours until it is over or reset; after either it is not touched.
 */

#include "http/tunnel.h"
#include "http/wire.h"

#define LINGER_MS    1000
#define TUNNEL_POOL  1024               /* octets: names, and the head of the answer */

typedef enum {
    TUNNEL_CONNECTING,
    TUNNEL_OPEN,
    TUNNEL_LINGER,
    TUNNEL_CLOSED,
} tunnel_state_t;

typedef struct {
    cn_stream_t      base;
    cn_exchange_t   *exchange;          /* NULL once it is over or reset */
    cn_pool_t       *pool;              /* a client tunnel's own: the exchange's */
    cn_chain_t       waiting;           /* writes from before the answer */
    cn_task_t        free;
    cn_timer_t       linger;
    tunnel_state_t   state;
    uint16_t         refused;
    bool             ended;             /* cn_stream_end() was called */
} tunnel_t;


static tunnel_t *
tunnel_of(cn_stream_t *stream)
{
    return (tunnel_t *) (void *) stream;
}


static void
tunnel_free(cn_task_t *task)
{
    tunnel_t  *tunnel = CN_CONTAINER_OF(task, tunnel_t, free);

    cn_chain_clear(&tunnel->waiting);
    cn_pool_destroy(tunnel->pool);
    cn_free(tunnel);
}


/* No event follows, and it is freed at the turn's end. */
static void
tunnel_end(tunnel_t *tunnel)
{
    tunnel->state = TUNNEL_CLOSED;
    tunnel->exchange = NULL;
    cn_timer_cancel(&tunnel->linger);
    cn_loop_post(tunnel->base.loop, CN_PHASE_FREE, &tunnel->free);
}


static void
tunnel_closed(tunnel_t *tunnel, cn_close_reason_t reason)
{
    bool  tell = tunnel->state == TUNNEL_CONNECTING || tunnel->state == TUNNEL_OPEN;

    tunnel_end(tunnel);

    if (tell) {
        tunnel->base.events->on_closed(tunnel->base.owner, reason);
    }
}


static cn_close_reason_t
close_reason(cn_reset_reason_t reason)
{
    switch (reason) {
    case CN_RESET_REMOTE_REFUSED:
    case CN_RESET_UNPROCESSED:
        return CN_CLOSE_UNPROCESSED;
    case CN_RESET_CONNECT_FAILED:
        return CN_CLOSE_CONNECT_REFUSED;
    case CN_RESET_CONNECT_TIMEOUT:
        return CN_CLOSE_CONNECT_TIMEOUT;
    case CN_RESET_PROTOCOL:
        return CN_CLOSE_PROTOCOL;
    case CN_RESET_LIMIT:
    case CN_RESET_OVERFLOW:
        return CN_CLOSE_LIMIT;
    default:
        return CN_CLOSE_RESET;
    }
}


static cn_reset_reason_t
reset_reason(cn_close_reason_t reason)
{
    return reason == CN_CLOSE_UNPROCESSED ? CN_RESET_UNPROCESSED : CN_RESET_LOCAL;
}


/*
 * --- events of the exchange --------------------------------------------------------------------
 */

/* The answer is here: what waited for it goes out. */
static void
tunnel_opened(tunnel_t *tunnel)
{
    const cn_stream_info_t  *connection = tunnel->exchange->connection;

    tunnel->state = TUNNEL_OPEN;
    tunnel->base.info.peer_principal = connection->peer_principal;
    tunnel->base.info.local_principal = connection->local_principal;
    tunnel->base.info.trust_generation = connection->trust_generation;

    while (tunnel->waiting.len > 0) {
        cn_exchange_send_body(tunnel->exchange, cn_chain_pop(&tunnel->waiting, SIZE_MAX));
    }

    cn_chain_clear(&tunnel->waiting);

    if (tunnel->ended) {
        cn_exchange_send_end(tunnel->exchange, NULL);
    }

    if (tunnel->base.events->on_opened != NULL) {
        tunnel->base.events->on_opened(tunnel->base.owner);
    }
}


static void
tunnel_told_end(tunnel_t *tunnel)
{
    if (tunnel->state == TUNNEL_OPEN && tunnel->base.events->on_ended != NULL) {
        tunnel->base.events->on_ended(tunnel->base.owner);
    }
}


static void
on_head(void *owner, cn_message_t *head, bool end)
{
    tunnel_t  *tunnel = owner;

    if (tunnel->state != TUNNEL_CONNECTING) {
        return;
    }

    if (head->status < 200 || head->status > 299) {
        tunnel->refused = head->status;
        cn_exchange_reset(tunnel->exchange, CN_RESET_LOCAL);
        tunnel_closed(tunnel, CN_CLOSE_TUNNEL_REFUSED);
        return;
    }

    tunnel_opened(tunnel);

    if (end) {
        tunnel_told_end(tunnel);
    }
}


static void
on_body(void *owner, cn_slice_t *data)
{
    tunnel_t  *tunnel = owner;

    if (tunnel->state == TUNNEL_OPEN) {
        CN_BUG_ON(tunnel->base.events == NULL);
        tunnel->base.events->on_data(tunnel->base.owner, data);

    } else if (tunnel->exchange != NULL) {
        cn_exchange_consumed(tunnel->exchange, data->len);
    }
}


static void
on_end(void *owner, cn_headers_t *trailers)
{
    (void) trailers;
    tunnel_told_end(owner);
}


static void
on_sent(void *owner, size_t len)
{
    tunnel_t  *tunnel = owner;

    if (tunnel->state == TUNNEL_OPEN && tunnel->base.events->on_sent != NULL) {
        tunnel->base.events->on_sent(tunnel->base.owner, len);
    }
}


static void
on_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) detail;
    tunnel_closed(owner, close_reason(reason));
}


static void
on_over(void *owner)
{
    tunnel_closed(owner, CN_CLOSE_END);
}


static const cn_exchange_events_t  exchange_events = {
    .on_head  = on_head,
    .on_body  = on_body,
    .on_end   = on_end,
    .on_sent  = on_sent,
    .on_reset = on_reset,
    .on_over  = on_over,
};


/*
 * --- calls of the owner ------------------------------------------------------------------------
 */

static void
tunnel_reset(tunnel_t *tunnel, cn_reset_reason_t reason)
{
    cn_exchange_t  *exchange = tunnel->exchange;

    tunnel_end(tunnel);

    if (exchange != NULL) {
        cn_exchange_reset(exchange, reason);
    }
}


static void
stream_write(cn_stream_t *stream, cn_slice_t data)
{
    tunnel_t  *tunnel = tunnel_of(stream);

    if (tunnel->ended || tunnel->exchange == NULL) {
        cn_slice_release(&data);

    } else if (tunnel->state == TUNNEL_OPEN) {
        cn_exchange_send_body(tunnel->exchange, data);

    } else if (cn_chain_push(&tunnel->waiting, data) != CN_OK) {
        /*
         * the queue has a hole now: only a reset is honest, and its owner hears of it by the
         * exchange
         */
        cn_timer_set(stream->loop, &tunnel->linger, 0);
    }
}


static void
stream_end(cn_stream_t *stream)
{
    tunnel_t  *tunnel = tunnel_of(stream);

    if (tunnel->ended || tunnel->exchange == NULL) {
        return;
    }

    tunnel->ended = true;

    if (tunnel->state == TUNNEL_OPEN) {
        cn_exchange_send_end(tunnel->exchange, NULL);
    }
}


static void
stream_consumed(cn_stream_t *stream, size_t len)
{
    tunnel_t  *tunnel = tunnel_of(stream);

    if (tunnel->exchange != NULL) {
        cn_exchange_consumed(tunnel->exchange, len);
    }
}


static size_t
stream_pending(const cn_stream_t *stream)
{
    const tunnel_t  *tunnel = (const tunnel_t *) (const void *) stream;

    if (tunnel->exchange == NULL) {
        return tunnel->waiting.len;
    }

    return tunnel->waiting.len + cn_exchange_pending(tunnel->exchange);
}


static void
stream_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    tunnel_t  *tunnel = tunnel_of(stream);

    if (tunnel->state == TUNNEL_LINGER || tunnel->state == TUNNEL_CLOSED) {
        return;
    }

    /* nothing is left to leave: a peer that has not ended by now is not waited for */
    if (tunnel->state != TUNNEL_OPEN || (reason != CN_CLOSE_LOCAL && reason != CN_CLOSE_DRAIN)
        || (tunnel->ended && stream_pending(stream) == 0))
    {
        tunnel_reset(tunnel, reset_reason(reason));
        return;
    }

    stream_end(stream);
    tunnel->state = TUNNEL_LINGER;
    cn_timer_set(stream->loop, &tunnel->linger, LINGER_MS);
}


static const cn_stream_ops_t  stream_ops = {
    .write    = stream_write,
    .end      = stream_end,
    .consumed = stream_consumed,
    .close    = stream_close,
    .pending  = stream_pending,
};


/* Lingered long enough, or a write was lost. */
static void
on_timer(cn_timer_t *timer)
{
    tunnel_t       *tunnel = CN_CONTAINER_OF(timer, tunnel_t, linger);
    cn_exchange_t  *exchange = tunnel->exchange;

    if (exchange != NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
    }

    tunnel_closed(tunnel, CN_CLOSE_LIMIT);
}


static tunnel_t *
tunnel_create(cn_loop_t *loop, cn_account_t *account, const cn_stream_info_t *connection)
{
    tunnel_t  *tunnel = cn_alloc_zero(sizeof(tunnel_t));

    if (tunnel == NULL) {
        return NULL;
    }

    tunnel->base = (cn_stream_t) {
        .ops = &stream_ops,
        .loop = loop,
        .account = account,
        .info = *connection,
    };

    tunnel->base.info.kind = CN_STREAM_TUNNEL;
    tunnel->base.info.alpn = CN_BYTES_NONE;
    tunnel->base.info.sni = CN_BYTES_NONE;
    tunnel->base.info.authority = CN_BYTES_NONE;
    tunnel->waiting.account = account;
    tunnel->free.run = tunnel_free;
    tunnel->linger.run = on_timer;

    return tunnel;
}


cn_stream_t *
cn_exchange_stream_create(cn_exchange_t *exchange, cn_account_t *account)
{
    tunnel_t  *tunnel;

    /* a client's CONNECT has its tunnel from the beginning */
    if (exchange->events == &exchange_events) {
        return &((tunnel_t *) exchange->owner)->base;
    }

    tunnel = tunnel_create(exchange->loop, account, exchange->connection);

    if (tunnel == NULL) {
        return NULL;
    }

    tunnel->exchange = exchange;
    tunnel->state = TUNNEL_OPEN;
    cn_exchange_set_owner(exchange, &exchange_events, tunnel);

    return &tunnel->base;
}


cn_stream_t *
cn_tunnel_accept(cn_exchange_t *exchange, const cn_message_t *head)
{
    cn_message_t   answer;
    cn_bytes_t     date;
    cn_stream_t   *stream;

    cn_message_init(&answer, exchange->pool);
    answer.status = 200;

    if (cn_pool_copy(exchange->pool, cn_http_date(), &date) != CN_OK
        || cn_headers_add_id(&answer.headers, CN_HEADER_DATE, date) != CN_OK
        || cn_headers_add_id(&answer.headers, CN_HEADER_SERVER, CN_BYTES("istio-envoy")) != CN_OK)
    {
        cn_exchange_reset(exchange, CN_RESET_LIMIT);
        return NULL;
    }

    cn_exchange_send_head(exchange, &answer, false);
    stream = cn_exchange_to_stream(exchange);

    if (stream == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LIMIT);
        return NULL;
    }

    /* the head is in the exchange's pool, which lives until the exchange is over */
    stream->info.authority = head->authority;

    if (cn_address_parse(head->authority, &stream->info.local) != CN_OK) {
        stream->info.local = (cn_address_t) { .port = 0 };
    }

    return stream;
}


/* The CONNECT's head; its strings are read during cn_client_request() only. */
static cn_status_t
connect_head(cn_message_t *head, cn_bytes_t authority, const cn_headers_t *headers, cn_pool_t *pool)
{
    cn_message_init(head, pool);
    head->method = CN_BYTES("CONNECT");
    head->authority = authority;

    return headers != NULL ? cn_headers_copy(&head->headers, headers) : CN_OK;
}


cn_stream_t *
cn_tunnel_open(cn_session_t *session, cn_bytes_t authority, const cn_headers_t *headers,
    cn_account_t *account)
{
    tunnel_t      *tunnel = tunnel_create(session->loop, account, cn_session_info(session));
    cn_message_t   head;

    if (tunnel == NULL) {
        return NULL;
    }

    tunnel->pool = cn_pool_create(TUNNEL_POOL, account);

    if (tunnel->pool == NULL
        || cn_pool_copy(tunnel->pool, authority, &tunnel->base.info.authority) != CN_OK
        || connect_head(&head, authority, headers, tunnel->pool) != CN_OK)
    {
        tunnel_free(&tunnel->free);
        return NULL;
    }

    if (cn_address_parse(authority, &tunnel->base.info.peer) != CN_OK) {
        tunnel->base.info.peer = cn_session_info(session)->peer;
    }

    tunnel->exchange = cn_client_request(session, &head, false, tunnel->pool, &exchange_events,
                                         tunnel);

    if (tunnel->exchange == NULL) {
        tunnel_free(&tunnel->free);
        return NULL;
    }

    /* from here on the codec passes raw octets and tells when both directions have ended */
    CN_BUG_ON(cn_exchange_to_stream(tunnel->exchange) != &tunnel->base);

    return &tunnel->base;
}


uint16_t
cn_tunnel_refused_status(const cn_stream_t *stream)
{
    return stream->ops == &stream_ops ? ((const tunnel_t *) (const void *) stream)->refused : 0;
}
