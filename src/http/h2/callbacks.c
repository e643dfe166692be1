/* SPDX-License-Identifier: Apache-2.0 */

/*
 * callbacks - what nghttp2 tells.  They run within nghttp2_session_mem_recv(), where owners may be
 * told at once and may call down; the end of a stream is told after it, because it can also come
 * within nghttp2_session_send().
 */

#include "http/h2/h2.h"

/* What frames that carry nothing cost is taken from one budget; what moves data gives some back. */
#define GLITCHES_PER_FRAME  1
#define GLITCHES_EARNED     4


static h2_stream_t *
stream_by_id(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}


/* Once its owner closed the session, nghttp2 is to stop. */
static int
go_on(const h2_t *h2)
{
    return h2->state == H2_OPEN ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}


static void
spend_glitch(h2_t *h2)
{
    if (!h2_budget_take(&h2->glitches, GLITCHES_PER_FRAME)) {
        h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, CN_CLOSE_LIMIT);
    }
}


static void
spend_reset(h2_t *h2)
{
    if (h2->server && !h2_budget_take(&h2->resets, 1)) {
        h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, CN_CLOSE_LIMIT);
    }
}


/*
 * A server hears HEADERS of every stream here, also of those that nghttp2 lets pass as closed ones.
 * A stream that was skipped can never be opened (RFC 9113 5.1.1); one that is over may have had
 * them on their way, but a peer that goes on so pays for it.
 */
static int
on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user_data)
{
    h2_t  *h2 = user_data;

    if (!h2->server || hd->type != NGHTTP2_HEADERS || hd->stream_id % 2 == 0) {
        return 0;
    }

    if (hd->stream_id > h2->last_id) {
        if (hd->stream_id - h2->last_id > 1) {
            h2->skipped_first = h2->last_id + 1;
            h2->skipped_last = hd->stream_id - 1;
        }

        h2->last_id = hd->stream_id;

    } else if (hd->stream_id >= h2->skipped_first && hd->stream_id <= h2->skipped_last) {
        h2_terminate(h2, NGHTTP2_PROTOCOL_ERROR, CN_CLOSE_PROTOCOL);

    } else if (stream_by_id(ng, hd->stream_id) == NULL) {
        spend_glitch(h2);
    }

    return go_on(h2);
}


static int
on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = stream_by_id(ng, frame->hd.stream_id);

    h2->in_head = true;

    if (stream == NULL) {
        if (!h2->server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
            return 0;
        }

        stream = h2_stream_accept(h2, frame->hd.stream_id);

        if (stream == NULL) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }

        (void) nghttp2_session_set_stream_user_data(ng, stream->id, stream);
        h2_budget_give(&h2->glitches, GLITCHES_EARNED);

    } else if (stream->base.events == NULL) {
        return 0;                       /* reset: what still comes is not wanted */
    }

    return h2_head_begin(stream) == CN_OK ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}


static int
on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    h2_stream_t  *stream = stream_by_id(ng, frame->hd.stream_id);

    (void) flags;

    if (stream == NULL || stream->head == NULL || stream->refused != NULL) {
        return 0;
    }

    switch (h2_head_field(stream, cn_bytes(name, name_len), cn_bytes(value, value_len))) {

    case CN_OK:
        return 0;

    case CN_ERR_SYNTAX:
        (void) nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
        /* the rest is decoded and dropped: HPACK has to stay in step */
        return 0;

    default:
        /* RST INTERNAL_ERROR, as Envoy does; no on_frame follows */
        ((h2_t *) user_data)->in_head = false;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
}


static int
on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    h2_stream_t  *stream = stream_by_id(ng, frame->hd.stream_id);

    (void) name, (void) name_len, (void) value, (void) value_len, (void) flags, (void) user_data;

    /* leaving it out, nghttp2's default, would forward something that nobody sent */
    if (stream != NULL && stream->refused == NULL) {
        stream->refused = "http2.invalid.header.field";
        stream->refused_flag = "DPE";
        (void) nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
    }

    return 0;
}


static int
on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = stream_by_id(ng, frame->hd.stream_id);

    (void) error;

    if (stream != NULL && !stream->head_told && stream->refused == NULL) {
        stream->refused = "http2.violation.of.messaging.rule";
        stream->refused_flag = "DPE";
    }

    spend_glitch(h2);

    return go_on(h2);
}


/* A request is complete: it goes up. */
static void
tell_request(h2_t *h2, h2_stream_t *stream, bool end)
{
    cn_message_t  *head = stream->head;

    stream->head = NULL;
    stream->head_told = true;
    stream->read_done = end;
    stream->end_told = end;
    stream->to_head = cn_bytes_equal(head->method, CN_BYTES("HEAD"));

    h2->session.events->on_exchange(h2->session.owner, &stream->base, head, end);
    CN_BUG_ON(stream->base.events == NULL && !stream->owner_reset && h2->state == H2_OPEN);
}


static void
tell_response(h2_t *h2, h2_stream_t *stream, bool end)
{
    const cn_exchange_events_t  *events = stream->base.events;
    cn_message_t                *head = stream->head;

    (void) h2;
    stream->head = NULL;

    if (head->status < 200) {
        if (events->on_informational != NULL) {
            events->on_informational(stream->base.owner, head);
        }

        return;
    }

    stream->head_told = true;
    stream->read_done = end;
    stream->end_told = end;
    events->on_head(stream->base.owner, head, end);
}


static void
headers_complete(h2_t *h2, h2_stream_t *stream, const nghttp2_frame *frame)
{
    bool         end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    cn_status_t  status;

    stream->base.wire_received += frame->hd.length + 9;

    if (stream->head == NULL || stream->refused != NULL) {
        if (end) {
            stream->read_done = true;
        }

        return;
    }

    if (stream->head_told) {
        cn_headers_t  *trailers = &stream->head->headers;

        stream->head = NULL;

        if (end) {
            h2_stream_read_done(stream, trailers);
        }

        return;
    }

    status = h2_head_complete(stream);

    if (status != CN_OK) {
        (void) nghttp2_submit_rst_stream(h2->ng, NGHTTP2_FLAG_NONE, stream->id,
                                         status == CN_ERR_SYNTAX ? NGHTTP2_PROTOCOL_ERROR
                                                                 : NGHTTP2_INTERNAL_ERROR);
        return;
    }

    if (h2->server) {
        tell_request(h2, stream, end);
    } else {
        tell_response(h2, stream, end);
    }
}


static int
on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = stream_by_id(ng, frame->hd.stream_id);
    bool          end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    switch (frame->hd.type) {

    case NGHTTP2_HEADERS:
        h2->in_head = false;

        if (stream != NULL) {
            headers_complete(h2, stream, frame);
        }
        break;

    case NGHTTP2_DATA:
        if (stream != NULL) {
            stream->base.wire_received += 9;

            if (end) {
                h2_stream_read_done(stream, NULL);
            }
        }

        if (frame->hd.length > 0) {
            h2_budget_give(&h2->glitches, GLITCHES_EARNED);
        } else if (!end) {
            spend_glitch(h2);
        }
        break;

    case NGHTTP2_RST_STREAM:
        if (stream != NULL) {
            stream->rst_received = true;

            /* what was not answered yet was work for nothing */
            if (!stream->head_sent) {
                spend_reset(h2);
            }
        }

        spend_glitch(h2);
        break;

    case NGHTTP2_GOAWAY:
        h2->peer_leaves = true;
        h2->draining = h2->draining || !h2->server;
        h2->room_changed = true;
        break;

    case NGHTTP2_SETTINGS:
        h2->in_head = false;            /* the preface is complete */
        h2->room_changed = true;

        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            h2->settings_seen = true;
            spend_glitch(h2);
        }
        break;

    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            spend_glitch(h2);
        }
        break;

    default:
        spend_glitch(h2);               /* PRIORITY, WINDOW_UPDATE, what we do not know */
        break;
    }

    return go_on(h2);
}


static int
on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
    void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = stream_by_id(ng, id);

    (void) flags;

    if (stream == NULL) {
        (void) nghttp2_session_consume(ng, id, len);
        return go_on(h2);
    }

    if (h2_stream_deliver(stream, data, len) != CN_OK) {
        (void) nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
    }

    return go_on(h2);
}


static int
on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream = stream_by_id(ng, id);

    if (stream != NULL) {
        (void) nghttp2_session_set_stream_user_data(ng, id, NULL);
        stream->error_code = code;
        stream->base.reset_code = code;
        cn_list_remove(&stream->link);
        cn_list_append(&h2->done, &stream->link);
        h2_post_ready(h2);

        if (stream->end_sent && stream->read_done) {
            h2_budget_give(&h2->resets, 1);

        } else if (!stream->rst_received && !stream->owner_reset && code != NGHTTP2_NO_ERROR) {
            spend_reset(h2);            /* the peer made us reset it: CVE-2025-8671 */
        }
    }

    return 0;
}


static int
on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_t         *h2 = user_data;
    h2_stream_t  *stream;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }

    stream = stream_by_id(ng, frame->hd.stream_id);

    if (stream == NULL) {
        return 0;
    }

    stream->base.delivered = true;

    if (frame->hd.type == NGHTTP2_HEADERS) {
        stream->base.wire_sent += frame->hd.length + 9;
    } else {
        h2_budget_give(&h2->glitches, GLITCHES_EARNED);
    }

    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        stream->end_sent = true;

        /* the rest of the request is not wanted: RFC 9113 8.1 */
        if (h2->server && !stream->read_done && !stream->as_stream) {
            (void) nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
        }
    }

    return 0;
}


static ssize_t
send_bytes(nghttp2_session *ng, const uint8_t *data, size_t len, int flags, void *user_data)
{
    h2_t  *h2 = user_data;

    (void) ng, (void) flags;

    if (h2->blocked) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }

    return h2_out(h2, cn_bytes(data, len)) == CN_OK ? (ssize_t) len : NGHTTP2_ERR_CALLBACK_FAILURE;
}


/*
 * --- the nghttp2 object ------------------------------------------------------------------------
 */

static void *
mem_malloc(size_t size, void *user_data)
{
    (void) user_data;

    return cn_alloc(size);
}


static void
mem_free(void *ptr, void *user_data)
{
    (void) user_data;
    cn_free(ptr);
}


static void *
mem_calloc(size_t count, size_t size, void *user_data)
{
    size_t  total;

    (void) user_data;

    return cn_size_mul(count, size, &total) == CN_OK ? cn_alloc_zero(total) : NULL;
}


static void *
mem_realloc(void *ptr, size_t size, void *user_data)
{
    (void) user_data;

    return cn_realloc(ptr, size);
}


static nghttp2_mem  memory = { NULL, mem_malloc, mem_free, mem_calloc, mem_realloc };

/* Made once: they are the same for all sessions. */
static nghttp2_session_callbacks  *callbacks;
static nghttp2_option             *options;


static cn_status_t
prepare(void)
{
    if (options != NULL) {
        return CN_OK;
    }

    if (callbacks == NULL && nghttp2_session_callbacks_new(&callbacks) != 0) {
        return CN_ERR_MEMORY;
    }

    if (nghttp2_option_new(&options) != 0) {
        options = NULL;
        return CN_ERR_MEMORY;
    }

    nghttp2_session_callbacks_set_send_callback(callbacks, send_bytes);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_stream_send);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);

    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_outbound_ack(options, 200);
    nghttp2_option_set_max_continuations(options, 8);
    nghttp2_option_set_stream_reset_rate_limit(options, 1000, 100);

    return CN_OK;
}


nghttp2_session *
h2_nghttp2_create(h2_t *h2)
{
    nghttp2_session  *ng;
    int               rc;

    if (prepare() != CN_OK) {
        return NULL;
    }

    rc = h2->server ? nghttp2_session_server_new3(&ng, callbacks, h2, options, &memory)
                    : nghttp2_session_client_new3(&ng, callbacks, h2, options, &memory);

    return rc == 0 ? ng : NULL;
}
