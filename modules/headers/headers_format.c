/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers_format - evaluates the commands of a value, one after another, into a buffer of the
 * stack.  What a peer said never makes a line of its own: header values hold no control octets.
 */

#include "headers/headers_format.h"

#include "base/clock.h"
#include "base/header_format.h"

#define VALUE_MAX  8192

typedef struct {
    const cn_request_t  *request;
    uint8_t              octets[VALUE_MAX];
    size_t               len;
    size_t               max;           /* octets that the command at hand may still give */
    bool                 full;
} buffer_t;


static void
put(buffer_t *buffer, cn_bytes_t bytes)
{
    size_t  len = bytes.len < buffer->max ? bytes.len : buffer->max;

    if (len > sizeof(buffer->octets) - buffer->len) {
        buffer->full = true;
        return;
    }

    if (len > 0) {
        memcpy(buffer->octets + buffer->len, bytes.ptr, len);
        buffer->len += len;
        buffer->max -= len;
    }
}


static void
put_number(buffer_t *buffer, uint64_t number)
{
    char  digits[20];

    put(buffer, cn_bytes(digits, cn_u64_print(number, digits)));
}


static void
put_address(buffer_t *buffer, const cn_address_t *address, bool with_port)
{
    char        text[CN_ADDRESS_TEXT_MAX];
    cn_bytes_t  bytes = cn_bytes(text, cn_address_print(address, text));
    size_t      colon = cn_bytes_find_last_octet(bytes, ':');

    if (with_port || colon == SIZE_MAX) {
        put(buffer, bytes);
        return;
    }

    bytes.len = colon;

    if (bytes.len > 2 && bytes.ptr[0] == '[') {
        bytes = cn_bytes(bytes.ptr + 1, bytes.len - 2);
    }

    put(buffer, bytes);
}


/* The last X-Forwarded-For entry where one stands, as the access log has it. */
static void
put_remote(buffer_t *buffer, bool with_port)
{
    const cn_request_t  *request = buffer->request;
    const cn_header_t   *header = cn_headers_find_id(&request->head->headers,
                                                     CN_HEADER_X_FORWARDED_FOR);
    cn_address_t         address;

    if (header != NULL) {
        size_t      comma = cn_bytes_find_last_octet(header->value, ',');
        cn_bytes_t  last = comma == SIZE_MAX ? header->value
                                             : cn_bytes_from(header->value, comma + 1);

        if (cn_address_parse_ip(cn_bytes_trim(last), &address) == CN_OK) {
            address.port = 0;
            put_address(buffer, &address, with_port);
            return;
        }
    }

    put_address(buffer, &request->connection->peer, with_port);
}


/* False: there is no such header. */
static bool
put_request_header(buffer_t *buffer, cn_bytes_t name)
{
    static const char *const  pseudo[] = { ":method", ":path", ":authority", ":scheme" };
    const cn_message_t       *head = buffer->request->head;
    const cn_bytes_t          values[] = { head->method, head->path, head->authority,
                                           head->scheme };

    for (size_t i = 0; i < CN_COUNT_OF(pseudo); i++) {
        if (cn_bytes_equal_nocase(name, cn_bytes_str(pseudo[i]))) {
            put(buffer, values[i]);
            return true;
        }
    }

    if (cn_bytes_equal_nocase(name, CN_BYTES("host"))) {
        put(buffer, head->authority);
        return true;
    }

    for (uint32_t i = 0; i < head->headers.count; i++) {
        if (cn_bytes_equal_nocase(head->headers.items[i].name, name)) {
            put(buffer, head->headers.items[i].value);
            return true;
        }
    }

    return false;
}


static bool
put_response_header(buffer_t *buffer, cn_bytes_t name)
{
    const cn_message_t  *response = buffer->request->response;

    if (response == NULL) {
        return false;
    }

    if (cn_bytes_equal_nocase(name, CN_BYTES(":status"))) {
        put_number(buffer, response->status);
        return true;
    }

    for (uint32_t i = 0; i < response->headers.count; i++) {
        if (cn_bytes_equal_nocase(response->headers.items[i].name, name)) {
            put(buffer, response->headers.items[i].value);
            return true;
        }
    }

    return false;
}


static cn_bytes_t
protocol_name(const cn_message_t *head)
{
    switch (head->version) {

    case CN_HTTP_10:
        return CN_BYTES("HTTP/1.0");

    case CN_HTTP_2:
        return CN_BYTES("HTTP/2");

    default:
        return CN_BYTES("HTTP/1.1");
    }
}


/* Of the connection that the request came on. */
static void
put_connection(buffer_t *buffer, cn_format_command_t command)
{
    const cn_stream_info_t  *connection = buffer->request->connection;

    switch (command) {

    case CN_FORMAT_REMOTE:
    case CN_FORMAT_REMOTE_IP:
        put_remote(buffer, command == CN_FORMAT_REMOTE);
        return;

    case CN_FORMAT_DIRECT_REMOTE:
    case CN_FORMAT_DIRECT_REMOTE_IP:
        put_address(buffer, &connection->peer, command == CN_FORMAT_DIRECT_REMOTE);
        return;

    case CN_FORMAT_LOCAL:
    case CN_FORMAT_LOCAL_IP:
        put_address(buffer, &connection->local, command == CN_FORMAT_LOCAL);
        return;

    case CN_FORMAT_LOCAL_PORT:
        put_number(buffer, connection->local.port);
        return;

    case CN_FORMAT_PEER_URI_SAN:
        put(buffer, connection->peer_principal);
        return;

    case CN_FORMAT_SERVER_NAME:
    default:
        put(buffer, connection->sni);
        return;
    }
}


static void
put_flags(buffer_t *buffer)
{
    char  flags[128];

    put(buffer, cn_bytes(flags, cn_flags_print(buffer->request->flags, flags, sizeof(flags))));
}


static void
put_start(buffer_t *buffer)
{
    char  time[24];

    cn_clock_print_rfc3339(buffer->request->start_wall_ms, time);
    put(buffer, cn_bytes(time, sizeof(time)));
}


static void
put_command(buffer_t *buffer, const cn_format_piece_t *piece)
{
    const cn_request_t  *request = buffer->request;

    switch (piece->command) {

    case CN_FORMAT_LITERAL:
        put(buffer, piece->text);
        return;

    case CN_FORMAT_REQ:
        if (!put_request_header(buffer, piece->name)) {
            (void) put_request_header(buffer, piece->other);
        }
        return;

    case CN_FORMAT_RESP:
        if (!put_response_header(buffer, piece->name)) {
            (void) put_response_header(buffer, piece->other);
        }
        return;

    case CN_FORMAT_PROTOCOL:
        put(buffer, protocol_name(request->head));
        return;

    case CN_FORMAT_ROUTE_NAME:
        put(buffer, cn_block_bytes(request->service_block, request->route->name));
        return;

    case CN_FORMAT_UPSTREAM_CLUSTER:
        put(buffer, request->upstream_cluster);
        return;

    case CN_FORMAT_UPSTREAM_HOST:
        if (request->host != NULL) {
            put_address(buffer, &request->host->address, true);
        }
        return;

    case CN_FORMAT_RESPONSE_CODE:
        put_number(buffer, request->response != NULL ? request->response->status : 0);
        return;

    case CN_FORMAT_RESPONSE_FLAGS:
        put_flags(buffer);
        return;

    case CN_FORMAT_STREAM_ID:
        (void) put_request_header(buffer, CN_BYTES("x-request-id"));
        return;

    case CN_FORMAT_START_TIME:
        put_start(buffer);
        return;

    default:
        put_connection(buffer, piece->command);
        return;
    }
}


cn_status_t
headers_format(const cn_request_t *request, cn_bytes_t format, cn_bytes_t *value)
{
    buffer_t           buffer;
    cn_format_piece_t  piece;
    cn_status_t        status;
    size_t             at = 0;

    buffer.request = request;
    buffer.len = 0;
    buffer.full = false;

    while ((status = cn_format_next(format, &at, &piece)) == CN_OK) {
        buffer.max = piece.max;
        put_command(&buffer, &piece);
    }

    if (status != CN_AGAIN) {
        return CN_ERR_SYNTAX;
    }

    if (buffer.full) {
        return CN_ERR_LIMIT;
    }

    return cn_pool_copy(request->pool, cn_bytes(buffer.octets, buffer.len), value);
}
