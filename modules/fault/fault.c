/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fault - delays or aborts a share of requests (Envoy's HTTP fault filter).  It runs after
 * authorization, so that a denied caller learns nothing of the fault policy, and before the router,
 * so that an aborted request holds no endpoint.
 */

#include "fault/fault_table.h"

#include "base/random.h"
#include "filter/explain.h"
#include "filter/module.h"

#include <stdio.h>

typedef struct {
    cn_timer_t               timer;
    cn_request_t            *request;
    const cn_table_fault_t  *fault;
} fault_ctx_t;

const cn_module_t  cn_fault_module;


static cn_verdict_t
abort_request(cn_request_t *request, const cn_table_fault_t *fault)
{
    char  digits[20];

    if (fault->abort_kind == CN_FAULT_ABORT_HTTP) {
        return cn_request_reply(request, fault->abort_status, CN_BYTES("fault filter abort"),
                                CN_FLAG(FI), "fault_filter_abort");
    }

    if (cn_pool_copy(request->pool,
                     cn_bytes(digits, cn_u64_print(fault->abort_status, digits)),
                     &request->reply_grpc_status) != CN_OK)
    {
        return cn_request_reply(request, 500, CN_BYTES_NONE, CN_FLAG(FI), "out_of_memory");
    }

    return cn_request_reply(request, 200, CN_BYTES("fault filter abort"), CN_FLAG(FI),
                            "fault_filter_abort");
}


static bool
aborts(const cn_table_fault_t *fault)
{
    return fault->abort_kind != CN_FAULT_ABORT_NONE && cn_random_chance(fault->abort_ppm);
}


static void
delay_over(cn_timer_t *timer)
{
    fault_ctx_t  *ctx = CN_CONTAINER_OF(timer, fault_ctx_t, timer);

    if (aborts(ctx->fault)) {
        abort_request(ctx->request, ctx->fault);
        return;
    }

    cn_request_resume(ctx->request);
}


static cn_verdict_t
fault_request_headers(cn_request_t *request, const void *config, bool end)
{
    const cn_table_fault_t  *fault = cn_request_route_config(request, &cn_fault_module);
    fault_ctx_t             *ctx;

    (void) config;
    (void) end;

    if (fault == NULL) {
        return CN_NEXT;
    }

    if (fault->delay_ppm == 0 || !cn_random_chance(fault->delay_ppm)) {
        return aborts(fault) ? abort_request(request, fault) : CN_NEXT;
    }

    ctx = cn_request_context(request, &cn_fault_module);

    if (ctx == NULL) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }

    ctx->request = request;
    ctx->fault = fault;
    ctx->timer.run = delay_over;
    request->flags |= CN_FLAG(DI);
    cn_timer_set(request->env->loop, &ctx->timer, fault->delay_ms);

    return CN_PAUSE;
}


static void
fault_destroy(cn_request_t *request, const void *config)
{
    (void) config;

    if (cn_request_route_config(request, &cn_fault_module) != NULL) {
        fault_ctx_t  *ctx = cn_request_context(request, &cn_fault_module);

        if (ctx != NULL) {
            cn_timer_cancel(&ctx->timer);
        }
    }
}


static void
fault_explain(cn_explain_t *explain, const cn_block_t *block, const void *config,
    const void *route_config, const cn_match_input_t *input)
{
    const cn_table_fault_t  *fault = route_config;

    (void) config;
    (void) input;

    if (fault == NULL) {
        return;
    }

    if (fault->delay_ppm > 0) {
        cn_explain_line(explain, block, &fault->origin, "fault: %g %% of requests wait %u ms",
                        fault->delay_ppm / 10000.0, fault->delay_ms);
    }

    if (fault->abort_kind != CN_FAULT_ABORT_NONE && fault->abort_ppm > 0) {
        cn_explain_line(explain, block, &fault->origin, "fault: %g %% of requests get %s %u",
                        fault->abort_ppm / 10000.0,
                        fault->abort_kind == CN_FAULT_ABORT_HTTP ? "status" : "grpc-status",
                        fault->abort_status);
    }
}


static cn_status_t
fault_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    const cn_rel_array_t     self = { config, 1 };
    const cn_table_fault_t  *fault;

    if (config == 0) {
        return CN_OK;               /* the chain's entry: it says only where faults are injected */
    }

    *what = "fault: out of range";

    if (!cn_block_range(block, self, sizeof(cn_table_fault_t), 4)) {
        return CN_ERR_SYNTAX;
    }

    fault = cn_block_at(block, config);

    if (fault->delay_ppm > 1000000 || fault->abort_ppm > 1000000
        || fault->abort_kind > CN_FAULT_ABORT_GRPC
        || (fault->abort_kind == CN_FAULT_ABORT_HTTP
            && (fault->abort_status < 200 || fault->abort_status > 599))
        || !cn_block_bytes_ok(block, fault->origin.file)
        || !cn_block_bytes_ok(block, fault->origin.resource))
    {
        return CN_ERR_SYNTAX;
    }

    return CN_OK;
}


const cn_module_t  cn_fault_module = {
    .name = "fault",
    .ctx_size = sizeof(fault_ctx_t),
    .on_route = true,
    .verify = fault_verify,
    .on_request_headers = fault_request_headers,
    .on_destroy = fault_destroy,
    .explain = fault_explain,
};
