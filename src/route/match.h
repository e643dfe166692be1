/* SPDX-License-Identifier: Apache-2.0 */

/*
 * match - request + table -> decision.  Pure functions: they allocate nothing and wait for nothing.
 * A matcher answers yes, no or error (a regex that hit its limit, say); an error in DENY matches,
 * in ALLOW does not, in a route is a 500.
 */

#ifndef CN_ROUTE_MATCH_H
#define CN_ROUTE_MATCH_H

#include "http/message.h"
#include "stream/spiffe.h"
#include "stream/stream.h"
#include "table/layout.h"

typedef enum { CN_MATCH_NO, CN_MATCH_YES, CN_MATCH_ERROR } cn_match_t;

/* What is matched against; all borrowed. */
typedef struct {
    const cn_message_t      *head;          /* normalised */
    cn_bytes_t               path;          /* without query */
    cn_bytes_t               query;         /* without '?' */
    /* whose principal counts: the tunnel's, never the inner stream's */
    const cn_stream_info_t  *connection;
    uint16_t                 port;          /* the service's port the client asked for */
    uint64_t                 random;        /* one draw a request: weights stay put over retries */
} cn_match_input_t;

/* Splits head->path into path and query. */
void cn_match_input_init(cn_match_input_t *input, const cn_message_t *head,
    const cn_stream_info_t *connection, uint16_t port);

/* value against a matcher of block; a kind that is not known is an error. */
cn_match_t cn_match_string(const cn_block_t *block, const cn_table_string_match_t *match,
    cn_bytes_t value);

/*
 * Each of several equal headers is matched on its own, except the inline ones, which are joined
 * with ',' (goldens 4).  An absent header: invert does not match unless missing_as_empty.
 */
cn_match_t cn_match_header(const cn_block_t *block, const cn_table_header_match_t *match,
    const cn_match_input_t *input);

/*
 * The client's address as proxies before us tell it: the last of x-forwarded-for when it is one,
 * else the connection's peer (Envoy's remote address where use_remote_address is false).  True: it
 * is of the header.  head may be NULL.  *is_v4 (may be NULL): it was not written as IPv6, which a
 * mapped address in the header can be.
 */
bool cn_match_remote_ip(const cn_message_t *head, const cn_stream_info_t *connection,
    uint8_t ip[16], bool *is_v4);

/* The chain for a port; NULL. */
const cn_table_chain_t *cn_service_chain(const cn_block_t *service, uint16_t port);

/*
 * The first route that matches, by the chain's index.  NULL: none; *error is set when a matcher
 * failed before one was found (the request is then refused with 500, not sent elsewhere).
 */
const cn_table_route_t *cn_route_find(const cn_block_t *service, const cn_table_chain_t *chain,
    const cn_match_input_t *input, bool *error);

/* The destination by weight for input->random; NULL when the route has none. */
const cn_table_destination_t *cn_route_destination(const cn_block_t *service,
    const cn_table_route_t *route, const cn_match_input_t *input);

/*
 * One route against one request, with the reason in words when it does not match (for explain).
 * why has room for 160 octets.
 */
cn_match_t cn_route_matches(const cn_block_t *service, const cn_table_route_t *route,
    const cn_match_input_t *input, char why[160]);

/* Envoy keeps these as one value: several lines are one list (goldens 4). */
bool cn_header_is_list(cn_header_id_t id);

#endif
