/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard_upgrade - from one executable to the next without losing a request.
 *
 *   none --USR2--> probing --HELLO of our versions--> starting --all are ready--> none
 *                     `--anything else, 5 s--> none        `--one fails, 60 s--> none
 *
 * A new set starts beside the one that serves, on the same slab and with the same listening
 * sockets.  When all of it is ready it attends the sockets, then the old one stops to: a connection
 * that waits on a socket is accepted by either.  The old set drains, and ends when nobody is
 * connected to it or at the drain deadline.  The guard stays the process it is.
 *
 * What both sets count, they count in one slab: active requests of an endpoint, ejections, breakers
 * and metrics are seen as one.  So a newer executable must have the same layout of it and speak the
 * same messages; one that does not is refused here and needs a restart.
 */

#include "server/guard_internal.h"

#include "base/version.h"
#include "server/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MS     5000
#define START_MS     60000              /* large configurations take their time */
#define LEAVING_MS   50


/* ---- the file -------------------------------------------------------------------------------- */

/* Not /proc/self/exe: that is the file behind a link, and the link may be turned to a newer one. */
void
cn_guard_upgrade_prepare(cn_guard_t *guard)
{
    cn_upgrade_t  *upgrade = &guard->upgrade;
    unsigned long  name = getauxval(AT_EXECFN);
    const char    *path = name != 0 ? (const char *) name : "";
    char           directory[sizeof(upgrade->path) / 2] = "";
    int            len;

    upgrade->fd = -1;

    if (path[0] != '/' && getcwd(directory, sizeof(directory)) == NULL) {
        path = "";
    }

    len = snprintf(upgrade->path, sizeof(upgrade->path), "%s%s%s", directory,
                   directory[0] != '\0' ? "/" : "", path);

    if (path[0] == '\0' || len < 0 || (size_t) len >= sizeof(upgrade->path)) {
        upgrade->path[0] = '\0';
    }
}


/* ---- ending an attempt ----------------------------------------------------------------------- */

static void
tell_hold(cn_set_t *set, cn_hold_t hold)
{
    cn_msg_hold_t  order = { .hold = hold };

    cn_guard_send(&set->master, CN_MSG_HOLD, &order, sizeof(order), NULL);
}


static void
close_probe(cn_upgrade_t *upgrade)
{
    if (upgrade->channel != NULL) {
        cn_channel_close(upgrade->channel);
        upgrade->channel = NULL;
    }

    if (upgrade->probe != 0) {
        kill(upgrade->probe, SIGKILL);
    }

    if (upgrade->fd >= 0) {
        close(upgrade->fd);
        upgrade->fd = -1;
    }
}


static cn_set_t *
other_set(cn_guard_t *guard)
{
    return guard->current == &guard->sets[0] ? &guard->sets[1] : &guard->sets[0];
}


static void
log_failure(const cn_guard_t *guard, const char *reason)
{
    cn_log_write_each(CN_LOG_ERROR, "guard",
                      "upgrade failed: file=%s reason=\"%s\"; what serves serves on",
                      guard->upgrade.path, reason);
}


void
cn_guard_upgrade_fail(cn_guard_t *guard, const char *reason)
{
    cn_upgrade_t  *upgrade = &guard->upgrade;

    if (upgrade->state == CN_UPGRADE_NONE) {
        return;
    }

    log_failure(guard, reason);
    cn_timer_cancel(&upgrade->late);
    close_probe(upgrade);

    if (upgrade->state == CN_UPGRADE_STARTING) {
        cn_guard_set_end(other_set(guard));
        tell_hold(guard->current, CN_HOLD_NO);
    }

    upgrade->state = CN_UPGRADE_NONE;
}


static void
too_late(cn_timer_t *timer)
{
    cn_guard_t  *guard = CN_CONTAINER_OF(timer, cn_guard_t, upgrade.late);

    cn_guard_upgrade_fail(guard, guard->upgrade.state == CN_UPGRADE_PROBING
                                 ? "it says nothing" : "it is not ready in time");
}


/* ---- taking over ----------------------------------------------------------------------------- */

/* Whether the replaced set may end, and its end. */
static void
leaving_step(cn_timer_t *timer)
{
    cn_guard_t  *guard = CN_CONTAINER_OF(timer, cn_guard_t, upgrade.leaving);
    cn_set_t    *old = other_set(guard);
    uint64_t     now = cn_clock_ms();
    bool         idle;

    if (old->state != CN_SET_LEAVING || old->ending) {
        return;
    }

    idle = cn_guard_connections(old) == 0;

    if (guard->upgrade.last_words_ms == 0
        && now - old->drain_started_ms >= guard->bootstrap->drain_deadline_ms)
    {
        cn_guard_set_tell_drain(old, true);
        guard->upgrade.last_words_ms = now;
    }

    if (idle || (guard->upgrade.last_words_ms != 0
                 && now - guard->upgrade.last_words_ms >= CN_GUARD_LAST_WORDS_MS))
    {
        cn_guard_set_end(old);
        return;
    }

    cn_timer_set(guard->loop, timer, LEAVING_MS);
}


static void
stop_attending(cn_set_t *set)
{
    cn_msg_attend_t  nothing = { 0 };

    for (uint32_t i = 0; i < set->guard->bootstrap->workers; i++) {
        set->workers[i].mask = 0;
        cn_guard_send(&set->workers[i], CN_MSG_ATTEND, &nothing, sizeof(nothing), NULL);
    }
}


/* The new one attends before the old one stops: a socket always has somebody who accepts. */
static void
take_over(cn_guard_t *guard)
{
    cn_set_t  *old = guard->current;
    cn_set_t  *fresh = other_set(guard);

    cn_timer_cancel(&guard->upgrade.late);
    guard->upgrade.state = CN_UPGRADE_NONE;
    guard->upgrade.last_words_ms = 0;
    fresh->state = CN_SET_SERVING;
    guard->current = fresh;
    cn_guard_give_sockets(&fresh->master);
    cn_guard_assign_sockets(guard);
    old->state = CN_SET_LEAVING;
    stop_attending(old);
    tell_hold(old, CN_HOLD_RETIRED);
    old->draining = true;
    old->drain_started_ms = cn_clock_ms();
    cn_guard_set_tell_drain(old, false);
    cn_timer_set(guard->loop, &guard->upgrade.leaving, LEAVING_MS);
    cn_log(CN_LOG_INFO, "guard", "upgrade done: version=%s set=%u master=%d drain_ms=%llu",
           guard->upgrade.version, fresh->number, (int) fresh->master.pid,
           (unsigned long long) guard->bootstrap->drain_deadline_ms);
}


void
cn_guard_upgrade_ready(cn_guard_t *guard)
{
    if (guard->upgrade.state == CN_UPGRADE_STARTING
        && cn_guard_set_is_ready(other_set(guard)))
    {
        take_over(guard);
    }
}


/* ---- the probe ------------------------------------------------------------------------------- */

static void
start_set(cn_guard_t *guard)
{
    cn_upgrade_t  *upgrade = &guard->upgrade;
    cn_set_t      *fresh = other_set(guard);
    int            fd = upgrade->fd;

    upgrade->fd = -1;
    upgrade->state = CN_UPGRADE_STARTING;
    cn_timer_set(guard->loop, &upgrade->late, START_MS);
    cn_log(CN_LOG_INFO, "guard", "upgrade: file=%s version=%s", upgrade->path, upgrade->version);
    tell_hold(guard->current, CN_HOLD_YES);
    cn_guard_set_prepare(guard, fresh, CN_SET_STARTING, fd);
    cn_guard_set_start(fresh);
}


static bool
is_same(const cn_msg_hello_t *hello)
{
    return hello->message_version == CN_MESSAGE_VERSION && hello->slab_version == CN_SLAB_VERSION;
}


static void
probe_message(void *owner, cn_channel_message_t *message)
{
    cn_guard_t      *guard = owner;
    cn_msg_hello_t   hello;
    char             reason[200];

    if (message->type != CN_MSG_HELLO || !cn_message_read(message, &hello, sizeof(hello))
        || memcmp(hello.magic, CN_HELLO_MAGIC, sizeof(hello.magic)) != 0)
    {
        cn_guard_upgrade_fail(guard, "it says something else");
        return;
    }

    hello.version[sizeof(hello.version) - 1] = '\0';

    if (!is_same(&hello)) {
        snprintf(reason, sizeof(reason), "its messages and slab are of version %u and %u, ours "
                 "of %u and %u: only a restart brings it", hello.message_version,
                 hello.slab_version, (unsigned) CN_MESSAGE_VERSION, (unsigned) CN_SLAB_VERSION);
        cn_guard_upgrade_fail(guard, reason);
        return;
    }

    memcpy(guard->upgrade.version, hello.version, sizeof(hello.version));
    start_set(guard);
}


static void
probe_closed(void *owner)
{
    ((cn_guard_t *) owner)->upgrade.channel = NULL;     /* how it ended SIGCHLD tells */
}


static const cn_channel_events_t  probe_events = { probe_message, probe_closed };


void
cn_guard_upgrade_reaped(cn_guard_t *guard, pid_t pid, int status)
{
    char  reason[80];

    if (pid != guard->upgrade.probe) {
        return;
    }

    guard->upgrade.probe = 0;

    if (guard->upgrade.state != CN_UPGRADE_PROBING) {
        return;
    }

    /* its last message may be behind its death */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && guard->upgrade.channel != NULL) {
        return;
    }

    snprintf(reason, sizeof(reason), "it does not run: %s %d",
             WIFSIGNALED(status) ? "signal" : "exit",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    cn_guard_upgrade_fail(guard, reason);
}


/* False: errno says why. */
static bool
start_probe(cn_guard_t *guard)
{
    static char *const  argv[] = { "cairn: probe", "--process", "probe", NULL };
    cn_upgrade_t       *upgrade = &guard->upgrade;
    int                 fds[2];
    cn_status_t         status;

    upgrade->fd = open(upgrade->path, O_RDONLY | O_CLOEXEC);

    if (upgrade->fd < 0 || cn_channel_pair(fds) != CN_OK) {
        return false;
    }

    upgrade->channel = cn_channel_open(guard->loop, fds[0], &probe_events, guard);

    if (upgrade->channel == NULL) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }

    status = cn_child_start(upgrade->fd, argv, fds[1], guard->slab_fd, &upgrade->probe);
    close(fds[1]);

    if (status != CN_OK) {
        upgrade->probe = 0;
    }

    return status == CN_OK;
}


/* NULL: it may begin. */
static const char *
why_not(cn_guard_t *guard)
{
    if (guard->upgrade.state != CN_UPGRADE_NONE) {
        return "one is under way";
    }

    if (guard->ending || guard->current->draining) {
        return "everything drains";
    }

    if (other_set(guard)->state != CN_SET_EMPTY) {
        return "the processes of the last one have not ended yet";
    }

    if (guard->current->snapshot.generation == 0) {
        return "what runs has not served yet";
    }

    return guard->upgrade.path[0] == '\0' ? "it is not known where the program's file is" : NULL;
}


void
cn_guard_upgrade_start(cn_guard_t *guard)
{
    cn_upgrade_t  *upgrade = &guard->upgrade;
    const char    *reason = why_not(guard);

    if (reason != NULL) {
        log_failure(guard, reason);
        return;
    }

    upgrade->late.run = too_late;
    upgrade->leaving.run = leaving_step;
    upgrade->state = CN_UPGRADE_PROBING;
    cn_timer_set(guard->loop, &upgrade->late, PROBE_MS);

    if (!start_probe(guard)) {
        cn_guard_upgrade_fail(guard, strerror(errno));
    }
}
