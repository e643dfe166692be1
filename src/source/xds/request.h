/* SPDX-License-Identifier: Apache-2.0 */

/* request - what a client of discovery says, as octets. */

#ifndef CN_SOURCE_XDS_REQUEST_H
#define CN_SOURCE_XDS_REQUEST_H

#include "base/array.h"
#include "source/xds/ads.h"

typedef struct {
    cn_bytes_t  name;
    cn_bytes_t  version;
} cn_request_version_t;

typedef struct {
    cn_bytes_t   node;              /* of cn_request_node(), in a stream's first message; or none */
    cn_bytes_t   type_url;
    cn_bytes_t   nonce;             /* of the response that is answered; none: it asks */
    cn_bytes_t   version;           /* state of the world: the last that was accepted */
    cn_array_t   names;             /* cn_bytes_t; delta: more of them, full: all */
    cn_array_t   gone;              /* cn_bytes_t; delta: not these any more */
    cn_array_t   versions;          /* cn_request_version_t; delta: what is known already */
    const char  *refusal;           /* why the response is refused; NULL: it is not */
} cn_request_t;

/* An empty request for a type, its arrays in pool. */
void cn_request_init(cn_request_t *request, cn_pool_t *pool, const char *type_url);

/* The packed message, in pool; none: memory. */
cn_bytes_t cn_request_delta(const cn_request_t *request, cn_pool_t *pool);
cn_bytes_t cn_request_full(const cn_request_t *request, cn_pool_t *pool);

/* As above of a node; none too when its metadata nests deeper than 32. */
cn_bytes_t cn_request_node(const cn_ads_node_t *node, cn_pool_t *pool);

#endif
