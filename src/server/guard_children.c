/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard_children - starts, reaps, replaces.
 *
 *   child:  down --start--> up --exit, signal, silence of 5 s--> down (back-off) --> ...
 */

#include "server/guard_internal.h"

#include "server/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENCE_MS          5000        /* a heartbeat older than this: the process is stuck */
#define STRIKE_MS           500ull      /* so much life makes up for a death */
#define STRIKES_FREE        5           /* deaths in a row before a restart waits */
#define BACKOFF_FIRST_MS    100ull
#define BACKOFF_MAX_MS      10000ull


/* ---- what a process is given ----------------------------------------------------------------- */

void
cn_guard_send(cn_child_t *child, cn_message_type_t type, const void *payload, size_t size,
    const int *fd)
{
    if (child->channel == NULL) {
        return;
    }

    if (cn_channel_send(child->channel, type, cn_bytes(payload, size), fd, fd != NULL) != CN_OK) {
        cn_log(CN_LOG_ERROR, "guard", "send message: type=%d pid=%d", (int) type,
               (int) child->pid);
    }
}


/* A fresh channel between the master and one worker of a set. */
static void
connect_pair(cn_child_t *worker)
{
    cn_child_t       *master = &worker->set->master;
    cn_msg_worker_t   name = { .worker = worker->index };
    int               fds[2];

    if (master->channel == NULL || worker->channel == NULL) {
        return;
    }

    if (cn_channel_pair(fds) != CN_OK) {
        cn_log(CN_LOG_ERROR, "guard", "open channel: errno=%d", errno);
        return;
    }

    cn_guard_send(worker, CN_MSG_MASTER, NULL, 0, &fds[0]);
    cn_guard_send(master, CN_MSG_WORKER, &name, sizeof(name), &fds[1]);
    close(fds[0]);
    close(fds[1]);
}


void
cn_guard_give_sockets(cn_child_t *child)
{
    cn_guard_t  *guard = child->set->guard;

    for (size_t i = 0; i < guard->listener_count; i++) {
        cn_listener_t  *item = &guard->listeners[i];

        if ((item->listener.kind >= CN_LISTEN_ADMIN) == cn_guard_is_master(child)) {
            cn_guard_send(child, CN_MSG_LISTENER, &item->listener, sizeof(item->listener),
                          &item->fd);
        }
    }
}


static void
give_master_its_things(cn_child_t *master)
{
    /* until it has taken over, another one attends them */
    if (master->set->state == CN_SET_SERVING) {
        cn_guard_give_sockets(master);
    }

    for (uint32_t i = 0; i < master->set->guard->bootstrap->workers; i++) {
        connect_pair(&master->set->workers[i]);
    }
}


static void
give_worker_its_things(cn_child_t *worker)
{
    const cn_publication_t  *snapshot = &worker->set->snapshot;

    cn_guard_give_sockets(worker);

    if (snapshot->generation > 0
        && cn_message_send_publication(worker->channel, snapshot, NULL, 0) != CN_OK)
    {
        cn_log(CN_LOG_ERROR, "guard", "send snapshot: worker=%u", worker->index);
    }

    connect_pair(worker);
}


/* ---- the snapshot that replacements start from ----------------------------------------------- */

static int
held_segment(const cn_publication_t *snapshot, uint64_t id)
{
    for (size_t i = 0; i < snapshot->segment_count; i++) {
        if (snapshot->segment_ids[i] == id) {
            return snapshot->segments[i];
        }
    }

    return -1;
}


static void
close_snapshot(const cn_publication_t *snapshot)
{
    if (snapshot->generation == 0) {
        return;
    }

    close(snapshot->directory);

    for (size_t i = 0; i < snapshot->segment_count; i++) {
        close(snapshot->segments[i]);
    }
}


static void
keep_snapshot(cn_set_t *set)
{
    cn_publication_t  *next = &set->reader.publication;
    cn_publication_t   old = set->snapshot;

    for (size_t i = 0; i < next->segment_count; i++) {
        if (next->segments[i] < 0) {
            int  held = held_segment(&old, next->segment_ids[i]);

            next->segments[i] = held < 0 ? -1 : fcntl(held, F_DUPFD_CLOEXEC, 10);
        }
    }

    set->snapshot = *next;
    close_snapshot(&old);
}


/* ---- what a process says --------------------------------------------------------------------- */

/* A master has nothing to publish.  What an earlier one has published stands. */
static void
no_configuration(cn_set_t *set)
{
    if (set->state == CN_SET_STARTING) {
        cn_guard_upgrade_fail(set->guard, "it cannot use the configuration");

    } else if (set->state == CN_SET_SERVING && set->snapshot.generation == 0) {
        cn_log(CN_LOG_ERROR, "guard", "end: the configuration cannot be used");
        cn_guard_end_all(set->guard, 1);
    }
}


static void
child_message(void *owner, cn_channel_message_t *message)
{
    cn_child_t  *child = owner;
    cn_set_t    *set = child->set;

    if (message->type == CN_MSG_READY) {
        child->useful = true;
        child->ready = true;

        if (set->state == CN_SET_STARTING) {
            cn_guard_upgrade_ready(set->guard);
        }
        return;
    }

    if (!cn_guard_is_master(child)) {
        return;                 /* a worker has nothing else to say to the guard */
    }

    switch (message->type) {

    case CN_MSG_SEGMENT:
    case CN_MSG_PUBLISH:
        if (cn_publication_read(&set->reader, message) == CN_OK) {
            keep_snapshot(set);
        }
        return;

    case CN_MSG_FAILED:
        no_configuration(set);
        return;
    }
}


static void
child_channel_closed(void *owner)
{
    cn_child_t  *child = owner;

    child->channel = NULL;      /* its exit is on its way, by SIGCHLD */
}


static const cn_channel_events_t  child_events = { child_message, child_channel_closed };


/* ---- start and end of a process -------------------------------------------------------------- */

/*
 * A process that dies is started again at once; one that does nothing but die waits longer each
 * time.  Each death is a strike, time lived takes strikes away.
 */
static void
child_failed(cn_child_t *child)
{
    uint64_t  lived = cn_clock_ms() - child->started_ms;
    uint64_t  over, delay = 0;

    if (child->useful && lived < STRIKE_MS) {
        lived = STRIKE_MS;
    }

    child->strikes_ms = lived < child->strikes_ms ? child->strikes_ms - lived : 0;
    child->strikes_ms += STRIKE_MS;

    if (child->strikes_ms > STRIKES_FREE * STRIKE_MS) {
        over = (child->strikes_ms - STRIKES_FREE * STRIKE_MS) / STRIKE_MS;
        delay = over < 7 ? BACKOFF_FIRST_MS << over : BACKOFF_MAX_MS;
    }

    cn_timer_set(child->set->guard->loop, &child->restart,
                 delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
}


static void
close_channel(cn_child_t *child)
{
    if (child->channel != NULL) {
        cn_channel_close(child->channel);
        child->channel = NULL;
    }
}


/* cairn: master --process master SLOT NUMBER [the guard's own options] */
static void
fill_master_argv(const cn_guard_t *guard, char **argv, char *slot, char *number)
{
    size_t  count = 0;

    argv[count++] = "cairn: master";
    argv[count++] = "--process";
    argv[count++] = "master";
    argv[count++] = slot;
    argv[count++] = number;

    for (size_t i = 0; guard->options[i] != NULL && count < CN_GUARD_ARGUMENTS_MAX - 1; i++) {
        argv[count++] = guard->options[i];
    }

    argv[count] = NULL;
}


/* Forks and executes it with a channel of its own.  False: it is down. */
static bool
child_execute(cn_child_t *child)
{
    cn_guard_t  *guard = child->set->guard;
    char         title[32], slot[16], level[16], number[16];
    char        *worker_argv[] = { title, "--process", "worker", slot, level, NULL };
    char        *master_argv[CN_GUARD_ARGUMENTS_MAX];
    uint32_t     first_slot = child->set->first_slot;
    int          fds[2];
    cn_status_t  status;

    snprintf(title, sizeof(title), "cairn: worker %u", first_slot + child->index);
    snprintf(slot, sizeof(slot), "%u",
             cn_guard_is_master(child) ? first_slot : first_slot + child->index);
    snprintf(level, sizeof(level), "%d", (int) guard->bootstrap->log_level);
    snprintf(number, sizeof(number), "%u", child->set->number);
    fill_master_argv(guard, master_argv, slot, number);

    if (cn_channel_pair(fds) != CN_OK) {
        return false;
    }

    child->channel = cn_channel_open(guard->loop, fds[0], &child_events, child);

    if (child->channel == NULL) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }

    status = cn_child_start(child->set->self_fd,
                            cn_guard_is_master(child) ? master_argv : worker_argv, fds[1],
                            guard->slab_fd, &child->pid);
    close(fds[1]);

    if (status != CN_OK) {
        child->pid = 0;
        close_channel(child);
    }

    return status == CN_OK;
}


static void
child_start(cn_child_t *child)
{
    if (child->set->ending || child->pid != 0) {
        return;
    }

    child->started_ms = cn_clock_ms();
    child->useful = false;
    child->ready = false;
    child->mask = 0;

    if (!child_execute(child)) {
        child_failed(child);
        return;
    }

    if (cn_guard_is_master(child)) {
        give_master_its_things(child);

    } else {
        /* until it has turned once, its start is what the watch-dog sees */
        atomic_store(&cn_guard_slot(child)->heartbeat_ms, cn_clock_ms());
        give_worker_its_things(child);
    }

    if (child->set->draining) {
        cn_guard_tell_drain(child, false);
    }
}


static void
child_restart(cn_timer_t *timer)
{
    child_start(CN_CONTAINER_OF(timer, cn_child_t, restart));
}


static void
child_gone(cn_child_t *child, int status)
{
    cn_set_t  *set = child->set;

    if (WIFSIGNALED(status)) {
        cn_log(set->ending ? CN_LOG_INFO : CN_LOG_ERROR, "guard",
               "process ended: pid=%d signal=%d", (int) child->pid, WTERMSIG(status));

    } else if (!set->ending) {
        cn_log(CN_LOG_ERROR, "guard", "process ended: pid=%d exit=%d", (int) child->pid,
               WEXITSTATUS(status));
    }

    child->pid = 0;
    close_channel(child);

    if (!cn_guard_is_master(child)) {
        child->useful = cn_guard_slot(child)->state != CN_WORKER_STARTING;
        cn_slab_worker_gone(set->guard->slab, set->first_slot + child->index);
        cn_guard_assign_sockets(set->guard);
    }

    if (set->ending) {
        return;
    }

    /* what leaves is not replaced */
    if (set->state == CN_SET_SERVING) {
        child_failed(child);

    } else if (set->state == CN_SET_STARTING) {
        cn_guard_upgrade_fail(set->guard, "a process of it has ended");
    }
}


static cn_child_t *
child_by_pid(cn_guard_t *guard, pid_t pid)
{
    for (size_t s = 0; s < CN_COUNT_OF(guard->sets); s++) {
        cn_set_t  *set = &guard->sets[s];

        if (set->state == CN_SET_EMPTY) {
            continue;
        }

        if (set->master.pid == pid) {
            return &set->master;
        }

        for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
            if (set->workers[i].pid == pid) {
                return &set->workers[i];
            }
        }
    }

    return NULL;
}


/* An ended set whose last process is gone leaves its place. */
static void
release_if_over(cn_set_t *set)
{
    if (set->state == CN_SET_EMPTY || !set->ending || !cn_guard_set_is_gone(set)) {
        return;
    }

    cn_log(CN_LOG_INFO, "guard", "set ended: number=%u", set->number);
    cn_slab_use_slots(set->guard->slab, set->first_slot, set->guard->bootstrap->workers, false);
    close_snapshot(&set->snapshot);
    close(set->self_fd);
    set->state = CN_SET_EMPTY;
}


void
cn_guard_reap(cn_guard_t *guard)
{
    int    status;
    pid_t  pid;

    /* as PID 1 it reaps strangers' children too */
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        cn_child_t  *child = child_by_pid(guard, pid);

        if (child != NULL) {
            child_gone(child, status);

        } else {
            cn_guard_upgrade_reaped(guard, pid, status);
        }
    }

    for (size_t i = 0; i < CN_COUNT_OF(guard->sets); i++) {
        release_if_over(&guard->sets[i]);
    }
}


/* ---- sets ------------------------------------------------------------------------------------ */

static void
child_prepare(cn_set_t *set, cn_child_t *child, uint32_t index)
{
    *child = (cn_child_t) { .set = set, .index = index, .restart.run = child_restart };
}


void
cn_guard_set_prepare(cn_guard_t *guard, cn_set_t *set, cn_set_state_t state, int self_fd)
{
    uint32_t  place = (uint32_t) (set - guard->sets);

    *set = (cn_set_t) {
        .guard = guard,
        .state = state,
        .number = guard->current != NULL ? guard->current->number + 1 : 1,
        .first_slot = place * guard->bootstrap->workers,
        .self_fd = self_fd,
    };

    child_prepare(set, &set->master, CN_GUARD_MASTER);

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        child_prepare(set, &set->workers[i], i);
    }
}


void
cn_guard_set_start(cn_set_t *set)
{
    cn_slab_use_slots(set->guard->slab, set->first_slot, set->guard->bootstrap->workers, true);

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        child_start(&set->workers[i]);
    }

    child_start(&set->master);
}


static void
child_end(cn_child_t *child)
{
    cn_timer_cancel(&child->restart);

    if (child->pid != 0) {
        kill(child->pid, SIGTERM);
    }
}


/*
 * Workers end by the signal: what they held is the kernel's and the slab's.  The master takes it
 * as an order, so that it writes out the last log lines.
 */
void
cn_guard_set_end(cn_set_t *set)
{
    if (set->state == CN_SET_EMPTY) {
        return;
    }

    set->ending = true;

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        child_end(&set->workers[i]);
    }

    child_end(&set->master);
}


bool
cn_guard_set_is_gone(const cn_set_t *set)
{
    if (set->state == CN_SET_EMPTY) {
        return true;
    }

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        if (set->workers[i].pid != 0) {
            return false;
        }
    }

    return set->master.pid == 0;
}


bool
cn_guard_set_is_ready(const cn_set_t *set)
{
    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        if (!set->workers[i].ready) {
            return false;
        }
    }

    return set->master.ready;
}


/* ---- supervision ----------------------------------------------------------------------------- */

void
cn_guard_abort_stuck(cn_set_t *set)
{
    uint64_t  now = cn_clock_ms();

    if (set->state == CN_SET_EMPTY) {
        return;
    }

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        cn_child_t  *child = &set->workers[i];
        uint64_t     beat = cn_guard_slot(child)->heartbeat_ms;

        if (child->pid != 0 && now > beat && now - beat > SILENCE_MS) {
            cn_log(CN_LOG_ERROR, "guard", "replace worker: index=%u silent_ms=%llu", i,
                   (unsigned long long) (now - beat));
            kill(child->pid, SIGABRT);
        }
    }
}


uint64_t
cn_guard_connections(const cn_set_t *set)
{
    uint64_t  sum = 0;

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        sum += cn_guard_slot(&set->workers[i])->connections;
    }

    return sum;
}
