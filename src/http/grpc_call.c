/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc_call - one call as an exchange.
 *
 *   waiting --room--> running --trailers, reset, deadline, cancel--> over
 *
 * An exchange that has ended in both directions is left to end by itself, with an owner that hears
 * nothing; any other is reset.  Received octets are given back as they come: a message that is not
 * complete is bounded by message_max and not by the stream's window.
 */

#include "http/grpc_internal.h"

#include "base/clock.h"
#include "base/version.h"

#define POOL_SIZE    2048
#define MESSAGE_MAX  (1u << 31)         /* octets of a message that is sent */


/*
 * --- the end -----------------------------------------------------------------------------------
 */

static void
call_free(cn_task_t *task)
{
    cn_grpc_call_t  *call = CN_CONTAINER_OF(task, cn_grpc_call_t, free);

    cn_chain_clear(&call->queue);
    cn_grpc_reader_clear(&call->reader);
    cn_pool_destroy(call->pool);        /* the call is in it */
}


/* No event follows. */
static void
stop(cn_grpc_call_t *call)
{
    call->over = true;
    cn_list_remove(&call->link);
    cn_timer_cancel(&call->timer);
    cn_task_cancel(&call->refused);

    if (call->exchange != NULL) {
        cn_exchange_reset(call->exchange, CN_RESET_LOCAL);
        call->exchange = NULL;
    }

    cn_loop_post(call->channel->loop, CN_PHASE_FREE, &call->free);
}


void
grpc_call_finish(cn_grpc_call_t *call, cn_grpc_status_t status, cn_bytes_t message)
{
    if (!call->over) {
        stop(call);
        call->events->on_status(call->owner, status, message);
    }
}


static void
finish_text(cn_grpc_call_t *call, cn_grpc_status_t status, const char *text)
{
    grpc_call_finish(call, status, cn_bytes_str(text));
}


/* The peer has said all. */
static void
release_exchange(cn_grpc_call_t *call)
{
    if (call->ended && cn_exchange_pending(call->exchange) == 0) {
        cn_exchange_quiet(call->exchange);
    } else {
        cn_exchange_reset(call->exchange, CN_RESET_LOCAL);
    }

    call->exchange = NULL;
}


/*
 * --- what the peer says ------------------------------------------------------------------------
 */

static cn_bytes_t
decode_message(cn_grpc_call_t *call, const cn_headers_t *trailers)
{
    const cn_header_t  *header = cn_headers_find_id(trailers, CN_HEADER_GRPC_MESSAGE);
    uint8_t            *out = header == NULL ? NULL
        : cn_pool_octets(call->pool, header->value.len);

    return out == NULL ? CN_BYTES_NONE : cn_bytes(out, cn_grpc_percent_decode(header->value, out));
}


/* The stream's end; trailers are the head's own when nothing else came. */
static void
finish_by_trailers(cn_grpc_call_t *call, const cn_headers_t *trailers, uint16_t http_status)
{
    const cn_header_t  *header = trailers == NULL ? NULL
        : cn_headers_find_id(trailers, CN_HEADER_GRPC_STATUS);
    cn_grpc_status_t    status;

    release_exchange(call);

    if (header == NULL) {
        finish_text(call, cn_grpc_status_of_http(http_status), http_status == 200
                    ? "the response has no grpc-status" : "the response is not gRPC's");
        return;
    }

    status = cn_grpc_status_parse(header->value);

    if (status == CN_GRPC_OK && !cn_grpc_reader_is_between(&call->reader)) {
        finish_text(call, CN_GRPC_INTERNAL, "the last message is not complete");
        return;
    }

    grpc_call_finish(call, status, decode_message(call, trailers));
}


static void
call_head(void *owner, cn_message_t *head, bool end)
{
    cn_grpc_call_t  *call = owner;

    if (end) {
        finish_by_trailers(call, &head->headers, head->status);

    } else if (head->status != 200) {
        finish_text(call, cn_grpc_status_of_http(head->status), "the response is not gRPC's");

    } else if (!cn_message_is_grpc(head)) {
        finish_text(call, CN_GRPC_UNKNOWN, "the response's content-type is not gRPC's");

    } else if (call->events->on_open != NULL) {
        call->events->on_open(call->owner);
    }
}


static void
finish_unreadable(cn_grpc_call_t *call, cn_status_t status)
{
    switch (status) {

    case CN_ERR_LIMIT:
        finish_text(call, CN_GRPC_RESOURCE_EXHAUSTED, "a message is longer than its limit");
        break;

    case CN_ERR_UNSUPPORTED:
        finish_text(call, CN_GRPC_INTERNAL, "a message is compressed, which was not offered");
        break;

    case CN_ERR_MEMORY:
        finish_text(call, CN_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        break;

    default:
        finish_text(call, CN_GRPC_INTERNAL, "a message's first octet is neither 0 nor 1");
        break;
    }
}


static void
call_body(void *owner, cn_slice_t *data)
{
    cn_grpc_call_t  *call = owner;
    cn_bytes_t       rest = cn_slice_bytes(data);
    cn_bytes_t       message;
    cn_status_t      status;

    do {
        status = cn_grpc_reader_next(&call->reader, &rest, &message);

        if (status == CN_OK) {
            call->events->on_message(call->owner, message);
        }
    } while (status == CN_OK && !call->over);

    if (status != CN_OK && status != CN_AGAIN) {
        finish_unreadable(call, status);
    }

    if (!call->over) {
        cn_exchange_consumed(call->exchange, data->len);
    }
}


static void
call_end(void *owner, cn_headers_t *trailers)
{
    finish_by_trailers(owner, trailers, 200);
}


/* PROTOCOL-HTTP2.md, "Errors"; what was not processed is UNAVAILABLE, as all that may pass. */
static cn_grpc_status_t
status_of_reset(const cn_grpc_call_t *call, cn_reset_reason_t reason, uint32_t code)
{
    switch (reason) {

    case CN_RESET_REMOTE:
        /* a server that kept the deadline itself */
        if (call->deadline_ms != 0 && cn_clock_ms() >= call->deadline_ms) {
            return CN_GRPC_DEADLINE_EXCEEDED;
        }

        return cn_grpc_status_of_reset(code);

    case CN_RESET_PROTOCOL:
        return CN_GRPC_INTERNAL;

    case CN_RESET_LIMIT:
    case CN_RESET_OVERFLOW:
        return CN_GRPC_RESOURCE_EXHAUSTED;

    default:
        return CN_GRPC_UNAVAILABLE;
    }
}


static void
call_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    cn_grpc_call_t  *call = owner;
    uint32_t         code = call->exchange->reset_code;

    (void) detail;
    call->exchange = NULL;
    finish_text(call, status_of_reset(call, reason, code), cn_reset_reason_name(reason));
}


static const cn_exchange_events_t  exchange_events = {
    .on_head = call_head,
    .on_body = call_body,
    .on_end = call_end,
    .on_reset = call_reset,
};


static void
call_deadline(cn_timer_t *timer)
{
    finish_text(CN_CONTAINER_OF(timer, cn_grpc_call_t, timer), CN_GRPC_DEADLINE_EXCEEDED,
                "the deadline has passed");
}


static void
call_refused(cn_task_t *task)
{
    cn_grpc_call_t  *call = CN_CONTAINER_OF(task, cn_grpc_call_t, refused);

    finish_text(call, CN_GRPC_INTERNAL, call->refusal);
}


/*
 * --- what we say -------------------------------------------------------------------------------
 */

/* The deadline as it is when the request leaves. */
static cn_status_t
add_timeout(cn_grpc_call_t *call)
{
    uint64_t    now = cn_clock_ms();
    uint64_t    left = call->deadline_ms > now ? call->deadline_ms - now : 1;
    char        text[CN_GRPC_TIMEOUT_TEXT];
    cn_bytes_t  value;

    if (call->deadline_ms == 0) {
        return CN_OK;
    }

    if (cn_pool_copy(call->pool, cn_bytes(text, cn_grpc_timeout_print(left, text)), &value)
        != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return cn_headers_add_id(&call->head.headers, CN_HEADER_GRPC_TIMEOUT, value);
}


void
grpc_call_assign(cn_grpc_call_t *call, cn_session_t *session)
{
    bool  end = call->ended && call->queue.len == 0;

    call->head.scheme = cn_session_info(session)->kind == CN_STREAM_TLS ? CN_BYTES("https")
                                                                         : CN_BYTES("http");

    if (add_timeout(call) == CN_OK) {
        call->exchange = cn_client_request(session, &call->head, end, call->pool, &exchange_events,
                                           call);
    }

    if (call->exchange == NULL) {
        finish_text(call, CN_GRPC_INTERNAL, "the request cannot be sent");
        return;
    }

    cn_list_remove(&call->link);
    cn_list_append(&call->channel->running, &call->link);

    while (call->queue.count > 0) {
        cn_exchange_send_body(call->exchange, cn_chain_pop(&call->queue, SIZE_MAX));
    }

    if (call->ended && !end) {
        cn_exchange_send_end(call->exchange, NULL);
    }
}


cn_status_t
cn_grpc_call_send(cn_grpc_call_t *call, cn_bytes_t message)
{
    cn_buf_t    *buf;
    cn_slice_t   slice;

    if (call->ended || call->over) {
        return CN_ERR_CLOSED;
    }

    if (message.len > MESSAGE_MAX) {
        return CN_ERR_LIMIT;
    }

    buf = cn_buf_create(CN_GRPC_PREFIX + message.len, NULL);

    if (buf == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_grpc_prefix((uint32_t) message.len, buf->data);

    if (message.len > 0) {
        memcpy(buf->data + CN_GRPC_PREFIX, message.ptr, message.len);
    }

    slice = (cn_slice_t) { buf, buf->data, CN_GRPC_PREFIX + message.len };

    if (call->exchange == NULL) {
        return cn_chain_push(&call->queue, slice);
    }

    cn_exchange_send_body(call->exchange, slice);

    return CN_OK;
}


size_t
cn_grpc_call_pending(const cn_grpc_call_t *call)
{
    return call->queue.len + (call->exchange != NULL ? cn_exchange_pending(call->exchange) : 0);
}


void
cn_grpc_call_end(cn_grpc_call_t *call)
{
    if (call->ended || call->over) {
        return;
    }

    call->ended = true;

    if (call->exchange != NULL) {
        cn_exchange_send_end(call->exchange, NULL);
    }
}


void
cn_grpc_call_cancel(cn_grpc_call_t *call)
{
    if (!call->over) {
        stop(call);
    }
}


/*
 * --- the start ---------------------------------------------------------------------------------
 */

/* As PROTOCOL-HTTP2.md has names and values; what begins with "grpc-" is gRPC's own. */
static bool
is_metadata(const cn_grpc_metadata_t *metadata)
{
    cn_bytes_t  name = metadata->name;
    cn_bytes_t  value = metadata->value;

    if (name.len == 0 || cn_bytes_starts_with(name, CN_BYTES("grpc-"))) {
        return false;
    }

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];

        if (!(octet >= 'a' && octet <= 'z') && !(octet >= '0' && octet <= '9') && octet != '-'
            && octet != '_' && octet != '.')
        {
            return false;
        }
    }

    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < ' ' || value.ptr[i] > '~') {
            return false;
        }
    }

    return true;
}


static cn_status_t
add_headers(cn_grpc_call_t *call, const cn_grpc_metadata_t *metadata, size_t count)
{
    cn_headers_t  *headers = &call->head.headers;

    if (cn_headers_add_id(headers, CN_HEADER_TE, CN_BYTES("trailers")) != CN_OK
        || cn_headers_add_id(headers, CN_HEADER_CONTENT_TYPE, CN_BYTES("application/grpc")) != CN_OK
        || cn_headers_add_id(headers, CN_HEADER_USER_AGENT, CN_BYTES("cairn/" CN_VERSION)) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < count; i++) {
        cn_bytes_t  name, value;

        if (!is_metadata(&metadata[i])) {
            call->refusal = "metadata cannot be sent";
            continue;
        }

        if (cn_pool_copy(call->pool, metadata[i].name, &name) != CN_OK
            || cn_pool_copy(call->pool, metadata[i].value, &value) != CN_OK
            || cn_headers_add(headers, name, value) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static cn_grpc_call_t *
call_create(cn_grpc_channel_t *channel, const char *path)
{
    cn_pool_t       *pool = cn_pool_create(POOL_SIZE, NULL);
    cn_grpc_call_t  *call = pool == NULL ? NULL
        : cn_pool_alloc_zero(pool, sizeof(cn_grpc_call_t));

    if (call == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    call->channel = channel;
    call->pool = pool;
    call->attempt = channel->attempts;
    call->timer.run = call_deadline;
    call->refused.run = call_refused;
    call->free.run = call_free;
    cn_grpc_reader_init(&call->reader, channel->config.message_max);
    cn_message_init(&call->head, pool);
    call->head.method = CN_BYTES("POST");

    if (cn_pool_copy(pool, cn_bytes_str(path), &call->head.path) != CN_OK
        || cn_pool_copy(pool, cn_bytes_str(channel->config.authority), &call->head.authority)
           != CN_OK)
    {
        cn_pool_destroy(pool);
        return NULL;
    }

    return call;
}


cn_grpc_call_t *
cn_grpc_call_start(cn_grpc_channel_t *channel, const char *path,
    const cn_grpc_metadata_t *metadata, size_t count, uint64_t deadline_ms,
    const cn_grpc_call_events_t *events, void *owner)
{
    cn_grpc_call_t  *call = call_create(channel, path);

    if (call == NULL) {
        return NULL;
    }

    if (add_headers(call, metadata, count) != CN_OK) {
        cn_pool_destroy(call->pool);
        return NULL;
    }

    call->events = events;
    call->owner = owner;

    if (path[0] != '/') {
        call->refusal = "the path cannot be sent";
    }

    if (call->refusal != NULL) {
        cn_list_append(&channel->running, &call->link);
        cn_loop_post(channel->loop, CN_PHASE_READY, &call->refused);
        return call;
    }

    cn_list_append(&channel->waiting, &call->link);

    if (deadline_ms > 0) {
        call->deadline_ms = cn_clock_ms() + deadline_ms;
        cn_timer_set(channel->loop, &call->timer, deadline_ms);
    }

    grpc_channel_post(channel);

    return call;
}
