/* SPDX-License-Identifier: Apache-2.0 */

/* loop - epoll, and the phases of a turn. */

#include "event/loop.h"

#include "event/wheel.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define DELAY_MAX       ((uint64_t) 1 << 40)    /* ms; 34 years */

#define EVENTS_MAX      256             /* of one epoll_wait */
#define TASKS_MAX       16384           /* tasks of a turn's ready and gather phases */
#define TASKS_TIME_US   3000            /* and about how long they may take */
#define TASKS_PER_LOOK  32              /* tasks between two looks at the clock */

struct cn_loop_s {
    int                 epoll_fd;
    bool                stopping;
    size_t              watched;        /* watches registered now */
    cn_list_t           phases[CN_PHASE_COUNT];
    uint32_t            budget;         /* tasks that this turn may still run */
    uint64_t            tasks_since_us; /* the first look at the clock among tasks; 0: none yet */
    uint64_t            log_second;
    cn_loop_stats_t     stats;

    int                 event_at;       /* of events, the one being told */
    int                 event_count;
    struct epoll_event  events[EVENTS_MAX];
    cn_wheel_t          wheel;
};


cn_loop_t *
cn_loop_create(void)
{
    cn_loop_t  *loop = cn_alloc_zero(sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }

    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        cn_log(CN_LOG_ERROR, "loop", "create epoll: errno=%d", errno);
        cn_free(loop);
        return NULL;
    }

    cn_clock_update();
    cn_wheel_init(&loop->wheel, cn_clock_ms());

    for (size_t i = 0; i < CN_PHASE_COUNT; i++) {
        cn_list_init(&loop->phases[i]);
    }

    return loop;
}


void
cn_loop_destroy(cn_loop_t *loop)
{
    if (loop == NULL) {
        return;
    }

    /* an owner that outlives the loop may still cancel what it had here */
    for (size_t i = 0; i < CN_PHASE_COUNT; i++) {
        while (!cn_list_empty(&loop->phases[i])) {
            cn_list_remove(loop->phases[i].next);
        }
    }

    cn_wheel_clear(&loop->wheel);

    (void) close(loop->epoll_fd);
    cn_free(loop);
}


void
cn_timer_set(cn_loop_t *loop, cn_timer_t *timer, uint64_t delay_ms)
{
    uint64_t  deadline_ms = cn_clock_ms();

    if (delay_ms > 0) {
        /* the part of a millisecond that has passed already counts as not passed: never early */
        deadline_ms = (cn_clock_us() + 999) / 1000
                      + (delay_ms > DELAY_MAX ? DELAY_MAX : delay_ms);
    }

    cn_wheel_set(&loop->wheel, timer, deadline_ms, cn_clock_ms());
}


void
cn_timer_cancel(cn_timer_t *timer)
{
    cn_list_remove(&timer->link);
}


void
cn_loop_post(cn_loop_t *loop, cn_turn_phase_t phase, cn_task_t *task)
{
    if (!cn_list_linked(&task->link)) {
        cn_list_append(&loop->phases[phase], &task->link);
    }
}


void
cn_task_cancel(cn_task_t *task)
{
    cn_list_remove(&task->link);
}


static void
run_first(cn_list_t *tasks)
{
    cn_task_t  *task = CN_LIST_ITEM(tasks->next, cn_task_t, link);

    cn_list_remove(&task->link);
    task->run(task);
}


/* Takes one task off the turn's budget, which is in tasks and in time. */
static void
budget_take(cn_loop_t *loop)
{
    uint64_t  now_us;

    if (loop->budget == 0 || --loop->budget % TASKS_PER_LOOK != 0) {
        return;
    }

    now_us = cn_clock_us_now();

    if (loop->tasks_since_us == 0) {
        loop->tasks_since_us = now_us;

    } else if (now_us - loop->tasks_since_us > TASKS_TIME_US) {
        loop->budget = 0;
    }
}


/* Until no task is ready, new ones included, or the budget is spent. */
static void
run_ready(cn_loop_t *loop)
{
    cn_list_t  *tasks = &loop->phases[CN_PHASE_READY];

    while (!cn_list_empty(tasks) && loop->budget > 0) {
        budget_take(loop);
        run_first(tasks);
    }
}


/*
 * Each task that waits to gather now, whatever the budget is: ready tasks must not starve output.
 */
static void
run_gather(cn_loop_t *loop)
{
    cn_list_t  tasks;

    cn_list_init(&tasks);
    cn_list_splice(&tasks, &loop->phases[CN_PHASE_GATHER]);

    while (!cn_list_empty(&tasks)) {
        budget_take(loop);
        run_first(&tasks);
    }
}


/*
 * Runs all of a phase, whatever the budget is: what was gathered must be written and what was
 * closed must be freed.  A task may post others to its own phase, but not itself without end.
 */
static void
run_all(cn_loop_t *loop, cn_turn_phase_t phase)
{
    while (!cn_list_empty(&loop->phases[phase])) {
        run_first(&loop->phases[phase]);
    }
}


static void
run_phases(cn_loop_t *loop)
{
    loop->budget = TASKS_MAX;
    loop->tasks_since_us = 0;

    do {
        run_ready(loop);
        run_gather(loop);
    } while (loop->budget > 0
             && (!cn_list_empty(&loop->phases[CN_PHASE_READY])
                 || !cn_list_empty(&loop->phases[CN_PHASE_GATHER])));

    run_all(loop, CN_PHASE_WRITE);
    run_all(loop, CN_PHASE_FREE);
}


static unsigned
watch_events(uint32_t events)
{
    return ((events & EPOLLIN) ? CN_READABLE : 0u) | ((events & EPOLLOUT) ? CN_WRITABLE : 0u)
           | ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) ? CN_HANGUP : 0u);
}


static void
tell_watches(cn_loop_t *loop)
{
    for (loop->event_at = 0; loop->event_at < loop->event_count; loop->event_at++) {
        const struct epoll_event  *event = &loop->events[loop->event_at];
        cn_watch_t                *watch = event->data.ptr;

        /* NULL: removed by a watch that was told earlier in this turn */
        if (watch != NULL) {
            watch->ready(watch, watch_events(event->events));
        }
    }

    loop->event_count = 0;
}


static bool
has_tasks(const cn_loop_t *loop)
{
    for (size_t i = 0; i < CN_PHASE_COUNT; i++) {
        if (!cn_list_empty(&loop->phases[i])) {
            return true;
        }
    }

    return false;
}


/* How long to wait (ms; -1: for ever), at most max_ms. */
static int
wait_time(cn_loop_t *loop, uint32_t max_ms)
{
    uint64_t  next_ms, now_us, left_ms;

    if (has_tasks(loop)) {
        return 0;
    }

    next_ms = max_ms == 0 ? 0 : cn_wheel_next(&loop->wheel);

    if (next_ms == 0) {
        return 0;
    }

    if (next_ms == CN_WHEEL_NEVER) {
        return max_ms > INT32_MAX ? -1 : (int) max_ms;
    }

    /* the clock now: the turn itself took time since it was cached */
    now_us = cn_clock_us_now();

    if (next_ms * 1000 <= now_us) {
        return 0;
    }

    left_ms = (next_ms * 1000 - now_us + 999) / 1000;
    left_ms = left_ms > max_ms ? max_ms : left_ms;

    return left_ms > INT32_MAX ? INT32_MAX : (int) left_ms;
}


/* What the log held back in the second before is told once the clock has left it. */
static void
look_at_second(cn_loop_t *loop)
{
    uint64_t  second = cn_clock_wall_ms() / 1000;

    if (second != loop->log_second) {
        loop->log_second = second;
        cn_log_flush();
    }
}


void
cn_loop_turn(cn_loop_t *loop, uint32_t wait_ms)
{
    uint64_t  start_us, busy_us;
    int       count;

    count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_time(loop, wait_ms));
    CN_BUG_ON(count < 0 && errno != EINTR);

    cn_clock_update();
    start_us = cn_clock_us();
    loop->event_count = count < 0 ? 0 : count;

    look_at_second(loop);
    tell_watches(loop);
    cn_wheel_run(&loop->wheel, cn_clock_ms());
    run_phases(loop);

    busy_us = cn_clock_us_now() - start_us;
    loop->stats.turns++;
    loop->stats.busy_us += busy_us;

    if (busy_us > loop->stats.longest_turn_us) {
        loop->stats.longest_turn_us = busy_us;
    }
}


void
cn_loop_run(cn_loop_t *loop, void (*before_wait)(void *arg), void *arg)
{
    while (!loop->stopping) {
        if (before_wait != NULL) {
            before_wait(arg);
        }

        cn_loop_turn(loop, UINT32_MAX);
    }

    loop->stopping = false;
}


void
cn_loop_stop(cn_loop_t *loop)
{
    loop->stopping = true;
}


bool
cn_loop_finish(cn_loop_t *loop, uint32_t limit_ms)
{
    uint64_t  end_ms = cn_clock_us_now() / 1000 + limit_ms;
    uint64_t  now_ms;

    while (loop->watched > 0 || has_tasks(loop)) {
        now_ms = cn_clock_us_now() / 1000;

        if (now_ms >= end_ms) {
            return false;
        }

        cn_loop_turn(loop, (uint32_t) (end_ms - now_ms));
    }

    return true;
}


static uint32_t
epoll_events(const cn_watch_t *watch, unsigned want)
{
    uint32_t  events = ((want & CN_READABLE) ? (uint32_t) EPOLLIN : 0u)
                       | ((want & CN_WRITABLE) ? (uint32_t) EPOLLOUT : 0u);

    if (watch->exclusive) {
        return events | EPOLLEXCLUSIVE;         /* the kernel allows no EPOLLRDHUP beside it */
    }

    /* who does not read cannot act on a half-close, and would hear of it in every turn */
    if (want & (CN_READABLE | CN_HANGUP)) {
        events |= EPOLLRDHUP;
    }

    return events;
}


static cn_status_t
epoll_change(cn_loop_t *loop, int operation, cn_watch_t *watch, unsigned want)
{
    struct epoll_event  event = { .events = epoll_events(watch, want), .data.ptr = watch };

    if (epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) == 0) {
        return CN_OK;
    }

    cn_log(CN_LOG_ERROR, "loop", "change watch: operation=%d fd=%d errno=%d", operation, watch->fd,
           errno);

    return CN_ERR_IO;
}


cn_status_t
cn_watch_set(cn_loop_t *loop, cn_watch_t *watch, unsigned want)
{
    cn_status_t  status;

    if (want == watch->want) {
        return CN_OK;
    }

    if (want == 0) {
        cn_watch_remove(loop, watch);
        return CN_OK;
    }

    if (watch->want != 0 && watch->exclusive) {
        cn_watch_remove(loop, watch);           /* an exclusive one cannot be modified */
    }

    status = epoll_change(loop, watch->want == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, watch, want);
    if (status == CN_OK) {
        loop->watched += watch->want == 0;
        watch->want = want;
    }

    return status;
}


void
cn_watch_remove(cn_loop_t *loop, cn_watch_t *watch)
{
    if (watch->want == 0) {
        return;
    }

    watch->want = 0;
    loop->watched--;

    /* a log line is all that can be done: the descriptor was closed before its watch was removed */
    if (epoll_change(loop, EPOLL_CTL_DEL, watch, 0) != CN_OK) {
        cn_log(CN_LOG_ALERT, "loop", "remove watch: fd=%d was not registered", watch->fd);
    }

    for (int i = loop->event_at + 1; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == watch) {
            loop->events[i].data.ptr = NULL;
        }
    }
}


const cn_loop_stats_t *
cn_loop_stats(const cn_loop_t *loop)
{
    return &loop->stats;
}


void
cn_loop_reset_longest(cn_loop_t *loop)
{
    loop->stats.longest_turn_us = 0;
}
