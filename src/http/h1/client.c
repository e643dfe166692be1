/* SPDX-License-Identifier: Apache-2.0 */

/*
 * client - HTTP/1 towards a server.  One exchange at a time; the connection is used again only when
 * both messages were complete and both sides want it.  Octets that no request asked for end the
 * connection.
 */

#include "http/h1/h1.h"

#define INFORMATIONAL_MAX  32           /* 1xx heads before the final one */


static h1_t *
client_of(h1_reader_t *reader)
{
    return CN_CONTAINER_OF(reader, h1_t, reader);
}


static void
send_informational(cn_exchange_t *base, const cn_message_t *head)
{
    (void) base, (void) head;           /* a server's call */
}


static void
send_head(cn_exchange_t *base, const cn_message_t *head, bool end)
{
    (void) base, (void) head, (void) end;
}


static void
reset(cn_exchange_t *base, cn_reset_reason_t reason)
{
    h1_t  *h1 = h1_exchange_of(base)->h1;

    (void) reason;

    if (h1 != NULL) {
        h1_exchange_detach(h1);
        h1_close_later(h1, CN_CLOSE_RESET);
    }
}


static const cn_exchange_ops_t  exchange_ops = {
    .send_informational = send_informational,
    .send_head          = send_head,
    .send_body          = h1_exchange_send_body,
    .send_end           = h1_exchange_send_end,
    .consumed           = h1_exchange_consumed,
    .reset              = reset,
    .pending            = h1_exchange_pending,
    .to_stream          = h1_exchange_to_stream,
};


/*
 * --- responses ---------------------------------------------------------------------------------
 */

static cn_pool_t *
on_begin(h1_reader_t *reader)
{
    h1_t  *h1 = client_of(reader);

    return h1->exchange != NULL ? h1->exchange->base.pool : NULL;
}


static bool
on_informational(h1_t *h1, h1_exchange_t *exchange, cn_message_t *head)
{
    if (++exchange->informational_count > INFORMATIONAL_MAX) {
        return false;
    }

    exchange->informational = true;

    if (exchange->base.events->on_informational != NULL) {
        exchange->base.events->on_informational(exchange->base.owner, head);
    }

    return h1->state == H1_BUSY;
}


/* May the connection be used again after this response? */
static bool
ends_connection(const h1_exchange_t *exchange, const cn_message_t *head, bool end)
{
    return !head->keep_alive || exchange->asks_upgrade
           || (!end && !head->chunked && head->content_length == CN_LENGTH_UNKNOWN);
}


static bool
on_head(h1_reader_t *reader, cn_message_t *head, bool end, bool *no_body)
{
    h1_t           *h1 = client_of(reader);
    h1_exchange_t  *exchange = h1->exchange;
    bool            upgraded = head->status == 101;

    if (exchange == NULL) {
        return false;
    }

    if (head->status < 200 && !upgraded) {
        *no_body = true;                /* whatever its head says */

        if (on_informational(h1, exchange, head)) {
            return true;
        }

        h1->reader.error = (h1_error_t) { 502, "http1.codec_error" };
        return false;
    }

    if (upgraded && !exchange->asks_upgrade) {
        h1->reader.error = (h1_error_t) { 502, "http1.codec_error" };
        return false;
    }

    if (head->status == 204 && head->chunked) {
        /* RFC 9112, 6.1: it has no body that could be chunked */
        h1->reader.error = (h1_error_t) { 502, "http1.codec_error" };
        return false;
    }

    *no_body = exchange->to_head;
    end = (end || exchange->to_head) && !upgraded;

    h1->no_more |= ends_connection(exchange, head, end);

    if (exchange->asks_upgrade && !upgraded) {
        exchange->write_done = true;    /* the request had no body */
    }

    exchange->end_told = end;
    exchange->base.events->on_head(exchange->base.owner, head, end);

    return h1->state == H1_BUSY;
}


static bool
on_body(h1_reader_t *reader, const uint8_t *at, size_t len)
{
    h1_t  *h1 = client_of(reader);

    return h1_deliver(h1, at, len) && h1->state == H1_BUSY;
}


static void
on_complete(h1_reader_t *reader)
{
    h1_t           *h1 = client_of(reader);
    h1_exchange_t  *exchange = h1->exchange;

    if (exchange != NULL && !exchange->raw && !exchange->informational) {
        h1_exchange_read_done(h1);
    }
}


static const h1_handlers_t  handlers = {
    .on_begin    = on_begin,
    .on_head     = on_head,
    .on_body     = on_body,
    .on_complete = on_complete,
};


/*
 * --- events ------------------------------------------------------------------------------------
 */

cn_reset_reason_t
h1_client_reset_reason(const h1_t *h1, cn_close_reason_t reason)
{
    const h1_exchange_t  *exchange = h1->exchange;

    switch (reason) {

    case CN_CLOSE_CONNECT_REFUSED:
        return CN_RESET_CONNECT_FAILED;

    case CN_CLOSE_CONNECT_TIMEOUT:
        return CN_RESET_CONNECT_TIMEOUT;

    case CN_CLOSE_UNPROCESSED:
        return CN_RESET_UNPROCESSED;

    case CN_CLOSE_TUNNEL_REFUSED:
        return CN_RESET_TERMINATED;

    case CN_CLOSE_TLS:
        return h1->opened ? CN_RESET_TERMINATED : CN_RESET_CONNECT_FAILED;

    case CN_CLOSE_PROTOCOL:
        return CN_RESET_PROTOCOL;

    default:
        break;
    }

    if (h1->silent || exchange == NULL || exchange->read_done) {
        return CN_RESET_TERMINATED;
    }

    /* a body that was cut short is the peer's fault, as Envoy sees it */
    if (h1->reader.head_done && !exchange->informational) {
        return CN_RESET_PROTOCOL;
    }

    if (h1->opened && !exchange->base.delivered && reason != CN_CLOSE_LIMIT) {
        return CN_RESET_UNPROCESSED;
    }

    return CN_RESET_TERMINATED;
}


void
h1_client_read_error(h1_t *h1)
{
    if (h1->reader.error.status == 0) {
        h1_exchange_fail(h1, CN_RESET_LIMIT, "");
    } else {
        h1_exchange_fail(h1, CN_RESET_PROTOCOL, h1->reader.error.detail);
    }

    h1_finish(h1, CN_CLOSE_PROTOCOL);
}


void
h1_client_peer_ended(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;

    if (exchange != NULL && !exchange->read_done && h1->reader.head_done
        && !exchange->informational)
    {
        /* a body until the end completes here; another was cut short */
        (void) h1_reader_finish(&h1->reader);
    }

    if (h1->exchange == NULL || !h1->exchange->read_done || !h1->exchange->write_done) {
        h1_finish(h1, h1->state == H1_CLOSING ? h1->reason : CN_CLOSE_END);
    }
}


static void
exchange_over(h1_t *h1)
{
    bool  reuse = !h1->no_more && !h1->draining && !h1->peer_ended && h1->held.len == 0;

    h1_exchange_detach(h1);

    if (!reuse) {
        h1_finish(h1, CN_CLOSE_LOCAL);
        return;
    }

    h1->state = H1_IDLE;
    h1_reader_restart(&h1->reader);

    if (h1->session.limits.idle_timeout_ms > 0) {
        cn_timer_set(h1->session.loop, &h1->timer, h1->session.limits.idle_timeout_ms);
    }

    if (h1->session.events->on_room != NULL) {
        h1->session.events->on_room(h1->session.owner);
    }
}


void
h1_client_pump(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;

    /* the head of a 1xx is complete: the next one follows */
    while (exchange != NULL && exchange->informational && h1->reader.complete
           && h1->state == H1_BUSY)
    {
        exchange->informational = false;
        h1_reader_restart(&h1->reader);
        h1_read_held(h1);

        if (h1->exchange != exchange) {
            exchange = NULL;
        }
    }

    if (h1->state == H1_CLOSING) {
        h1_finish(h1, h1->reason);
        return;
    }

    if (h1->exchange != NULL && h1->exchange->read_done && h1->exchange->write_done) {
        exchange_over(h1);
    }
}


/*
 * --- requests ----------------------------------------------------------------------------------
 */

static uint32_t
room(const cn_session_t *session)
{
    const h1_t  *h1 = (const h1_t *) (const void *) session;

    return h1->state == H1_IDLE && !h1->no_more && !h1->draining && !h1->peer_ended;
}


static cn_exchange_t *
request(cn_session_t *session, const cn_message_t *head, bool end, cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner)
{
    h1_t           *h1 = h1_of(session);
    h1_exchange_t  *exchange = cn_pool_alloc_zero(pool, sizeof(h1_exchange_t));
    cn_slice_t      text;

    if (exchange == NULL) {
        return NULL;
    }

    text = h1_write_request(head, end, session->account, &exchange->body);

    if (text.buf == NULL) {
        return NULL;
    }

    exchange->base = (cn_exchange_t) {
        .ops = &exchange_ops,
        .events = events,
        .owner = owner,
        .loop = session->loop,
        .pool = pool,
        .connection = session->info,
    };

    exchange->h1 = h1;
    exchange->version = CN_HTTP_11;
    exchange->write_left = head->content_length;
    exchange->to_head = cn_bytes_equal(head->method, CN_BYTES("HEAD"));
    exchange->asks_upgrade = head->protocol.len > 0;
    exchange->write_done = end && !exchange->asks_upgrade;

    cn_timer_cancel(&h1->timer);
    h1->exchange = exchange;
    h1->state = H1_BUSY;
    h1_write(h1, exchange, text);

    return &exchange->base;
}


static uint32_t
active(const cn_session_t *session)
{
    return ((const h1_t *) (const void *) session)->exchange != NULL;
}


static bool
leaving(const cn_session_t *session)
{
    const h1_t  *h1 = (const h1_t *) (const void *) session;

    return h1->no_more || h1->draining || h1->peer_ended;
}


static void
drain(cn_session_t *session, bool final)
{
    h1_t  *h1 = h1_of(session);

    (void) final;
    h1->draining = true;

    if (h1->state == H1_IDLE) {
        h1_close_later(h1, CN_CLOSE_DRAIN);
    }
}


static const cn_session_ops_t  session_ops = {
    .request = request,
    .room    = room,
    .active  = active,
    .leaving = leaving,
    .drain   = drain,
    .close   = h1_session_close,
};


cn_session_t *
cn_h1_client(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner)
{
    h1_t  *h1 = h1_create(stream, &session_ops, &handlers, false, limits, events, owner);

    return h1 != NULL ? &h1->session : NULL;
}
