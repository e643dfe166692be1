/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard - the process that must not die: holds listening sockets, slab and the last snapshot,
 * starts and reaps master and workers, parses nothing from any network.
 */

#ifndef CN_SERVER_GUARD_H
#define CN_SERVER_GUARD_H

#include "server/bootstrap.h"

/*
 * Runs until ended by signal; the exit code.  master_argv is handed to the master (NULL-ended; the
 * same options as this process's, so that it reads the same bootstrap file).
 */
int cn_guard_main(const cn_bootstrap_t *bootstrap, char *const *master_argv);

#endif
