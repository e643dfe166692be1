/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hboneserver: what its files share.
 *
 *   conn   one socket; with --hbone it carries TLS and an outer HTTP/2 session
 *   pipe   one inner byte stream: a CONNECT tunnel, or a plaintext connection
 */

#ifndef CN_BENCH_SERVER_H
#define CN_BENCH_SERVER_H

#include "common.h"
#include "http1.h"

#include <nghttp2/nghttp2.h>

typedef enum {
    SERVER_HBONE,
    SERVER_PLAIN,
    SERVER_ECHO
} server_kind_t;

typedef struct server_pipe_s server_pipe_t;
typedef struct server_conn_s server_conn_t;

struct server_pipe_s {
    server_conn_t *conn;
    server_pipe_t *next_dirty;
    server_pipe_t *prev; /* the tunnels of a connection */
    server_pipe_t *next;
    hb_buf_t tunnel_out;
    hb_buf_t *out; /* tunnel_out, or the connection's wire buffer */
    int32_t stream_id;
    bool dirty;
    bool deferred; /* the outer session waits for bytes of tunnel_out */
    bool ended;    /* nothing follows what is in out */
    bool connect;  /* the outer request is a CONNECT */
    bool answered; /* the CONNECT is */

    enum {
        SERVER_UNKNOWN,
        SERVER_H1,
        SERVER_H2
    } protocol;
    nghttp2_session *inner; /* HTTP/2 */
    hb_buf_t head;          /* HTTP/1.1: a head that is not whole yet */
    hb_buf_t request_line;  /* of a request whose body is still coming */
    hb_chunks_t chunks;
    uint64_t body_left;
    bool chunked;

    /* HTTP/1.1: an answer that waits, or comes in pieces */
    server_pipe_t *prev_waiting;
    server_pipe_t *next_waiting;
    uint64_t due; /* ns; 0: does not wait */
    uint64_t tick_ns;
    uint64_t ticks_left;
};

struct server_conn_s {
    hb_link_t link;
    server_kind_t kind;
    bool up; /* the handshake, if any, is over */
    bool dirty;
    bool dead;
    nghttp2_session *outer;
    hb_buf_t wire;
    server_pipe_t self; /* of a plaintext connection */
    server_pipe_t *tunnels;
    server_pipe_t *dirty_pipes;
    server_conn_t *next_dirty;
};

/* server_app.c: the application. */

/* body_size and delay_ms are of the answers whose path asks for nothing else. */
void server_app_init(const char *name, size_t body_size, uint64_t delay_ms);

/* Requests that have come so far. */
uint64_t server_app_requests(void);

/* Answers the requests that are held. */
void server_app_release(void);

/* Goes on with answers whose time has come; returns the milliseconds until the next, -1: none. */
int server_app_wake(void);

/* Inner bytes arrive; false: the pipe is of no more use. */
bool server_app_feed(server_pipe_t *pipe, const uint8_t *data, size_t len);

/* Frees what the pipe holds, but not the pipe. */
void server_app_close(server_pipe_t *pipe);

/* server_conn.c: connections and tunnels. */
void server_conn_init(int epoll, SSL_CTX *tls);
void server_conn_accept(int fd, server_kind_t kind);
void server_conn_event(server_conn_t *conn, uint32_t events);

/* The end of a turn: sends what is pending, frees what is dead. */
void server_conns_flush(void);

/* Marks the pipe, and its connection, as having something to send at the end of the turn. */
void server_pipe_mark(server_pipe_t *pipe);

/* Sessions here forgive clients that reset many streams: churn does it on purpose. */
nghttp2_option *server_h2_options(void);

#endif
