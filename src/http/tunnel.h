/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tunnel - a CONNECT exchange as a stream: HBONE, both directions (RFC 9113 8.5).  DATA is the
 * stream's bytes, END_STREAM its half close, RST_STREAM its reset.
 */

#ifndef CN_HTTP_TUNNEL_H
#define CN_HTTP_TUNNEL_H

#include "http/codec.h"

/*
 * Server: answers a CONNECT exchange with 200 (date and server: istio-envoy, nothing else) and
 * gives the stream.  info.authority is the CONNECT's :authority, info.local that address when it is
 * IP:port; peer, principals and opened_ms are the connection's.  NULL: memory; the exchange was
 * reset.
 */
cn_stream_t *cn_tunnel_accept(cn_exchange_t *exchange, const cn_message_t *head) CN_MUST_USE;

/*
 * Client: asks for a tunnel to authority ("10.0.0.1:8080") on an HTTP/2 session with room.  opened
 * comes with the 2xx; until then writes are queued.  Another status closes it with
 * CN_CLOSE_TUNNEL_REFUSED.  headers may be NULL: more CONNECT headers.  account is charged with its
 * buffers.  NULL: no room or memory.
 */
cn_stream_t *cn_tunnel_open(cn_session_t *session, cn_bytes_t authority,
    const cn_headers_t *headers,
    cn_account_t *account) CN_MUST_USE;

/* The status of the refused CONNECT; 0 when there was none. */
uint16_t cn_tunnel_refused_status(const cn_stream_t *stream);

#endif
