/* SPDX-License-Identifier: Apache-2.0 */

/*
 * wire - one field of a protobuf message, looked up in its octets: whose a resource is must be
 * known before anything else in it may refuse it, and without decoding it.
 */

#ifndef CN_SOURCE_XDS_WIRE_H
#define CN_SOURCE_XDS_WIRE_H

#include "base/bytes.h"

/*
 * The last value of a field with a length (text, octets, a message), within message; none when the
 * field is absent.  False: message is not fields one behind the other, or one of that number has
 * another wire type.
 */
bool cn_wire_bytes(cn_bytes_t message, uint32_t number, cn_bytes_t *value);

/* As above of a varint; 0 when it is absent. */
bool cn_wire_number(cn_bytes_t message, uint32_t number, uint64_t *value);

#endif
