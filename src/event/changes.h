/* SPDX-License-Identifier: Apache-2.0 */

/*
 * changes - tells when a directory of files, or one file, has changed on disk, once it has come to
 * rest: 200 ms after the last change and never later than 2 s after the first.  While a file is
 * open for writing and has been written to, it counts as changing: an editor that truncates before
 * it writes is not caught half-way.
 *
 * It follows the path, not what once stood there: a directory that is removed and made again, or a
 * symbolic link that is turned elsewhere (as Kubernetes does in a mounted ConfigMap), is a change
 * and is watched on.
 */

#ifndef CN_EVENT_CHANGES_H
#define CN_EVENT_CHANGES_H

#include "event/loop.h"

typedef struct cn_changes_s cn_changes_t;

/*
 * path is copied, and need not be there yet.  matters (for a directory) says whether a name in it
 * is of interest; on_changed is called in the loop.  NULL: the kernel (errno says why) or memory
 * refuses.
 */
cn_changes_t *cn_changes_open(cn_loop_t *loop, const char *path, bool (*matters)(const char *name),
    void (*on_changed)(void *owner), void *owner) CN_MUST_USE;

/* No event follows.  NULL does nothing. */
void cn_changes_close(cn_changes_t *changes);

#endif
