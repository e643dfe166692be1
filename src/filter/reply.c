/* SPDX-License-Identifier: Apache-2.0 */

/*
 * reply - local replies as Envoy makes them: text/plain with a body, nothing but content-length
 * without; a gRPC request is answered 200, trailers only, with the status in grpc-status and the
 * body in grpc-message.
 */

#include "filter/chain.h"

/* The gRPC status of an HTTP status (gRPC: http-grpc-status-mapping). */
static cn_bytes_t
grpc_status(uint16_t status)
{
    switch (status) {
    case 400:
        return CN_BYTES("13");
    case 401:
        return CN_BYTES("16");
    case 403:
        return CN_BYTES("7");
    case 404:
        return CN_BYTES("12");
    case 429:
    case 502:
    case 503:
    case 504:
        return CN_BYTES("14");
    default:
        return CN_BYTES("2");
    }
}


/* grpc-message: octets outside 0x20..0x7e and '%' are percent-encoded (gRPC over HTTP/2). */
static cn_status_t
percent_encode(cn_bytes_t text, cn_pool_t *pool, cn_bytes_t *out)
{
    static const char  digits[] = "0123456789ABCDEF";
    uint8_t           *to = cn_pool_octets(pool, text.len * 3);
    size_t             len = 0;

    if (to == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < text.len; i++) {
        uint8_t  octet = text.ptr[i];

        if (octet >= 0x20 && octet <= 0x7e && octet != '%') {
            to[len++] = octet;
            continue;
        }

        to[len++] = '%';
        to[len++] = (uint8_t) digits[octet >> 4];
        to[len++] = (uint8_t) digits[octet & 15];
    }

    *out = cn_bytes(to, len);

    return CN_OK;
}


static cn_status_t
build_grpc(cn_request_t *request, cn_message_t *head, uint16_t status, cn_bytes_t *body)
{
    cn_bytes_t  code = request->reply_grpc_status.len > 0 ? request->reply_grpc_status
                                                         : grpc_status(status);
    cn_bytes_t  message;

    head->status = 200;

    if (cn_headers_add_id(&head->headers, CN_HEADER_CONTENT_TYPE, CN_BYTES("application/grpc"))
            != CN_OK
        || cn_headers_add_id(&head->headers, CN_HEADER_GRPC_STATUS, code) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    if (body->len == 0) {
        return CN_OK;
    }

    if (percent_encode(*body, request->pool, &message) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    *body = CN_BYTES_NONE;

    return cn_headers_add_id(&head->headers, CN_HEADER_GRPC_MESSAGE, message);
}


static cn_status_t
build_plain(cn_request_t *request, cn_message_t *head, const cn_bytes_t *body)
{
    char        digits[20];
    size_t      len = cn_u64_print(body->len, digits);
    cn_bytes_t  length;

    if (body->len == 0) {
        /* HTTP/2 needs none, and Envoy sends none */
        head->content_length = request->version == CN_HTTP_2 ? CN_LENGTH_UNKNOWN : 0;
        return CN_OK;
    }

    head->content_length = (int64_t) body->len;

    if (cn_pool_copy(request->pool, cn_bytes(digits, len), &length) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (cn_headers_add_id(&head->headers, CN_HEADER_CONTENT_LENGTH, length) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return cn_headers_add_id(&head->headers, CN_HEADER_CONTENT_TYPE, CN_BYTES("text/plain"));
}


cn_message_t *
cn_reply_build(cn_request_t *request, uint16_t status, cn_bytes_t *body)
{
    cn_message_t  *head = cn_pool_alloc(request->pool, sizeof(cn_message_t));
    cn_status_t    result;

    if (head == NULL) {
        return NULL;
    }

    cn_message_init(head, request->pool);
    head->version = CN_HTTP_11;
    head->keep_alive = true;
    head->last = request->reply_last;
    head->status = status;

    if (request->reply_headers.count > 0
        && cn_headers_copy(&head->headers, &request->reply_headers) != CN_OK)
    {
        return NULL;
    }

    if (cn_message_is_grpc(request->head)) {
        result = build_grpc(request, head, status, body);

    } else {
        result = build_plain(request, head, body);

        if (cn_bytes_equal(request->head->method, CN_BYTES("HEAD"))) {
            *body = CN_BYTES_NONE;
        }
    }

    return result == CN_OK ? head : NULL;
}


void
cn_request_want_body(cn_request_t *request)
{
    cn_message_t  go_on;

    if (!request->head->expect_continue || request->request_ended) {
        return;
    }

    request->head->expect_continue = false;
    cn_message_init(&go_on, request->pool);
    go_on.status = 100;
    cn_exchange_send_informational(request->downstream, &go_on);
}
