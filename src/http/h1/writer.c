/* SPDX-License-Identifier: Apache-2.0 */

/*
 * writer - heads as HTTP/1.1 bytes.  The size is summed first, so that a head is one buffer of the
 * right size, written once. Framing headers come from the message's fields only: a list cannot
 * bring a second length in.
 */

#include "http/h1/h1.h"

#define LENGTH_DIGITS  20

typedef struct {
    uint8_t  *at;
} text_t;


static void
put(text_t *text, cn_bytes_t bytes)
{
    if (bytes.len > 0) {
        memcpy(text->at, bytes.ptr, bytes.len);
        text->at += bytes.len;
    }
}


static void
put_line(text_t *text, cn_bytes_t name, cn_bytes_t value)
{
    put(text, name);
    put(text, CN_BYTES(": "));
    put(text, value);
    put(text, CN_BYTES("\r\n"));
}


/* Headers that only this file may write. */
static bool
is_framing(const cn_header_t *header)
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


/* Summed here: a list whose values were changed in place may have another idea of its octets. */
static size_t
headers_size(const cn_headers_t *headers)
{
    size_t  size = 0;

    for (uint32_t i = 0; i < headers->count; i++) {
        size += headers->items[i].name.len + headers->items[i].value.len + 4;
    }

    return size;
}


static void
put_headers(text_t *text, const cn_headers_t *headers)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        const cn_header_t  *header = &headers->items[i];

        /* a value with a line end would be a second header: such a one never leaves */
        if (!is_framing(header) && cn_http_value_valid(header->value)) {
            put_line(text, header->name, header->value);
        }
    }
}


static void
put_length(text_t *text, int64_t length)
{
    char  digits[LENGTH_DIGITS];

    put_line(text, CN_BYTES("content-length"),
             cn_bytes(digits, cn_u64_print((uint64_t) length, digits)));
}


/*
 * "content-length: 0" of a bodiless request: methods that usually have a body say so (as Envoy
 * does).
 */
static bool
says_zero_length(cn_bytes_t method)
{
    static const cn_bytes_t  silent[] = {
        CN_BYTES_INIT("GET"), CN_BYTES_INIT("HEAD"), CN_BYTES_INIT("DELETE"),
        CN_BYTES_INIT("TRACE"),
        CN_BYTES_INIT("CONNECT"),
    };

    for (size_t i = 0; i < CN_COUNT_OF(silent); i++) {
        if (cn_bytes_equal(method, silent[i])) {
            return false;
        }
    }

    return true;
}


static h1_body_t
put_request_framing(text_t *text, const cn_message_t *head, bool end, cn_bytes_t method)
{
    if (head->protocol.len > 0) {
        put_line(text, CN_BYTES("connection"), CN_BYTES("upgrade"));
        put_line(text, CN_BYTES("upgrade"), head->protocol);
        return H1_BODY_NONE;
    }

    if (head->content_length != CN_LENGTH_UNKNOWN) {
        put_length(text, head->content_length);
        return end || head->content_length == 0 ? H1_BODY_NONE : H1_BODY_LENGTH;
    }

    if (!end) {
        put(text, CN_BYTES("transfer-encoding: chunked\r\n"));
        return H1_BODY_CHUNKED;
    }

    if (says_zero_length(method)) {
        put_length(text, 0);
    }

    return H1_BODY_NONE;
}


/* Nothing in it that would end the line early or split it otherwise. */
static bool
is_request_line(cn_bytes_t method, cn_bytes_t target)
{
    for (size_t i = 0; i < method.len; i++) {
        if (method.ptr[i] <= 0x20 || method.ptr[i] >= 0x7f) {
            return false;
        }
    }

    for (size_t i = 0; i < target.len; i++) {
        if (target.ptr[i] <= 0x20 || target.ptr[i] >= 0x7f) {
            return false;
        }
    }

    return method.len > 0 && target.len > 0;
}


cn_slice_t
h1_write_request(const cn_message_t *head, bool end, cn_account_t *account, h1_body_t *body)
{
    cn_bytes_t  method = head->method, target = head->path;
    cn_buf_t   *buf;
    text_t      text;

    /* an extended CONNECT (RFC 8441) is an upgrade in HTTP/1 */
    if (head->protocol.len > 0) {
        method = CN_BYTES("GET");

    } else if (cn_bytes_equal(method, CN_BYTES("CONNECT"))) {
        target = head->authority;
    }

    if (!is_request_line(method, target) || !cn_http_authority_valid(head->authority)
        || !cn_http_value_valid(head->protocol))
    {
        return (cn_slice_t) { NULL, NULL, 0 };
    }

    buf = cn_buf_create(method.len + target.len + head->authority.len + head->protocol.len
                            + headers_size(&head->headers) + 160, account);
    if (buf == NULL) {
        return (cn_slice_t) { NULL, NULL, 0 };
    }

    text.at = buf->data;
    put(&text, method);
    put(&text, CN_BYTES(" "));
    put(&text, target);
    put(&text, CN_BYTES(" HTTP/1.1\r\n"));
    put_line(&text, CN_BYTES("host"), head->authority);
    put_headers(&text, &head->headers);

    if (head->expect_continue) {
        put(&text, CN_BYTES("expect: 100-continue\r\n"));
    }

    *body = put_request_framing(&text, head, end, method);
    put(&text, CN_BYTES("\r\n"));

    return (cn_slice_t) { buf, buf->data, (size_t) (text.at - buf->data) };
}


static void
put_status(text_t *text, uint16_t status, cn_http_version_t version)
{
    char  digits[LENGTH_DIGITS];

    put(text, version == CN_HTTP_10 ? CN_BYTES("HTTP/1.0 ") : CN_BYTES("HTTP/1.1 "));
    put(text, cn_bytes(digits, cn_u64_print(status, digits)));
    put(text, CN_BYTES(" "));
    put(text, cn_bytes_str(cn_http_reason(status)));
    put(text, CN_BYTES("\r\n"));
}


static h1_body_t
put_response_framing(text_t *text, const cn_message_t *head, const h1_write_t *how)
{
    if (head->status < 200 || head->status == 204) {
        return H1_BODY_NONE;
    }

    if (head->content_length != CN_LENGTH_UNKNOWN) {
        put_length(text, head->content_length);
        return how->end || how->to_head || head->status == 304 || head->content_length == 0
               ? H1_BODY_NONE : H1_BODY_LENGTH;
    }

    if (how->to_head || head->status == 304) {
        if (head->chunked && how->to_head) {
            put(text, CN_BYTES("transfer-encoding: chunked\r\n"));
        }

        return H1_BODY_NONE;
    }

    if (how->end) {
        put_length(text, 0);
        return H1_BODY_NONE;
    }

    if (how->version == CN_HTTP_10) {
        return H1_BODY_CLOSE;
    }

    put(text, CN_BYTES("transfer-encoding: chunked\r\n"));

    return H1_BODY_CHUNKED;
}


cn_slice_t
h1_write_response(const cn_message_t *head, const h1_write_t *how, cn_account_t *account,
    h1_body_t *body)
{
    cn_buf_t  *buf = cn_buf_create(headers_size(&head->headers) + head->protocol.len + 200,
                                   account);
    text_t     text;

    if (buf == NULL) {
        return (cn_slice_t) { NULL, NULL, 0 };
    }

    text.at = buf->data;
    put_status(&text, head->status, how->version);
    put_headers(&text, &head->headers);
    *body = put_response_framing(&text, head, how);

    if (head->status == 101) {
        put_line(&text, CN_BYTES("connection"), CN_BYTES("upgrade"));
        put_line(&text, CN_BYTES("upgrade"), head->protocol);

    } else if (how->close || *body == H1_BODY_CLOSE) {
        if (head->status >= 200) {
            put(&text, CN_BYTES("connection: close\r\n"));
        }

    } else if (how->version == CN_HTTP_10) {
        put(&text, CN_BYTES("connection: keep-alive\r\n"));
    }

    put(&text, CN_BYTES("\r\n"));

    return (cn_slice_t) { buf, buf->data, (size_t) (text.at - buf->data) };
}


cn_slice_t
h1_write_reply(uint16_t status, cn_account_t *account)
{
    cn_bytes_t  body = cn_bytes_str(cn_http_reason(status));
    cn_buf_t   *buf = cn_buf_create(300, account);
    text_t      text;

    if (buf == NULL) {
        return (cn_slice_t) { NULL, NULL, 0 };
    }

    text.at = buf->data;
    put_status(&text, status, CN_HTTP_11);
    put_length(&text, (int64_t) body.len);
    put(&text, CN_BYTES("content-type: text/plain\r\n"));
    put_line(&text, CN_BYTES("date"), cn_http_date());
    put(&text, CN_BYTES("server: istio-envoy\r\nconnection: close\r\n\r\n"));
    put(&text, body);

    return (cn_slice_t) { buf, buf->data, (size_t) (text.at - buf->data) };
}


size_t
h1_write_chunk_size(size_t len, char *out)
{
    static const char  digits[] = "0123456789abcdef";
    char               reversed[2 * sizeof(len)];
    size_t             count = 0;

    do {
        reversed[count++] = digits[len & 15];
        len >>= 4;
    } while (len > 0);

    for (size_t i = 0; i < count; i++) {
        out[i] = reversed[count - 1 - i];
    }

    out[count] = '\r';
    out[count + 1] = '\n';

    return count + 2;
}
