/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlsrelay - the floor below any proxy: it ends TLS, starts TLS to the upstream, and relays the
 * bytes between them, with no HTTP at all.  What it costs per request is what records, system calls
 * and the kernel's TCP cost whoever uses OpenSSL.
 *
 *   tlsrelay [--plain] LISTEN UPSTREAM [CA CERT KEY]       --plain: no TLS on either side
 */

#include "common.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 256

/* Two sides make a pair; both are freed when the events of the turn have been seen. */
typedef struct side_s {
    hb_link_t link;
    struct side_s *peer;
    struct side_s *next_dead;
    hb_buf_t out;
    bool up;
    bool dead;
} side_t;

static int epoll;
static SSL_CTX *server_tls; /* NULL: plain */
static SSL_CTX *client_tls;
static struct sockaddr_in upstream;
static side_t *dead_sides;
static uint8_t input[64 * 1024];

static void
bury(side_t *side)
{
    hb_link_close(&side->link);
    side->dead = true;
    side->next_dead = dead_sides;
    dead_sides = side;
}

static void
end_pair(side_t *side)
{
    if (!side->dead) {
        bury(side);
        bury(side->peer);
    }
}

static void
free_dead(void)
{
    while (dead_sides != NULL) {
        side_t *side = dead_sides;

        dead_sides = side->next_dead;
        hb_buf_free(&side->out);
        free(side);
    }
}

static void
flush_side(side_t *side)
{
    while (side->up && hb_buf_len(&side->out) != 0) {
        size_t done;

        switch (hb_link_write(&side->link, hb_buf_data(&side->out), hb_buf_len(&side->out),
                              &done))
        {
        case HB_IO_OK:
            hb_buf_take(&side->out, done);
            break;
        case HB_IO_CLOSED:
            end_pair(side);
            return;
        default:
            hb_link_watch(&side->link, epoll, EPOLLIN | EPOLLOUT, side);
            return;
        }
    }
    if (side->up) {
        hb_link_watch(&side->link, epoll, EPOLLIN, side);
    }
}

static void
read_side(side_t *side)
{
    do {
        size_t done;
        hb_io_t rc = hb_link_read(&side->link, input, sizeof(input), &done);

        if (rc == HB_IO_CLOSED) {
            end_pair(side);
            return;
        }
        if (rc != HB_IO_OK) {
            break;
        }
        hb_buf_add(&side->peer->out, input, done);
    } while (hb_link_pending(&side->link));

    flush_side(side->peer);
}

/* True when the side can carry bytes. */
static bool
bring_up(side_t *side)
{
    hb_io_t rc = side->link.ssl != NULL ? hb_link_handshake(&side->link) : HB_IO_OK;

    switch (rc) {
    case HB_IO_OK:
        side->up = true;
        hb_link_watch(&side->link, epoll, EPOLLIN, side);
        flush_side(side);
        return !side->dead;
    case HB_IO_CLOSED:
        end_pair(side);
        return false;
    default:
        hb_link_watch(&side->link, epoll, rc == HB_IO_WANT_READ ? EPOLLIN : EPOLLOUT, side);
        return false;
    }
}

static void
handle(side_t *side, uint32_t events)
{
    if (side->dead) {
        return;
    }
    if (!side->up) {
        if (bring_up(side) && hb_link_pending(&side->link)) {
            read_side(side);
        }
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_side(side);
    }
    if (!side->dead && (events & EPOLLOUT)) {
        flush_side(side);
    }
}

static void
accept_pair(int fd)
{
    side_t *client = hb_alloc(1, sizeof(*client));
    side_t *server = hb_alloc(1, sizeof(*server));

    client->peer = server;
    server->peer = client;
    client->link.fd = fd;
    server->link.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    hb_link_nodelay(&client->link);
    hb_link_nodelay(&server->link);

    if (connect(server->link.fd, (struct sockaddr *) &upstream, sizeof(upstream)) < 0
        && errno != EINPROGRESS)
    {
        hb_die("connect: %s", strerror(errno));
    }
    if (server_tls != NULL) {
        hb_link_accept_tls(&client->link, server_tls);
        hb_link_connect_tls(&server->link, client_tls);
    }
    hb_link_watch(&client->link, epoll, EPOLLIN, client);
    hb_link_watch(&server->link, epoll, EPOLLOUT, server);
}

static void
accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        accept_pair(fd);
    }
}

static void
run(int listener)
{
    struct epoll_event events[MAX_EVENTS];
    struct epoll_event event = { .events = EPOLLIN };

    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);

    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(listener);
            } else {
                handle(events[i].data.ptr, events[i].events);
            }
        }
        free_dead();
    }
}

int
main(int argc, char **argv)
{
    bool plain = argc > 1 && strcmp(argv[1], "--plain") == 0;
    char **args = argv + (plain ? 2 : 1);

    if (argc != (plain ? 4 : 6)) {
        hb_die("tlsrelay [--plain] LISTEN UPSTREAM [CA CERT KEY]");
    }

    signal(SIGPIPE, SIG_IGN);
    upstream = hb_address(args[1]);

    if (!plain) {
        hb_tls_files_t files = { args[2], args[3], args[4] };

        server_tls = hb_tls_server(&files);
        hb_tls_require_h2(server_tls);
        client_tls = hb_tls_client(&files);
        hb_tls_offer_h2(client_tls);
    }

    epoll = epoll_create1(EPOLL_CLOEXEC);
    run(hb_listen(args[0]));
}
