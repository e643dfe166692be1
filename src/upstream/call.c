/* SPDX-License-Identifier: Apache-2.0 */

/*
 * call - a request of our own over the pools that carry everybody's.  The answer is small and
 * wanted whole, so its credit goes back at once; what bounds it is answer_max.
 */

#include "upstream/call.h"

#include "upstream/internal.h"

#define REPEATS_MAX  3                  /* of what provably was not processed */

static cn_status_t start_try(cn_call_t *call);


/* Nothing of it runs any more; what was received stays until the caller has it. */
static void
stop(cn_call_t *call)
{
    call->running = false;
    cn_timer_cancel(&call->timer);

    if (call->exchange != NULL) {
        cn_exchange_reset(call->exchange, CN_RESET_LOCAL);
        call->exchange = NULL;
    }

    if (call->host_held) {
        call->host_held = false;
        cn_upstream_release(call->upstream, &call->host);
    }
}


static void
finish(cn_call_t *call, cn_status_t status)
{
    call->status = status;

    if (status != CN_OK) {
        call->answer = NULL;
    }

    stop(call);
    cn_chain_clear(&call->received);
    call->done(call);
}


/* The received slices as one run of bytes. */
static cn_status_t
join_body(cn_call_t *call)
{
    uint8_t  *octets;
    size_t    len = 0;

    if (call->received.len == 0) {
        return CN_OK;
    }

    octets = cn_pool_octets(call->pool, call->received.len);

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i < call->received.count; i++) {
        cn_slice_t  slice = cn_chain_at(&call->received, i);

        memcpy(octets + len, slice.ptr, slice.len);
        len += slice.len;
    }

    call->body = cn_bytes(octets, len);

    return CN_OK;
}


/* ---- events ---------------------------------------------------------------------------------- */

/*
 * The answer is whole.  An exchange whose request has left frees itself; one whose body still waits
 * for room would outlive the call and its pool, for nothing.
 */
static void
answered(cn_call_t *call, cn_status_t status)
{
    cn_exchange_t  *exchange = call->exchange;

    call->exchange = NULL;

    if (cn_exchange_pending(exchange) > 0) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);

    } else {
        cn_exchange_quiet(exchange);
    }

    finish(call, status);
}


static void
call_head(void *owner, cn_message_t *head, bool end)
{
    cn_call_t  *call = owner;

    call->answer = head;

    if (end) {
        answered(call, join_body(call));
    }
}


static void
call_body(void *owner, cn_slice_t *data)
{
    cn_call_t   *call = owner;
    cn_slice_t   taken = *data;
    size_t       len = taken.len;

    *data = (cn_slice_t) { NULL, NULL, 0 };

    if (len > call->request.answer_max - call->received.len) {
        cn_slice_release(&taken);
        finish(call, CN_ERR_LIMIT);
        return;
    }

    if (cn_chain_push(&call->received, taken) != CN_OK) {
        finish(call, CN_ERR_MEMORY);
        return;
    }

    cn_exchange_consumed(call->exchange, len);
}


static void
call_end(void *owner, cn_headers_t *trailers)
{
    cn_call_t  *call = owner;

    call->trailers.pool = call->pool;

    if (trailers != NULL && cn_headers_copy(&call->trailers, trailers) != CN_OK) {
        answered(call, CN_ERR_MEMORY);
        return;
    }

    answered(call, join_body(call));
}


static void
call_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    cn_call_t    *call = owner;
    cn_status_t   status;

    (void) detail;
    call->exchange = NULL;

    if ((reason != CN_RESET_UNPROCESSED && reason != CN_RESET_REMOTE_REFUSED)
        || call->answer != NULL || call->repeats == REPEATS_MAX)
    {
        finish(call, reason == CN_RESET_CONNECT_TIMEOUT ? CN_ERR_TIMEOUT : CN_ERR_CLOSED);
        return;
    }

    call->repeats++;
    call->host_held = false;
    cn_upstream_release(call->upstream, &call->host);
    status = start_try(call);

    if (status != CN_OK) {
        finish(call, status);
    }
}


static void
call_timeout(cn_timer_t *timer)
{
    finish(CN_CONTAINER_OF(timer, cn_call_t, timer), CN_ERR_TIMEOUT);
}


static const cn_exchange_events_t  call_events = {
    .on_head = call_head,
    .on_body = call_body,
    .on_end = call_end,
    .on_reset = call_reset,
};


/* ---- the start ------------------------------------------------------------------------------- */

static cn_status_t
choose_host(cn_call_t *call)
{
    switch (cn_upstream_choose(call->upstream, call->request.cluster, NULL, 0, 0, &call->host)) {

    case CN_CHOICE_OK:
        call->host_held = true;
        return CN_OK;

    case CN_CHOICE_OVERFLOW:
        return CN_ERR_LIMIT;

    default:
        return CN_ERR_NOT_FOUND;
    }
}


static cn_status_t
start_try(cn_call_t *call)
{
    const cn_chain_t  *body = call->request.body;
    bool               end = body == NULL || body->len == 0;
    cn_status_t        status = choose_host(call);

    if (status != CN_OK) {
        return status;
    }

    call->exchange = cn_upstream_request(call->upstream, &call->host, call->head, end, call->pool,
                                         &call_events, call);

    if (call->exchange == NULL) {
        return CN_ERR_MEMORY;
    }

    if (end) {
        return CN_OK;
    }

    for (uint32_t i = 0; i < body->count; i++) {
        cn_slice_t  slice = cn_chain_at(body, i);

        cn_exchange_send_body(call->exchange, cn_slice_of(slice.buf, slice.ptr, slice.len));
    }

    cn_exchange_send_end(call->exchange, NULL);

    return CN_OK;
}


cn_status_t
cn_call_start(cn_call_t *call, cn_upstream_t *upstream, const cn_call_request_t *request,
    cn_pool_t *pool, void (*done)(cn_call_t *call))
{
    const cn_chain_t  *body = request->body;
    cn_status_t        status;

    *call = (cn_call_t) {
        .upstream = upstream,
        .pool = pool,
        .done = done,
        .request = *request,
        .head = cn_pool_alloc(pool, sizeof(cn_message_t)),
        .running = true,
        .timer.run = call_timeout,
    };

    if (call->head == NULL) {
        call->running = false;
        return CN_ERR_MEMORY;
    }

    *call->head = *request->head;
    call->head->content_length = body == NULL ? 0 : (int64_t) body->len;
    call->head->chunked = false;
    status = start_try(call);

    if (status != CN_OK) {
        stop(call);
        return status;
    }

    cn_timer_set(upstream->env.loop, &call->timer, request->timeout_ms);

    return CN_OK;
}


void
cn_call_cancel(cn_call_t *call)
{
    if (call->running) {
        stop(call);
        cn_chain_clear(&call->received);
    }
}
