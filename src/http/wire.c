/* SPDX-License-Identifier: Apache-2.0 */

/* wire - what the codecs share: see wire.h. */

#include "http/wire.h"
#include "base/clock.h"

const cn_session_limits_t  cn_session_limits_default = {
    .head_octets_max   = 60 * 1024,
    .headers_max       = 100,
    .streams_max       = 100,
    .stream_window     = 256 * 1024,
    .connection_window = 1024 * 1024,
    .ping_interval_ms  = 10 * 1000,
    .ping_timeout_ms   = 20 * 1000,
    .idle_timeout_ms   = 0,
    .head_timeout_ms   = 0,
    .connect           = false,
    .allow_http_10     = false,
};

/* Octets allowed in an authority: RFC 3986 3.2, percent included. */
static const char  authority_octets[] = "!$%&'()*+,-.:;=@[]_~";

typedef struct {
    uint16_t     status;
    const char  *phrase;
} reason_t;

/* RFC 9110 and the IANA registry; 599 as Envoy names it. */
static const reason_t  reasons[] = {
    { 100, "Continue" },
    { 101, "Switching Protocols" },
    { 102, "Processing" },
    { 103, "Early Hints" },
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 203, "Non-Authoritative Information" },
    { 204, "No Content" },
    { 205, "Reset Content" },
    { 206, "Partial Content" },
    { 207, "Multi-Status" },
    { 208, "Already Reported" },
    { 226, "IM Used" },
    { 300, "Multiple Choices" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 305, "Use Proxy" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 407, "Proxy Authentication Required" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Payload Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Entity" },
    { 423, "Locked" },
    { 424, "Failed Dependency" },
    { 425, "Too Early" },
    { 426, "Upgrade Required" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 506, "Variant Also Negotiates" },
    { 507, "Insufficient Storage" },
    { 508, "Loop Detected" },
    { 510, "Not Extended" },
    { 511, "Network Authentication Required" },
    { 599, "Last Unassigned Server Error Code" },
};


void
cn_session_init(cn_session_t *session, const cn_session_ops_t *ops, cn_stream_t *stream,
    const cn_session_limits_t *limits, const cn_session_events_t *events, void *owner)
{
    session->ops = ops;
    session->events = events;
    session->owner = owner;
    session->stream = stream;
    session->info = cn_stream_info(stream);
    session->loop = stream->loop;
    session->account = stream->account;
    session->limits = limits != NULL ? *limits : cn_session_limits_default;
}


cn_exchange_t *
cn_client_request(cn_session_t *session, const cn_message_t *head, bool end, cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner)
{
    if (cn_session_room(session) == 0) {
        return NULL;
    }

    return session->ops->request(session, head, end, pool, events, owner);
}


uint32_t
cn_session_room(const cn_session_t *session)
{
    return session->ops->room(session);
}


uint32_t
cn_session_active(const cn_session_t *session)
{
    return session->ops->active(session);
}


bool
cn_session_is_leaving(const cn_session_t *session)
{
    return session->ops->leaving(session);
}


const cn_stream_info_t *
cn_session_info(const cn_session_t *session)
{
    return session->info;
}


void
cn_session_drain(cn_session_t *session, bool final)
{
    session->ops->drain(session, final);
}


void
cn_session_close(cn_session_t *session, cn_close_reason_t reason)
{
    session->ops->close(session, reason);
}


const char *
cn_http_reason(uint16_t status)
{
    size_t  low = 0, high = CN_COUNT_OF(reasons);

    while (low < high) {
        size_t  middle = low + (high - low) / 2;

        if (reasons[middle].status == status) {
            return reasons[middle].phrase;
        }

        if (reasons[middle].status < status) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return "Unknown";
}


static bool
is_alnum(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || (cn_lower(octet) >= 'a' && cn_lower(octet) <= 'z');
}


bool
cn_http_authority_valid(cn_bytes_t authority)
{
    for (size_t i = 0; i < authority.len; i++) {
        uint8_t  octet = authority.ptr[i];

        if (!is_alnum(octet)
            && (octet == 0
                || memchr(authority_octets, octet, sizeof(authority_octets) - 1) == NULL))
        {
            return false;
        }
    }

    return true;
}


bool
cn_http_path_valid(cn_bytes_t path)
{
    if (path.len == 0 || (path.ptr[0] != '/' && !(path.len == 1 && path.ptr[0] == '*'))) {
        return false;
    }

    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] <= 0x20 || path.ptr[i] >= 0x7f) {
            return false;
        }
    }

    return true;
}


/*
 * Whether one of eight octets is a control or DEL; tabs are among them, so that yes means: look.
 * The two sums are the usual tests for "an octet below 0x20" and "an octet of zero".
 */
static bool
has_control(const uint8_t *octets)
{
    const uint64_t  ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
    uint64_t        word, del;

    memcpy(&word, octets, sizeof(word));
    del = word ^ (ones * 0x7f);

    return (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & highs;
}


bool
cn_http_value_valid(cn_bytes_t value)
{
    size_t  i = 0;

    while (i < value.len) {
        if (value.len - i >= 8 && !has_control(value.ptr + i)) {
            i += 8;
            continue;
        }

        for (size_t end = value.len - i < 8 ? value.len : i + 8; i < end; i++) {
            if ((value.ptr[i] < 0x20 && value.ptr[i] != '\t') || value.ptr[i] == 0x7f) {
                return false;
            }
        }
    }

    return true;
}


bool
cn_http_name_valid(cn_bytes_t name)
{
    static const char  others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];

        if ((!is_alnum(octet) && (octet == 0 || memchr(others, octet, sizeof(others) - 1) == NULL))
            || (octet >= 'A' && octet <= 'Z'))
        {
            return false;
        }
    }

    return name.len > 0;
}


cn_bytes_t
cn_http_forwarded_scheme(const cn_headers_t *headers, cn_bytes_t connection)
{
    const cn_header_t  *found = NULL;

    for (uint32_t i = 0; i < headers->count; i++) {
        if (headers->items[i].id != CN_HEADER_X_FORWARDED_PROTO) {
            continue;
        }

        if (found != NULL) {
            return connection;          /* several are a list, which is no scheme */
        }

        found = &headers->items[i];
    }

    if (found != NULL && cn_bytes_equal_nocase(found->value, CN_BYTES("https"))) {
        return CN_BYTES("https");
    }

    return found != NULL && cn_bytes_equal_nocase(found->value, CN_BYTES("http"))
           ? CN_BYTES("http") : connection;
}


cn_bytes_t
cn_http_date(void)
{
    static char      text[29];
    static uint64_t  second = UINT64_MAX;
    uint64_t         now = cn_clock_wall_ms() / 1000;

    if (now != second) {
        cn_clock_print_http(now * 1000, text);
        second = now;
    }

    return cn_bytes(text, sizeof(text));
}


bool
cn_http_list_has(cn_bytes_t list, cn_bytes_t token)
{
    cn_bytes_t  item;

    while (list.len > 0) {
        (void) cn_bytes_split(list, ',', &item, &list);

        if (cn_bytes_equal_nocase(cn_bytes_trim(item), token)) {
            return true;
        }
    }

    return false;
}
