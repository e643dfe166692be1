/* SPDX-License-Identifier: Apache-2.0 */

/*
 * loop - the event loop of one process.  A turn is:
 *
 *   wait     epoll_wait until the next deadline (0 when something is ready)
 *   poll     ready descriptors call their watch
 *   timers   due timers run
 *   ready    the ready queue runs until it is empty or its budget is spent (the rest: next turn)
 *   gather   sessions that have frames to send write them down into their streams
 *   write    sockets with bytes queued write them, one system call each
 *   free     what was closed in this turn is freed
 *
 * Calls go down, events go up: a call down never raises an event before it returns.  What it has
 * to tell, it puts in the ready queue.  ready and gather repeat until both are empty before write
 * runs.  One loop per process, one thread.
 */

#ifndef CN_EVENT_LOOP_H
#define CN_EVENT_LOOP_H

#include "base/list.h"

typedef struct cn_loop_s cn_loop_t;
typedef struct cn_task_s cn_task_t;
typedef struct cn_timer_s cn_timer_t;
typedef struct cn_watch_s cn_watch_t;

/* Where in a turn a task runs. */
typedef enum {
    CN_PHASE_READY,
    CN_PHASE_GATHER,
    CN_PHASE_WRITE,
    CN_PHASE_FREE,
    CN_PHASE_COUNT
} cn_turn_phase_t;

/* Embedded in its owner; zeroed plus run set is idle.  run may post the same task again. */
struct cn_task_s {
    cn_list_t   link;
    void      (*run)(cn_task_t *task);
};

/*
 * Activity moves the deadline and not the timer: setting a later deadline on an armed timer costs a
 * store.  Precision is 1 ms to 1 % of the delay; never early, counted from the turn's instant.
 */
struct cn_timer_s {
    cn_list_t   link;
    void      (*run)(cn_timer_t *timer);    /* the timer is disarmed when it is called */
    uint64_t    deadline_ms;                /* monotonic; what the owner last asked for */
    uint64_t    slot_ms;                    /* where it hangs in the wheel; the loop's own */
};

#define CN_READABLE  1u
#define CN_WRITABLE  2u
/*
 * EPOLLHUP and EPOLLERR are always reported; EPOLLRDHUP, a half-close, while CN_READABLE or
 * CN_HANGUP is wanted and the watch is not exclusive: level-triggered, it would else wake a paused
 * reader in every turn.
 */
#define CN_HANGUP    4u

struct cn_watch_s {
    int         fd;             /* the owner's: the watch does not close it */
    unsigned    want;           /* CN_* as registered, level-triggered; 0 at first */
    bool        exclusive;      /* EPOLLEXCLUSIVE: set before the first cn_watch_set() */
    void      (*ready)(cn_watch_t *watch, unsigned events);
};

typedef struct {
    uint64_t    turns;
    uint64_t    longest_turn_us;    /* since the last reset, wait not counted */
    uint64_t    busy_us;            /* sum of turns, wait not counted */
} cn_loop_stats_t;

/* NULL when the kernel or memory refuses. */
cn_loop_t *cn_loop_create(void) CN_MUST_USE;
void cn_loop_destroy(cn_loop_t *loop);

/*
 * Runs turns until cn_loop_stop().  before_wait (may be NULL) is called once a turn before the
 * wait: heartbeats.
 */
void cn_loop_run(cn_loop_t *loop, void (*before_wait)(void *arg), void *arg);
void cn_loop_stop(cn_loop_t *loop);

/* One turn; waits at most wait_ms for events.  For tests and start-up. */
void cn_loop_turn(cn_loop_t *loop, uint32_t wait_ms);

/*
 * Turns until nothing is watched or queued any more, at most limit_ms: lets what was closed say its
 * last words before the loop is destroyed.  true: nothing is left.
 */
bool cn_loop_finish(cn_loop_t *loop, uint32_t limit_ms);

/* Queues task for phase of this turn (or the next, from the wait); a queued task stays as it is. */
void cn_loop_post(cn_loop_t *loop, cn_turn_phase_t phase, cn_task_t *task);

/* Takes a queued task out; an idle one is left alone. */
void cn_task_cancel(cn_task_t *task);

/*
 * Arms timer to run in delay_ms (0: next turn), or moves it.  The owner cancels it before it dies.
 */
void cn_timer_set(cn_loop_t *loop, cn_timer_t *timer, uint64_t delay_ms);
void cn_timer_cancel(cn_timer_t *timer);
static inline bool
cn_timer_armed(const cn_timer_t *timer)
{
    return cn_list_linked(&timer->link);
}

/* Registers, changes or (want 0) removes the watch.  CN_ERR_IO. */
cn_status_t cn_watch_set(cn_loop_t *loop, cn_watch_t *watch, unsigned want) CN_MUST_USE;

/* Removes it; no event of this turn reaches it any more.  Call before close(fd). */
void cn_watch_remove(cn_loop_t *loop, cn_watch_t *watch);

/* Lives as long as the loop. */
const cn_loop_stats_t *cn_loop_stats(const cn_loop_t *loop);
void cn_loop_reset_longest(cn_loop_t *loop);

#endif
