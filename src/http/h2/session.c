/* SPDX-License-Identifier: Apache-2.0 */

/*
 * session - HTTP/2 over a stream, server and client side.
 *
 *   stream data > nghttp2_session_mem_recv > callbacks > owners        (events)
 *   owners > nghttp2_submit_* > gather phase > nghttp2_session_send > stream write
 *
 * All frames of a turn are gathered into buffers of up to 16 KiB, large bodies go down by
 * reference; frames wait while the stream below has H2_PENDING_MAX octets to send.  nghttp2's
 * object is deleted in the free phase only, never in its own callbacks.
 */

#include "http/h2/h2.h"
#include "base/clock.h"

#define RESETS_CAP      200             /* of unanswered requests: so many at once, then */
#define RESETS_RATE     20              /* so many a second */
#define GLITCHES_CAP    1000            /* frames that carry nothing: 1000 at once, 100 a second */
#define GLITCHES_RATE   100


void
h2_post_ready(h2_t *h2)
{
    cn_loop_post(h2->session.loop, CN_PHASE_READY, &h2->ready);
}


void
h2_post_gather(h2_t *h2)
{
    if (h2->state == H2_OPEN) {
        cn_loop_post(h2->session.loop, CN_PHASE_GATHER, &h2->gather);
    }
}


/*
 * --- ending ------------------------------------------------------------------------------------
 */

static void
session_free(cn_task_t *task)
{
    h2_t  *h2 = CN_CONTAINER_OF(task, h2_t, free);

    nghttp2_session_del(h2->ng);
    cn_buf_unref(h2->out);
    cn_free(h2);
}


/* Were both messages complete, as far as they had to be? */
static bool
is_complete(const h2_t *h2, const h2_stream_t *stream)
{
    if (stream->end_sent && (stream->read_done || (h2->server && !stream->as_stream))) {
        return true;
    }

    /* a response that is complete may end the request with NO_ERROR */
    return !h2->server && stream->read_done && stream->error_code == NGHTTP2_NO_ERROR
           && !stream->as_stream;
}


/* What the end of the connection means for a stream that was open. */
static cn_reset_reason_t
lost_reason(const h2_t *h2, const h2_stream_t *stream, cn_close_reason_t reason)
{
    if (h2->server || h2->silent) {
        return CN_RESET_TERMINATED;
    }

    switch (reason) {

    case CN_CLOSE_CONNECT_REFUSED:
        return CN_RESET_CONNECT_FAILED;

    case CN_CLOSE_CONNECT_TIMEOUT:
        return CN_RESET_CONNECT_TIMEOUT;

    case CN_CLOSE_UNPROCESSED:
        return CN_RESET_UNPROCESSED;

    case CN_CLOSE_TLS:
        return h2->opened ? CN_RESET_TERMINATED : CN_RESET_CONNECT_FAILED;

    case CN_CLOSE_PROTOCOL:
        return CN_RESET_PROTOCOL;

    case CN_CLOSE_TUNNEL_REFUSED:
    case CN_CLOSE_LIMIT:
        return CN_RESET_TERMINATED;

    default:
        return h2->opened && !stream->base.delivered ? CN_RESET_UNPROCESSED : CN_RESET_TERMINATED;
    }
}


static void
fail_all(h2_t *h2, cn_list_t *list, cn_close_reason_t reason)
{
    while (!cn_list_empty(list)) {
        h2_stream_t  *stream = CN_LIST_ITEM(list->next, h2_stream_t, link);

        /* what is complete was only waiting to be told so */
        h2_stream_finish(stream,
                         is_complete(h2, stream) ? CN_RESET_NONE : lost_reason(h2, stream, reason),
                         "");
    }
}


/* Ends now; from an event only. */
static void
finish(h2_t *h2, cn_close_reason_t reason, cn_close_reason_t below)
{
    cn_session_t  *session = &h2->session;

    if (h2->state == H2_CLOSED) {
        return;
    }

    h2->state = H2_CLOSED;
    cn_timer_cancel(&h2->keepalive);
    cn_timer_cancel(&h2->idle);
    cn_timer_cancel(&h2->head);
    cn_task_cancel(&h2->gather);
    cn_task_cancel(&h2->ready);

    fail_all(h2, &h2->done, reason);
    fail_all(h2, &h2->live, reason);

    if (session->stream != NULL) {
        h2_out_flush(h2);
        cn_stream_close(session->stream, below);
        session->stream = NULL;
    }

    if (!h2->silent && session->events->on_closed != NULL) {
        session->events->on_closed(session->owner, reason);
    }

    cn_loop_post(session->loop, CN_PHASE_FREE, &h2->free);
}


static void
close_later(h2_t *h2, cn_close_reason_t reason)
{
    if (h2->state == H2_OPEN) {
        h2->state = H2_CLOSING;
        h2->reason = reason;
        h2_post_ready(h2);
    }
}


static void
close_session(cn_session_t *session, cn_close_reason_t reason)
{
    h2_t  *h2 = h2_of(session);

    h2->silent = true;
    close_later(h2, reason);
}


void
h2_terminate(h2_t *h2, uint32_t code, cn_close_reason_t reason)
{
    if (h2->reason == CN_CLOSE_NONE) {
        h2->reason = reason;
        (void) nghttp2_session_terminate_session(h2->ng, code);
        h2_post_gather(h2);
    }
}


/*
 * --- output ------------------------------------------------------------------------------------
 */

void
h2_out_flush(h2_t *h2)
{
    cn_buf_t  *out = h2->out;
    size_t     len = h2->out_len;

    h2->out = NULL;
    h2->out_len = 0;

    if (out == NULL || len == 0 || h2->session.stream == NULL) {
        cn_buf_unref(out);
        return;
    }

    cn_stream_write(h2->session.stream, (cn_slice_t) { out, out->data, len });
}


cn_status_t
h2_out(h2_t *h2, cn_bytes_t bytes)
{
    size_t  next = H2_OUT_FIRST;

    while (bytes.len > 0) {
        if (h2->out != NULL && h2->out_len == h2->out->capacity) {
            next = H2_OUT_NEXT;
            h2_out_flush(h2);
            h2->blocked = cn_stream_pending(h2->session.stream) >= H2_PENDING_MAX;
        }

        if (h2->out == NULL) {
            h2->out = cn_buf_create(next, h2->session.account);

            if (h2->out == NULL) {
                return CN_ERR_MEMORY;
            }
        }

        size_t  room = h2->out->capacity - h2->out_len;
        size_t  len = bytes.len < room ? bytes.len : room;

        memcpy(h2->out->data + h2->out_len, bytes.ptr, len);
        h2->out_len += len;
        bytes = cn_bytes_from(bytes, len);
    }

    return CN_OK;
}


/*
 * Nothing more to read or to write: GOAWAY has left, or the last stream of a drained session has
 * ended.
 */
static bool
is_spent(const h2_t *h2)
{
    if (nghttp2_session_want_read(h2->ng) == 0 && nghttp2_session_want_write(h2->ng) == 0) {
        return true;
    }

    return h2->draining && h2->active == 0 && nghttp2_session_want_write(h2->ng) == 0;
}


static cn_close_reason_t
spent_reason(const h2_t *h2)
{
    if (h2->reason != CN_CLOSE_NONE) {
        return h2->reason;
    }

    /* otherwise nghttp2 sent GOAWAY of its own accord: the peer broke the protocol */
    return h2->draining || h2->peer_leaves ? CN_CLOSE_LOCAL : CN_CLOSE_PROTOCOL;
}


static void
on_gather(cn_task_t *task)
{
    h2_t  *h2 = CN_CONTAINER_OF(task, h2_t, gather);
    int    rc;

    if (h2->state != H2_OPEN) {
        return;
    }

    h2->blocked = cn_stream_pending(h2->session.stream) >= H2_PENDING_MAX;

    if (h2->blocked) {
        return;                         /* on_sent asks again */
    }

    rc = nghttp2_session_send(h2->ng);
    h2_out_flush(h2);

    if (rc != 0) {
        close_later(h2, CN_CLOSE_LIMIT);
        return;
    }

    if (!cn_list_empty(&h2->sent) || is_spent(h2)) {
        h2_post_ready(h2);
    }
}


/*
 * --- what owners are told later ----------------------------------------------------------------
 */

static void
tell_sent(h2_t *h2)
{
    while (!cn_list_empty(&h2->sent) && h2->state == H2_OPEN) {
        h2_stream_t                 *stream = CN_LIST_ITEM(h2->sent.next, h2_stream_t, sent_link);
        const cn_exchange_events_t  *events = stream->base.events;
        size_t                       sent = stream->framed;

        cn_list_remove(&stream->sent_link);
        stream->framed = 0;

        if (events != NULL && sent > 0 && events->on_sent != NULL) {
            events->on_sent(stream->base.owner, sent);
        }

        if (stream->h2 != NULL && stream->as_stream && stream->read_done && !stream->end_told) {
            h2_stream_read_done(stream, NULL);
        }
    }
}


static cn_reset_reason_t
reason_of(const h2_t *h2, const h2_stream_t *stream)
{
    if (is_complete(h2, stream)) {
        return CN_RESET_NONE;
    }

    if (stream->rst_received) {
        return stream->error_code == NGHTTP2_REFUSED_STREAM ? CN_RESET_REMOTE_REFUSED
                                                            : CN_RESET_REMOTE;
    }

    /* nghttp2's way to say that GOAWAY left it out, or that it was never sent */
    if (!h2->server && stream->error_code == NGHTTP2_REFUSED_STREAM) {
        return CN_RESET_UNPROCESSED;
    }

    return stream->error_code == NGHTTP2_INTERNAL_ERROR ? CN_RESET_LIMIT : CN_RESET_PROTOCOL;
}


static void
tell_done(h2_t *h2)
{
    while (!cn_list_empty(&h2->done) && h2->state == H2_OPEN) {
        h2_stream_t        *stream = CN_LIST_ITEM(h2->done.next, h2_stream_t, link);
        cn_session_t       *session = &h2->session;
        cn_reset_reason_t   reason = reason_of(h2, stream);
        cn_refused_t        refused = {
            .detail = stream->refused, .flag = stream->refused_flag, .version = CN_HTTP_2,
        };
        bool                tell_refused = h2->server && !stream->head_told
                                           && stream->refused != NULL;

        h2_stream_finish(stream, reason, reason == CN_RESET_NONE ? "" : "http2.remote_reset");

        if (tell_refused && session->events->on_refused != NULL) {
            session->events->on_refused(session->owner, &refused);
        }
    }
}


/* After everything that may have changed something: from an event only. */
static void
settle(h2_t *h2)
{
    cn_session_t  *session = &h2->session;

    if (h2->state == H2_OPEN) {
        tell_sent(h2);
        tell_done(h2);
    }

    if (h2->state == H2_OPEN && h2->room_changed) {
        h2->room_changed = false;

        if (!h2->server && session->events->on_room != NULL) {
            session->events->on_room(session->owner);
        }
    }

    if (h2->state == H2_CLOSING) {
        finish(h2, h2->reason, h2->reason);
        return;
    }

    if (h2->state != H2_OPEN) {
        return;
    }

    if (is_spent(h2) && h2->out == NULL) {
        finish(h2, spent_reason(h2), CN_CLOSE_LOCAL);
        return;
    }

    if (nghttp2_session_want_write(h2->ng)) {
        h2_post_gather(h2);
    }
}


static void
on_ready(cn_task_t *task)
{
    settle(CN_CONTAINER_OF(task, h2_t, ready));
}


/*
 * --- events of the stream below ----------------------------------------------------------------
 */

static void
on_opened(void *owner)
{
    h2_t  *h2 = owner;

    h2->opened = true;
    h2->heard_ms = cn_clock_ms();

    if (h2->state == H2_OPEN && h2->session.events->on_opened != NULL) {
        h2->session.events->on_opened(h2->session.owner);
    }

    settle(h2);
}


static void
watch_head(h2_t *h2)
{
    uint32_t  timeout_ms = h2->session.limits.head_timeout_ms;

    if (timeout_ms == 0) {
        return;
    }

    if (!h2->in_head) {
        cn_timer_cancel(&h2->head);

    } else if (!cn_timer_armed(&h2->head)) {
        cn_timer_set(h2->session.loop, &h2->head, timeout_ms);
    }
}


static cn_close_reason_t
receive_failed(ssize_t rc)
{
    switch (rc) {
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_FLOODED:
        return CN_CLOSE_LIMIT;
    default:
        return CN_CLOSE_PROTOCOL;
    }
}


static void
on_data(void *owner, cn_slice_t *data)
{
    h2_t     *h2 = owner;
    ssize_t   rc;

    h2->opened = true;

    if (h2->state != H2_OPEN) {
        return;
    }

    h2->heard_ms = cn_clock_ms();
    h2->ping_sent = false;
    h2->input = data;
    rc = nghttp2_session_mem_recv(h2->ng, data->ptr, data->len);
    h2->input = NULL;

    if (h2->session.stream != NULL) {
        cn_stream_consumed(h2->session.stream, data->len);
    }

    if (rc < 0 && h2->state == H2_OPEN) {
        close_later(h2, receive_failed(rc));
    }

    if (h2->state == H2_OPEN) {
        watch_head(h2);
    }

    settle(h2);
}


static void
on_ended(void *owner)
{
    h2_t  *h2 = owner;

    /* HTTP/2 has no half-closed connections: streams that are open cannot go on */
    if (h2->state == H2_OPEN) {
        finish(h2, CN_CLOSE_END, CN_CLOSE_LOCAL);
    } else {
        settle(h2);
    }
}


static void
on_sent(void *owner, size_t len)
{
    h2_t  *h2 = owner;

    (void) len;
    h2->opened = true;

    if (h2->blocked && h2->state == H2_OPEN
        && cn_stream_pending(h2->session.stream) < H2_PENDING_MAX)
    {
        h2_post_gather(h2);
    }
}


static void
on_closed(void *owner, cn_close_reason_t reason)
{
    h2_t  *h2 = owner;

    h2->session.stream = NULL;
    finish(h2, h2->state == H2_CLOSING ? h2->reason : reason, CN_CLOSE_LOCAL);
}


static const cn_stream_events_t  stream_events = {
    .on_opened = on_opened,
    .on_data   = on_data,
    .on_ended  = on_ended,
    .on_sent   = on_sent,
    .on_closed = on_closed,
};


/*
 * --- timers ------------------------------------------------------------------------------------
 */

/* PING after a silent interval; anything heard is an answer. */
static void
on_keepalive(cn_timer_t *timer)
{
    h2_t                       *h2 = CN_CONTAINER_OF(timer, h2_t, keepalive);
    const cn_session_limits_t  *limits = &h2->session.limits;
    uint64_t                    silent = cn_clock_ms() - h2->heard_ms;

    if (h2->state != H2_OPEN) {
        return;
    }

    if (!h2->opened || (limits->ping_busy && h2->active == 0)) {
        /* while it is still connecting, the stream has a timeout of its own */
        h2->ping_sent = false;
        cn_timer_set(h2->session.loop, timer, limits->ping_interval_ms);

    } else if (h2->ping_sent) {
        finish(h2, CN_CLOSE_TIMEOUT, CN_CLOSE_TIMEOUT);

    } else if (silent < limits->ping_interval_ms) {
        cn_timer_set(h2->session.loop, timer, limits->ping_interval_ms - silent);

    } else {
        h2->ping_sent = true;
        (void) nghttp2_submit_ping(h2->ng, NGHTTP2_FLAG_NONE, NULL);
        h2_post_gather(h2);
        cn_timer_set(h2->session.loop, timer, limits->ping_timeout_ms);
    }
}


static void
on_idle(cn_timer_t *timer)
{
    h2_t  *h2 = CN_CONTAINER_OF(timer, h2_t, idle);

    if (h2->state == H2_OPEN && h2->active == 0) {
        h2->draining = true;
        h2_terminate(h2, NGHTTP2_NO_ERROR, CN_CLOSE_LOCAL);
    }
}


static void
on_head_timeout(cn_timer_t *timer)
{
    h2_t  *h2 = CN_CONTAINER_OF(timer, h2_t, head);

    if (h2->state == H2_OPEN) {
        finish(h2, CN_CLOSE_TIMEOUT, CN_CLOSE_TIMEOUT);
    }
}


/*
 * --- session calls -----------------------------------------------------------------------------
 */

static cn_exchange_t *
request(cn_session_t *session, const cn_message_t *head, bool end, cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner)
{
    return h2_stream_request(session, head, end, pool, events, owner);
}


static bool
leaving(const cn_session_t *session)
{
    const h2_t  *h2 = (const h2_t *) (const void *) session;

    return h2->state != H2_OPEN || h2->draining || h2->reason != CN_CLOSE_NONE
           || (!h2->server && !nghttp2_session_check_request_allowed(h2->ng));
}


static uint32_t
room(const cn_session_t *session)
{
    const h2_t  *h2 = (const h2_t *) (const void *) session;
    uint32_t     limit;

    if (h2->server || leaving(session)) {
        return 0;
    }

    limit = nghttp2_session_get_remote_settings(h2->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    /* where it sets no limit: ours */
    if (limit > h2->session.limits.streams_max) {
        limit = h2->session.limits.streams_max;
    }

    if (!h2->settings_seen && h2->session.limits.streams_first > 0
        && limit > h2->session.limits.streams_first)
    {
        limit = h2->session.limits.streams_first;
    }

    return limit > h2->active ? limit - h2->active : 0;
}


static uint32_t
active(const cn_session_t *session)
{
    return ((const h2_t *) (const void *) session)->active;
}


static void
drain(cn_session_t *session, bool final)
{
    h2_t  *h2 = h2_of(session);

    if (h2->state != H2_OPEN || h2->draining) {
        return;
    }

    if (!h2->server) {
        h2->draining = true;
        h2_post_ready(h2);
        return;
    }

    if (final) {
        h2->draining = true;
        (void) nghttp2_submit_goaway(h2->ng, NGHTTP2_FLAG_NONE,
                                     nghttp2_session_get_last_proc_stream_id(h2->ng),
                                     NGHTTP2_NO_ERROR, NULL, 0);
    } else {
        (void) nghttp2_submit_shutdown_notice(h2->ng);
    }

    h2_post_gather(h2);
}


static const cn_session_ops_t  session_ops = {
    .request = request,
    .room    = room,
    .active  = active,
    .leaving = leaving,
    .drain   = drain,
    .close   = close_session,
};


static cn_status_t
send_settings(h2_t *h2)
{
    const cn_session_limits_t  *limits = &h2->session.limits;
    nghttp2_settings_entry      entries[4] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits->head_octets_max },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    size_t                      count = 3;

    if (h2->server) {
        entries[2] = (nghttp2_settings_entry) {
            NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max
        };
    }

    if (h2->server && limits->connect) {
        entries[count++] = (nghttp2_settings_entry) {
            NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1
        };
    }

    if (nghttp2_submit_settings(h2->ng, NGHTTP2_FLAG_NONE, entries, count) != 0
        || nghttp2_session_set_local_window_size(h2->ng, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t) limits->connection_window) != 0)
    {
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}


static h2_t *
create(cn_stream_t *stream, bool server, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner)
{
    h2_t  *h2 = cn_alloc_zero(sizeof(h2_t));

    if (h2 == NULL) {
        return NULL;
    }

    cn_session_init(&h2->session, &session_ops, stream, limits, events, owner);
    h2->server = server;
    cn_list_init(&h2->live);
    cn_list_init(&h2->done);
    cn_list_init(&h2->sent);
    h2->ready.run = on_ready;
    h2->gather.run = on_gather;
    h2->free.run = session_free;
    h2->keepalive.run = on_keepalive;
    h2->idle.run = on_idle;
    h2->head.run = on_head_timeout;
    h2->heard_ms = cn_clock_ms();
    h2_budget_init(&h2->resets, RESETS_CAP, RESETS_RATE);
    h2_budget_init(&h2->glitches, GLITCHES_CAP, GLITCHES_RATE);
    h2->ng = h2_nghttp2_create(h2);

    if (h2->ng == NULL || send_settings(h2) != CN_OK) {
        nghttp2_session_del(h2->ng);
        cn_free(h2);
        return NULL;
    }

    return h2;
}


static cn_session_t *
start(h2_t *h2)
{
    const cn_session_limits_t  *limits;

    if (h2 == NULL) {
        return NULL;
    }

    limits = &h2->session.limits;
    cn_stream_set_owner(h2->session.stream, &stream_events, h2);

    if (limits->ping_interval_ms > 0) {
        cn_timer_set(h2->session.loop, &h2->keepalive, limits->ping_interval_ms);
    }

    if (limits->idle_timeout_ms > 0) {
        cn_timer_set(h2->session.loop, &h2->idle, limits->idle_timeout_ms);
    }

    h2_post_gather(h2);

    return &h2->session;
}


cn_session_t *
cn_h2_server(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner)
{
    h2_t  *h2 = create(stream, true, limits, events, owner);

    /* the preface is a head of its own kind */
    if (h2 != NULL && h2->session.limits.head_timeout_ms > 0) {
        h2->in_head = true;
        cn_timer_set(h2->session.loop, &h2->head, h2->session.limits.head_timeout_ms);
    }

    return start(h2);
}


cn_session_t *
cn_h2_client(cn_stream_t *stream, const cn_session_limits_t *limits,
    const cn_session_events_t *events, void *owner)
{
    return start(create(stream, false, limits, events, owner));
}
