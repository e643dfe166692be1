/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hboneserver - the upstream of the benchmarks: a small ztunnel with the application inside.
 *
 *   --hbone ADDR:PORT   mutual TLS 1.3, HTTP/2 CONNECT; the inner requests are answered here
 *   --plain ADDR:PORT   plaintext HTTP/1.1, or HTTP/2 by prior knowledge
 *   --echo  ADDR:PORT   plaintext: every byte comes back
 *
 * Each may be given several times.  One thread, one epoll loop.  SIGUSR1 answers the requests that
 * are held; SIGTERM ends it, and it says on standard output how many requests have come.
 */

#include "server.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_LISTENERS      16
#define MAX_EVENTS         256
#define ACCEPTS_A_TURN     64
#define DEFAULT_BODY_SIZE  128

typedef struct {
    const char *address;
    server_kind_t kind;
    int fd;
} listener_t;

static volatile sig_atomic_t ended;
static volatile sig_atomic_t released;
static listener_t listeners[MAX_LISTENERS];
static size_t listener_count;

static void __attribute__((noreturn))
usage(void)
{
    hb_die("hboneserver [--hbone A:P] [--plain A:P] [--echo A:P] [-b BODY_BYTES] [--name NAME] "
           "[--delay MS] --ca FILE --cert FILE --key FILE");
}

static void
add_listener(const char *address, server_kind_t kind)
{
    if (listener_count == MAX_LISTENERS) {
        usage();
    }
    listeners[listener_count++] = (listener_t) { .address = address, .kind = kind };
}

static bool
is_listener(const void *owner)
{
    for (size_t i = 0; i < listener_count; i++) {
        if (owner == &listeners[i]) {
            return true;
        }
    }
    return false;
}

static void
accept_some(const listener_t *listener)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            return;
        }
        server_conn_accept(fd, listener->kind);
    }
}

static void
run(int epoll)
{
    struct epoll_event events[MAX_EVENTS];

    int wait = -1;
    sigset_t unblocked;

    sigemptyset(&unblocked);

    while (!ended) {
        int count = epoll_pwait(epoll, events, MAX_EVENTS, wait, &unblocked);

        for (int i = 0; i < count; i++) {
            void *owner = events[i].data.ptr;

            if (is_listener(owner)) {
                accept_some(owner);
            } else {
                server_conn_event(owner, events[i].events);
            }
        }
        if (released) {
            released = 0;
            server_app_release();
        }
        wait = server_app_wake();
        server_conns_flush();
    }
}

static void
on_signal(int number)
{
    *(number == SIGTERM ? &ended : &released) = 1;
}

/* Signals are let in only while the loop waits, so that none is missed. */
static void
handle_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigset_t blocked;

    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static void
read_options(int argc, char **argv, hb_tls_files_t *files)
{
    static const struct option long_options[] = {
        { "hbone", required_argument, NULL, 'B' }, { "plain", required_argument, NULL, 'P' },
        { "echo", required_argument, NULL, 'E' },  { "ca", required_argument, NULL, 'A' },
        { "cert", required_argument, NULL, 'C' },  { "key", required_argument, NULL, 'K' },
        { "name", required_argument, NULL, 'N' },  { "delay", required_argument, NULL, 'D' },
        { NULL, 0, NULL, 0 },
    };
    const char *name = "app";
    size_t body_size = DEFAULT_BODY_SIZE;
    uint64_t delay_ms = 0;
    int option;

    while ((option = getopt_long(argc, argv, "b:", long_options, NULL)) != -1) {
        switch (option) {
        case 'B': add_listener(optarg, SERVER_HBONE); break;
        case 'P': add_listener(optarg, SERVER_PLAIN); break;
        case 'E': add_listener(optarg, SERVER_ECHO); break;
        case 'A': files->ca = optarg; break;
        case 'C': files->cert = optarg; break;
        case 'K': files->key = optarg; break;
        case 'N': name = optarg; break;
        case 'D': delay_ms = hb_number(optarg, "delay"); break;
        case 'b': body_size = hb_number(optarg, "body size"); break;
        default: usage();
        }
    }
    if (optind != argc || listener_count == 0) {
        usage();
    }
    server_app_init(name, body_size, delay_ms);
}

int
main(int argc, char **argv)
{
    hb_tls_files_t files = { NULL, NULL, NULL };
    SSL_CTX *tls = NULL;

    read_options(argc, argv, &files);
    handle_signals();

    if (files.cert != NULL) {
        tls = hb_tls_server(&files);
        hb_tls_require_h2(tls);
    }

    int epoll = epoll_create1(EPOLL_CLOEXEC);

    server_conn_init(epoll, tls);

    for (size_t i = 0; i < listener_count; i++) {
        listener_t *listener = &listeners[i];
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = listener };

        if (listener->kind == SERVER_HBONE && tls == NULL) {
            usage();
        }
        listener->fd = hb_listen(listener->address);
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener->fd, &event);
    }
    run(epoll);
    printf("{\"event\":\"total\",\"requests\":%llu}\n",
           (unsigned long long) server_app_requests());
    return 0;
}
