/* SPDX-License-Identifier: Apache-2.0 */

/* grpc - see grpc.h. */

#include "http/grpc.h"

#define DIGITS_MAX  8                   /* of a timeout's number */
#define NUMBER_MAX  99999999u


cn_status_t
cn_grpc_timeout_parse(cn_bytes_t text, uint64_t *timeout_ms)
{
    uint64_t  number;

    if (text.len < 2 || text.len > DIGITS_MAX + 1
        || cn_bytes_to_u64(cn_bytes(text.ptr, text.len - 1), NUMBER_MAX, &number) != CN_OK)
    {
        return CN_ERR_SYNTAX;
    }

    switch (text.ptr[text.len - 1]) {
    case 'H':
        *timeout_ms = number * 3600 * 1000;
        return CN_OK;
    case 'M':
        *timeout_ms = number * 60 * 1000;
        return CN_OK;
    case 'S':
        *timeout_ms = number * 1000;
        return CN_OK;
    case 'm':
        *timeout_ms = number;
        return CN_OK;
    case 'u':
        *timeout_ms = (number + 999) / 1000;
        return CN_OK;
    case 'n':
        *timeout_ms = (number + 999999) / 1000000;
        return CN_OK;
    default:
        return CN_ERR_SYNTAX;
    }
}


size_t
cn_grpc_timeout_print(uint64_t timeout_ms, char out[CN_GRPC_TIMEOUT_TEXT])
{
    static const struct { char unit; uint32_t times; } units[] = {
        { 'm', 1 }, { 'S', 1000 }, { 'M', 60 }, { 'H', 60 },
    };
    char      digits[20];
    size_t    len;
    unsigned  i = 0;

    while (timeout_ms > NUMBER_MAX && i + 1 < CN_COUNT_OF(units)) {
        timeout_ms /= units[++i].times;
    }

    len = cn_u64_print(timeout_ms < NUMBER_MAX ? timeout_ms : NUMBER_MAX, digits);
    memcpy(out, digits, len);
    out[len] = units[i].unit;

    return len + 1;
}


const char *
cn_grpc_status_name(cn_grpc_status_t status)
{
    static const char *const  names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
        "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
        "UNAUTHENTICATED",
    };

    return (size_t) status < CN_COUNT_OF(names) ? names[status] : "UNKNOWN";
}


cn_grpc_status_t
cn_grpc_status_parse(cn_bytes_t text)
{
    uint64_t  number;

    if (cn_bytes_to_u64(text, CN_GRPC_UNAUTHENTICATED, &number) != CN_OK) {
        return CN_GRPC_UNKNOWN;
    }

    return (cn_grpc_status_t) number;
}


cn_grpc_status_t
cn_grpc_status_of_http(uint16_t status)
{
    switch (status) {
    case 400:
        return CN_GRPC_INTERNAL;
    case 401:
        return CN_GRPC_UNAUTHENTICATED;
    case 403:
        return CN_GRPC_PERMISSION_DENIED;
    case 404:
        return CN_GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return CN_GRPC_UNAVAILABLE;
    default:
        return CN_GRPC_UNKNOWN;
    }
}


cn_grpc_status_t
cn_grpc_status_of_reset(uint32_t code)
{
    /* RFC 9113 7 */
    switch (code) {
    case 0x7:                           /* REFUSED_STREAM */
        return CN_GRPC_UNAVAILABLE;
    case 0x8:                           /* CANCEL */
        return CN_GRPC_CANCELLED;
    case 0xb:                           /* ENHANCE_YOUR_CALM */
        return CN_GRPC_RESOURCE_EXHAUSTED;
    case 0xc:                           /* INADEQUATE_SECURITY */
        return CN_GRPC_PERMISSION_DENIED;
    default:
        return CN_GRPC_INTERNAL;
    }
}


/* The value of a hexadecimal digit; 16: it is none. */
static unsigned
hex_value(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }

    octet = cn_lower(octet);

    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10u : 16u;
}


size_t
cn_grpc_percent_decode(cn_bytes_t text, uint8_t *out)
{
    size_t  len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned  high = 16, low = 16;

        if (text.ptr[i] == '%' && text.len - i > 2) {
            high = hex_value(text.ptr[i + 1]);
            low = hex_value(text.ptr[i + 2]);
        }

        if (high < 16 && low < 16) {
            out[len++] = (uint8_t) (high << 4 | low);
            i += 2;
        } else {
            out[len++] = text.ptr[i];
        }
    }

    return len;
}
