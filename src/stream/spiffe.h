/* SPDX-License-Identifier: Apache-2.0 */

/* spiffe - SPIFFE ids of workloads: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT. */

#ifndef CN_STREAM_SPIFFE_H
#define CN_STREAM_SPIFFE_H

#include "base/bytes.h"

typedef struct {
    cn_bytes_t  trust_domain;
    cn_bytes_t  name_space;
    cn_bytes_t  service_account;
} cn_spiffe_t;

/*
 * Splits a workload id; views into id.  CN_ERR_SYNTAX: not spiffe://, over 2048 octets, an empty or
 * repeated part, "." or "..", an octet outside RFC 3986 unreserved.  CN_ERR_UNSUPPORTED:
 * well-formed but not /ns/X/sa/Y.  *parts is set only by CN_OK.
 */
cn_status_t cn_spiffe_parse(cn_bytes_t id, cn_spiffe_t *parts) CN_MUST_USE;

#endif
