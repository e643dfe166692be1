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
