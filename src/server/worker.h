/* SPDX-License-Identifier: Apache-2.0 */

/* worker - the data path's process: one loop, one thread, configuration only as snapshots. */

#ifndef CN_SERVER_WORKER_H
#define CN_SERVER_WORKER_H

#include "base/log.h"

/* Descriptors that every child of the guard starts with. */
#define CN_FD_GUARD  3          /* its channel to the guard */
#define CN_FD_SLAB   4

/* Runs worker `index` until it is told to end; the exit code. */
int cn_worker_main(uint32_t index, cn_log_level_t level);

#endif
