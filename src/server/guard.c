/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard - starts, reaps, replaces; hands out listening sockets.
 *
 *   child:  down --start--> up --exit, signal, silence of 5 s--> down (back-off) --> ...
 *
 * Each worker attends its own sockets.  Those of a dead or overloaded worker are attended by the
 * one with the least connections, so that a socket always has somebody who accepts.
 *
 * Signals: HUP reload, USR1 reopen logs, QUIT drain and exit when idle, TERM drain for the drain
 * time, INT exit now.
 */

#include "server/guard.h"

#include "base/clock.h"
#include "event/signal.h"
#include "server/child.h"
#include "server/log_files.h"
#include "server/message.h"
#include "server/worker.h"
#include "stats/slab.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENERS_MAX       256         /* sockets: addresses times workers */
#define SILENCE_MS          5000        /* a heartbeat older than this: the process is stuck */
#define SUPERVISE_MS        250
#define STRIKE_MS           500ull      /* so much life makes up for a death */
#define STRIKES_FREE        5           /* deaths in a row before a restart waits */
#define BACKOFF_FIRST_MS    100ull
#define BACKOFF_MAX_MS      10000ull
#define BACKLOG             4096

typedef struct guard_s guard_t;

typedef struct {
    guard_t       *guard;
    uint32_t       index;               /* worker's; UINT32_MAX: the master */
    pid_t          pid;                 /* 0: down */
    cn_channel_t  *channel;
    cn_timer_t     restart;
    uint64_t       started_ms;
    bool           useful;              /* it served, or published */
    uint64_t       strikes_ms;          /* deaths, in units of the life that makes up for one */
    uint64_t       mask;                /* worker: whose sockets it attends, as last told */
} child_t;

typedef struct {
    cn_msg_listener_t  listener;
    int                fd;
} listener_t;

struct guard_s {
    const cn_bootstrap_t     *bootstrap;
    char *const              *master_argv;
    cn_loop_t                *loop;
    cn_signals_t             *signals;
    cn_slab_t                *slab;
    int                       slab_fd;
    int                       self_fd;
    child_t                   master;
    child_t                  *workers;
    listener_t                listeners[LISTENERS_MAX];
    size_t                    listener_count;
    cn_publication_reader_t   reader;
    cn_publication_t          snapshot;     /* the last published; generation 0: none */
    cn_timer_t                supervise;
    cn_timer_t                deadline;
    bool                      draining;
    bool                      exit_when_idle;
    bool                      ending;
    int                       exit_code;
    int                       log_fd;
};

static void child_start(child_t *child);


/* ---- sockets --------------------------------------------------------------------------------- */

static bool
open_listener(guard_t *guard, cn_listen_kind_t kind, uint32_t worker, const cn_address_t *address,
    bool shared)
{
    listener_t  *item = &guard->listeners[guard->listener_count];
    char         text[CN_ADDRESS_TEXT_MAX];

    if (guard->listener_count == LISTENERS_MAX) {
        cn_log(CN_LOG_ERROR, "guard", "listen: more than %d sockets", LISTENERS_MAX);
        return false;
    }

    if (cn_socket_listen(address, shared, BACKLOG, &item->fd) != CN_OK) {
        cn_address_print(address, text);
        cn_log(CN_LOG_ERROR, "guard", "listen: address=%s reason=\"%s\"", text, strerror(errno));
        return false;
    }

    item->listener = (cn_msg_listener_t) { .kind = kind, .worker = worker, .address = *address };
    guard->listener_count++;

    return true;
}


/* Port 0 is chosen by the kernel for the first worker; the others share what it got. */
static bool
open_for_workers(guard_t *guard, cn_listen_kind_t kind, const cn_address_t *address)
{
    cn_address_t  bound = *address;

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        if (!open_listener(guard, kind, i, &bound, true)) {
            return false;
        }

        if (bound.port == 0
            && cn_socket_local(guard->listeners[guard->listener_count - 1].fd, &bound) != CN_OK)
        {
            return false;
        }
    }

    return true;
}


static bool
open_for_master(guard_t *guard, cn_listen_kind_t kind, const cn_array_t *addresses)
{
    CN_ARRAY_EACH(addresses, const cn_address_t, address) {
        if (!open_listener(guard, kind, 0, address, false)) {
            return false;
        }
    }

    return true;
}


static bool
open_listeners(guard_t *guard)
{
    const cn_bootstrap_t  *bootstrap = guard->bootstrap;

    CN_ARRAY_EACH(&bootstrap->hbone, const cn_address_t, address) {
        if (!open_for_workers(guard, CN_LISTEN_HBONE, address)) {
            return false;
        }
    }

    CN_ARRAY_EACH(&bootstrap->plaintext, const cn_plain_listener_t, plain) {
        if (!open_for_workers(guard, CN_LISTEN_PLAIN, &plain->address)) {
            return false;
        }
    }

    return open_for_master(guard, CN_LISTEN_ADMIN, &bootstrap->admin)
           && open_for_master(guard, CN_LISTEN_STATUS, &bootstrap->status)
           && open_for_master(guard, CN_LISTEN_METRICS, &bootstrap->metrics);
}


/*
 * Nobody is told of a connection that waits on a socket whose worker is gone: each has somebody at
 * any time.
 */
static bool
is_serving(const guard_t *guard, uint32_t index)
{
    const child_t  *child = &guard->workers[index];
    uint32_t        state = cn_slab_worker(guard->slab, index)->state;

    return child->pid != 0 && child->channel != NULL
           && (state == CN_WORKER_SERVING || state == CN_WORKER_DRAINING);
}


static uint32_t
least_loaded(const guard_t *guard, const uint64_t *loads)
{
    uint32_t  best = UINT32_MAX;

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        if (is_serving(guard, i) && (best == UINT32_MAX || loads[i] < loads[best])) {
            best = i;
        }
    }

    return best;
}


static void
tell_attend(child_t *child, uint64_t mask)
{
    cn_msg_attend_t  order = { mask };

    if (child->channel == NULL || child->mask == mask) {
        return;
    }

    if (cn_channel_send(child->channel, CN_MSG_ATTEND, cn_bytes(&order, sizeof(order)), NULL, 0)
        == CN_OK)
    {
        child->mask = mask;
    }
}


/*
 * Who attends what.  A worker well above its share of connections hands its own sockets to the
 * least loaded one, until the shares are even again.
 */
static void
assign_sockets(guard_t *guard)
{
    uint32_t  count = guard->bootstrap->workers;
    uint64_t  masks[CN_WORKERS_MAX] = { 0 };
    uint64_t  loads[CN_WORKERS_MAX];
    uint64_t  sum = 0;
    uint32_t  serving = 0;

    for (uint32_t i = 0; i < count; i++) {
        loads[i] = is_serving(guard, i) ? cn_slab_worker(guard->slab, i)->connections : 0;
        sum += loads[i];
        serving += is_serving(guard, i);
    }

    for (uint32_t i = 0; i < count; i++) {
        uint32_t  other = least_loaded(guard, loads);
        uint64_t  share = serving > 0 ? sum / serving : 0;

        if (other == UINT32_MAX
            || (is_serving(guard, i) && loads[i] <= share + share / 4 + 1))
        {
            masks[i] |= 1ull << i;
            continue;
        }

        masks[other] |= 1ull << i;
    }

    for (uint32_t i = 0; i < count; i++) {
        tell_attend(&guard->workers[i], masks[i]);
    }
}


/* ---- children -------------------------------------------------------------------------------- */

static bool
is_master(const child_t *child)
{
    return child->index == UINT32_MAX;
}


static void
send_or_log(child_t *child, cn_message_type_t type, const void *payload, size_t size,
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


/* A fresh channel between the master and one worker. */
static void
connect_pair(guard_t *guard, uint32_t index)
{
    child_t          *worker = &guard->workers[index];
    cn_msg_worker_t   name = { .worker = index };
    int               fds[2];

    if (guard->master.channel == NULL || worker->channel == NULL) {
        return;
    }

    if (cn_channel_pair(fds) != CN_OK) {
        cn_log(CN_LOG_ERROR, "guard", "open channel: errno=%d", errno);
        return;
    }

    send_or_log(worker, CN_MSG_MASTER, NULL, 0, &fds[0]);
    send_or_log(&guard->master, CN_MSG_WORKER, &name, sizeof(name), &fds[1]);
    close(fds[0]);
    close(fds[1]);
}


static void
give_master_its_things(guard_t *guard)
{
    for (size_t i = 0; i < guard->listener_count; i++) {
        listener_t  *item = &guard->listeners[i];

        if (item->listener.kind >= CN_LISTEN_ADMIN) {
            send_or_log(&guard->master, CN_MSG_LISTENER, &item->listener, sizeof(item->listener),
                        &item->fd);
        }
    }

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        connect_pair(guard, i);
    }
}


static void
give_worker_its_things(guard_t *guard, child_t *worker)
{
    for (size_t i = 0; i < guard->listener_count; i++) {
        listener_t  *item = &guard->listeners[i];

        if (item->listener.kind < CN_LISTEN_ADMIN) {
            send_or_log(worker, CN_MSG_LISTENER, &item->listener, sizeof(item->listener),
                        &item->fd);
        }
    }

    if (guard->snapshot.generation > 0
        && cn_message_send_publication(worker->channel, &guard->snapshot, NULL, 0) != CN_OK)
    {
        cn_log(CN_LOG_ERROR, "guard", "send snapshot: worker=%u", worker->index);
    }

    connect_pair(guard, worker->index);
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
keep_snapshot(guard_t *guard)
{
    cn_publication_t  *next = &guard->reader.publication;
    cn_publication_t   old = guard->snapshot;

    for (size_t i = 0; i < next->segment_count; i++) {
        if (next->segments[i] < 0) {
            int  held = held_segment(&old, next->segment_ids[i]);

            next->segments[i] = held < 0 ? -1 : fcntl(held, F_DUPFD_CLOEXEC, 10);
        }
    }

    guard->snapshot = *next;

    if (old.generation > 0) {
        close(old.directory);

        for (size_t i = 0; i < old.segment_count; i++) {
            close(old.segments[i]);
        }
    }
}


static void end_all(guard_t *guard, int exit_code);


static void
child_message(void *owner, cn_channel_message_t *message)
{
    child_t  *child = owner;
    guard_t  *guard = child->guard;

    if (!is_master(child)) {
        return;                 /* a worker has nothing to say to the guard */
    }

    switch (message->type) {

    case CN_MSG_SEGMENT:
    case CN_MSG_PUBLISH:
        if (cn_publication_read(&guard->reader, message) == CN_OK) {
            keep_snapshot(guard);
        }
        return;

    case CN_MSG_READY:
        child->useful = true;
        return;

    case CN_MSG_FAILED:
        cn_log(CN_LOG_ERROR, "guard", "end: the configuration cannot be used");
        end_all(guard, 1);
        return;
    }
}


static void
child_channel_closed(void *owner)
{
    child_t  *child = owner;

    child->channel = NULL;      /* its exit is on its way, by SIGCHLD */
}


static const cn_channel_events_t  child_events = { child_message, child_channel_closed };


static void
child_restart(cn_timer_t *timer)
{
    child_start(CN_CONTAINER_OF(timer, child_t, restart));
}


/*
 * A process that dies is started again at once; one that does nothing but die waits longer each
 * time.  Each death is a strike, time lived takes strikes away.
 */
static void
child_failed(child_t *child)
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

    cn_timer_set(child->guard->loop, &child->restart,
                 delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
}


static void
child_start(child_t *child)
{
    guard_t  *guard = child->guard;
    char      title[32], index[16], level[16];
    char     *worker_argv[] = { title, "--process", "worker", index, level, NULL };
    int       fds[2];

    if (guard->ending || child->pid != 0) {
        return;
    }

    snprintf(title, sizeof(title), "cairn: worker %u", child->index);
    snprintf(index, sizeof(index), "%u", child->index);
    snprintf(level, sizeof(level), "%d", (int) guard->bootstrap->log_level);
    child->started_ms = cn_clock_ms();
    child->useful = false;

    if (cn_channel_pair(fds) != CN_OK) {
        child_failed(child);
        return;
    }

    child->channel = cn_channel_open(guard->loop, fds[0], &child_events, child);

    if (child->channel == NULL
        || cn_child_start(guard->self_fd, is_master(child) ? guard->master_argv : worker_argv,
                          fds[1], guard->slab_fd, &child->pid) != CN_OK)
    {
        child->pid = 0;

        if (child->channel != NULL) {
            cn_channel_close(child->channel);
            child->channel = NULL;

        } else {
            close(fds[0]);
        }

        close(fds[1]);
        child_failed(child);
        return;
    }

    close(fds[1]);
    child->mask = 0;

    if (is_master(child)) {
        give_master_its_things(guard);
        return;
    }

    /* until it has turned once, its start is what the watch-dog sees */
    atomic_store(&cn_slab_worker(guard->slab, child->index)->heartbeat_ms, cn_clock_ms());
    give_worker_its_things(guard, child);
}


static void
child_gone(child_t *child, int status)
{
    guard_t  *guard = child->guard;

    if (WIFSIGNALED(status)) {
        cn_log(guard->ending ? CN_LOG_INFO : CN_LOG_ERROR, "guard",
               "process ended: pid=%d signal=%d", (int) child->pid, WTERMSIG(status));

    } else if (!guard->ending) {
        cn_log(CN_LOG_ERROR, "guard", "process ended: pid=%d exit=%d", (int) child->pid,
               WEXITSTATUS(status));
    }

    child->pid = 0;

    if (child->channel != NULL) {
        cn_channel_close(child->channel);
        child->channel = NULL;
    }

    if (!is_master(child)) {
        child->useful = cn_slab_worker(guard->slab, child->index)->state != CN_WORKER_STARTING;
        cn_slab_worker_gone(guard->slab, child->index);
        assign_sockets(guard);
    }

    if (!guard->ending) {
        child_failed(child);
    }
}


static child_t *
child_by_pid(guard_t *guard, pid_t pid)
{
    if (guard->master.pid == pid) {
        return &guard->master;
    }

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        if (guard->workers[i].pid == pid) {
            return &guard->workers[i];
        }
    }

    return NULL;
}


static bool
all_gone(const guard_t *guard)
{
    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        if (guard->workers[i].pid != 0) {
            return false;
        }
    }

    return guard->master.pid == 0;
}


static void
reap(guard_t *guard)
{
    int    status;
    pid_t  pid;

    /* as PID 1 it reaps strangers' children too */
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        child_t  *child = child_by_pid(guard, pid);

        if (child != NULL) {
            child_gone(child, status);
        }
    }

    if (guard->ending && all_gone(guard)) {
        cn_loop_stop(guard->loop);
    }
}


/* ---- ending ---------------------------------------------------------------------------------- */

/*
 * Workers end with KILL: what they held is the kernel's and the slab's.  The master gets TERM, so
 * that it writes out the last log lines.
 */
static void
end_all(guard_t *guard, int exit_code)
{
    if (!guard->ending) {
        guard->ending = true;
        guard->exit_code = exit_code;
    }

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        cn_timer_cancel(&guard->workers[i].restart);

        if (guard->workers[i].pid != 0) {
            kill(guard->workers[i].pid, SIGTERM);
        }
    }

    cn_timer_cancel(&guard->master.restart);

    if (guard->master.pid != 0) {
        kill(guard->master.pid, SIGTERM);
    }

    if (all_gone(guard)) {
        cn_loop_stop(guard->loop);
    }
}


static void
tell_drain(guard_t *guard, bool final)
{
    cn_msg_drain_t  order = { .final = final };

    send_or_log(&guard->master, CN_MSG_DRAIN, &order, sizeof(order), NULL);

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        send_or_log(&guard->workers[i], CN_MSG_DRAIN, &order, sizeof(order), NULL);
    }
}


static void
start_drain(guard_t *guard, bool exit_when_idle)
{
    guard->exit_when_idle |= exit_when_idle;

    if (guard->draining) {
        return;
    }

    guard->draining = true;
    cn_log(CN_LOG_INFO, "guard", "drain: time_ms=%llu",
           (unsigned long long) guard->bootstrap->drain_ms);
    tell_drain(guard, false);
    cn_timer_set(guard->loop, &guard->deadline, guard->bootstrap->drain_ms);
}


static void
deadline_over(cn_timer_t *timer)
{
    guard_t  *guard = CN_CONTAINER_OF(timer, guard_t, deadline);

    end_all(guard, 0);
}


static uint64_t
connections(const guard_t *guard)
{
    uint64_t  sum = 0;

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        sum += cn_slab_worker(guard->slab, i)->connections;
    }

    return sum;
}


/* The guard's own lines go where all others go. */
static void
open_log(guard_t *guard)
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
    guard_t  *guard = owner;

    switch (number) {

    case SIGCHLD:
        reap(guard);
        return;

    case SIGHUP:
        send_or_log(&guard->master, CN_MSG_RELOAD, NULL, 0, NULL);
        return;

    case SIGUSR1:
        open_log(guard);
        send_or_log(&guard->master, CN_MSG_REOPEN, NULL, 0, NULL);
        return;

    case SIGTERM:
        start_drain(guard, false);
        return;

    case SIGQUIT:
        start_drain(guard, true);
        return;

    case SIGINT:
        end_all(guard, 0);
        return;
    }
}


/* ---- supervision ----------------------------------------------------------------------------- */

static void
abort_stuck(guard_t *guard)
{
    uint64_t  now = cn_clock_ms();

    for (uint32_t i = 0; i < guard->bootstrap->workers; i++) {
        uint64_t  beat = cn_slab_worker(guard->slab, i)->heartbeat_ms;

        if (guard->workers[i].pid != 0 && now > beat && now - beat > SILENCE_MS) {
            cn_log(CN_LOG_ERROR, "guard", "replace worker: index=%u silent_ms=%llu", i,
                   (unsigned long long) (now - beat));
            kill(guard->workers[i].pid, SIGABRT);
        }
    }
}


static void
supervise(cn_timer_t *timer)
{
    guard_t  *guard = CN_CONTAINER_OF(timer, guard_t, supervise);

    if (!guard->ending) {
        abort_stuck(guard);
        assign_sockets(guard);

        if (guard->draining && guard->exit_when_idle && connections(guard) == 0) {
            end_all(guard, 0);
        }
    }

    cn_timer_set(guard->loop, timer, SUPERVISE_MS);
}


/* ---- start ----------------------------------------------------------------------------------- */

static bool
write_pid(const cn_bootstrap_t *bootstrap)
{
    char     digits[32];
    int      len = snprintf(digits, sizeof(digits), "%d\n", (int) getpid());
    int      fd = open(bootstrap->pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t  written;

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
open_slab(guard_t *guard)
{
    cn_slab_config_t   config = {
        .workers = guard->bootstrap->workers,
        .cells = 16384,
        .ring_size = 256 * 1024,
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

    return guard->slab != NULL;
}


static void
prepare_child(guard_t *guard, child_t *child, uint32_t index)
{
    child->guard = guard;
    child->index = index;
    child->restart.run = child_restart;
}


static bool
open_guard(guard_t *guard)
{
    static const int  numbers[] = {
        SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGQUIT, SIGINT, 0
    };

    guard->self_fd = cn_child_open_self();
    guard->loop = cn_loop_create();
    guard->workers = cn_alloc_zero(guard->bootstrap->workers * sizeof(child_t));

    if (guard->self_fd < 0 || guard->loop == NULL || guard->workers == NULL) {
        return false;
    }

    guard->signals = cn_signals_open(guard->loop, numbers, on_signal, guard);

    return guard->signals != NULL && open_slab(guard) && open_listeners(guard);
}


int
cn_guard_main(const cn_bootstrap_t *bootstrap, char *const *master_argv)
{
    static guard_t  guard;              /* the process's one */

    guard.bootstrap = bootstrap;
    guard.master_argv = master_argv;
    guard.supervise.run = supervise;
    guard.deadline.run = deadline_over;

    cn_log_set_level(bootstrap->log_level);
    open_log(&guard);

    if (!open_guard(&guard) || !write_pid(bootstrap)) {
        return 1;
    }

    malloc_trim(0);             /* what the look at the configuration before the start has used */
    prepare_child(&guard, &guard.master, UINT32_MAX);

    for (uint32_t i = 0; i < bootstrap->workers; i++) {
        prepare_child(&guard, &guard.workers[i], i);
        child_start(&guard.workers[i]);
    }

    child_start(&guard.master);
    cn_timer_set(guard.loop, &guard.supervise, 20);
    cn_loop_run(guard.loop, NULL, NULL);
    unlink(bootstrap->pid_path);
    cn_log(CN_LOG_INFO, "guard", "ended");

    return guard.exit_code;
}
