/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_connection - tcp, tls where the channel has a context, and an HTTP/2 session on them. */

#include "http/grpc_internal.h"

#include "stream/tcp.h"

/* For pushes of some MiB without a round trip for each window. */
#define STREAM_WINDOW      (1u << 20)
#define CONNECTION_WINDOW  (4u << 20)
#define STREAMS_MAX        1000         /* where the peer sets no limit */


static cn_stream_t *
open_stream(grpc_connection_t *connection)
{
    const cn_grpc_channel_t  *channel = connection->channel;
    const cn_grpc_config_t   *config = &channel->config;
    cn_stream_t              *tcp = cn_tcp_connect(channel->loop, &connection->address, NULL,
                                                   config->connect_timeout_ms, NULL);

    if (tcp == NULL || config->tls == NULL) {
        return tcp;
    }

    connection->tls = cn_tls_connect_to_server(tcp, config->tls,
                                               cn_bytes_str(config->server_name),
                                               config->connect_timeout_ms);

    if (connection->tls == NULL) {
        cn_stream_close(tcp, CN_CLOSE_LIMIT);
    }

    return connection->tls;
}


static cn_session_t *
open_session(grpc_connection_t *connection, const cn_session_events_t *events)
{
    const cn_grpc_config_t  *config = &connection->channel->config;
    cn_session_limits_t      limits = cn_session_limits_default;
    cn_stream_t             *stream = open_stream(connection);
    cn_session_t            *session;

    if (stream == NULL) {
        return NULL;
    }

    limits.streams_max = STREAMS_MAX;
    limits.streams_first = 0;
    limits.stream_window = STREAM_WINDOW;
    limits.connection_window = CONNECTION_WINDOW;
    limits.ping_interval_ms = (uint32_t) config->keepalive_ms;
    limits.ping_timeout_ms = (uint32_t) config->keepalive_timeout_ms;
    limits.ping_busy = true;            /* servers take more for an attack (keepalive.md) */
    limits.idle_timeout_ms = 0;
    limits.head_timeout_ms = 0;
    session = cn_h2_client(stream, &limits, events, connection);

    if (session == NULL) {
        cn_stream_close(stream, CN_CLOSE_LIMIT);
    }

    return session;
}


grpc_connection_t *
grpc_connection_open(cn_grpc_channel_t *channel, const cn_address_t *address,
    const cn_session_events_t *events)
{
    grpc_connection_t  *connection = cn_alloc_zero(sizeof(grpc_connection_t));

    if (connection == NULL) {
        return NULL;
    }

    connection->channel = channel;
    connection->address = *address;
    connection->session = open_session(connection, events);

    if (connection->session == NULL) {
        cn_free(connection);
        return NULL;
    }

    return connection;
}


void
grpc_connection_drop(grpc_connection_t *connection, cn_close_reason_t reason)
{
    cn_list_remove(&connection->link);
    cn_session_close(connection->session, reason);
    cn_free(connection);
}
