/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hboneload - a load generator for HBONE waypoints (HTTP/2 CONNECT over mutual TLS).
 *
 * It opens -c connections; with -P hbone each carries -t CONNECT tunnels to a service's address,
 * and every tunnel speaks HTTP/1.1 keep-alive (-m h1) or HTTP/2 with -s streams (-m h2).  With
 * -P tls or -P tcp the same inner client speaks directly, so that one tool measures plain reverse
 * proxies and waypoints alike.
 *
 * --cpu PID[,PID...] reads utime + stime of these processes at the edges of the measured window, so
 * that the result holds the CPU time per request of the proxy under test.
 *
 * The result is one JSON object on stdout; the status is 0 when a request was answered well.
 */

#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>

#define MAX_EVENTS    256
#define SETUP_SECONDS 60
#define COUNT_SECONDS 600 /* at most, when requests are counted */
#define SETTLE_SECONDS 1
#define RETRY_NS       1000000 /* between two looks at connections that are down */

load_run_t load_run;
static volatile sig_atomic_t ended; /* by a signal */

static uint64_t
ns_of(double seconds)
{
    return (uint64_t) (seconds * 1e9);
}

static void
turn(uint64_t deadline)
{
    struct epoll_event events[MAX_EVENTS];
    uint64_t wake = deadline;

    if (load_options.rate > 0 && load_run.idle_first != NULL && load_run.due < (double) wake) {
        wake = (uint64_t) load_run.due;
    }

    if (load_options.body_tick_ns != 0 && load_run.next_piece < wake) {
        wake = load_run.next_piece;
    }
    if (load_options.reconnect && load_run.now + RETRY_NS < wake) {
        wake = load_run.now + RETRY_NS;
    }

    uint64_t wait = wake > load_run.now ? wake - load_run.now : 0;
    struct timespec timeout = {
        .tv_sec = (time_t) (wait / 1000000000U),
        .tv_nsec = (long) (wait % 1000000000U),
    };
    int count = epoll_pwait2(load_run.epoll, events, MAX_EVENTS, &timeout, NULL);

    load_run.now = hb_now_ns();

    for (int i = 0; i < count; i++) {
        load_conn_event(events[i].data.ptr, events[i].events);
    }
    load_conns_retry();
    load_slots_wake();
    load_conns_flush();
}

/* Runs until the condition holds, but not past the deadline. */
static void
run_until(bool (*reached)(void), uint64_t deadline)
{
    load_run.now = hb_now_ns();
    load_conns_flush();

    while (!reached() && !ended && load_run.now < deadline) {
        turn(deadline);
    }
}

static bool
pipes_open(void)
{
    return load_run.open_count >= load_run.pipe_count || load_counts.connect != 0
           || load_counts.tls != 0 || load_counts.tunnel != 0;
}

static bool
conns_up(void)
{
    for (size_t i = 0; i < load_options.conns; i++) {
        if (load_run.conns[i].state != LOAD_CONN_UP) {
            return false;
        }
    }
    return true;
}

static bool
slots_primed(void)
{
    return load_run.primed_count >= load_run.slot_count;
}

static bool
run_ended(void)
{
    return load_run.phase == LOAD_END;
}

static int
keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void) ssl;
    SSL_SESSION_free(load_run.session);
    load_run.session = session;
    return 1;
}

static void
make_tls(void)
{
    load_run.tls = hb_tls_client(&load_options.tls);

    if (load_options.proto == LOAD_HBONE || load_options.h2) {
        hb_tls_offer_h2(load_run.tls);
    }
    if (load_options.resume) {
        SSL_CTX_set_session_cache_mode(load_run.tls,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(load_run.tls, keep_session);
    }
}

static void
make_pipe(load_conn_t *conn, load_pipe_t *pipe)
{
    pipe->conn = conn;
    pipe->stalled = conn == load_run.conns && pipe < conn->pipes + load_options.stalled;
    pipe->out = load_options.proto == LOAD_HBONE ? &pipe->tunnel_out : &conn->wire;
    pipe->slots = hb_alloc(load_options.streams, sizeof(*pipe->slots));

    for (size_t i = 0; i < load_options.streams; i++) {
        pipe->slots[i].pipe = pipe;
    }
    load_run.pipe_count++;
    load_run.slot_count += load_options.streams;
}

static void
make_conns(void)
{
    load_run.conns = hb_alloc(load_options.conns, sizeof(*load_run.conns));

    for (size_t i = 0; i < load_options.conns; i++) {
        load_conn_t *conn = &load_run.conns[i];

        conn->link.fd = -1;
        conn->pipes = hb_alloc(load_options.tunnels, sizeof(*conn->pipes));

        for (size_t j = 0; j < load_options.tunnels; j++) {
            make_pipe(conn, &conn->pipes[j]);
        }
    }
}

/* Breadth first over connections, so that open-loop requests spread over all of them. */
static void
each_slot(void (*visit)(load_slot_t *slot))
{
    for (size_t k = 0; k < load_options.streams; k++) {
        for (size_t j = 0; j < load_options.tunnels; j++) {
            for (size_t i = 0; i < load_options.conns; i++) {
                visit(&load_run.conns[i].pipes[j].slots[k]);
            }
        }
    }
}

/* Opens what stays open; returns the seconds it took. */
static double
set_up(void)
{
    uint64_t began = hb_now_ns();
    bool by_tunnel = load_options.churn == LOAD_CHURN_TUNNEL;

    load_run.now = began;

    if (load_options.churn != LOAD_CHURN_CONN) {
        for (size_t i = 0; i < load_options.conns; i++) {
            load_conn_open(&load_run.conns[i]);
        }
        run_until(by_tunnel ? conns_up : pipes_open, began + ns_of(SETUP_SECONDS));

        if (by_tunnel ? !conns_up() : load_run.open_count < load_run.pipe_count) {
            hb_die("setup failed: %zu of %zu tunnels open; errors: connect %llu tls %llu "
                   "tunnel %llu",
                   load_run.open_count, load_run.pipe_count,
                   (unsigned long long) load_counts.connect, (unsigned long long) load_counts.tls,
                   (unsigned long long) load_counts.tunnel);
        }
    }
    return (double) (hb_now_ns() - began) / 1e9;
}

static void
issue_now(load_slot_t *slot)
{
    load_slot_issue(slot, load_run.now);
}

static void
hold(double setup_seconds)
{
    if (!load_options.no_prime) {
        load_run.phase = LOAD_PRIME;
        each_slot(issue_now);
        run_until(slots_primed, load_run.now + ns_of(SETUP_SECONDS));
    }

    load_run.phase = LOAD_HOLD;
    run_until(run_ended, load_run.now + ns_of(SETTLE_SECONDS));
    load_stats_print_held(setup_seconds);
    run_until(run_ended, load_run.now + ns_of(load_options.hold_seconds));
}

static void
reset_errors(void)
{
    load_counts.connect = load_counts.tls = load_counts.tunnel = 0;
    load_counts.stream = load_counts.protocol = 0;
    memset(load_counts.status, 0, sizeof(load_counts.status));
}

static void
measure(double setup_seconds)
{
    double most = load_options.requests != 0 ? COUNT_SECONDS : load_options.seconds;

    load_run.phase = LOAD_WARM;

    if (load_options.rate > 0) {
        load_run.step = 1e9 / load_options.rate;
        load_run.due = (double) load_run.now;
    }
    each_slot(load_slot_idle);
    run_until(run_ended, load_run.now + ns_of(load_options.warm_seconds));

    load_run.phase = LOAD_RUN;
    reset_errors();

    load_edge_t from = load_stats_edge();

    if (load_options.announce) {
        puts("running");
        fflush(stdout);
    }

    run_until(run_ended, from.at_ns + ns_of(most));

    load_edge_t to = load_stats_edge();

    load_run.phase = LOAD_END;
    load_stats_print(&from, &to, setup_seconds);
}

static void
on_term(int number)
{
    (void) number;
    ended = 1;
}

int
main(int argc, char **argv)
{
    load_options_read(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (load_options.announce) {
        signal(SIGTERM, on_term);
    }

    if (load_options.proto != LOAD_TCP) {
        make_tls();
    }
    load_request_build();
    load_pipe_init();
    load_inner_init();
    load_run.epoll = epoll_create1(EPOLL_CLOEXEC);
    make_conns();

    double setup_seconds = set_up();

    if (load_options.hold_seconds > 0) {
        hold(setup_seconds);
        return 0;
    }
    measure(setup_seconds);
    return load_counts.ok != 0 ? 0 : 1;
}
