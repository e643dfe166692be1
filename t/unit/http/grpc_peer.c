/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_peer - see grpc_peer.h. */

#include "grpc_peer.h"

#include "base/clock.h"
#include "stream/tcp.h"

#include <unistd.h>


uint64_t
grpc_hash(cn_bytes_t bytes)
{
    uint64_t  hash = 1469598103934665603u;

    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ bytes.ptr[i]) * 1099511628211u;
    }

    return hash;
}


/* --- the channel's owner --------------------------------------------------------------------------------------- */

static void
owner_close(grpc_owner_t *owner)
{
    cn_grpc_channel_close(owner->channel);
    owner->channel = NULL;
}


static void
owner_resolve(void *arg)
{
    grpc_owner_t  *owner = arg;

    assert_false(owner->in_call);
    assert_non_null(owner->channel);

    if (owner->resolves < CN_COUNT_OF(owner->resolved_us)) {
        owner->resolved_us[owner->resolves] = cn_clock_us_now();
    }

    owner->resolves++;

    if (owner->close_on_resolve) {
        owner_close(owner);
    } else if (!owner->silent) {
        cn_grpc_channel_resolved(owner->channel, owner->addresses, owner->count, owner->no_address);
    }
}


static void
owner_connected(void *arg)
{
    grpc_owner_t  *owner = arg;

    assert_false(owner->in_call);
    assert_true(cn_grpc_channel_is_connected(owner->channel));
    owner->connected++;

    if (owner->close_on_connected) {
        owner_close(owner);
    }
}


static void
owner_disconnected(void *arg, const char *why)
{
    grpc_owner_t  *owner = arg;

    assert_false(owner->in_call);
    assert_false(cn_grpc_channel_is_connected(owner->channel));
    owner->disconnected++;
    (void) snprintf(owner->why, sizeof(owner->why), "%s", why);

    if (owner->close_on_disconnected) {
        owner_close(owner);
    }
}


static const cn_grpc_channel_events_t  owner_events = {
    .on_resolve = owner_resolve,
    .on_connected = owner_connected,
    .on_disconnected = owner_disconnected,
};


void
grpc_owner_start(grpc_owner_t *owner, cn_loop_t *loop, const cn_grpc_config_t *config)
{
    cn_grpc_config_t  with = *config;

    if (with.authority == NULL) {
        with.authority = "peer.test:443";
    }

    owner->channel = cn_grpc_channel_create(loop, &with, &owner_events, owner);
    assert_non_null(owner->channel);
}


/* --- a call's owner -------------------------------------------------------------------------------------------- */

static void
caller_open(void *arg)
{
    grpc_caller_t  *caller = arg;

    assert_false(caller->owner->in_call);
    caller->opened++;
}


static void
caller_message(void *arg, cn_bytes_t message)
{
    grpc_caller_t  *caller = arg;
    cn_bytes_t      copy = unit_copy(message);

    assert_false(caller->owner->in_call || caller->over || caller->call == NULL);
    caller->messages++;
    caller->octets += message.len;
    caller->hash = grpc_hash(copy);
    (void) snprintf(caller->last, sizeof(caller->last), "%.*s", CN_BYTES_ARG(copy));
    unit_free(copy);

    if (caller->cancel_on_message) {
        cn_grpc_call_cancel(caller->call);
        caller->call = NULL;
    }

    if (caller->close_on_message) {
        owner_close(caller->owner);
        caller->call = NULL;
    }
}


static void
caller_status(void *arg, cn_grpc_status_t status, cn_bytes_t message)
{
    grpc_caller_t  *caller = arg;

    assert_false(caller->owner->in_call || caller->over || caller->call == NULL);
    caller->over = true;
    caller->call = NULL;
    caller->status = status;
    (void) snprintf(caller->text, sizeof(caller->text), "%.*s", CN_BYTES_ARG(message));

    if (caller->close_on_status) {
        owner_close(caller->owner);
    }
}


static const cn_grpc_call_events_t  caller_events = {
    .on_open = caller_open,
    .on_message = caller_message,
    .on_status = caller_status,
};


static void
begin(grpc_caller_t *caller, grpc_owner_t *owner, const char *path, const cn_grpc_metadata_t *metadata, size_t count,
    uint64_t deadline_ms)
{
    caller->owner = owner;
    owner->in_call = true;
    caller->call = cn_grpc_call_start(owner->channel, path, metadata, count, deadline_ms, &caller_events, caller);
    owner->in_call = false;
    assert_non_null(caller->call);
}


void
grpc_caller_start_with(grpc_caller_t *caller, grpc_owner_t *owner, const char *path,
    const cn_grpc_metadata_t *metadata, size_t count)
{
    begin(caller, owner, path, metadata, count, 0);
}


void
grpc_caller_start(grpc_caller_t *caller, grpc_owner_t *owner, const char *path, uint64_t deadline_ms)
{
    static const cn_grpc_metadata_t  metadata[] = {
        { CN_BYTES_INIT("authorization"), CN_BYTES_INIT("Bearer abc") },
        { CN_BYTES_INIT("clusterid"), CN_BYTES_INIT("Kubernetes") },
    };

    begin(caller, owner, path, metadata, CN_COUNT_OF(metadata), deadline_ms);
}


void
grpc_caller_say(grpc_caller_t *caller, cn_bytes_t message)
{
    cn_bytes_t  copy = unit_copy(message);

    caller->owner->in_call = true;
    assert_int_equal(cn_grpc_call_send(caller->call, copy), CN_OK);
    caller->owner->in_call = false;
    unit_free(copy);
}


void
grpc_caller_end(grpc_caller_t *caller)
{
    caller->owner->in_call = true;
    cn_grpc_call_end(caller->call);
    assert_int_equal(cn_grpc_call_send(caller->call, CN_BYTES("late")), CN_ERR_CLOSED);
    caller->owner->in_call = false;
}


/* --- the server ------------------------------------------------------------------------------------------------ */

static void
send_head(cn_exchange_t *exchange, uint16_t status, const char *content_type, const char *grpc_status,
    const char *grpc_message, bool end)
{
    cn_message_t  head;

    cn_message_init(&head, exchange->pool);
    head.status = status;

    if (content_type != NULL) {
        assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("content-type"), cn_bytes_str(content_type)), CN_OK);
    }

    if (grpc_status != NULL) {
        assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("grpc-status"), cn_bytes_str(grpc_status)), CN_OK);
    }

    if (grpc_message != NULL) {
        assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("grpc-message"), cn_bytes_str(grpc_message)), CN_OK);
    }

    cn_exchange_send_head(exchange, &head, end);
}


static void
send_end(cn_exchange_t *exchange, const char *status, const char *message)
{
    cn_headers_t  trailers = { .pool = exchange->pool };

    if (status != NULL) {
        assert_int_equal(cn_headers_add(&trailers, CN_BYTES("grpc-status"), cn_bytes_str(status)), CN_OK);
    }

    if (message != NULL) {
        assert_int_equal(cn_headers_add(&trailers, CN_BYTES("grpc-message"), cn_bytes_str(message)), CN_OK);
    }

    cn_exchange_send_end(exchange, &trailers);
}


static void
echo_body(void *arg, cn_slice_t *data)
{
    cn_exchange_t  *exchange = arg;
    size_t          len = data->len;

    cn_exchange_send_body(exchange, *data);
    *data = (cn_slice_t) { NULL, NULL, 0 };
    cn_exchange_consumed(exchange, len);
}


static void
echo_end(void *arg, cn_headers_t *trailers)
{
    (void) trailers;
    send_end(arg, "0", NULL);
}


static void
echo_reset(void *arg, cn_reset_reason_t reason, const char *detail)
{
    (void) arg, (void) reason, (void) detail;
}


static const cn_exchange_events_t  echo_events = {
    .on_body = echo_body, .on_end = echo_end, .on_reset = echo_reset,
};


static void
held_body(void *arg, cn_slice_t *data)
{
    grpc_server_t  *server = arg;
    size_t          room = sizeof(server->body) - server->body_len;
    size_t          part = data->len < room ? data->len : room;

    memcpy(server->body + server->body_len, data->ptr, part);
    server->body_len += part;

    if (server->held != NULL) {
        cn_exchange_consumed(server->held, data->len);
    }
}


static void
held_end(void *arg, cn_headers_t *trailers)
{
    (void) trailers;
    ((grpc_server_t *) arg)->request_ended = true;
}


static void
held_reset(void *arg, cn_reset_reason_t reason, const char *detail)
{
    grpc_server_t  *server = arg;

    (void) reason, (void) detail;
    server->resets++;
    server->held = NULL;
}


static void
held_over(void *arg)
{
    ((grpc_server_t *) arg)->held = NULL;
}


static const cn_exchange_events_t  held_events = {
    .on_body = held_body, .on_end = held_end, .on_reset = held_reset, .on_over = held_over,
};


static void
write_down(grpc_server_t *server, const cn_message_t *head)
{
    size_t  len = (size_t) snprintf(server->head, sizeof(server->head), "%.*s %.*s %.*s %.*s\n",
                                    CN_BYTES_ARG(head->method), CN_BYTES_ARG(head->scheme),
                                    CN_BYTES_ARG(head->authority), CN_BYTES_ARG(head->path));

    for (uint32_t i = 0; i < head->headers.count; i++) {
        const cn_header_t  *header = &head->headers.items[i];

        len += (size_t) snprintf(server->head + len, sizeof(server->head) - len, "%.*s: %.*s\n",
                                 CN_BYTES_ARG(header->name), CN_BYTES_ARG(header->value));
        assert_true(len < sizeof(server->head));
    }
}


static void
server_exchange(void *arg, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    grpc_server_t  *server = arg;

    server->started++;
    write_down(server, head);

    if (cn_bytes_equal(head->path, CN_BYTES("/t/Echo"))) {
        cn_exchange_set_owner(exchange, &echo_events, exchange);
        send_head(exchange, 200, "application/grpc", NULL, NULL, false);

        if (end) {
            send_end(exchange, "0", NULL);
        }

    } else if (cn_bytes_equal(head->path, CN_BYTES("/t/NotFound"))) {
        cn_exchange_set_owner(exchange, &echo_events, exchange);
        send_head(exchange, 200, "application/grpc", "5", "no such thing%3A 100%25", true);

    } else {
        cn_exchange_set_owner(exchange, &held_events, server);
        server->held = exchange;
        server->request_ended = end;
        server->body_len = 0;
    }
}


static void
server_closed(void *arg, cn_close_reason_t reason)
{
    grpc_server_t  *server = arg;

    (void) reason;
    server->closed++;

    if (server->closed == server->accepted) {
        server->session = NULL;
    }
}


static const cn_session_events_t  server_events = {
    .on_exchange = server_exchange, .on_closed = server_closed,
};


static void
server_ready(cn_watch_t *watch, unsigned events)
{
    grpc_server_t        *server = CN_CONTAINER_OF(watch, grpc_server_t, watch);
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_address_t          peer;
    cn_stream_t          *stream;
    int                   fd;

    (void) events;

    if (cn_socket_accept(server->fd, &fd, &peer) != CN_OK) {
        return;
    }

    if (server->streams_max != 0) {
        limits.streams_max = server->streams_max;
    }

    stream = cn_tcp_accept(server->loop, fd, &peer, NULL);
    assert_non_null(stream);

    if (server->tls != NULL) {
        stream = cn_tls_accept(stream, server->tls, GRPC_WAIT_MS);
        assert_non_null(stream);
    }

    server->session = cn_h2_server(stream, &limits, &server_events, server);
    server->accepted++;
    assert_non_null(server->session);
}


void
grpc_server_start(grpc_server_t *server, cn_loop_t *loop, cn_tls_context_t *tls)
{
    cn_address_t  address = server->address;

    if (address.port == 0) {
        assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &address), CN_OK);
    }

    assert_int_equal(cn_socket_listen(&address, false, 16, &server->fd), CN_OK);
    assert_int_equal(cn_socket_local(server->fd, &server->address), CN_OK);
    server->loop = loop;
    server->tls = tls;
    server->watch = (cn_watch_t) { .fd = server->fd, .ready = server_ready };
    assert_int_equal(cn_watch_set(loop, &server->watch, CN_READABLE), CN_OK);
}


void
grpc_server_stop(grpc_server_t *server)
{
    if (server->session != NULL) {
        cn_session_close(server->session, CN_CLOSE_LOCAL);
        server->session = NULL;
        server->closed++;
    }

    cn_watch_remove(server->loop, &server->watch);
    (void) close(server->fd);
    server->fd = -1;
}


void
grpc_server_head(grpc_server_t *server, uint16_t status, const char *content_type)
{
    assert_non_null(server->held);
    send_head(server->held, status, content_type, NULL, NULL, false);
}


void
grpc_server_octets(grpc_server_t *server, cn_bytes_t octets)
{
    cn_slice_t  slice;

    assert_non_null(server->held);

    if (octets.len > 0) {
        assert_int_equal(cn_slice_copy(octets, NULL, &slice), CN_OK);
        cn_exchange_send_body(server->held, slice);
    }
}


void
grpc_server_end(grpc_server_t *server, const char *status, const char *message)
{
    assert_non_null(server->held);
    send_end(server->held, status, message);
}
