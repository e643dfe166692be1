/* SPDX-License-Identifier: Apache-2.0 */

/*
 * regex_cache - a process's compiled patterns.  Tables hold patterns as text; each is compiled when
 * it is first met and kept by its text, so that a new generation of tables compiles only what is
 * new.  The least recently used go when there are more than fit.
 */

#ifndef CN_ROUTE_REGEX_CACHE_H
#define CN_ROUTE_REGEX_CACHE_H

#include "base/regex.h"
#include "route/match.h"

#define CN_REGEX_CACHE_COUNT  2048
#define CN_REGEX_CACHE_SIZE   (16u << 20)       /* octets of compiled patterns */

/* Whether value as a whole matches; what cannot be compiled is an error. */
cn_match_t cn_regex_cached_match(cn_bytes_t pattern, cn_bytes_t value);

/* As cn_regex_replace(), with the statuses of cn_regex_create() too. */
cn_status_t cn_regex_cached_replace(cn_bytes_t pattern, cn_bytes_t rewrite, cn_bytes_t value,
    cn_pool_t *pool, cn_bytes_t *result) CN_MUST_USE;

/* How many patterns are held, and how many have been compiled since the process began. */
size_t cn_regex_cache_count(void);
uint64_t cn_regex_cache_compiled(void);

/* Frees all; at the process's end. */
void cn_regex_cache_clear(void);

#endif
