/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hbone - TLS connections to ztunnels, shared by many tunnels.
 *
 *   target (address:15008, uid, principal) -- connection -- tunnel, tunnel, ...
 *                                          -- connection    (only when the first has no room)
 *
 * A tunnel is asked for at once, also while its connection is still being opened: it waits there,
 * instead of opening another.  A connection without tunnels is closed after a while.
 */

#include "upstream/internal.h"

#include "base/log.h"
#include "http/tunnel.h"
#include "stream/tcp.h"

#define UNUSED_TIMEOUT_MS  60000        /* a connection on which no tunnel is open */

typedef struct {
    cn_upstream_t  *upstream;
    cn_list_t       connections;
    size_t          key_len;
    uint8_t         key[];
} target_t;

typedef struct {
    cn_list_t      link;
    target_t      *target;
    cn_session_t  *session;
    cn_stream_t   *tls;                 /* to say why a handshake failed */
    cn_timer_t     unused;
} connection_t;


static size_t
make_key(const cn_host_t *host, uint8_t *key)
{
    size_t  uid_len = strlen(host->uid) + 1;
    size_t  principal_len = strlen(host->principal) + 1;

    memcpy(key, host->address.ip, 16);
    memcpy(key + 16, &host->hbone_port, 2);
    memcpy(key + 18, host->uid, uid_len);
    memcpy(key + 18 + uid_len, host->principal, principal_len);

    return 18 + uid_len + principal_len;
}


static void
connection_forget(connection_t *connection)
{
    target_t       *target = connection->target;
    cn_upstream_t  *upstream = target->upstream;

    cn_timer_cancel(&connection->unused);
    cn_list_remove(&connection->link);
    cn_free(connection);
    upstream->stats.connections--;

    if (cn_list_empty(&target->connections)) {
        cn_map_remove(upstream->hbone, cn_bytes(target->key, target->key_len));
        cn_free(target);
    }
}


static void
connection_closed(void *owner, cn_close_reason_t reason)
{
    connection_t  *connection = owner;

    if (reason == CN_CLOSE_TLS) {
        char  peer[CN_ADDRESS_TEXT_MAX];

        cn_address_print(&cn_stream_info(connection->tls)->peer, peer);
        cn_log(CN_LOG_WARN, "upstream", "fail handshake: peer=%s reason=\"%s\"", peer,
               cn_tls_failure(connection->tls));
    }

    connection_forget(connection);
}


static void
connection_room(void *owner)
{
    connection_t  *connection = owner;

    if (cn_session_active(connection->session) == 0) {
        cn_timer_set(connection->target->upstream->env.loop, &connection->unused,
                     UNUSED_TIMEOUT_MS);
    }
}


static void
connection_unused(cn_timer_t *timer)
{
    connection_t  *connection = CN_CONTAINER_OF(timer, connection_t, unused);

    if (cn_session_active(connection->session) > 0) {
        return;
    }

    cn_session_close(connection->session, CN_CLOSE_LOCAL);
    connection_forget(connection);
}


static const cn_session_events_t  connection_events = {
    .on_room = connection_room,
    .on_closed = connection_closed,
};


static connection_t *
connection_open(target_t *target, const cn_host_t *host)
{
    cn_upstream_t  *upstream = target->upstream;
    connection_t   *connection = cn_alloc_zero(sizeof(connection_t));
    cn_address_t    to = host->address;
    cn_stream_t    *tcp;

    if (connection == NULL) {
        return NULL;
    }

    to.port = host->hbone_port;
    tcp = cn_tcp_connect(upstream->env.loop, &to, NULL, host->connect_timeout_ms,
                         upstream->env.account);

    if (tcp == NULL) {
        cn_free(connection);
        return NULL;
    }

    connection->tls = cn_tls_connect(tcp, upstream->identity, cn_bytes_str(host->principal),
                                     host->connect_timeout_ms);

    if (connection->tls == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
        cn_free(connection);
        return NULL;
    }

    connection->target = target;
    connection->unused.run = connection_unused;
    connection->session = cn_h2_client(connection->tls, NULL, &connection_events, connection);

    if (connection->session == NULL) {
        cn_stream_close(connection->tls, CN_CLOSE_LIMIT);
        cn_free(connection);
        return NULL;
    }

    cn_list_append(&target->connections, &connection->link);
    upstream->stats.connections++;

    return connection;
}


static target_t *
target_get(cn_upstream_t *upstream, const cn_host_t *host)
{
    uint8_t    key[18 + sizeof(host->uid) + sizeof(host->principal)];
    size_t     len = make_key(host, key);
    target_t  *target = cn_map_get(upstream->hbone, cn_bytes(key, len));

    if (target != NULL) {
        return target;
    }

    target = cn_alloc_zero(sizeof(target_t) + len);

    if (target == NULL) {
        return NULL;
    }

    target->upstream = upstream;
    target->key_len = len;
    memcpy(target->key, key, len);
    cn_list_init(&target->connections);

    if (cn_map_set(upstream->hbone, cn_bytes(key, len), target) != CN_OK) {
        cn_free(target);
        return NULL;
    }

    return target;
}


static connection_t *
connection_with_room(target_t *target)
{
    CN_LIST_EACH(&target->connections, link) {
        connection_t  *connection = CN_LIST_ITEM(link, connection_t, link);

        if (cn_session_room(connection->session) > 0) {
            return connection;
        }
    }

    return NULL;
}


static cn_stream_t *
tunnel_stream(cn_upstream_t *upstream, const cn_host_t *host)
{
    target_t      *target;
    connection_t  *connection;
    char           authority[CN_ADDRESS_TEXT_MAX];
    size_t         len;

    if (upstream->identity == NULL) {
        return NULL;
    }

    target = target_get(upstream, host);

    if (target == NULL) {
        return NULL;
    }

    connection = connection_with_room(target);

    if (connection == NULL) {
        connection = connection_open(target, host);
    }

    if (connection == NULL) {
        if (cn_list_empty(&target->connections)) {
            cn_map_remove(upstream->hbone, cn_bytes(target->key, target->key_len));
            cn_free(target);
        }

        return NULL;
    }

    cn_timer_cancel(&connection->unused);
    len = cn_address_print(&host->address, authority);

    return cn_tunnel_open(connection->session, cn_bytes(authority, len), NULL,
                          upstream->env.account);
}


cn_stream_t *
cn_hbone_stream(cn_upstream_t *upstream, const cn_host_t *host)
{
    if (host->hbone_port != 0) {
        return tunnel_stream(upstream, host);
    }

    return cn_tcp_connect(upstream->env.loop, &host->address, NULL, host->connect_timeout_ms,
                          upstream->env.account);
}


void
cn_hbone_close_all(cn_upstream_t *upstream)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (cn_map_next(upstream->hbone, &at, &key, &value)) {
        target_t  *target = value;
        bool       last = false;

        while (!last) {
            connection_t  *connection = CN_LIST_ITEM(target->connections.next, connection_t, link);

            last = connection->link.next == &target->connections;
            cn_session_close(connection->session, CN_CLOSE_DRAIN);
            connection_forget(connection);
        }
    }
}
