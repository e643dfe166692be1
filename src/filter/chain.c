/* SPDX-License-Identifier: Apache-2.0 */

/*
 * chain - carries a request through its filters.
 *
 *   received -> routed -> request_headers -> request_body -> response_headers -> response_body ->
 *   over
 *                              | pause: body is held behind the filter that paused
 *                              | reply: straight to response_headers
 *
 * `next` is the filter whose on_request_headers runs next; bodies pass the filters before it.  A
 * request that is over is told to each filter that saw its head, then logged, once.  Its memory is
 * the exchange's pool.
 */

#include "filter/chain.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

struct cn_chain_state_s {
    cn_task_t      resume;
    cn_request_t  *request;
    uint32_t       next;                /* filters before it have seen the head */
    bool           paused;
    /* on_request_headers is running: a resume from within needs no task */
    bool           starting;
    bool           responding;          /* the response's head went down */
    bool           response_ended;
    bool           over;
    cn_chain_t     held;
    cn_headers_t  *trailers;            /* held */
};

#define MODULES_MAX  64


static const cn_table_filter_t *
chain_filters(const cn_request_t *request, uint32_t *count)
{
    if (request->chain == NULL) {
        *count = 0;
        return NULL;
    }

    *count = request->chain->filters.count;

    return CN_BLOCK_ITEMS(request->service_block, request->chain->filters, cn_table_filter_t);
}


static const void *
filter_config(const cn_request_t *request, const cn_table_filter_t *filter)
{
    return cn_block_at(request->service_block, filter->config);
}


static uint16_t
module_index(const cn_module_t *module)
{
    uint16_t  i = 0;

    while (cn_modules[i] != module) {
        CN_BUG_ON(cn_modules[i] == NULL || i + 1 >= MODULES_MAX);
        i++;
    }

    return i;
}


void *
cn_worker_state(cn_worker_env_t *env, const cn_module_t *module, size_t size)
{
    uint16_t  index = module_index(module);

    if (env->module_states[index] == NULL) {
        env->module_states[index] = cn_alloc_zero(size);
    }

    return env->module_states[index];
}


void *
cn_request_context(cn_request_t *request, const cn_module_t *module)
{
    uint16_t  index = module_index(module);

    if (request->contexts == NULL) {
        request->contexts = cn_pool_alloc_zero(request->pool, MODULES_MAX * sizeof(void *));

        if (request->contexts == NULL) {
            return NULL;
        }
    }

    if (request->contexts[index] == NULL) {
        request->contexts[index] = cn_pool_alloc_zero(request->pool, module->ctx_size);
    }

    return request->contexts[index];
}


static const void *
find_config(const cn_block_t *block, cn_rel_array_t filters, uint16_t module)
{
    const cn_table_filter_t  *items = CN_BLOCK_ITEMS(block, filters, cn_table_filter_t);

    for (uint32_t i = 0; i < filters.count; i++) {
        if (items[i].module == module) {
            return cn_block_at(block, items[i].config);
        }
    }

    return NULL;
}


const void *
cn_request_route_config(const cn_request_t *request, const cn_module_t *module)
{
    uint16_t     index;
    const void  *config = NULL;

    if (request->route == NULL) {
        return NULL;
    }

    index = module_index(module);

    if (request->destination != NULL) {
        config = find_config(request->service_block, request->destination->filters, index);
    }

    return config != NULL ? config
                          : find_config(request->service_block, request->route->filters, index);
}


const cn_chain_t *
cn_request_held(const cn_request_t *request)
{
    return &request->chain_state->held;
}


/* ---- the end --------------------------------------------------------------------------------- */

void
cn_request_log(cn_request_t *request)
{
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    if (filters == NULL) {
        for (size_t i = 0; cn_modules[i] != NULL; i++) {
            if (cn_modules[i]->on_log != NULL) {
                cn_modules[i]->on_log(request, NULL);
            }
        }

        return;
    }

    for (uint32_t i = 0; i < count; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_log != NULL) {
            module->on_log(request, filter_config(request, &filters[i]));
        }
    }
}


static void
destroy_filters(cn_request_t *request)
{
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    for (uint32_t i = 0; i < count && i < request->chain_state->next; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_destroy != NULL) {
            module->on_destroy(request, filter_config(request, &filters[i]));
        }
    }
}


static void
finish(cn_request_t *request)
{
    struct cn_chain_state_s  *state = request->chain_state;

    if (state->over) {
        return;
    }

    state->over = true;
    request->phase = CN_REQUEST_OVER;
    request->end_us = cn_clock_us();

    cn_task_cancel(&state->resume);
    destroy_filters(request);
    cn_chain_clear(&state->held);
    cn_request_log(request);

    atomic_fetch_sub_explicit(&request->env->slot->active, 1, memory_order_relaxed);

    if (request->segment != NULL) {
        cn_segment_unpin(request->segment);
        request->segment = NULL;
    }
}


void
cn_request_log_rejected(cn_worker_env_t *env, cn_pool_t *pool, const cn_rejected_t *rejected)
{
    cn_request_t  *request = cn_pool_alloc_zero(pool, sizeof(cn_request_t));
    cn_message_t  *response = cn_pool_alloc_zero(pool, sizeof(cn_message_t));

    if (request == NULL || response == NULL) {
        return;
    }

    response->status = rejected->status;

    *request = (cn_request_t) {
        .env = env,
        .pool = pool,
        .connection = rejected->connection,
        .head = rejected->head,
        .version = rejected->head != NULL ? rejected->head->version : rejected->version,
        .response = response,
        .flags = rejected->flags,
        .details = rejected->details,
        .start_us = cn_clock_us(),
        .end_us = cn_clock_us(),
        .start_wall_ms = cn_clock_wall_ms(),
        .upstream_ms = -1,
        .body_sent = rejected->sent,
        .phase = CN_REQUEST_OVER,
        .local_reply = true,
    };

    if (rejected->head != NULL) {
        request->original_path = rejected->head->path;
    }

    cn_request_log(request);
}


/* ---- response -------------------------------------------------------------------------------- */

static void
broken_downstream(cn_request_t *request)
{
    cn_exchange_reset(request->downstream, CN_RESET_LOCAL);
    finish(request);
}


static void
send_head(cn_request_t *request, cn_message_t *head, bool end)
{
    struct cn_chain_state_s  *state = request->chain_state;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    request->phase = CN_REQUEST_RESPONSE_HEADERS;
    request->response = head;
    state->responding = true;

    for (uint32_t i = count; i > 0; i--) {
        const cn_module_t  *module = cn_modules[filters[i - 1].module];

        if (module->on_response_headers != NULL
            && (i <= state->next || module->on_all_responses))
        {
            module->on_response_headers(request, filter_config(request, &filters[i - 1]), end);
        }
    }

    if (cn_proxy_response_head(request, head) != CN_OK) {
        broken_downstream(request);
        return;
    }

    cn_exchange_send_head(request->downstream, head, end);
    state->response_ended = end;
    request->phase = CN_REQUEST_RESPONSE_BODY;
}


void
cn_request_respond_informational(cn_request_t *request, cn_message_t *head)
{
    if (!request->chain_state->over && !request->chain_state->responding) {
        cn_exchange_send_informational(request->downstream, head);
    }
}


void
cn_request_respond(cn_request_t *request, cn_message_t *head, bool end)
{
    if (request->chain_state->over || request->chain_state->responding) {
        return;
    }

    send_head(request, head, end);
}


void
cn_request_respond_body(cn_request_t *request, cn_slice_t data)
{
    struct cn_chain_state_s  *state = request->chain_state;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    if (state->over || state->response_ended) {
        cn_slice_release(&data);
        return;
    }

    for (uint32_t i = count; i > 0 && data.len > 0; i--) {
        const cn_module_t  *module = cn_modules[filters[i - 1].module];

        if (module->on_response_body != NULL) {
            module->on_response_body(request, filter_config(request, &filters[i - 1]), &data);
        }
    }

    if (data.len == 0) {
        return;
    }

    request->body_sent += data.len;
    cn_exchange_send_body(request->downstream, data);
}


void
cn_request_respond_end(cn_request_t *request, cn_headers_t *trailers)
{
    struct cn_chain_state_s  *state = request->chain_state;

    if (state->over || state->response_ended) {
        return;
    }

    state->response_ended = true;
    cn_exchange_send_end(request->downstream, trailers);
}


void
cn_request_respond_reset(cn_request_t *request, uint32_t flags, const char *details)
{
    if (request->chain_state->over) {
        return;
    }

    request->flags |= flags;
    request->details = details;
    broken_downstream(request);
}


cn_status_t
cn_request_reply_header(cn_request_t *request, cn_bytes_t name, cn_bytes_t value)
{
    request->reply_headers.pool = request->pool;

    return cn_headers_add(&request->reply_headers, name, value);
}


cn_verdict_t
cn_request_reply(cn_request_t *request, uint16_t status, cn_bytes_t body, uint32_t flags,
    const char *details)
{
    struct cn_chain_state_s  *state = request->chain_state;
    cn_message_t             *head;

    if (state->over || state->responding) {
        return CN_REPLIED;
    }

    request->flags |= flags;
    request->details = details;
    request->local_reply = true;
    state->paused = false;
    cn_task_cancel(&state->resume);

    head = cn_reply_build(request, status, &body);

    if (head == NULL) {
        broken_downstream(request);
        return CN_REPLIED;
    }

    send_head(request, head, body.len == 0);

    if (!state->over && body.len > 0) {
        cn_slice_t  slice;

        if (cn_slice_copy(body, NULL, &slice) != CN_OK) {
            broken_downstream(request);
            return CN_REPLIED;
        }

        request->body_sent += slice.len;
        cn_exchange_send_body(request->downstream, slice);
        cn_request_respond_end(request, NULL);
    }

    /* what is held or still comes of the request's body is of no use to anybody */
    if (!state->over && state->held.len > 0) {
        size_t  len = state->held.len;

        cn_chain_clear(&state->held);
        cn_exchange_consumed(request->downstream, len);
    }

    return CN_REPLIED;
}


size_t
cn_request_response_pending(const cn_request_t *request)
{
    return cn_exchange_pending(request->downstream);
}


void
cn_request_body_sent(cn_request_t *request, size_t len)
{
    if (!request->chain_state->over) {
        cn_exchange_consumed(request->downstream, len);
    }
}


/* ---- request --------------------------------------------------------------------------------- */

/*
 * Passes data through the filters from `from` to those that have seen the head; what is left is
 * held.
 */
static void
pass_body(cn_request_t *request, cn_slice_t data, uint32_t from)
{
    struct cn_chain_state_s  *state = request->chain_state;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);
    size_t                    len = data.len;

    for (uint32_t i = from; i < state->next && data.len > 0; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_request_body != NULL) {
            module->on_request_body(request, filter_config(request, &filters[i]), &data);

            if (state->over) {
                cn_slice_release(&data);
                return;
            }
        }
    }

    if (data.len == 0) {
        return;
    }

    if (!state->paused || state->responding) {
        cn_slice_release(&data);
        cn_exchange_consumed(request->downstream, len);
        return;
    }

    if (cn_chain_push(&state->held, data) != CN_OK) {
        cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
    }
}


static void
pass_end(cn_request_t *request, cn_headers_t *trailers, uint32_t from)
{
    struct cn_chain_state_s  *state = request->chain_state;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    /* an upstream may answer first and then wait for the request to end: a stream of gRPC */
    for (uint32_t i = from; i < state->next && !state->over && !request->local_reply; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_request_end != NULL) {
            module->on_request_end(request, filter_config(request, &filters[i]), trailers);
        }
    }
}


/* Runs on_request_headers of the filters from state->next on, until one pauses or replies. */
static void
run_headers(cn_request_t *request, bool end)
{
    struct cn_chain_state_s  *state = request->chain_state;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    request->phase = CN_REQUEST_REQUEST_HEADERS;
    state->starting = true;

    while (state->next < count && !state->over && !state->responding) {
        const cn_table_filter_t  *filter = &filters[state->next];
        const cn_module_t        *module = cn_modules[filter->module];

        state->next++;

        if (module->on_request_headers == NULL) {
            continue;
        }

        switch (module->on_request_headers(request, filter_config(request, filter), end)) {

        case CN_NEXT:
            continue;

        case CN_PAUSE:
            state->paused = true;
            state->starting = false;
            return;

        case CN_REPLIED:
            state->starting = false;
            return;
        }
    }

    state->starting = false;

    if (!state->over && !state->responding) {
        request->phase = CN_REQUEST_REQUEST_BODY;
    }
}


/*
 * What was held goes on in the order in which it came.  It is taken out first: another filter may
 * pause in turn, and then holds it anew behind itself.
 */
static void
pass_held(cn_request_t *request, cn_chain_t *held, uint32_t from)
{
    struct cn_chain_state_s  *state = request->chain_state;

    while (held->len > 0 && !state->over && !state->responding) {
        pass_body(request, cn_chain_pop(held, SIZE_MAX), from);
    }

    if (held->len > 0 && !state->over) {
        cn_exchange_consumed(request->downstream, held->len);
    }

    cn_chain_clear(held);
}


static void
resume_run(cn_task_t *task)
{
    struct cn_chain_state_s  *state = CN_CONTAINER_OF(task, struct cn_chain_state_s, resume);
    cn_request_t             *request = state->request;
    uint32_t                  from = state->next;
    cn_chain_t                held = state->held;
    bool                      end = request->request_ended && held.len == 0
        && state->trailers == NULL;

    if (state->over || state->responding || !state->paused) {
        return;
    }

    state->paused = false;
    state->held = (cn_chain_t) { .account = held.account };
    run_headers(request, end);
    pass_held(request, &held, from);

    if (request->request_ended && !end && !state->over && !state->responding) {
        pass_end(request, state->trailers, from);
    }
}


void
cn_request_resume(cn_request_t *request)
{
    cn_loop_post(request->env->loop, CN_PHASE_READY, &request->chain_state->resume);
}


/* ---- events of the downstream exchange ------------------------------------------------------- */

static void
downstream_body(void *owner, cn_slice_t *data)
{
    cn_request_t  *request = owner;
    cn_slice_t     taken = *data;

    *data = (cn_slice_t) { NULL, NULL, 0 };
    request->body_received += taken.len;

    if (request->chain_state->responding && request->local_reply) {
        cn_exchange_consumed(request->downstream, taken.len);
        cn_slice_release(&taken);
        return;
    }

    pass_body(request, taken, 0);
}


static void
downstream_end(void *owner, cn_headers_t *trailers)
{
    cn_request_t             *request = owner;
    struct cn_chain_state_s  *state = request->chain_state;

    request->request_ended = true;

    if (state->paused && trailers != NULL && trailers->count > 0) {
        cn_headers_t  *copy = cn_pool_alloc_zero(request->pool, sizeof(cn_headers_t));

        if (copy != NULL) {
            copy->pool = request->pool;
        }

        if (copy == NULL || cn_headers_copy(copy, trailers) != CN_OK) {
            cn_request_reply(request, 500, CN_BYTES_NONE, 0, "out_of_memory");
            return;
        }

        state->trailers = copy;
    }

    pass_end(request, trailers, 0);
}


static void
downstream_sent(void *owner, size_t len)
{
    cn_request_t             *request = owner;
    uint32_t                  count;
    const cn_table_filter_t  *filters = chain_filters(request, &count);

    for (uint32_t i = 0; i < count && i < request->chain_state->next; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_response_sent != NULL) {
            module->on_response_sent(request, filter_config(request, &filters[i]), len);
        }
    }
}


static void
downstream_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    cn_request_t  *request = owner;

    switch (reason) {

    case CN_RESET_REMOTE:
    case CN_RESET_REMOTE_REFUSED:
        request->flags |= CN_FLAG(DR);
        request->details = "http2.remote_reset";
        break;

    case CN_RESET_PROTOCOL:
    case CN_RESET_LIMIT:
        request->flags |= CN_FLAG(DPE);
        request->details = detail[0] != '\0' ? detail : "http1.codec_error";
        break;

    default:
        request->flags |= CN_FLAG(DC);
        request->details = "downstream_remote_disconnect";
    }

    finish(request);
}


static void
downstream_over(void *owner)
{
    finish(owner);
}


static const cn_exchange_events_t  downstream_events = {
    .on_body = downstream_body,
    .on_end = downstream_end,
    .on_sent = downstream_sent,
    .on_reset = downstream_reset,
    .on_over = downstream_over,
};


/* ---- the start ------------------------------------------------------------------------------- */

/* Chain, route and destination; CN_REPLIED when there is none. */
static cn_verdict_t
route_request(cn_request_t *request, const cn_target_t *target)
{
    bool  error = false;

    if (target->block == NULL) {
        return cn_request_reply(request, 404, CN_BYTES_NONE, CN_FLAG(NR), "route_not_found");
    }

    request->segment = target->segment;
    cn_segment_pin(target->segment);
    request->service_block = target->block;
    request->service = cn_block_root(target->block);
    request->chain = cn_service_chain(target->block, target->port);

    if (request->chain == NULL) {
        return cn_request_reply(request, 404, CN_BYTES_NONE, CN_FLAG(NR), "route_not_found");
    }

    if (cn_proxy_request_head(request) == CN_REPLIED) {
        return CN_REPLIED;
    }

    cn_match_input_init(&request->input, request->head, request->connection, target->port);
    request->input.random = cn_random();
    request->route = cn_route_find(target->block, request->chain, &request->input, &error);
    request->phase = CN_REQUEST_ROUTED;

    if (request->chain->refused) {
        return cn_request_reply(request, 403, CN_BYTES("RBAC: access denied"), 0,
                                "configuration_refused");
    }

    if (error) {
        return cn_request_reply(request, 500, CN_BYTES_NONE, 0, "route_match_failed");
    }

    if (request->route != NULL) {
        request->destination = cn_route_destination(target->block, request->route,
                                                    &request->input);
    }

    if (request->destination != NULL) {
        request->upstream_cluster = cn_block_bytes(target->block,
                                                   request->destination->cluster_name);
    }

    return CN_NEXT;
}


void
cn_request_start(cn_worker_env_t *env, cn_exchange_t *exchange, cn_message_t *head, bool end,
    const cn_target_t *target)
{
    cn_request_t             *request = cn_pool_alloc_zero(exchange->pool, sizeof(cn_request_t));
    struct cn_chain_state_s  *state = cn_pool_alloc_zero(exchange->pool,
                                                         sizeof(struct cn_chain_state_s));

    if (request == NULL || state == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    request->env = env;
    request->pool = exchange->pool;
    request->downstream = exchange;
    request->connection = exchange->connection;
    request->phase = CN_REQUEST_RECEIVED;
    request->head = head;
    request->version = head->version;
    request->original_path = head->path;
    request->start_us = cn_clock_us();
    request->start_wall_ms = cn_clock_wall_ms();
    request->upstream_ms = -1;
    request->request_ended = end;
    request->chain_state = state;
    state->request = request;
    state->resume.run = resume_run;

    atomic_fetch_add_explicit(&env->slot->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&env->slot->active, 1, memory_order_relaxed);
    cn_exchange_set_owner(exchange, &downstream_events, request);

    if (route_request(request, target) == CN_NEXT) {
        run_headers(request, end);
    }
}
