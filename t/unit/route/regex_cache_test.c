/* SPDX-License-Identifier: Apache-2.0 */

/* A pattern is compiled once and kept; the cache stays within its bounds and forgets the oldest. */

#include "unit.h"

#include "route/regex_cache.h"


static void
a_pattern_is_compiled_once(void **state)
{
    uint64_t  before = cn_regex_cache_compiled();

    (void) state;

    for (int i = 0; i < 3; i++) {
        cn_bytes_t  pattern = unit_copy(CN_BYTES("/a[0-9]+"));

        assert_int_equal(cn_regex_cached_match(pattern, CN_BYTES("/a12")), CN_MATCH_YES);
        assert_int_equal(cn_regex_cached_match(pattern, CN_BYTES("/a")), CN_MATCH_NO);
        unit_free(pattern);
    }

    assert_int_equal(cn_regex_cache_compiled() - before, 1);
    cn_regex_cache_clear();
}


static void
matching_and_replacing_are_kept_apart(void **state)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_bytes_t   result;

    (void) state;
    assert_non_null(pool);

    assert_int_equal(cn_regex_cached_match(CN_BYTES("b"), CN_BYTES("abc")), CN_MATCH_NO);
    assert_int_equal(cn_regex_cached_replace(CN_BYTES("b"), CN_BYTES("-"), CN_BYTES("abc"), pool,
                                             &result), CN_OK);
    assert_bytes(result, "a-c");
    assert_int_equal(cn_regex_cached_match(CN_BYTES("b"), CN_BYTES("abc")), CN_MATCH_NO);
    assert_int_equal(cn_regex_cache_count(), 2);

    cn_pool_destroy(pool);
    cn_regex_cache_clear();
}


static void
what_cannot_be_compiled_is_an_error_each_time(void **state)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    uint64_t     before = cn_regex_cache_compiled();
    cn_bytes_t   result;

    (void) state;
    assert_non_null(pool);

    assert_int_equal(cn_regex_cached_match(CN_BYTES("(?=a)"), CN_BYTES("a")), CN_MATCH_ERROR);
    assert_int_equal(cn_regex_cached_match(CN_BYTES("(?=a)"), CN_BYTES("a")), CN_MATCH_ERROR);
    assert_int_equal(cn_regex_cache_compiled() - before, 1);
    assert_int_equal(cn_regex_cached_replace(CN_BYTES("("), CN_BYTES("-"), CN_BYTES("abc"), pool,
                                             &result), CN_ERR_SYNTAX);
    cn_pool_destroy(pool);
    cn_regex_cache_clear();
}


static void
the_least_recently_used_goes(void **state)
{
    uint64_t  before;
    char      pattern[32];

    (void) state;

    assert_int_equal(cn_regex_cached_match(CN_BYTES("kept"), CN_BYTES("kept")), CN_MATCH_YES);

    for (int i = 0; i < CN_REGEX_CACHE_COUNT + 10; i++) {
        snprintf(pattern, sizeof(pattern), "n%d", i);
        assert_int_equal(cn_regex_cached_match(cn_bytes_str(pattern), CN_BYTES("x")),
                         CN_MATCH_NO);
        assert_int_equal(cn_regex_cached_match(CN_BYTES("kept"), CN_BYTES("kept")), CN_MATCH_YES);
    }

    assert_true(cn_regex_cache_count() <= CN_REGEX_CACHE_COUNT);

    before = cn_regex_cache_compiled();
    assert_int_equal(cn_regex_cached_match(CN_BYTES("kept"), CN_BYTES("")), CN_MATCH_NO);
    assert_int_equal(cn_regex_cache_compiled(), before);
    assert_int_equal(cn_regex_cached_match(CN_BYTES("n0"), CN_BYTES("n0")), CN_MATCH_YES);
    assert_int_equal(cn_regex_cache_compiled(), before + 1);

    cn_regex_cache_clear();
    assert_int_equal(cn_regex_cache_count(), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_pattern_is_compiled_once),
        cmocka_unit_test(matching_and_replacing_are_kept_apart),
        cmocka_unit_test(what_cannot_be_compiled_is_an_error_each_time),
        cmocka_unit_test(the_least_recently_used_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
