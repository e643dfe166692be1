/* SPDX-License-Identifier: Apache-2.0 */

/*
 * carrier - looks at what a client says first, then carries requests to the chain.
 *
 * A tunnel remembers the key of its service, not the service: each request looks it up in the
 * tables of the moment, so that a change of configuration reaches open tunnels and closes none.
 */

#include "filter/carrier.h"

#include "base/clock.h"
#include "base/log.h"
#include "filter/chain.h"
#include "http/first_octets.h"

/*
 * On a port of unknown protocol: for so long a client that speaks first has the time to.  Then its
 * service is dialled, which may be one that greets.
 */
#define SILENCE_MS         50

/* HTTP/2 streams of one client at a time; gRPC clients send all calls on one connection */
#define INNER_STREAMS_MAX  1024


cn_carrier_t *
cn_carrier_create(cn_listeners_t *listeners, cn_carrier_kind_t kind, cn_bytes_t host)
{
    cn_carrier_t  *carrier = cn_alloc_zero(sizeof(cn_carrier_t) + host.len);

    if (carrier == NULL) {
        return NULL;
    }

    carrier->listeners = listeners;
    carrier->kind = kind;
    carrier->http2 = kind == CN_CARRIER_HBONE;
    carrier->ticket = cn_drain_ticket(&listeners->drain);
    carrier->held.account = &listeners->env->account;

    for (size_t i = 0; i < host.len; i++) {
        carrier->host_octets[i] = cn_lower(host.ptr[i]);
    }

    carrier->host = cn_bytes(carrier->host_octets, host.len);

    if (kind == CN_CARRIER_TUNNEL) {
        cn_list_append(&listeners->tunnels, &carrier->link);
        atomic_fetch_add_explicit(&listeners->env->slot->tunnels, 1, memory_order_relaxed);

    } else {
        cn_list_append(&listeners->connections, &carrier->link);
        listeners->connection_count++;
        atomic_fetch_add_explicit(&listeners->env->slot->connections, 1, memory_order_relaxed);
    }

    return carrier;
}


void
cn_carrier_free(cn_carrier_t *carrier)
{
    cn_listeners_t  *listeners = carrier->listeners;

    cn_list_remove(&carrier->link);
    cn_chain_clear(&carrier->held);
    cn_timer_cancel(&carrier->silence);

    if (carrier->connection != NULL) {
        cn_connection_close(carrier->connection, CN_CLOSE_RESET);
    }

    if (carrier->kind == CN_CARRIER_TUNNEL) {
        atomic_fetch_sub_explicit(&listeners->env->slot->tunnels, 1, memory_order_relaxed);

    } else {
        listeners->connection_count--;
        atomic_fetch_sub_explicit(&listeners->env->slot->connections, 1, memory_order_relaxed);
    }

    cn_free(carrier);
}


void
cn_carrier_closed(void *owner, cn_close_reason_t reason)
{
    cn_carrier_t  *carrier = owner;

    if (reason == CN_CLOSE_TLS && carrier->stream != NULL) {
        char  peer[CN_ADDRESS_TEXT_MAX];

        cn_address_print(&cn_stream_info(carrier->stream)->peer, peer);
        cn_log(CN_LOG_WARN, "listener", "refuse handshake: peer=%s reason=\"%s\"", peer,
               cn_tls_failure(carrier->stream));
    }

    cn_carrier_free(carrier);
}


void
cn_carrier_refused(void *owner, const cn_refused_t *refused)
{
    cn_carrier_t      *carrier = owner;
    cn_pool_t      *pool = cn_pool_create(1024, &carrier->listeners->env->account);
    cn_rejected_t   rejected = {
        .connection = cn_session_info(carrier->session),
        .head = refused->head,
        .version = refused->version,
        .sent = refused->sent,
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

static cn_target_t
tunnel_target(const cn_carrier_t *carrier)
{
    const cn_tables_t  *tables = carrier->listeners->env->tables;
    cn_target_t         target = { .port = carrier->port };

    if (carrier->by_host) {
        target.block = cn_tables_service_by_host(tables, carrier->host, carrier->port,
                                                 &target.segment);
    } else {
        target.block = cn_tables_service_by_address(tables, carrier->local.ip, carrier->port,
                                                    &target.segment);
    }

    return target;
}


static void
tunnel_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    cn_carrier_t  *carrier = owner;
    cn_target_t    target = tunnel_target(carrier);

    cn_request_start(carrier->listeners->env, exchange, head, end, &target);
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


/* Whose it is, as far as that can be told without a request. */
static cn_target_t
carrier_target(void *owner)
{
    const cn_carrier_t  *carrier = owner;
    cn_target_t          target = { NULL, NULL, 0 };

    if (carrier->kind == CN_CARRIER_TUNNEL) {
        return tunnel_target(carrier);
    }

    target.block = pinned_service(carrier->listeners->env->tables, &carrier->local, &target.port,
                                  &target.segment);

    return target;
}


/* NULL: there is none, or each request has its own. */
static const cn_table_chain_t *
carrier_chain(cn_carrier_t *carrier)
{
    cn_target_t  target = carrier_target(carrier);

    return target.block == NULL ? NULL : cn_service_chain(target.block, target.port);
}


static void
plain_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    cn_carrier_t  *carrier = owner;
    cn_target_t    target = carrier_target(carrier);

    if (target.block == NULL) {
        target = cn_target_by_authority(carrier->listeners->env->tables, head->authority, 80);
    }

    cn_request_start(carrier->listeners->env, exchange, head, end, &target);
}


static const cn_session_events_t  tunnel_events = {
    .on_exchange = tunnel_exchange,
    .on_refused = cn_carrier_refused,
    .on_closed = cn_carrier_closed,
};

static const cn_session_events_t  plain_events = {
    .on_exchange = plain_exchange,
    .on_refused = cn_carrier_refused,
    .on_closed = cn_carrier_closed,
};


/* ---- the end --------------------------------------------------------------------------------- */

void
cn_carrier_close(cn_carrier_t *carrier, cn_close_reason_t reason)
{
    if (carrier->session != NULL) {
        cn_session_close(carrier->session, reason);

    } else if (carrier->raw) {
        cn_connection_close(carrier->connection, reason);
        carrier->connection = NULL;

    } else if (carrier->stream != NULL) {
        cn_stream_close(carrier->stream, reason);
    }

    cn_carrier_free(carrier);
}


static void
tell_drain(cn_carrier_t *carrier, bool final)
{
    carrier->told = final ? CN_DRAIN_FINAL : CN_DRAIN_NOTICE;

    if (carrier->session != NULL) {
        cn_session_drain(carrier->session, final);

    } else if (final && !carrier->raw) {
        cn_carrier_close(carrier, CN_CLOSE_DRAIN);
    }
}


void
cn_carrier_drain(cn_carrier_t *carrier, cn_drain_stage_t stage)
{
    if (carrier->told < CN_DRAIN_NOTICE && stage >= CN_DRAIN_NOTICE) {
        tell_drain(carrier, false);
    }

    /* an idle HTTP/1 connection may have a request under way: it is left until the end */
    if (carrier->told < CN_DRAIN_FINAL
        && stage >= (carrier->http2 ? CN_DRAIN_FINAL : CN_DRAIN_END))
    {
        tell_drain(carrier, true);
    }
}


/* ---- the first octets ------------------------------------------------------------------------ */

/*
 * The inner sessions' limits.  The HBONE connection around a tunnel is kept alive by itself, and a
 * client with many calls is to need one connection only.
 */
static cn_session_limits_t
inner_limits(cn_carrier_t *carrier)
{
    cn_session_limits_t      limits = cn_session_limits_default;
    const cn_table_chain_t  *chain = carrier_chain(carrier);
    const cn_block_t        *global = cn_tables_global(carrier->listeners->env->tables, NULL);

    limits.streams_max = INNER_STREAMS_MAX;
    limits.ping_interval_ms = 0;

    if (chain != NULL) {
        limits.allow_http_10 = chain->http_10 != 0;

    } else if (global != NULL) {
        limits.allow_http_10 = ((const cn_table_global_t *) cn_block_root(global))->http_10 != 0;
    }

    return limits;
}


static bool
start_session(cn_carrier_t *carrier, bool http2)
{
    cn_session_limits_t          limits = inner_limits(carrier);
    const cn_session_events_t   *events = carrier->kind == CN_CARRIER_TUNNEL ? &tunnel_events
                                                                             : &plain_events;

    carrier->session = http2 ? cn_h2_server(carrier->stream, &limits, events, carrier)
                             : cn_h1_server(carrier->stream, &limits, events, carrier);

    if (carrier->session == NULL) {
        cn_carrier_close(carrier, CN_CLOSE_LIMIT);
        return false;
    }

    carrier->http2 = http2;
    carrier->told = CN_DRAIN_NOT_YET;

    /* never more than the notice: a request is here */
    if (cn_drain_stage(&carrier->listeners->drain, &carrier->ticket) >= CN_DRAIN_NOTICE) {
        tell_drain(carrier, false);
    }

    return true;
}


/* All that has come, in one piece.  CN_ERR_MEMORY: nothing is taken. */
static cn_status_t
take_held(cn_carrier_t *carrier, cn_slice_t *octets)
{
    cn_buf_t  *buf;
    size_t     at = 0;

    if (carrier->held.count <= 1) {
        *octets = cn_chain_pop(&carrier->held, SIZE_MAX);
        return CN_OK;
    }

    buf = cn_buf_create(carrier->held.len, carrier->held.account);

    if (buf == NULL) {
        return CN_ERR_MEMORY;
    }

    while (carrier->held.len > 0) {
        cn_slice_t  slice = cn_chain_pop(&carrier->held, SIZE_MAX);

        memcpy(buf->data + at, slice.ptr, slice.len);
        at += slice.len;
        cn_slice_release(&slice);
    }

    *octets = (cn_slice_t) { buf, buf->data, at };

    return CN_OK;
}


/* ---- raw connections ------------------------------------------------------------------------- */

static bool speak_raw(cn_carrier_t *carrier, cn_slice_t octets);


/* The service greets: the client waits for that, and for nothing else. */
static void
upstream_spoken(void *owner)
{
    cn_carrier_t  *carrier = owner;
    cn_slice_t     octets;

    if (take_held(carrier, &octets) != CN_OK) {
        cn_carrier_close(carrier, CN_CLOSE_LIMIT);
        return;
    }

    (void) speak_raw(carrier, octets);
}


static void
connection_over(void *owner)
{
    cn_carrier_t  *carrier = owner;

    carrier->connection = NULL;
    cn_carrier_free(carrier);
}


static const cn_connection_events_t  connection_events = {
    .target = carrier_target,
    .on_spoken = upstream_spoken,
    .on_over = connection_over,
};


static bool
need_connection(cn_carrier_t *carrier)
{
    if (carrier->connection == NULL) {
        carrier->connection = cn_connection_create(carrier->listeners->env,
                                                   cn_stream_info(carrier->stream),
                                                   &connection_events, carrier);
    }

    return carrier->connection != NULL;
}


/* What is spoken is none of ours: octets go on as they are.  False: the carrier is gone. */
static bool
speak_raw(cn_carrier_t *carrier, cn_slice_t octets)
{
    cn_timer_cancel(&carrier->silence);

    if (!need_connection(carrier)) {
        cn_slice_release(&octets);
        cn_carrier_close(carrier, CN_CLOSE_LIMIT);
        return false;
    }

    carrier->raw = true;
    cn_connection_splice(carrier->connection, carrier->stream, octets);

    return true;
}


static void
silence_over(cn_timer_t *timer)
{
    cn_carrier_t  *carrier = CN_CONTAINER_OF(timer, cn_carrier_t, silence);

    if (need_connection(carrier)) {
        cn_connection_dial(carrier->connection);
    }
}


/* A session takes the stream and hears what has come.  False: the carrier is gone. */
static bool
speak_http(cn_carrier_t *carrier, cn_first_t first, cn_slice_t octets)
{
    cn_stream_t  *stream = carrier->stream;
    bool          started;

    cn_timer_cancel(&carrier->silence);

    if (carrier->connection != NULL) {
        cn_connection_close(carrier->connection, CN_CLOSE_LOCAL);
        carrier->connection = NULL;
    }

    started = start_session(carrier, first == CN_FIRST_HTTP2);

    if (started) {
        cn_stream_replay(stream, &octets);
    }

    cn_slice_release(&octets);

    return started;
}


static void
look_data(void *owner, cn_slice_t *data)
{
    cn_carrier_t  *carrier = owner;
    cn_slice_t     octets = *data;
    cn_first_t     first;

    *data = (cn_slice_t) { NULL, NULL, 0 };

    if (carrier->held.len > 0) {
        cn_status_t  status = cn_chain_push(&carrier->held, octets);

        if (status != CN_OK || take_held(carrier, &octets) != CN_OK) {
            cn_carrier_close(carrier, CN_CLOSE_LIMIT);
            return;
        }
    }

    first = carrier->any ? cn_first_protocol(cn_slice_bytes(&octets))
                         : cn_first_codec(cn_slice_bytes(&octets));

    switch (first) {

    case CN_FIRST_MORE:
        if (cn_chain_push(&carrier->held, octets) != CN_OK) {
            cn_carrier_close(carrier, CN_CLOSE_LIMIT);
        }
        return;

    case CN_FIRST_OTHER:
        (void) speak_raw(carrier, octets);
        return;

    default:
        (void) speak_http(carrier, first, octets);
    }
}


/* Nothing more comes: what there is must do. */
static void
look_ended(void *owner)
{
    cn_carrier_t  *carrier = owner;
    cn_stream_t   *stream = carrier->stream;
    cn_slice_t     octets;

    bool           here;

    if (carrier->held.len == 0 && !carrier->any) {
        cn_carrier_close(carrier, CN_CLOSE_LOCAL);
        return;
    }

    if (take_held(carrier, &octets) != CN_OK) {
        cn_carrier_close(carrier, CN_CLOSE_LIMIT);
        return;
    }

    here = carrier->any ? speak_raw(carrier, octets)
                        : speak_http(carrier, CN_FIRST_HTTP1, octets);

    if (here) {
        cn_stream_replay_end(stream);
    }
}


/* TLS is done: where a protocol was agreed upon, it is the one that is spoken. */
static void
look_opened(void *owner)
{
    cn_carrier_t  *carrier = owner;
    cn_bytes_t     alpn = cn_stream_info(carrier->stream)->alpn;

    if (alpn.len > 0) {
        (void) start_session(carrier, cn_bytes_equal(alpn, CN_BYTES("h2")));
    }
}


static const cn_stream_events_t  look_events = {
    .on_opened = look_opened,
    .on_data = look_data,
    .on_ended = look_ended,
    .on_closed = cn_carrier_closed,
};


void
cn_carrier_look(cn_carrier_t *carrier, cn_stream_t *stream)
{
    const cn_table_chain_t  *chain = carrier_chain(carrier);

    carrier->stream = stream;
    cn_stream_set_owner(stream, &look_events, carrier);

    switch (chain == NULL ? CN_PROTOCOL_HTTP : (cn_service_protocol_t) chain->protocol) {

    case CN_PROTOCOL_TCP:
        (void) speak_raw(carrier, (cn_slice_t) { NULL, NULL, 0 });
        break;

    case CN_PROTOCOL_AUTO:
        carrier->any = true;
        carrier->silence.run = silence_over;
        cn_timer_set(carrier->listeners->env->loop, &carrier->silence, SILENCE_MS);
        break;

    case CN_PROTOCOL_HTTP:
        break;
    }
}
