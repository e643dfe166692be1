/* SPDX-License-Identifier: Apache-2.0 */

/* internal - what the files of this room share. */

#ifndef CN_UPSTREAM_INTERNAL_H
#define CN_UPSTREAM_INTERNAL_H

#include "base/map.h"
#include "upstream/upstream.h"

struct cn_upstream_s {
    cn_upstream_env_t   env;
    cn_tls_context_t   *identity;
    /* by application address, HBONE port, protocol, uid, principal */
    cn_map_t           *pools;
    cn_map_t           *hbone;          /* by HBONE address, uid, principal: the TLS connections */
    cn_map_t           *rounds;         /* round robin: uint64_t by cluster id */
    cn_upstream_stats_t stats;
};

/*
 * A stream to the host's application: a tunnel on a shared HBONE connection, or a TCP connection.
 * NULL: memory, or no identity.
 */
cn_stream_t *cn_hbone_stream(cn_upstream_t *upstream, const cn_host_t *host) CN_MUST_USE;

/* Closes every HBONE connection. */
void cn_hbone_close_all(cn_upstream_t *upstream);

#endif
