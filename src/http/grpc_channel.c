/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc_channel - the connection of gRPC calls; see grpc_client.h for its states.
 *
 * Whatever may raise an event runs from the loop: the work task, the timer, the session's events.
 * Each event may close the channel, which lives until the end of the turn: after one, its state is
 * looked at again.  A connection that takes no more calls (GOAWAY) leaves: it ends with its last
 * one, and the next call begins another.
 */

#include "http/grpc_internal.h"

#include "base/clock.h"

#include <stdio.h>

#define POOL_SIZE              2048
#define CONNECT_TIMEOUT_MS     5000
#define KEEPALIVE_MS           30000
#define KEEPALIVE_TIMEOUT_MS   10000
#define BACKOFF_MIN_MS         500
#define BACKOFF_MAX_MS         30000
#define MESSAGE_MAX            (64u << 20)


void
grpc_channel_post(cn_grpc_channel_t *channel)
{
    cn_loop_post(channel->loop, CN_PHASE_READY, &channel->work);
}


/*
 * --- back-off ----------------------------------------------------------------------------------
 */

/* Counted from the attempt's beginning: one that took long was waiting enough. */
static void
back_off(cn_grpc_channel_t *channel)
{
    channel->next_attempt_ms = channel->attempt_ms + cn_backoff_next(&channel->backoff);
}


static void
reset_backoff(cn_grpc_channel_t *channel)
{
    cn_backoff_reset(&channel->backoff);
    channel->next_attempt_ms = channel->attempt_ms + cn_backoff_delay(&channel->backoff);
}


/*
 * --- attempts ----------------------------------------------------------------------------------
 */

static void
note_failure(cn_grpc_channel_t *channel, const cn_address_t *address, const char *what,
    const char *detail)
{
    char  text[CN_ADDRESS_TEXT_MAX];

    cn_address_print(address, text);
    (void) snprintf(channel->why, sizeof(channel->why), "%s: %s%s%s", text, what,
                    detail[0] != '\0' ? ": " : "", detail);
}


static void
fail_attempt(cn_grpc_channel_t *channel)
{
    cn_timer_cancel(&channel->timer);
    channel->state = GRPC_FAILED;
    grpc_channel_post(channel);
}


static const cn_session_events_t  session_events;


/* Begins with the next address that there are means for; none left: the attempt has failed. */
static void
connect_next(cn_grpc_channel_t *channel)
{
    channel->current = NULL;

    while (channel->address_next < channel->address_count) {
        const cn_address_t  *address = &channel->addresses[channel->address_next++];

        channel->current = grpc_connection_open(channel, address, &session_events);

        if (channel->current != NULL) {
            cn_timer_set(channel->loop, &channel->timer, channel->config.connect_timeout_ms);
            return;
        }

        note_failure(channel, address, "no connection can be begun", "");
    }

    fail_attempt(channel);
}


static void
begin_attempt(cn_grpc_channel_t *channel)
{
    channel->state = GRPC_RESOLVING;
    channel->attempts++;
    channel->attempt_ms = cn_clock_ms();
    cn_timer_set(channel->loop, &channel->timer, channel->config.connect_timeout_ms);
    channel->events->on_resolve(channel->owner);
}


void
cn_grpc_channel_resolved(cn_grpc_channel_t *channel, const cn_address_t *addresses, size_t count,
    const char *why)
{
    if (channel->state != GRPC_RESOLVING) {
        return;
    }

    cn_timer_cancel(&channel->timer);

    if (channel->config.tls_later && channel->config.tls == NULL) {
        count = 0;
        why = why != NULL ? why : "the server's roots are not known";
    }

    if (count == 0) {
        (void) snprintf(channel->why, sizeof(channel->why), "%s",
                        why != NULL ? why : "there is no address");
        fail_attempt(channel);
        return;
    }

    count = count < CN_GRPC_ADDRESSES_MAX ? count : CN_GRPC_ADDRESSES_MAX;
    memcpy(channel->addresses, addresses, count * sizeof(cn_address_t));
    channel->address_count = count;
    channel->address_next = 0;
    channel->state = GRPC_CONNECTING;
    connect_next(channel);
}


/*
 * --- work --------------------------------------------------------------------------------------
 */

static void
tell_disconnected(cn_grpc_channel_t *channel)
{
    if (channel->state != GRPC_CLOSED && channel->events->on_disconnected != NULL) {
        channel->events->on_disconnected(channel->owner, channel->why);
    }
}


/* The calls that waited for this attempt end; those that begin meanwhile wait for the next. */
static void
tell_failure(cn_grpc_channel_t *channel)
{
    uint64_t  last = channel->attempts++;
    char      why[GRPC_WHY_MAX];

    channel->state = GRPC_IDLE;
    back_off(channel);
    (void) snprintf(why, sizeof(why), "%s", channel->why);

    while (channel->state != GRPC_CLOSED && !cn_list_empty(&channel->waiting)) {
        cn_grpc_call_t  *call = CN_LIST_ITEM(channel->waiting.next, cn_grpc_call_t, link);

        if (call->attempt > last) {
            break;
        }

        grpc_call_finish(call, CN_GRPC_UNAVAILABLE, cn_bytes_str(why));
    }

    tell_disconnected(channel);
}


/* Sends calls that wait, as far as the connection has room. */
static void
assign_calls(cn_grpc_channel_t *channel)
{
    while (channel->state == GRPC_READY && !cn_list_empty(&channel->waiting)
           && cn_session_room(channel->current->session) > 0)
    {
        grpc_call_assign(CN_LIST_ITEM(channel->waiting.next, cn_grpc_call_t, link),
                         channel->current->session);
    }
}


static void
begin_when_due(cn_grpc_channel_t *channel)
{
    uint64_t  now = cn_clock_ms();

    if (cn_list_empty(&channel->waiting)) {
        return;
    }

    if (now < channel->next_attempt_ms) {
        cn_timer_set(channel->loop, &channel->timer, channel->next_attempt_ms - now);
    } else {
        begin_attempt(channel);
    }
}


static void
work(cn_grpc_channel_t *channel)
{
    if (channel->state == GRPC_FAILED) {
        tell_failure(channel);
    }

    if (channel->state == GRPC_READY) {
        assign_calls(channel);
    }

    if (channel->state == GRPC_IDLE) {
        begin_when_due(channel);
    }
}


static void
on_work(cn_task_t *task)
{
    work(CN_CONTAINER_OF(task, cn_grpc_channel_t, work));
}


static void
on_timer(cn_timer_t *timer)
{
    cn_grpc_channel_t  *channel = CN_CONTAINER_OF(timer, cn_grpc_channel_t, timer);
    grpc_connection_t  *connection = channel->current;

    if (channel->state == GRPC_RESOLVING) {
        (void) snprintf(channel->why, sizeof(channel->why), "name resolution timed out");
        fail_attempt(channel);

    } else if (channel->state == GRPC_CONNECTING) {
        note_failure(channel, &connection->address, "connect timeout", "");
        grpc_connection_drop(connection, CN_CLOSE_TIMEOUT);
        connect_next(channel);

    } else {
        work(channel);                  /* back-off is over */
    }
}


/*
 * --- events of the session ---------------------------------------------------------------------
 */

static void
session_opened(void *owner)
{
    grpc_connection_t  *connection = owner;
    cn_grpc_channel_t  *channel = connection->channel;

    if (connection->tls == NULL
        || cn_bytes_equal(cn_session_info(connection->session)->alpn, CN_BYTES("h2")))
    {
        return;
    }

    note_failure(channel, &connection->address, "the server did not choose HTTP/2 (ALPN)", "");
    grpc_connection_drop(connection, CN_CLOSE_PROTOCOL);
    connect_next(channel);
}


/* It finishes the calls that it has, and ends then. */
static void
leave(cn_grpc_channel_t *channel, grpc_connection_t *connection)
{
    note_failure(channel, &connection->address, "the server goes away", "");
    cn_list_append(&channel->leaving, &connection->link);
    cn_session_drain(connection->session, true);
    channel->current = NULL;
}


static void
session_room(void *owner)
{
    grpc_connection_t  *connection = owner;
    cn_grpc_channel_t  *channel = connection->channel;
    bool                leaving = cn_session_is_leaving(connection->session);

    if (connection != channel->current) {
        return;
    }

    if (channel->state == GRPC_CONNECTING && leaving) {
        leave(channel, connection);
        connect_next(channel);
        return;
    }

    /* the first thing that changes the room of a connection without calls is SETTINGS */
    if (channel->state == GRPC_CONNECTING) {
        cn_timer_cancel(&channel->timer);
        channel->state = GRPC_READY;
        reset_backoff(channel);

        if (channel->events->on_connected != NULL) {
            channel->events->on_connected(channel->owner);
        }

    } else if (leaving) {
        leave(channel, connection);
        channel->state = GRPC_IDLE;
        grpc_channel_post(channel);
        tell_disconnected(channel);
    }

    assign_calls(channel);
}


static void
session_closed(void *owner, cn_close_reason_t reason)
{
    grpc_connection_t  *connection = owner;
    cn_grpc_channel_t  *channel = connection->channel;
    bool                current = connection == channel->current;

    if (current) {
        note_failure(channel, &connection->address,
                     channel->state == GRPC_CONNECTING && reason == CN_CLOSE_END
                     ? "the server closed the connection" : cn_close_reason_name(reason),
                     connection->tls != NULL ? cn_tls_failure(connection->tls) : "");
        channel->current = NULL;
    }

    cn_list_remove(&connection->link);
    cn_free(connection);

    if (current && channel->state == GRPC_CONNECTING) {
        connect_next(channel);

    } else if (current) {
        channel->state = GRPC_IDLE;
        grpc_channel_post(channel);
        tell_disconnected(channel);
    }
}


static const cn_session_events_t  session_events = {
    .on_room = session_room,
    .on_opened = session_opened,
    .on_closed = session_closed,
};


/*
 * --- life --------------------------------------------------------------------------------------
 */

static void
channel_free(cn_task_t *task)
{
    cn_grpc_channel_t  *channel = CN_CONTAINER_OF(task, cn_grpc_channel_t, free);

    cn_tls_context_unref(channel->config.tls);
    cn_pool_destroy(channel->pool);     /* the channel is in it */
}


static void
cancel_all(cn_list_t *calls)
{
    while (!cn_list_empty(calls)) {
        cn_grpc_call_cancel(CN_LIST_ITEM(calls->next, cn_grpc_call_t, link));
    }
}


void
cn_grpc_channel_close(cn_grpc_channel_t *channel)
{
    if (channel == NULL || channel->state == GRPC_CLOSED) {
        return;
    }

    channel->state = GRPC_CLOSED;
    cn_timer_cancel(&channel->timer);
    cn_task_cancel(&channel->work);
    cancel_all(&channel->waiting);
    cancel_all(&channel->running);

    while (!cn_list_empty(&channel->leaving)) {
        grpc_connection_drop(CN_LIST_ITEM(channel->leaving.next, grpc_connection_t, link),
                             CN_CLOSE_LOCAL);
    }

    if (channel->current != NULL) {
        grpc_connection_drop(channel->current, CN_CLOSE_LOCAL);
        channel->current = NULL;
    }

    cn_loop_post(channel->loop, CN_PHASE_FREE, &channel->free);
}


static uint64_t
or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}


/* "name:port", "[v6]:port" or either without a port. */
static cn_bytes_t
host_of(const char *authority)
{
    cn_bytes_t  text = cn_bytes_str(authority);
    size_t      colon = cn_bytes_find_last_octet(text, ':');
    size_t      bracket = cn_bytes_find_octet(text, ']');

    if (text.len > 0 && text.ptr[0] == '[' && bracket != SIZE_MAX) {
        return cn_bytes(text.ptr + 1, bracket - 1);
    }

    return colon == SIZE_MAX ? text : cn_bytes(text.ptr, colon);
}


/* False: memory. */
static bool
copy_config(cn_grpc_channel_t *channel, const cn_grpc_config_t *config)
{
    cn_bytes_t         name = config->server_name != NULL ? cn_bytes_str(config->server_name)
        : host_of(config->authority);
    cn_grpc_config_t  *own = &channel->config;

    *own = *config;
    own->authority = cn_pool_str(channel->pool, cn_bytes_str(config->authority));
    own->server_name = cn_pool_str(channel->pool, name);
    own->connect_timeout_ms = or_default(config->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    own->keepalive_ms = or_default(config->keepalive_ms, KEEPALIVE_MS);
    own->keepalive_timeout_ms = or_default(config->keepalive_timeout_ms, KEEPALIVE_TIMEOUT_MS);
    own->backoff_min_ms = or_default(config->backoff_min_ms, BACKOFF_MIN_MS);
    own->backoff_max_ms = or_default(config->backoff_max_ms, BACKOFF_MAX_MS);
    own->message_max = config->message_max != 0 ? config->message_max : MESSAGE_MAX;

    if (own->tls != NULL) {
        (void) cn_tls_context_ref(own->tls);
    }

    return own->authority != NULL && own->server_name != NULL;
}


cn_grpc_channel_t *
cn_grpc_channel_create(cn_loop_t *loop, const cn_grpc_config_t *config,
    const cn_grpc_channel_events_t *events, void *owner)
{
    cn_pool_t          *pool = cn_pool_create(POOL_SIZE, NULL);
    cn_grpc_channel_t  *channel = pool == NULL ? NULL
        : cn_pool_alloc_zero(pool, sizeof(cn_grpc_channel_t));

    if (channel == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    channel->loop = loop;
    channel->pool = pool;
    channel->events = events;
    channel->owner = owner;
    channel->timer.run = on_timer;
    channel->work.run = on_work;
    channel->free.run = channel_free;
    cn_list_init(&channel->leaving);
    cn_list_init(&channel->waiting);
    cn_list_init(&channel->running);

    if (!copy_config(channel, config)) {
        channel_free(&channel->free);
        return NULL;
    }

    channel->backoff = (cn_backoff_t) {
        channel->config.backoff_min_ms, channel->config.backoff_max_ms,
        channel->config.backoff_min_ms,
    };

    return channel;
}


void
cn_grpc_channel_set_tls(cn_grpc_channel_t *channel, cn_tls_context_t *tls)
{
    cn_tls_context_t  *old = channel->config.tls;

    CN_BUG_ON(tls == NULL);
    channel->config.tls = cn_tls_context_ref(tls);
    cn_tls_context_unref(old);
}


bool
cn_grpc_channel_is_connected(const cn_grpc_channel_t *channel)
{
    return channel->state == GRPC_READY;
}
