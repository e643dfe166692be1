/* SPDX-License-Identifier: Apache-2.0 */

/*
 * decode - protobuf-c unpacks, and we look before and after.  Before: how deep the message nests,
 * because the library recurses without a limit.  After: every field that is set, by the message's
 * own description.
 */

#include "model/decode.h"

#include "model/read.h"

#define VARINT_BITS  64
#define REFUSED      "refused_"

typedef struct {
    const uint8_t  *at;
    const uint8_t  *end;
} cursor_t;


/* ---- before ---- */

static bool
skip(cursor_t *cursor, uint64_t len)
{
    if (len > (uint64_t) (cursor->end - cursor->at)) {
        return false;
    }

    cursor->at += len;

    return true;
}


static bool
varint(cursor_t *cursor, uint64_t *value)
{
    *value = 0;

    for (unsigned shift = 0; shift < VARINT_BITS; shift += 7) {
        if (cursor->at == cursor->end) {
            return false;
        }

        uint8_t  octet = *cursor->at++;

        *value |= (uint64_t) (octet & 0x7f) << shift;

        if (octet < 0x80) {
            return true;
        }
    }

    return false;
}


static bool shallow(const ProtobufCMessageDescriptor *type, cn_bytes_t bytes, unsigned depth);


/* A field with a length: if it is a message of a known type, how deep that goes. */
static bool
shallow_field(const ProtobufCMessageDescriptor *type, uint64_t number, cursor_t *cursor,
    unsigned depth)
{
    const ProtobufCFieldDescriptor  *field;
    const uint8_t                   *start;
    uint64_t                         len;

    if (!varint(cursor, &len)) {
        return false;
    }

    start = cursor->at;

    if (!skip(cursor, len)) {
        return false;
    }

    field = number > UINT32_MAX
            ? NULL : protobuf_c_message_descriptor_get_field(type, (unsigned) number);

    if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return true;
    }

    return shallow(field->descriptor, cn_bytes(start, (size_t) len), depth + 1);
}


/* Whether bytes are fields one behind the other, with no message deeper than the limit. */
static bool
shallow(const ProtobufCMessageDescriptor *type, cn_bytes_t bytes, unsigned depth)
{
    cursor_t  cursor = { .at = bytes.ptr, .end = bytes.ptr + bytes.len };
    uint64_t  tag, value;

    if (depth > CN_DECODE_DEPTH_MAX) {
        return false;
    }

    while (cursor.at < cursor.end) {
        bool  ok;

        if (!varint(&cursor, &tag)) {
            return false;
        }

        switch (tag & 7) {
        case 0:
            ok = varint(&cursor, &value);
            break;
        case 1:
            ok = skip(&cursor, 8);
            break;
        case 2:
            ok = shallow_field(type, tag >> 3, &cursor, depth);
            break;
        case 5:
            ok = skip(&cursor, 4);
            break;
        default:
            ok = false;                     /* groups */
            break;
        }

        if (!ok) {
            return false;
        }
    }

    return true;
}


/* ---- after ---- */

typedef struct {
    cn_read_t  *read;
    bool        loose;
} check_t;


/* How many values of a field are there; *values: the first. */
static size_t
field_values(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
    const void **values)
{
    const uint8_t  *member = (const uint8_t *) message + field->offset;
    const uint8_t  *quantifier = (const uint8_t *) message + field->quantifier_offset;

    *values = member;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(values, member, sizeof(*values));
        return *(const size_t *) (const void *) quantifier;
    }

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        return *(const uint32_t *) (const void *) quantifier == field->id ? 1 : 0;
    }

    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING) {
        return *(void *const *) (const void *) member != NULL ? 1 : 0;
    }

    return *(const protobuf_c_boolean *) (const void *) quantifier ? 1 : 0;
}


static void check_message(const check_t *check, const ProtobufCMessage *message,
    const char *path);


static void
check_field(const check_t *check, const ProtobufCMessage *message,
    const ProtobufCFieldDescriptor *field, const char *path)
{
    const void  *values;
    size_t       count = field_values(message, field, &values);
    const char  *inner;

    if (count == 0) {
        return;
    }

    if (strncmp(field->name, REFUSED, sizeof(REFUSED) - 1) == 0) {
        inner = cn_read_path(check->read, "%s.%s", path, field->name + sizeof(REFUSED) - 1);
        cn_read_error(check->read, NULL, inner, "is not implemented");
        return;
    }

    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return;
    }

    inner = cn_read_path(check->read, "%s.%s", path, field->name);

    for (size_t i = 0; i < count; i++) {
        check_message(check, ((const ProtobufCMessage *const *) values)[i], inner);
    }
}


static void
check_message(const check_t *check, const ProtobufCMessage *message, const char *path)
{
    const ProtobufCMessageDescriptor  *type = message->descriptor;

    for (unsigned i = 0; i < message->n_unknown_fields && !check->loose; i++) {
        cn_read_error(check->read, NULL, path, "field %u of %s is not implemented",
                      message->unknown_fields[i].tag, type->short_name);
    }

    for (unsigned i = 0; i < type->n_fields; i++) {
        check_field(check, message, &type->fields[i], path);
    }
}


/* ---- unpacking ---- */

static void *
pool_alloc(void *data, size_t size)
{
    return cn_pool_alloc(data, size == 0 ? 1 : size);
}


/* What is in a pool is freed with it. */
static void
pool_free(void *data, void *pointer)
{
    (void) data;
    (void) pointer;
}


static void *
decode(const check_t *check, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    cn_read_t           *read = check->read;
    ProtobufCAllocator   allocator = {
        .alloc = pool_alloc, .free = pool_free, .allocator_data = read->pool,
    };
    ProtobufCMessage    *message = NULL;
    size_t               errors = read->errors;

    if (bytes.len == 0) {
        bytes = CN_BYTES("");               /* an empty message is one of defaults */
    }

    if (shallow(type, bytes, 0)) {
        message = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.ptr);
    }

    if (message == NULL) {
        cn_read_error(read, NULL, field, "is no %s", type->short_name);
        return NULL;
    }

    check_message(check, message, field);

    return read->errors == errors ? message : NULL;
}


void *
cn_decode(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    return decode(&(check_t) { .read = read, .loose = false }, type, bytes, field);
}


void *
cn_decode_loosely(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    return decode(&(check_t) { .read = read, .loose = true }, type, bytes, field);
}
