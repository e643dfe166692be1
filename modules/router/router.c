/* SPDX-License-Identifier: Apache-2.0 */

/*
 * router - the last filter: sends the request to an endpoint of the route's cluster, tries again
 * where that is allowed, and brings the answer back.
 *
 *   start -> trying -> answered -> done
 *              | reset, retriable: waiting (back-off) -> trying, to another host
 *              | reset, no more tries: local reply
 *
 * It owns the tries; nobody above knows how many there were.  While another try is possible, what
 * was sent of the body is kept, up to REPLAY_MAX; past that the request is not tried again.
 */

#include "router/router_table.h"

#include "base/clock.h"
#include "base/random.h"
#include "filter/explain.h"
#include "filter/module.h"
#include "http/grpc.h"

#include <stdio.h>

#define REPLAY_MAX      (64u * 1024)    /* bytes of request body kept for another try */
#define TRIED_MAX       8               /* hosts remembered */
#define UNPROCESSED_MAX 3               /* repeats of what provably was not processed */

#define HTTP2_PROTOCOL_ERROR  1         /* RFC 9113, 7 */

#define RESET_BODY      "upstream connect error or disconnect/reset before headers. "

typedef struct {
    cn_request_t         *request;
    cn_exchange_t        *exchange;         /* the running try; NULL: none */
    cn_host_t             host;
    bool                  host_held;
    cn_address_t          tried[TRIED_MAX];
    size_t                tried_count;
    uint64_t              timeout_ms;       /* 0: none */
    cn_timer_t            timeout;          /* over all tries */
    cn_timer_t            per_try;
    cn_timer_t            backoff;
    cn_chain_t            replay;
    size_t                sent;             /* body bytes of this try that have left */
    size_t                credited;         /* given back downstream, over all tries */
    bool                  replayable;
    bool                  body_ended;
    bool                  answered;         /* the response's head went on */
    bool                  upgraded;         /* it was 101 */
    bool                  done;
    uint32_t              unprocessed;
    uint64_t              try_us;
    cn_headers_t         *trailers;         /* the request's, for another try */
} router_ctx_t;

const cn_module_t  cn_router_module;

static void start_try(router_ctx_t *ctx);


static void
release_host(router_ctx_t *ctx)
{
    if (ctx->host_held) {
        ctx->host_held = false;
        cn_upstream_release(ctx->request->env->upstream, &ctx->host);
    }
}


/* No more tries, no more timers; the exchange, if any, is dropped. */
static void
stop(router_ctx_t *ctx)
{
    ctx->done = true;
    cn_timer_cancel(&ctx->timeout);
    cn_timer_cancel(&ctx->per_try);
    cn_timer_cancel(&ctx->backoff);

    if (ctx->exchange != NULL) {
        cn_exchange_reset(ctx->exchange, CN_RESET_LOCAL);
        ctx->exchange = NULL;
    }

    cn_chain_clear(&ctx->replay);
    release_host(ctx);
}


/* ---- failures and replies -------------------------------------------------------------------- */

/* What a reset before the response's head is called, and what it answers (goldens 5, 6). */
typedef struct {
    const char  *reason;            /* in the body */
    const char  *details;           /* in the braces */
    const char  *transport;         /* of the log, or NULL */
    uint32_t     flag;
    uint16_t     status;
} failure_t;

static failure_t
failure_of(cn_reset_reason_t reason)
{
    switch (reason) {

    case CN_RESET_CONNECT_FAILED:
        return (failure_t) { "remote connection failure",
                             "remote_connection_failure|delayed_connect_error:_Connection_refused",
                             "delayed_connect_error:_Connection_refused", CN_FLAG(UF), 503 };

    case CN_RESET_CONNECT_TIMEOUT:
        return (failure_t) { "connection timeout", "connection_timeout", NULL, CN_FLAG(UF), 503 };

    case CN_RESET_REMOTE:
        return (failure_t) { "remote reset", "remote_reset", NULL, CN_FLAG(UR), 503 };

    case CN_RESET_REMOTE_REFUSED:
    case CN_RESET_UNPROCESSED:
        return (failure_t) { "remote refused stream reset", "remote_refused_stream_reset", NULL,
                             CN_FLAG(UR), 503 };

    case CN_RESET_PROTOCOL:
    case CN_RESET_LIMIT:
        return (failure_t) { "protocol error", "protocol_error", NULL, CN_FLAG(UPE), 502 };

    case CN_RESET_OVERFLOW:
        return (failure_t) { "overflow", "overflow", NULL, CN_FLAG(UO), 503 };

    default:
        return (failure_t) { "connection termination", "connection_termination", NULL,
                             CN_FLAG(UC), 503 };
    }
}


static void
reply_failure(router_ctx_t *ctx, const failure_t *failure)
{
    cn_request_t  *request = ctx->request;
    bool           retried = request->tries > 1;
    const char    *body = cn_pool_printf(request->pool, RESET_BODY "%s: %s",
                                         retried ? "retried and the latest reset reason"
                                                 : "reset reason", failure->reason);
    const char    *details = cn_pool_printf(request->pool,
                                            "upstream_reset_before_response_started{%s}",
                                            failure->details);

    request->transport_failure = failure->transport;
    stop(ctx);
    cn_request_reply(request, failure->status, cn_bytes_str(body), failure->flag,
                     details != NULL ? details : "upstream_reset_before_response_started");
}


static void
reply_overflow(router_ctx_t *ctx)
{
    failure_t  failure = failure_of(CN_RESET_OVERFLOW);

    if (cn_request_reply_header(ctx->request, cn_header_name(CN_HEADER_X_ENVOY_OVERLOADED),
                                CN_BYTES("true")) != CN_OK)
    {
        ctx->request->flags |= CN_FLAG(UO);
    }

    reply_failure(ctx, &failure);
}


static void
reply_simple(router_ctx_t *ctx, uint16_t status, cn_bytes_t body, uint32_t flags,
    const char *details)
{
    stop(ctx);
    cn_request_reply(ctx->request, status, body, flags, details);
}


/* ---- tries again ----------------------------------------------------------------------------- */

static bool
retry_on_reset(const cn_table_retry_t *retry, cn_reset_reason_t reason)
{
    switch (reason) {

    case CN_RESET_CONNECT_FAILED:
    case CN_RESET_CONNECT_TIMEOUT:
        return retry->on & (CN_RETRY_CONNECT_FAILURE | CN_RETRY_5XX | CN_RETRY_GATEWAY_ERROR
                            | CN_RETRY_RESET | CN_RETRY_RESET_BEFORE_REQUEST);

    case CN_RESET_REMOTE_REFUSED:
    case CN_RESET_UNPROCESSED:
        return retry->on & (CN_RETRY_REFUSED_STREAM | CN_RETRY_5XX | CN_RETRY_GATEWAY_ERROR
                            | CN_RETRY_RESET);

    default:
        return retry->on & (CN_RETRY_5XX | CN_RETRY_GATEWAY_ERROR | CN_RETRY_RESET);
    }
}


static bool
retry_on_grpc(const cn_table_retry_t *retry, const cn_headers_t *headers)
{
    const cn_header_t  *header = cn_headers_find_id(headers, CN_HEADER_GRPC_STATUS);
    uint64_t            code;

    if (header == NULL || cn_bytes_to_u64(header->value, 16, &code) != CN_OK) {
        return false;
    }

    switch (code) {
    case 1:
        return retry->on & CN_RETRY_CANCELLED;
    case 4:
        return retry->on & CN_RETRY_DEADLINE_EXCEEDED;
    case 8:
        return retry->on & CN_RETRY_RESOURCE_EXHAUSTED;
    case 13:
        return retry->on & CN_RETRY_INTERNAL;
    case 14:
        return retry->on & CN_RETRY_UNAVAILABLE;
    default:
        return false;
    }
}


static bool
retry_on_response(const cn_request_t *request, const cn_table_retry_t *retry,
    const cn_message_t *head)
{
    const uint32_t  *statuses = CN_BLOCK_ITEMS(request->service_block, retry->statuses, uint32_t);

    if ((retry->on & CN_RETRY_5XX) && head->status >= 500) {
        return true;
    }

    if ((retry->on & CN_RETRY_GATEWAY_ERROR) && head->status >= 502 && head->status <= 504) {
        return true;
    }

    if ((retry->on & CN_RETRY_RETRIABLE_4XX) && head->status == 409) {
        return true;
    }

    if (retry->on & CN_RETRY_RETRIABLE_STATUS_CODES) {
        for (uint32_t i = 0; i < retry->statuses.count; i++) {
            if (statuses[i] == head->status) {
                return true;
            }
        }
    }

    return retry_on_grpc(retry, &head->headers);
}


/* Full jitter over base * (2^n - 1), capped (Envoy's router filter). */
static uint64_t
backoff_ms(const cn_table_retry_t *retry, uint32_t tries)
{
    uint64_t  base = retry->base_backoff_ms > 0 ? retry->base_backoff_ms : 25;
    uint64_t  cap = retry->max_backoff_ms > 0 ? retry->max_backoff_ms : base * 10;
    uint64_t  range = base * ((1ull << (tries < 16 ? tries : 16)) - 1);

    return cn_random_below((range < cap ? range : cap) + 1);
}


/*
 * Ends this try and starts another later.  False: there is none left; URX is set when one was
 * wanted.
 */
static bool
try_again(router_ctx_t *ctx)
{
    cn_request_t            *request = ctx->request;
    const cn_table_retry_t  *retry = &request->route->retry;

    if (!ctx->replayable || request->tries > retry->tries) {
        if (request->tries > retry->tries && retry->tries > 0) {
            request->flags |= CN_FLAG(URX);
        }

        return false;
    }

    if (ctx->exchange != NULL) {
        cn_exchange_reset(ctx->exchange, CN_RESET_LOCAL);
        ctx->exchange = NULL;
    }

    cn_timer_cancel(&ctx->per_try);
    release_host(ctx);
    cn_timer_set(request->env->loop, &ctx->backoff, backoff_ms(retry, request->tries));

    return true;
}


static void
backoff_over(cn_timer_t *timer)
{
    start_try(CN_CONTAINER_OF(timer, router_ctx_t, backoff));
}


/* ---- events of the try ----------------------------------------------------------------------- */

static void
upstream_informational(void *owner, cn_message_t *head)
{
    router_ctx_t  *ctx = owner;

    cn_request_respond_informational(ctx->request, head);
}


/*
 * Neither side has more to say: the exchange is over and frees itself.  One that was upgraded has
 * its own direction open still, whatever the request was: it is reset.
 */
static void
try_over(router_ctx_t *ctx)
{
    if (ctx->body_ended && !ctx->upgraded) {
        ctx->exchange = NULL;
    }

    stop(ctx);
}


static cn_status_t
add_service_time(cn_request_t *request, cn_message_t *head)
{
    char        digits[20];
    size_t      len = cn_u64_print((uint64_t) request->upstream_ms, digits);
    cn_bytes_t  text;

    if (cn_pool_copy(request->pool, cn_bytes(digits, len), &text) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    cn_headers_remove_id(&head->headers, CN_HEADER_X_ENVOY_UPSTREAM_SERVICE_TIME);

    return cn_headers_add_id(&head->headers, CN_HEADER_X_ENVOY_UPSTREAM_SERVICE_TIME, text);
}


static void
upstream_head(void *owner, cn_message_t *head, bool end)
{
    router_ctx_t  *ctx = owner;
    cn_request_t  *request = ctx->request;

    if (retry_on_response(request, &request->route->retry, head)) {
        if (end && ctx->body_ended && ctx->replayable
            && request->tries <= request->route->retry.tries)
        {
            ctx->exchange = NULL;       /* it is over already */
        }

        if (try_again(ctx)) {
            return;
        }
    }

    ctx->answered = true;
    ctx->upgraded = head->status == 101;
    cn_timer_cancel(&ctx->per_try);
    cn_chain_clear(&ctx->replay);
    ctx->replayable = false;
    /* an answer to a request that goes on took no time that says anything (Envoy) */
    if (ctx->body_ended) {
        request->upstream_ms = (int64_t) ((cn_clock_us() - ctx->try_us) / 1000);
    }

    if (ctx->body_ended && add_service_time(request, head) != CN_OK) {
        stop(ctx);
        cn_request_respond_reset(request, 0, "out_of_memory");
        return;
    }

    if (end) {
        try_over(ctx);
    }

    cn_request_respond(request, head, end);
}


static void
upstream_body(void *owner, cn_slice_t *data)
{
    router_ctx_t  *ctx = owner;
    cn_slice_t     taken = *data;

    *data = (cn_slice_t) { NULL, NULL, 0 };
    cn_request_respond_body(ctx->request, taken);
}


static void
upstream_end(void *owner, cn_headers_t *trailers)
{
    router_ctx_t  *ctx = owner;

    try_over(ctx);
    cn_request_respond_end(ctx->request, trailers);
}


static void
upstream_sent(void *owner, size_t len)
{
    router_ctx_t  *ctx = owner;

    ctx->sent += len;

    if (ctx->sent > ctx->credited) {
        size_t  more = ctx->sent - ctx->credited;

        ctx->credited = ctx->sent;
        cn_request_body_sent(ctx->request, more);
    }
}


/* A reset after the response has begun: its flag, as the log has it. */
static void
broken_response(router_ctx_t *ctx, cn_reset_reason_t reason)
{
    cn_request_t  *request = ctx->request;
    failure_t      failure = failure_of(reason);
    bool           http2 = ctx->host.http2;
    const char    *details = http2 ? "upstream_reset_after_response_started{remote_reset}"
                                   : "upstream_reset_after_response_started{protocol_error}";

    if (reason == CN_RESET_TERMINATED) {
        failure.flag = http2 ? CN_FLAG(UC) : CN_FLAG(UPE);
    }

    stop(ctx);
    cn_request_respond_reset(request, failure.flag, details);
}


static void
upstream_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    router_ctx_t  *ctx = owner;
    cn_request_t  *request = ctx->request;
    failure_t      failure = failure_of(reason);

    (void) detail;

    if (reason == CN_RESET_REMOTE && !ctx->answered
        && ctx->exchange->reset_code == HTTP2_PROTOCOL_ERROR)
    {
        failure = failure_of(CN_RESET_PROTOCOL);
    }

    ctx->exchange = NULL;

    if (ctx->answered) {
        broken_response(ctx, reason);
        return;
    }

    /* provably not processed: repeated without being asked, a bounded number of times */
    if ((reason == CN_RESET_UNPROCESSED || reason == CN_RESET_REMOTE_REFUSED) && ctx->replayable
        && ctx->unprocessed < UNPROCESSED_MAX)
    {
        ctx->unprocessed++;
        release_host(ctx);
        cn_timer_set(request->env->loop, &ctx->backoff, 0);
        return;
    }

    if (retry_on_reset(&request->route->retry, reason) && try_again(ctx)) {
        return;
    }

    reply_failure(ctx, &failure);
}


static const cn_exchange_events_t  upstream_events = {
    .on_head = upstream_head,
    .on_informational = upstream_informational,
    .on_body = upstream_body,
    .on_end = upstream_end,
    .on_sent = upstream_sent,
    .on_reset = upstream_reset,
};


/* ---- timeouts -------------------------------------------------------------------------------- */

static void
timed_out(router_ctx_t *ctx, const char *details)
{
    if (ctx->answered) {
        stop(ctx);
        cn_request_respond_reset(ctx->request, CN_FLAG(UT), details);
        return;
    }

    reply_simple(ctx, 504, CN_BYTES("upstream request timeout"), CN_FLAG(UT), details);
}


static void
route_timeout(cn_timer_t *timer)
{
    timed_out(CN_CONTAINER_OF(timer, router_ctx_t, timeout), "response_timeout");
}


static void
per_try_timeout(cn_timer_t *timer)
{
    router_ctx_t  *ctx = CN_CONTAINER_OF(timer, router_ctx_t, per_try);
    uint32_t       on = ctx->request->route->retry.on;

    if ((on & (CN_RETRY_5XX | CN_RETRY_GATEWAY_ERROR)) && try_again(ctx)) {
        return;
    }

    timed_out(ctx, "upstream_per_try_timeout");
}


/*
 * A gRPC client says itself how long it waits, the route how long at most (goldens 3); what is
 * malformed says nothing.
 */
static uint64_t
timeout_of(const cn_request_t *request)
{
    const cn_header_t  *header = cn_headers_find_id(&request->head->headers,
                                                    CN_HEADER_GRPC_TIMEOUT);
    uint64_t            most = request->route->max_grpc_timeout_ms;
    uint64_t            own = 0;

    if (!cn_message_is_grpc(request->head)) {
        return request->route->timeout_ms;
    }

    if (header == NULL || cn_grpc_timeout_parse(header->value, &own) != CN_OK || own == 0) {
        return most;
    }

    return most > 0 && most < own ? most : own;
}


/* The clock of the route's timeout starts when the request is complete (Envoy). */
static void
request_complete(router_ctx_t *ctx)
{
    ctx->body_ended = true;

    if (ctx->timeout_ms > 0 && !ctx->done && !cn_timer_armed(&ctx->timeout)) {
        cn_timer_set(ctx->request->env->loop, &ctx->timeout, ctx->timeout_ms);
    }
}


/* ---- a try ----------------------------------------------------------------------------------- */

static void
replay_body(router_ctx_t *ctx)
{
    for (uint32_t i = 0; i < ctx->replay.count; i++) {
        cn_slice_t  slice = cn_chain_at(&ctx->replay, i);

        cn_buf_ref(slice.buf);
        cn_exchange_send_body(ctx->exchange, slice);
    }

    if (ctx->body_ended && ctx->request->request_ended && !ctx->done
        && (ctx->replay.len > 0 || ctx->trailers != NULL))
    {
        cn_exchange_send_end(ctx->exchange, ctx->trailers);
    }
}


static bool
choose_host(router_ctx_t *ctx)
{
    cn_request_t                  *request = ctx->request;
    const cn_table_destination_t  *destination = request->destination;
    cn_choice_t                    choice;

    choice = cn_upstream_choose(request->env->upstream, destination->cluster, ctx->tried,
                                ctx->tried_count,
                                ctx->tried_count > 0 ? request->route->retry.host_attempts : 0,
                                &ctx->host);

    switch (choice) {

    case CN_CHOICE_OK:
        ctx->host_held = true;
        request->host = &ctx->host;

        if (ctx->host.client_protocol) {
            ctx->host.http2 = request->head->version == CN_HTTP_2;
        }

        if (ctx->tried_count < TRIED_MAX) {
            ctx->tried[ctx->tried_count++] = ctx->host.address;
        }

        return true;

    case CN_CHOICE_NO_CLUSTER:
        request->upstream_cluster = CN_BYTES_NONE;
        reply_simple(ctx, request->route->no_cluster_status, CN_BYTES_NONE, CN_FLAG(NC),
                     "cluster_not_found");
        return false;

    case CN_CHOICE_NO_HEALTHY_HOST:
        reply_simple(ctx, 503, CN_BYTES("no healthy upstream"), CN_FLAG(UH),
                     "no_healthy_upstream");
        return false;

    case CN_CHOICE_OVERFLOW:
        reply_overflow(ctx);
        return false;
    }

    return false;
}


static void
start_try(router_ctx_t *ctx)
{
    cn_request_t  *request = ctx->request;
    bool           whole = ctx->body_ended && ctx->replay.len == 0 && ctx->trailers == NULL;

    if (!choose_host(ctx)) {
        return;
    }

    request->tries++;
    ctx->sent = 0;
    ctx->try_us = cn_clock_us();
    ctx->exchange = cn_upstream_request(request->env->upstream, &ctx->host, request->head, whole,
                                        request->pool, &upstream_events, ctx);

    if (ctx->exchange == NULL) {
        failure_t  failure = failure_of(CN_RESET_CONNECT_FAILED);

        if (!try_again(ctx)) {
            reply_failure(ctx, &failure);
        }

        return;
    }

    if (request->route->retry.per_try_timeout_ms > 0) {
        cn_timer_set(request->env->loop, &ctx->per_try, request->route->retry.per_try_timeout_ms);
    }

    replay_body(ctx);
}


/* ---- the module ------------------------------------------------------------------------------ */

static cn_status_t
tell_grpc_timeout(cn_request_t *request, uint64_t ms)
{
    char        octets[CN_GRPC_TIMEOUT_TEXT];
    cn_bytes_t  text;

    if (!cn_message_is_grpc(request->head)) {
        return CN_OK;
    }

    if (cn_pool_copy(request->pool, cn_bytes(octets, cn_grpc_timeout_print(ms, octets)), &text)
        != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    cn_headers_remove_id(&request->head->headers, CN_HEADER_GRPC_TIMEOUT);

    return cn_headers_add_id(&request->head->headers, CN_HEADER_GRPC_TIMEOUT, text);
}


/*
 * x-envoy-expected-rq-timeout-ms and grpc-timeout, when there is a timeout: a try's own, if that is
 * the shorter one.
 */
static cn_status_t
tell_timeout(cn_request_t *request, uint64_t ms)
{
    uint64_t    per_try = request->route->retry.per_try_timeout_ms;
    char        digits[20];
    cn_bytes_t  text;

    if (per_try > 0 && (ms == 0 || per_try < ms)) {
        ms = per_try;
    }

    if (ms == 0) {
        return CN_OK;
    }

    if (tell_grpc_timeout(request, ms) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (cn_pool_copy(request->pool, cn_bytes(digits, cn_u64_print(ms, digits)), &text) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return cn_headers_add_id(&request->head->headers, CN_HEADER_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
                             text);
}


static cn_verdict_t
router_request_headers(cn_request_t *request, const void *config, bool end)
{
    router_ctx_t  *ctx;

    (void) config;

    if (request->route == NULL) {
        return cn_request_reply(request, 404, CN_BYTES_NONE, CN_FLAG(NR), "route_not_found");
    }

    if (cn_request_route_action(request) == CN_REPLIED) {
        return CN_REPLIED;
    }

    ctx = cn_request_context(request, &cn_router_module);

    if (ctx != NULL) {
        ctx->timeout_ms = timeout_of(request);
    }

    if (ctx == NULL || tell_timeout(request, ctx->timeout_ms) != CN_OK) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    ctx->request = request;
    ctx->timeout.run = route_timeout;
    ctx->per_try.run = per_try_timeout;
    ctx->backoff.run = backoff_over;
    ctx->replayable = true;

    if (end) {
        request_complete(ctx);
    }

    start_try(ctx);

    return request->local_reply ? CN_REPLIED : CN_NEXT;
}


/* Keeps a reference for another try, as long as the bound allows one. */
static void
keep_for_replay(router_ctx_t *ctx, const cn_slice_t *data)
{
    if (!ctx->replayable) {
        return;
    }

    if (ctx->replay.len + data->len > REPLAY_MAX
        || ctx->request->route->retry.tries == 0
        || cn_chain_push(&ctx->replay, cn_slice_of(data->buf, data->ptr, data->len)) != CN_OK)
    {
        ctx->replayable = false;

        if (ctx->exchange != NULL) {
            cn_chain_clear(&ctx->replay);
        }
    }
}


static void
router_request_body(cn_request_t *request, const void *config, cn_slice_t *data)
{
    router_ctx_t  *ctx = cn_request_context(request, &cn_router_module);
    cn_slice_t     taken = *data;

    (void) config;

    if (ctx == NULL || ctx->request == NULL || ctx->done) {
        return;                 /* nobody wants it: the chain gives the credit back */
    }

    *data = (cn_slice_t) { NULL, NULL, 0 };
    keep_for_replay(ctx, &taken);

    if (ctx->exchange != NULL) {
        cn_exchange_send_body(ctx->exchange, taken);
        return;
    }

    cn_slice_release(&taken);

    if (!ctx->replayable) {
        /* between two tries, and more came than is kept */
        reply_simple(ctx, 507, CN_BYTES("exceeded request buffer limit while retrying upstream"),
                     0, "request_payload_exceeded_retry_buffer_limit");
    }
}


static void
router_request_end(cn_request_t *request, const void *config, cn_headers_t *trailers)
{
    router_ctx_t  *ctx = cn_request_context(request, &cn_router_module);

    (void) config;

    if (ctx == NULL || ctx->request == NULL || ctx->done || ctx->body_ended) {
        return;
    }

    if (ctx->replayable && trailers != NULL && trailers->count > 0) {
        ctx->trailers = cn_pool_alloc_zero(request->pool, sizeof(cn_headers_t));

        if (ctx->trailers != NULL) {
            ctx->trailers->pool = request->pool;
        }

        if (ctx->trailers == NULL || cn_headers_copy(ctx->trailers, trailers) != CN_OK) {
            ctx->replayable = false;
        }
    }

    request_complete(ctx);

    if (ctx->exchange != NULL) {
        cn_exchange_send_end(ctx->exchange, trailers);
    }
}


static void
router_response_sent(cn_request_t *request, const void *config, size_t len)
{
    router_ctx_t  *ctx = cn_request_context(request, &cn_router_module);

    (void) config;

    if (ctx != NULL && ctx->exchange != NULL) {
        cn_exchange_consumed(ctx->exchange, len);
    }
}


static void
router_destroy(cn_request_t *request, const void *config)
{
    router_ctx_t  *ctx = cn_request_context(request, &cn_router_module);

    (void) config;

    if (ctx != NULL && ctx->request != NULL && !ctx->done) {
        stop(ctx);
    }
}


static cn_status_t
router_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    (void) block;
    *what = "router: a configuration where none belongs";

    return config == 0 ? CN_OK : CN_ERR_SYNTAX;
}


const cn_module_t  cn_router_module = {
    .name = "router",
    .ctx_size = sizeof(router_ctx_t),
    .verify = router_verify,
    .on_request_headers = router_request_headers,
    .on_request_body = router_request_body,
    .on_request_end = router_request_end,
    .on_response_sent = router_response_sent,
    .on_destroy = router_destroy,
};
