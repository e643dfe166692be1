/* SPDX-License-Identifier: Apache-2.0 */

/* spiffe - SPIFFE ids of workloads: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT.  Pure functions. */

#ifndef CN_STREAM_SPIFFE_H
#define CN_STREAM_SPIFFE_H

#include "base/bytes.h"

typedef struct {
    cn_bytes_t  trust_domain;
    cn_bytes_t  name_space;
    cn_bytes_t  service_account;
} cn_spiffe_t;

/*
 * Splits a workload id; views into id.  CN_ERR_SYNTAX: not spiffe://, an empty or repeated part, an octet
 * outside RFC 3986 unreserved and a few, a NUL.  CN_ERR_UNSUPPORTED: well-formed but not /ns/X/sa/Y.
 */
cn_status_t cn_spiffe_parse(cn_bytes_t id, cn_spiffe_t *parts) CN_MUST_USE;

#endif
