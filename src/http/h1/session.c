/* SPDX-License-Identifier: Apache-2.0 */

/*
 * session - what both sides of HTTP/1 share: input, credit, body, ending.
 *
 *   idle --first octet / request--> head (server) --complete--> busy --over--> idle
 *     any --last response left, error--> linger --1 s, peer ended--> closed
 *     any --stream closed, session closed--> closed
 *
 * Owners are told from events of the stream, from the ready task and from the timer, never from
 * within a call of theirs: a call that has something to tell asks for h1_post().
 */

#include "http/h1/h1.h"

#define LINGER_MS  1000


void
h1_post(h1_t *h1)
{
    cn_loop_post(h1->session.loop, CN_PHASE_READY, &h1->ready);
}


void
h1_write(h1_t *h1, h1_exchange_t *exchange, cn_slice_t data)
{
    if (h1->session.stream == NULL || h1->state >= H1_CLOSING) {
        cn_slice_release(&data);
        return;
    }

    if (exchange != NULL) {
        exchange->base.wire_sent += data.len;
    }

    cn_stream_write(h1->session.stream, data);
}


static void
give_credit(h1_t *h1, size_t len)
{
    if (len > 0 && h1->session.stream != NULL) {
        cn_stream_consumed(h1->session.stream, len);
    }
}


void
h1_exchange_detach(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;

    if (exchange == NULL) {
        return;
    }

    h1->exchange = NULL;
    exchange->h1 = NULL;
    give_credit(h1, exchange->owed);
    exchange->owed = 0;

    if (h1->server) {
        cn_loop_post(h1->session.loop, CN_PHASE_FREE, &exchange->free);
    }
}


void
h1_exchange_fail(h1_t *h1, cn_reset_reason_t reason, const char *detail)
{
    h1_exchange_t  *exchange = h1->exchange;

    if (exchange == NULL) {
        return;
    }

    const cn_exchange_events_t  *events = exchange->base.events;
    void                        *owner = exchange->base.owner;

    h1_exchange_detach(h1);

    if (events != NULL) {
        events->on_reset(owner, reason, detail);
    }
}


static void
session_free(cn_task_t *task)
{
    h1_t  *h1 = CN_CONTAINER_OF(task, h1_t, free);

    cn_pool_destroy(h1->head_pool);
    cn_free(h1);
}


void
h1_finish(h1_t *h1, cn_close_reason_t reason)
{
    cn_session_t  *session = &h1->session;

    if (h1->state == H1_CLOSED) {
        return;
    }

    h1->state = H1_CLOSED;
    cn_timer_cancel(&h1->timer);
    cn_task_cancel(&h1->ready);

    if (h1->server) {
        h1_exchange_fail(h1, CN_RESET_TERMINATED, "");
    } else {
        h1_exchange_fail(h1, h1_client_reset_reason(h1, reason), "");
    }

    cn_chain_clear(&h1->held);

    if (session->stream != NULL) {
        /* the peer's end is no reason to cut off what is still leaving */
        cn_stream_close(session->stream, reason == CN_CLOSE_END ? CN_CLOSE_LOCAL : reason);
        session->stream = NULL;
    }

    if (!h1->silent && session->events->on_closed != NULL) {
        session->events->on_closed(session->owner, reason);
    }

    cn_loop_post(session->loop, CN_PHASE_FREE, &h1->free);
}


void
h1_close_later(h1_t *h1, cn_close_reason_t reason)
{
    if (h1->state < H1_CLOSING) {
        h1->state = H1_CLOSING;
        h1->reason = reason;
        h1_post(h1);
    }
}


void
h1_session_close(cn_session_t *session, cn_close_reason_t reason)
{
    h1_t  *h1 = h1_of(session);

    h1->silent = true;
    h1_close_later(h1, reason);
}


static void
drop_held(h1_t *h1)
{
    give_credit(h1, h1->held.len);
    cn_chain_clear(&h1->held);
}


void
h1_linger(h1_t *h1, bool fin)
{
    if (h1->state >= H1_LINGER) {
        return;
    }

    h1->state = H1_LINGER;

    /* what is being read just now is dropped by who reads it */
    if (h1->input == NULL) {
        drop_held(h1);
    }

    cn_timer_set(h1->session.loop, &h1->timer, LINGER_MS);

    if (fin) {
        cn_stream_end(h1->session.stream);
    }
}


void
h1_exchange_read_done(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;

    if (exchange == NULL || exchange->read_done) {
        return;
    }

    exchange->read_done = true;

    if (!exchange->end_told && !(h1->server && exchange->write_done && !exchange->raw)) {
        exchange->end_told = true;
        exchange->base.events->on_end(exchange->base.owner, NULL);
    }
}


bool
h1_deliver(h1_t *h1, const uint8_t *at, size_t len)
{
    h1_exchange_t  *exchange = h1->exchange;
    cn_slice_t      slice;

    /* a response that has ended already wants no more of the request */
    if (exchange == NULL || (h1->server && exchange->write_done && !exchange->raw)) {
        return true;
    }

    slice = cn_slice_of(h1->input->buf, at, len);

    if (cn_slice_compact(&slice, h1->session.account) != CN_OK) {
        cn_slice_release(&slice);
        h1_close_later(h1, CN_CLOSE_LIMIT);
        return false;
    }

    exchange->owed += len;
    h1->delivered += len;
    exchange->base.events->on_body(exchange->base.owner, &slice);
    cn_slice_release(&slice);

    return true;
}


static bool
may_read(const h1_t *h1)
{
    if (h1->exchange != NULL && h1->exchange->raw) {
        return h1->state == H1_BUSY;
    }

    return h1->state <= H1_BUSY && !h1->reader.complete;
}


/* Wire octets belong to the exchange, or to the one that their head will make. */
static void
count_wire(h1_t *h1, h1_exchange_t *before, size_t used)
{
    h1_exchange_t  *exchange = h1->exchange != NULL ? h1->exchange : before;

    if (exchange == NULL) {
        h1->head_octets += used;

    } else {
        exchange->base.wire_received += used;
        exchange->base.wire_received += h1->head_octets;
        h1->head_octets = 0;
    }
}


/* Reads from slice and moves its start; false: an error, which read_failed() is to deal with. */
static bool
read_slice(h1_t *h1, cn_slice_t *slice)
{
    h1_exchange_t  *before = h1->exchange;
    size_t          used = slice->len;
    h1_read_t       result = H1_READ_MORE;

    h1->input = slice;
    h1->delivered = 0;

    if (before != NULL && before->raw) {
        (void) h1_deliver(h1, slice->ptr, slice->len);
    } else {
        result = h1_reader_feed(&h1->reader, slice->ptr, slice->len, &used);
    }

    h1->input = NULL;
    count_wire(h1, before, used);
    give_credit(h1, used - h1->delivered);
    slice->ptr += used;
    slice->len -= used;

    return result != H1_READ_ERROR || h1->state > H1_BUSY;
}


static void
read_failed(h1_t *h1)
{
    if (h1->server) {
        h1_server_read_error(h1);
    } else {
        h1_client_read_error(h1);
    }
}


/* What may not be read now is held, or dropped when nothing will be read any more. */
static void
hold(h1_t *h1, cn_slice_t *slice)
{
    if (slice->len == 0 || h1->state >= H1_LINGER) {
        give_credit(h1, slice->len);
        cn_slice_release(slice);
        return;
    }

    if (cn_chain_push(&h1->held, *slice) != CN_OK) {
        h1_close_later(h1, CN_CLOSE_LIMIT);
    }

    *slice = (cn_slice_t) { NULL, NULL, 0 };
}


static void
read_fresh(h1_t *h1, cn_slice_t *data)
{
    cn_slice_t  slice = *data;

    *data = (cn_slice_t) { NULL, NULL, 0 };

    while (h1->held.len == 0 && slice.len > 0 && may_read(h1)) {
        if (!read_slice(h1, &slice)) {
            read_failed(h1);
        }
    }

    hold(h1, &slice);
}


void
h1_read_held(h1_t *h1)
{
    while (h1->held.len > 0 && may_read(h1)) {
        cn_slice_t  slice = cn_chain_first(&h1->held);
        size_t      len = slice.len;
        bool        good = read_slice(h1, &slice);

        cn_chain_drop(&h1->held, len - slice.len);

        if (!good) {
            read_failed(h1);
        }
    }

    if (h1->state == H1_LINGER) {
        drop_held(h1);
    }
}


/*
 * --- exchange calls ----------------------------------------------------------------------------
 */

void
h1_report_sent(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;
    size_t          left, sent;

    if (exchange == NULL || exchange->unsent == 0) {
        return;
    }

    /* heads and framing are among what is left, so that this never says too much */
    left = cn_stream_pending(h1->session.stream);
    sent = left < exchange->unsent ? exchange->unsent - left : 0;
    exchange->unsent -= sent;

    if (sent > 0 && exchange->base.events->on_sent != NULL) {
        exchange->base.events->on_sent(exchange->base.owner, sent);
    }
}


static void
send_chunk(h1_t *h1, h1_exchange_t *exchange, cn_slice_t data)
{
    char       size[24];
    size_t     size_len = h1_write_chunk_size(data.len, size);
    bool       copy = data.len < CN_SLICE_PIN_MIN;
    cn_buf_t  *buf = cn_buf_create(size_len + (copy ? data.len + 2 : 0), h1->session.account);

    if (buf == NULL) {
        cn_slice_release(&data);
        h1_close_later(h1, CN_CLOSE_LIMIT);
        return;
    }

    memcpy(buf->data, size, size_len);

    if (copy) {
        memcpy(buf->data + size_len, data.ptr, data.len);
        memcpy(buf->data + size_len + data.len, "\r\n", 2);
        h1_write(h1, exchange, (cn_slice_t) { buf, buf->data, size_len + data.len + 2 });
        cn_slice_release(&data);
        return;
    }

    h1_write(h1, exchange, (cn_slice_t) { buf, buf->data, size_len });
    h1_write(h1, exchange, data);
    h1_write(h1, exchange, cn_slice_static(CN_BYTES("\r\n")));
}


/* More than the stated length must not leave: the peer would read it as the next message. */
static void
cut_to_length(h1_t *h1, h1_exchange_t *exchange, cn_slice_t *data)
{
    if (data->len > (size_t) exchange->write_left) {
        data->len = (size_t) exchange->write_left;
        h1->no_more = true;
    }

    exchange->write_left -= (int64_t) data->len;
}


void
h1_exchange_send_body(cn_exchange_t *base, cn_slice_t data)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;

    if (h1 == NULL || h1->state >= H1_CLOSING || exchange->write_done || data.len == 0) {
        cn_slice_release(&data);
        return;
    }

    exchange->unsent += data.len;

    if (!exchange->raw && exchange->body == H1_BODY_LENGTH) {
        cut_to_length(h1, exchange, &data);
    }

    if (exchange->raw || exchange->body == H1_BODY_LENGTH || exchange->body == H1_BODY_CLOSE) {
        h1_write(h1, exchange, data);

    } else if (exchange->body == H1_BODY_CHUNKED) {
        send_chunk(h1, exchange, data);

    } else {
        cn_slice_release(&data);
        h1_post(h1);                    /* it counts as sent */
    }
}


void
h1_exchange_send_end(cn_exchange_t *base, const cn_headers_t *trailers)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;

    (void) trailers;                    /* dropped, as Envoy does by default */

    if (h1 == NULL || h1->state >= H1_CLOSING || exchange->write_done) {
        return;
    }

    exchange->write_done = true;

    if (exchange->raw) {
        cn_stream_end(h1->session.stream);

    } else if (exchange->body == H1_BODY_CHUNKED) {
        h1_write(h1, exchange, cn_slice_static(CN_BYTES("0\r\n\r\n")));

    } else if (exchange->body == H1_BODY_LENGTH && exchange->write_left > 0) {
        /* cut short: only the end of the connection can tell */
        h1->no_more = true;
    }

    h1_post(h1);
}


void
h1_exchange_consumed(cn_exchange_t *base, size_t len)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);

    if (exchange->h1 == NULL) {
        return;
    }

    CN_BUG_ON(len > exchange->owed);
    exchange->owed -= len;
    give_credit(exchange->h1, len);
}


size_t
h1_exchange_pending(const cn_exchange_t *base)
{
    const h1_exchange_t  *exchange = (const h1_exchange_t *) (const void *) base;

    return exchange->unsent;
}


cn_stream_t *
h1_exchange_to_stream(cn_exchange_t *base)
{
    h1_exchange_t  *exchange = h1_exchange_of(base);
    h1_t           *h1 = exchange->h1;
    cn_stream_t    *stream;

    if (h1 == NULL || h1->state != H1_BUSY || exchange->raw || exchange->write_done) {
        return NULL;
    }

    stream = cn_exchange_stream_create(base, h1->session.account);
    if (stream == NULL) {
        return NULL;
    }

    /*
     * what came behind the head is the stream's; the connection is not used for HTTP again
     * (CVE-2026-73548)
     */
    exchange->raw = true;
    exchange->read_done = false;
    exchange->end_told = false;
    h1->no_more = true;
    h1_post(h1);

    return stream;
}


/*
 * --- events ------------------------------------------------------------------------------------
 */

/* An upgraded exchange is over when both directions have ended. */
static void
pump_raw(h1_t *h1)
{
    h1_exchange_t  *exchange = h1->exchange;

    h1_read_held(h1);

    if (h1->state != H1_BUSY || h1->exchange != exchange) {
        return;
    }

    if (h1->peer_ended && h1->held.len == 0) {
        h1_exchange_read_done(h1);
    }

    if (h1->exchange != exchange || !exchange->read_done || !exchange->write_done
        || cn_stream_pending(h1->session.stream) > 0)
    {
        return;
    }

    const cn_exchange_events_t  *events = exchange->base.events;
    void                        *owner = exchange->base.owner;

    h1_exchange_detach(h1);

    if (events->on_over != NULL) {
        events->on_over(owner);
    }

    h1_finish(h1, CN_CLOSE_END);
}


static void
pump(h1_t *h1)
{
    if (h1->state == H1_CLOSING) {
        h1_finish(h1, h1->reason);
        return;
    }

    if (h1->state == H1_CLOSED) {
        return;
    }

    h1_report_sent(h1);

    if (h1->exchange != NULL && h1->exchange->raw) {
        pump_raw(h1);

    } else if (h1->server) {
        h1_server_pump(h1);

    } else {
        h1_client_pump(h1);
    }
}


static void
on_ready(cn_task_t *task)
{
    pump(CN_CONTAINER_OF(task, h1_t, ready));
}


static void
on_timer(cn_timer_t *timer)
{
    h1_t  *h1 = CN_CONTAINER_OF(timer, h1_t, timer);

    if (h1->state == H1_LINGER) {
        h1_finish(h1, CN_CLOSE_LOCAL);

    } else if (h1->server) {
        h1_server_timeout(h1);

    } else if (h1->state == H1_IDLE) {
        h1_finish(h1, CN_CLOSE_LOCAL);
    }
}


static void
on_opened(void *owner)
{
    h1_t  *h1 = owner;

    h1->opened = true;

    if (h1->state < H1_CLOSING && h1->session.events->on_opened != NULL) {
        h1->session.events->on_opened(h1->session.owner);
    }
}


static void
on_data(void *owner, cn_slice_t *data)
{
    h1_t  *h1 = owner;

    h1->opened = true;

    if (h1->state >= H1_LINGER) {
        give_credit(h1, data->len);
        return;
    }

    read_fresh(h1, data);
    pump(h1);
}


static void
on_ended(void *owner)
{
    h1_t  *h1 = owner;

    h1->peer_ended = true;

    if (h1->state == H1_LINGER) {
        h1_finish(h1, CN_CLOSE_LOCAL);
        return;
    }

    if (h1->state < H1_LINGER && !(h1->exchange != NULL && h1->exchange->raw)) {
        if (h1->server) {
            h1_server_peer_ended(h1);
        } else {
            h1_client_peer_ended(h1);
        }
    }

    pump(h1);
}


static void
on_sent(void *owner, size_t len)
{
    h1_t  *h1 = owner;

    (void) len;
    h1->opened = true;

    if (h1->exchange != NULL) {
        h1->exchange->base.delivered = true;
    }

    pump(h1);
}


static void
on_closed(void *owner, cn_close_reason_t reason)
{
    h1_t           *h1 = owner;
    h1_exchange_t  *exchange = h1->exchange;

    h1->session.stream = NULL;

    /* both directions of an upgrade have ended: its end is a good one */
    if (exchange != NULL && exchange->raw && reason == CN_CLOSE_END && h1->state == H1_BUSY) {
        const cn_exchange_events_t  *events = exchange->base.events;
        void                        *above = exchange->base.owner;

        h1_exchange_detach(h1);

        if (events->on_over != NULL) {
            events->on_over(above);
        }
    }

    h1_finish(h1, h1->state == H1_CLOSING ? h1->reason : reason);
}


static const cn_stream_events_t  stream_events = {
    .on_opened = on_opened,
    .on_data   = on_data,
    .on_ended  = on_ended,
    .on_sent   = on_sent,
    .on_closed = on_closed,
};


h1_t *
h1_create(cn_stream_t *stream, const cn_session_ops_t *ops, const h1_handlers_t *handlers,
    bool server, const cn_session_limits_t *limits, const cn_session_events_t *events, void *owner)
{
    h1_t  *h1 = cn_alloc_zero(sizeof(h1_t));

    if (h1 == NULL) {
        return NULL;
    }

    cn_session_init(&h1->session, ops, stream, limits, events, owner);
    h1_reader_init(&h1->reader, server ? HTTP_REQUEST : HTTP_RESPONSE, handlers,
                   &h1->session.limits);

    h1->server = server;
    h1->held.account = stream->account;
    h1->ready.run = on_ready;
    h1->free.run = session_free;
    h1->timer.run = on_timer;

    cn_stream_set_owner(stream, &stream_events, h1);

    return h1;
}
