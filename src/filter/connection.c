/* SPDX-License-Identifier: Apache-2.0 */

/*
 * connection - splices a client's stream with one to an endpoint.
 *
 * Each direction ends on its own.  Credit goes back to one side when the other has sent the bytes,
 * so that a slow reader holds back who writes to it and nobody else.  A side that breaks off takes
 * the other along, after what it had said has left.  The tables are asked anew at each step:
 * nothing of them is pinned for as long as a connection may live.
 */

#include "filter/connection.h"

#include "base/clock.h"

#define TRIED_MAX     3                 /* endpoints that are dialled for one connection */
#define REPORT_MS     5000              /* between two reports to the modules */
#define IDLE_MS       (60u * 60 * 1000) /* where nothing else is said; Istio's default */

typedef enum { CONN_WAITING, CONN_DIALLING, CONN_OPEN, CONN_OVER } conn_state_t;

struct cn_connection_s {
    cn_request_t                   request;     /* what modules see; it has no head */
    cn_stream_info_t               info;        /* the client's, in our pool */
    const cn_connection_events_t  *events;
    void                          *owner;
    conn_state_t                   state;
    cn_stream_t                   *down;        /* NULL: not ours yet, or closed */
    cn_stream_t                   *up;          /* NULL: none, or closed */
    bool                           spliced;     /* the client's stream was given to us */
    bool                           begun;       /* policy was asked */
    bool                           refused;
    bool                           down_ended;  /* the client has ended its direction */
    bool                           broken;      /* down is reset when what waits has left */
    cn_close_reason_t              reason;      /* with which down is closed */
    cn_chain_t                     held;        /* of the client, while nobody takes it */
    cn_host_t                      host;
    bool                           host_held;
    cn_address_t                   tried[TRIED_MAX];
    size_t                         tried_count;
    uint32_t                       idle_ms;
    uint64_t                       active_ms;   /* when something was last heard or left */
    cn_timer_t                     connect;
    cn_timer_t                     idle;
    cn_timer_t                     longest;
    cn_timer_t                     report;
    cn_task_t                      ending;
    cn_task_t                      free;
};


/* ---- modules --------------------------------------------------------------------------------- */

/* The service as it is now; within one event only. */
static void
bind_tables(cn_connection_t *connection)
{
    cn_request_t  *request = &connection->request;
    cn_target_t    target = connection->events->target(connection->owner);

    request->service_block = target.block;
    request->service = target.block == NULL ? NULL : cn_block_root(target.block);
    request->chain = target.block == NULL ? NULL : cn_service_chain(target.block, target.port);
    request->input = (cn_match_input_t) { .connection = &connection->info, .port = target.port };
}


static const cn_table_filter_t *
filters_of(const cn_request_t *request, uint32_t *count)
{
    *count = request->chain == NULL ? 0 : request->chain->filters.count;

    return *count == 0 ? NULL : CN_BLOCK_ITEMS(request->service_block, request->chain->filters,
                                               cn_table_filter_t);
}


static void
report(cn_connection_t *connection, bool over)
{
    cn_request_t             *request = &connection->request;
    uint32_t                  count;
    const cn_table_filter_t  *filters;

    bind_tables(connection);
    filters = filters_of(request, &count);

    for (uint32_t i = 0; i < count; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_connection_report != NULL) {
            module->on_connection_report(request, cn_block_at(request->service_block,
                                                              filters[i].config), over);
        }
    }
}


static void
report_due(cn_timer_t *timer)
{
    cn_connection_t  *connection = CN_CONTAINER_OF(timer, cn_connection_t, report);

    report(connection, false);
    cn_timer_set(connection->request.env->loop, timer, REPORT_MS);
}


void
cn_request_refuse(cn_request_t *request, uint32_t flags, const char *details)
{
    request->flags |= flags;
    request->details = details;
}


static void
refuse(cn_connection_t *connection, uint32_t flags, const char *details)
{
    cn_request_refuse(&connection->request, flags, details);
    connection->refused = true;
}


/* Asks the filters, once. */
static void
begin(cn_connection_t *connection)
{
    cn_request_t             *request = &connection->request;
    uint32_t                  count;
    const cn_table_filter_t  *filters;

    if (connection->begun) {
        return;
    }

    connection->begun = true;
    bind_tables(connection);

    if (request->chain == NULL) {
        refuse(connection, CN_FLAG(NR), "filter_chain_not_found");
        return;
    }

    if (request->chain->refused) {
        refuse(connection, 0, "configuration_refused");
        return;
    }

    filters = filters_of(request, &count);

    for (uint32_t i = 0; i < count && !connection->refused; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->on_connection != NULL
            && module->on_connection(request, cn_block_at(request->service_block,
                                                          filters[i].config)) == CN_REPLIED)
        {
            connection->refused = true;
        }
    }
}


/* ---- the end --------------------------------------------------------------------------------- */

static void
connection_free(cn_task_t *task)
{
    cn_connection_t  *connection = CN_CONTAINER_OF(task, cn_connection_t, free);

    cn_chain_clear(&connection->held);
    cn_pool_destroy(connection->request.pool);
    cn_free(connection);
}


static void
release_host(cn_connection_t *connection)
{
    if (connection->host_held) {
        connection->host_held = false;
        cn_upstream_release(connection->request.env->upstream, &connection->host);
    }
}


static void
drop_upstream(cn_connection_t *connection)
{
    cn_timer_cancel(&connection->connect);

    if (connection->up != NULL) {
        cn_stream_close(connection->up, CN_CLOSE_RESET);
        connection->up = NULL;
    }

    release_host(connection);
}


/* Closes both streams, reports and logs. */
static void
end_all(cn_connection_t *connection, cn_close_reason_t reason)
{
    cn_request_t  *request = &connection->request;

    connection->state = CONN_OVER;
    cn_timer_cancel(&connection->idle);
    cn_timer_cancel(&connection->longest);
    cn_timer_cancel(&connection->report);
    cn_task_cancel(&connection->ending);
    drop_upstream(connection);

    if (connection->down != NULL) {
        cn_stream_close(connection->down, reason);
        connection->down = NULL;
    }

    if (connection->spliced) {
        request->end_us = cn_clock_us();
        request->phase = CN_REQUEST_OVER;
        report(connection, true);
        cn_request_log(request);
    }

    cn_loop_post(request->env->loop, CN_PHASE_FREE, &connection->free);
}


/* From an event only. */
static void
finish(cn_connection_t *connection, cn_close_reason_t reason)
{
    if (connection->state != CONN_OVER) {
        end_all(connection, reason);
        connection->events->on_over(connection->owner);
    }
}


static void
ending_run(cn_task_t *task)
{
    cn_connection_t  *connection = CN_CONTAINER_OF(task, cn_connection_t, ending);

    finish(connection, connection->reason);
}


/* Ends by the ready queue, so that a call down raises nothing. */
static void
finish_later(cn_connection_t *connection, cn_close_reason_t reason)
{
    connection->reason = reason;
    cn_loop_post(connection->request.env->loop, CN_PHASE_READY, &connection->ending);
}


/* The upstream broke off: the client hears what it said before, then that it broke off. */
static void
break_off(cn_connection_t *connection)
{
    connection->broken = true;

    if (connection->down == NULL || cn_stream_pending(connection->down) == 0) {
        finish(connection, CN_CLOSE_RESET);
    }
}


void
cn_connection_close(cn_connection_t *connection, cn_close_reason_t reason)
{
    if (connection->state != CONN_OVER) {
        end_all(connection, reason);
    }
}


/* ---- timeouts -------------------------------------------------------------------------------- */

static void
touch(cn_connection_t *connection)
{
    connection->active_ms = cn_clock_ms();
}


static void
idle_due(cn_timer_t *timer)
{
    cn_connection_t  *connection = CN_CONTAINER_OF(timer, cn_connection_t, idle);
    uint64_t          silent = cn_clock_ms() - connection->active_ms;

    if (silent < connection->idle_ms) {
        cn_timer_set(connection->request.env->loop, timer, connection->idle_ms - silent);
        return;
    }

    connection->request.details = "tcp_session_idle_timeout";
    finish(connection, CN_CLOSE_TIMEOUT);
}


static void
too_long(cn_timer_t *timer)
{
    cn_connection_t  *connection = CN_CONTAINER_OF(timer, cn_connection_t, longest);

    cn_request_refuse(&connection->request, CN_FLAG(DT), "max_duration_timeout");
    finish(connection, CN_CLOSE_TIMEOUT);
}


/* ---- the upstream ---------------------------------------------------------------------------- */

static void dial_next(cn_connection_t *connection);


/* Nobody answers: the client is told, if it is ours; otherwise it may be dialled again. */
static void
no_upstream(cn_connection_t *connection, uint32_t flags)
{
    connection->state = CONN_WAITING;
    connection->tried_count = 0;

    if (connection->spliced) {
        connection->request.flags |= flags;
        finish_later(connection, CN_CLOSE_RESET);
    }
}


static void
dial_failed(cn_connection_t *connection, cn_close_reason_t reason)
{
    drop_upstream(connection);
    connection->request.transport_failure = reason == CN_CLOSE_CONNECT_REFUSED
                                            ? "delayed_connect_error:_Connection_refused" : NULL;

    if (connection->tried_count < TRIED_MAX) {
        dial_next(connection);

    } else {
        no_upstream(connection, CN_FLAG(UF) | CN_FLAG(URX));
    }
}


static void
connect_due(cn_timer_t *timer)
{
    dial_failed(CN_CONTAINER_OF(timer, cn_connection_t, connect), CN_CLOSE_CONNECT_TIMEOUT);
}


/* What the client said while nobody took it. */
static void
send_held(cn_connection_t *connection)
{
    while (connection->held.len > 0) {
        cn_stream_write(connection->up, cn_chain_pop(&connection->held, SIZE_MAX));
    }

    if (connection->down_ended) {
        cn_stream_end(connection->up);
    }
}


static void
up_opened(void *owner)
{
    cn_connection_t  *connection = owner;

    cn_timer_cancel(&connection->connect);
    connection->state = CONN_OPEN;
    connection->request.transport_failure = NULL;
    touch(connection);

    if (connection->spliced) {
        send_held(connection);
        report_due(&connection->report);
    }
}


static void
up_data(void *owner, cn_slice_t *data)
{
    cn_connection_t  *connection = owner;
    cn_slice_t        taken = *data;

    *data = (cn_slice_t) { NULL, NULL, 0 };
    touch(connection);

    if (!connection->spliced) {
        connection->events->on_spoken(connection->owner);
    }

    if (connection->down == NULL) {
        cn_slice_release(&taken);
        return;
    }

    connection->request.body_sent += taken.len;
    cn_stream_write(connection->down, taken);
}


static void
up_ended(void *owner)
{
    cn_connection_t  *connection = owner;

    touch(connection);

    if (!connection->spliced) {
        connection->events->on_spoken(connection->owner);
    }

    if (connection->down != NULL) {
        cn_stream_end(connection->down);
    }
}


static void
up_sent(void *owner, size_t len)
{
    cn_connection_t  *connection = owner;

    touch(connection);

    if (connection->down != NULL) {
        cn_stream_consumed(connection->down, len);
    }
}


static void
up_closed(void *owner, cn_close_reason_t reason)
{
    cn_connection_t  *connection = owner;

    connection->up = NULL;

    if (connection->state == CONN_DIALLING) {
        dial_failed(connection, reason);

    } else if (!connection->spliced) {
        release_host(connection);
        no_upstream(connection, 0);

    } else if (reason != CN_CLOSE_END) {
        break_off(connection);

    } else if (connection->down == NULL) {
        finish(connection, CN_CLOSE_LOCAL);
    }
}


static const cn_stream_events_t  up_events = {
    .on_opened = up_opened,
    .on_data = up_data,
    .on_ended = up_ended,
    .on_sent = up_sent,
    .on_closed = up_closed,
};


static bool
is_tried(const cn_connection_t *connection)
{
    for (size_t i = 0; i < connection->tried_count; i++) {
        if (memcmp(&connection->tried[i], &connection->host.address, sizeof(cn_address_t)) == 0) {
            return true;
        }
    }

    return false;
}


/* False: there is nobody, or nobody else, and why is told. */
static bool
choose_host(cn_connection_t *connection)
{
    cn_request_t  *request = &connection->request;
    uint32_t       cluster;

    bind_tables(connection);
    cluster = request->chain == NULL ? 0 : request->chain->tcp_cluster;

    switch (cn_upstream_choose(request->env->upstream, cluster, connection->tried,
                               connection->tried_count, TRIED_MAX * 2, &connection->host)) {

    case CN_CHOICE_OK:
        connection->host_held = true;

        if (is_tried(connection)) {
            release_host(connection);
            no_upstream(connection, CN_FLAG(UF) | CN_FLAG(URX));
            return false;
        }

        connection->tried[connection->tried_count++] = connection->host.address;
        request->host = &connection->host;
        return true;

    case CN_CHOICE_NO_CLUSTER:
        no_upstream(connection, CN_FLAG(NC));
        return false;

    case CN_CHOICE_OVERFLOW:
        no_upstream(connection, CN_FLAG(UO));
        return false;

    case CN_CHOICE_NO_HEALTHY_HOST:
    default:
        no_upstream(connection, CN_FLAG(UH));
        return false;
    }
}


/* The cluster's name is for the log, which may come when there is no such cluster any more. */
static void
name_cluster(cn_connection_t *connection)
{
    cn_request_t              *request = &connection->request;
    const cn_block_t          *block = cn_tables_cluster(request->env->tables,
                                                         connection->host.cluster, NULL);
    const cn_table_cluster_t  *cluster;

    if (block == NULL || request->upstream_cluster.len > 0) {
        return;
    }

    cluster = cn_block_root(block);

    if (cn_pool_copy(request->pool, cn_block_bytes(block, cluster->name),
                     &request->upstream_cluster) != CN_OK)
    {
        request->upstream_cluster = CN_BYTES_NONE;
    }
}


static void
dial_next(cn_connection_t *connection)
{
    cn_request_t  *request = &connection->request;

    if (!choose_host(connection)) {
        return;
    }

    name_cluster(connection);
    request->tries++;
    connection->state = CONN_DIALLING;
    connection->up = cn_upstream_stream(request->env->upstream, &connection->host);

    if (connection->up == NULL) {
        dial_failed(connection, CN_CLOSE_LIMIT);
        return;
    }

    cn_stream_set_owner(connection->up, &up_events, connection);
    cn_timer_set(request->env->loop, &connection->connect, connection->host.connect_timeout_ms);
}


void
cn_connection_dial(cn_connection_t *connection)
{
    begin(connection);

    if (!connection->refused && connection->state == CONN_WAITING) {
        dial_next(connection);
    }
}


/* ---- the client ------------------------------------------------------------------------------ */

static void
take_octets(cn_connection_t *connection, cn_slice_t octets)
{
    connection->request.body_received += octets.len;

    if (connection->state == CONN_OPEN && connection->up != NULL) {
        cn_stream_write(connection->up, octets);

    } else if (connection->up == NULL && connection->state == CONN_OPEN) {
        /* the upstream wants no more: it has ended both ways */
        cn_stream_consumed(connection->down, octets.len);
        cn_slice_release(&octets);

    } else if (cn_chain_push(&connection->held, octets) != CN_OK) {
        finish_later(connection, CN_CLOSE_LIMIT);
    }
}


static void
down_data(void *owner, cn_slice_t *data)
{
    cn_connection_t  *connection = owner;
    cn_slice_t        taken = *data;

    *data = (cn_slice_t) { NULL, NULL, 0 };
    touch(connection);
    take_octets(connection, taken);
}


static void
down_ended(void *owner)
{
    cn_connection_t  *connection = owner;

    touch(connection);
    connection->down_ended = true;

    if (connection->state == CONN_OPEN && connection->up != NULL) {
        cn_stream_end(connection->up);
    }
}


static void
down_sent(void *owner, size_t len)
{
    cn_connection_t  *connection = owner;

    touch(connection);

    if (connection->up != NULL) {
        cn_stream_consumed(connection->up, len);
    }

    if (connection->broken && cn_stream_pending(connection->down) == 0) {
        finish(connection, CN_CLOSE_RESET);
    }
}


static void
down_closed(void *owner, cn_close_reason_t reason)
{
    cn_connection_t  *connection = owner;

    connection->down = NULL;

    /* what the client said last may still be on its way */
    if (reason == CN_CLOSE_END && connection->up != NULL && connection->state == CONN_OPEN) {
        return;
    }

    finish(connection, reason);
}


static const cn_stream_events_t  down_events = {
    .on_data = down_data,
    .on_ended = down_ended,
    .on_sent = down_sent,
    .on_closed = down_closed,
};


static void
start_timers(cn_connection_t *connection)
{
    const cn_table_chain_t  *chain = connection->request.chain;
    cn_loop_t               *loop = connection->request.env->loop;

    connection->idle_ms = chain->tcp_idle_timeout_ms > 0 ? chain->tcp_idle_timeout_ms : IDLE_MS;
    touch(connection);
    cn_timer_set(loop, &connection->idle, connection->idle_ms);

    if (chain->tcp_max_duration_ms > 0) {
        cn_timer_set(loop, &connection->longest, chain->tcp_max_duration_ms);
    }
}


void
cn_connection_splice(cn_connection_t *connection, cn_stream_t *stream, cn_slice_t octets)
{
    connection->down = stream;
    connection->spliced = true;
    cn_stream_set_owner(stream, &down_events, connection);
    begin(connection);

    if (connection->refused) {
        connection->request.body_received = octets.len;
        cn_slice_release(&octets);
        finish_later(connection, CN_CLOSE_RESET);
        return;
    }

    bind_tables(connection);

    if (connection->request.chain == NULL) {
        refuse(connection, CN_FLAG(NR), "filter_chain_not_found");
        finish_later(connection, CN_CLOSE_RESET);
        cn_slice_release(&octets);
        return;
    }

    start_timers(connection);

    if (octets.len > 0) {
        take_octets(connection, octets);
    }

    if (connection->state == CONN_OPEN) {
        report_due(&connection->report);

    } else {
        cn_connection_dial(connection);
    }
}


static cn_status_t
copy_info(cn_connection_t *connection, const cn_stream_info_t *info)
{
    cn_bytes_t  *texts[] = {
        &connection->info.authority, &connection->info.peer_principal,
        &connection->info.local_principal, &connection->info.alpn, &connection->info.sni,
    };

    connection->info = *info;

    for (size_t i = 0; i < CN_COUNT_OF(texts); i++) {
        if (texts[i]->len > 0
            && cn_pool_copy(connection->request.pool, *texts[i], texts[i]) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


cn_connection_t *
cn_connection_create(cn_worker_env_t *env, const cn_stream_info_t *info,
    const cn_connection_events_t *events, void *owner)
{
    cn_connection_t  *connection = cn_alloc_zero(sizeof(cn_connection_t));

    if (connection == NULL) {
        return NULL;
    }

    connection->events = events;
    connection->owner = owner;
    connection->connect.run = connect_due;
    connection->idle.run = idle_due;
    connection->longest.run = too_long;
    connection->report.run = report_due;
    connection->ending.run = ending_run;
    connection->free.run = connection_free;
    connection->held.account = &env->account;
    connection->request = (cn_request_t) {
        .env = env,
        .pool = cn_pool_create(1024, &env->account),
        .connection = &connection->info,
        .start_us = cn_clock_us(),
        .start_wall_ms = cn_clock_wall_ms(),
        .upstream_ms = -1,
        .raw = true,
    };

    if (connection->request.pool == NULL || copy_info(connection, info) != CN_OK) {
        connection_free(&connection->free);
        return NULL;
    }

    return connection;
}
