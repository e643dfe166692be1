/* SPDX-License-Identifier: Apache-2.0 */

/*
 * listener - the ladders of accepted connections.
 *
 *   HBONE   tcp > tls > h2 --CONNECT--> tunnel > h1 or h2 --request--> chain
 *   plain   tcp [> tls] > h1 or h2 --request--> chain
 */

#include "filter/carrier.h"

#include "base/clock.h"
#include "filter/chain.h"
#include "http/tunnel.h"
#include "stream/tcp.h"

#include <unistd.h>

#define HANDSHAKE_TIMEOUT_MS  15000


/* ---- CONNECT --------------------------------------------------------------------------------- */

/* What answers a CONNECT exchange that gets no tunnel: nothing is done with its events. */
static void
drop_body(void *owner, cn_slice_t *data)
{
    cn_exchange_consumed(owner, data->len);
}


static void
ignore_end(void *owner, cn_headers_t *trailers)
{
    (void) owner;
    (void) trailers;
}


static void
ignore_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) owner;
    (void) reason;
    (void) detail;
}


static void
ignore_over(void *owner)
{
    (void) owner;
}


static const cn_exchange_events_t  refused_events = {
    .on_body = drop_body,
    .on_end = ignore_end,
    .on_reset = ignore_reset,
    .on_over = ignore_over,
};


static void
refuse_connect(cn_carrier_t *carrier, cn_exchange_t *exchange, cn_message_t *head, uint16_t status,
    cn_bytes_t body, uint32_t flags, const char *details)
{
    cn_request_t    request = { .pool = exchange->pool, .head = head };
    cn_rejected_t   rejected = {
        .connection = exchange->connection,
        .head = head,
        .status = status,
        .flags = flags,
        .details = details,
        .sent = body.len,
    };
    cn_message_t   *reply = cn_reply_build(&request, status, &body);
    cn_slice_t      slice;

    cn_exchange_set_owner(exchange, &refused_events, exchange);

    if (reply == NULL || cn_proxy_response_head(&request, reply) != CN_OK) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    cn_exchange_send_head(exchange, reply, body.len == 0);

    if (body.len > 0 && cn_slice_copy(body, NULL, &slice) == CN_OK) {
        cn_exchange_send_body(exchange, slice);
        cn_exchange_send_end(exchange, NULL);
    }

    cn_request_log_rejected(carrier->listeners->env, exchange->pool, &rejected);
}


static bool
find_tunnel_service(cn_carrier_t *carrier, const cn_message_t *head, cn_address_t *address,
    bool *by_host, cn_bytes_t *host, uint16_t *port)
{
    cn_tables_t  *tables = carrier->listeners->env->tables;
    uint8_t       lower[253];
    const cn_block_t          *block;
    const cn_table_service_t  *service;

    if (!cn_target_split(head->authority, 0, host, port)) {
        return false;
    }

    if (cn_address_parse(head->authority, address) == CN_OK) {
        *by_host = false;
        return cn_tables_service_by_address(tables, address->ip, *port, NULL) != NULL;
    }

    if (host->len > sizeof(lower)) {
        return false;
    }

    for (size_t i = 0; i < host->len; i++) {
        lower[i] = cn_lower(host->ptr[i]);
    }

    *by_host = true;
    block = cn_tables_service_by_host(tables, cn_bytes(lower, host->len), *port, NULL);

    if (block == NULL) {
        return false;
    }

    /* for logs and policy the connection went to the service's address */
    service = cn_block_root(block);
    address->port = *port;

    if (service->addresses.count > 0) {
        memcpy(address->ip, CN_BLOCK_ITEMS(block, service->addresses, cn_table_ip_t)->ip, 16);
    }

    return true;
}


static void
open_tunnel(cn_carrier_t *carrier, cn_exchange_t *exchange, cn_message_t *head)
{
    cn_address_t   address = { .port = 0 };
    cn_bytes_t     host;
    uint16_t       port;
    bool           by_host;
    cn_carrier_t  *tunnel;
    cn_stream_t   *stream;

    if (!find_tunnel_service(carrier, head, &address, &by_host, &host, &port)) {
        refuse_connect(carrier, exchange, head, 503,
                       CN_BYTES("upstream connect error or disconnect/reset before headers. "
                                "reset reason: remote connection failure"),
                       CN_FLAG(NR), "filter_chain_not_found");
        return;
    }

    tunnel = cn_carrier_create(carrier->listeners, CN_CARRIER_TUNNEL,
                               by_host ? host : CN_BYTES_NONE);

    if (tunnel == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    tunnel->ticket = carrier->ticket;
    tunnel->local = address;
    tunnel->by_host = by_host;
    tunnel->port = port;
    stream = cn_tunnel_accept(exchange, head);

    if (stream == NULL) {
        cn_carrier_free(tunnel);
        return;
    }

    if (by_host) {
        stream->info.local = address;
    }

    cn_carrier_look(tunnel, stream);
}


static void
hbone_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    cn_carrier_t  *carrier = owner;

    (void) end;

    if (!cn_bytes_equal(head->method, CN_BYTES("CONNECT")) || head->protocol.len > 0) {
        refuse_connect(carrier, exchange, head, 404, CN_BYTES_NONE, CN_FLAG(NR),
                       "route_not_found");
        return;
    }

    open_tunnel(carrier, exchange, head);
}


static const cn_session_events_t  hbone_events = {
    .on_exchange = hbone_exchange,
    .on_refused = cn_carrier_refused,
    .on_closed = cn_carrier_closed,
};


/* ---- draining -------------------------------------------------------------------------------- */

static void
drain_all(cn_listeners_t *listeners, cn_drain_stage_t at_least)
{
    CN_LIST_EACH(&listeners->tunnels, tunnel_link) {
        cn_carrier_t         *carrier = CN_LIST_ITEM(tunnel_link, cn_carrier_t, link);
        cn_drain_stage_t   stage = cn_drain_stage(&listeners->drain, &carrier->ticket);

        cn_carrier_drain(carrier, stage > at_least ? stage : at_least);
    }

    CN_LIST_EACH(&listeners->connections, connection_link) {
        cn_carrier_t         *carrier = CN_LIST_ITEM(connection_link, cn_carrier_t, link);
        cn_drain_stage_t   stage = cn_drain_stage(&listeners->drain, &carrier->ticket);

        cn_carrier_drain(carrier, stage > at_least ? stage : at_least);
    }
}


static void
drain_step(cn_timer_t *timer)
{
    cn_listeners_t  *listeners = CN_CONTAINER_OF(timer, cn_listeners_t, drain_step);

    drain_all(listeners, CN_DRAIN_NOT_YET);
    cn_timer_set(listeners->env->loop, timer, cn_drain_step_ms(&listeners->drain));
}


/* ---- public ---------------------------------------------------------------------------------- */

cn_listeners_t *
cn_listeners_create(cn_worker_env_t *env)
{
    cn_listeners_t  *listeners = cn_alloc_zero(sizeof(cn_listeners_t));

    if (listeners == NULL) {
        return NULL;
    }

    listeners->env = env;
    cn_list_init(&listeners->connections);
    cn_list_init(&listeners->tunnels);
    listeners->drain_step.run = drain_step;

    return listeners;
}


void
cn_listeners_destroy(cn_listeners_t *listeners)
{
    cn_timer_cancel(&listeners->drain_step);

    CN_LIST_EACH(&listeners->tunnels, link) {
        cn_carrier_close(CN_LIST_ITEM(link, cn_carrier_t, link), CN_CLOSE_DRAIN);
    }

    CN_LIST_EACH(&listeners->connections, link) {
        cn_carrier_close(CN_LIST_ITEM(link, cn_carrier_t, link), CN_CLOSE_DRAIN);
    }

    cn_tls_context_unref(listeners->identity);
    cn_free(listeners);
}


void
cn_listeners_set_identity(cn_listeners_t *listeners, cn_tls_context_t *context)
{
    cn_tls_context_unref(listeners->identity);
    listeners->identity = context != NULL ? cn_tls_context_ref(context) : NULL;
}


void
cn_listeners_accept_hbone(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local)
{
    cn_worker_env_t      *env = listeners->env;
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *tcp;
    cn_carrier_t         *carrier;

    if (listeners->identity == NULL) {
        close(fd);
        return;
    }

    tcp = cn_tcp_accept(env->loop, fd, peer, &env->account);

    if (tcp == NULL) {
        close(fd);
        return;
    }

    tcp->info.local = *local;
    carrier = cn_carrier_create(listeners, CN_CARRIER_HBONE, CN_BYTES_NONE);

    if (carrier == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        return;
    }

    carrier->stream = cn_tls_accept(tcp, listeners->identity, HANDSHAKE_TIMEOUT_MS);

    if (carrier->stream == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        cn_carrier_free(carrier);
        return;
    }

    limits.connect = true;
    carrier->session = cn_h2_server(carrier->stream, &limits, &hbone_events, carrier);

    if (carrier->session == NULL) {
        cn_stream_close(carrier->stream, CN_CLOSE_LIMIT);
        cn_carrier_free(carrier);
    }
}


/* certificate NULL: without TLS. */
static void
accept_plain(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local, cn_tls_context_t *certificate)
{
    cn_worker_env_t  *env = listeners->env;
    cn_stream_t      *tcp = cn_tcp_accept(env->loop, fd, peer, &env->account);
    cn_stream_t      *stream = tcp;
    cn_carrier_t     *carrier;

    if (tcp == NULL) {
        close(fd);
        return;
    }

    tcp->info.local = *local;

    if (certificate != NULL) {
        stream = cn_tls_accept(tcp, certificate, HANDSHAKE_TIMEOUT_MS);

        if (stream == NULL) {
            cn_stream_close(tcp, CN_CLOSE_LIMIT);
            return;
        }
    }

    carrier = cn_carrier_create(listeners, CN_CARRIER_PLAIN, CN_BYTES_NONE);

    if (carrier == NULL) {
        cn_stream_close(stream, CN_CLOSE_LIMIT);
        return;
    }

    carrier->local = *local;
    cn_carrier_look(carrier, stream);
}


void
cn_listeners_accept_plain(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local)
{
    accept_plain(listeners, fd, peer, local, NULL);
}


void
cn_listeners_accept_tls(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local, cn_tls_context_t *certificate)
{
    accept_plain(listeners, fd, peer, local, certificate);
}


void
cn_listeners_drain(cn_listeners_t *listeners, uint64_t elapsed_ms, uint64_t time_ms)
{
    if (listeners->drain.active) {
        return;
    }

    cn_drain_begin(&listeners->drain, elapsed_ms, time_ms);
    drain_step(&listeners->drain_step);
}


void
cn_listeners_drain_final(cn_listeners_t *listeners)
{
    drain_all(listeners, CN_DRAIN_END);
}


uint32_t
cn_listeners_connections(const cn_listeners_t *listeners)
{
    return listeners->connection_count;
}
