/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_files - where log lines end up.  The master's writer thread drains the rings of all workers
 * into the error log and the access log, so that no worker ever waits for a disk or a pipe.
 */

#ifndef CN_SERVER_LOG_FILES_H
#define CN_SERVER_LOG_FILES_H

#include "server/bootstrap.h"
#include "stats/slab.h"

typedef struct cn_log_files_s cn_log_files_t;

/* Opens "stdout", "stderr", "off" (/dev/null) or a file for appending.  -1: errno. */
int cn_log_file_open(const char *path);

/* A cn_log_sink_t; context is the descriptor, as (void *) (intptr_t) fd. */
void cn_log_file_sink(void *context, cn_bytes_t line);

/*
 * Opens both logs and starts the thread, for the workers whose slots begin with first_slot.  NULL:
 * reported.
 */
cn_log_files_t *cn_log_files_start(const cn_bootstrap_t *bootstrap, cn_slab_t *slab,
    uint32_t first_slot) CN_MUST_USE;

/* Opens the files anew at the thread's next round: they were moved away (USR1). */
void cn_log_files_reopen(cn_log_files_t *files);

/* Writes out what is in the rings (at most 1 s) and ends the thread. */
void cn_log_files_stop(cn_log_files_t *files);

/* The error log's descriptor, for the process's own lines. */
int cn_log_files_error_fd(const cn_log_files_t *files);

#endif
