/* SPDX-License-Identifier: Apache-2.0 */

/*
 * grpc_message - gRPC's framing of messages in a body, read from pieces of any size:
 *
 *   | compressed: 0 or 1 | length, 4 octets, big-endian | message |
 *
 * A message that is whole in one piece is not copied.  Of one that is not, no more memory is taken
 * than twice what has come of it: a length alone costs nothing.
 */

#ifndef CN_HTTP_GRPC_MESSAGE_H
#define CN_HTTP_GRPC_MESSAGE_H

#include "base/pool.h"

#define CN_GRPC_PREFIX  5               /* octets before a message */

typedef struct {
    size_t    max;                      /* octets of a message */
    uint8_t   prefix[CN_GRPC_PREFIX];
    uint32_t  prefix_len;
    uint32_t  length;                   /* of the message, once its prefix is complete */
    uint8_t  *octets;                   /* of the message, when it comes in pieces */
    size_t    len;
    size_t    capacity;
} cn_grpc_reader_t;

/* Empty; max: octets of the longest message that is taken. */
void cn_grpc_reader_init(cn_grpc_reader_t *reader, size_t max);

/*
 * Takes octets from the front of *data.  CN_OK: *message, a view that lives until the next call and
 * as long as data's octets; CN_AGAIN: all of *data is taken and no message complete.  CN_ERR_LIMIT:
 * it is longer than max; CN_ERR_UNSUPPORTED: it is compressed; CN_ERR_SYNTAX: its first octet is
 * neither 0 nor 1; CN_ERR_MEMORY: after these the body cannot be read on.
 */
cn_status_t cn_grpc_reader_next(cn_grpc_reader_t *reader, cn_bytes_t *data,
    cn_bytes_t *message) CN_MUST_USE;

/* Whether nothing of a message has come that is not complete. */
bool cn_grpc_reader_is_between(const cn_grpc_reader_t *reader);

/* Frees what it holds. */
void cn_grpc_reader_clear(cn_grpc_reader_t *reader);

/* The prefix of a message of len octets that is not compressed. */
void cn_grpc_prefix(uint32_t len, uint8_t out[CN_GRPC_PREFIX]);

#endif
