/* SPDX-License-Identifier: Apache-2.0 */

/* message - heads of requests and responses, and the names that cairn knows. */

#include "http/message.h"
#include "http/wire.h"

#define HEADERS_FIRST  16               /* items of the first allocation: most heads fit */
#define NAME_SLOTS     128              /* a power of two, well above the count of names */

static const cn_bytes_t  names[CN_HEADER_COUNT] = {
#define X(id, name) [CN_HEADER_##id] = CN_BYTES_INIT(name),
    CN_HEADER_NAMES(X)
#undef X
};

_Static_assert(CN_HEADER_COUNT * 2 < NAME_SLOTS, "the table of names stays half empty");

/* Open addressing, filled at first use; 0 is an empty slot. */
static uint8_t  slots[NAME_SLOTS];
static size_t   name_len_max;


static size_t
name_slot(cn_bytes_t name)
{
    uint32_t  hash = (uint32_t) name.len * 31;

    hash = (hash + name.ptr[0]) * 31;
    hash = (hash + name.ptr[name.len / 2]) * 31;
    hash = hash + name.ptr[name.len - 1];

    return (hash ^ hash >> 7) & (NAME_SLOTS - 1);
}


static void
names_fill(void)
{
    for (uint8_t id = 1; id < CN_HEADER_COUNT; id++) {
        size_t  slot = name_slot(names[id]);

        while (slots[slot] != 0) {
            slot = (slot + 1) & (NAME_SLOTS - 1);
        }

        slots[slot] = id;

        if (names[id].len > name_len_max) {
            name_len_max = names[id].len;
        }
    }
}


cn_header_id_t
cn_header_id(cn_bytes_t name)
{
    if (name_len_max == 0) {
        names_fill();
    }

    if (name.len == 0 || name.len > name_len_max) {
        return CN_HEADER_OTHER;
    }

    for (size_t slot = name_slot(name); slots[slot] != 0; slot = (slot + 1) & (NAME_SLOTS - 1)) {
        if (cn_bytes_equal(names[slots[slot]], name)) {
            return (cn_header_id_t) slots[slot];
        }
    }

    return CN_HEADER_OTHER;
}


cn_bytes_t
cn_header_name(cn_header_id_t id)
{
    return (size_t) id < CN_HEADER_COUNT ? names[id] : CN_BYTES_NONE;
}


void
cn_message_init(cn_message_t *message, cn_pool_t *pool)
{
    *message = (cn_message_t) {
        .version = CN_HTTP_11,
        .keep_alive = true,
        .content_length = CN_LENGTH_UNKNOWN,
        .headers = { .pool = pool },
    };
}


static cn_status_t
headers_grow(cn_headers_t *headers)
{
    uint32_t      capacity = headers->capacity == 0 ? HEADERS_FIRST : headers->capacity * 2;
    cn_header_t  *items;
    size_t        size;

    if (capacity <= headers->capacity
        || cn_size_mul(capacity, sizeof(cn_header_t), &size) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    items = cn_pool_alloc(headers->pool, size);
    if (items == NULL) {
        return CN_ERR_MEMORY;
    }

    if (headers->count > 0) {
        memcpy(items, headers->items, headers->count * sizeof(cn_header_t));
    }

    headers->items = items;
    headers->capacity = capacity;

    return CN_OK;
}


cn_status_t
cn_headers_push(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value, cn_header_id_t id)
{
    if (headers->count == headers->capacity && headers_grow(headers) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    headers->items[headers->count++] = (cn_header_t) { name, value, (uint16_t) id };
    headers->octets += name.len + value.len;

    return CN_OK;
}


cn_status_t
cn_headers_add(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value)
{
    return cn_headers_push(headers, name, value, cn_header_id(name));
}


cn_status_t
cn_headers_add_id(cn_headers_t *headers, cn_header_id_t id, cn_bytes_t value)
{
    return cn_headers_push(headers, cn_header_name(id), value, id);
}


static bool
header_is(const cn_header_t *header, cn_header_id_t id, cn_bytes_t name)
{
    return id != CN_HEADER_OTHER ? header->id == id
                                 : header->id == CN_HEADER_OTHER
                                     && cn_bytes_equal(header->name, name);
}


static uint32_t
headers_remove(cn_headers_t *headers, cn_header_id_t id, cn_bytes_t name)
{
    uint32_t  kept = 0;

    for (uint32_t i = 0; i < headers->count; i++) {
        const cn_header_t  *header = &headers->items[i];

        if (header_is(header, id, name)) {
            headers->octets -= header->name.len + header->value.len;
        } else {
            if (kept != i) {
                headers->items[kept] = *header;
            }

            kept++;
        }
    }

    uint32_t  removed = headers->count - kept;

    headers->count = kept;

    return removed;
}


cn_status_t
cn_headers_set(cn_headers_t *headers, cn_bytes_t name, cn_bytes_t value)
{
    cn_header_id_t  id = cn_header_id(name);

    /* a full list grows first, so that a failure removes nothing */
    if (headers->count == headers->capacity && headers_grow(headers) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    (void) headers_remove(headers, id, name);

    return cn_headers_push(headers, name, value, id);
}


uint32_t
cn_headers_remove(cn_headers_t *headers, cn_bytes_t name)
{
    return headers_remove(headers, cn_header_id(name), name);
}


uint32_t
cn_headers_remove_id(cn_headers_t *headers, cn_header_id_t id)
{
    return id == CN_HEADER_OTHER ? 0 : headers_remove(headers, id, CN_BYTES_NONE);
}


static const cn_header_t *
headers_find(const cn_headers_t *headers, cn_header_id_t id, cn_bytes_t name)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        if (header_is(&headers->items[i], id, name)) {
            return &headers->items[i];
        }
    }

    return NULL;
}


const cn_header_t *
cn_headers_find(const cn_headers_t *headers, cn_bytes_t name)
{
    return headers_find(headers, cn_header_id(name), name);
}


const cn_header_t *
cn_headers_find_id(const cn_headers_t *headers, cn_header_id_t id)
{
    return id == CN_HEADER_OTHER ? NULL : headers_find(headers, id, CN_BYTES_NONE);
}


cn_status_t
cn_headers_copy(cn_headers_t *to, const cn_headers_t *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const cn_header_t  *header = &from->items[i];
        cn_bytes_t          name = header->name, value;

        /* the names that we know are static */
        if (header->id != CN_HEADER_OTHER) {
            name = cn_header_name((cn_header_id_t) header->id);

        } else if (cn_pool_copy(to->pool, header->name, &name) != CN_OK) {
            return CN_ERR_MEMORY;
        }

        if (cn_pool_copy(to->pool, header->value, &value) != CN_OK
            || cn_headers_push(to, name, value, (cn_header_id_t) header->id) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


bool
cn_message_is_grpc(const cn_message_t *message)
{
    static const cn_bytes_t  grpc = CN_BYTES_INIT("application/grpc");
    const cn_header_t       *type = cn_headers_find_id(&message->headers, CN_HEADER_CONTENT_TYPE);

    if (type == NULL || !cn_bytes_starts_with_nocase(type->value, grpc)) {
        return false;
    }

    return type->value.len == grpc.len || type->value.ptr[grpc.len] == '+'
           || type->value.ptr[grpc.len] == ';';
}
