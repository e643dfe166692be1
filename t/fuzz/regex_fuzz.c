/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Patterns and values on any octets: up to the first line feed the pattern, then the value.  What
 * checks compiles; a whole match is found by replacing too; a pattern of letters matches itself.
 */

#include "base/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static bool
is_plain(cn_bytes_t pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        if (cn_lower(pattern.ptr[i]) < 'a' || cn_lower(pattern.ptr[i]) > 'z') {
            return false;
        }
    }

    return true;
}


static void
check_match(cn_bytes_t pattern, cn_bytes_t value)
{
    cn_regex_t  *regex;

    CN_BUG_ON(cn_regex_create(pattern, CN_REGEX_MATCH, &regex) != CN_OK);

    cn_regex_answer_t  answer = cn_regex_match(regex, value);

    CN_BUG_ON(answer != cn_regex_match(regex, value));

    if (is_plain(pattern)) {
        CN_BUG_ON(cn_regex_match(regex, pattern) != CN_REGEX_YES);
        CN_BUG_ON((answer == CN_REGEX_YES) != cn_bytes_equal(pattern, value));
    }

    cn_regex_destroy(regex);
}


static void
check_replace(cn_bytes_t pattern, cn_bytes_t value)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_regex_t  *regex;
    cn_bytes_t   result;

    CN_BUG_ON(pool == NULL);
    CN_BUG_ON(cn_regex_create(pattern, CN_REGEX_FIND, &regex) != CN_OK);

    /* each find replaced by itself changes nothing */
    if (cn_regex_replace(regex, value, CN_BYTES("\\0"), pool, &result) == CN_OK) {
        CN_BUG_ON(!cn_bytes_equal(value, result));
    }

    cn_regex_destroy(regex);
    cn_pool_destroy(pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_bytes_t      pattern, value;
    cn_re2_error_t  error;

    cn_bytes_split(cn_bytes(data, size), '\n', &pattern, &value);

    if (cn_regex_check(pattern, &error) == CN_OK) {
        check_match(pattern, value);
        check_replace(pattern, value);

    } else {
        CN_BUG_ON(error.at > pattern.len);
        CN_BUG_ON(error.text[0] == '\0');
    }

    return 0;
}
