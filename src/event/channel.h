/* SPDX-License-Identifier: Apache-2.0 */

/*
 * channel - typed, bounded messages with descriptors between our own processes, over a
 * SOCK_SEQPACKET socketpair.  A message is a type, up to 64 KiB of payload and up to 16
 * descriptors.  Larger payloads travel as a sealed memfd.  The reader checks everything: the other
 * end may be a compromised worker.
 */

#ifndef CN_EVENT_CHANNEL_H
#define CN_EVENT_CHANNEL_H

#include "event/loop.h"
#include "base/bytes.h"

#define CN_CHANNEL_PAYLOAD_MAX  65536
#define CN_CHANNEL_FDS_MAX      16

typedef struct cn_channel_s cn_channel_t;

typedef struct {
    uint32_t    type;           /* a CN_MSG_* of server/message.h; unknown ones close the channel */
    cn_bytes_t  payload;        /* borrowed for the call */
    int         fds[CN_CHANNEL_FDS_MAX];
    size_t      fd_count;       /* the handler takes one by setting it to -1; the rest are closed */
} cn_channel_message_t;

typedef struct {
    void  (*on_message)(void *owner, cn_channel_message_t *message);

    /* The peer is gone, sent rubbish or cannot be written to; the last event. */
    void  (*on_closed)(void *owner);
} cn_channel_events_t;

/* A connected pair, non-blocking, close-on-exec.  CN_ERR_IO. */
cn_status_t cn_channel_pair(int fds[2]) CN_MUST_USE;

/* Takes fd.  NULL when memory is spent (fd is then still the caller's). */
cn_channel_t *cn_channel_open(cn_loop_t *loop, int fd, const cn_channel_events_t *events,
    void *owner) CN_MUST_USE;

/*
 * Detaches now and drops what waits, frees at the end of the turn.  After on_closed the channel
 * frees itself too: the owner only forgets it, but may close it within that event.
 */
void cn_channel_close(cn_channel_t *channel);

/*
 * Sends or queues; descriptors are duplicated when queued, the caller keeps its own.  CN_ERR_LIMIT:
 * too large, 1024 messages wait, or no memory or descriptor to queue one; CN_ERR_CLOSED;
 * CN_ERR_IO: the kernel refuses this message, and nothing was sent.
 */
cn_status_t cn_channel_send(cn_channel_t *channel, uint32_t type, cn_bytes_t payload,
    const int *fds, size_t fd_count) CN_MUST_USE;

/* Messages queued here and not yet taken by the kernel. */
size_t cn_channel_pending(const cn_channel_t *channel);

#endif
