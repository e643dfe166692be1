/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tcp - a TCP socket as a stream.  Reads up to 64 KiB a turn into a buffer that the worker's
 * connections share while nobody pins it; writes once a turn with writev.
 */

#ifndef CN_STREAM_TCP_H
#define CN_STREAM_TCP_H

#include "stream/stream.h"

/*
 * Takes a connected fd.  The stream is born open, without events until cn_stream_set_owner(). NULL:
 * memory; fd stays the caller's.
 */
cn_stream_t *cn_tcp_accept(cn_loop_t *loop, int fd, const cn_address_t *peer,
    cn_account_t *account) CN_MUST_USE;

/*
 * Connects within timeout_ms (ms).  Never fails at once: a failure is a closed event
 * (CN_CLOSE_CONNECT_REFUSED or _TIMEOUT). opened comes when connected; writes before that are
 * queued.  from may be NULL: the address to come from.  NULL: memory or descriptors.
 */
cn_stream_t *cn_tcp_connect(cn_loop_t *loop, const cn_address_t *to, const cn_address_t *from,
    uint64_t timeout_ms, cn_account_t *account) CN_MUST_USE;

/* How much unconsumed data it delivers before it stops reading; default CN_STREAM_WINDOW. */
void cn_tcp_set_window(cn_stream_t *stream, size_t window);

#endif
