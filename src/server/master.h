/* SPDX-License-Identifier: Apache-2.0 */

/* master - the control plane's process: configuration, identity, admin endpoints, logs. */

#ifndef CN_SERVER_MASTER_H
#define CN_SERVER_MASTER_H

#include "server/bootstrap.h"

/*
 * Runs the master of a set that a guard started until it is told to end; the exit code.  The set's
 * workers have the slots from first_slot on; number counts sets: one more with each upgrade.
 */
int cn_master_main(const cn_bootstrap_t *bootstrap, uint32_t first_slot, uint32_t number);

#endif
