/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pool - client sessions to an endpoint, kept for the next request.
 *
 *   member: opened -> busy -> idle -> busy -> ... -> closed
 *
 * The one used last is taken first, so that the others can grow old and go.  A pool's key has the
 * workload's uid: an address that passed to another pod gets another pool.
 */

#include "upstream/internal.h"

typedef struct {
    cn_upstream_t  *upstream;
    /* that used it last: whose endpoints tell whether the host is still there */
    uint32_t        cluster;
    cn_address_t    address;
    char            uid[128];
    cn_list_t       idle;               /* last used first */
    cn_list_t       busy;
    uint32_t        idle_timeout_ms;
    uint32_t        streams;            /* that its last session took at a time; 0: not known */
    bool            gone;               /* no longer an endpoint: nothing is kept for later */
    size_t          key_len;
    uint8_t         key[];
} pool_t;

typedef struct {
    cn_list_t      link;
    pool_t        *pool;
    cn_session_t  *session;
    cn_timer_t     expiry;
    bool           is_idle;
    bool           is_tunnel;
} member_t;


static size_t
make_key(const cn_host_t *host, uint8_t *key)
{
    size_t  uid_len = strlen(host->uid) + 1;
    size_t  principal_len = strlen(host->principal) + 1;

    memcpy(key, host->address.ip, 16);
    memcpy(key + 16, &host->address.port, 2);
    memcpy(key + 18, &host->hbone_port, 2);
    key[20] = host->http2;
    memcpy(key + 21, host->uid, uid_len);
    memcpy(key + 21 + uid_len, host->principal, principal_len);

    return 21 + uid_len + principal_len;
}


static pool_t *
pool_get(cn_upstream_t *upstream, const cn_host_t *host)
{
    uint8_t   key[21 + sizeof(host->uid) + sizeof(host->principal)];
    size_t    len = make_key(host, key);
    pool_t   *pool = cn_map_get(upstream->pools, cn_bytes(key, len));

    if (pool != NULL) {
        pool->cluster = host->cluster;
        pool->gone = false;
        return pool;
    }

    pool = cn_alloc_zero(sizeof(pool_t) + len);

    if (pool == NULL) {
        return NULL;
    }

    pool->upstream = upstream;
    pool->cluster = host->cluster;
    pool->address = host->address;
    pool->idle_timeout_ms = host->idle_timeout_ms;
    pool->key_len = len;
    memcpy(pool->uid, host->uid, sizeof(pool->uid));
    memcpy(pool->key, key, len);
    cn_list_init(&pool->idle);
    cn_list_init(&pool->busy);

    if (cn_map_set(upstream->pools, cn_bytes(key, len), pool) != CN_OK) {
        cn_free(pool);
        return NULL;
    }

    return pool;
}


static void
pool_drop_if_empty(pool_t *pool)
{
    if (cn_list_empty(&pool->idle) && cn_list_empty(&pool->busy)) {
        cn_map_remove(pool->upstream->pools, cn_bytes(pool->key, pool->key_len));
        cn_free(pool);
    }
}


static void
set_idle(member_t *member, bool idle)
{
    pool_t  *pool = member->pool;

    if (member->is_idle == idle) {
        return;
    }

    member->is_idle = idle;
    cn_list_remove(&member->link);

    if (idle) {
        cn_list_prepend(&pool->idle, &member->link);
        pool->upstream->stats.idle++;

        if (pool->idle_timeout_ms > 0) {
            cn_timer_set(pool->upstream->env.loop, &member->expiry, pool->idle_timeout_ms);
        }

    } else {
        cn_list_append(&pool->busy, &member->link);
        pool->upstream->stats.idle--;
        cn_timer_cancel(&member->expiry);
    }
}


/* Forgets a member whose session is gone or going. */
static void
member_forget(member_t *member)
{
    pool_t  *pool = member->pool;

    cn_timer_cancel(&member->expiry);
    cn_list_remove(&member->link);
    pool->upstream->stats.idle -= member->is_idle;

    if (member->is_tunnel) {
        pool->upstream->stats.tunnels--;

    } else {
        pool->upstream->stats.connections--;
    }

    cn_free(member);
    pool_drop_if_empty(pool);
}


static void
member_close(member_t *member, cn_close_reason_t reason)
{
    cn_session_close(member->session, reason);
    member_forget(member);
}


static void
member_expired(cn_timer_t *timer)
{
    member_close(CN_CONTAINER_OF(timer, member_t, expiry), CN_CLOSE_TIMEOUT);
}


static void
member_room(void *owner)
{
    member_t  *member = owner;
    uint32_t   room = cn_session_room(member->session);

    if (room > 0) {
        member->pool->streams = room + cn_session_active(member->session);
    }

    if (room == 0 || cn_session_active(member->session) > 0) {
        return;
    }

    if (member->pool->gone) {
        member_close(member, CN_CLOSE_LOCAL);
        return;
    }

    set_idle(member, true);
}


static void
member_closed(void *owner, cn_close_reason_t reason)
{
    (void) reason;
    member_forget(owner);
}


static const cn_session_events_t  member_events = {
    .on_room = member_room,
    .on_closed = member_closed,
};


static member_t *
member_open(pool_t *pool, const cn_host_t *host)
{
    cn_upstream_t        *upstream = pool->upstream;
    member_t             *member = cn_alloc_zero(sizeof(member_t));
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *stream;

    if (member == NULL) {
        return NULL;
    }

    stream = cn_hbone_stream(upstream, host);

    if (stream == NULL) {
        cn_free(member);
        return NULL;
    }

    member->pool = pool;
    member->expiry.run = member_expired;
    member->is_tunnel = host->hbone_port != 0;
    /* the tunnel's connection is kept alive itself, and gRPC servers take PINGs for an attack */
    limits.ping_interval_ms = 0;
    limits.streams_first = pool->streams;
    member->session = host->http2 ? cn_h2_client(stream, &limits, &member_events, member)
                                  : cn_h1_client(stream, &limits, &member_events, member);

    if (member->session == NULL) {
        cn_stream_close(stream, CN_CLOSE_LIMIT);
        cn_free(member);
        return NULL;
    }

    cn_list_append(&pool->busy, &member->link);

    if (member->is_tunnel) {
        upstream->stats.tunnels++;

    } else {
        upstream->stats.connections++;
    }

    return member;
}


/* An idle member, or a busy HTTP/2 one with room; NULL: none. */
static member_t *
member_find(pool_t *pool, bool http2)
{
    CN_LIST_EACH(&pool->idle, link) {
        member_t  *member = CN_LIST_ITEM(link, member_t, link);

        if (cn_session_room(member->session) > 0) {
            return member;
        }
    }

    if (!http2) {
        return NULL;
    }

    CN_LIST_EACH(&pool->busy, busy_link) {
        member_t  *member = CN_LIST_ITEM(busy_link, member_t, link);

        if (cn_session_room(member->session) > 0) {
            return member;
        }
    }

    return NULL;
}


cn_exchange_t *
cn_upstream_request(cn_upstream_t *upstream, const cn_host_t *host, const cn_message_t *head,
    bool end, cn_pool_t *request_pool, const cn_exchange_events_t *events, void *owner)
{
    pool_t         *pool = pool_get(upstream, host);
    member_t       *member;
    cn_exchange_t  *exchange;

    if (pool == NULL) {
        return NULL;
    }

    member = member_find(pool, host->http2);

    if (member == NULL) {
        member = member_open(pool, host);
    }

    if (member == NULL) {
        pool_drop_if_empty(pool);
        return NULL;
    }

    set_idle(member, false);
    exchange = cn_client_request(member->session, head, end, request_pool, events, owner);

    if (exchange == NULL && cn_session_active(member->session) == 0) {
        member_close(member, CN_CLOSE_LIMIT);
    }

    return exchange;
}


cn_stream_t *
cn_upstream_stream(cn_upstream_t *upstream, const cn_host_t *host)
{
    return cn_hbone_stream(upstream, host);
}


static bool
host_is_there(const cn_tables_t *tables, const pool_t *pool)
{
    const cn_block_t            *block = cn_tables_endpoints(tables, pool->cluster, NULL);
    const cn_table_endpoints_t  *table;
    const cn_table_endpoint_t   *items;

    if (block == NULL) {
        return false;
    }

    table = cn_block_root(block);
    items = CN_BLOCK_ITEMS(block, table->endpoints, cn_table_endpoint_t);

    for (uint32_t i = 0; i < table->endpoints.count; i++) {
        if (items[i].port == pool->address.port
            && memcmp(items[i].ip, pool->address.ip, 16) == 0
            && cn_bytes_equal(cn_block_bytes(block, items[i].uid), cn_bytes_str(pool->uid)))
        {
            return (items[i].flags & CN_ENDPOINT_DRAINING) == 0;
        }
    }

    return false;
}


static void
close_idle(pool_t *pool)
{
    bool  last = cn_list_empty(&pool->idle);

    while (!last) {
        member_t  *member = CN_LIST_ITEM(pool->idle.next, member_t, link);

        /* the pool goes with its last member */
        last = member->link.next == &pool->idle;
        member_close(member, CN_CLOSE_LOCAL);
    }
}


void
cn_upstream_tables_changed(cn_upstream_t *upstream)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (cn_map_next(upstream->pools, &at, &key, &value)) {
        pool_t  *pool = value;

        if (!host_is_there(upstream->env.tables, pool)) {
            pool->gone = true;
            close_idle(pool);
        }
    }
}


static void
close_pools(cn_upstream_t *upstream)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (cn_map_next(upstream->pools, &at, &key, &value)) {
        pool_t  *pool = value;

        cn_list_splice(&pool->idle, &pool->busy);

        for (bool last = cn_list_empty(&pool->idle); !last; ) {
            member_t  *member = CN_LIST_ITEM(pool->idle.next, member_t, link);

            last = member->link.next == &pool->idle;
            member_close(member, CN_CLOSE_DRAIN);
        }
    }
}


cn_upstream_t *
cn_upstream_create(const cn_upstream_env_t *env)
{
    cn_upstream_t  *upstream = cn_alloc_zero(sizeof(cn_upstream_t));

    if (upstream == NULL) {
        return NULL;
    }

    upstream->env = *env;
    upstream->pools = cn_map_create();
    upstream->hbone = cn_map_create();
    upstream->rounds = cn_map_create();

    if (upstream->pools == NULL || upstream->hbone == NULL || upstream->rounds == NULL) {
        cn_upstream_destroy(upstream);
        return NULL;
    }

    return upstream;
}


void
cn_upstream_destroy(cn_upstream_t *upstream)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    if (upstream->pools != NULL) {
        close_pools(upstream);
    }

    if (upstream->hbone != NULL) {
        cn_hbone_close_all(upstream);
    }

    while (upstream->rounds != NULL && cn_map_next(upstream->rounds, &at, &key, &value)) {
        cn_free(value);
    }

    cn_map_destroy(upstream->pools);
    cn_map_destroy(upstream->hbone);
    cn_map_destroy(upstream->rounds);
    cn_tls_context_unref(upstream->identity);
    cn_free(upstream);
}


void
cn_upstream_set_identity(cn_upstream_t *upstream, cn_tls_context_t *context)
{
    cn_tls_context_unref(upstream->identity);
    upstream->identity = context != NULL ? cn_tls_context_ref(context) : NULL;
}


cn_upstream_stats_t
cn_upstream_stats(const cn_upstream_t *upstream)
{
    return upstream->stats;
}
