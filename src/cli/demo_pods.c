/* SPDX-License-Identifier: Apache-2.0 */

/*
 * demo_pods - the pods' side of HBONE, as ztunnel does it for them: mTLS on the pod's address,
 * CONNECT, and HTTP/1 to the application.
 */

#include "cli/demo.h"

#include "http/tunnel.h"
#include "stream/tcp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HBONE_PORT            15008
#define HANDSHAKE_TIMEOUT_MS  5000
#define BACKLOG               128

/* A session knows its pod only: the pods live as long as the demo. */

static void
app_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    cn_demo_serve(owner, exchange, head, end);
}


static void
session_closed(void *owner, cn_close_reason_t reason)
{
    (void) owner;
    (void) reason;
}


static const cn_session_events_t  app_events = {
    .on_exchange = app_exchange,
    .on_closed = session_closed,
};


static void
hbone_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    cn_stream_t  *tunnel;

    (void) end;

    if (!cn_bytes_equal(head->method, CN_BYTES("CONNECT"))) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    tunnel = cn_tunnel_accept(exchange, head);

    if (tunnel != NULL && cn_h1_server(tunnel, NULL, &app_events, owner) == NULL) {
        cn_stream_close(tunnel, CN_CLOSE_LIMIT);
    }
}


static const cn_session_events_t  hbone_events = {
    .on_exchange = hbone_exchange,
    .on_closed = session_closed,
};


static void
accept_one(cn_demo_pod_t *pod, int fd, const cn_address_t *peer)
{
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *tcp = cn_tcp_accept(pod->demo->loop, fd, peer, NULL);
    cn_stream_t          *tls;

    if (tcp == NULL) {
        close(fd);
        return;
    }

    tls = cn_tls_accept(tcp, pod->identity, HANDSHAKE_TIMEOUT_MS);

    if (tls == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        return;
    }

    limits.connect = true;

    if (cn_h2_server(tls, &limits, &hbone_events, pod) == NULL) {
        cn_stream_close(tls, CN_CLOSE_LIMIT);
    }
}


static void
pod_ready(cn_watch_t *watch, unsigned events)
{
    cn_demo_pod_t  *pod = CN_CONTAINER_OF(watch, cn_demo_pod_t, watch);
    cn_address_t    peer;
    int             fd;

    (void) events;

    while (cn_socket_accept(watch->fd, &fd, &peer) == CN_OK) {
        accept_one(pod, fd, &peer);
    }
}


static bool
listen_as_pod(cn_demo_pod_t *pod, const cn_address_t *ip)
{
    cn_address_t  address = *ip;
    char          text[CN_ADDRESS_TEXT_MAX];

    address.port = HBONE_PORT;

    if (cn_socket_listen(&address, false, BACKLOG, &pod->watch.fd) != CN_OK) {
        cn_address_print(&address, text);
        fprintf(stderr, "cairn: demo: %s cannot listen on %s: %s\n", pod->app, text,
                strerror(errno));
        return false;
    }

    pod->watch.ready = pod_ready;

    return cn_watch_set(pod->demo->loop, &pod->watch, CN_READABLE) == CN_OK;
}


static const char *
known_app(cn_bytes_t name)
{
    static const char *const  apps[] = { "productpage", "details", "reviews", "ratings" };

    for (size_t i = 0; i < CN_COUNT_OF(apps); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(apps[i]))) {
            return apps[i];
        }
    }

    return NULL;
}


static bool
start_pod(cn_demo_t *demo, const cn_workload_t *workload, const char *ca_directory,
    const cn_address_t *waypoint)
{
    cn_demo_pod_t  *pod = &demo->pods[demo->pod_count];
    cn_address_t    address = { .port = 0 };
    char            id[1024];

    memcpy(address.ip, CN_ARRAY_AT(&workload->addresses, cn_table_ip_t, 0)->ip, 16);

    *pod = (cn_demo_pod_t) {
        .demo = demo,
        .app = known_app(workload->app),
        .version = workload->version.len == 2 ? workload->version.ptr[1] - '0' : 1,
    };

    snprintf(id, sizeof(id), "%.*s", CN_BYTES_ARG(workload->principal));
    pod->identity = cn_mesh_identity(ca_directory, "cluster.local", id);

    if (pod->identity == NULL) {
        return false;
    }

    pod->client = cn_mesh_client_create(demo->loop, waypoint, &address, pod->identity);
    demo->pod_count++;

    return pod->client != NULL && listen_as_pod(pod, &address);
}


bool
cn_demo_start_pods(cn_demo_t *demo, const cn_model_t *model, const char *ca_directory,
    const cn_address_t *waypoint)
{
    CN_ARRAY_EACH(&model->workloads, const cn_workload_t, workload) {
        if (known_app(workload->app) == NULL || workload->addresses.count == 0) {
            continue;
        }

        if (demo->pod_count == CN_DEMO_PODS_MAX
            || !start_pod(demo, workload, ca_directory, waypoint))
        {
            return false;
        }
    }

    return demo->pod_count > 0;
}


void
cn_demo_stop_pods(cn_demo_t *demo)
{
    for (size_t i = 0; i < demo->pod_count; i++) {
        cn_demo_pod_t  *pod = &demo->pods[i];

        cn_watch_remove(demo->loop, &pod->watch);
        close(pod->watch.fd);
        cn_mesh_client_destroy(pod->client);
        cn_tls_context_unref(pod->identity);
    }
}
