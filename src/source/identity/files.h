/* SPDX-License-Identifier: Apache-2.0 */

/*
 * files - an identity in files that somebody else renews (FILE_MOUNTED_CERTS), or the mesh's roots
 * alone (istio-ca-root-cert): read when asked, and whenever they have changed.
 */

#ifndef CN_SOURCE_IDENTITY_FILES_H
#define CN_SOURCE_IDENTITY_FILES_H

#include "source/identity/rotation.h"

/* certificate and key NULL: the roots alone, and of the identity only they are there. */
typedef struct {
    const char  *certificate;
    const char  *key;
    const char  *roots;
} cn_identity_paths_t;

typedef struct cn_identity_files_s cn_identity_files_t;

/*
 * paths are copied, events referred to.  on_made comes for what was asked for, and, unasked, for
 * what has changed, if its texts are others than those told last.  on_failed names the file; it is
 * not transient.  NULL: memory, or the kernel refuses the watch (errno).
 */
cn_identity_files_t *cn_identity_files_open(cn_loop_t *loop, const cn_identity_paths_t *paths,
    const cn_maker_events_t *events, void *owner) CN_MUST_USE;

/* No event follows.  NULL does nothing. */
void cn_identity_files_close(cn_identity_files_t *files);

/* As a maker, for a rotation or for whoever wants to read them at the start. */
extern const cn_maker_t  cn_identity_files_maker;

#endif
