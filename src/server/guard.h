/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard - the process that must not die: holds listening sockets, slab and the last snapshot,
 * starts and reaps master and workers, parses nothing from any network.
 */

#ifndef CN_SERVER_GUARD_H
#define CN_SERVER_GUARD_H

#include "server/bootstrap.h"

/*
 * Runs until ended by signal; the exit code.  options are handed to masters (NULL-ended, at most
 * 20: the same as this process's, so that they read the same bootstrap file).
 */
int cn_guard_main(const cn_bootstrap_t *bootstrap, char *const *options);

/*
 * What the guard runs to learn whether a newer executable can be upgraded to: says HELLO, and that
 * it can map the slab.  The exit code.
 */
int cn_probe_main(void);

#endif
