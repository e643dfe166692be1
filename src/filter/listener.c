/* SPDX-License-Identifier: Apache-2.0 */

/*
 * listener - the ladders of accepted connections.
 *
 *   HBONE   tcp > tls > h2 --CONNECT--> tunnel > h1 --request--> chain
 *   plain   tcp > h1 --request--> chain
 *
 * A tunnel remembers the key of its service, not the service: each request looks it up in the
 * tables of the moment, so that a change of configuration reaches open tunnels and closes none.
 */

#include "filter/listener.h"

#include "base/clock.h"
#include "base/log.h"
#include "filter/chain.h"
#include "filter/drain.h"
#include "http/tunnel.h"
#include "stream/tcp.h"

#include <stdio.h>
#include <unistd.h>

#define HANDSHAKE_TIMEOUT_MS  15000

typedef enum { CARRIER_HBONE, CARRIER_PLAIN, CARRIER_TUNNEL } carrier_kind_t;

/* A session and what it needs to know: an accepted connection or a tunnel within one. */
typedef struct {
    cn_list_t        link;
    cn_listeners_t  *listeners;
    cn_session_t    *session;
    cn_stream_t     *stream;            /* the TLS stream, to say why a handshake failed */
    carrier_kind_t   kind;
    cn_drain_ticket_t  ticket;          /* when it is told to go; a tunnel has its connection's */
    cn_drain_stage_t   told;
    uint16_t         port;              /* tunnel: of the authority; plain: of the listener */
    cn_address_t     local;
    bool             by_host;           /* tunnel: host, else local's address, is the key */
    cn_bytes_t       host;              /* lower case, in this allocation */
    uint8_t          host_octets[];
} carrier_t;

struct cn_listeners_s {
    cn_worker_env_t   *env;
    cn_tls_context_t  *identity;
    cn_list_t          connections;     /* HBONE and plain */
    cn_list_t          tunnels;
    uint32_t           connection_count;
    cn_drain_t         drain;
    cn_timer_t         drain_step;
};


static carrier_t *
carrier_create(cn_listeners_t *listeners, carrier_kind_t kind, cn_bytes_t host)
{
    carrier_t  *carrier = cn_alloc_zero(sizeof(carrier_t) + host.len);

    if (carrier == NULL) {
        return NULL;
    }

    carrier->listeners = listeners;
    carrier->kind = kind;
    carrier->ticket = cn_drain_ticket(&listeners->drain);

    for (size_t i = 0; i < host.len; i++) {
        carrier->host_octets[i] = cn_lower(host.ptr[i]);
    }

    carrier->host = cn_bytes(carrier->host_octets, host.len);

    if (kind == CARRIER_TUNNEL) {
        cn_list_append(&listeners->tunnels, &carrier->link);
        atomic_fetch_add_explicit(&listeners->env->slot->tunnels, 1, memory_order_relaxed);

    } else {
        cn_list_append(&listeners->connections, &carrier->link);
        listeners->connection_count++;
        atomic_fetch_add_explicit(&listeners->env->slot->connections, 1, memory_order_relaxed);
    }

    return carrier;
}


static void
carrier_free(carrier_t *carrier)
{
    cn_listeners_t  *listeners = carrier->listeners;

    cn_list_remove(&carrier->link);

    if (carrier->kind == CARRIER_TUNNEL) {
        atomic_fetch_sub_explicit(&listeners->env->slot->tunnels, 1, memory_order_relaxed);

    } else {
        listeners->connection_count--;
        atomic_fetch_sub_explicit(&listeners->env->slot->connections, 1, memory_order_relaxed);
    }

    cn_free(carrier);
}


static void
session_closed(void *owner, cn_close_reason_t reason)
{
    carrier_t  *carrier = owner;

    if (reason == CN_CLOSE_TLS && carrier->stream != NULL) {
        char  peer[CN_ADDRESS_TEXT_MAX];

        cn_address_print(&cn_stream_info(carrier->stream)->peer, peer);
        cn_log(CN_LOG_WARN, "listener", "refuse handshake: peer=%s reason=\"%s\"", peer,
               cn_tls_failure(carrier->stream));
    }

    carrier_free(carrier);
}


static void
request_refused(void *owner, const cn_refused_t *refused)
{
    carrier_t      *carrier = owner;
    cn_pool_t      *pool = cn_pool_create(1024, &carrier->listeners->env->account);
    cn_rejected_t   rejected = {
        .connection = cn_session_info(carrier->session),
        .head = refused->head,
        .status = refused->status,
        .flags = strcmp(refused->flag, "DPE") == 0 ? CN_FLAG(DPE)
                 : strcmp(refused->flag, "DR") == 0 ? CN_FLAG(DR) : 0,
        .details = refused->detail,
    };

    if (pool == NULL) {
        return;
    }

    cn_request_log_rejected(carrier->listeners->env, pool, &rejected);
    cn_pool_destroy(pool);
}


/* ---- HTTP requests: in a tunnel, or on a plain listener -------------------------------------- */

static void
tunnel_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    carrier_t        *carrier = owner;
    cn_worker_env_t  *env = carrier->listeners->env;
    cn_target_t       target = { .port = carrier->port };

    if (carrier->by_host) {
        target.block = cn_tables_service_by_host(env->tables, carrier->host, carrier->port,
                                                 &target.segment);
    } else {
        target.block = cn_tables_service_by_address(env->tables, carrier->local.ip, carrier->port,
                                                    &target.segment);
    }

    cn_request_start(env, exchange, head, end, &target);
}


/* The listener's own service, where one is pinned to it. */
static const cn_block_t *
pinned_service(const cn_tables_t *tables, const cn_address_t *local, uint16_t *port,
    cn_segment_t **segment)
{
    const cn_block_t         *block = cn_tables_global(tables, NULL);
    const cn_table_global_t  *global;
    const cn_table_pin_t     *pins;

    if (block == NULL) {
        return NULL;
    }

    global = cn_block_root(block);
    pins = CN_BLOCK_ITEMS(block, global->pins, cn_table_pin_t);

    for (uint32_t i = 0; i < global->pins.count; i++) {
        if (pins[i].port == local->port && memcmp(pins[i].ip, local->ip, 16) == 0) {
            *port = pins[i].service_port;
            return cn_tables_service_by_host(tables, cn_block_bytes(block, pins[i].service_host),
                                             *port, segment);
        }
    }

    return NULL;
}


static void
find_plain_target(carrier_t *carrier, const cn_message_t *head, cn_target_t *target)
{
    cn_tables_t  *tables = carrier->listeners->env->tables;

    target->block = pinned_service(tables, &carrier->local, &target->port, &target->segment);

    if (target->block == NULL) {
        *target = cn_target_by_authority(tables, head->authority, 80);
    }
}


static void
plain_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    carrier_t    *carrier = owner;
    cn_target_t   target = { NULL, NULL, 0 };

    find_plain_target(carrier, head, &target);
    cn_request_start(carrier->listeners->env, exchange, head, end, &target);
}


static const cn_session_events_t  tunnel_events = {
    .on_exchange = tunnel_exchange,
    .on_refused = request_refused,
    .on_closed = session_closed,
};

static const cn_session_events_t  plain_events = {
    .on_exchange = plain_exchange,
    .on_refused = request_refused,
    .on_closed = session_closed,
};


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
refuse_connect(carrier_t *carrier, cn_exchange_t *exchange, cn_message_t *head, uint16_t status,
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
find_tunnel_service(carrier_t *carrier, const cn_message_t *head, cn_address_t *address,
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


/* Brings a session to a stage of the drain, step by step. */
static void
drain_carrier(carrier_t *carrier, cn_drain_stage_t stage)
{
    if (carrier->told < CN_DRAIN_NOTICE && stage >= CN_DRAIN_NOTICE) {
        carrier->told = CN_DRAIN_NOTICE;
        cn_session_drain(carrier->session, false);
    }

    /* an idle HTTP/1 connection may have a request under way: it is left until the end */
    if (carrier->told < CN_DRAIN_FINAL
        && stage >= (carrier->kind == CARRIER_HBONE ? CN_DRAIN_FINAL : CN_DRAIN_END))
    {
        carrier->told = CN_DRAIN_FINAL;
        cn_session_drain(carrier->session, true);
    }
}


static void
open_tunnel(carrier_t *carrier, cn_exchange_t *exchange, cn_message_t *head)
{
    cn_address_t         address = { .port = 0 };
    cn_bytes_t           host;
    uint16_t             port;
    bool                 by_host;
    carrier_t           *tunnel;
    cn_stream_t         *stream;
    cn_session_limits_t  limits = cn_session_limits_default;

    if (!find_tunnel_service(carrier, head, &address, &by_host, &host, &port)) {
        refuse_connect(carrier, exchange, head, 503,
                       CN_BYTES("upstream connect error or disconnect/reset before headers. "
                                "reset reason: remote connection failure"),
                       CN_FLAG(NR), "filter_chain_not_found");
        return;
    }

    tunnel = carrier_create(carrier->listeners, CARRIER_TUNNEL, by_host ? host : CN_BYTES_NONE);

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
        carrier_free(tunnel);
        return;
    }

    if (by_host) {
        stream->info.local = address;
    }

    tunnel->session = cn_h1_server(stream, &limits, &tunnel_events, tunnel);

    if (tunnel->session == NULL) {
        cn_stream_close(stream, CN_CLOSE_LIMIT);
        carrier_free(tunnel);
        return;
    }

    drain_carrier(tunnel, cn_drain_stage(&carrier->listeners->drain, &tunnel->ticket));
}


static void
hbone_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    carrier_t  *carrier = owner;

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
    .on_refused = request_refused,
    .on_closed = session_closed,
};


/* ---- draining -------------------------------------------------------------------------------- */

static void
drain_all(cn_listeners_t *listeners, cn_drain_stage_t at_least)
{
    CN_LIST_EACH(&listeners->tunnels, tunnel_link) {
        carrier_t         *carrier = CN_LIST_ITEM(tunnel_link, carrier_t, link);
        cn_drain_stage_t   stage = cn_drain_stage(&listeners->drain, &carrier->ticket);

        drain_carrier(carrier, stage > at_least ? stage : at_least);
    }

    CN_LIST_EACH(&listeners->connections, connection_link) {
        carrier_t         *carrier = CN_LIST_ITEM(connection_link, carrier_t, link);
        cn_drain_stage_t   stage = cn_drain_stage(&listeners->drain, &carrier->ticket);

        drain_carrier(carrier, stage > at_least ? stage : at_least);
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
    CN_LIST_EACH(&listeners->tunnels, link) {
        carrier_t  *carrier = CN_LIST_ITEM(link, carrier_t, link);

        cn_session_close(carrier->session, CN_CLOSE_DRAIN);
        carrier_free(carrier);
    }

    CN_LIST_EACH(&listeners->connections, link) {
        carrier_t  *carrier = CN_LIST_ITEM(link, carrier_t, link);

        cn_session_close(carrier->session, CN_CLOSE_DRAIN);
        carrier_free(carrier);
    }

    cn_tls_context_unref(listeners->identity);
    cn_free(listeners);
}


void
cn_listeners_set_identity(cn_listeners_t *listeners, cn_tls_context_t *context)
{
    cn_tls_context_unref(listeners->identity);
    listeners->identity = cn_tls_context_ref(context);
}


void
cn_listeners_accept_hbone(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local)
{
    cn_worker_env_t      *env = listeners->env;
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *tcp;
    carrier_t            *carrier;

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
    carrier = carrier_create(listeners, CARRIER_HBONE, CN_BYTES_NONE);

    if (carrier == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        return;
    }

    carrier->stream = cn_tls_accept(tcp, listeners->identity, HANDSHAKE_TIMEOUT_MS);

    if (carrier->stream == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        carrier_free(carrier);
        return;
    }

    limits.connect = true;
    carrier->session = cn_h2_server(carrier->stream, &limits, &hbone_events, carrier);

    if (carrier->session == NULL) {
        cn_stream_close(carrier->stream, CN_CLOSE_LIMIT);
        carrier_free(carrier);
    }
}


void
cn_listeners_accept_plain(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local)
{
    cn_worker_env_t  *env = listeners->env;
    cn_stream_t      *tcp = cn_tcp_accept(env->loop, fd, peer, &env->account);
    carrier_t        *carrier;

    if (tcp == NULL) {
        close(fd);
        return;
    }

    tcp->info.local = *local;
    carrier = carrier_create(listeners, CARRIER_PLAIN, CN_BYTES_NONE);

    if (carrier == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        return;
    }

    carrier->local = *local;
    carrier->session = cn_h1_server(tcp, NULL, &plain_events, carrier);

    if (carrier->session == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        carrier_free(carrier);
    }
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
