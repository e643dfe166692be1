/* SPDX-License-Identifier: Apache-2.0 */

/*
 * stream - an HTTP/2 stream as an exchange.
 *
 * nghttp2 keeps a pointer to it until its stream is closed, so it lives that long, also when its
 * owner has reset it.  Body that is to be sent waits in `out` and is framed by nghttp2's data
 * source without a copy.  It counts as sent when the stream below has it: what that one holds is
 * bounded by H2_PENDING_MAX.
 */

#include "http/h2/h2.h"

#define REQUEST_POOL  2048              /* octets: a CONNECT's tunnel keeps them */


static uint32_t
code_of(const h2_stream_t *stream, cn_reset_reason_t reason)
{
    switch (reason) {
    case CN_RESET_PROTOCOL:
        return NGHTTP2_PROTOCOL_ERROR;
    case CN_RESET_REMOTE_REFUSED:
    case CN_RESET_UNPROCESSED:
        return NGHTTP2_REFUSED_STREAM;
    case CN_RESET_NONE:
        return NGHTTP2_NO_ERROR;
    default:
        break;
    }

    if (stream->as_stream) {
        return NGHTTP2_CONNECT_ERROR;
    }

    return stream->h2->server ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL;
}


/* May its owner still send? */
static bool
is_open(const h2_stream_t *stream)
{
    return stream->h2 != NULL && !stream->owner_reset && stream->h2->state == H2_OPEN;
}


/* Is its owner still to be told of what the peer sends? */
static bool
is_heard(const h2_stream_t *stream)
{
    /* a response that has ended already wants no more of the request */
    return stream->base.events != NULL && stream->h2->state == H2_OPEN
           && !(stream->h2->server && stream->write_done && !stream->as_stream);
}


static void
send_informational(cn_exchange_t *base, const cn_message_t *head)
{
    h2_stream_t  *stream = h2_stream_of(base);
    h2_fields_t   fields;

    if (!is_open(stream) || !stream->h2->server || stream->head_sent || head->status == 101) {
        return;
    }

    /* one that cannot be sent is left out: it only informs */
    if (h2_fields_response(&fields, head) == CN_OK) {
        (void) nghttp2_submit_headers(stream->h2->ng, NGHTTP2_FLAG_NONE, stream->id, NULL,
                                      fields.items,
                                      fields.count, NULL);
        h2_fields_free(&fields);
        h2_post_gather(stream->h2);
    }
}


/* What cannot be sent for want of memory ends the stream; the owner is told by its reset. */
static void
send_failed(h2_stream_t *stream)
{
    (void) nghttp2_submit_rst_stream(stream->h2->ng, NGHTTP2_FLAG_NONE, stream->id,
                                     NGHTTP2_INTERNAL_ERROR);
    h2_post_gather(stream->h2);
}


static void
send_head(cn_exchange_t *base, const cn_message_t *head, bool end)
{
    h2_stream_t            *stream = h2_stream_of(base);
    nghttp2_data_provider   body = { .source = { .ptr = stream }, .read_callback = h2_stream_read };
    h2_fields_t             fields;
    int                     rc;

    if (!is_open(stream) || !stream->h2->server || stream->head_sent) {
        return;
    }

    stream->head_sent = true;
    stream->write_done = end;
    stream->no_body = stream->to_head || head->status == 204 || head->status == 304;

    if (h2_fields_response(&fields, head) != CN_OK) {
        send_failed(stream);
        return;
    }

    rc = nghttp2_submit_response(stream->h2->ng, stream->id, fields.items, fields.count,
                                 end ? NULL : &body);
    h2_fields_free(&fields);

    if (rc != 0) {
        send_failed(stream);
        return;
    }

    h2_post_gather(stream->h2);
}


static void
resume(h2_stream_t *stream)
{
    if (stream->deferred) {
        stream->deferred = false;
        (void) nghttp2_session_resume_data(stream->h2->ng, stream->id);
        h2_post_gather(stream->h2);
    }
}


static void
send_body(cn_exchange_t *base, cn_slice_t data)
{
    h2_stream_t  *stream = h2_stream_of(base);

    if (!is_open(stream) || stream->write_done || data.len == 0) {
        cn_slice_release(&data);
        return;
    }

    if (stream->no_body) {
        /* it counts as sent */
        stream->framed += data.len;
        cn_slice_release(&data);
        cn_list_remove(&stream->sent_link);
        cn_list_append(&stream->h2->sent, &stream->sent_link);
        h2_post_ready(stream->h2);
        return;
    }

    if (cn_chain_push(&stream->out, data) != CN_OK) {
        send_failed(stream);
        return;
    }

    resume(stream);
}


static void
send_end(cn_exchange_t *base, const cn_headers_t *trailers)
{
    h2_stream_t  *stream = h2_stream_of(base);

    if (!is_open(stream) || stream->write_done) {
        return;
    }

    if (trailers != NULL && trailers->count > 0) {
        stream->trailers = cn_pool_alloc_zero(base->pool, sizeof(cn_headers_t));

        if (stream->trailers == NULL) {
            send_failed(stream);
            return;
        }

        stream->trailers->pool = base->pool;

        if (cn_headers_copy(stream->trailers, trailers) != CN_OK) {
            send_failed(stream);
            return;
        }
    }

    stream->write_done = true;
    resume(stream);
}


static void
consumed(cn_exchange_t *base, size_t len)
{
    h2_stream_t  *stream = h2_stream_of(base);

    if (stream->h2 == NULL || stream->base.events == NULL) {
        return;
    }

    CN_BUG_ON(len > stream->owed);
    stream->owed -= len;

    if (stream->h2->state == H2_OPEN) {
        /* nghttp2 sends the update when it is worth a frame: half the window */
        (void) nghttp2_session_consume_stream(stream->h2->ng, stream->id, len);

        if (nghttp2_session_want_write(stream->h2->ng)) {
            h2_post_gather(stream->h2);
        }
    }
}


/* The owner hears nothing more, and nothing of its pool is used again. */
static void
detach(h2_stream_t *stream)
{
    stream->base.events = NULL;
    stream->head = NULL;
    stream->trailers = NULL;
    cn_chain_clear(&stream->out);
    cn_list_remove(&stream->sent_link);
}


static void
reset(cn_exchange_t *base, cn_reset_reason_t reason)
{
    h2_stream_t  *stream = h2_stream_of(base);

    if (stream->h2 == NULL || stream->owner_reset) {
        return;
    }

    detach(stream);
    stream->owner_reset = true;

    if (stream->h2->state == H2_OPEN) {
        (void) nghttp2_submit_rst_stream(stream->h2->ng, NGHTTP2_FLAG_NONE, stream->id,
                                         code_of(stream, reason));
        h2_post_gather(stream->h2);
    }
}


static size_t
pending(const cn_exchange_t *base)
{
    const h2_stream_t  *stream = (const h2_stream_t *) (const void *) base;

    return stream->out.len + stream->framed;
}


static cn_stream_t *
to_stream(cn_exchange_t *base)
{
    h2_stream_t  *stream = h2_stream_of(base);
    cn_stream_t  *result;

    if (!is_open(stream) || stream->as_stream || stream->write_done) {
        return NULL;
    }

    result = cn_exchange_stream_create(base, stream->h2->session.account);
    if (result == NULL) {
        return NULL;
    }

    stream->as_stream = true;

    if (stream->read_done) {
        /* the end came with the head: the new owner hears of it from the ready queue */
        stream->end_told = false;
        cn_list_remove(&stream->sent_link);
        cn_list_append(&stream->h2->sent, &stream->sent_link);
        h2_post_ready(stream->h2);
    }

    return result;
}


static const cn_exchange_ops_t  exchange_ops = {
    .send_informational = send_informational,
    .send_head          = send_head,
    .send_body          = send_body,
    .send_end           = send_end,
    .consumed           = consumed,
    .reset              = reset,
    .pending            = pending,
    .to_stream          = to_stream,
};


/*
 * --- their life --------------------------------------------------------------------------------
 */

static void
stream_free(cn_task_t *task)
{
    h2_stream_t  *stream = CN_CONTAINER_OF(task, h2_stream_t, free);

    cn_chain_clear(&stream->out);
    cn_pool_destroy(stream->own_pool);
    cn_free(stream);
}


static h2_stream_t *
stream_create(h2_t *h2, cn_pool_t *pool)
{
    h2_stream_t  *stream = cn_alloc_zero(sizeof(h2_stream_t));

    if (stream == NULL) {
        return NULL;
    }

    stream->base = (cn_exchange_t) {
        .ops = &exchange_ops,
        .loop = h2->session.loop,
        .pool = pool,
        .connection = h2->session.info,
    };

    stream->h2 = h2;
    stream->free.run = stream_free;
    stream->out.account = h2->session.account;
    cn_list_append(&h2->live, &stream->link);
    h2->active++;
    cn_timer_cancel(&h2->idle);

    return stream;
}


h2_stream_t *
h2_stream_accept(h2_t *h2, int32_t id)
{
    cn_pool_t    *pool = cn_pool_create(REQUEST_POOL, h2->session.account);
    h2_stream_t  *stream;

    if (pool == NULL) {
        return NULL;
    }

    stream = stream_create(h2, pool);

    if (stream == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    stream->own_pool = pool;
    stream->id = id;

    return stream;
}


/* One that no event has reached. */
static void
stream_discard(h2_stream_t *stream)
{
    cn_list_remove(&stream->link);
    stream->h2->active--;
    cn_free(stream);
}


cn_exchange_t *
h2_stream_request(cn_session_t *session, const cn_message_t *head, bool end, cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner)
{
    h2_t                  *h2 = h2_of(session);
    h2_stream_t           *stream = stream_create(h2, pool);
    nghttp2_data_provider  body = { .source = { .ptr = stream }, .read_callback = h2_stream_read };
    h2_fields_t            fields;

    if (stream == NULL) {
        return NULL;
    }

    if (h2_fields_request(&fields, head) != CN_OK) {
        stream_discard(stream);
        return NULL;
    }

    stream->base.events = events;
    stream->base.owner = owner;
    stream->head_sent = true;
    stream->write_done = end;
    stream->id = nghttp2_submit_request(h2->ng, NULL, fields.items, fields.count,
                                        end ? NULL : &body, stream);
    h2_fields_free(&fields);

    if (stream->id < 0) {
        stream_discard(stream);
        return NULL;
    }

    h2_post_gather(h2);

    return &stream->base;
}


cn_status_t
h2_stream_deliver(h2_stream_t *stream, const uint8_t *at, size_t len)
{
    h2_t        *h2 = stream->h2;
    cn_slice_t   slice;

    /* the octets are the stream's from now on: a slow one costs its own window only */
    (void) nghttp2_session_consume_connection(h2->ng, len);

    if (!is_heard(stream)) {
        (void) nghttp2_session_consume_stream(h2->ng, stream->id, len);
        return CN_OK;
    }

    slice = cn_slice_of(h2->input->buf, at, len);

    if (cn_slice_compact(&slice, h2->session.account) != CN_OK) {
        cn_slice_release(&slice);
        return CN_ERR_MEMORY;
    }

    stream->owed += len;
    stream->base.wire_received += len;
    stream->base.events->on_body(stream->base.owner, &slice);
    cn_slice_release(&slice);

    return CN_OK;
}


void
h2_stream_read_done(h2_stream_t *stream, cn_headers_t *trailers)
{
    stream->read_done = true;

    if (is_heard(stream) && !stream->end_told) {
        stream->end_told = true;
        stream->base.events->on_end(stream->base.owner, trailers);
    }
}


void
h2_stream_finish(h2_stream_t *stream, cn_reset_reason_t reason, const char *detail)
{
    const cn_exchange_events_t  *events = stream->base.events;
    h2_t                        *h2 = stream->h2;
    void                        *owner = stream->base.owner;
    size_t                       sent = stream->framed;
    bool                         tell_over = h2->server || stream->as_stream;

    /* answered before the request had ended: whoever may still send must learn that it is over */
    if (reason == CN_RESET_NONE && !h2->server && !stream->write_done) {
        reason = CN_RESET_REMOTE;
    }

    detach(stream);
    cn_list_remove(&stream->link);
    stream->framed = 0;
    stream->h2 = NULL;
    h2->active--;
    h2->room_changed = true;
    cn_loop_post(h2->session.loop, CN_PHASE_FREE, &stream->free);

    if (h2->active == 0 && h2->session.limits.idle_timeout_ms > 0 && h2->state == H2_OPEN) {
        cn_timer_set(h2->session.loop, &h2->idle, h2->session.limits.idle_timeout_ms);
    }

    if (events == NULL) {
        return;
    }

    if (reason != CN_RESET_NONE) {
        events->on_reset(owner, reason, detail);
        return;
    }

    if (sent > 0 && events->on_sent != NULL) {
        events->on_sent(owner, sent);
    }

    if (tell_over && events->on_over != NULL) {
        events->on_over(owner);
    }
}


/*
 * --- nghttp2's data source ---------------------------------------------------------------------
 */

/* Trailers end the stream in place of the last DATA. */
static cn_status_t
submit_trailers(h2_stream_t *stream)
{
    h2_fields_t  fields;
    int          rc;

    if (h2_fields_trailers(&fields, stream->trailers) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    rc = nghttp2_submit_trailer(stream->h2->ng, stream->id, fields.items, fields.count);
    h2_fields_free(&fields);
    stream->trailers = NULL;

    return rc == 0 ? CN_OK : CN_ERR_MEMORY;
}


ssize_t
h2_stream_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
    nghttp2_data_source *source, void *user_data)
{
    h2_stream_t  *stream = source->ptr;

    (void) ng, (void) id, (void) buf, (void) user_data;

    if (stream->h2 == NULL || (stream->out.len == 0 && !stream->write_done)
        || stream->owner_reset)
    {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }

    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;

    if (length >= stream->out.len) {
        length = stream->out.len;

        if (stream->write_done) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;

            if (stream->trailers != NULL) {
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;

                if (submit_trailers(stream) != CN_OK) {
                    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                }
            }
        }
    }

    return (ssize_t) length;
}


int
h2_stream_send(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *header, size_t length,
    nghttp2_data_source *source, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = source->ptr;

    (void) ng, (void) frame;

    if (h2->blocked) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }

    /* put off before, and reset by its owner since */
    if (stream->owner_reset || stream->out.len < length) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }

    if (h2_out(h2, cn_bytes(header, 9)) != CN_OK) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }

    stream->base.wire_sent += length + 9;
    stream->framed += length;

    while (length > 0) {
        cn_slice_t  slice = cn_chain_pop(&stream->out, length);

        length -= slice.len;

        if (slice.len >= CN_SLICE_PIN_MIN) {
            h2_out_flush(h2);
            cn_stream_write(h2->session.stream, slice);
            h2->blocked = cn_stream_pending(h2->session.stream) >= H2_PENDING_MAX;
            continue;
        }

        cn_status_t  status = h2_out(h2, cn_slice_bytes(&slice));

        cn_slice_release(&slice);

        if (status != CN_OK) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }

    if (stream->framed > 0 && !cn_list_linked(&stream->sent_link)) {
        cn_list_append(&h2->sent, &stream->sent_link);
    }

    return 0;
}
