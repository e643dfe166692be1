/* SPDX-License-Identifier: Apache-2.0 */

/*
 * discovery - the stream on which istiod says the configuration.  It feeds a state, tells when that
 * is to be built, and answers istiod when what was built is served; when the stream ends it opens
 * another, for as long as it takes, while everything serves on.
 *
 *   (stream) --> state --on_changed--> built --cn_discovery_read()--> published, adopted
 *                                                --cn_discovery_settled()--> ACK or NACK
 */

#ifndef CN_SERVER_DISCOVERY_H
#define CN_SERVER_DISCOVERY_H

#include "dns/dns.h"
#include "server/bootstrap.h"
#include "source/source.h"

typedef struct cn_discovery_s cn_discovery_t;

typedef struct {
    /* The state is to be built. */
    void  (*on_changed)(void *owner);
} cn_discovery_events_t;

/* All outlive it; bootstrap->istiod is there.  NULL: memory, or a node that cannot be told. */
cn_discovery_t *cn_discovery_create(cn_loop_t *loop, cn_dns_t *dns,
    const cn_bootstrap_t *bootstrap, const cn_discovery_events_t *events,
    void *owner) CN_MUST_USE;

/* NULL does nothing. */
void cn_discovery_destroy(cn_discovery_t *discovery);

/* Opens the stream. */
void cn_discovery_start(cn_discovery_t *discovery);

/* Closes it for good: a newer master has its own. */
void cn_discovery_stop(cn_discovery_t *discovery);

/* Lives as long as it. */
cn_xds_state_t *cn_discovery_state(cn_discovery_t *discovery);

/* The state was read, to whatever end: what came meanwhile is taken. */
void cn_discovery_read(cn_discovery_t *discovery);

/*
 * What the last reading made is served by all workers, or changed nothing, or could not be used at
 * all (failure says why; else NULL): istiod is answered.
 */
void cn_discovery_settled(cn_discovery_t *discovery, const char *failure);

/* Whether the state has all that a first configuration needs: before, none is published. */
bool cn_discovery_is_complete(const cn_discovery_t *discovery);

#endif
