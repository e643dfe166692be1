/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of hboneload.
 *
 *   DOWN -> CONNECTING -> HANDSHAKE (TLS) -> UP -> DOWN
 *
 * What a turn of the loop wants to send is gathered and goes out at its end, in load_conns_flush;
 * a connection that failed is closed there too, never inside a callback of its own session.
 */

#include "load.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define WIRE_FILL       (64 * 1024)
#define READS_A_TURN    16
#define FLUSHES_A_TURN  1000000
#define RETRY_NS        2000000 /* after a connection could not be opened */

static uint8_t input[64 * 1024];

void
load_conn_mark(load_conn_t *conn)
{
    if (!conn->dirty) {
        conn->dirty = true;
        conn->next_dirty = load_run.dirty_conns;
        load_run.dirty_conns = conn;
    }
}

void
load_conn_fail(load_conn_t *conn, uint64_t *counter)
{
    /* with --reconnect the loss of one that was up is told apart, by plan_return */
    if (load_run.phase != LOAD_END && !(load_options.reconnect && conn->state == LOAD_CONN_UP)) {
        ++*counter;
    }
    conn->failed = true;
    load_conn_mark(conn);
}

static void
watch(load_conn_t *conn, uint32_t events)
{
    hb_link_watch(&conn->link, load_run.epoll, events, conn);
}

void
load_conn_open(load_conn_t *conn)
{
    const struct sockaddr_in *target = &load_options.target;

    conn->link = (hb_link_t) {
        .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    };
    if (conn->link.fd < 0) {
        hb_die("socket: %s", strerror(errno));
    }
    hb_link_nodelay(&conn->link);
    conn->failed = false;
    conn->retry_at = 0;
    conn->state = LOAD_CONN_CONNECTING;

    if (connect(conn->link.fd, (const struct sockaddr *) target, sizeof(*target)) < 0
        && errno != EINPROGRESS)
    {
        load_conn_fail(conn, &load_counts.connect);
    }
    watch(conn, EPOLLOUT);
}

/*
 * A connection that was up counts as lost, unless it was told to go, and is opened again at once,
 * else in a while.
 */
static void
plan_return(load_conn_t *conn)
{
    if (!load_options.reconnect || load_run.phase == LOAD_END) {
        return;
    }
    if (conn->state == LOAD_CONN_UP) {
        if (conn->outer == NULL || nghttp2_session_check_request_allowed(conn->outer) != 0) {
            load_counts.lost_conns += load_run.phase == LOAD_RUN;
            conn->lost_at = load_run.now;
        } else {
            load_counts.told_conns += load_run.phase == LOAD_RUN;
        }
        conn->retry_at = load_run.now;
    } else {
        conn->retry_at = load_run.now + RETRY_NS;
    }
}

void
load_conn_back(load_conn_t *conn)
{
    if (conn->lost_at != 0) {
        load_stats_back(load_run.now - conn->lost_at);
        conn->lost_at = 0;
    }
}

void
load_conns_retry(void)
{
    for (size_t i = 0; load_options.reconnect && i < load_options.conns; i++) {
        load_conn_t *conn = &load_run.conns[i];

        if (conn->state == LOAD_CONN_DOWN && conn->retry_at != 0
            && conn->retry_at <= load_run.now)
        {
            load_conn_open(conn);
        }
    }
}

static void
close_conn(load_conn_t *conn)
{
    nghttp2_session *outer = conn->outer;

    plan_return(conn);

    hb_link_close(&conn->link);
    conn->outer = NULL;
    conn->state = LOAD_CONN_DOWN;
    conn->failed = false;
    hb_buf_clear(&conn->wire);

    while (conn->dirty_pipes != NULL) {
        conn->dirty_pipes->dirty = false;
        conn->dirty_pipes = conn->dirty_pipes->next_dirty;
    }
    nghttp2_session_del(outer);

    for (size_t i = 0; i < load_options.tunnels; i++) {
        load_pipe_gone(&conn->pipes[i], true);
    }
}

static void
conn_up(load_conn_t *conn)
{
    conn->state = LOAD_CONN_UP;
    watch(conn, EPOLLIN);

    if (load_options.proto == LOAD_HBONE) {
        load_outer_begin(conn);
    }
    for (size_t i = 0; i < load_options.tunnels; i++) {
        if (load_options.churn != LOAD_CHURN_TUNNEL || conn->pipes[i].slots[0].busy) {
            load_pipe_open(&conn->pipes[i]);
        }
    }
}

static void
handshake(load_conn_t *conn)
{
    switch (hb_link_handshake(&conn->link)) {
    case HB_IO_OK:
        load_counts.handshakes++;
        load_counts.resumed += SSL_session_reused(conn->link.ssl) == 1;
        conn_up(conn);
        break;
    case HB_IO_WANT_READ:
        watch(conn, EPOLLIN);
        break;
    case HB_IO_WANT_WRITE:
        watch(conn, EPOLLOUT);
        break;
    default:
        load_conn_fail(conn, &load_counts.tls);
        break;
    }
}

static void
connected(load_conn_t *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(conn->link.fd, SOL_SOCKET, SO_ERROR, &error, &len);

    if (error != 0) {
        load_conn_fail(conn, &load_counts.connect);
        return;
    }
    if (load_options.proto == LOAD_TCP) {
        conn_up(conn);
        return;
    }

    conn->state = LOAD_CONN_HANDSHAKE;
    hb_link_connect_tls(&conn->link, load_run.tls);

    if (load_options.server_name != NULL) {
        SSL_set_tlsext_host_name(conn->link.ssl, load_options.server_name);
    }
    if (load_options.resume && load_run.session != NULL) {
        SSL_set_session(conn->link.ssl, load_run.session);
    }
    handshake(conn);
}

/* Decrypted bytes from the peer; false: they make no sense. */
static bool
feed(load_conn_t *conn, const uint8_t *data, size_t len)
{
    if (load_options.proto == LOAD_HBONE) {
        load_conn_mark(conn);
        return nghttp2_session_mem_recv(conn->outer, data, len) >= 0;
    }
    return conn->pipes->state == LOAD_PIPE_OPEN && load_inner_feed(conn->pipes, data, len);
}

static void
read_conn(load_conn_t *conn)
{
    /* bytes that TLS holds make no epoll event: they are read to their end */
    for (int i = 0; !conn->failed && (i < READS_A_TURN || hb_link_pending(&conn->link)); i++) {
        size_t len;

        switch (hb_link_read(&conn->link, input, sizeof(input), &len)) {
        case HB_IO_OK:
            break;
        case HB_IO_CLOSED:
            load_conn_fail(conn, &load_counts.stream);
            return;
        default:
            return;
        }
        if (!feed(conn, input, len)) {
            load_conn_fail(conn, &load_counts.protocol);
            return;
        }
        if (conn->link.ssl != NULL ? !hb_link_pending(&conn->link) : len < sizeof(input)) {
            return;
        }
    }
}

/* What inner sessions have to say goes into their tunnels. */
static void
gather_pipes(load_conn_t *conn)
{
    while (conn->dirty_pipes != NULL) {
        load_pipe_t *pipe = conn->dirty_pipes;
        const uint8_t *data;
        ssize_t len;

        conn->dirty_pipes = pipe->next_dirty;
        pipe->dirty = false;

        if (pipe->state != LOAD_PIPE_OPEN) {
            continue;
        }
        while (pipe->inner != NULL && (len = nghttp2_session_mem_send(pipe->inner, &data)) > 0) {
            hb_buf_add(pipe->out, data, (size_t) len);
        }
        if (pipe->deferred && hb_buf_len(&pipe->tunnel_out) != 0) {
            pipe->deferred = false;
            nghttp2_session_resume_data(conn->outer, pipe->stream_id);
        }
    }
}

static void
gather_outer(load_conn_t *conn)
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
flush_conn(load_conn_t *conn)
{
    if (conn->state != LOAD_CONN_UP) {
        return;
    }
    gather_pipes(conn);

    for (;;) {
        size_t done;

        gather_outer(conn);

        if (hb_buf_len(&conn->wire) == 0) {
            watch(conn, EPOLLIN);
            return;
        }

        switch (hb_link_write(&conn->link, hb_buf_data(&conn->wire), hb_buf_len(&conn->wire),
                              &done))
        {
        case HB_IO_OK:
            hb_buf_take(&conn->wire, done);
            break;
        case HB_IO_CLOSED:
            load_conn_fail(conn, &load_counts.stream);
            return;
        default:
            watch(conn, EPOLLIN | EPOLLOUT);
            return;
        }
    }
}

void
load_conn_event(load_conn_t *conn, uint32_t events)
{
    switch (conn->state) {
    case LOAD_CONN_CONNECTING:
        connected(conn);
        break;
    case LOAD_CONN_HANDSHAKE:
        handshake(conn);
        break;
    case LOAD_CONN_UP:
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            read_conn(conn);
        }
        if (events & EPOLLOUT) {
            load_conn_mark(conn);
        }
        break;
    default:
        break;
    }
}

/* A connection that was answered and is given up on purpose has lost no request. */
static void
retire_answered(load_conn_t *conn)
{
    for (size_t i = 0; i < load_options.tunnels; i++) {
        load_pipe_t *pipe = &conn->pipes[i];

        if (pipe->state == LOAD_PIPE_OPEN && !pipe->slots[0].busy) {
            load_run.open_count--;
            pipe->state = LOAD_PIPE_CLOSING;
        }
    }
}

static void
close_failed(load_conn_t *conn)
{
    if (load_options.churn == LOAD_CHURN_CONN) {
        retire_answered(conn);
    } else if (load_run.phase == LOAD_SETUP) {
        hb_die("a connection failed during setup (connect %llu, tls %llu)",
               (unsigned long long) load_counts.connect, (unsigned long long) load_counts.tls);
    }
    close_conn(conn);
}

void
load_conns_flush(void)
{
    /* closing a connection may open it again, so the list can grow while it is walked */
    for (int i = 0; load_run.dirty_conns != NULL && i < FLUSHES_A_TURN; i++) {
        load_conn_t *conn = load_run.dirty_conns;

        load_run.dirty_conns = conn->next_dirty;
        conn->dirty = false;

        if (conn->failed) {
            close_failed(conn);
        } else {
            flush_conn(conn);
        }
    }
}
