/* SPDX-License-Identifier: Apache-2.0 */

/*
 * mesh_client - a workload's side of HBONE: one TLS connection to a waypoint, a tunnel for each
 * request.  For `call` and the demo; not for load.
 */

#ifndef CN_CLI_MESH_CLIENT_H
#define CN_CLI_MESH_CLIENT_H

#include "http/codec.h"
#include "model/model.h"
#include "stream/tls.h"

typedef struct cn_mesh_client_s cn_mesh_client_t;

/*
 * identity gets a reference of its own.  Connects at the first request, and anew when the
 * connection was lost, from source (NULL: any address of this machine).  NULL: memory.
 */
cn_mesh_client_t *cn_mesh_client_create(cn_loop_t *loop, const cn_address_t *waypoint,
    const cn_address_t *source, cn_tls_context_t *identity) CN_MUST_USE;
void cn_mesh_client_destroy(cn_mesh_client_t *client);

/*
 * One request to the service at authority ("reviews.default.svc.cluster.local:9080").  Failures
 * come as on_reset.  head, end, pool, events and owner as cn_client_request().  NULL: memory.
 */
cn_exchange_t *cn_mesh_request(cn_mesh_client_t *client, cn_bytes_t authority,
    const cn_message_t *head, bool end,
    cn_pool_t *pool, const cn_exchange_events_t *events, void *owner) CN_MUST_USE;

/*
 * The address of the first workload that is principal and lives on loopback: who calls from there
 * is known to the waypoint by name.  False: there is none.
 */
bool cn_mesh_source(const cn_model_t *model, cn_bytes_t principal, cn_address_t *source);

/* Why the last connection could not be made; "" when it could. */
const char *cn_mesh_client_failure(const cn_mesh_client_t *client);

/*
 * A context for a workload's identity, issued by the development authority of a directory; NULL:
 * told on standard error.
 */
cn_tls_context_t *cn_mesh_identity(const char *ca_directory, const char *trust_domain,
    const char *spiffe_id) CN_MUST_USE;

#endif
