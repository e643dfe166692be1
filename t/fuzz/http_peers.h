/* SPDX-License-Identifier: Apache-2.0 */

/* http_peers - what the HTTP targets share: streams in memory, an application that checks what it is given and echoes, a raw peer. */

#ifndef CN_T_FUZZ_HTTP_PEERS_H
#define CN_T_FUZZ_HTTP_PEERS_H

#include "http/tunnel.h"
#include "http/pipe_stream.h"

extern cn_loop_t                  *http_loop;
extern const cn_session_events_t   http_app_events;         /* owner: the session's address, emptied when it closes */
extern const cn_stream_events_t    http_raw_events;         /* owner: the stream's address, emptied when it closes */

/* A pair whose end 0 is the raw peer's; *raw is its stream. */
void http_pair(size_t piece, cn_stream_t **raw, cn_stream_t **end);

/* Writes data from the raw peer and lets everything settle. */
void http_feed(cn_stream_t *raw, const uint8_t *data, size_t len);

/* Ends the raw peer and checks that nothing is left. */
void http_finish(cn_stream_t **raw);

#endif
