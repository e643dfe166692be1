/* SPDX-License-Identifier: Apache-2.0 */

/*
 * plane - one server of the control plane: where it is (DNS), by which roots we know it (a file,
 * read for each connection, as the mesh's roots change), and what each call says of us (a token,
 * read for each call, as the kubelet replaces it).
 */

#ifndef CN_SERVER_PLANE_H
#define CN_SERVER_PLANE_H

#include "dns/dns.h"
#include "http/grpc_client.h"
#include "server/bootstrap.h"
#include "source/identity/credentials.h"

typedef struct cn_plane_s cn_plane_t;

/*
 * name stands in log lines ("xds", "ca") and is a literal; server and dns outlive it.  Nothing is
 * connected before a first call.  NULL: memory.
 */
cn_plane_t *cn_plane_open(cn_loop_t *loop, cn_dns_t *dns, const cn_bootstrap_server_t *server,
    const char *name) CN_MUST_USE;

/* Its calls are dropped without an event.  NULL does nothing. */
void cn_plane_close(cn_plane_t *plane);

/* The plane's own, until it is closed. */
cn_grpc_channel_t *cn_plane_channel(cn_plane_t *plane);

/* What its calls say of us; refers to the server. */
cn_credentials_t cn_plane_credentials(const cn_plane_t *plane);

/*
 * A call with the server's metadata: the token if there is one, the cluster's id, the headers that
 * were configured.  As cn_grpc_call_start() with no deadline.
 */
cn_grpc_call_t *cn_plane_call(cn_plane_t *plane, const char *path,
    const cn_grpc_call_events_t *events, void *owner) CN_MUST_USE;

#endif
