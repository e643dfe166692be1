/* SPDX-License-Identifier: Apache-2.0 */

/* pipe_stream - two streams in memory: see pipe_stream.h. */

#include "pipe_stream.h"

typedef struct pair_s pair_t;

typedef struct {
    cn_stream_t        base;
    pair_t            *pair;
    cn_chain_t         out;             /* written, not left */
    cn_chain_t         in;              /* on its way to our owner */
    cn_task_t          write;
    cn_task_t          ready;
    cn_task_t          free;
    size_t             unreported;      /* left, on_sent is to come */
    size_t             unconsumed;
    size_t             received;
    cn_close_reason_t  fate;            /* closed is to be raised */
    bool               opened;
    bool               tell_opened;
    bool               stalled;
    bool               end_called;
    bool               fin_sent;
    bool               fin_came;
    bool               fin_told;
    bool               closed;          /* no events, no calls */
} pipe_end_t;

struct pair_s {
    cn_loop_t              *loop;
    pipe_stream_options_t   options;
    pipe_end_t             *ends[2];    /* NULL: freed */
};

static unsigned  alive;


static pipe_end_t *
end_of(cn_stream_t *stream)
{
    return (pipe_end_t *) (void *) stream;
}


static pipe_end_t *
other(const pipe_end_t *end)
{
    return end->pair->ends[end->pair->ends[0] == end];
}


static void
post(pipe_end_t *end, cn_turn_phase_t phase, cn_task_t *task)
{
    cn_loop_post(end->pair->loop, phase, task);
}


static void
end_free(cn_task_t *task)
{
    pipe_end_t  *end = CN_CONTAINER_OF(task, pipe_end_t, free);
    pair_t      *pair = end->pair;

    cn_task_cancel(&end->write);
    cn_task_cancel(&end->ready);
    cn_chain_clear(&end->out);
    cn_chain_clear(&end->in);
    pair->ends[pair->ends[1] == end] = NULL;
    cn_free(end);
    alive--;

    if (pair->ends[0] == NULL && pair->ends[1] == NULL) {
        cn_free(pair);
    }
}


static void
raise_closed(pipe_end_t *end, cn_close_reason_t reason)
{
    if (!end->closed) {
        end->closed = true;
        post(end, CN_PHASE_FREE, &end->free);
        end->base.events->on_closed(end->base.owner, reason);
    }
}


static void
reset_other(pipe_end_t *end)
{
    pipe_end_t  *peer = other(end);

    if (peer != NULL && !peer->closed && peer->fate == CN_CLOSE_NONE) {
        peer->fate = CN_CLOSE_RESET;
        post(peer, CN_PHASE_READY, &peer->ready);
    }
}


static void
both_ended(pipe_end_t *end)
{
    if (end->fin_told && end->fin_sent && end->out.len == 0 && end->fate == CN_CLOSE_NONE) {
        end->fate = CN_CLOSE_END;
        post(end, CN_PHASE_READY, &end->ready);
    }
}


/* The write phase: what is queued goes to the peer. */
static void
end_write(cn_task_t *task)
{
    pipe_end_t  *end = CN_CONTAINER_OF(task, pipe_end_t, write);
    pipe_end_t  *peer = other(end);

    if (!end->opened || end->stalled) {
        return;
    }

    end->unreported += end->out.len;

    if (peer == NULL || peer->closed) {
        cn_chain_clear(&end->out);
    } else {
        CN_BUG_ON(cn_chain_move(&peer->in, &end->out) != CN_OK);
    }

    if (end->end_called && !end->fin_sent) {
        end->fin_sent = true;

        if (peer != NULL) {
            peer->fin_came = true;
        }
    }

    if (peer != NULL && !peer->closed) {
        post(peer, CN_PHASE_READY, &peer->ready);
    }

    if (end->closed) {
        post(end, CN_PHASE_FREE, &end->free);       /* it lingered for this */
        return;
    }

    post(end, CN_PHASE_READY, &end->ready);
}


static size_t
may_deliver(const pipe_end_t *end)
{
    const pipe_stream_options_t  *options = &end->pair->options;
    size_t                        window = options->window > 0 ? options->window : CN_STREAM_WINDOW;
    size_t                        cut = options->cut_after[end->pair->ends[1] == end];
    size_t                        max = window > end->unconsumed ? window - end->unconsumed : 0;

    if (options->piece > 0 && options->piece < max) {
        max = options->piece;
    }

    if (cut > 0 && cut - end->received < max) {
        max = cut - end->received;
    }

    return max;
}


static void
deliver(pipe_end_t *end)
{
    cn_slice_t  data, block;
    size_t      max = may_deliver(end);

    if (end->in.len == 0 || max == 0 || !end->opened) {
        return;
    }

    data = cn_chain_pop(&end->in, max);
    CN_BUG_ON(cn_slice_copy(cn_slice_bytes(&data), NULL, &block) != CN_OK);
    cn_slice_release(&data);
    end->unconsumed += block.len;
    end->received += block.len;
    post(end, CN_PHASE_READY, &end->ready);
    end->base.events->on_data(end->base.owner, &block);
    cn_slice_release(&block);
}


static void
end_ready(cn_task_t *task)
{
    pipe_end_t                *end = CN_CONTAINER_OF(task, pipe_end_t, ready);
    const cn_stream_events_t  *events = end->base.events;
    size_t                     sent = end->unreported;
    size_t                     cut = end->pair->options.cut_after[end->pair->ends[1] == end];

    if (end->closed) {
        return;
    }

    if (end->tell_opened) {
        end->tell_opened = false;

        if (events->on_opened != NULL) {
            events->on_opened(end->base.owner);
        }
    }

    end->unreported = 0;

    if (sent > 0 && !end->closed && events->on_sent != NULL) {
        events->on_sent(end->base.owner, sent);
    }

    if (!end->closed && end->fate == CN_CLOSE_NONE) {
        deliver(end);
    }

    if (!end->closed && cut > 0 && end->received >= cut) {
        reset_other(end);
        end->fate = CN_CLOSE_RESET;
    }

    if (!end->closed && end->fin_came && !end->fin_told && end->in.len == 0) {
        end->fin_told = true;

        if (events->on_ended != NULL) {
            events->on_ended(end->base.owner);
        }
    }

    if (!end->closed) {
        both_ended(end);
    }

    if (end->fate != CN_CLOSE_NONE) {
        raise_closed(end, end->fate);
    }
}


static void
op_write(cn_stream_t *stream, cn_slice_t data)
{
    pipe_end_t  *end = end_of(stream);

    CN_BUG_ON(end->closed);

    if (end->end_called) {
        cn_slice_release(&data);
        return;
    }

    CN_BUG_ON(cn_chain_push(&end->out, data) != CN_OK);
    post(end, CN_PHASE_WRITE, &end->write);
}


static void
op_end(cn_stream_t *stream)
{
    pipe_end_t  *end = end_of(stream);

    CN_BUG_ON(end->closed);
    end->end_called = true;
    post(end, CN_PHASE_WRITE, &end->write);
}


static void
op_consumed(cn_stream_t *stream, size_t len)
{
    pipe_end_t  *end = end_of(stream);

    CN_BUG_ON(end->closed || len > end->unconsumed);
    end->unconsumed -= len;
    post(end, CN_PHASE_READY, &end->ready);
}


static void
op_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    pipe_end_t  *end = end_of(stream);

    CN_BUG_ON(end->closed);
    end->closed = true;
    end->base.events = NULL;
    cn_task_cancel(&end->ready);

    if (reason == CN_CLOSE_LOCAL || reason == CN_CLOSE_DRAIN) {
        end->end_called = true;
        end->stalled = false;
        end->opened = true;
        post(end, CN_PHASE_WRITE, &end->write);
        return;
    }

    reset_other(end);
    post(end, CN_PHASE_FREE, &end->free);
}


static size_t
op_pending(const cn_stream_t *stream)
{
    const pipe_end_t  *end = (const pipe_end_t *) (const void *) stream;

    CN_BUG_ON(end->closed);

    return end->out.len;
}


static const cn_stream_ops_t  ops = {
    .write    = op_write,
    .end      = op_end,
    .consumed = op_consumed,
    .close    = op_close,
    .pending  = op_pending,
};


void
pipe_stream_create(cn_loop_t *loop, const pipe_stream_options_t *options, cn_stream_t *ends[2])
{
    pair_t  *pair = cn_alloc_zero(sizeof(pair_t));

    CN_BUG_ON(pair == NULL);
    pair->loop = loop;
    pair->options = *options;

    for (int i = 0; i < 2; i++) {
        pipe_end_t  *end = cn_alloc_zero(sizeof(pipe_end_t));

        CN_BUG_ON(end == NULL);
        end->base.ops = &ops;
        end->base.loop = loop;
        end->base.info.id = (uint64_t) i + 1;
        end->pair = pair;
        end->write.run = end_write;
        end->ready.run = end_ready;
        end->free.run = end_free;
        end->opened = i == 1 || !options->connecting;
        pair->ends[i] = end;
        ends[i] = &end->base;
        alive++;
    }
}


void
pipe_stream_connect(cn_stream_t *stream, cn_close_reason_t reason)
{
    pipe_end_t  *end = end_of(stream);

    if (reason != CN_CLOSE_NONE) {
        end->fate = reason;
        reset_other(end);

    } else {
        end->opened = true;
        end->tell_opened = true;
        post(end, CN_PHASE_WRITE, &end->write);
    }

    post(end, CN_PHASE_READY, &end->ready);
}


void
pipe_stream_stall(cn_stream_t *stream, bool stalled)
{
    pipe_end_t  *end = end_of(stream);

    end->stalled = stalled;
    post(end, CN_PHASE_WRITE, &end->write);
}


size_t
pipe_stream_unconsumed(const cn_stream_t *stream)
{
    return ((const pipe_end_t *) (const void *) stream)->unconsumed;
}


unsigned
pipe_stream_alive(void)
{
    return alive;
}
