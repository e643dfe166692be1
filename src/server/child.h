/* SPDX-License-Identifier: Apache-2.0 */

/*
 * child - a process of ours, by fork and exec of the guard's own executable with a fixed list of
 * descriptors.
 */

#ifndef CN_SERVER_CHILD_H
#define CN_SERVER_CHILD_H

#include "base/status.h"

#include <sys/types.h>

/*
 * Opens this process's executable for later starts: also after the file was replaced on disk.  -1:
 * errno.
 */
int cn_child_open_self(void);

/*
 * Starts self with argv; guard and slab become descriptors 3 and 4, everything else but 0..2 is
 * closed.  The child gets signals unblocked and dies with its parent's loss of the channel.
 * CN_ERR_IO.
 */
cn_status_t cn_child_start(int self, char *const *argv, int guard, int slab,
    pid_t *pid) CN_MUST_USE;

#endif
