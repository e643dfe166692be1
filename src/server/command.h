/* SPDX-License-Identifier: Apache-2.0 */

/* command - what the admin endpoints may ask the guard to do. */

#ifndef CN_SERVER_COMMAND_H
#define CN_SERVER_COMMAND_H

#include "admin/admin.h"

#include <sys/types.h>

/*
 * In a master: signals the guard, whose number it had when it was started.  A guard that is gone is
 * not signalled, whoever has its number now.
 */
void cn_command_run(pid_t guard, cn_admin_command_t command);

#endif
