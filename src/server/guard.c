/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard - signals, the drain, the end.  Sockets are in guard_sockets.c, processes in
 * guard_children.c.
 *
 * Signals: HUP reload, USR1 reopen logs, QUIT drain and exit when idle, TERM drain for the drain
 * time (or what QUIT does, if the bootstrap says so), INT exit now, RTMIN drain and stay, USR2
 * upgrade (guard_upgrade.c).
 *
 *   serving --RTMIN--> draining --TERM, and the drain time over--------------> last words --> end
 *                               --QUIT, and idle past the minimum, or late-->
 */

#include "server/guard.h"

#include "server/child.h"
#include "server/guard_internal.h"
#include "server/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define SUPERVISE_MS   250
#define DRAIN_STEP_MS  50


/* ---- ending ---------------------------------------------------------------------------------- */

static bool
all_gone(const cn_guard_t *guard)
{
    for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
        if (!cn_guard_set_is_gone(&guard->sets[i])) {
            return false;
        }
    }

    return true;
}


void
cn_guard_end_all(cn_guard_t *guard, int exit_code)
{
    if (!guard->ending) {
        guard->ending = true;
        guard->exit_code = exit_code;
    }

    for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
        cn_guard_set_end(&guard->sets[i]);
    }

    if (all_gone(guard)) {
        cn_loop_stop(guard->loop);
    }
}


void
cn_guard_tell_drain(cn_child_t *child, bool final)
{
    const cn_set_t  *set = child->set;
    cn_msg_drain_t   order = {
        .final = final,
        .elapsed_ms = cn_clock_ms() - set->drain_started_ms,
        .time_ms = set->guard->bootstrap->drain_ms,
    };

    cn_guard_send(child, CN_MSG_DRAIN, &order, sizeof(order), NULL);
}


void
cn_guard_set_tell_drain(cn_set_t *set, bool final)
{
    cn_guard_tell_drain(&set->master, final);

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        cn_guard_tell_drain(&set->workers[i], final);
    }
}


/* Of everybody, also those that an upgrade has left. */
static uint64_t
connections(const cn_guard_t *guard)
{
    uint64_t  sum = 0;

    for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
        sum += guard->sets[i].state != CN_SET_EMPTY ? cn_guard_connections(&guard->sets[i]) : 0;
    }

    return sum;
}


/* Whether the drain has come to where a signal wanted the end. */
static bool
drain_is_over(const cn_guard_t *guard, uint64_t elapsed_ms)
{
    const cn_bootstrap_t  *bootstrap = guard->bootstrap;

    if (guard->exit_in_time && elapsed_ms >= bootstrap->drain_ms) {
        return true;
    }

    return guard->exit_when_idle
           && (elapsed_ms >= bootstrap->drain_deadline_ms
               || (elapsed_ms >= bootstrap->drain_minimum_ms
                   && connections(guard) == 0));
}


/* Peers that are still there learn of the end a moment before it comes. */
static void
last_words_over(cn_timer_t *timer)
{
    cn_guard_t  *guard = CN_CONTAINER_OF(timer, cn_guard_t, drain);

    if (cn_clock_ms() < guard->last_words_ms + CN_GUARD_LAST_WORDS_MS
        && connections(guard) > 0)
    {
        cn_timer_set(guard->loop, timer, DRAIN_STEP_MS / 2);
        return;
    }

    cn_guard_end_all(guard, 0);
}


static void
drain_step(cn_timer_t *timer)
{
    cn_guard_t  *guard = CN_CONTAINER_OF(timer, cn_guard_t, drain);
    uint64_t     now = cn_clock_ms();

    if (drain_is_over(guard, now - guard->current->drain_started_ms)) {
        cn_guard_set_tell_drain(guard->current, true);
        guard->last_words_ms = now;
        timer->run = last_words_over;
        last_words_over(timer);
        return;
    }

    cn_timer_set(guard->loop, timer, DRAIN_STEP_MS);
}


static void
start_drain(cn_guard_t *guard)
{
    cn_set_t  *set = guard->current;

    if (set->draining || guard->ending) {
        return;
    }

    cn_guard_upgrade_fail(guard, "everything drains");
    set->draining = true;
    set->drain_started_ms = cn_clock_ms();
    cn_log(CN_LOG_INFO, "guard", "drain: time_ms=%llu",
           (unsigned long long) guard->bootstrap->drain_ms);
    cn_guard_set_tell_drain(set, false);
    cn_timer_set(guard->loop, &guard->drain, 0);
}


/* The guard's own lines go where all others go. */
static void
open_log(cn_guard_t *guard)
{
    int  fd = cn_log_file_open(guard->bootstrap->log_path);

    if (fd < 0) {
        cn_log(CN_LOG_ERROR, "guard", "open log: path=%s reason=\"%s\"",
               guard->bootstrap->log_path, strerror(errno));
        return;
    }

    cn_log_open("guard", cn_log_file_sink, (void *) (intptr_t) fd);

    if (guard->log_fd > STDERR_FILENO) {
        close(guard->log_fd);
    }

    guard->log_fd = fd;
}


static void
on_signal(void *owner, int number)
{
    cn_guard_t  *guard = owner;

    switch (number) {

    case SIGCHLD:
        cn_guard_reap(guard);

        if (guard->ending && all_gone(guard)) {
            cn_loop_stop(guard->loop);
        }
        return;

    case SIGHUP:
        cn_guard_send(&guard->current->master, CN_MSG_RELOAD, NULL, 0, NULL);
        return;

    case SIGUSR1:
        open_log(guard);

        for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
            cn_guard_send(&guard->sets[i].master, CN_MSG_REOPEN, NULL, 0, NULL);
        }
        return;

    case SIGUSR2:
        cn_guard_upgrade_start(guard);
        return;

    case SIGTERM:
        if (guard->bootstrap->term_waits_for_idle) {
            guard->exit_when_idle = true;
        } else {
            guard->exit_in_time = true;
        }
        start_drain(guard);
        return;

    case SIGQUIT:
        guard->exit_when_idle = true;
        start_drain(guard);
        return;

    case SIGINT:
        cn_guard_end_all(guard, 0);
        return;
    }

    if (number == SIGRTMIN) {           /* no constant, so no case */
        start_drain(guard);
    }
}


/* ---- supervision ----------------------------------------------------------------------------- */

static void
supervise(cn_timer_t *timer)
{
    cn_guard_t  *guard = CN_CONTAINER_OF(timer, cn_guard_t, supervise);

    if (!guard->ending) {
        for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
            cn_guard_abort_stuck(&guard->sets[i]);
        }

        cn_guard_assign_sockets(guard);
    }

    cn_timer_set(guard->loop, timer, SUPERVISE_MS);
}


/* ---- start ----------------------------------------------------------------------------------- */

static bool
write_pid(const cn_bootstrap_t *bootstrap)
{
    char     digits[32];
    int      len = snprintf(digits, sizeof(digits), "%d\n", (int) getpid());
    int      fd;
    ssize_t  written;

    if (bootstrap->pid_path == NULL) {
        return true;
    }

    fd = open(bootstrap->pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0) {
        cn_log(CN_LOG_ERROR, "guard", "write pid: path=%s reason=\"%s\"", bootstrap->pid_path,
               strerror(errno));
        return false;
    }

    written = write(fd, digits, (size_t) len);
    close(fd);

    return written == len;
}


static bool
open_slab(cn_guard_t *guard)
{
    cn_slab_config_t   config = {
        .workers = 2 * guard->bootstrap->workers,   /* one set serves, one may drain beside it */
        .cells = 16384,
        .ring_size = 1024 * 1024,
        .series_size = 4 * 1024 * 1024,
    };
    const char        *error = "";

    if (cn_slab_create(&config, &guard->slab_fd) != CN_OK) {
        cn_log(CN_LOG_ERROR, "guard", "create slab: errno=%d", errno);
        return false;
    }

    guard->slab = cn_slab_map(guard->slab_fd, &error);

    if (guard->slab == NULL) {
        cn_log(CN_LOG_ERROR, "guard", "map slab: reason=\"%s\"", error);
    }

    if (guard->slab != NULL) {
        cn_slab_use_slots(guard->slab, 0, config.workers, false);
    }

    return guard->slab != NULL;
}


static bool
open_guard(cn_guard_t *guard)
{
    const int  numbers[] = {
        SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGQUIT, SIGINT, SIGRTMIN, 0
    };
    int        self_fd = cn_child_open_self();

    guard->loop = cn_loop_create();

    if (self_fd < 0 || guard->loop == NULL) {
        return false;
    }

    cn_guard_set_prepare(guard, &guard->sets[0], CN_SET_SERVING, self_fd);
    guard->current = &guard->sets[0];

    guard->signals = cn_signals_open(guard->loop, numbers, on_signal, guard);

    return guard->signals != NULL && open_slab(guard) && cn_guard_open_listeners(guard);
}


int
cn_guard_main(const cn_bootstrap_t *bootstrap, char *const *options)
{
    static cn_guard_t  guard;              /* the process's one */

    guard.bootstrap = bootstrap;
    guard.options = options;
    guard.supervise.run = supervise;
    guard.drain.run = drain_step;

    cn_log_set_level(bootstrap->log_level);
    open_log(&guard);

    cn_guard_upgrade_prepare(&guard);

    if (!open_guard(&guard) || !write_pid(bootstrap)) {
        return 1;
    }

    malloc_trim(0);             /* what the look at the configuration before the start has used */
    cn_guard_set_start(guard.current);
    cn_timer_set(guard.loop, &guard.supervise, 20);
    cn_loop_run(guard.loop, NULL, NULL);

    if (bootstrap->pid_path != NULL) {
        unlink(bootstrap->pid_path);
    }

    cn_log(CN_LOG_INFO, "guard", "ended");

    return guard.exit_code;
}
