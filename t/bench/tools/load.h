/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hboneload: what its files share.
 *
 *   conn   one socket: TCP, TLS, and with --proto hbone the outer HTTP/2 session
 *   pipe   one inner byte stream: a CONNECT tunnel, or the connection itself
 *   slot   at most one request in flight (HTTP/1.1: one a pipe; HTTP/2: --streams a pipe)
 *
 * The program is one thread and one epoll loop, so its state is plain globals: load_options is set
 * before the loop and read only afterwards, load_run is the loop's.
 */

#ifndef CN_BENCH_LOAD_H
#define CN_BENCH_LOAD_H

#include "common.h"
#include "http1.h"

#include <nghttp2/nghttp2.h>

#define LOAD_MAX_HEADERS     32
#define LOAD_MAX_AUTHORITIES 8192
#define LOAD_NEVER           UINT64_MAX

typedef enum {
    LOAD_HBONE,
    LOAD_TLS,
    LOAD_TCP
} load_proto_t;

typedef enum {
    LOAD_KEEP,         /* tunnels and connections stay open */
    LOAD_CHURN_TUNNEL, /* a fresh tunnel for every request */
    LOAD_CHURN_CONN    /* a fresh connection for every request */
} load_churn_t;

/* SETUP > (PRIME > HOLD) or (WARM > RUN > END) */
typedef enum {
    LOAD_SETUP,
    LOAD_PRIME, /* one request a slot, then idle */
    LOAD_WARM,
    LOAD_RUN, /* the measured window */
    LOAD_HOLD,
    LOAD_END
} load_phase_t;

typedef struct {
    const char *name;
    const char *value;
} load_header_t;

typedef struct {
    struct sockaddr_in target;
    load_proto_t proto;
    load_churn_t churn;
    bool h2; /* the inner protocol */
    bool resume;
    bool reset; /* end churned tunnels by RST_STREAM */
    bool no_prime;
    bool announce;
    bool reconnect;
    size_t conns;
    size_t tunnels; /* a connection */
    size_t streams; /* a pipe */
    double seconds;
    double warm_seconds;
    double rate; /* requests a second; 0: closed loop */
    double hold_seconds;
    uint64_t requests; /* 0: by time */
    int expect_status;
    bool sized;
    uint64_t expect_size;
    const char *method;
    const char *path;
    const char *host;
    const char *server_name;
    size_t body_len;
    uint64_t body_tick_ns; /* a piece of the body each; 0: with the head */
    size_t stalled;        /* so many tunnels of the first connection read nothing */
    size_t window;         /* of a tunnel; 0: as ztunnel has it */
    const char *pids;   /* processes under test */
    const char *others; /* processes beside them, reported apart */
    hb_tls_files_t tls;
    size_t authority_count;
    size_t header_count;
    size_t connect_header_count;
    const char *authorities[LOAD_MAX_AUTHORITIES];
    load_header_t headers[LOAD_MAX_HEADERS];
    load_header_t connect_headers[LOAD_MAX_HEADERS];
} load_options_t;

typedef struct load_slot_s load_slot_t;
typedef struct load_pipe_s load_pipe_t;
typedef struct load_conn_s load_conn_t;

struct load_slot_s {
    load_pipe_t *pipe;
    load_slot_t *next_idle;
    uint64_t began; /* in an open loop: when the request was due */
    uint64_t got;   /* response body bytes */
    size_t sent;    /* request body bytes handed over (HTTP/2) */
    int status;
    bool busy;
    bool queued; /* in the idle queue */
    bool bad;    /* a grpc-status other than 0 */
};

typedef enum {
    LOAD_PIPE_CLOSED,
    LOAD_PIPE_OPENING,
    LOAD_PIPE_OPEN,
    LOAD_PIPE_CLOSING
} load_pipe_state_t;

struct load_pipe_s {
    load_conn_t *conn;
    load_pipe_t *next_dirty;
    load_slot_t *slots;
    hb_buf_t tunnel_out;    /* bytes that wait for the tunnel */
    hb_buf_t *out;          /* tunnel_out, or the connection's wire buffer */
    nghttp2_session *inner; /* inner HTTP/2 */
    int32_t stream_id;      /* of the CONNECT */
    int connect_status;
    load_pipe_state_t state;
    bool dirty;
    bool stalled;  /* gives no window back */
    bool deferred; /* the outer session waits for bytes of tunnel_out */
    bool ended;    /* our side of the tunnel ends after tunnel_out */

    /* the inner HTTP/1.1 response */
    hb_buf_t head;
    hb_chunks_t chunks;
    uint64_t body_left;
    bool told_close; /* --reconnect: the answer asked to close; another tunnel takes over */
    bool chunked;
    bool in_body;
};

typedef enum {
    LOAD_CONN_DOWN,
    LOAD_CONN_CONNECTING,
    LOAD_CONN_HANDSHAKE,
    LOAD_CONN_UP
} load_conn_state_t;

struct load_conn_s {
    hb_link_t link;
    load_conn_state_t state;
    nghttp2_session *outer; /* HBONE */
    hb_buf_t wire;
    load_pipe_t *pipes;
    load_pipe_t *dirty_pipes;
    load_conn_t *next_dirty;
    bool dirty;
    bool failed; /* closed, and opened anew, at the end of the turn */
    uint64_t lost_at;  /* --reconnect: when it was lost; 0: it is not */
    uint64_t retry_at; /* when to try again; 0: not now */
};

typedef struct {
    load_phase_t phase;
    int epoll;
    uint64_t now; /* of this turn */
    double due;   /* open loop: when the next request is due, and the time between two */
    double step;
    uint64_t next_piece; /* when the next pieces of bodies are due */
    load_conn_t *conns;
    load_conn_t *dirty_conns;
    load_slot_t *idle_first;
    load_slot_t *idle_last;
    size_t pipe_count;
    size_t slot_count;
    size_t open_count; /* open pipes */
    size_t primed_count;
    size_t connect_count; /* CONNECTs sent; picks the next authority */
    SSL_CTX *tls;
    SSL_SESSION *session; /* the newest ticket, with --resume */
} load_run_t;

typedef struct {
    uint64_t done;
    uint64_t ok;
    uint64_t body_bytes;
    uint64_t handshakes;
    uint64_t resumed;
    uint64_t tunnels;
    uint64_t status[600];
    uint64_t told_conns;    /* --reconnect: connections that were left as told by GOAWAY, */
    uint64_t lost_conns;    /* connections that were up and broke, */
    uint64_t lost_requests; /* the requests in flight on them, */
    uint64_t lost_tunnels;  /* and tunnels that broke on connections that did not */
    /* errors */
    uint64_t connect;
    uint64_t tls;
    uint64_t tunnel;
    uint64_t stream;
    uint64_t protocol;
    uint64_t bad_status;
    uint64_t bad_size;
} load_counts_t;

extern load_options_t load_options;
extern load_run_t load_run;
extern load_counts_t load_counts;

/* load_options.c: reads the command line; ends the program on a bad one. */
void load_options_read(int argc, char **argv);

/* load_slot.c */

/* Prepares what every request sends. */
void load_request_build(void);

/* Starts a request that counts from began. */
void load_slot_issue(load_slot_t *slot, uint64_t began);

/* A slot without work: gives it the next request that the plan allows, or queues it. */
void load_slot_idle(load_slot_t *slot);

/* Gives requests that are due to idle slots (open loop), and sends pieces of bodies that are. */
void load_slots_wake(void);

/* Hands the slot's request to its open pipe. */
void load_slot_send(load_slot_t *slot);

/* The answer is complete, or the request failed. */
void load_slot_done(load_slot_t *slot, bool failed);

/* load_inner.c: the inner protocols. */
void load_inner_init(void);

/* Begins the inner session of a pipe that has just opened. */
void load_inner_begin(load_pipe_t *pipe);

/* Inner bytes from the peer; false: they are no HTTP. */
bool load_inner_feed(load_pipe_t *pipe, const uint8_t *data, size_t len);

/* load_pipe.c: tunnels. */
void load_pipe_init(void);

/* Marks the pipe, and its connection, as having something to send at the end of the turn. */
void load_pipe_mark(load_pipe_t *pipe);

/* Opens the tunnel, or the connection first; the slots send when it is up. */
void load_pipe_open(load_pipe_t *pipe);

/* Ends the tunnel from our side; its slots are idle again when it has gone. */
void load_pipe_end(load_pipe_t *pipe);

/* The tunnel has gone; lost: not by our wish, so that requests on it failed. */
void load_pipe_gone(load_pipe_t *pipe, bool lost);

/* Begins the outer HTTP/2 session of a connection. */
void load_outer_begin(load_conn_t *conn);

/* load_conn.c: connections. */
void load_conn_open(load_conn_t *conn);
void load_conn_mark(load_conn_t *conn);

/* Counts the error (unless the run is over) and has the connection closed after this event. */
void load_conn_fail(load_conn_t *conn, uint64_t *counter);

/* Goes on with the connection after what epoll said of its socket. */
void load_conn_event(load_conn_t *conn, uint32_t events);

/* --reconnect: the tunnel of a connection is up (again). */
void load_conn_back(load_conn_t *conn);

/* --reconnect: opens what is down and due. */
void load_conns_retry(void);

/* The end of a turn: sends what is pending, closes what failed. */
void load_conns_flush(void);

/* load_stats.c */
void load_stats_latency(uint64_t ns);

/* An answer came: the longest time without one is among the figures. */
void load_stats_answer(void);

/* A lost connection carries a tunnel again. */
void load_stats_back(uint64_t ns);

typedef struct {
    double target_cpu; /* seconds of utime + stime of --cpu, of --others, and of this program */
    double other_cpu;
    double own_cpu;
    uint64_t at_ns;
    uint64_t handshakes;
    uint64_t tunnels;
} load_edge_t;

/* What the counters stand at; taken at both edges of the measured window. */
load_edge_t load_stats_edge(void);

/* One JSON object on stdout: of the measured window, or of connections that are held. */
void load_stats_print(const load_edge_t *from, const load_edge_t *to, double setup_seconds);
void load_stats_print_held(double setup_seconds);

#endif
