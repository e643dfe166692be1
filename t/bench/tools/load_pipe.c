/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes of hboneload: CONNECT tunnels on the outer HTTP/2 session, or the connection itself.
 *
 *   CLOSED -> OPENING (CONNECT sent) -> OPEN (2xx) -> CLOSING (our end is sent) -> CLOSED
 */

#include "load.h"

/* ztunnel's windows: 4 MiB a stream, 16 MiB a connection */
#define OUTER_STREAM_WINDOW (4 << 20)
#define OUTER_CONN_WINDOW   (16 << 20)

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;

void
load_pipe_mark(load_pipe_t *pipe)
{
    if (!pipe->dirty) {
        pipe->dirty = true;
        pipe->next_dirty = pipe->conn->dirty_pipes;
        pipe->conn->dirty_pipes = pipe;
    }
    load_conn_mark(pipe->conn);
}

static void
pipe_up(load_pipe_t *pipe)
{
    pipe->state = LOAD_PIPE_OPEN;
    load_counts.tunnels++;
    load_run.open_count++;
    load_inner_begin(pipe);
    load_conn_back(pipe->conn);

    for (size_t i = 0; i < load_options.streams; i++) {
        if (pipe->slots[i].busy) {
            load_slot_send(&pipe->slots[i]);
        }
    }
}

/* The outer session takes bytes of the tunnel. */
static ssize_t
read_tunnel(nghttp2_session *session, int32_t stream_id, uint8_t *data, size_t size,
            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    load_pipe_t *pipe = source->ptr;
    size_t len = hb_buf_len(&pipe->tunnel_out);

    (void) session;
    (void) stream_id;
    (void) user;

    if (len == 0) {
        if (pipe->ended) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            return 0;
        }
        pipe->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }

    size_t part = len < size ? len : size;

    memcpy(data, hb_buf_data(&pipe->tunnel_out), part);
    hb_buf_take(&pipe->tunnel_out, part);
    return (ssize_t) part;
}

static nghttp2_nv
header(const char *name, const char *value)
{
    return (nghttp2_nv) {
        .name = (uint8_t *) (uintptr_t) name,
        .value = (uint8_t *) (uintptr_t) value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

static void
send_connect(load_pipe_t *pipe)
{
    const load_options_t *o = &load_options;
    const char *authority = o->authorities[load_run.connect_count++ % o->authority_count];
    nghttp2_nv headers[LOAD_MAX_HEADERS + 2];
    size_t count = 0;
    nghttp2_data_provider provider = { .source.ptr = pipe, .read_callback = read_tunnel };

    headers[count++] = header(":method", "CONNECT");
    headers[count++] = header(":authority", authority);

    for (size_t i = 0; i < o->connect_header_count; i++) {
        headers[count++] = header(o->connect_headers[i].name, o->connect_headers[i].value);
    }

    pipe->state = LOAD_PIPE_OPENING;
    pipe->stream_id = nghttp2_submit_request(pipe->conn->outer, NULL, headers, count, &provider,
                                             pipe);
    load_conn_mark(pipe->conn);
}

static bool
has_work(const load_pipe_t *pipe)
{
    for (size_t i = 0; i < load_options.streams; i++) {
        if (pipe->slots[i].busy) {
            return true;
        }
    }
    return false;
}

/*
 * GOAWAY has come: no more tunnels.  With --reconnect what is under way on others is finished, the
 * idle ones end, and the connection is given up with the last of them.
 */
static void
leave(load_conn_t *conn)
{
    bool last = true;

    for (size_t i = 0; load_options.reconnect && i < load_options.tunnels; i++) {
        load_pipe_t *pipe = &conn->pipes[i];

        if (pipe->state == LOAD_PIPE_OPEN && !has_work(pipe)) {
            load_pipe_end(pipe);
        }
        last = last && pipe->state == LOAD_PIPE_CLOSED;
    }
    if (last && !conn->failed) {
        load_conn_fail(conn, &load_counts.stream);
    }
}

void
load_pipe_open(load_pipe_t *pipe)
{
    load_conn_t *conn = pipe->conn;

    pipe->told_close = false;
    pipe->in_body = pipe->ended = pipe->deferred = false;
    pipe->connect_status = 0;
    hb_buf_clear(&pipe->head);

    if (conn->state == LOAD_CONN_DOWN) {
        load_conn_open(conn); /* opens its pipes when it is up */
        return;
    }
    if (conn->state != LOAD_CONN_UP) {
        return;
    }
    if (load_options.proto != LOAD_HBONE) {
        pipe_up(pipe);
        return;
    }
    if (nghttp2_session_check_request_allowed(conn->outer) == 0) {
        leave(conn);
        return;
    }
    send_connect(pipe);
}

/* Our side of the tunnel ends after what is still to be sent. */
static void
end_sending(load_pipe_t *pipe)
{
    pipe->ended = true;

    if (pipe->deferred) {
        pipe->deferred = false;
        nghttp2_session_resume_data(pipe->conn->outer, pipe->stream_id);
    }
}

void
load_pipe_end(load_pipe_t *pipe)
{
    if (pipe->state != LOAD_PIPE_OPEN) {
        return;
    }
    pipe->state = LOAD_PIPE_CLOSING;
    load_run.open_count--;

    if (load_options.reset) {
        nghttp2_submit_rst_stream(pipe->conn->outer, NGHTTP2_FLAG_NONE, pipe->stream_id,
                                  NGHTTP2_CANCEL);
    } else {
        end_sending(pipe);
    }
    load_conn_mark(pipe->conn);
}

/* --reconnect: what was sent is lost, what was not waits for the next tunnel. */
static void
keep_unsent(load_pipe_t *pipe, bool sent, bool lost)
{
    for (size_t i = 0; i < load_options.streams; i++) {
        load_slot_t *slot = &pipe->slots[i];

        if (!slot->busy || !sent) {
            continue;
        }
        if (load_run.phase == LOAD_RUN) {
            load_counts.done++;
            load_counts.lost_requests++;
        }
        load_slot_idle(slot);
    }
    if (pipe->conn->state == LOAD_CONN_UP && load_run.phase != LOAD_END) {
        load_counts.lost_tunnels += lost && load_run.phase == LOAD_RUN;

        if (pipe->state == LOAD_PIPE_CLOSED) { /* the next request may have opened it */
            load_pipe_open(pipe);
        }
    }
}

void
load_pipe_gone(load_pipe_t *pipe, bool lost)
{
    bool was_open = pipe->state == LOAD_PIPE_OPEN;

    if (pipe->state == LOAD_PIPE_OPEN) {
        load_run.open_count--;
    }
    pipe->state = LOAD_PIPE_CLOSED;
    pipe->stream_id = 0;
    pipe->in_body = false;
    nghttp2_session_del(pipe->inner);
    pipe->inner = NULL;
    hb_buf_clear(&pipe->head);
    hb_buf_clear(&pipe->tunnel_out);

    if (load_options.reconnect) {
        keep_unsent(pipe, was_open, lost);
        return;
    }

    for (size_t i = 0; i < load_options.streams; i++) {
        load_slot_t *slot = &pipe->slots[i];

        if (slot->busy && lost && load_run.phase == LOAD_RUN) {
            load_counts.done++;
            load_counts.stream++;
        }
        slot->busy = false;

        if (!slot->queued) {
            load_slot_idle(slot);
        }
    }
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    load_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void) value_len;
    (void) flags;
    (void) user;

    if (pipe != NULL && name_len == 7 && memcmp(name, ":status", 7) == 0) {
        pipe->connect_status = (int) (hb_number((const char *) value, "status") % 1000);
    }
    return 0;
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void) user;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }

    load_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (pipe == NULL) {
        return 0;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !pipe->ended) {
        end_sending(pipe); /* the far side is done: so are we */
    }
    if (pipe->state == LOAD_PIPE_OPENING && frame->hd.type == NGHTTP2_HEADERS) {
        if (pipe->connect_status / 100 == 2) {
            pipe_up(pipe);
        } else if (pipe->connect_status >= 300) {
            load_counts.tunnel++;
            load_counts.status[pipe->connect_status < 600 ? pipe->connect_status : 0]++;
        }
    }
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
        size_t len, void *user)
{
    load_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) flags;
    (void) user;

    if (load_options.stalled != 0 && (pipe == NULL || !pipe->stalled)) {
        nghttp2_session_consume(session, stream_id, len);
    }
    if (pipe != NULL && pipe->state == LOAD_PIPE_OPEN && !load_inner_feed(pipe, data, len)) {
        load_counts.protocol++;
    }
    return 0;
}

static int
on_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    load_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) code;
    (void) user;

    if (pipe == NULL || pipe->stream_id != stream_id) {
        return 0;
    }
    if (pipe->state == LOAD_PIPE_OPENING && pipe->connect_status == 0) {
        load_counts.tunnel++;
    }
    load_pipe_gone(pipe, pipe->state != LOAD_PIPE_CLOSING);
    return 0;
}

void
load_pipe_init(void)
{
    nghttp2_option_new(&options);
    nghttp2_option_set_no_auto_window_update(options, load_options.stalled != 0);

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}

void
load_outer_begin(load_conn_t *conn)
{
    size_t window = load_options.window != 0 ? load_options.window : OUTER_STREAM_WINDOW;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t) window },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };

    nghttp2_session_client_new2(&conn->outer, callbacks, conn, options);
    nghttp2_submit_settings(conn->outer, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(conn->outer, NGHTTP2_FLAG_NONE, 0, OUTER_CONN_WINDOW);
    load_conn_mark(conn);
}
