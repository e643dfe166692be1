/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of hboneserver, and the CONNECT tunnels on them.  What a turn of the loop wants to
 * send goes out at its end, in server_conns_flush, where dead connections are freed as well.
 */

#include "server.h"

#include <stdlib.h>
#include <sys/epoll.h>

#define WIRE_FILL           (64 * 1024)
#define MAX_TUNNELS         1000
/* ztunnel's windows: 4 MiB a stream, 16 MiB a connection */
#define OUTER_STREAM_WINDOW (4 << 20)
#define OUTER_CONN_WINDOW   (16 << 20)

static int epoll;
static SSL_CTX *tls;
static server_conn_t *dirty_conns;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static uint8_t input[64 * 1024];

static void
mark_conn(server_conn_t *conn)
{
    if (!conn->dirty) {
        conn->dirty = true;
        conn->next_dirty = dirty_conns;
        dirty_conns = conn;
    }
}

void
server_pipe_mark(server_pipe_t *pipe)
{
    if (!pipe->dirty) {
        pipe->dirty = true;
        pipe->next_dirty = pipe->conn->dirty_pipes;
        pipe->conn->dirty_pipes = pipe;
    }
    mark_conn(pipe->conn);
}

nghttp2_option *
server_h2_options(void)
{
    return options;
}

static void
fail_conn(server_conn_t *conn)
{
    conn->dead = true;
    mark_conn(conn);
}

static void
watch(server_conn_t *conn, uint32_t events)
{
    hb_link_watch(&conn->link, epoll, events, conn);
}

/* The outer session takes bytes of the tunnel. */
static ssize_t
read_tunnel(nghttp2_session *session, int32_t stream_id, uint8_t *data, size_t size,
            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    server_pipe_t *pipe = source->ptr;
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

static int
on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }

    server_conn_t *conn = user;
    server_pipe_t *pipe = hb_alloc(1, sizeof(*pipe));

    pipe->conn = conn;
    pipe->out = &pipe->tunnel_out;
    pipe->stream_id = frame->hd.stream_id;
    pipe->next = conn->tunnels;
    if (pipe->next != NULL) {
        pipe->next->prev = pipe;
    }
    conn->tunnels = pipe;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, pipe);
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    server_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void) flags;
    (void) user;

    if (pipe != NULL && name_len == 7 && memcmp(name, ":method", 7) == 0) {
        pipe->connect = value_len == 7 && memcmp(value, "CONNECT", 7) == 0;
    }
    return 0;
}

static void
answer_connect(nghttp2_session *session, server_pipe_t *pipe)
{
    static uint8_t name[] = ":status";
    static uint8_t yes[] = "200";
    static uint8_t no[] = "404";
    nghttp2_nv status = { name, pipe->connect ? yes : no, 7, 3, NGHTTP2_NV_FLAG_NONE };
    nghttp2_data_provider provider = { .source.ptr = pipe, .read_callback = read_tunnel };

    pipe->answered = true;
    nghttp2_submit_response(session, pipe->stream_id, &status, 1,
                            pipe->connect ? &provider : NULL);
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void) user;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }

    server_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (pipe == NULL) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && !pipe->answered) {
        answer_connect(session, pipe);
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        pipe->ended = true;
        server_pipe_mark(pipe);
    }
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
        size_t len, void *user)
{
    server_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) flags;
    (void) user;

    if (pipe != NULL && !server_app_feed(pipe, data, len)) {
        pipe->ended = true;
        server_pipe_mark(pipe);
    }
    return 0;
}

static void
unlink_tunnel(server_conn_t *conn, server_pipe_t *pipe)
{
    if (pipe->prev != NULL) {
        pipe->prev->next = pipe->next;
    } else {
        conn->tunnels = pipe->next;
    }
    if (pipe->next != NULL) {
        pipe->next->prev = pipe->prev;
    }

    for (server_pipe_t **at = &conn->dirty_pipes; *at != NULL; at = &(*at)->next_dirty) {
        if (*at == pipe) {
            *at = pipe->next_dirty;
            break;
        }
    }
}

static int
on_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    server_pipe_t *pipe = nghttp2_session_get_stream_user_data(session, stream_id);

    (void) code;

    if (pipe != NULL) {
        nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        unlink_tunnel(user, pipe);
        server_app_close(pipe);
        free(pipe);
    }
    return 0;
}

static void
begin_outer(server_conn_t *conn)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_TUNNELS },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, OUTER_STREAM_WINDOW },
    };

    nghttp2_session_server_new2(&conn->outer, callbacks, conn, options);
    nghttp2_submit_settings(conn->outer, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(conn->outer, NGHTTP2_FLAG_NONE, 0, OUTER_CONN_WINDOW);
    mark_conn(conn);
}

static void
conn_up(server_conn_t *conn)
{
    conn->up = true;
    watch(conn, EPOLLIN);

    if (conn->kind == SERVER_HBONE) {
        begin_outer(conn);
    } else {
        conn->self.conn = conn;
        conn->self.out = &conn->wire;
    }
}

static bool
feed(server_conn_t *conn, const uint8_t *data, size_t len)
{
    if (conn->outer == NULL) {
        return server_app_feed(&conn->self, data, len);
    }
    mark_conn(conn);
    return nghttp2_session_mem_recv(conn->outer, data, len) >= 0;
}

static void
read_conn(server_conn_t *conn)
{
    do {
        size_t len;
        hb_io_t rc = hb_link_read(&conn->link, input, sizeof(input), &len);

        if (rc == HB_IO_OK && feed(conn, input, len)) {
            continue;
        }
        if (rc == HB_IO_OK || rc == HB_IO_CLOSED) {
            fail_conn(conn);
        }
        return;
    } while (hb_link_pending(&conn->link));
}

static void
handshake(server_conn_t *conn)
{
    switch (hb_link_handshake(&conn->link)) {
    case HB_IO_OK:
        conn_up(conn);
        if (hb_link_pending(&conn->link)) {
            read_conn(conn);
        }
        break;
    case HB_IO_WANT_READ:
        watch(conn, EPOLLIN);
        break;
    case HB_IO_WANT_WRITE:
        watch(conn, EPOLLOUT);
        break;
    default:
        fail_conn(conn);
        break;
    }
}

void
server_conn_event(server_conn_t *conn, uint32_t events)
{
    if (conn->dead) {
        return;
    }
    if (!conn->up) {
        handshake(conn);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_conn(conn);
    }
    if (events & EPOLLOUT) {
        mark_conn(conn);
    }
}

static void
gather_pipes(server_conn_t *conn)
{
    while (conn->dirty_pipes != NULL) {
        server_pipe_t *pipe = conn->dirty_pipes;
        const uint8_t *data;
        ssize_t len;

        conn->dirty_pipes = pipe->next_dirty;
        pipe->dirty = false;

        while (pipe->inner != NULL && (len = nghttp2_session_mem_send(pipe->inner, &data)) > 0) {
            hb_buf_add(pipe->out, data, (size_t) len);
        }
        if (pipe->deferred && (pipe->ended || hb_buf_len(&pipe->tunnel_out) != 0)) {
            pipe->deferred = false;
            nghttp2_session_resume_data(conn->outer, pipe->stream_id);
        }
    }
}

static void
gather_outer(server_conn_t *conn)
{
    const uint8_t *data;
    ssize_t len;

    while (conn->outer != NULL && hb_buf_len(&conn->wire) < WIRE_FILL
           && (len = nghttp2_session_mem_send(conn->outer, &data)) > 0)
    {
        hb_buf_add(&conn->wire, data, (size_t) len);
    }
}

static void
flush_conn(server_conn_t *conn)
{
    gather_pipes(conn);

    for (;;) {
        size_t done;

        gather_outer(conn);

        if (hb_buf_len(&conn->wire) == 0) {
            watch(conn, EPOLLIN);
            if (conn->outer == NULL && conn->self.ended) {
                fail_conn(conn);
            }
            return;
        }

        switch (hb_link_write(&conn->link, hb_buf_data(&conn->wire), hb_buf_len(&conn->wire),
                              &done))
        {
        case HB_IO_OK:
            hb_buf_take(&conn->wire, done);
            break;
        case HB_IO_CLOSED:
            fail_conn(conn);
            return;
        default:
            watch(conn, EPOLLIN | EPOLLOUT);
            return;
        }
    }
}

static void
free_conn(server_conn_t *conn)
{
    hb_link_close(&conn->link);
    nghttp2_session_del(conn->outer);

    while (conn->tunnels != NULL) {
        server_pipe_t *pipe = conn->tunnels;

        conn->tunnels = pipe->next;
        server_app_close(pipe);
        free(pipe);
    }
    server_app_close(&conn->self);
    hb_buf_free(&conn->wire);
    free(conn);
}

void
server_conns_flush(void)
{
    while (dirty_conns != NULL) {
        server_conn_t *conn = dirty_conns;

        dirty_conns = conn->next_dirty;
        conn->dirty = false;

        if (!conn->dead && conn->up) {
            flush_conn(conn);
        }
        if (conn->dead && !conn->dirty) {
            free_conn(conn); /* one that died in its flush is dirty, and comes round again */
        }
    }
}

void
server_conn_accept(int fd, server_kind_t kind)
{
    server_conn_t *conn = hb_alloc(1, sizeof(*conn));

    conn->link.fd = fd;
    conn->kind = kind;
    hb_link_nodelay(&conn->link);

    if (kind == SERVER_HBONE) {
        hb_link_accept_tls(&conn->link, tls);
        watch(conn, EPOLLIN);
    } else {
        conn_up(conn);
    }
}

void
server_conn_init(int epoll_fd, SSL_CTX *context)
{
    epoll = epoll_fd;
    tls = context;

    nghttp2_option_new(&options);
    nghttp2_option_set_stream_reset_rate_limit(options, 1 << 30, 1 << 30);

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}
