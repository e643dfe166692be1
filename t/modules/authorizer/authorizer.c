/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authorizer - asks a service about each request, with the request's whole body: what a filter does
 * that waits.  It is in the tests' program only.
 *
 *   headers -> (body is held until its end) -> call -> resume
 *                | too long: 413               | answered otherwise: that status
 *                                              | no answer: 403
 */

#include "authorizer/authorizer_table.h"

#include "filter/module.h"
#include "upstream/call.h"

#define ANSWER_MAX  4096                /* bytes */

typedef struct {
    cn_request_t                 *request;
    const cn_table_authorizer_t  *config;
    cn_message_t                  head;
    cn_call_t                     call;
    uint64_t                      received;
} authorizer_ctx_t;

const cn_module_t  cn_authorizer_module;


static cn_verdict_t
deny(cn_request_t *request, const char *details)
{
    return cn_request_reply(request, 403, CN_BYTES("not authorized"), CN_FLAG(UAEX), details);
}


static void
answered(cn_call_t *call)
{
    authorizer_ctx_t  *ctx = CN_CONTAINER_OF(call, authorizer_ctx_t, call);

    if (call->status != CN_OK || call->answer->status >= 500) {
        deny(ctx->request, "authorizer_failed");
        return;
    }

    if (call->answer->status == 200) {
        cn_request_resume(ctx->request);
        return;
    }

    cn_request_reply(ctx->request, call->answer->status, call->body, CN_FLAG(UAEX),
                     "authorizer_denied");
}


/* The same method and path, so that a test can say per request what is answered. */
static cn_status_t
make_head(authorizer_ctx_t *ctx)
{
    cn_request_t  *request = ctx->request;
    cn_message_t  *head = &ctx->head;

    cn_message_init(head, request->pool);
    head->method = request->head->method;
    head->path = request->head->path;
    head->scheme = CN_BYTES("http");
    head->authority = CN_BYTES("authorizer");
    head->version = CN_HTTP_11;

    return cn_headers_add(&head->headers, CN_BYTES("x-asked-about"), request->head->authority);
}


static cn_verdict_t
ask(authorizer_ctx_t *ctx)
{
    cn_request_t             *request = ctx->request;
    const cn_call_request_t   question = {
        .cluster = ctx->config->cluster,
        .head = &ctx->head,
        .body = cn_request_held(request),
        .timeout_ms = ctx->config->timeout_ms,
        .answer_max = ANSWER_MAX,
    };

    if (make_head(ctx) != CN_OK
        || cn_call_start(&ctx->call, request->env->upstream, &question, request->pool,
                         answered) != CN_OK)
    {
        return deny(request, "authorizer_failed");
    }

    return CN_PAUSE;
}


static cn_verdict_t
refuse_body(cn_request_t *request)
{
    return cn_request_reply(request, 413, CN_BYTES("Payload Too Large"), 0,
                            "request_payload_too_large");
}


static cn_verdict_t
on_request_headers(cn_request_t *request, const void *config, bool end)
{
    authorizer_ctx_t  *ctx = cn_request_context(request, &cn_authorizer_module);

    if (ctx == NULL) {
        return deny(request, "out_of_memory");
    }

    ctx->request = request;
    ctx->config = config;

    if (end) {
        return ask(ctx);
    }

    if (request->head->content_length > (int64_t) ctx->config->body_max) {
        return refuse_body(request);
    }

    cn_request_want_body(request);

    return CN_PAUSE;
}


static void
on_request_body(cn_request_t *request, const void *config, cn_slice_t *data)
{
    authorizer_ctx_t  *ctx = cn_request_context(request, &cn_authorizer_module);

    (void) config;
    ctx->received += data->len;

    if (ctx->received > ctx->config->body_max) {
        refuse_body(request);
    }
}


static void
on_request_end(cn_request_t *request, const void *config, cn_headers_t *trailers)
{
    (void) config;
    (void) trailers;
    ask(cn_request_context(request, &cn_authorizer_module));
}


static void
on_destroy(cn_request_t *request, const void *config)
{
    authorizer_ctx_t  *ctx = cn_request_context(request, &cn_authorizer_module);

    (void) config;

    if (ctx != NULL) {
        cn_call_cancel(&ctx->call);
    }
}


static cn_status_t
verify(const cn_block_t *block, uint32_t config, const char **what)
{
    const cn_rel_array_t          self = { config, 1 };
    const cn_table_authorizer_t  *authorizer;

    *what = "authorizer: out of range";

    if (config == 0 || !cn_block_range(block, self, sizeof(*authorizer), 4)) {
        return CN_ERR_SYNTAX;
    }

    authorizer = cn_block_at(block, config);

    return authorizer->timeout_ms > 0 && authorizer->body_max <= CN_AUTHORIZER_BODY_MAX
           ? CN_OK : CN_ERR_SYNTAX;
}


const cn_module_t  cn_authorizer_module = {
    .name = "authorizer",
    .ctx_size = sizeof(authorizer_ctx_t),
    .verify = verify,
    .on_request_headers = on_request_headers,
    .on_request_body = on_request_body,
    .on_request_end = on_request_end,
    .on_destroy = on_destroy,
};
