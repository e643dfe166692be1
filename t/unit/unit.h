/* SPDX-License-Identifier: Apache-2.0 */

/* unit - what every unit test includes: cmocka, and inputs in blocks of exactly their size. */

#ifndef CN_UNIT_H
#define CN_UNIT_H

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Says which case of a table is meant when it fails: check(ok, case name). */
#define unit_check(condition, name)                                           \
    do {                                                                      \
        if (!(condition)) {                                                   \
            print_error("%s:%d: case \"%s\": not so: %s\n", __FILE__, __LINE__, \
                        (name), #condition);                                  \
            fail();                                                           \
        }                                                                     \
    } while (0)

/* A copy in a heap block of its size, so that AddressSanitizer sees a read past its end. */
static inline cn_bytes_t
unit_copy(cn_bytes_t bytes)
{
    uint8_t  *copy = malloc(bytes.len == 0 ? 1 : bytes.len);

    assert_non_null(copy);

    if (bytes.len == 0) {
        free(copy);
        return CN_BYTES_NONE;
    }

    memcpy(copy, bytes.ptr, bytes.len);

    return cn_bytes(copy, bytes.len);
}

static inline void
unit_free(cn_bytes_t bytes)
{
    free((void *) (uintptr_t) bytes.ptr);
}

#define assert_bytes(bytes, literal)                                                   \
    do {                                                                               \
        cn_bytes_t  unit_left = (bytes), unit_right = CN_BYTES(literal);               \
                                                                                       \
        if (!cn_bytes_equal(unit_left, unit_right)) {                                  \
            print_error("\"%.*s\" is not \"%s\"\n", CN_BYTES_ARG(unit_left), (literal)); \
            fail();                                                                    \
        }                                                                              \
    } while (0)

#endif
