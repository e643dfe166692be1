/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_message - see grpc_message.h. */

#include "http/grpc_message.h"

#define CAPACITY_FIRST  4096            /* octets of a buffer at least */
#define CAPACITY_KEPT   65536           /* of one that is kept for the next message at most */


void
cn_grpc_reader_init(cn_grpc_reader_t *reader, size_t max)
{
    *reader = (cn_grpc_reader_t) { .max = max };
}


void
cn_grpc_reader_clear(cn_grpc_reader_t *reader)
{
    cn_free(reader->octets);
    reader->octets = NULL;
    reader->capacity = 0;
}


bool
cn_grpc_reader_is_between(const cn_grpc_reader_t *reader)
{
    return reader->prefix_len == 0;
}


/* CN_AGAIN: it is not complete. */
static cn_status_t
read_prefix(cn_grpc_reader_t *reader, cn_bytes_t *data)
{
    size_t          wanted = CN_GRPC_PREFIX - reader->prefix_len;
    size_t          part = data->len < wanted ? data->len : wanted;
    const uint8_t  *prefix = reader->prefix;

    if (part > 0) {
        memcpy(reader->prefix + reader->prefix_len, data->ptr, part);
        reader->prefix_len += (uint32_t) part;
        *data = cn_bytes_from(*data, part);
    }

    if (reader->prefix_len > 0 && prefix[0] > 1) {
        return CN_ERR_SYNTAX;
    }

    if (reader->prefix_len < CN_GRPC_PREFIX) {
        return CN_AGAIN;
    }

    reader->length = (uint32_t) prefix[1] << 24 | (uint32_t) prefix[2] << 16
                     | (uint32_t) prefix[3] << 8 | prefix[4];

    if (prefix[0] == 1) {
        return CN_ERR_UNSUPPORTED;
    }

    return reader->length > reader->max ? CN_ERR_LIMIT : CN_OK;
}


/* Room for len more octets: the capacity doubles, up to the message's length. */
static cn_status_t
make_room(cn_grpc_reader_t *reader, size_t len)
{
    size_t    wanted = reader->len + len;       /* at most length, which fits */
    size_t    capacity = 2 * wanted;
    uint8_t  *octets;

    if (wanted <= reader->capacity) {
        return CN_OK;
    }

    capacity = capacity < reader->length ? capacity : reader->length;
    capacity = capacity > CAPACITY_FIRST ? capacity : CAPACITY_FIRST;
    octets = cn_realloc(reader->octets, capacity);

    if (octets == NULL) {
        return CN_ERR_MEMORY;
    }

    reader->octets = octets;
    reader->capacity = capacity;

    return CN_OK;
}


static cn_status_t
collect(cn_grpc_reader_t *reader, cn_bytes_t *data)
{
    size_t  left = reader->length - reader->len;
    size_t  part = data->len < left ? data->len : left;

    if (part == 0) {
        return CN_OK;
    }

    if (make_room(reader, part) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    memcpy(reader->octets + reader->len, data->ptr, part);
    reader->len += part;
    *data = cn_bytes_from(*data, part);

    return CN_OK;
}


cn_status_t
cn_grpc_reader_next(cn_grpc_reader_t *reader, cn_bytes_t *data, cn_bytes_t *message)
{
    cn_status_t  status;

    /* the last message was a view of it */
    if (reader->len == 0 && reader->capacity > CAPACITY_KEPT) {
        cn_grpc_reader_clear(reader);
    }

    if (reader->prefix_len < CN_GRPC_PREFIX) {
        status = read_prefix(reader, data);

        if (status != CN_OK) {
            return status;
        }
    }

    if (reader->len == 0 && data->len >= reader->length) {
        *message = cn_bytes(data->ptr, reader->length);
        *data = cn_bytes_from(*data, reader->length);
        reader->prefix_len = 0;
        return CN_OK;
    }

    if (collect(reader, data) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (reader->len < reader->length) {
        return CN_AGAIN;
    }

    *message = cn_bytes(reader->octets, reader->len);
    reader->prefix_len = 0;
    reader->len = 0;

    return CN_OK;
}


void
cn_grpc_prefix(uint32_t len, uint8_t out[CN_GRPC_PREFIX])
{
    out[0] = 0;
    out[1] = (uint8_t) (len >> 24);
    out[2] = (uint8_t) (len >> 16);
    out[3] = (uint8_t) (len >> 8);
    out[4] = (uint8_t) len;
}
