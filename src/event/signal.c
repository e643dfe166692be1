/* SPDX-License-Identifier: Apache-2.0 */

/*
 * signal - blocked signals read from a signalfd.  A child inherits the mask and must clear it
 * before exec.
 */

#include "event/signal.h"

#include "base/log.h"
#include "base/pool.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct cn_signals_s {
    cn_watch_t   watch;
    cn_task_t    free_task;
    cn_loop_t   *loop;
    sigset_t     before;            /* the mask to put back */
    void       (*on_signal)(void *owner, int number);
    void        *owner;
    bool         closed;
};


static void
read_signals(cn_watch_t *watch, unsigned events)
{
    cn_signals_t             *signals = CN_CONTAINER_OF(watch, cn_signals_t, watch);
    struct signalfd_siginfo   info;

    (void) events;

    /* the handler may close us: then nothing more is told, and we live to the end of the turn */
    while (!signals->closed && read(watch->fd, &info, sizeof(info)) == (ssize_t) sizeof(info)) {
        signals->on_signal(signals->owner, (int) info.ssi_signo);
    }
}


static void
free_signals(cn_task_t *task)
{
    cn_free(CN_CONTAINER_OF(task, cn_signals_t, free_task));
}


static cn_status_t
signals_start(cn_signals_t *signals, const int *numbers)
{
    sigset_t  set;

    (void) sigemptyset(&set);

    for (size_t i = 0; numbers[i] != 0; i++) {
        if (sigaddset(&set, numbers[i]) != 0) {
            return CN_ERR_IO;
        }
    }

    if (sigprocmask(SIG_BLOCK, &set, &signals->before) != 0) {
        return CN_ERR_IO;
    }

    signals->watch.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

    if (signals->watch.fd >= 0) {
        if (cn_watch_set(signals->loop, &signals->watch, CN_READABLE) == CN_OK) {
            return CN_OK;
        }

        (void) close(signals->watch.fd);
    }

    (void) sigprocmask(SIG_SETMASK, &signals->before, NULL);

    return CN_ERR_IO;
}


cn_signals_t *
cn_signals_open(cn_loop_t *loop, const int *numbers, void (*on_signal)(void *owner, int number),
                void *owner)
{
    cn_signals_t  *signals = cn_alloc_zero(sizeof(*signals));

    if (signals == NULL) {
        return NULL;
    }

    signals->loop = loop;
    signals->on_signal = on_signal;
    signals->owner = owner;
    signals->watch.ready = read_signals;
    signals->free_task.run = free_signals;

    if (signals_start(signals, numbers) != CN_OK) {
        cn_log(CN_LOG_ERROR, "signal", "open signals: errno=%d", errno);
        cn_free(signals);
        return NULL;
    }

    /* a write to a closed socket is an error code to us, not the end */
    (void) signal(SIGPIPE, SIG_IGN);

    return signals;
}


void
cn_signals_close(cn_signals_t *signals)
{
    if (signals == NULL || signals->closed) {
        return;
    }

    signals->closed = true;
    cn_watch_remove(signals->loop, &signals->watch);
    (void) close(signals->watch.fd);
    (void) sigprocmask(SIG_SETMASK, &signals->before, NULL);
    cn_loop_post(signals->loop, CN_PHASE_FREE, &signals->free_task);
}
