/* SPDX-License-Identifier: Apache-2.0 */
/* The client inside a pipe: HTTP/1.1 keep-alive, or HTTP/2 by prior knowledge. */

#include "load.h"

#define INNER_STREAM_WINDOW (1 << 20)
#define INNER_CONN_WINDOW   (16 << 20)

static nghttp2_session_callbacks *callbacks;

/* Body bytes of an HTTP/1.1 answer; returns how many were used. */
static size_t
feed_body(load_pipe_t *pipe, const uint8_t *data, size_t len, bool *end)
{
    load_slot_t *slot = pipe->slots;

    if (pipe->chunked) {
        return hb_chunks_feed(&pipe->chunks, data, len, &slot->got, end);
    }

    size_t part = len < pipe->body_left ? len : (size_t) pipe->body_left;

    slot->got += part;
    pipe->body_left -= part;
    *end = pipe->body_left == 0;
    return part;
}

static void
begin_body(load_pipe_t *pipe, const hb_head_t *head)
{
    pipe->slots->status = head->status;
    pipe->told_close = load_options.reconnect && head->close;
    pipe->chunked = head->chunked;
    pipe->body_left = head->chunked ? 0 : head->content_len;
    pipe->chunks = (hb_chunks_t) { 0 };
    pipe->in_body = true;
}

static bool
feed_h1(load_pipe_t *pipe, const uint8_t *data, size_t len)
{
    while (len != 0) {
        if (!pipe->in_body) {
            hb_head_t head;
            const uint8_t *at;
            size_t used;

            switch (hb_head_collect(&pipe->head, data, len, &head, &at, &used)) {
            case HB_HEAD_BAD:
                return false;
            case HB_HEAD_PARTIAL:
                return true;
            default:
                begin_body(pipe, &head);
                data += used;
                len -= used;
                break;
            }
        }

        bool end;
        size_t used = feed_body(pipe, data, len, &end);

        data += used;
        len -= used;

        if (end) {
            pipe->in_body = false;
            load_slot_done(pipe->slots, false);
        }
    }
    return true;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    load_slot_t *slot = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void) flags;
    (void) user;

    if (slot == NULL) {
        return 0;
    }
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        slot->status = (int) (hb_number((const char *) value, "status") % 1000);
    } else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        slot->bad = value_len != 1 || value[0] != '0';
    }
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
        size_t len, void *user)
{
    load_slot_t *slot = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) flags;
    (void) data;
    (void) user;

    if (slot != NULL) {
        slot->got += len;
    }
    return 0;
}

static int
on_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    load_slot_t *slot = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) user;

    if (slot != NULL) {
        load_slot_done(slot, code != 0);
    }
    return 0;
}

void
load_inner_init(void)
{
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}

void
load_inner_begin(load_pipe_t *pipe)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INNER_STREAM_WINDOW },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };

    if (!load_options.h2) {
        return;
    }
    nghttp2_session_client_new(&pipe->inner, callbacks, pipe);
    nghttp2_submit_settings(pipe->inner, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(pipe->inner, NGHTTP2_FLAG_NONE, 0, INNER_CONN_WINDOW);
    load_pipe_mark(pipe);
}

bool
load_inner_feed(load_pipe_t *pipe, const uint8_t *data, size_t len)
{
    if (!load_options.h2) {
        return feed_h1(pipe, data, len);
    }
    load_pipe_mark(pipe); /* the session may have something to say */
    return nghttp2_session_mem_recv(pipe->inner, data, len) >= 0;
}
