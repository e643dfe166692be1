/* SPDX-License-Identifier: Apache-2.0 */

/*
 * own_identity - who the waypoint is: made by the master from whichever source the bootstrap file
 * names, renewed before it ends, handed to the workers, wiped.  Workers take a new one for new
 * handshakes; live connections keep theirs.
 */

#ifndef CN_SERVER_OWN_IDENTITY_H
#define CN_SERVER_OWN_IDENTITY_H

#include "admin/admin.h"
#include "dns/dns.h"
#include "model/model.h"
#include "server/bootstrap.h"
#include "server/message.h"
#include "source/identity/identity.h"

typedef struct cn_own_identity_s cn_own_identity_t;

typedef struct {
    /* There is another one: cn_own_identity_send() to each worker. */
    void               (*on_changed)(void *owner);
    /* Tells the namespace and the service account's name, where the bootstrap file does not. */
    const cn_model_t  *(*model)(void *owner);
} cn_own_identity_events_t;

/* Nothing is made yet.  The arguments outlive it; dns finds a CA.  NULL: memory. */
cn_own_identity_t *cn_own_identity_create(cn_loop_t *loop, cn_dns_t *dns,
    const cn_bootstrap_t *bootstrap, const cn_own_identity_events_t *events,
    void *owner) CN_MUST_USE;

/* Wipes it.  NULL does nothing. */
void cn_own_identity_destroy(cn_own_identity_t *own);

/* Makes the first one, and goes on renewing. */
void cn_own_identity_start(cn_own_identity_t *own);

/* The configuration is read anew: so are files, which are also read whenever they change. */
void cn_own_identity_reload(cn_own_identity_t *own);

/* Renews no more: a newer master does. */
void cn_own_identity_stop(cn_own_identity_t *own);

/* For people.  False: there is none yet. */
bool cn_own_identity_view(const cn_own_identity_t *own, cn_admin_identity_t *view);

/*
 * There is another model: where istiod is the source it says of which trust domains peers may be.
 * If these are others, on_changed comes within the call.
 */
void cn_own_identity_follow(cn_own_identity_t *own);

/*
 * To a worker; nothing while there is none, or while istiod has not said whom to trust.  channel
 * may be NULL.
 */
void cn_own_identity_send(const cn_own_identity_t *own, cn_channel_t *channel);

#endif
