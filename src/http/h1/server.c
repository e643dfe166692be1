/* SPDX-License-Identifier: Apache-2.0 */

/*
 * server - HTTP/1 towards a client.  One exchange at a time; what is pipelined behind it waits,
 * bounded by the stream's window. A client that ends its side after a complete request still gets
 * its response.
 */

#include "http/h1/h1.h"

#define REQUEST_POOL  4096              /* octets: exchange, head and headers of most requests */


static h1_t *
server_of(h1_reader_t *reader)
{
    return CN_CONTAINER_OF(reader, h1_t, reader);
}


static void
set_timer(h1_t *h1, uint32_t delay_ms)
{
    if (delay_ms > 0) {
        cn_timer_set(h1->session.loop, &h1->timer, delay_ms);
    } else {
        cn_timer_cancel(&h1->timer);
    }
}


static void
become_idle(h1_t *h1)
{
    h1->state = H1_IDLE;
    h1->head_octets = 0;
    h1_reader_restart(&h1->reader);
    set_timer(h1, h1->session.limits.idle_timeout_ms);
}


/*
 * --- responses ---------------------------------------------------------------------------------
 */

static void
send_informational(cn_exchange_t *base, const cn_message_t *head)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;
    h1_write_t      how = { .version = CN_HTTP_11 };
    h1_body_t       body;
    cn_slice_t      text;

    /* HTTP/1.0 knows no interim responses; 101 is final */
    if (h1 == NULL || exchange->head_sent || exchange->version == CN_HTTP_10
        || head->status == 101)
    {
        return;
    }

    text = h1_write_response(head, &how, h1->session.account, &body);

    if (text.buf != NULL) {
        h1_write(h1, exchange, text);
    }
}


static void
send_head(cn_exchange_t *base, const cn_message_t *head, bool end)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;
    cn_slice_t      text;

    if (h1 == NULL || exchange->head_sent || h1->state >= H1_CLOSING) {
        return;
    }

    /* a response before the request's end: the rest of it is not waited for, as Envoy does */
    if (h1->draining || !exchange->read_done || head->last) {
        h1->no_more = true;
    }

    h1_write_t  how = {
        .end = end, .to_head = exchange->to_head, .close = h1->no_more, .version = exchange->version
    };

    text = h1_write_response(head, &how, h1->session.account, &exchange->body);

    if (text.buf == NULL) {
        h1_close_later(h1, CN_CLOSE_LIMIT);
        return;
    }

    exchange->head_sent = true;
    exchange->write_left = head->content_length;

    if (exchange->body == H1_BODY_CLOSE) {
        h1->no_more = true;
    }

    h1_write(h1, exchange, text);

    if (end) {
        exchange->write_done = true;
        h1_post(h1);
    }
}


static void
reset(cn_exchange_t *base, cn_reset_reason_t reason)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;

    (void) reason;

    if (h1 == NULL) {
        return;
    }

    /* only a reset tells that a body without a length was cut short */
    bool  hard = exchange->raw || (exchange->head_sent && exchange->body == H1_BODY_CLOSE);

    h1_exchange_detach(h1);

    if (hard) {
        h1_close_later(h1, CN_CLOSE_RESET);
    } else {
        h1_linger(h1, true);
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
 * --- requests ----------------------------------------------------------------------------------
 */

static cn_pool_t *
on_begin(h1_reader_t *reader)
{
    h1_t  *h1 = server_of(reader);

    h1->state = H1_HEAD;
    h1->head_pool = cn_pool_create(REQUEST_POOL, h1->session.account);
    set_timer(h1, h1->session.limits.head_timeout_ms);

    return h1->head_pool;
}


static void
exchange_free(cn_task_t *task)
{
    h1_exchange_t  *exchange = CN_CONTAINER_OF(task, h1_exchange_t, free);

    cn_pool_destroy(exchange->base.pool);
}


static h1_exchange_t *
exchange_create(h1_t *h1, const cn_message_t *head)
{
    h1_exchange_t  *exchange = cn_pool_alloc_zero(h1->head_pool, sizeof(h1_exchange_t));

    if (exchange == NULL) {
        return NULL;
    }

    exchange->base = (cn_exchange_t) {
        .ops = &exchange_ops,
        .loop = h1->session.loop,
        .pool = h1->head_pool,
        .connection = h1->session.info,
        .wire_received = h1->head_octets,
    };

    exchange->h1 = h1;
    exchange->free.run = exchange_free;
    exchange->version = head->version;
    exchange->to_head = cn_bytes_equal(head->method, CN_BYTES("HEAD"));
    exchange->write_left = CN_LENGTH_UNKNOWN;

    h1->head_pool = NULL;
    h1->head_octets = 0;

    return exchange;
}


static bool
on_head(h1_reader_t *reader, cn_message_t *head, bool end, bool *no_body)
{
    h1_t           *h1 = server_of(reader);
    h1_exchange_t  *exchange = exchange_create(h1, head);

    (void) no_body;

    if (exchange == NULL) {
        h1_close_later(h1, CN_CLOSE_LIMIT);
        return false;
    }

    cn_timer_cancel(&h1->timer);
    h1->exchange = exchange;
    h1->state = H1_BUSY;

    if (!head->keep_alive) {
        h1->no_more = true;
    }

    if (end) {
        exchange->read_done = true;
        exchange->end_told = true;
    }

    h1->session.events->on_exchange(h1->session.owner, &exchange->base, head, end);
    CN_BUG_ON(h1->exchange == exchange && exchange->base.events == NULL);

    return h1->state == H1_BUSY;
}


static bool
on_body(h1_reader_t *reader, const uint8_t *at, size_t len)
{
    h1_t  *h1 = server_of(reader);

    return h1_deliver(h1, at, len) && h1->state == H1_BUSY;
}


static void
on_complete(h1_reader_t *reader)
{
    h1_t  *h1 = server_of(reader);

    /* an upgrade that went through within on_exchange has no message to complete */
    if (h1->exchange != NULL && !h1->exchange->raw) {
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

/* Answers what could not become an exchange. */
static void
refuse(h1_t *h1, uint16_t status, const char *detail, const char *flag)
{
    cn_session_t  *session = &h1->session;
    cn_refused_t   refused = {
        .status = status, .detail = detail, .flag = flag, .version = CN_HTTP_11,
        .sent = strlen(cn_http_reason(status)),
    };
    cn_slice_t     reply = h1_write_reply(status, session->account);

    if (reply.buf != NULL) {
        h1_write(h1, NULL, reply);
    }

    h1_linger(h1, false);

    if (session->events->on_refused != NULL) {
        session->events->on_refused(session->owner, &refused);
    }
}


void
h1_server_read_error(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;
    h1_error_t      error = h1->reader.error;

    if (error.status == 0) {
        h1_finish(h1, CN_CLOSE_LIMIT);
        return;
    }

    if (exchange == NULL) {
        refuse(h1, error.status, error.detail, "DPE");
        return;
    }

    if (!exchange->head_sent) {
        cn_slice_t  reply = h1_write_reply(error.status, h1->session.account);

        if (reply.buf != NULL) {
            h1_write(h1, exchange, reply);
        }
    }

    h1_linger(h1, false);
    h1_exchange_fail(h1, CN_RESET_PROTOCOL, error.detail);
}


void
h1_server_peer_ended(h1_t *h1)
{
    if (h1->state != H1_BUSY) {
        /* between requests, or within a head that will never be complete */
        if (h1->held.len == 0) {
            h1_finish(h1, CN_CLOSE_END);
        }

        return;
    }

    if (!h1->exchange->read_done) {
        h1_exchange_fail(h1, CN_RESET_TERMINATED, "");
        h1_finish(h1, CN_CLOSE_LOCAL);
    }
}


void
h1_server_timeout(h1_t *h1)
{
    if (h1->state == H1_HEAD) {
        refuse(h1, 408, "request_header_timeout", "");

    } else if (h1->state == H1_IDLE) {
        h1_linger(h1, true);
    }
}


/* The response has left: on to the next request, or to the end. */
static void
exchange_over(h1_t *h1)
{
    h1_exchange_t  *exchange;

    h1_report_sent(h1);
    exchange = h1->exchange;

    if (exchange == NULL || h1->state != H1_BUSY) {
        return;
    }

    const cn_exchange_events_t  *events = exchange->base.events;
    void                        *owner = exchange->base.owner;
    bool                         complete = exchange->read_done;
    bool                         reuse = complete && !h1->no_more
                                         && !(h1->peer_ended && h1->held.len == 0);

    h1_exchange_detach(h1);

    if (reuse) {
        become_idle(h1);
    } else {
        h1_linger(h1, complete);
    }

    if (events->on_over != NULL) {
        events->on_over(owner);
    }

    if (!reuse && h1->peer_ended) {
        h1_finish(h1, CN_CLOSE_LOCAL);
    }
}


void
h1_server_pump(h1_t *h1)
{
    do {
        h1_exchange_t  *exchange = h1->exchange;

        if (exchange != NULL && exchange->write_done
            && cn_stream_pending(h1->session.stream) == 0)
        {
            exchange_over(h1);
        }

        h1_read_held(h1);

    } while (h1->state == H1_BUSY && h1->exchange != NULL && h1->exchange->write_done
             && !h1->exchange->raw && cn_stream_pending(h1->session.stream) == 0);

    /* nothing more can come of an unfinished head */
    if (h1->peer_ended && h1->state <= H1_HEAD && h1->held.len == 0) {
        h1_finish(h1, CN_CLOSE_END);
    }

    if (h1->state == H1_CLOSING) {
        h1_finish(h1, h1->reason);
    }
}


static cn_exchange_t *
request(cn_session_t *session, const cn_message_t *head, bool end, cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner)
{
    (void) session, (void) head, (void) end, (void) pool, (void) events, (void) owner;

    return NULL;                        /* servers ask nothing */
}


static uint32_t
room(const cn_session_t *session)
{
    (void) session;

    return 0;
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

    return h1->draining;
}


/* An idle connection is left until the final call: a request may be under way. */
static void
drain(cn_session_t *session, bool final)
{
    h1_t  *h1 = h1_of(session);

    h1->draining = true;

    if (final && h1->state == H1_IDLE) {
        h1_linger(h1, true);
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
cn_h1_server(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner)
{
    h1_t  *h1 = h1_create(stream, &session_ops, &handlers, true, limits, events, owner);

    if (h1 == NULL) {
        return NULL;
    }

    if (stream->info.kind == CN_STREAM_TLS) {
        h1->reader.scheme = "https";
    }

    set_timer(h1, h1->session.limits.idle_timeout_ms);

    return &h1->session;
}
