/* SPDX-License-Identifier: Apache-2.0 */

/* master - the control plane's process: configuration, identity, admin endpoints, logs. */

#ifndef CN_SERVER_MASTER_H
#define CN_SERVER_MASTER_H

#include "server/bootstrap.h"

/* Runs the master that a guard started until it is told to end; the exit code. */
int cn_master_main(const cn_bootstrap_t *bootstrap);

#endif
