/* SPDX-License-Identifier: Apache-2.0 */

/*
 * head - heads between messages and nghttp2's fields.  nghttp2 has checked the order and set of
 * pseudo headers, names and values, and refuses connection headers; limits on decoded octets and
 * their count (cookie crumbs included, CVE-2026-47774), the target's octets and Host are judged
 * here.
 */

#include "http/h2/h2.h"


/*
 * --- to nghttp2 --------------------------------------------------------------------------------
 */

static cn_status_t
fields_init(h2_fields_t *fields, size_t count)
{
    size_t  size;

    fields->count = 0;
    fields->more = NULL;
    fields->items = fields->first;

    if (count <= CN_COUNT_OF(fields->first)) {
        return CN_OK;
    }

    if (cn_size_mul(count, sizeof(nghttp2_nv), &size) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    fields->more = cn_alloc(size);
    fields->items = fields->more;

    return fields->more != NULL ? CN_OK : CN_ERR_MEMORY;
}


void
h2_fields_free(h2_fields_t *fields)
{
    cn_free(fields->more);
    fields->more = NULL;
}


static void
put(h2_fields_t *fields, cn_bytes_t name, cn_bytes_t value)
{
    static uint8_t  nothing[1];

    /* nghttp2 copies both and changes neither */
    fields->items[fields->count++] = (nghttp2_nv) {
        .name = (uint8_t *) (uintptr_t) name.ptr,
        .namelen = name.len,
        .value = value.len > 0 ? (uint8_t *) (uintptr_t) value.ptr : nothing,
        .valuelen = value.len,
    };
}


static bool
is_connection_header(const cn_header_t *header)
{
    switch (header->id) {
    case CN_HEADER_HOST:
    case CN_HEADER_CONTENT_LENGTH:
    case CN_HEADER_TRANSFER_ENCODING:
    case CN_HEADER_CONNECTION:
    case CN_HEADER_KEEP_ALIVE:
    case CN_HEADER_PROXY_CONNECTION:
    case CN_HEADER_UPGRADE:
        return true;
    default:
        return false;
    }
}


static void
put_headers(h2_fields_t *fields, const cn_headers_t *headers)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        const cn_header_t  *header = &headers->items[i];

        if (!is_connection_header(header) && cn_http_value_valid(header->value)) {
            put(fields, header->name, header->value);
        }
    }
}


static void
put_length(h2_fields_t *fields, const cn_message_t *head)
{
    if (head->content_length != CN_LENGTH_UNKNOWN) {
        put(fields, CN_BYTES("content-length"),
            cn_bytes(fields->length,
                     cn_u64_print((uint64_t) head->content_length, fields->length)));
    }
}


static bool
can_be_sent(const cn_message_t *head, bool plain_connect)
{
    return cn_http_authority_valid(head->authority) && cn_http_value_valid(head->method)
           && cn_http_value_valid(head->protocol)
           && (plain_connect || cn_http_path_valid(head->path));
}


cn_status_t
h2_fields_request(h2_fields_t *fields, const cn_message_t *head)
{
    bool        extended = head->protocol.len > 0;
    cn_bytes_t  method = extended ? CN_BYTES("CONNECT") : head->method;
    bool        plain_connect = !extended && cn_bytes_equal(method, CN_BYTES("CONNECT"));

    if (fields_init(fields, head->headers.count + 8) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (!can_be_sent(head, plain_connect)) {
        h2_fields_free(fields);
        return CN_ERR_SYNTAX;
    }

    put(fields, CN_BYTES(":method"), method);

    if (!plain_connect) {
        put(fields, CN_BYTES(":scheme"), head->scheme.len > 0 ? head->scheme : CN_BYTES("http"));
        put(fields, CN_BYTES(":path"), head->path);
    }

    if (head->authority.len > 0) {
        put(fields, CN_BYTES(":authority"), head->authority);
    }

    if (extended) {
        put(fields, CN_BYTES(":protocol"), head->protocol);
    }

    put_headers(fields, &head->headers);

    if (head->expect_continue) {
        put(fields, CN_BYTES("expect"), CN_BYTES("100-continue"));
    }

    if (!extended && !plain_connect) {
        put_length(fields, head);
    }

    return CN_OK;
}


cn_status_t
h2_fields_response(h2_fields_t *fields, const cn_message_t *head)
{
    /* HTTP/2 has no 101: an upgrade that went through is a 200 (RFC 8441 5) */
    uint16_t  status = head->status == 101 ? 200 : head->status;

    if (fields_init(fields, head->headers.count + 4) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    put(fields, CN_BYTES(":status"),
        cn_bytes(fields->status, cn_u64_print(status, fields->status)));
    put_headers(fields, &head->headers);

    if (status >= 200 && status != 204) {
        put_length(fields, head);
    }

    return CN_OK;
}


cn_status_t
h2_fields_trailers(h2_fields_t *fields, const cn_headers_t *headers)
{
    if (fields_init(fields, headers->count) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    put_headers(fields, headers);

    return CN_OK;
}


/*
 * --- from nghttp2 ------------------------------------------------------------------------------
 */

static cn_status_t
refuse(h2_stream_t *stream, cn_status_t status, const char *detail, const char *flag)
{
    stream->refused = detail;
    stream->refused_flag = flag;

    return status;
}


static cn_status_t
refuse_field(h2_stream_t *stream)
{
    return refuse(stream, CN_ERR_SYNTAX, "http2.invalid.header.field", "DPE");
}


cn_status_t
h2_head_begin(h2_stream_t *stream)
{
    stream->line_count = 0;
    stream->line_octets = 0;
    stream->cookies = 0;
    stream->head = cn_pool_alloc(stream->base.pool, sizeof(cn_message_t));

    if (stream->head == NULL) {
        return CN_ERR_MEMORY;
    }

    cn_message_init(stream->head, stream->base.pool);
    stream->head->version = CN_HTTP_2;

    return CN_OK;
}


static cn_status_t
pseudo_field(h2_stream_t *stream, cn_bytes_t name, cn_bytes_t value)
{
    cn_message_t  *head = stream->head;
    cn_bytes_t    *to;
    uint64_t       status;

    if (cn_bytes_equal(name, CN_BYTES(":status"))) {
        if (cn_bytes_to_u64(value, 999, &status) != CN_OK || status < 100) {
            return refuse_field(stream);
        }

        head->status = (uint16_t) status;
        return CN_OK;
    }

    if (cn_bytes_equal(name, CN_BYTES(":path"))) {
        to = &head->path;
    } else if (cn_bytes_equal(name, CN_BYTES(":method"))) {
        to = &head->method;
    } else if (cn_bytes_equal(name, CN_BYTES(":authority"))) {
        to = &head->authority;
    } else if (cn_bytes_equal(name, CN_BYTES(":protocol"))) {
        to = &head->protocol;

    } else if (cn_bytes_equal(name, CN_BYTES(":scheme"))) {
        /* two values only, whatever was sent (CVE-2023-35944) */
        head->scheme = cn_bytes_equal_nocase(value, CN_BYTES("https")) ? CN_BYTES("https")
                                                                        : CN_BYTES("http");
        return CN_OK;

    } else {
        return refuse_field(stream);
    }

    return cn_pool_copy(stream->base.pool, value, to);
}


/* Fields that are the message's own.  CN_AGAIN: an ordinary one. */
static cn_status_t
own_field(h2_stream_t *stream, cn_header_id_t id, cn_bytes_t value)
{
    cn_message_t  *head = stream->head;
    uint64_t       length;

    switch (id) {

    case CN_HEADER_HOST:
        /* :authority wins; it came first */
        if (head->authority.ptr != NULL) {
            return CN_OK;
        }

        return cn_pool_copy(stream->base.pool, value, &head->authority);

    case CN_HEADER_CONTENT_LENGTH:
        if (head->content_length != CN_LENGTH_UNKNOWN
            || cn_bytes_to_u64(value, INT64_MAX, &length) != CN_OK)
        {
            return refuse_field(stream);
        }

        head->content_length = (int64_t) length;
        return CN_OK;

    case CN_HEADER_EXPECT:
        if (!cn_bytes_equal_nocase(value, CN_BYTES("100-continue"))) {
            return CN_AGAIN;
        }

        head->expect_continue = true;
        return CN_OK;

    case CN_HEADER_CONNECTION:
    case CN_HEADER_KEEP_ALIVE:
    case CN_HEADER_PROXY_CONNECTION:
    case CN_HEADER_TRANSFER_ENCODING:
    case CN_HEADER_UPGRADE:
        return refuse_field(stream);

    case CN_HEADER_COOKIE:
        stream->cookies++;
        return CN_AGAIN;

    default:
        return CN_AGAIN;
    }
}


cn_status_t
h2_head_field(h2_stream_t *stream, cn_bytes_t name, cn_bytes_t value)
{
    const cn_session_limits_t  *limits = &stream->h2->session.limits;
    cn_header_id_t              id;
    cn_status_t                 status = CN_AGAIN;

    stream->line_octets += name.len + value.len;

    if (stream->line_octets > limits->head_octets_max) {
        return refuse(stream, CN_ERR_LIMIT, "http2.header_list_size_too_large", "DR");
    }

    if (name.len > 0 && name.ptr[0] == ':') {
        return stream->head_told ? refuse_field(stream) : pseudo_field(stream, name, value);
    }

    if (++stream->line_count > limits->headers_max) {
        return refuse(stream, CN_ERR_LIMIT, "http2.too_many_headers", "DR");
    }

    if (!cn_http_name_valid(name) || !cn_http_value_valid(value)) {
        return refuse_field(stream);
    }

    id = cn_header_id(name);

    if (id != CN_HEADER_OTHER) {
        name = cn_header_name(id);
        status = own_field(stream, id, value);

    } else if (cn_pool_copy(stream->base.pool, name, &name) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (status != CN_AGAIN) {
        return status;
    }

    if (value.len > 0 && cn_pool_copy(stream->base.pool, value, &value) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (value.len == 0) {
        value = CN_BYTES("");
    }

    return cn_headers_push(&stream->head->headers, name, value, id);
}


/* Crumbs become one cookie again (RFC 9113 8.2.3): policy sees what the upstream will see. */
static cn_status_t
join_cookies(h2_stream_t *stream)
{
    cn_headers_t  *headers = &stream->head->headers;
    size_t         len = 0, at = 0;
    uint8_t       *text;

    for (uint32_t i = 0; i < headers->count; i++) {
        if (headers->items[i].id == CN_HEADER_COOKIE) {
            len += headers->items[i].value.len + 2;
        }
    }

    text = cn_pool_octets(stream->base.pool, len);
    if (text == NULL) {
        return CN_ERR_MEMORY;
    }

    for (uint32_t i = 0; i < headers->count; i++) {
        cn_bytes_t  value = headers->items[i].value;

        if (headers->items[i].id != CN_HEADER_COOKIE) {
            continue;
        }

        if (at > 0) {
            memcpy(text + at, "; ", 2);
            at += 2;
        }

        if (value.len > 0) {
            memcpy(text + at, value.ptr, value.len);
            at += value.len;
        }
    }

    (void) cn_headers_remove_id(headers, CN_HEADER_COOKIE);

    return cn_headers_add_id(headers, CN_HEADER_COOKIE, cn_bytes(text, at));
}


static cn_status_t
request_complete(h2_stream_t *stream)
{
    cn_message_t  *head = stream->head;
    bool           plain_connect = head->protocol.len == 0
                                   && cn_bytes_equal(head->method, CN_BYTES("CONNECT"));

    if (!cn_http_authority_valid(head->authority) || (plain_connect && head->authority.len == 0)) {
        return refuse_field(stream);
    }

    if (plain_connect) {
        return head->path.len == 0 ? CN_OK : refuse_field(stream);
    }

    if (!cn_http_path_valid(head->path)
        || (head->path.ptr[0] == '*' && !cn_bytes_equal(head->method, CN_BYTES("OPTIONS"))))
    {
        return refuse_field(stream);
    }

    return CN_OK;
}


cn_status_t
h2_head_complete(h2_stream_t *stream)
{
    if (stream->cookies > 1 && join_cookies(stream) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return stream->h2->server ? request_complete(stream) : CN_OK;
}
