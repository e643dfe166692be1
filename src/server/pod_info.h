/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pod_info - the files of a pod's downward API: labels and annotations, a line each, key="value"
 * with the value as Go quotes a string.  Who made the pod wrote them.
 */

#ifndef CN_SERVER_POD_INFO_H
#define CN_SERVER_POD_INFO_H

#include "base/pool.h"

#include <jansson.h>

#define CN_POD_INFO_LINES_MAX  4096

/*
 * A new object of the lines' keys and values; of two lines with one key the last counts.  *bad is
 * the number of lines that are none, and of those past CN_POD_INFO_LINES_MAX; they are left out.
 * pool is for values on their way.  NULL: memory.
 */
json_t *cn_pod_info_read(cn_bytes_t text, cn_pool_t *pool, size_t *bad) CN_MUST_USE;

/*
 * The octets that a quoted Go string stands for, in pool: "..." with its escapes.  CN_ERR_SYNTAX:
 * it is none; CN_ERR_MEMORY.
 */
cn_status_t cn_pod_info_unquote(cn_bytes_t quoted, cn_pool_t *pool, cn_bytes_t *value) CN_MUST_USE;

#endif
