/* SPDX-License-Identifier: Apache-2.0 */

/*
 * admin - the HTTP endpoints of the master: readiness, Prometheus text, dumps, explain, the page.
 * Read only, GET and HEAD, but for the two commands that Istio's agent takes by POST from its own
 * host.  It looks at the control plane through a view and changes nothing of it.
 */

#ifndef CN_ADMIN_ADMIN_H
#define CN_ADMIN_ADMIN_H

#include "event/loop.h"
#include "event/socket.h"
#include "model/model.h"
#include "stats/slab.h"
#include "table/snapshot.h"

typedef struct cn_admin_s cn_admin_t;

/* As the agent's: /drain tells peers to go and stays, /quitquitquit ends at once. */
typedef enum { CN_ADMIN_DRAIN, CN_ADMIN_QUIT } cn_admin_command_t;

/* Who the waypoint is; views until the loop turns.  Paths are NULL where there are no files. */
typedef struct {
    cn_bytes_t   chain_pem;
    cn_bytes_t   roots_pem;
    const char  *chain_path;
    const char  *roots_path;
    uint64_t     begins;                /* of the leaf, s since 1970 */
    uint64_t     expires;
    uint64_t     renewals;
    uint32_t     failures;              /* since the last renewal */
    const char  *why;                   /* of the last failure; "" or NULL: none */
} cn_admin_identity_t;

/* What the admin side may see; all outlives the admin. */
typedef struct {
    void               *owner;
    cn_slab_t          *slab;
    const cn_tables_t  *tables;                     /* the master's own, adopted */
    const char         *bootstrap_prefix;
    uint32_t            upgrades;       /* of the executable since the start */
    uint32_t            first_slot;     /* in the slab, of the workers that serve */
    uint32_t            workers;
    const cn_loop_stats_t  *loop;       /* the master's */
    bool                (*ready)(void *owner);
    const cn_model_t  *(*model)(void *owner);       /* NULL before the first good reading */
    const cn_report_t *(*report)(void *owner);      /* of that reading; NULL likewise */
    /* False: there is no certificate; what is told of failures counts all the same.  NULL: so. */
    bool                (*identity)(void *owner, cn_admin_identity_t *identity);
    void                (*command)(void *owner, cn_admin_command_t command);
} cn_admin_view_t;

/* Which endpoints a socket offers. */
typedef enum {
    CN_ADMIN_FULL,                  /* 15000 */
    CN_ADMIN_STATUS,                /* 15021: /healthz/ready, /healthz/live */
    /* 15020, 15090: these, /stats/prometheus, /metrics; POST /drain, /quitquitquit */
    CN_ADMIN_METRICS,
} cn_admin_kind_t;

/* view outlives the admin.  NULL: memory. */
cn_admin_t *cn_admin_create(cn_loop_t *loop, const cn_admin_view_t *view) CN_MUST_USE;

/* Takes fd and serves it until it closes; at most 256 connections at once. */
void cn_admin_accept(cn_admin_t *admin, int fd, const cn_address_t *peer, cn_admin_kind_t kind);

#endif
