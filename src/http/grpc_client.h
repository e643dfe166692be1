/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc_client - gRPC calls on one kept connection.
 *
 *   channel: idle --first call--> resolving --> connecting --> ready --lost--> idle
 *              ^                      |  failed      |  failed
 *              '----- back-off <------+--------------'
 *
 * A call waits for the connection, through a back-off too (its deadline bounds it); when an attempt
 * to connect fails, the calls that wait end with UNAVAILABLE and the reason.  The connection is
 * there when the peer's SETTINGS are.  Nothing is repeated here: whoever calls knows what may be.
 * A message is a view that lives until its event returns.  Sources: gRPC over HTTP/2
 * (PROTOCOL-HTTP2.md, connection-backoff.md, keepalive.md of the gRPC project).
 */

#ifndef CN_HTTP_GRPC_CLIENT_H
#define CN_HTTP_GRPC_CLIENT_H

#include "event/socket.h"
#include "http/grpc.h"
#include "stream/tls.h"

#define CN_GRPC_ADDRESSES_MAX  16       /* that are tried in turn; more are left out */

typedef struct cn_grpc_channel_s cn_grpc_channel_t;
typedef struct cn_grpc_call_s cn_grpc_call_t;

/* Copied, texts included; the context is referred to.  0 is the default named. */
typedef struct {
    const char        *authority;       /* of each request: "istiod.istio-system.svc:15012" */
    cn_tls_context_t  *tls;             /* a client's by_name; NULL: plaintext, but */
    /* .. with this it comes by cn_grpc_channel_set_tls(), as late as in on_resolve */
    bool               tls_later;
    /* SNI, and a name that the certificate must have; NULL: the authority without its port */
    const char        *server_name;
    /* 5,000; of resolving, and then of each address, until the peer's SETTINGS */
    uint64_t           connect_timeout_ms;
    uint64_t           keepalive_ms;            /* 30,000; PING when a call heard nothing so long */
    uint64_t           keepalive_timeout_ms;    /* 10,000; without its answer the end */
    /*
     * Between the beginnings of attempts: min (500), 1.6 times more after each that fails, up to
     * max (30,000); each a fifth more or less by chance.
     */
    uint64_t           backoff_min_ms;
    uint64_t           backoff_max_ms;
    size_t             message_max;     /* octets of a received message; 64 MiB */
} cn_grpc_config_t;

typedef struct {
    /*
     * Where to connect is asked: cn_grpc_channel_resolved() answers, now or later.  An event, as
     * all are: not within a call down.
     */
    void  (*on_resolve)(void *owner);
    /*
     * The connection is there; it is no more, or an attempt has failed (why: the last failure,
     * until the event returns).  May be NULL.
     */
    void  (*on_connected)(void *owner);
    void  (*on_disconnected)(void *owner, const char *why);
} cn_grpc_channel_events_t;

/* events must outlive it.  NULL: memory. */
cn_grpc_channel_t *cn_grpc_channel_create(cn_loop_t *loop, const cn_grpc_config_t *config,
    const cn_grpc_channel_events_t *events, void *owner) CN_MUST_USE;

/*
 * Calls that run are dropped without an event, and must not be used any more.  Frees itself at the
 * end of the turn; no event follows.  NULL does nothing.
 */
void cn_grpc_channel_close(cn_grpc_channel_t *channel);

/*
 * Addresses to try in turn; none: why says what went wrong ("no such name").  Unasked, it does
 * nothing.
 */
void cn_grpc_channel_resolved(cn_grpc_channel_t *channel, const cn_address_t *addresses,
    size_t count, const char *why);

/* For connections from now on: roots or a client certificate changed.  Never NULL. */
void cn_grpc_channel_set_tls(cn_grpc_channel_t *channel, cn_tls_context_t *tls);

/* Whether a call could go out now. */
bool cn_grpc_channel_is_connected(const cn_grpc_channel_t *channel);

/* Lower-case name; a value of printable ASCII. */
typedef struct { cn_bytes_t name; cn_bytes_t value; } cn_grpc_metadata_t;

typedef struct {
    /* The peer's initial metadata is there: the stream is open.  May be NULL. */
    void  (*on_open)(void *owner);
    void  (*on_message)(void *owner, cn_bytes_t message);
    /*
     * The last event: the peer's status, or what stands for it (the gRPC mapping of HTTP statuses
     * and resets).  message is percent-decoded and lives until the event returns; it is the peer's
     * word, not to be printed raw.
     */
    void  (*on_status)(void *owner, cn_grpc_status_t status, cn_bytes_t message);
} cn_grpc_call_events_t;

/*
 * path "/package.Service/Method"; metadata is copied.  deadline_ms 0: none; it counts from now and
 * is told to the peer.  A path or metadata that cannot be sent ends it with INTERNAL.  The call
 * frees itself at the end of the turn of its last event.  NULL: memory.
 */
cn_grpc_call_t *cn_grpc_call_start(cn_grpc_channel_t *channel, const char *path,
    const cn_grpc_metadata_t *metadata, size_t count, uint64_t deadline_ms,
    const cn_grpc_call_events_t *events, void *owner) CN_MUST_USE;

/*
 * Queues one message, copied; also before the connection is there.  CN_ERR_MEMORY; CN_ERR_LIMIT:
 * over 2 GiB; CN_ERR_CLOSED: after cn_grpc_call_end().
 */
cn_status_t cn_grpc_call_send(cn_grpc_call_t *call, cn_bytes_t message) CN_MUST_USE;

/* Octets given to it that have not left yet. */
size_t cn_grpc_call_pending(const cn_grpc_call_t *call);

/* No more messages. */
void cn_grpc_call_end(cn_grpc_call_t *call);

/* Ends it at once: no event follows.  The call must not be used any more. */
void cn_grpc_call_cancel(cn_grpc_call_t *call);

#endif
