/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tcp - a socket as a stream.
 *
 *   connecting --connected--> open --close(LOCAL), still something to do--> linger --done, 1 s-->
 *   closed
 *        \--refused, timeout--> closed   \--both ended, reset, any other close--> closed
 *
 * One read a turn (the watch is level-triggered: what is left comes in the next turn, after
 * everybody else), one write a turn.  A stream without credit takes itself out of the poll only
 * when an event finds it so, and EPOLLOUT is asked for only after a short write: most turns cost no
 * epoll_ctl.
 *
 * A failed write does not close at once.  What the peer sent before it went (a response to a
 * request that it would not read to the end) is still in the kernel, and is read and delivered
 * first.
 */

#include "stream/tcp.h"
#include "stream/readbuf.h"
#include "base/clock.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_SLICES  64            /* of one system call */
#define LINGER_MS     1000

typedef enum {
    TCP_CONNECTING,
    TCP_OPEN,
    TCP_LINGER,                     /* detached; queued bytes leave, the peer's are thrown away */
    TCP_CLOSED                      /* freed at the end of the turn */
} tcp_state_t;

typedef struct {
    cn_stream_t        stream;      /* first: a cn_stream_t is cast to this */
    cn_watch_t         watch;
    cn_timer_t         timer;       /* of connecting, then of lingering */
    cn_task_t          ready;
    cn_task_t          write;
    cn_task_t          free;
    cn_chain_t         queue;
    size_t             window;
    size_t             unconsumed;  /* delivered and not given back */
    size_t             sent;        /* written and not yet told */
    cn_close_reason_t  failure;     /* to be raised from the ready queue */
    tcp_state_t        state;
    bool               connected;   /* opened is to be raised */
    bool               paused;      /* not polled for reading: no credit */
    bool               blocked;     /* the last write was short */
    bool               broken;      /* a write failed: read what is left, then reset */
    bool               end_wanted;
    bool               fin_sent;
    bool               fin_seen;
} tcp_t;

static cn_readbuf_t  shared;        /* all sockets of this process */
static uint64_t      last_id;


static void
tcp_free(cn_task_t *task)
{
    cn_free(CN_CONTAINER_OF(task, tcp_t, free));
}


/* The socket is gone after this; the struct at the end of the turn. */
static void
tcp_finish(tcp_t *tcp, bool reset)
{
    const struct linger  abort_now = { .l_onoff = 1, .l_linger = 0 };

    tcp->state = TCP_CLOSED;
    cn_timer_cancel(&tcp->timer);
    cn_task_cancel(&tcp->ready);
    cn_task_cancel(&tcp->write);
    cn_chain_clear(&tcp->queue);

    if (tcp->watch.fd >= 0) {
        cn_watch_remove(tcp->stream.loop, &tcp->watch);

        if (reset) {
            (void) setsockopt(tcp->watch.fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
        }

        (void) close(tcp->watch.fd);
        tcp->watch.fd = -1;
    }

    cn_loop_post(tcp->stream.loop, CN_PHASE_FREE, &tcp->free);
}


static void
tcp_raise_closed(tcp_t *tcp, cn_close_reason_t reason)
{
    bool  told = tcp->state == TCP_LINGER || tcp->stream.events == NULL;

    tcp_finish(tcp, reason != CN_CLOSE_END);

    if (!told) {
        tcp->stream.events->on_closed(tcp->stream.owner, reason);
    }
}


/* Has it raised from the ready queue: for use within a call from above. */
static void
tcp_fail(tcp_t *tcp, cn_close_reason_t reason)
{
    if (tcp->failure == CN_CLOSE_NONE) {
        tcp->failure = reason;
        cn_loop_post(tcp->stream.loop, CN_PHASE_READY, &tcp->ready);
    }
}


/* Makes the poll ask for what the state needs. */
static void
tcp_watch(tcp_t *tcp)
{
    unsigned  want = 0;

    if (tcp->watch.fd < 0) {
        return;
    }

    if (tcp->state == TCP_CONNECTING || tcp->blocked) {
        want |= CN_WRITABLE;
    }

    if (tcp->state != TCP_CONNECTING && !tcp->fin_seen && !tcp->paused) {
        want |= CN_READABLE;
    }

    if (want != tcp->watch.want && cn_watch_set(tcp->stream.loop, &tcp->watch, want) != CN_OK) {
        tcp_fail(tcp, CN_CLOSE_LIMIT);
    }
}


/* False when that was the last of this socket. */
static bool
tcp_both_ended(tcp_t *tcp)
{
    if (!tcp->fin_seen || !tcp->fin_sent) {
        return false;
    }

    tcp_raise_closed(tcp, CN_CLOSE_END);

    return true;
}


static void
tcp_read_ended(tcp_t *tcp)
{
    const cn_stream_events_t  *events = tcp->stream.events;

    if (tcp->broken) {
        tcp_raise_closed(tcp, CN_CLOSE_RESET);
        return;
    }

    tcp->fin_seen = true;
    tcp_watch(tcp);

    if (tcp->state == TCP_OPEN && events != NULL && events->on_ended != NULL) {
        events->on_ended(tcp->stream.owner);
    }

    if (tcp->state != TCP_CLOSED) {
        (void) tcp_both_ended(tcp);
    }
}


static void
tcp_deliver(tcp_t *tcp, size_t len)
{
    cn_slice_t  slice;

    if (tcp->state == TCP_LINGER) {
        return;                         /* the shared buffer is simply written over */
    }

    slice = cn_readbuf_take(&shared, len);
    tcp->unconsumed += len;
    tcp->stream.events->on_data(tcp->stream.owner, &slice);
    cn_slice_release(&slice);
}


static void
tcp_read(tcp_t *tcp)
{
    size_t    credit = tcp->window > tcp->unconsumed ? tcp->window - tcp->unconsumed : 0;
    size_t    room;
    ssize_t   len;
    uint8_t  *to;

    if (tcp->state == TCP_OPEN && credit == 0) {
        tcp->paused = true;
        tcp_watch(tcp);
        return;
    }

    to = cn_readbuf_room(&shared, tcp->stream.account, &room);
    if (to == NULL) {
        tcp_raise_closed(tcp, CN_CLOSE_LIMIT);
        return;
    }

    if (tcp->state == TCP_OPEN && credit < room) {
        room = credit;
    }

    do {
        len = recv(tcp->watch.fd, to, room, 0);
    } while (len < 0 && errno == EINTR);

    if (len > 0) {
        tcp_deliver(tcp, (size_t) len);

    } else if (len == 0) {
        tcp_read_ended(tcp);

    } else if (errno != EAGAIN || tcp->broken) {
        tcp_raise_closed(tcp, CN_CLOSE_RESET);
    }
}


static void
tcp_write_ended(tcp_t *tcp)
{
    (void) shutdown(tcp->watch.fd, SHUT_WR);
    tcp->fin_sent = true;

    if (tcp->fin_seen) {
        cn_loop_post(tcp->stream.loop, CN_PHASE_READY, &tcp->ready);
    }
}


/* A write failed: the peer is gone, but perhaps not without a word. */
static void
tcp_write_failed(tcp_t *tcp)
{
    tcp->broken = true;
    tcp->blocked = false;
    cn_chain_clear(&tcp->queue);
    cn_loop_post(tcp->stream.loop, CN_PHASE_READY, &tcp->ready);
}


static size_t
tcp_gather(const cn_chain_t *queue, struct iovec *iov, size_t *total)
{
    size_t  count = queue->count < WRITE_SLICES ? queue->count : WRITE_SLICES;

    *total = 0;

    for (size_t i = 0; i < count; i++) {
        cn_slice_t  slice = cn_chain_at(queue, (uint32_t) i);

        iov[i] = (struct iovec) { (void *) (uintptr_t) slice.ptr, slice.len };
        *total += slice.len;
    }

    return count;
}


static void
tcp_flush(tcp_t *tcp)
{
    struct iovec   iov[WRITE_SLICES];
    struct msghdr  message = { .msg_iov = iov };
    size_t         total = 0;
    ssize_t        len = 0;

    if (tcp->queue.len > 0) {
        message.msg_iovlen = tcp_gather(&tcp->queue, iov, &total);

        do {
            len = sendmsg(tcp->watch.fd, &message, MSG_NOSIGNAL);
        } while (len < 0 && errno == EINTR);

        if (len < 0 && errno != EAGAIN) {
            tcp_write_failed(tcp);
            return;
        }
    }

    if (len > 0) {
        cn_chain_drop(&tcp->queue, (size_t) len);
        tcp->sent += (size_t) len;

        if (tcp->state == TCP_OPEN && tcp->stream.events != NULL
            && tcp->stream.events->on_sent != NULL) {
            cn_loop_post(tcp->stream.loop, CN_PHASE_READY, &tcp->ready);
        }
    }

    /*
     * more than the system call's slices is left for the next turn in the same way as a short write
     */
    tcp->blocked = tcp->queue.len > 0;
    tcp_watch(tcp);

    if (!tcp->blocked && tcp->end_wanted && !tcp->fin_sent) {
        tcp_write_ended(tcp);
    }
}


static void
tcp_write_phase(cn_task_t *task)
{
    tcp_t  *tcp = CN_CONTAINER_OF(task, tcp_t, write);

    if ((tcp->state == TCP_OPEN || tcp->state == TCP_LINGER) && !tcp->broken && !tcp->blocked) {
        tcp_flush(tcp);
    }
}


static void
tcp_post_write(tcp_t *tcp)
{
    if (tcp->state != TCP_CONNECTING && !tcp->blocked) {
        cn_loop_post(tcp->stream.loop, CN_PHASE_WRITE, &tcp->write);
    }
}


static void
tcp_raise_opened(tcp_t *tcp)
{
    tcp->connected = false;

    if (tcp->stream.events != NULL && tcp->stream.events->on_opened != NULL) {
        tcp->stream.events->on_opened(tcp->stream.owner);
    }
}


static void
tcp_raise_sent(tcp_t *tcp)
{
    size_t  len = tcp->sent;

    tcp->sent = 0;

    if (tcp->state == TCP_OPEN && tcp->stream.events != NULL
        && tcp->stream.events->on_sent != NULL) {
        tcp->stream.events->on_sent(tcp->stream.owner, len);
    }
}


/* What earlier calls and writes have caused.  Each event may close the stream. */
static void
tcp_ready(cn_task_t *task)
{
    tcp_t  *tcp = CN_CONTAINER_OF(task, tcp_t, ready);

    if (tcp->connected) {
        tcp_raise_opened(tcp);
    }

    if (tcp->sent > 0 && tcp->state != TCP_CLOSED) {
        tcp_raise_sent(tcp);
    }

    if (tcp->state == TCP_CLOSED) {
        return;
    }

    if (tcp->failure != CN_CLOSE_NONE) {
        tcp_raise_closed(tcp, tcp->failure);

    } else if (tcp->broken) {
        if (tcp->fin_seen || tcp->unconsumed >= tcp->window) {
            tcp_raise_closed(tcp, CN_CLOSE_RESET);
        } else {
            tcp->paused = false;
            tcp_watch(tcp);             /* the hang-up is reported as long as it is not read */
        }

    } else {
        (void) tcp_both_ended(tcp);
    }
}


static void
tcp_opened(tcp_t *tcp)
{
    cn_timer_cancel(&tcp->timer);
    tcp->state = TCP_OPEN;
    tcp->connected = true;

    if (cn_socket_local(tcp->watch.fd, &tcp->stream.info.local) != CN_OK) {
        tcp->stream.info.local = (cn_address_t) { .port = 0 };
    }

    tcp_watch(tcp);

    if (tcp->queue.len > 0 || tcp->end_wanted) {
        tcp_post_write(tcp);
    }
}


static void
tcp_connect_done(tcp_t *tcp)
{
    int  error = cn_socket_error(tcp->watch.fd);

    if (error != 0) {
        tcp_raise_closed(tcp, error == ETIMEDOUT ? CN_CLOSE_CONNECT_TIMEOUT
                         : CN_CLOSE_CONNECT_REFUSED);
        return;
    }

    tcp_opened(tcp);
    tcp_raise_opened(tcp);
}


static void
tcp_event(cn_watch_t *watch, unsigned events)
{
    tcp_t  *tcp = CN_CONTAINER_OF(watch, tcp_t, watch);

    if (tcp->state == TCP_CONNECTING) {
        tcp_connect_done(tcp);
        return;
    }

    if (tcp->state == TCP_OPEN && tcp->stream.events == NULL) {
        return;                         /* its owner comes in this turn; the poll tells again */
    }

    if ((events & CN_WRITABLE) && tcp->blocked) {
        tcp->blocked = false;
        cn_loop_post(tcp->stream.loop, CN_PHASE_WRITE, &tcp->write);
    }

    if ((events & (CN_READABLE | CN_HANGUP)) && !tcp->fin_seen) {
        tcp_read(tcp);

    } else if ((events & CN_HANGUP) && cn_socket_error(watch->fd) != 0) {
        tcp_raise_closed(tcp, CN_CLOSE_RESET);
    }
}


static void
tcp_timeout(cn_timer_t *timer)
{
    tcp_t  *tcp = CN_CONTAINER_OF(timer, tcp_t, timer);

    if (tcp->state == TCP_CONNECTING) {
        tcp_raise_closed(tcp, CN_CLOSE_CONNECT_TIMEOUT);
    } else {
        tcp_finish(tcp, tcp->queue.len > 0);
    }
}


static void
tcp_op_write(cn_stream_t *stream, cn_slice_t data)
{
    tcp_t        *tcp = (tcp_t *) stream;
    cn_status_t   status;

    if (data.len == 0 || tcp->state >= TCP_LINGER || tcp->end_wanted || tcp->broken) {
        cn_slice_release(&data);
        return;
    }

    if (tcp->blocked && data.len < CN_SLICE_PIN_MIN) {
        /* it will stay a while: it must not hold a read buffer for a few bytes */
        status = cn_chain_append(&tcp->queue, cn_slice_bytes(&data));
        cn_slice_release(&data);

    } else {
        status = cn_chain_push(&tcp->queue, data);
    }

    if (status != CN_OK) {
        tcp_fail(tcp, CN_CLOSE_LIMIT);
        return;
    }

    tcp_post_write(tcp);
}


static void
tcp_op_end(cn_stream_t *stream)
{
    tcp_t  *tcp = (tcp_t *) stream;

    if (tcp->state < TCP_LINGER && !tcp->end_wanted) {
        tcp->end_wanted = true;
        tcp_post_write(tcp);
    }
}


static void
tcp_op_consumed(cn_stream_t *stream, size_t len)
{
    tcp_t  *tcp = (tcp_t *) stream;

    if (tcp->state >= TCP_LINGER) {
        return;
    }

    CN_BUG_ON(len > tcp->unconsumed);
    tcp->unconsumed -= len;

    if (tcp->paused && tcp->unconsumed < tcp->window) {
        tcp->paused = false;
        tcp_watch(tcp);
    }
}


/*
 * A socket closed with unread bytes in it sends a reset, which may overtake what was written: so
 * after the last byte it is only shut down, and waits for the peer's end.
 */
static void
tcp_linger(tcp_t *tcp)
{
    tcp->state = TCP_LINGER;
    tcp->stream.events = NULL;
    tcp->end_wanted = true;
    tcp->paused = false;
    cn_timer_set(tcp->stream.loop, &tcp->timer, LINGER_MS);
    tcp_watch(tcp);

    if (!tcp->fin_sent) {
        tcp_post_write(tcp);
    }
}


static void
tcp_op_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    tcp_t  *tcp = (tcp_t *) stream;
    bool    graceful = reason == CN_CLOSE_LOCAL || reason == CN_CLOSE_DRAIN
        || reason == CN_CLOSE_END;

    if (tcp->state >= TCP_LINGER) {
        return;
    }

    if (!graceful || tcp->state == TCP_CONNECTING || tcp->broken || tcp->failure != CN_CLOSE_NONE) {
        tcp_finish(tcp, true);

    } else if (tcp->fin_seen && tcp->queue.len == 0) {
        tcp_finish(tcp, false);

    } else {
        tcp_linger(tcp);
    }
}


static size_t
tcp_op_pending(const cn_stream_t *stream)
{
    return ((const tcp_t *) stream)->queue.len;
}


static const cn_stream_ops_t  tcp_ops = {
    .write    = tcp_op_write,
    .end      = tcp_op_end,
    .consumed = tcp_op_consumed,
    .close    = tcp_op_close,
    .pending  = tcp_op_pending,
};


static tcp_t *
tcp_create(cn_loop_t *loop, const cn_address_t *peer, cn_account_t *account)
{
    tcp_t  *tcp = cn_alloc_zero(sizeof(tcp_t));

    if (tcp == NULL) {
        return NULL;
    }

    tcp->stream.ops = &tcp_ops;
    tcp->stream.loop = loop;
    tcp->stream.account = account;
    tcp->stream.info.kind = CN_STREAM_TCP;
    tcp->stream.info.peer = *peer;
    tcp->stream.info.opened_ms = cn_clock_ms();
    tcp->stream.info.id = ++last_id;
    tcp->watch.fd = -1;
    tcp->watch.ready = tcp_event;
    tcp->timer.run = tcp_timeout;
    tcp->ready.run = tcp_ready;
    tcp->write.run = tcp_write_phase;
    tcp->free.run = tcp_free;
    tcp->queue.account = account;
    tcp->window = CN_STREAM_WINDOW;

    return tcp;
}


cn_stream_t *
cn_tcp_accept(cn_loop_t *loop, int fd, const cn_address_t *peer, cn_account_t *account)
{
    tcp_t  *tcp = tcp_create(loop, peer, account);

    if (tcp == NULL) {
        return NULL;
    }

    tcp->watch.fd = fd;
    tcp_opened(tcp);
    tcp->connected = false;             /* born open: there is no event */

    return &tcp->stream;
}


cn_stream_t *
cn_tcp_connect(cn_loop_t *loop, const cn_address_t *to, const cn_address_t *from,
    uint64_t timeout_ms, cn_account_t *account)
{
    tcp_t        *tcp = tcp_create(loop, to, account);
    cn_status_t   status;

    if (tcp == NULL) {
        return NULL;
    }

    status = cn_socket_connect(to, from, &tcp->watch.fd);

    if (status == CN_OK) {
        tcp_opened(tcp);
        cn_loop_post(loop, CN_PHASE_READY, &tcp->ready);
        return &tcp->stream;
    }

    if (status == CN_AGAIN) {
        cn_timer_set(loop, &tcp->timer, timeout_ms);
        tcp_watch(tcp);
        return &tcp->stream;
    }

    tcp->watch.fd = -1;

    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        cn_free(tcp);
        return NULL;
    }

    tcp_fail(tcp, CN_CLOSE_CONNECT_REFUSED);

    return &tcp->stream;
}


void
cn_tcp_set_window(cn_stream_t *stream, size_t window)
{
    tcp_t  *tcp = (tcp_t *) stream;

    tcp->window = window;

    if (tcp->paused && tcp->unconsumed < window) {
        tcp->paused = false;
        tcp_watch(tcp);
    }
}
