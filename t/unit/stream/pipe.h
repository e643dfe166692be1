/* SPDX-License-Identifier: Apache-2.0 */

/* pipe - a pair of streams in memory that can be cut at any byte and can deliver in pieces of any size. */

#ifndef CN_T_STREAM_PIPE_H
#define CN_T_STREAM_PIPE_H

#include "stream/stream.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct pipe_end_s pipe_end_t;

struct pipe_end_s {
    cn_stream_t        stream;
    pipe_end_t        *other;
    cn_task_t          ready;
    cn_chain_t         in;              /* on its way to this end's owner */
    size_t             piece;           /* the most that one event delivers */
    size_t             cut_at;          /* the connection is gone when so many bytes have come here */
    size_t             delivered;
    size_t             unconsumed;
    size_t             sent;
    bool               stalled;         /* delivers nothing */
    bool               fin;             /* the other end has ended */
    bool               fin_told;
    bool               end_sent;
    bool               detached;        /* no events any more */
    cn_close_reason_t  fate;            /* to be raised */
};

static inline void
pipe_raise_closed(pipe_end_t *end, cn_close_reason_t reason)
{
    if (!end->detached) {
        end->detached = true;
        cn_task_cancel(&end->ready);
        end->stream.events->on_closed(end->stream.owner, reason);
    }
}

static inline bool
pipe_deliver(pipe_end_t *end)
{
    cn_slice_t  slice;
    size_t      max = end->piece;

    if (end->in.len == 0 || end->stalled || end->detached || end->delivered >= end->cut_at) {
        return false;
    }

    max = max < end->cut_at - end->delivered ? max : end->cut_at - end->delivered;
    slice = cn_chain_pop(&end->in, max);
    end->delivered += slice.len;
    end->unconsumed += slice.len;
    end->other->sent += slice.len;
    cn_loop_post(end->stream.loop, CN_PHASE_READY, &end->other->ready);
    end->stream.events->on_data(end->stream.owner, &slice);
    cn_slice_release(&slice);

    return true;
}

static inline void
pipe_run(cn_task_t *task)
{
    pipe_end_t  *end = CN_CONTAINER_OF(task, pipe_end_t, ready);
    size_t       sent = end->sent;

    end->sent = 0;

    if (sent > 0 && !end->detached && end->stream.events->on_sent != NULL) {
        end->stream.events->on_sent(end->stream.owner, sent);
    }

    if (end->fate != CN_CLOSE_NONE) {
        pipe_raise_closed(end, end->fate);
        return;
    }

    if (pipe_deliver(end)) {
        cn_loop_post(end->stream.loop, CN_PHASE_READY, &end->ready);
    }

    if (end->delivered >= end->cut_at && !end->detached) {
        end->other->fate = CN_CLOSE_RESET;
        cn_loop_post(end->stream.loop, CN_PHASE_READY, &end->other->ready);
        pipe_raise_closed(end, CN_CLOSE_RESET);
        return;
    }

    if (end->fin && !end->fin_told && end->in.len == 0 && !end->detached) {
        end->fin_told = true;

        if (end->stream.events->on_ended != NULL) {
            end->stream.events->on_ended(end->stream.owner);
        }
    }

    if (end->fin_told && end->end_sent && !end->detached) {
        pipe_raise_closed(end, CN_CLOSE_END);
    }
}

static inline void
pipe_write(cn_stream_t *stream, cn_slice_t data)
{
    pipe_end_t  *end = (pipe_end_t *) stream;

    assert_false(end->end_sent);
    assert_int_equal(cn_chain_push(&end->other->in, data), CN_OK);
    cn_loop_post(stream->loop, CN_PHASE_READY, &end->other->ready);
}

static inline void
pipe_end_op(cn_stream_t *stream)
{
    pipe_end_t  *end = (pipe_end_t *) stream;

    end->end_sent = true;
    end->other->fin = true;
    cn_loop_post(stream->loop, CN_PHASE_READY, &end->other->ready);
    cn_loop_post(stream->loop, CN_PHASE_READY, &end->ready);
}

static inline void
pipe_consumed(cn_stream_t *stream, size_t len)
{
    pipe_end_t  *end = (pipe_end_t *) stream;

    assert_true(len <= end->unconsumed);
    end->unconsumed -= len;
}

static inline void
pipe_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    pipe_end_t  *end = (pipe_end_t *) stream;

    assert_false(end->detached);
    end->detached = true;
    cn_task_cancel(&end->ready);

    if (reason == CN_CLOSE_LOCAL || reason == CN_CLOSE_DRAIN || reason == CN_CLOSE_END) {
        end->end_sent = true;
        end->other->fin = true;
    } else {
        end->other->fate = CN_CLOSE_RESET;
    }

    cn_loop_post(stream->loop, CN_PHASE_READY, &end->other->ready);
}

static inline size_t
pipe_pending(const cn_stream_t *stream)
{
    return ((const pipe_end_t *) stream)->other->in.len;
}

static const cn_stream_ops_t  pipe_ops = { pipe_write, pipe_end_op, pipe_consumed, pipe_close, pipe_pending };

static inline void
pipe_create(cn_loop_t *loop, pipe_end_t ends[2])
{
    memset(ends, 0, 2 * sizeof(ends[0]));

    for (int i = 0; i < 2; i++) {
        ends[i].stream.ops = &pipe_ops;
        ends[i].stream.loop = loop;
        ends[i].stream.info.kind = CN_STREAM_TUNNEL;
        ends[i].other = &ends[1 - i];
        ends[i].ready.run = pipe_run;
        ends[i].piece = SIZE_MAX;
        ends[i].cut_at = SIZE_MAX;
    }
}

static inline void
pipe_clear(pipe_end_t ends[2])
{
    for (int i = 0; i < 2; i++) {
        cn_task_cancel(&ends[i].ready);
        cn_chain_clear(&ends[i].in);
    }
}

#endif
