/* SPDX-License-Identifier: Apache-2.0 */

/*
 * upstream - from a cluster to an exchange with one of its endpoints: choice, limits, pooled
 * connections.
 *
 * HBONE endpoints: one or few TLS connections a worker and address:15008 (key: address, uid,
 * expected principal), on each many CONNECT tunnels, each with an HTTP/1 (or HTTP/2) client
 * session; idle tunnels are kept and reused for the next request.  While a connection is being
 * opened, tunnels and requests queue on it.  Other endpoints: one TCP connection a session, pooled
 * likewise.
 */

#ifndef CN_UPSTREAM_UPSTREAM_H
#define CN_UPSTREAM_UPSTREAM_H

#include "http/codec.h"
#include "stats/slab.h"
#include "stream/tls.h"
#include "table/snapshot.h"

typedef struct cn_upstream_s cn_upstream_t;

/* The worker's; all outlive the upstream. */
typedef struct {
    cn_loop_t     *loop;
    cn_tables_t   *tables;
    cn_slab_t     *slab;
    uint32_t       worker;
    cn_account_t  *account;
} cn_upstream_env_t;

/* env is copied, what it points to is not.  NULL: memory. */
cn_upstream_t *cn_upstream_create(const cn_upstream_env_t *env) CN_MUST_USE;

/* Closes every connection. */
void cn_upstream_destroy(cn_upstream_t *upstream);

/*
 * The identity for new HBONE connections (takes a reference); live connections keep theirs.  NULL:
 * HBONE endpoints fail with CONNECT_FAILED.
 */
void cn_upstream_set_identity(cn_upstream_t *upstream, cn_tls_context_t *context);

/*
 * After a table was adopted: idle connections to endpoints that are gone or whose uid changed are
 * closed.
 */
void cn_upstream_tables_changed(cn_upstream_t *upstream);

/* A chosen endpoint: a copy, so that no table is pinned by it. */
typedef struct {
    uint32_t      cluster;              /* id */
    cn_address_t  address;              /* the application's */
    uint16_t      hbone_port;           /* 0: reached directly */
    bool          http2;
    /* the caller says by http2 what the client speaks, before cn_upstream_request() */
    bool          client_protocol;
    /* its active request is counted until cn_upstream_release() */
    uint32_t      cell;
    uint32_t      cluster_cell;
    uint32_t      connect_timeout_ms;
    uint32_t      idle_timeout_ms;
    char          principal[256];       /* expected; "" any of the trust domain */
    char          uid[128];
} cn_host_t;

typedef enum {
    CN_CHOICE_OK,
    CN_CHOICE_NO_CLUSTER,               /* NC */
    CN_CHOICE_NO_HEALTHY_HOST,          /* UH */
    CN_CHOICE_OVERFLOW,                 /* UO: the cluster's max_requests */
} cn_choice_t;

/*
 * Chooses by the cluster's policy over the shared active counts, in the newest tables, and counts
 * the request as active.  avoid: hosts already tried; up to attempts draws are spent to find
 * another (previous_hosts, host_selection_retry_max_attempts).
 */
cn_choice_t cn_upstream_choose(cn_upstream_t *upstream, uint32_t cluster,
    const cn_address_t *avoid, size_t avoid_count,
    uint32_t attempts, cn_host_t *host);

/* The request to host is over: its counts go down.  Once for each CN_CHOICE_OK. */
void cn_upstream_release(cn_upstream_t *upstream, const cn_host_t *host);

/*
 * Sends a request's head to host on a pooled or new connection.  Failures to connect come as
 * on_reset of the exchange.  pool, events and owner as cn_client_request().  NULL: memory or
 * descriptors.
 */
cn_exchange_t *cn_upstream_request(cn_upstream_t *upstream, const cn_host_t *host,
    const cn_message_t *head, bool end,
    cn_pool_t *pool, const cn_exchange_events_t *events, void *owner) CN_MUST_USE;

/* A raw stream to host (TCP proxying): a new tunnel or connection.  NULL: memory or descriptors. */
cn_stream_t *cn_upstream_stream(cn_upstream_t *upstream, const cn_host_t *host) CN_MUST_USE;

typedef struct {
    uint32_t  connections;              /* TCP and TLS */
    uint32_t  tunnels;
    uint32_t  idle;                     /* sessions waiting for a request */
} cn_upstream_stats_t;

/* What is open now. */
cn_upstream_stats_t cn_upstream_stats(const cn_upstream_t *upstream);

#endif
