/* SPDX-License-Identifier: Apache-2.0 */

/*
 * reader - HTTP/1 messages from bytes.  llhttp (strict, no lenient flag) finds the framing; limits,
 * duplicates, the spelling of Transfer-Encoding, Host and the target are judged here.  A head is
 * copied once, into one block of the request's pool.
 */

#include "http/h1/h1.h"

#define TEXT_FIRST         1024         /* octets of the first block of a head */
#define EXTENSIONS_MAX     4096         /* octets of extensions of one chunk */

static const h1_error_t  codec_error = { 400, "http1.codec_error" };


static h1_reader_t *
reader_of(llhttp_t *parser)
{
    return parser->data;
}


static int
fail(h1_reader_t *reader, uint16_t status, const char *detail)
{
    reader->error = (h1_error_t) { status, detail };

    return HPE_USER;
}


/* Moves the text to a larger block, and the views with it. */
static cn_status_t
text_grow(h1_reader_t *reader, size_t more)
{
    size_t         capacity = reader->text_capacity == 0 ? TEXT_FIRST : reader->text_capacity;
    cn_headers_t  *headers = &reader->message->headers;
    uint8_t       *text;

    while (capacity - reader->text_len < more) {
        capacity *= 2;
    }

    text = cn_pool_octets(reader->pool, capacity);
    if (text == NULL) {
        return CN_ERR_MEMORY;
    }

    if (reader->text_len > 0) {
        memcpy(text, reader->text, reader->text_len);
    }

    for (uint32_t i = 0; i < headers->count; i++) {
        cn_header_t  *header = &headers->items[i];

        if (header->id == CN_HEADER_OTHER) {
            header->name.ptr = text + (header->name.ptr - reader->text);
        }

        if (header->id != CN_HEADER_TE) {
            header->value.ptr = text + (header->value.ptr - reader->text);
        }
    }

    reader->text = text;
    reader->text_capacity = capacity;

    return CN_OK;
}


/* Room for len octets of the head, within the limit; 0, or what the callback returns. */
static int
text_room(h1_reader_t *reader, size_t len)
{
    if (len > reader->octets_max - reader->text_len) {
        return fail(reader, 431, "http1.headers_too_large");
    }

    if (reader->text_capacity - reader->text_len < len && text_grow(reader, len) != CN_OK) {
        return fail(reader, 0, "");
    }

    return 0;
}


static int
text_add(h1_reader_t *reader, const char *at, size_t len)
{
    int  rc = text_room(reader, len);

    if (rc == 0) {
        memcpy(reader->text + reader->text_len, at, len);
        reader->text_len += len;
    }

    return rc;
}


static int
on_message_begin(llhttp_t *parser)
{
    h1_reader_t  *reader = reader_of(parser);

    reader->pool = reader->handlers->on_begin(reader);
    if (reader->pool == NULL) {
        return fail(reader, 0, "");
    }

    reader->message = cn_pool_alloc(reader->pool, sizeof(cn_message_t));
    if (reader->message == NULL) {
        return fail(reader, 0, "");
    }

    cn_message_init(reader->message, reader->pool);

    return text_grow(reader, TEXT_FIRST) == CN_OK ? 0 : fail(reader, 0, "");
}


static int
on_url(llhttp_t *parser, const char *at, size_t len)
{
    h1_reader_t  *reader = reader_of(parser);

    reader->target_len += len;

    return text_add(reader, at, len);
}


static int
on_version_complete(llhttp_t *parser)
{
    h1_reader_t  *reader = reader_of(parser);
    bool          http_10 = parser->http_major == 1 && parser->http_minor == 0;

    if (parser->http_major == 1 && parser->http_minor == 1) {
        return 0;
    }

    if (parser->type == HTTP_RESPONSE) {
        return http_10 ? 0 : fail(reader, 502, "http1.codec_error");
    }

    return http_10 && reader->allow_http_10 ? 0 : fail(reader, 426, "low_version");
}


/*
 * Trailers are read, bounded and dropped: nothing behind us would be sure to treat them as what
 * they are.
 */
static int
on_trailer_octets(h1_reader_t *reader, size_t len)
{
    if (len > reader->octets_max - reader->text_len) {
        return fail(reader, 431, "http1.headers_too_large");
    }

    reader->text_len += len;

    return 0;
}


static int
on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    h1_reader_t  *reader = reader_of(parser);
    int           rc;

    if (reader->head_done) {
        return on_trailer_octets(reader, len);
    }

    rc = text_room(reader, len);
    if (rc != 0) {
        return rc;
    }

    if (reader->name_len == 0) {
        reader->name_at = reader->text_len;
    }

    for (size_t i = 0; i < len; i++) {
        reader->text[reader->text_len + i] = cn_lower((uint8_t) at[i]);
    }

    reader->text_len += len;
    reader->name_len += len;

    return 0;
}


static int
on_header_field_complete(llhttp_t *parser)
{
    h1_reader_t  *reader = reader_of(parser);

    if (++reader->line_count > reader->headers_max) {
        return fail(reader, 431, "http1.too_many_headers");
    }

    reader->value_at = reader->text_len;
    reader->value_len = 0;

    return 0;
}


static int
on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    h1_reader_t  *reader = reader_of(parser);

    if (reader->head_done) {
        return on_trailer_octets(reader, len);
    }

    reader->value_len += len;

    return text_add(reader, at, len);
}


/* Takes a header that frames or is hop by hop.  CN_AGAIN: it is an ordinary one. */
static cn_status_t
take_framing(h1_reader_t *reader, cn_header_id_t id, cn_bytes_t value)
{
    switch (id) {

    case CN_HEADER_HOST:
        reader->host_count++;
        reader->host_at = (size_t) (value.ptr - reader->text);
        reader->host_len = value.len;
        return CN_OK;

    case CN_HEADER_CONTENT_LENGTH: {
        uint64_t  length;

        if (reader->length_seen || cn_bytes_to_u64(value, INT64_MAX, &length) != CN_OK) {
            return CN_ERR_SYNTAX;
        }

        reader->length_seen = true;
        reader->message->content_length = (int64_t) length;
        return CN_OK;
    }

    case CN_HEADER_TRANSFER_ENCODING:
        reader->coding_known = cn_bytes_equal_nocase(value, CN_BYTES("chunked"));
        reader->coding_count++;
        return CN_OK;

    case CN_HEADER_UPGRADE:
        reader->upgrade_at = (size_t) (value.ptr - reader->text);
        reader->upgrade_len = value.len;
        return CN_OK;

    case CN_HEADER_KEEP_ALIVE:
        return CN_OK;

    case CN_HEADER_PROXY_CONNECTION:
        reader->close |= cn_http_list_has(value, CN_BYTES("close"));
        return CN_OK;

    case CN_HEADER_CONNECTION:
        reader->has_connection = true;
        reader->close |= cn_http_list_has(value, CN_BYTES("close"));
        return CN_AGAIN;

    case CN_HEADER_TE:
        if (!cn_http_list_has(value, CN_BYTES("trailers"))) {
            return CN_OK;
        }

        return cn_headers_add_id(&reader->message->headers, id, CN_BYTES("trailers"));

    case CN_HEADER_EXPECT:
        if (!cn_bytes_equal_nocase(value, CN_BYTES("100-continue"))) {
            return CN_AGAIN;
        }

        reader->message->expect_continue = true;
        return CN_OK;

    default:
        return CN_AGAIN;
    }
}


static int
on_header_value_complete(llhttp_t *parser)
{
    h1_reader_t    *reader = reader_of(parser);
    cn_status_t     status;
    cn_header_id_t  id;
    cn_bytes_t      name, value;

    if (reader->head_done) {
        return 0;
    }

    name = cn_bytes(reader->text + reader->name_at, reader->name_len);
    value = cn_bytes_trim(cn_bytes(reader->text + reader->value_at, reader->value_len));
    id = cn_header_id(name);
    reader->name_len = 0;

    if (value.len == 0) {
        value = cn_bytes(reader->text + reader->value_at, 0);
    }

    status = id != CN_HEADER_OTHER ? take_framing(reader, id, value) : CN_AGAIN;

    if (status == CN_AGAIN) {
        status = cn_headers_push(&reader->message->headers,
                                 id != CN_HEADER_OTHER ? cn_header_name(id) : name, value, id);
    }

    if (status == CN_ERR_SYNTAX) {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    return status == CN_OK ? 0 : fail(reader, 0, "");
}


/*
 * Removes what Connection names, and itself (RFC 9110 7.6.1); "te: trailers" stays: it is ours by
 * then.
 */
static void
drop_connection(h1_reader_t *reader)
{
    cn_headers_t  *headers = &reader->message->headers;
    uint8_t        lower[64];
    uint32_t       i = 0;

    while (i < headers->count) {
        cn_bytes_t  list = headers->items[i].value, token;
        uint32_t    removed = 0;

        if (headers->items[i].id != CN_HEADER_CONNECTION) {
            i++;
            continue;
        }

        /* so that a list that names "connection" does not take itself away under us */
        headers->octets -= headers->items[i].name.len + list.len;
        memmove(&headers->items[i], &headers->items[i + 1],
                (headers->count - i - 1) * sizeof(cn_header_t));
        headers->count--;

        while (list.len > 0) {
            (void) cn_bytes_split(list, ',', &token, &list);
            token = cn_bytes_trim(token);

            if (token.len == 0 || token.len > sizeof(lower)) {
                continue;
            }

            for (size_t at = 0; at < token.len; at++) {
                lower[at] = cn_lower(token.ptr[at]);
            }

            token = cn_bytes(lower, token.len);

            if (!cn_bytes_equal(token, CN_BYTES("te"))
                && !cn_bytes_equal(token, CN_BYTES("connection")))
            {
                removed += cn_headers_remove(headers, token);
            }
        }

        /* what stood before may have moved */
        i = removed > 0 ? 0 : i;
    }
}


/* "http://host/path" (RFC 9112 3.2.2): the target's scheme and authority win over all else. */
static int
absolute_target(h1_reader_t *reader, cn_bytes_t target)
{
    cn_message_t  *message = reader->message;
    size_t         start = cn_bytes_find(target, CN_BYTES("://")), end;
    cn_bytes_t     scheme = cn_bytes(target.ptr, start), rest = cn_bytes_from(target, start + 3);

    if (!cn_bytes_equal_nocase(scheme, CN_BYTES("http"))
        && !cn_bytes_equal_nocase(scheme, CN_BYTES("https")))
    {
        return fail(reader, 400, "http1.invalid_scheme");
    }

    for (end = 0; end < rest.len && memchr("/?#", rest.ptr[end], 3) == NULL; end++) {
        /* the authority's octets */
    }

    if (end == 0) {
        return fail(reader, 400, "http.invalid_authority");
    }

    message->scheme = cn_bytes_equal_nocase(scheme, CN_BYTES("https")) ? CN_BYTES("https")
                                                                       : CN_BYTES("http");
    message->authority = cn_bytes(rest.ptr, end);
    message->path = cn_bytes_from(rest, end);

    if (message->path.len == 0) {
        message->path = CN_BYTES("/");

    } else if (message->path.ptr[0] != '/') {
        uint8_t  *path = cn_pool_octets(reader->pool, message->path.len + 1);

        if (path == NULL) {
            return fail(reader, 0, "");
        }

        path[0] = '/';
        memcpy(path + 1, message->path.ptr, message->path.len);
        message->path = cn_bytes(path, message->path.len + 1);
    }

    return 0;
}


/*
 * CONNECT's target is an authority.  llhttp ends the message with its head: a body would be read as
 * what follows.
 */
static int
connect_target(h1_reader_t *reader, cn_bytes_t target)
{
    cn_message_t  *message = reader->message;

    message->authority = target;

    if (message->chunked || message->content_length > 0) {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    return target.len > 0 ? 0 : fail(reader, 400, "http.invalid_authority");
}


static int
path_target(h1_reader_t *reader, cn_bytes_t target)
{
    cn_message_t  *message = reader->message;
    int            rc = 0;

    message->path = target;

    if (target.len > 0 && target.ptr[0] != '/'
        && cn_bytes_find(target, CN_BYTES("://")) != SIZE_MAX)
    {
        rc = absolute_target(reader, target);
    }

    if (rc != 0) {
        return rc;
    }

    if (!cn_http_path_valid(message->path)
        || (message->path.ptr[0] == '*' && reader->parser.method != HTTP_OPTIONS))
    {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    return 0;
}


static int
finish_target(h1_reader_t *reader)
{
    cn_message_t  *message = reader->message;
    cn_bytes_t     target = cn_bytes(reader->text + reader->target_at, reader->target_len);
    int            rc;

    message->method = cn_bytes_str(llhttp_method_name((llhttp_method_t) reader->parser.method));
    message->scheme = cn_http_forwarded_scheme(&message->headers, cn_bytes_str(reader->scheme));

    if (reader->host_count > 1) {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    if (reader->host_count == 1) {
        message->authority = cn_bytes(reader->text + reader->host_at, reader->host_len);
    }

    rc = reader->parser.method == HTTP_CONNECT ? connect_target(reader, target)
                                               : path_target(reader, target);

    if (rc != 0) {
        return rc;
    }

    return cn_http_authority_valid(message->authority) ? 0
                                                       : fail(reader, 400,
                                                              "http.invalid_authority");
}


/*
 * One reading of the length only (RFC 9112 6.3): CL and TE together, or a coding other than
 * chunked, end it.
 */
static int
finish_framing(h1_reader_t *reader)
{
    cn_message_t  *message = reader->message;

    if (reader->coding_count == 0) {
        return 0;
    }

    if (reader->length_seen) {
        return fail(reader, 400, "http1.content_length_and_chunked_not_allowed");
    }

    if (reader->coding_count > 1 || !reader->coding_known) {
        return fail(reader, 501, "http1.invalid_transfer_encoding");
    }

    if (reader->parser.http_minor == 0) {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    message->chunked = true;

    return 0;
}


static void
finish_upgrade(h1_reader_t *reader)
{
    cn_message_t  *message = reader->message;
    cn_bytes_t     upgrade = cn_bytes(reader->text + reader->upgrade_at, reader->upgrade_len);

    /* h2c is not offered: such an upgrade is no upgrade */
    if (reader->upgrade_len > 0 && (reader->parser.flags & F_CONNECTION_UPGRADE) != 0
        && !cn_bytes_equal_nocase(upgrade, CN_BYTES("h2c")))
    {
        message->protocol = upgrade;
    }
}


static bool
head_ends_message(const h1_reader_t *reader)
{
    const cn_message_t  *message = reader->message;

    if (message->chunked) {
        return false;
    }

    if (reader->parser.type == HTTP_REQUEST) {
        return message->content_length <= 0;
    }

    return message->content_length == 0 || message->status < 200 || message->status == 204
           || message->status == 304;
}


static int
on_headers_complete(llhttp_t *parser)
{
    h1_reader_t   *reader = reader_of(parser);
    cn_message_t  *message = reader->message;
    bool           no_body = false;
    int            rc;

    if (parser->http_major != 1) {
        /* HTTP/0.9 */
        return fail(reader, parser->type == HTTP_REQUEST ? 426 : 502, "low_version");
    }

    message->version = parser->http_minor == 0 ? CN_HTTP_10 : CN_HTTP_11;
    message->keep_alive = !reader->close
                          && (parser->http_minor > 0
                              || (parser->flags & F_CONNECTION_KEEP_ALIVE) != 0);

    rc = finish_framing(reader);
    if (rc != 0) {
        return rc;
    }

    if (parser->type == HTTP_REQUEST) {
        rc = finish_target(reader);
        if (rc != 0) {
            return rc;
        }

    } else {
        message->status = parser->status_code;

        if (message->status < 100) {
            return fail(reader, codec_error.status, codec_error.detail);
        }
    }

    finish_upgrade(reader);

    if (reader->has_connection) {
        drop_connection(reader);
    }

    reader->head_done = true;
    reader->text_len = 0;               /* the limits count again for the trailers */
    reader->line_count = 0;

    if (!reader->handlers->on_head(reader, message, head_ends_message(reader), &no_body)) {
        return reader->error.detail != NULL ? HPE_USER : HPE_PAUSED;
    }

    return no_body ? 1 : 0;
}


static int
on_body(llhttp_t *parser, const char *at, size_t len)
{
    h1_reader_t  *reader = reader_of(parser);

    return reader->handlers->on_body(reader, (const uint8_t *) at, len) ? 0 : HPE_PAUSED;
}


static int
on_chunk_extension(llhttp_t *parser, const char *at, size_t len)
{
    h1_reader_t  *reader = reader_of(parser);

    (void) at;

    if (len > EXTENSIONS_MAX - reader->extension_octets) {
        return fail(reader, codec_error.status, codec_error.detail);
    }

    reader->extension_octets += (uint32_t) len;

    return 0;
}


static int
on_chunk_header(llhttp_t *parser)
{
    reader_of(parser)->extension_octets = 0;

    return 0;
}


static int
on_message_complete(llhttp_t *parser)
{
    h1_reader_t  *reader = reader_of(parser);

    reader->complete = true;
    reader->handlers->on_complete(reader);

    return HPE_PAUSED;
}


static const llhttp_settings_t  settings = {
    .on_message_begin            = on_message_begin,
    .on_url                      = on_url,
    .on_version_complete         = on_version_complete,
    .on_header_field             = on_header_field,
    .on_header_field_complete    = on_header_field_complete,
    .on_header_value             = on_header_value,
    .on_header_value_complete    = on_header_value_complete,
    .on_headers_complete         = on_headers_complete,
    .on_body                     = on_body,
    .on_chunk_header             = on_chunk_header,
    .on_chunk_extension_name     = on_chunk_extension,
    .on_chunk_extension_value    = on_chunk_extension,
    .on_message_complete         = on_message_complete,
};


void
h1_reader_init(h1_reader_t *reader, llhttp_type_t type, const h1_handlers_t *handlers,
    const cn_session_limits_t *limits)
{
    *reader = (h1_reader_t) {
        .handlers = handlers,
        .octets_max = limits->head_octets_max,
        .headers_max = limits->headers_max,
        .allow_http_10 = limits->allow_http_10,
        .scheme = "http",
    };

    llhttp_init(&reader->parser, type, &settings);
    reader->parser.data = reader;
}


void
h1_reader_restart(h1_reader_t *reader)
{
    const cn_session_limits_t  limits = {
        .head_octets_max = reader->octets_max,
        .headers_max = reader->headers_max,
        .allow_http_10 = reader->allow_http_10,
    };
    const char  *scheme = reader->scheme;

    h1_reader_init(reader, (llhttp_type_t) reader->parser.type, reader->handlers, &limits);
    reader->scheme = scheme;
}


/*
 * llhttp's words in Envoy's: what the log and the reply say.  rest: the octets from the fault on.
 */
static h1_error_t
error_of(const h1_reader_t *reader, llhttp_errno_t error, cn_bytes_t rest)
{
    if (reader->error.detail != NULL) {
        return reader->error;           /* a callback's own verdict, whatever llhttp makes of it */
    }

    switch (error) {

    case HPE_INVALID_VERSION:
        /* also said of what follows a good version */
        if (reader->parser.type == HTTP_REQUEST
            && !(reader->parser.http_major == 1 && reader->parser.http_minor == 1))
        {
            return (h1_error_t) { 426, "low_version" };
        }

        return codec_error;

    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
        if (reader->coding_count > 0) {
            return (h1_error_t) { 400, "http1.content_length_and_chunked_not_allowed" };
        }

        return codec_error;

    case HPE_INVALID_TRANSFER_ENCODING:
        if (reader->length_seen) {
            return (h1_error_t) { 400, "http1.content_length_and_chunked_not_allowed" };
        }

        return (h1_error_t) { 501, "http1.invalid_transfer_encoding" };

    case HPE_INVALID_HEADER_TOKEN:
        if (rest.len > 0 && rest.ptr[0] == 0) {
            return (h1_error_t) { 400, "http1.invalid_characters" };
        }

        return codec_error;

    default:
        return codec_error;
    }
}


h1_read_t
h1_reader_feed(h1_reader_t *reader, const uint8_t *at, size_t len, size_t *used)
{
    llhttp_errno_t  error = llhttp_execute(&reader->parser, (const char *) at, len);

    if (error == HPE_OK) {
        *used = len;
        return H1_READ_MORE;
    }

    /* an error may be told at the end, where there is no octet to look at */
    *used = (size_t) ((const uint8_t *) llhttp_get_error_pos(&reader->parser) - at);
    *used = *used < len ? *used : len;

    if (error == HPE_PAUSED || error == HPE_PAUSED_UPGRADE) {
        return H1_READ_STOPPED;
    }

    reader->error = error_of(reader, error, cn_bytes_from(cn_bytes(at, len), *used));

    return H1_READ_ERROR;
}


h1_read_t
h1_reader_finish(h1_reader_t *reader)
{
    llhttp_errno_t  error = llhttp_finish(&reader->parser);

    if (error == HPE_OK || error == HPE_PAUSED || reader->complete) {
        return H1_READ_MORE;
    }

    reader->error = codec_error;

    return H1_READ_ERROR;
}
