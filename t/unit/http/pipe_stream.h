/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pipe_stream - two streams in memory, one the other's peer, that keep stream.h to the letter: bytes leave in the write phase,
 * events come from the ready queue, credit is honoured, an ordinary close lets queued bytes leave.  Each delivery is a block of
 * its own, of exactly its size.  A broken rule of the owner's (a call after close, too much credit) aborts.
 */

#ifndef CN_T_HTTP_PIPE_STREAM_H
#define CN_T_HTTP_PIPE_STREAM_H

#include "stream/stream.h"

typedef struct {
    size_t  piece;          /* the most octets of one delivery; 0: all that is there */
    size_t  cut_after[2];   /* octets that end 0 (1) may receive before both ends are reset; 0: no cut */
    size_t  window;         /* unconsumed octets; 0: CN_STREAM_WINDOW */
    bool    connecting;     /* end 0 is born connecting: opened comes with pipe_stream_connect() */
} pipe_stream_options_t;

/* Both ends; each needs an owner before the next turn.  They free themselves. */
void pipe_stream_create(cn_loop_t *loop, const pipe_stream_options_t *options, cn_stream_t *ends[2]);

/* Opens, or (reason) fails to open, an end that is connecting. */
void pipe_stream_connect(cn_stream_t *end, cn_close_reason_t reason);

/* The peer stops taking bytes, or takes them again: what is written stays pending. */
void pipe_stream_stall(cn_stream_t *end, bool stalled);

/* Octets delivered to this end and not given back. */
size_t pipe_stream_unconsumed(const cn_stream_t *end);

/* Ends that have not been freed, of all pairs. */
unsigned pipe_stream_alive(void);

#endif
