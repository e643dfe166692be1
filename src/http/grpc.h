/* SPDX-License-Identifier: Apache-2.0 */

/* grpc - what gRPC over HTTP/2 says in headers.  Pure functions. */

#ifndef CN_HTTP_GRPC_H
#define CN_HTTP_GRPC_H

#include "base/bytes.h"

#define CN_GRPC_TIMEOUT_TEXT  10        /* octets that a printed timeout takes at most */

/*
 * A grpc-timeout, "200m" or "5S": at most eight digits and a unit of HMSmun, in ms, rounded up.
 * CN_ERR_SYNTAX.
 */
cn_status_t cn_grpc_timeout_parse(cn_bytes_t text, uint64_t *timeout_ms) CN_MUST_USE;

/* In the finest unit, from ms up, in which it has eight digits; returns the length. */
size_t cn_grpc_timeout_print(uint64_t timeout_ms, char out[CN_GRPC_TIMEOUT_TEXT]);

#endif
