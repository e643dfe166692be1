/* SPDX-License-Identifier: Apache-2.0 */

/* wire - the outermost fields of a message, walked once and not copied. */

#include "source/xds/wire.h"

enum { VARINT = 0, EIGHT_OCTETS = 1, WITH_LENGTH = 2, FOUR_OCTETS = 5 };

typedef struct {
    uint64_t    number;
    unsigned    type;               /* of the wire */
    uint64_t    varint;             /* VARINT */
    cn_bytes_t  content;            /* WITH_LENGTH */
} field_t;


static bool
take_varint(cn_bytes_t *rest, uint64_t *value)
{
    *value = 0;

    for (unsigned shift = 0; shift < 64 && rest->len > 0; shift += 7) {
        uint8_t  octet = rest->ptr[0];

        *rest = cn_bytes_from(*rest, 1);
        *value |= (uint64_t) (octet & 0x7f) << shift;

        if (octet < 0x80) {
            return true;
        }
    }

    return false;
}


static bool
take_octets(cn_bytes_t *rest, uint64_t len, cn_bytes_t *octets)
{
    if (len > rest->len) {
        return false;
    }

    *octets = cn_bytes(rest->ptr, (size_t) len);
    *rest = cn_bytes_from(*rest, (size_t) len);

    return true;
}


static bool
take_field(cn_bytes_t *rest, field_t *field)
{
    uint64_t  tag, len;

    if (!take_varint(rest, &tag) || tag >> 3 == 0) {
        return false;
    }

    field->number = tag >> 3;
    field->type = tag & 7;

    switch (field->type) {
    case VARINT:
        return take_varint(rest, &field->varint);
    case EIGHT_OCTETS:
        return take_octets(rest, 8, &field->content);
    case WITH_LENGTH:
        return take_varint(rest, &len) && take_octets(rest, len, &field->content);
    case FOUR_OCTETS:
        return take_octets(rest, 4, &field->content);
    default:
        return false;               /* groups */
    }
}


/* The last field of that number, which has that wire type; found->number 0: it is absent. */
static bool
find(cn_bytes_t message, uint32_t number, unsigned type, field_t *found)
{
    *found = (field_t) { .number = 0 };

    while (message.len > 0) {
        field_t  field;

        if (!take_field(&message, &field)) {
            return false;
        }

        if (field.number != number) {
            continue;
        }

        if (field.type != type) {
            return false;
        }

        *found = field;
    }

    return true;
}


bool
cn_wire_bytes(cn_bytes_t message, uint32_t number, cn_bytes_t *value)
{
    field_t  found;
    bool     ok = find(message, number, WITH_LENGTH, &found);

    *value = ok && found.number != 0 ? found.content : CN_BYTES_NONE;

    return ok;
}


bool
cn_wire_number(cn_bytes_t message, uint32_t number, uint64_t *value)
{
    field_t  found;
    bool     ok = find(message, number, VARINT, &found);

    *value = ok && found.number != 0 ? found.varint : 0;

    return ok;
}
