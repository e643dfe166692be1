/* SPDX-License-Identifier: Apache-2.0 */

/*
 * mesh_client - tcp > tls > h2, and on it a CONNECT and an HTTP/1 session for each request, which
 * end with it.
 */

#include "cli/mesh_client.h"

#include "http/tunnel.h"
#include "source/identity/identity.h"
#include "stream/tcp.h"

#include <stdio.h>

#define CONNECT_TIMEOUT_MS  5000

struct cn_mesh_client_s {
    cn_loop_t         *loop;
    cn_address_t       waypoint;
    cn_address_t       source;
    bool               has_source;
    cn_tls_context_t  *identity;
    cn_session_t      *connection;      /* NULL: none */
    cn_stream_t       *tls;
    char               failure[256];
};

/* The HTTP/1 session of one request. */
typedef struct {
    cn_session_t  *session;
} call_t;


static void
connection_closed(void *owner, cn_close_reason_t reason)
{
    cn_mesh_client_t  *client = owner;

    snprintf(client->failure, sizeof(client->failure), "%s%s%s", cn_close_reason_name(reason),
             reason == CN_CLOSE_TLS ? ": " : "",
             reason == CN_CLOSE_TLS ? cn_tls_failure(client->tls) : "");
    client->connection = NULL;
}


static const cn_session_events_t  connection_events = { .on_closed = connection_closed };


static bool
connect_to_waypoint(cn_mesh_client_t *client)
{
    cn_stream_t  *tcp;

    if (client->connection != NULL && cn_session_room(client->connection) > 0) {
        return true;
    }

    tcp = cn_tcp_connect(client->loop, &client->waypoint,
                         client->has_source ? &client->source : NULL, CONNECT_TIMEOUT_MS, NULL);

    if (tcp == NULL) {
        return false;
    }

    client->failure[0] = '\0';
    client->tls = cn_tls_connect(tcp, client->identity, CN_BYTES_NONE, CONNECT_TIMEOUT_MS);

    if (client->tls == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        return false;
    }

    client->connection = cn_h2_client(client->tls, NULL, &connection_events, client);

    if (client->connection == NULL) {
        cn_stream_close(client->tls, CN_CLOSE_LIMIT);
        return false;
    }

    return true;
}


static void
call_room(void *owner)
{
    call_t  *call = owner;

    if (cn_session_active(call->session) == 0) {
        cn_session_close(call->session, CN_CLOSE_LOCAL);
        cn_free(call);
    }
}


static void
call_closed(void *owner, cn_close_reason_t reason)
{
    (void) reason;
    cn_free(owner);
}


static const cn_session_events_t  call_events = { .on_room = call_room, .on_closed = call_closed };


cn_exchange_t *
cn_mesh_request(cn_mesh_client_t *client, cn_bytes_t authority, const cn_message_t *head, bool end,
    cn_pool_t *pool, const cn_exchange_events_t *events, void *owner)
{
    call_t         *call;
    cn_stream_t    *tunnel;
    cn_exchange_t  *exchange;

    if (!connect_to_waypoint(client)) {
        return NULL;
    }

    tunnel = cn_tunnel_open(client->connection, authority, NULL, NULL);
    call = tunnel != NULL ? cn_alloc_zero(sizeof(call_t)) : NULL;

    if (call == NULL) {
        return NULL;
    }

    call->session = cn_h1_client(tunnel, NULL, &call_events, call);

    if (call->session == NULL) {
        cn_stream_close(tunnel, CN_CLOSE_LIMIT);
        cn_free(call);
        return NULL;
    }

    exchange = cn_client_request(call->session, head, end, pool, events, owner);

    if (exchange == NULL) {
        cn_session_close(call->session, CN_CLOSE_LOCAL);
        cn_free(call);
    }

    return exchange;
}


cn_mesh_client_t *
cn_mesh_client_create(cn_loop_t *loop, const cn_address_t *waypoint, const cn_address_t *source,
    cn_tls_context_t *identity)
{
    cn_mesh_client_t  *client = cn_alloc_zero(sizeof(cn_mesh_client_t));

    if (client != NULL) {
        client->loop = loop;
        client->waypoint = *waypoint;
        client->identity = cn_tls_context_ref(identity);
        client->has_source = source != NULL;

        if (source != NULL) {
            client->source = *source;
        }
    }

    return client;
}


bool
cn_mesh_source(const cn_model_t *model, cn_bytes_t principal, cn_address_t *source)
{
    static const uint8_t  loopback[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 };

    CN_ARRAY_EACH(&model->workloads, const cn_workload_t, workload) {
        if (!cn_bytes_equal(workload->principal, principal)) {
            continue;
        }

        CN_ARRAY_EACH(&workload->addresses, const cn_table_ip_t, address) {
            if (memcmp(address->ip, loopback, sizeof(loopback)) == 0) {
                *source = (cn_address_t) { .port = 0 };
                memcpy(source->ip, address->ip, sizeof(source->ip));
                return true;
            }
        }
    }

    return false;
}


void
cn_mesh_client_destroy(cn_mesh_client_t *client)
{
    if (client == NULL) {
        return;
    }

    if (client->connection != NULL) {
        cn_session_close(client->connection, CN_CLOSE_LOCAL);
    }

    cn_tls_context_unref(client->identity);
    cn_free(client);
}


const char *
cn_mesh_client_failure(const cn_mesh_client_t *client)
{
    return client->failure;
}


cn_tls_context_t *
cn_mesh_identity(const char *ca_directory, const char *trust_domain, const char *spiffe_id)
{
    char               why[CN_IDENTITY_ERROR_MAX] = "";
    const char        *error = why;
    cn_identity_t      identity = { .expires = 0 };
    cn_identity_ca_t  *ca = cn_identity_ca_open(ca_directory, why);
    cn_bytes_t         domain = cn_bytes_str(trust_domain);
    cn_tls_context_t  *context = NULL;

    if (ca != NULL && cn_identity_ca_issue(ca, cn_bytes_str(spiffe_id), &identity, why) == CN_OK) {
        cn_tls_identity_t  tls = {
            .chain_pem = identity.chain_pem,
            .key_pem = identity.key_pem,
            .roots_pem = identity.roots_pem,
            .trust_domains = &domain,
            .trust_domain_count = 1,
            .alpn = "h2",
            .require_peer = true,
        };

        context = cn_tls_context_create(&tls, &error);
        cn_identity_wipe(&identity);
    }

    if (context == NULL) {
        fprintf(stderr, "cairn: identity %s: %s\n", spiffe_id, error);
    }

    if (ca != NULL) {
        cn_identity_ca_close(ca);
    }

    return context;
}
