/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc_peer - what stands on both sides of the gRPC client in its tests: the owner of a channel and of calls, who write down what
 * they hear, and a server on loopback made of our own sessions.
 */

#ifndef CN_T_HTTP_GRPC_PEER_H
#define CN_T_HTTP_GRPC_PEER_H

#include "event/loop.h"
#include "http/codec.h"
#include "http/grpc_client.h"

#include "unit.h"

/* The owner of a channel. */
typedef struct {
    cn_grpc_channel_t  *channel;
    cn_address_t        addresses[4];       /* what is answered to on_resolve */
    size_t              count;
    const char         *no_address;         /* answered when count is 0 */
    bool                silent;             /* does not answer */
    bool                close_on_resolve;
    bool                close_on_connected;
    bool                close_on_disconnected;
    bool                in_call;            /* no event may come now */
    unsigned            resolves;
    unsigned            connected;
    unsigned            disconnected;
    uint64_t            resolved_us[16];    /* when on_resolve came */
    char                why[320];
} grpc_owner_t;

/* Creates the channel; config's authority may be NULL. */
void grpc_owner_start(grpc_owner_t *owner, cn_loop_t *loop, const cn_grpc_config_t *config);

/* An owner of a call. */
typedef struct {
    cn_grpc_call_t    *call;                /* NULL: over */
    grpc_owner_t      *owner;
    unsigned           opened;
    unsigned           messages;
    uint64_t           octets;              /* of all messages */
    char               last[64];            /* the beginning of the last */
    uint64_t           hash;                /* of its octets */
    bool               over;
    cn_grpc_status_t   status;
    char               text[320];
    bool               cancel_on_message;
    bool               close_on_message;    /* the channel */
    bool               close_on_status;
} grpc_caller_t;

/* A call with metadata of its own, or with some that every server takes. */
void grpc_caller_start_with(grpc_caller_t *caller, grpc_owner_t *owner, const char *path,
    const cn_grpc_metadata_t *metadata, size_t count);
void grpc_caller_start(grpc_caller_t *caller, grpc_owner_t *owner, const char *path,
    uint64_t deadline_ms);
void grpc_caller_say(grpc_caller_t *caller, cn_bytes_t message);
void grpc_caller_end(grpc_caller_t *caller);

/*
 * The server.  "/t/Echo" answers each octet as it comes and status 0 at the end; "/t/NotFound" a head alone, with status 5 and the
 * message "no such thing: 100%"; all others are held for the test, which sends what it likes.
 */
typedef struct {
    cn_loop_t         *loop;
    cn_tls_context_t  *tls;                 /* NULL: plaintext */
    uint32_t           streams_max;         /* 0: the default */
    int                fd;
    cn_watch_t         watch;
    cn_address_t       address;
    cn_session_t      *session;             /* the newest; NULL: closed */
    unsigned           accepted;
    unsigned           closed;
    unsigned           started;             /* requests */
    unsigned           resets;
    cn_exchange_t     *held;                /* the newest, NULL: over */
    char               head[1024];          /* of the newest request: "name: value\n" */
    char               body[4096];          /* that came for a held one */
    size_t             body_len;
    bool               request_ended;
} grpc_server_t;

void grpc_server_start(grpc_server_t *server, cn_loop_t *loop, cn_tls_context_t *tls);

/* Listens no more and closes its connection. */
void grpc_server_stop(grpc_server_t *server);

/* Of the held exchange: the head (status, content-type), octets, trailers (a NULL status: no grpc-status) and END_STREAM. */
void grpc_server_head(grpc_server_t *server, uint16_t status, const char *content_type);
void grpc_server_octets(grpc_server_t *server, cn_bytes_t octets);
void grpc_server_end(grpc_server_t *server, const char *status, const char *message);

uint64_t grpc_hash(cn_bytes_t bytes);

#define GRPC_WAIT_MS  20000

/* Turns the loop until the condition holds; fails the test when it does not in time. */
#define GRPC_WAIT_FOR(loop, condition)                                         \
    do {                                                                       \
        uint64_t  until_us = cn_clock_us_now() + GRPC_WAIT_MS * 1000;          \
                                                                               \
        while (!(condition)) {                                                 \
            if (cn_clock_us_now() > until_us) {                                \
                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition);  \
            }                                                                  \
                                                                               \
            cn_loop_turn((loop), 5);                                           \
        }                                                                      \
    } while (0)

#endif
