/* SPDX-License-Identifier: Apache-2.0 */

/*
 * action - what a route makes of a path, and where its redirect leads.  Pure functions, so that
 * explain tells what the router does.
 */

#ifndef CN_ROUTE_ACTION_H
#define CN_ROUTE_ACTION_H

#include "route/match.h"

/*
 * The path (with its query) that goes upstream; *rewritten is none when the route leaves it alone,
 * or made nothing of it.  In pool.  CN_ERR_LIMIT, CN_ERR_SYNTAX: a pattern failed, or the outcome
 * does not begin with a slash; CN_ERR_MEMORY.
 */
cn_status_t cn_route_rewrite(const cn_block_t *service, const cn_table_route_t *route,
    cn_bytes_t path, cn_pool_t *pool, cn_bytes_t *rewritten) CN_MUST_USE;

/* The authority that goes upstream; none: the request's own.  destination may be NULL. */
cn_bytes_t cn_route_host_rewrite(const cn_block_t *service, const cn_table_route_t *route,
    const cn_table_destination_t *destination);

/* The location of a redirect, in pool.  Statuses as above. */
cn_status_t cn_route_location(const cn_block_t *service, const cn_table_route_t *route,
    const cn_message_t *head, cn_pool_t *pool, cn_bytes_t *location) CN_MUST_USE;

#endif
