/* SPDX-License-Identifier: Apache-2.0 */

/*
 * command - from a POST to a signal: the guard takes the same ones from a person, so it needs no
 * message of its own for them.
 */

#include "server/command.h"

#include "base/log.h"

#include <signal.h>
#include <unistd.h>


void
cn_command_run(pid_t guard, cn_admin_command_t command)
{
    bool  quit = command == CN_ADMIN_QUIT;

    cn_log(CN_LOG_INFO, "admin", "command: name=%s", quit ? "quitquitquit" : "drain");

    if (getppid() == guard) {
        kill(guard, quit ? SIGINT : SIGRTMIN);
    }
}
