/* SPDX-License-Identifier: Apache-2.0 */

/*
 * decode - a protobuf message of somebody else, read as far as we understand it and refused where
 * we do not: a field that is not in our .proto, or is there as refused_X, may restrict something.
 */

#ifndef CN_MODEL_DECODE_H
#define CN_MODEL_DECODE_H

#include "model/module_config.h"

#include <protobuf-c/protobuf-c.h>

#define CN_DECODE_DEPTH_MAX   48                            /* messages within messages */
#define CN_DECODE_MEMORY_MAX  ((size_t) 256 * 1024 * 1024)  /* of one, decoded */

/*
 * The message in read->pool, its octets too.  NULL: not of that type, nested too deep, with fields
 * that are not implemented, or one that takes more memory than 16 times its octets and 1 MiB, or
 * than CN_DECODE_MEMORY_MAX; reported at `field`, read->errors grows.
 */
void *cn_decode(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field);

/* As above, and fields that are not listed are passed over: for messages that decide nothing. */
void *cn_decode_loosely(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field);

/* Octets of a message as ours. */
static inline cn_bytes_t
cn_decoded(ProtobufCBinaryData data)
{
    return cn_bytes(data.data, data.len);
}

#endif
