/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bytes - a borrowed run of bytes: pointer and length, never NUL-ended.  Who lends it says for how
 * long.  Comparison is by octet; "nocase" folds ASCII letters only.
 */

#ifndef CN_BASE_BYTES_H
#define CN_BASE_BYTES_H

#include "base/status.h"

#include <string.h>

typedef struct {
    const uint8_t  *ptr;        /* may be NULL when len is 0 */
    size_t          len;
} cn_bytes_t;

#define CN_BYTES(literal)      ((cn_bytes_t) { (const uint8_t *) (literal), sizeof(literal) - 1 })
#define CN_BYTES_INIT(literal) { (const uint8_t *) (literal), sizeof(literal) - 1 }
#define CN_BYTES_NONE          ((cn_bytes_t) { NULL, 0 })

/* For printf("%.*s", CN_BYTES_ARG(bytes)). */
#define CN_BYTES_ARG(bytes) \
    (int) (bytes).len, (bytes).ptr == NULL ? "" : (const char *) (bytes).ptr

static inline cn_bytes_t
cn_bytes(const void *ptr, size_t len)
{
    return (cn_bytes_t) { ptr, len };
}

/* Views a NUL-ended string; NULL gives no bytes. */
static inline cn_bytes_t
cn_bytes_str(const char *str)
{
    return (cn_bytes_t) { (const uint8_t *) str, str ? strlen(str) : 0 };
}

static inline bool
cn_bytes_equal(cn_bytes_t a, cn_bytes_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline cn_bytes_t
cn_bytes_from(cn_bytes_t bytes, size_t at)
{
    return at >= bytes.len ? CN_BYTES_NONE : cn_bytes(bytes.ptr + at, bytes.len - at);
}

static inline uint8_t
cn_lower(uint8_t octet)
{
    return (octet >= 'A' && octet <= 'Z') ? (uint8_t) (octet | 0x20) : octet;
}

/* Octet order, shorter first among equal prefixes; < 0, 0, > 0 as memcmp. */
int cn_bytes_compare(cn_bytes_t a, cn_bytes_t b);
bool cn_bytes_equal_nocase(cn_bytes_t a, cn_bytes_t b);
bool cn_bytes_starts_with(cn_bytes_t bytes, cn_bytes_t prefix);
bool cn_bytes_starts_with_nocase(cn_bytes_t bytes, cn_bytes_t prefix);
bool cn_bytes_ends_with(cn_bytes_t bytes, cn_bytes_t suffix);
bool cn_bytes_ends_with_nocase(cn_bytes_t bytes, cn_bytes_t suffix);

/* Where needle (or the octet) first stands in bytes; SIZE_MAX when nowhere.  An empty needle: 0. */
size_t cn_bytes_find(cn_bytes_t bytes, cn_bytes_t needle);
size_t cn_bytes_find_nocase(cn_bytes_t bytes, cn_bytes_t needle);
size_t cn_bytes_find_octet(cn_bytes_t bytes, uint8_t octet);
size_t cn_bytes_find_last_octet(cn_bytes_t bytes, uint8_t octet);

/* Without leading and trailing SP and HTAB. */
cn_bytes_t cn_bytes_trim(cn_bytes_t bytes);

/*
 * Cuts bytes at the first separator: *head is what stands before it, *rest what stands after.
 * False (and *head is all, *rest none) when there is no separator.
 */
bool cn_bytes_split(cn_bytes_t bytes, uint8_t separator, cn_bytes_t *head, cn_bytes_t *rest);

/* Decimal digits only, no sign, no blanks.  CN_ERR_SYNTAX: not digits; CN_ERR_RANGE: over max. */
cn_status_t cn_bytes_to_u64(cn_bytes_t bytes, uint64_t max, uint64_t *value) CN_MUST_USE;

/*
 * A duration as Kubernetes and Go write it: "1h2m3.5s", "250ms", "10us".  Result in µs, rounded up
 * to one when it is above zero.  CN_ERR_SYNTAX, CN_ERR_RANGE.
 */
cn_status_t cn_bytes_to_duration_us(cn_bytes_t bytes, uint64_t *us) CN_MUST_USE;

/*
 * Writes value in decimal to out (at least 20 octets); returns how many were written.  No NUL.
 */
size_t cn_u64_print(uint64_t value, char *out);

/*
 * Copies bytes to out with every octet outside 0x20..0x7e and '"', '\\' as \xHH, cut to fit size
 * including a NUL.  For logs: what a peer sent never reaches a terminal raw.  Returns out.
 */
const char *cn_bytes_escape(cn_bytes_t bytes, char *out, size_t size);

#endif
