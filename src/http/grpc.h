/* SPDX-License-Identifier: Apache-2.0 */

/* grpc - what gRPC over HTTP/2 says in headers, and its statuses.  Pure functions. */

#ifndef CN_HTTP_GRPC_H
#define CN_HTTP_GRPC_H

#include "base/bytes.h"

#define CN_GRPC_TIMEOUT_TEXT  10        /* octets that a printed timeout takes at most */

/* How calls end (statuscodes.md of the gRPC project). */
typedef enum {
    CN_GRPC_OK = 0,
    CN_GRPC_CANCELLED = 1,
    CN_GRPC_UNKNOWN = 2,
    CN_GRPC_INVALID_ARGUMENT = 3,
    CN_GRPC_DEADLINE_EXCEEDED = 4,
    CN_GRPC_NOT_FOUND = 5,
    CN_GRPC_ALREADY_EXISTS = 6,
    CN_GRPC_PERMISSION_DENIED = 7,
    CN_GRPC_RESOURCE_EXHAUSTED = 8,
    CN_GRPC_FAILED_PRECONDITION = 9,
    CN_GRPC_ABORTED = 10,
    CN_GRPC_OUT_OF_RANGE = 11,
    CN_GRPC_UNIMPLEMENTED = 12,
    CN_GRPC_INTERNAL = 13,
    CN_GRPC_UNAVAILABLE = 14,
    CN_GRPC_DATA_LOSS = 15,
    CN_GRPC_UNAUTHENTICATED = 16,
} cn_grpc_status_t;

/* "UNAVAILABLE", for logs; never NULL. */
const char *cn_grpc_status_name(cn_grpc_status_t status);

/* A grpc-status; one that nobody knows, and what is no number, is CN_GRPC_UNKNOWN. */
cn_grpc_status_t cn_grpc_status_parse(cn_bytes_t text);

/* What stands for a response without grpc-status (http-grpc-status-mapping.md). */
cn_grpc_status_t cn_grpc_status_of_http(uint16_t status);

/* What an error code of RST_STREAM says (PROTOCOL-HTTP2.md, "Errors"). */
cn_grpc_status_t cn_grpc_status_of_reset(uint32_t code);

/*
 * A grpc-message: %HH is an octet, everything else, a percent sign that begins none included,
 * stays.  out has room for text.len octets; returns how many were written.
 */
size_t cn_grpc_percent_decode(cn_bytes_t text, uint8_t *out);

/*
 * A grpc-timeout, "200m" or "5S": at most eight digits and a unit of HMSmun, in ms, rounded up.
 * CN_ERR_SYNTAX.
 */
cn_status_t cn_grpc_timeout_parse(cn_bytes_t text, uint64_t *timeout_ms) CN_MUST_USE;

/* In the finest unit, from ms up, in which it has eight digits; returns the length. */
size_t cn_grpc_timeout_print(uint64_t timeout_ms, char out[CN_GRPC_TIMEOUT_TEXT]);

#endif
