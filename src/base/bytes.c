/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bytes - comparing, searching and reading runs of bytes.  A run of length 0 may have no pointer,
 * so every call of the C library stands behind a length check.
 */

#include "base/bytes.h"

static bool
equal_nocase(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i] && cn_lower(a[i]) != cn_lower(b[i])) {
            return false;
        }
    }

    return true;
}


static bool
is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}


int
cn_bytes_compare(cn_bytes_t a, cn_bytes_t b)
{
    size_t  len = a.len < b.len ? a.len : b.len;
    int     order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);

    if (order != 0 || a.len == b.len) {
        return order;
    }

    return a.len < b.len ? -1 : 1;
}


bool
cn_bytes_equal_nocase(cn_bytes_t a, cn_bytes_t b)
{
    return a.len == b.len && equal_nocase(a.ptr, b.ptr, a.len);
}


bool
cn_bytes_starts_with(cn_bytes_t bytes, cn_bytes_t prefix)
{
    return prefix.len <= bytes.len
           && (prefix.len == 0 || memcmp(bytes.ptr, prefix.ptr, prefix.len) == 0);
}


bool
cn_bytes_starts_with_nocase(cn_bytes_t bytes, cn_bytes_t prefix)
{
    return prefix.len <= bytes.len && equal_nocase(bytes.ptr, prefix.ptr, prefix.len);
}


bool
cn_bytes_ends_with(cn_bytes_t bytes, cn_bytes_t suffix)
{
    return suffix.len <= bytes.len
           && (suffix.len == 0
               || memcmp(bytes.ptr + (bytes.len - suffix.len), suffix.ptr, suffix.len) == 0);
}


bool
cn_bytes_ends_with_nocase(cn_bytes_t bytes, cn_bytes_t suffix)
{
    return suffix.len <= bytes.len
           && (suffix.len == 0
               || equal_nocase(bytes.ptr + (bytes.len - suffix.len), suffix.ptr, suffix.len));
}


size_t
cn_bytes_find(cn_bytes_t bytes, cn_bytes_t needle)
{
    const uint8_t  *at;

    if (needle.len == 0) {
        return 0;
    }

    if (needle.len > bytes.len) {
        return SIZE_MAX;
    }

    at = memmem(bytes.ptr, bytes.len, needle.ptr, needle.len);

    return at == NULL ? SIZE_MAX : (size_t) (at - bytes.ptr);
}


size_t
cn_bytes_find_nocase(cn_bytes_t bytes, cn_bytes_t needle)
{
    if (needle.len == 0) {
        return 0;
    }

    for (size_t i = 0; needle.len <= bytes.len - i; i++) {
        if (equal_nocase(bytes.ptr + i, needle.ptr, needle.len)) {
            return i;
        }
    }

    return SIZE_MAX;
}


size_t
cn_bytes_find_octet(cn_bytes_t bytes, uint8_t octet)
{
    const uint8_t  *at = bytes.len == 0 ? NULL : memchr(bytes.ptr, octet, bytes.len);

    return at == NULL ? SIZE_MAX : (size_t) (at - bytes.ptr);
}


size_t
cn_bytes_find_last_octet(cn_bytes_t bytes, uint8_t octet)
{
    const uint8_t  *at = bytes.len == 0 ? NULL : memrchr(bytes.ptr, octet, bytes.len);

    return at == NULL ? SIZE_MAX : (size_t) (at - bytes.ptr);
}


cn_bytes_t
cn_bytes_trim(cn_bytes_t bytes)
{
    while (bytes.len > 0 && (bytes.ptr[0] == ' ' || bytes.ptr[0] == '\t')) {
        bytes.ptr++;
        bytes.len--;
    }

    while (bytes.len > 0
           && (bytes.ptr[bytes.len - 1] == ' ' || bytes.ptr[bytes.len - 1] == '\t'))
    {
        bytes.len--;
    }

    return bytes;
}


bool
cn_bytes_split(cn_bytes_t bytes, uint8_t separator, cn_bytes_t *head, cn_bytes_t *rest)
{
    size_t  at = cn_bytes_find_octet(bytes, separator);

    if (at == SIZE_MAX) {
        *head = bytes;
        *rest = CN_BYTES_NONE;
        return false;
    }

    *head = cn_bytes(bytes.ptr, at);
    *rest = cn_bytes(bytes.ptr + at + 1, bytes.len - at - 1);

    return true;
}


cn_status_t
cn_bytes_to_u64(cn_bytes_t bytes, uint64_t max, uint64_t *value)
{
    uint64_t  sum = 0;
    bool      fits = true;

    if (bytes.len == 0) {
        return CN_ERR_SYNTAX;
    }

    for (size_t i = 0; i < bytes.len; i++) {
        if (!is_digit(bytes.ptr[i])) {
            return CN_ERR_SYNTAX;       /* even when what came before is already too large */
        }

        fits = fits && !__builtin_mul_overflow(sum, (uint64_t) 10, &sum)
               && !__builtin_add_overflow(sum, (uint64_t) (bytes.ptr[i] - '0'), &sum);
    }

    if (!fits || sum > max) {
        return CN_ERR_RANGE;
    }

    *value = sum;

    return CN_OK;
}


static const struct {
    cn_bytes_t  name;
    uint64_t    ns;
} duration_units[] = {
    /* longer names first, so that "ms" is not read as "m" */
    { CN_BYTES_INIT("ns"),       1 },
    { CN_BYTES_INIT("us"),       1000 },
    { CN_BYTES_INIT("\xc2\xb5s"), 1000 },           /* U+00B5, micro sign */
    { CN_BYTES_INIT("\xce\xbcs"), 1000 },           /* U+03BC, Greek mu */
    { CN_BYTES_INIT("ms"),       1000000 },
    { CN_BYTES_INIT("s"),        1000000000 },
    { CN_BYTES_INIT("m"),        60000000000 },
    { CN_BYTES_INIT("h"),        3600000000000 },
};

/* Cuts the digits at the start of *bytes off into *digits. */
static void
take_digits(cn_bytes_t *bytes, cn_bytes_t *digits)
{
    size_t  len = 0;

    while (len < bytes->len && is_digit(bytes->ptr[len])) {
        len++;
    }

    *digits = cn_bytes(bytes->ptr, len);
    *bytes = cn_bytes_from(*bytes, len);
}


/* One "12.5ms" off the start of *bytes, added to *sum (ns). */
static cn_status_t
take_duration(cn_bytes_t *bytes, uint64_t *sum)
{
    cn_bytes_t  whole, fraction = CN_BYTES_NONE;
    uint64_t    count = 0, part, unit = 0;

    take_digits(bytes, &whole);

    if (bytes->len > 0 && bytes->ptr[0] == '.') {
        *bytes = cn_bytes_from(*bytes, 1);
        take_digits(bytes, &fraction);
    }

    if (whole.len == 0 && fraction.len == 0) {
        return CN_ERR_SYNTAX;
    }

    for (size_t i = 0; i < CN_COUNT_OF(duration_units) && unit == 0; i++) {
        if (cn_bytes_starts_with(*bytes, duration_units[i].name)) {
            unit = duration_units[i].ns;
            *bytes = cn_bytes_from(*bytes, duration_units[i].name.len);
        }
    }

    if (unit == 0) {
        return CN_ERR_SYNTAX;
    }

    if (whole.len > 0 && cn_bytes_to_u64(whole, UINT64_MAX, &count) != CN_OK) {
        return CN_ERR_RANGE;
    }

    if (__builtin_mul_overflow(count, unit, &part) || __builtin_add_overflow(*sum, part, sum)) {
        return CN_ERR_RANGE;
    }

    part = 0;

    for (size_t i = 0; i < fraction.len; i++) {
        unit /= 10;                     /* 0 below a nanosecond: such digits add nothing */
        part += unit * (uint64_t) (fraction.ptr[i] - '0');
    }

    return __builtin_add_overflow(*sum, part, sum) ? CN_ERR_RANGE : CN_OK;
}


cn_status_t
cn_bytes_to_duration_us(cn_bytes_t bytes, uint64_t *us)
{
    uint64_t  ns = 0;

    if (cn_bytes_equal(bytes, CN_BYTES("0"))) {
        *us = 0;                        /* the one number that needs no unit */
        return CN_OK;
    }

    if (bytes.len == 0) {
        return CN_ERR_SYNTAX;
    }

    while (bytes.len > 0) {
        cn_status_t  status = take_duration(&bytes, &ns);

        if (status != CN_OK) {
            return status;
        }
    }

    *us = ns / 1000;

    if (ns > 0 && *us == 0) {
        *us = 1;                        /* never turn a short wait into "none" */
    }

    return CN_OK;
}


size_t
cn_u64_print(uint64_t value, char *out)
{
    char    digits[20];
    size_t  at = sizeof(digits);

    do {
        digits[--at] = (char) ('0' + value % 10);
        value /= 10;
    } while (value != 0);

    memcpy(out, digits + at, sizeof(digits) - at);

    return sizeof(digits) - at;
}


const char *
cn_bytes_escape(cn_bytes_t bytes, char *out, size_t size)
{
    static const char  hex[] = "0123456789abcdef";

    size_t  at = 0;

    if (size == 0) {
        return "";
    }

    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t  octet = bytes.ptr[i];
        bool     plain = octet >= 0x20 && octet <= 0x7e && octet != '"' && octet != '\\';

        if (size - at <= (plain ? 1u : 4u)) {
            break;                      /* an escape is never cut in two */
        }

        if (plain) {
            out[at++] = (char) octet;
            continue;
        }

        out[at++] = '\\';
        out[at++] = 'x';
        out[at++] = hex[octet >> 4];
        out[at++] = hex[octet & 15];
    }

    out[at] = '\0';

    return out;
}
