/* SPDX-License-Identifier: Apache-2.0 */

/* own_identity - see own_identity.h. */

#include "server/own_identity.h"

#include "base/hash.h"
#include "server/plane.h"
#include "source/identity/files.h"
#include "source/identity/istio_ca.h"
#include "source/identity/rotation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RENEW_MS  (6 * 3600 * 1000ull)      /* development certificates live 24 h */
#define WATCH_MS  5000                      /* until files are watched that could not be */

struct cn_own_identity_s {
    cn_loop_t                       *loop;
    const cn_bootstrap_t            *bootstrap;
    const cn_own_identity_events_t  *events;
    void                            *owner;
    cn_timer_t                       renew;         /* development; files: to watch them */
    cn_identity_t                    identity;      /* of the development CA */
    uint64_t                         issued;        /* how many by that */
    uint64_t                         domains;       /* hash of those that workers have; 0: none */
    cn_rotation_t                   *rotation;      /* NULL: the development CA */
    cn_identity_files_t             *files;         /* NULL: there are none to be watched */

    /* of Istio's CA: NULL elsewhere */
    cn_plane_t                      *plane;
    cn_istio_ca_t                   *ca;
};


/* NULL: there is none yet. */
static const cn_identity_t *
current(const cn_own_identity_t *own)
{
    if (own->rotation != NULL) {
        return cn_rotation_identity(own->rotation);
    }

    return own->identity.key_pem.len > 0 ? &own->identity : NULL;
}


static const char *
waypoint_id(cn_own_identity_t *own, char *text, size_t size)
{
    const cn_bootstrap_t  *bootstrap = own->bootstrap;
    const cn_model_t      *model = own->events->model(own->owner);
    const char            *waypoint = bootstrap->waypoint;
    const char            *slash = waypoint != NULL ? strchr(waypoint, '/') : NULL;
    char                   name_space[254] = "default";
    char                   account[254] = "waypoint";

    if (model != NULL) {
        snprintf(name_space, sizeof(name_space), "%.*s", CN_BYTES_ARG(model->name_space));
        snprintf(account, sizeof(account), "%.*s", CN_BYTES_ARG(model->waypoint));

    } else if (slash != NULL) {
        snprintf(name_space, sizeof(name_space), "%.*s", (int) (slash - waypoint), waypoint);
        snprintf(account, sizeof(account), "%s", slash + 1);
    }

    snprintf(text, size, "spiffe://%s/ns/%s/sa/%s", bootstrap->trust_domain, name_space,
             bootstrap->waypoint_account != NULL ? bootstrap->waypoint_account : account);

    return text;
}


static cn_status_t
issue_identity(cn_own_identity_t *own, cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX])
{
    cn_identity_ca_t  *ca = cn_identity_ca_open(own->bootstrap->ca_directory, error);
    char               id[1024];
    cn_status_t        status;

    if (ca == NULL) {
        return CN_ERR_IO;
    }

    status = cn_identity_ca_issue(ca, cn_bytes_str(waypoint_id(own, id, sizeof(id))), identity,
                                  error);
    cn_identity_ca_close(ca);

    return status;
}


bool
cn_own_identity_view(const cn_own_identity_t *own, cn_admin_identity_t *view)
{
    const cn_identity_t  *identity = current(own);
    bool                  files = own->bootstrap->identity == CN_IDENTITY_FILES;

    *view = (cn_admin_identity_t) { .renewals = own->issued };

    if (own->rotation != NULL) {
        cn_rotation_view_t  known = cn_rotation_view(own->rotation);

        view->renewals = known.renewals;
        view->failures = known.failures;
        view->why = known.why;
    }

    if (identity == NULL) {
        return false;
    }

    view->chain_pem = identity->chain_pem;
    view->roots_pem = identity->roots_pem;
    view->chain_path = files ? own->bootstrap->certificate : NULL;
    view->roots_path = files ? own->bootstrap->root : NULL;
    view->begins = identity->begins;
    view->expires = identity->expires;

    return true;
}


/* ---- to the workers ---- */

/*
 * The trust domains that a peer may be of, in pool.  NULL: istiod has not said them yet; or memory.
 */
static const cn_array_t *
trust_domains(const cn_own_identity_t *own, cn_pool_t *pool)
{
    const cn_bootstrap_t  *bootstrap = own->bootstrap;
    const cn_model_t      *model = own->events->model(own->owner);
    cn_array_t            *domains;
    cn_bytes_t            *slot;

    if (bootstrap->istiod.server.address != NULL) {
        return model == NULL ? NULL : &model->trust_domains;
    }

    domains = cn_pool_alloc(pool, sizeof(*domains));

    if (domains == NULL) {
        return NULL;
    }

    *domains = CN_ARRAY_INIT(pool, cn_bytes_t);

    for (size_t i = 0; i <= bootstrap->trust_aliases.count; i++) {
        slot = cn_array_add(domains);

        if (slot == NULL) {
            return NULL;
        }

        *slot = i == 0 ? cn_bytes_str(bootstrap->trust_domain)
            : *CN_ARRAY_AT(&bootstrap->trust_aliases, const cn_bytes_t, i - 1);
    }

    return domains;
}


static uint8_t *
put_bytes(uint8_t *to, cn_bytes_t bytes)
{
    if (bytes.len > 0) {
        memcpy(to, bytes.ptr, bytes.len);
    }

    return to + bytes.len;
}


/* The message; none: memory, or it is too large.  The caller wipes and frees it. */
static cn_bytes_t
pack(const cn_identity_t *identity, const cn_array_t *domains)
{
    cn_msg_identity_t  head = {
        .chain_len = (uint32_t) identity->chain_pem.len,
        .key_len = (uint32_t) identity->key_pem.len,
        .roots_len = (uint32_t) identity->roots_pem.len,
        .trust_domain_count = (uint32_t) domains->count,
    };
    size_t             size;
    uint8_t           *octets, *to;

    CN_ARRAY_EACH(domains, const cn_bytes_t, counted) {
        head.trust_domains_len += (uint32_t) counted->len + 1;
    }

    size = sizeof(head) + head.chain_len + head.key_len + head.roots_len + head.trust_domains_len;
    octets = size <= CN_CHANNEL_PAYLOAD_MAX ? cn_alloc_zero(size) : NULL;

    if (octets == NULL) {
        cn_log(CN_LOG_ERROR, "identity", "send identity: size=%zu", size);
        return CN_BYTES_NONE;
    }

    to = put_bytes(octets, cn_bytes(&head, sizeof(head)));
    to = put_bytes(to, identity->chain_pem);
    to = put_bytes(to, identity->key_pem);
    to = put_bytes(to, identity->roots_pem);

    CN_ARRAY_EACH(domains, const cn_bytes_t, domain) {
        to = put_bytes(to, *domain) + 1;
    }

    return cn_bytes(octets, size);
}


void
cn_own_identity_send(const cn_own_identity_t *own, cn_channel_t *channel)
{
    const cn_identity_t  *identity = current(own);
    cn_pool_t            *pool = cn_pool_create(1024, NULL);
    const cn_array_t     *domains = pool == NULL ? NULL : trust_domains(own, pool);
    cn_bytes_t            message = CN_BYTES_NONE;

    if (channel != NULL && identity != NULL && domains != NULL) {
        message = pack(identity, domains);
    }

    if (message.len > 0) {
        if (cn_channel_send(channel, CN_MSG_IDENTITY, message, NULL, 0) != CN_OK) {
            cn_log(CN_LOG_ERROR, "identity", "send identity: the worker does not listen");
        }

        explicit_bzero((void *) (uintptr_t) message.ptr, message.len);
        cn_free((void *) (uintptr_t) message.ptr);
    }

    cn_pool_destroy(pool);
}


/* Never 0. */
static uint64_t
hash_domains(const cn_array_t *domains)
{
    uint64_t  hash = 1;

    CN_ARRAY_EACH(domains, const cn_bytes_t, domain) {
        hash = cn_hash_seeded(*domain, hash);
    }

    return hash == 0 ? 1 : hash;
}


void
cn_own_identity_follow(cn_own_identity_t *own)
{
    const cn_model_t  *model = own->events->model(own->owner);
    uint64_t           hash;

    if (own->bootstrap->istiod.server.address == NULL || model == NULL) {
        return;
    }

    hash = hash_domains(&model->trust_domains);

    if (hash == own->domains) {
        return;
    }

    own->domains = hash;
    cn_log(model->trust_domains.count == 0 ? CN_LOG_ERROR : CN_LOG_INFO, "identity",
           "trust domains: count=%zu first=%.*s", model->trust_domains.count,
           CN_BYTES_ARG(model->trust_domains.count == 0 ? CN_BYTES("none, so nobody is trusted")
                        : *CN_ARRAY_AT(&model->trust_domains, const cn_bytes_t, 0)));
    own->events->on_changed(own->owner);
}


/* ---- the development CA ---- */

static void
refresh(cn_own_identity_t *own)
{
    cn_identity_t  fresh = { .expires = 0 };
    char           error[CN_IDENTITY_ERROR_MAX] = "";

    if (issue_identity(own, &fresh, error) != CN_OK) {
        cn_log(CN_LOG_ERROR, "identity", "make identity: reason=\"%s\"", error);
        return;                 /* the old one serves on */
    }

    cn_identity_wipe(&own->identity);
    own->identity = fresh;
    own->issued++;

    own->events->on_changed(own->owner);
}


/* ---- files ---- */

/* They are read when they are watched: no change is missed between. */
static void
open_files(cn_own_identity_t *own)
{
    const cn_identity_paths_t  paths = {
        own->bootstrap->certificate, own->bootstrap->key, own->bootstrap->root,
    };

    own->files = cn_identity_files_open(own->loop, &paths, &cn_rotation_maker_events,
                                        own->rotation);

    if (own->files != NULL) {
        cn_rotation_start(own->rotation, &cn_identity_files_maker, own->files);
        return;
    }

    cn_log(CN_LOG_ERROR, "identity", "watch certificate: path=%s reason=\"%s\"",
           own->bootstrap->certificate, strerror(errno));
    cn_timer_set(own->loop, &own->renew, WATCH_MS);
}


static void
renew(cn_timer_t *timer)
{
    cn_own_identity_t  *own = CN_CONTAINER_OF(timer, cn_own_identity_t, renew);

    if (own->rotation != NULL) {
        open_files(own);
        return;
    }

    refresh(own);
    cn_timer_set(own->loop, timer, RENEW_MS);
}


/* ---- Istio's CA ---- */

static void
rotated(void *owner, const cn_identity_t *identity)
{
    cn_own_identity_t  *own = owner;

    (void) identity;
    own->events->on_changed(own->owner);
}


static const cn_rotation_events_t  rotation_events = { .on_identity = rotated };


static cn_istio_ca_t *
create_ca(cn_own_identity_t *own)
{
    char                  id[1024];
    cn_istio_ca_config_t  config = {
        .transport = &cn_istio_ca_grpc,
        .channel = cn_plane_channel(own->plane),
        .spiffe_id = cn_bytes_str(waypoint_id(own, id, sizeof(id))),
        .key = own->bootstrap->ca.key,
        .credentials = cn_plane_credentials(own->plane),
        .lifetime_s = own->bootstrap->ca.ttl_ms / 1000,
    };

    return cn_istio_ca_create(own->loop, &config, &cn_rotation_maker_events, own->rotation);
}


/* False: memory. */
static bool
open_ca(cn_own_identity_t *own, cn_dns_t *dns)
{
    own->plane = cn_plane_open(own->loop, dns, &own->bootstrap->ca.server, "ca");
    own->ca = own->plane != NULL ? create_ca(own) : NULL;

    return own->ca != NULL;
}


/* False: memory. */
static bool
open_rotation(cn_own_identity_t *own, cn_dns_t *dns)
{
    const cn_bootstrap_t  *bootstrap = own->bootstrap;
    cn_rotation_config_t   config = cn_rotation_defaults();

    if (bootstrap->identity == CN_IDENTITY_DEVELOPMENT) {
        return true;
    }

    if (bootstrap->identity == CN_IDENTITY_ISTIO_CA) {
        config.grace_ratio = bootstrap->ca.grace_ppm / 1e6;
        config.grace_jitter = bootstrap->ca.grace_jitter_ppm / 1e6;
    }

    own->rotation = cn_rotation_create(own->loop, &config, &rotation_events, own);

    return own->rotation != NULL
           && (bootstrap->identity != CN_IDENTITY_ISTIO_CA || open_ca(own, dns));
}


cn_own_identity_t *
cn_own_identity_create(cn_loop_t *loop, cn_dns_t *dns, const cn_bootstrap_t *bootstrap,
    const cn_own_identity_events_t *events, void *owner)
{
    cn_own_identity_t  *own = cn_alloc_zero(sizeof(cn_own_identity_t));

    if (own == NULL) {
        return NULL;
    }

    own->loop = loop;
    own->bootstrap = bootstrap;
    own->events = events;
    own->owner = owner;
    own->renew.run = renew;

    if (!open_rotation(own, dns)) {
        cn_own_identity_destroy(own);
        return NULL;
    }

    return own;
}


void
cn_own_identity_destroy(cn_own_identity_t *own)
{
    if (own == NULL) {
        return;
    }

    cn_own_identity_stop(own);
    cn_identity_wipe(&own->identity);
    cn_free(own);
}


void
cn_own_identity_start(cn_own_identity_t *own)
{
    switch (own->bootstrap->identity) {

    case CN_IDENTITY_ISTIO_CA:
        cn_rotation_start(own->rotation, &cn_istio_ca_maker, own->ca);
        return;

    case CN_IDENTITY_FILES:
        open_files(own);
        return;

    case CN_IDENTITY_DEVELOPMENT:
        renew(&own->renew);
        return;

    case CN_IDENTITY_SOCKET:            /* refused with the bootstrap file */
        return;
    }
}


void
cn_own_identity_reload(cn_own_identity_t *own)
{
    if (own->bootstrap->identity != CN_IDENTITY_FILES || own->rotation == NULL) {
        return;
    }

    if (own->files == NULL) {
        open_files(own);
    } else {
        cn_rotation_hurry(own->rotation);
    }
}


void
cn_own_identity_stop(cn_own_identity_t *own)
{
    cn_timer_cancel(&own->renew);
    cn_rotation_close(own->rotation);
    cn_identity_files_close(own->files);
    cn_istio_ca_close(own->ca);
    cn_plane_close(own->plane);
    own->rotation = NULL;
    own->files = NULL;
    own->ca = NULL;
    own->plane = NULL;
}
