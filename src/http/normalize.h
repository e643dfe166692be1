/* SPDX-License-Identifier: Apache-2.0 */

/*
 * normalize - one canonical path: what policy, router, log and upstream all see.  Istio's four
 * levels (MeshConfig.pathNormalization) as Envoy does them (normalize_path, merge_slashes,
 * path_with_escaped_slashes_action).
 */

#ifndef CN_HTTP_NORMALIZE_H
#define CN_HTTP_NORMALIZE_H

#include "base/pool.h"

typedef enum {
    CN_PATH_NONE,
    /*
     * Istio's default: RFC 3986 dot segments, unreserved escapes decoded, '\' to '/', fragment cut
     */
    CN_PATH_BASE,
    CN_PATH_MERGE_SLASHES,
    CN_PATH_DECODE_AND_MERGE_SLASHES,   /* %2F, %5C too */
} cn_path_level_t;

/*
 * *out is path itself when it is canonical already (the usual case, found in one pass), else a new
 * one in pool.  The query is left as it is.  CN_ERR_SYNTAX: 400 path_normalization_failed (%00 and
 * other refusals).  CN_ERR_MEMORY.
 */
cn_status_t cn_path_normalize(cn_bytes_t path, cn_path_level_t level, cn_pool_t *pool,
    cn_bytes_t *out) CN_MUST_USE;

/* path without its query: up to the first '?'. */
cn_bytes_t cn_path_without_query(cn_bytes_t path);

#endif
