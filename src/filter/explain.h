/* SPDX-License-Identifier: Apache-2.0 */

/*
 * explain - which service, policy, route, cluster and endpoint a request would meet, and why, from
 * the very tables and matchers that serve.  Each decision ends with file:line of the user's YAML.
 */

#ifndef CN_FILTER_EXPLAIN_H
#define CN_FILTER_EXPLAIN_H

#include "base/array.h"
#include "filter/module.h"

struct cn_explain_s {
    cn_pool_t   *pool;
    cn_array_t   lines;                 /* cn_bytes_t */
    /* what a local answer would be: 403, 404, ...; 0: forwarded */
    uint16_t     status;
    bool         denied;
    bool         out_of_memory;         /* lines are missing */
};

/* One line; origin may be NULL: else "; RESOURCE (FILE:LINE)" is added, as far as it is known. */
void cn_explain_line(cn_explain_t *explain, const cn_block_t *block,
    const cn_table_origin_t *origin, const char *format, ...) CN_PRINTF(4, 5);

typedef struct {
    cn_bytes_t  method;
    cn_bytes_t  authority;              /* host[:port] */
    cn_bytes_t  path;
    cn_bytes_t  principal;              /* "spiffe://..."; none: plain */
    cn_headers_t headers;
} cn_explain_request_t;

/*
 * Works on the adopted tables.  explain->pool is the caller's, the rest of it is filled in.
 * CN_ERR_MEMORY.
 */
cn_status_t cn_explain_run(const cn_tables_t *tables, const cn_explain_request_t *request,
    cn_explain_t *explain) CN_MUST_USE;

#endif
