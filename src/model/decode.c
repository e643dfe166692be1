/* SPDX-License-Identifier: Apache-2.0 */

/*
 * decode - protobuf-c unpacks, and we look before and after.  Before: how deep the message nests,
 * because the library recurses without a limit, and what its messages would take: two octets can
 * ask for a struct of two hundred.  While it unpacks, what it allocates is charged to a budget.
 * After: every field that is set, by the message's own description.
 */

#include "model/decode.h"

#include "model/read.h"

#define VARINT_BITS   64
#define REFUSED       "refused_"

#define BUDGET_FACTOR  16                       /* octets of memory for one of a message */
#define BUDGET_BASE    ((size_t) 1024 * 1024)   /* and for a message of any size */
#define ERRORS_MAX     64                       /* of one message; more say nothing new */

typedef struct {
    const uint8_t  *at;
    const uint8_t  *end;
} cursor_t;

typedef enum { SHALLOW, MALFORMED, TOO_LARGE } scan_t;


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


static scan_t scan(const ProtobufCMessageDescriptor *type, cn_bytes_t bytes, unsigned depth,
    size_t *left);


/* A field with a length: if it is a message of a known type, how deep and large that is. */
static scan_t
scan_field(const ProtobufCMessageDescriptor *type, uint64_t number, cursor_t *cursor,
    unsigned depth, size_t *left)
{
    const ProtobufCFieldDescriptor  *field;
    const uint8_t                   *start;
    uint64_t                         len;

    if (!varint(cursor, &len)) {
        return MALFORMED;
    }

    start = cursor->at;

    if (!skip(cursor, len)) {
        return MALFORMED;
    }

    field = number > UINT32_MAX
            ? NULL : protobuf_c_message_descriptor_get_field(type, (unsigned) number);

    if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return SHALLOW;
    }

    return scan(field->descriptor, cn_bytes(start, (size_t) len), depth + 1, left);
}


/*
 * Whether bytes are fields one behind the other, with no message deeper than the limit, and the
 * structs of all messages fit *left, which shrinks by them.
 */
static scan_t
scan(const ProtobufCMessageDescriptor *type, cn_bytes_t bytes, unsigned depth, size_t *left)
{
    cursor_t  cursor = { .at = bytes.ptr, .end = bytes.ptr + bytes.len };
    uint64_t  tag, value;

    if (depth > CN_DECODE_DEPTH_MAX) {
        return MALFORMED;
    }

    if (type->sizeof_message > *left) {
        return TOO_LARGE;
    }

    *left -= type->sizeof_message;

    while (cursor.at < cursor.end) {
        scan_t  inner = SHALLOW;
        bool    ok;

        if (!varint(&cursor, &tag)) {
            return MALFORMED;
        }

        switch (tag & 7) {
        case 0:
            ok = varint(&cursor, &value);
            break;
        case 1:
            ok = skip(&cursor, 8);
            break;
        case 2:
            inner = scan_field(type, tag >> 3, &cursor, depth, left);
            ok = inner == SHALLOW;
            break;
        case 5:
            ok = skip(&cursor, 4);
            break;
        default:
            ok = false;                     /* groups */
            break;
        }

        if (!ok) {
            return inner == SHALLOW ? MALFORMED : inner;
        }
    }

    return SHALLOW;
}


/* ---- after ---- */

typedef struct {
    cn_read_t  *read;
    bool        loose;
    size_t      errors_before;
} check_t;

/* Where a message is: made into text only for a complaint. */
typedef struct place_s place_t;

struct place_s {
    const place_t  *parent;
    const char     *name;
};


static const char *
place_text(cn_read_t *read, const place_t *place)
{
    return place->parent == NULL
           ? place->name
           : cn_read_path(read, "%s.%s", place_text(read, place->parent), place->name);
}


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


static bool
told_enough(const check_t *check)
{
    return check->read->errors - check->errors_before >= ERRORS_MAX;
}


static void check_message(const check_t *check, const ProtobufCMessage *message,
    const place_t *place);


static void
check_field(const check_t *check, const ProtobufCMessage *message,
    const ProtobufCFieldDescriptor *field, const place_t *place)
{
    const void  *values;
    size_t       count = field_values(message, field, &values);
    bool         refused = strncmp(field->name, REFUSED, sizeof(REFUSED) - 1) == 0;
    place_t      inner = {
        .parent = place, .name = field->name + (refused ? sizeof(REFUSED) - 1 : 0),
    };

    if (count == 0) {
        return;
    }

    if (refused) {
        cn_read_error(check->read, NULL, place_text(check->read, &inner), "is not implemented");
        return;
    }

    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return;
    }

    for (size_t i = 0; i < count && !told_enough(check); i++) {
        check_message(check, ((const ProtobufCMessage *const *) values)[i], &inner);
    }
}


static void
check_message(const check_t *check, const ProtobufCMessage *message, const place_t *place)
{
    const ProtobufCMessageDescriptor  *type = message->descriptor;

    for (unsigned i = 0; i < message->n_unknown_fields && !check->loose && !told_enough(check); i++)
    {
        cn_read_error(check->read, NULL, place_text(check->read, place),
                      "field %u of %s is not implemented", message->unknown_fields[i].tag,
                      type->short_name);
    }

    for (unsigned i = 0; i < type->n_fields && !told_enough(check); i++) {
        check_field(check, message, &type->fields[i], place);
    }
}


/* ---- unpacking ---- */

typedef struct {
    cn_pool_t     *pool;
    cn_account_t   account;         /* of this message; the pool may have one of all */
} budget_t;


static size_t
budget_of(size_t len)
{
    size_t  size;

    if (cn_size_mul(len, BUDGET_FACTOR, &size) != CN_OK
        || cn_size_add(size, BUDGET_BASE, &size) != CN_OK || size > CN_DECODE_MEMORY_MAX)
    {
        return CN_DECODE_MEMORY_MAX;
    }

    return size;
}


static void *
budget_alloc(void *data, size_t size)
{
    budget_t  *budget = data;
    size_t     room = size < 16 ? 16 : size;

    if (cn_account_charge(&budget->account, room) != CN_OK) {
        return NULL;
    }

    return cn_pool_alloc(budget->pool, room);
}


/* What is in a pool is freed with it, and stays charged. */
static void
budget_free(void *data, void *pointer)
{
    (void) data;
    (void) pointer;
}


static ProtobufCMessage *
unpack(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes, scan_t *result)
{
    budget_t             budget = {
        .pool = read->pool,
        .account = { .limit = budget_of(bytes.len) },
    };
    ProtobufCAllocator   allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget,
    };
    size_t               left = budget.account.limit;
    ProtobufCMessage    *message;

    *result = scan(type, bytes, 0, &left);

    if (*result != SHALLOW) {
        return NULL;
    }

    message = protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.ptr);

    if (message == NULL) {
        *result = budget.account.over ? TOO_LARGE : MALFORMED;
    }

    return message;
}


static void *
decode(const check_t *check, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    cn_read_t         *read = check->read;
    ProtobufCMessage  *message;
    scan_t             result;

    if (bytes.len == 0) {
        bytes = CN_BYTES("");               /* an empty message is one of defaults */
    }

    message = unpack(read, type, bytes, &result);

    if (result == TOO_LARGE) {
        cn_read_error(read, NULL, field, "%s of %zu octets would take more than %zu KiB of "
                      "memory", type->short_name, bytes.len, budget_of(bytes.len) / 1024);
        return NULL;
    }

    if (message == NULL) {
        cn_read_error(read, NULL, field, "is no %s", type->short_name);
        return NULL;
    }

    check_message(check, message, &(place_t) { .name = field });

    return read->errors == check->errors_before ? message : NULL;
}


void *
cn_decode(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    check_t  check = { .read = read, .loose = false, .errors_before = read->errors };

    return decode(&check, type, bytes, field);
}


void *
cn_decode_loosely(cn_read_t *read, const ProtobufCMessageDescriptor *type, cn_bytes_t bytes,
    const char *field)
{
    check_t  check = { .read = read, .loose = true, .errors_before = read->errors };

    return decode(&check, type, bytes, field);
}
