/* SPDX-License-Identifier: Apache-2.0 */

/* plane - see plane.h. */

#include "server/plane.h"

#include "base/log.h"
#include "base/pool.h"
#include "source/identity/identity.h"

#include <stdio.h>

#define SYSTEM_ROOTS  "/etc/ssl/certs/ca-certificates.crt"

struct cn_plane_s {
    cn_loop_t                    *loop;
    cn_dns_t                     *dns;
    cn_dns_query_t               *query;        /* NULL: none */
    const cn_bootstrap_server_t  *server;
    const char                   *name;
    cn_grpc_channel_t            *channel;
    bool                          told;         /* the last failure was logged */
};


/* ---- where it is, and whom we trust there ---- */

static void
resolved(void *owner, const cn_dns_answer_t *answer)
{
    cn_plane_t  *plane = owner;

    plane->query = NULL;
    cn_grpc_channel_resolved(plane->channel, answer->addresses, answer->count,
                             cn_dns_result_text(answer->result));
}


/* The context of the next connection.  False: error says what is wrong with the roots. */
static bool
trust(cn_plane_t *plane, char error[CN_IDENTITY_ERROR_MAX])
{
    const char         *path = plane->server->root != NULL ? plane->server->root : SYSTEM_ROOTS;
    const char         *why = "";
    cn_identity_t       known = { .expires = 0 };
    cn_tls_identity_t   identity = { .alpn = "h2", .by_name = true };
    cn_tls_context_t   *context;

    if (cn_identity_read_files(NULL, NULL, path, &known, error) != CN_OK) {
        return false;
    }

    identity.roots_pem = known.roots_pem;
    context = cn_tls_context_create(&identity, &why);
    cn_identity_wipe(&known);

    if (context == NULL) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "%s: %s", path, why);
        return false;
    }

    cn_grpc_channel_set_tls(plane->channel, context);
    cn_tls_context_unref(context);

    return true;
}


static void
resolve(void *owner)
{
    cn_plane_t  *plane = owner;
    char         error[CN_IDENTITY_ERROR_MAX] = "";

    if (!plane->server->plaintext && !trust(plane, error)) {
        cn_grpc_channel_resolved(plane->channel, NULL, 0, error);
        return;
    }

    cn_dns_cancel(plane->query);
    plane->query = cn_dns_resolve(plane->dns, cn_bytes_str(plane->server->host),
                                  plane->server->port, CN_DNS_ALL, resolved, plane);

    if (plane->query == NULL) {
        cn_grpc_channel_resolved(plane->channel, NULL, 0, "out of memory");
    }
}


static void
connected(void *owner)
{
    cn_plane_t  *plane = owner;

    plane->told = false;
    cn_log(CN_LOG_INFO, plane->name, "connected: server=%s", plane->server->address);
}


/* Attempts go on for as long as it takes: the first failure is told, the rest are for debugging. */
static void
disconnected(void *owner, const char *why)
{
    cn_plane_t  *plane = owner;

    cn_log(plane->told ? CN_LOG_DEBUG : CN_LOG_WARN, plane->name,
           "not connected: server=%s reason=\"%s\"", plane->server->address, why);
    plane->told = true;
}


static const cn_grpc_channel_events_t  channel_events = {
    .on_resolve = resolve,
    .on_connected = connected,
    .on_disconnected = disconnected,
};


/* ---- calls ---- */

cn_credentials_t
cn_plane_credentials(const cn_plane_t *plane)
{
    const cn_bootstrap_server_t  *server = plane->server;

    return (cn_credentials_t) {
        .token_path = server->token,
        .cluster_id = server->cluster_id == NULL ? CN_BYTES_NONE
            : cn_bytes_str(server->cluster_id),
        .headers = server->headers.items,
        .header_count = server->headers.count,
    };
}


cn_grpc_call_t *
cn_plane_call(cn_plane_t *plane, const char *path, const cn_grpc_call_events_t *events,
    void *owner)
{
    cn_credentials_t     credentials = cn_plane_credentials(plane);
    cn_call_metadata_t   metadata;
    cn_grpc_call_t      *call;

    if (cn_credentials_read(&credentials, &metadata) != CN_OK) {
        return NULL;
    }

    call = cn_grpc_call_start(plane->channel, path, metadata.items, metadata.count, 0, events,
                              owner);
    cn_call_metadata_wipe(&metadata);

    return call;
}


cn_grpc_channel_t *
cn_plane_channel(cn_plane_t *plane)
{
    return plane->channel;
}


cn_plane_t *
cn_plane_open(cn_loop_t *loop, cn_dns_t *dns, const cn_bootstrap_server_t *server, const char *name)
{
    cn_plane_t        *plane = cn_alloc_zero(sizeof(cn_plane_t));
    cn_grpc_config_t   config = {
        .authority = server->address,
        .tls_later = !server->plaintext,
        .server_name = server->server_name,
        .keepalive_ms = server->keepalive_ms,
        .keepalive_timeout_ms = server->keepalive_timeout_ms,
    };

    if (plane == NULL) {
        return NULL;
    }

    plane->loop = loop;
    plane->dns = dns;
    plane->server = server;
    plane->name = name;
    plane->channel = cn_grpc_channel_create(loop, &config, &channel_events, plane);

    if (plane->channel == NULL) {
        cn_free(plane);
        return NULL;
    }

    return plane;
}


void
cn_plane_close(cn_plane_t *plane)
{
    if (plane == NULL) {
        return;
    }

    cn_dns_cancel(plane->query);
    cn_grpc_channel_close(plane->channel);
    cn_free(plane);
}
