/* SPDX-License-Identifier: Apache-2.0 */

/*
 * child - fork and exec.  The child inherits no heap, no secrets and no address layout: only the
 * descriptors that it is given by number.
 */

#include "server/child.h"

#include "base/log.h"
#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

extern char  **environ;


int
cn_child_open_self(void)
{
    return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}


/* Between fork and exec: only calls that are safe there. */
static void
become(int self, char *const *argv, int guard, int slab)
{
    sigset_t  none;
    int       guard_copy = fcntl(guard, F_DUPFD, 10);
    int       slab_copy = fcntl(slab, F_DUPFD, 10);
    int       self_copy = fcntl(self, F_DUPFD_CLOEXEC, 10);

    if (guard_copy < 0 || slab_copy < 0 || self_copy < 0
        || dup2(guard_copy, CN_FD_GUARD) < 0 || dup2(slab_copy, CN_FD_SLAB) < 0)
    {
        _exit(127);
    }

    close(guard_copy);
    close(slab_copy);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    fexecve(self_copy, argv, environ);
    _exit(127);
}


cn_status_t
cn_child_start(int self, char *const *argv, int guard, int slab, pid_t *pid)
{
    *pid = fork();

    if (*pid < 0) {
        cn_log(CN_LOG_ERROR, "guard", "start process: errno=%d", errno);
        return CN_ERR_IO;
    }

    if (*pid == 0) {
        become(self, argv, guard, slab);
    }

    return CN_OK;
}
