/* SPDX-License-Identifier: Apache-2.0 */

/* bearer - the token by which a pod proves to istiod which service account it has (RFC 6750). */

#ifndef CN_SOURCE_IDENTITY_BEARER_H
#define CN_SOURCE_IDENTITY_BEARER_H

#include "base/bytes.h"

/*
 * "Bearer TOKEN" on the heap, of a file that is read anew each time, as the kubelet replaces it.
 * None: there is no token, which is logged unless the file is merely not there; path may be NULL.
 */
cn_bytes_t cn_bearer_read(const char *path) CN_MUST_USE;

/* Overwrites and frees it; none does nothing. */
void cn_bearer_free(cn_bytes_t *bearer);

#endif
