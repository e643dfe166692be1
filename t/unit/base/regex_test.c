/* SPDX-License-Identifier: Apache-2.0 */

/* What RE2 refuses is refused, with its place; what it accepts answers as RE2 does. */

#include "unit.h"

#include "base/regex.h"

static const struct {
    const char   *pattern;
    cn_status_t   status;
    size_t        at;
    const char   *text;         /* part of the message */
} refused[] = {
    { "a(?=b)", CN_ERR_SYNTAX, 1, "look-ahead" },
    { "a(?!b)", CN_ERR_SYNTAX, 1, "look-ahead" },
    { "(?<=a)b", CN_ERR_SYNTAX, 0, "look-behind" },
    { "x(?<!a)b", CN_ERR_SYNTAX, 1, "look-behind" },
    { "(a)\\1", CN_ERR_SYNTAX, 3, "back-reference" },
    { "(?P<n>a)(?P=n)", CN_ERR_SYNTAX, 8, "not a group" },
    { "(?P<n>a)\\k<n>", CN_ERR_SYNTAX, 8, "escape" },
    { "(?P<n>a)(?P>n)", CN_ERR_SYNTAX, 8, "not a group" },
    { "(?P<n>a)(?P<n>b)", CN_ERR_SYNTAX, 8, "second group" },
    { "(?P<>a)", CN_ERR_SYNTAX, 0, "name" },
    { "(?P<a-b>a)", CN_ERR_SYNTAX, 0, "name" },
    { "(?'n'a)", CN_ERR_SYNTAX, 0, "not a group" },
    { "a++", CN_ERR_SYNTAX, 2, "possessive" },
    { "a*+", CN_ERR_SYNTAX, 2, "possessive" },
    { "a?+", CN_ERR_SYNTAX, 2, "possessive" },
    { "a**", CN_ERR_SYNTAX, 2, "repetition of a repetition" },
    { "a{2}{3}", CN_ERR_SYNTAX, 4, "repetition of a repetition" },
    { "a???", CN_ERR_SYNTAX, 3, "repetition of a repetition" },
    { "(?>a)", CN_ERR_SYNTAX, 0, "atomic" },
    { "(?R)", CN_ERR_SYNTAX, 0, "recursion" },
    { "(?1)", CN_ERR_SYNTAX, 0, "recursion" },
    { "(?&n)", CN_ERR_SYNTAX, 0, "recursion" },
    { "(?(1)a|b)", CN_ERR_SYNTAX, 0, "conditional" },
    { "(?C1)", CN_ERR_SYNTAX, 0, "callout" },
    { "(?|a|b)", CN_ERR_SYNTAX, 0, "branch reset" },
    { "(?#note)a", CN_ERR_SYNTAX, 0, "comment" },
    { "(?x)a b", CN_ERR_SYNTAX, 0, "not a group" },
    { "(?-)a", CN_ERR_SYNTAX, 0, "not a group" },
    { "(?i-:a)", CN_ERR_SYNTAX, 0, "not a group" },
    { "(*UTF8)a", CN_ERR_SYNTAX, 1, "nothing to repeat" },
    { "*a", CN_ERR_SYNTAX, 0, "nothing to repeat" },
    { "a|+", CN_ERR_SYNTAX, 2, "nothing to repeat" },
    { "(?:?)", CN_ERR_SYNTAX, 3, "nothing to repeat" },
    { "{2}", CN_ERR_SYNTAX, 0, "nothing to repeat" },
    { "a{1001}", CN_ERR_SYNTAX, 1, "more than 1000" },
    { "a{2,1001}", CN_ERR_SYNTAX, 1, "more than 1000" },
    { "a{3,2}", CN_ERR_SYNTAX, 1, "at most less than" },
    { "((a{100}){11})", CN_ERR_SYNTAX, 9, "nested" },
    { "(a", CN_ERR_SYNTAX, 0, "not closed" },
    { "a)", CN_ERR_SYNTAX, 1, "not opened" },
    { "[a", CN_ERR_SYNTAX, 0, "class is not closed" },
    { "[]", CN_ERR_SYNTAX, 0, "class is not closed" },
    { "[z-a]", CN_ERR_SYNTAX, 1, "before it begins" },
    { "[a-\\d]", CN_ERR_SYNTAX, 3, "escape" },
    { "[[:nope:]]", CN_ERR_SYNTAX, 1, "name of a class" },
    { "a\\", CN_ERR_SYNTAX, 1, "backslash at the end" },
    { "\\Z", CN_ERR_SYNTAX, 0, "escape" },
    { "\\h", CN_ERR_SYNTAX, 0, "escape" },
    { "\\R", CN_ERR_SYNTAX, 0, "escape" },
    { "\\K", CN_ERR_SYNTAX, 0, "escape" },
    { "\\G", CN_ERR_SYNTAX, 0, "escape" },
    { "\\X", CN_ERR_SYNTAX, 0, "escape" },
    { "\\N", CN_ERR_SYNTAX, 0, "escape" },
    { "\\e", CN_ERR_SYNTAX, 0, "escape" },
    { "\\cA", CN_ERR_SYNTAX, 0, "escape" },
    { "\\x{110000}", CN_ERR_SYNTAX, 0, "escape" },
    { "\\x4", CN_ERR_SYNTAX, 0, "escape" },
    { "\\p{Klingon}", CN_ERR_SYNTAX, 0, "" },
    { "\\p{L&}", CN_ERR_SYNTAX, 0, "category or script" },
    { "\\p{Xan}", CN_ERR_SYNTAX, 0, "" },
    { "\\p{Cn}", CN_ERR_SYNTAX, 0, "" },
    { "\\p{Grek}", CN_ERR_SYNTAX, 0, "category or script" },
    { "\\pX", CN_ERR_SYNTAX, 0, "category or script" },
    { "\\p{Greek", CN_ERR_SYNTAX, 0, "escape" },
    { "a\xff", CN_ERR_SYNTAX, 1, "UTF-8" },
    { "[\xc3]", CN_ERR_SYNTAX, 1, "UTF-8" },
    { "a\\C", CN_ERR_UNSUPPORTED, 1, "\\C" },
    { "(?i)\\p{Lu}", CN_ERR_UNSUPPORTED, 4, "(?i)" },
};

typedef struct {
    const char  *pattern;
    const char  *yes[4];
    const char  *no[4];
} vector_t;

static const vector_t  accepted[] = {
    /* a whole match, always */
    { "", { "" }, { "a" } },
    { "a", { "a" }, { "", "ab", "ba", "a\n" } },
    { "a|ab", { "a", "ab" }, { "abb" } },
    { "^a$", { "a" }, { "a\n", "\na", "ba" } },
    { "a*?", { "", "aaa" }, { "b" } },
    { "(a|b)*c|(a|ab)*c", { "abc", "aabc", "c" }, { "ab" } },
    { "(|a)*", { "", "a", "aaa" }, { "b" } },
    { "(?U)a+", { "a", "aaa" }, { "" } },
    /* anchors and lines */
    { "\\Aa\\z", { "a" }, { "a\n" } },
    { "(?m)a$.^b", { NULL }, { "a\nb" } },
    { "(?ms)a$.^b", { "a\nb" }, { "ab" } },
    { "(?m)^(?s:.)^", { "\n" }, { "a" } },
    { "^*a", { "a" }, { "" } },
    { "(?:$)+", { "" }, { "\n" } },
    { ".", { "a", "\r", "\xc3\xa9" }, { "\n", "ab", "" } },
    { "(?s).", { "\n" }, { "" } },
    { "[^a]", { "\n", "b" }, { "a" } },
    /* classes are ASCII's */
    { "\\s", { " ", "\t", "\n", "\r" }, { "\v", "\xc2\xa0" } },
    { "\\S", { "\v", "a", "\xc2\xa0" }, { " " } },
    { "[\\S]", { "\v" }, { "\t" } },
    { "[[:space:]]", { "\v", " " }, { "a" } },
    { "\\w+", { "aZ_9" }, { "\xc3\xa9", "-" } },
    { "\\d", { "7" }, { "\xd9\xa3" } },
    { "\\bfoo\\b", { "foo" }, { "foox" } },
    { "a\\Bb", { "ab" }, { "a" } },
    { "[]a]", { "]", "a" }, { "b" } },
    { "[^]a]", { "b" }, { "]" } },
    { "[a-c-e]", { "b", "-", "e" }, { "d" } },
    { "[-a]", { "-" }, { "b" } },
    { "[a[.b.]", { "[", "." }, { "]" } },
    { "[[:^alpha:]\\d]", { "1", "-" }, { "a" } },
    { "[[:word:]]+", { "a_1" }, { "-" } },
    { "[\\P{Any}]", { NULL }, { "a", "" } },
    { "[^\\P{Any}]", { "a", "\n" }, { "" } },
    { "\\pN", { "1", "\xd9\xa3" }, { "a" } },
    { "\\p{Greek}+", { "\xce\xb1\xce\xb2" }, { "a" } },
    { "\\p{^Greek}", { "a" }, { "\xce\xb1" } },
    { "\\PL", { "1" }, { "a" } },
    /* folding */
    { "(?i)sK", { "SK", "sk", "\xc5\xbf\xe2\x84\xaa" }, { "s" } },
    { "(?i)[k]", { "K", "\xe2\x84\xaa" }, { "j" } },
    { "(?i)[^k]", { "j" }, { "K", "\xe2\x84\xaa" } },
    { "(?i)\\W", { "-" }, { "k", "\xe2\x84\xaa" } },
    { "(?i)[A-Z]+x", { "abcX", "\xc5\xbfx" }, { "1x" } },
    { "(?i)[\xc3\xa9" "b]", { "\xc3\x89", "B" }, { "c" } },
    { "(?i)a[\xc3\xa9]c[d]", { "A\xc3\x89" "CD" }, { "acd" } },
    { "(?i)[[:^lower:]]", { "1" }, { "A", "a" } },
    { "(?i)\xc3\xa9", { "\xc3\x89" }, { "e" } },
    { "a(?i)b|c", { "aB", "C" }, { "Ab" } },
    { "(a(?i)b)c", { "aBc" }, { "aBC" } },
    { "(?i:a)b", { "Ab" }, { "AB" } },
    { "(?i)a(?-i)b", { "Ab" }, { "AB" } },
    /* escapes and literals */
    { "a{,2}", { "a{,2}" }, { "aa" } },
    { "a{", { "a{" }, { "a" } },
    { "a{02}", { "a{02}" }, { "aa" } },
    { "a{2}", { "aa" }, { "a", "aaa" } },
    { "a{2,}", { "aa", "aaaa" }, { "a" } },
    { "a{0}b", { "b" }, { "ab" } },
    { "\\Qa.b*\\E", { "a.b*" }, { "aab" } },
    { "\\Qab\\E+", { "abb" }, { "abab" } },
    { "\\x41\\x{42}\\103\\t\\.\\/\\-\\_", { "ABC\t./-_" }, { "ABC" } },
    { "# +", { "#  " }, { "" } },
    { "(?P<major>\\d+)\\.(?<minor>\\d+)", { "1.20" }, { "1." } },
    { "(?)a", { "a" }, { "" } },
    /* what Istio's users and istiod write */
    { "/api/v[0-9]+/.*", { "/api/v2/x" }, { "/api/v/x", "/api/v2" } },
    { "^(.*?;)?(user=jason)(;.*)?$", { "user=jason", "a=b;user=jason;c=d" }, { "user=jasons" } },
    { ".*/ns/default/.*", { "spiffe://cluster.local/ns/default/sa/a" }, { "/ns/defaultx/" } },
    { ".*Chrome.*", { "Mozilla Chrome/1" }, { "chrome" } },
};


static void
what_re2_refuses_is_refused_with_its_place(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(refused); i++) {
        cn_bytes_t      pattern = unit_copy(cn_bytes_str(refused[i].pattern));
        cn_regex_t     *regex;
        cn_re2_error_t  error;

        unit_check(cn_regex_check(pattern, &error) == refused[i].status, refused[i].pattern);
        unit_check(error.at == refused[i].at, refused[i].pattern);
        unit_check(strstr(error.text, refused[i].text) != NULL, refused[i].pattern);
        unit_check(cn_regex_create(pattern, CN_REGEX_MATCH, &regex) == refused[i].status,
                   refused[i].pattern);
        unit_check(regex == NULL, refused[i].pattern);
        unit_free(pattern);
    }
}


static void
check_answers(cn_regex_t *regex, const char *pattern, const char *const values[4],
    cn_regex_answer_t answer)
{
    for (size_t i = 0; i < 4 && values[i] != NULL; i++) {
        cn_bytes_t  value = unit_copy(cn_bytes_str(values[i]));

        if (cn_regex_match(regex, value) != answer) {
            print_error("pattern %s, value %s\n", pattern, values[i]);
            fail();
        }

        unit_free(value);
    }
}


static void
what_re2_accepts_answers_as_re2_does(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(accepted); i++) {
        const vector_t  *vector = &accepted[i];
        cn_bytes_t       pattern = unit_copy(cn_bytes_str(vector->pattern));
        cn_regex_t      *regex;

        unit_check(cn_regex_check(pattern, NULL) == CN_OK, vector->pattern);
        unit_check(cn_regex_create(pattern, CN_REGEX_MATCH, &regex) == CN_OK, vector->pattern);
        unit_check(cn_regex_size(regex) > 0, vector->pattern);
        unit_free(pattern);
        check_answers(regex, vector->pattern, vector->yes, CN_REGEX_YES);
        check_answers(regex, vector->pattern, vector->no, CN_REGEX_NO);
        cn_regex_destroy(regex);
    }
}


static cn_regex_t *
made(const char *pattern, cn_regex_use_t use)
{
    cn_regex_t  *regex;

    assert_int_equal(cn_regex_create(cn_bytes_str(pattern), use, &regex), CN_OK);
    return regex;
}


static void
a_value_that_is_not_utf8_is_an_error(void **state)
{
    cn_regex_t  *regex = made(".*", CN_REGEX_MATCH);

    (void) state;

    assert_int_equal(cn_regex_match(regex, CN_BYTES("caf\xe9")), CN_REGEX_ERROR);
    assert_int_equal(cn_regex_match(regex, CN_BYTES("\xed\xa0\x80")), CN_REGEX_ERROR);
    assert_int_equal(cn_regex_match(regex, CN_BYTES("a\0b")), CN_REGEX_YES);
    cn_regex_destroy(regex);
}


static void
too_much_work_is_an_error(void **state)
{
    static const char *const  patterns[] = { "(a|aa)+$", "(.*a){20}" };
    uint8_t                  *value = malloc(CN_REGEX_VALUE_MAX + 1);

    (void) state;
    assert_non_null(value);
    memset(value, 'a', CN_REGEX_VALUE_MAX + 1);
    value[3999] = '!';

    for (size_t i = 0; i < CN_COUNT_OF(patterns); i++) {
        cn_regex_t  *regex = made(patterns[i], CN_REGEX_MATCH);

        unit_check(cn_regex_match(regex, cn_bytes(value, 4000)) == CN_REGEX_ERROR, patterns[i]);
        cn_regex_destroy(regex);
    }

    cn_regex_t  *regex = made("(?s).*", CN_REGEX_MATCH);

    assert_int_equal(cn_regex_match(regex, cn_bytes(value, CN_REGEX_VALUE_MAX)), CN_REGEX_YES);
    assert_int_equal(cn_regex_match(regex, cn_bytes(value, CN_REGEX_VALUE_MAX + 1)),
                     CN_REGEX_ERROR);
    cn_regex_destroy(regex);
    free(value);
}


/* Where trying one way after another takes too long, a short value is still answered. */
static void
a_short_value_is_answered_all_the_same(void **state)
{
    static const struct {
        const char  *pattern;
        bool         yes;
    } patterns[] = {
        { "(a|aa)+$", false }, { "(a|aa)+!", true }, { "(?:a|aa)+(?:\\z)", false },
        { ".*a.*a.*a.*b", false }, { ".*a.*a.*a.*!", true },
        { ".*.*.*a?a.a", false }, { ".*.*.*a?a.", true },
    };
    uint8_t  value[400];

    (void) state;
    memset(value, 'a', sizeof(value));
    value[sizeof(value) - 1] = '!';

    for (size_t i = 0; i < CN_COUNT_OF(patterns); i++) {
        cn_regex_t  *regex = made(patterns[i].pattern, CN_REGEX_MATCH);
        cn_bytes_t   copy = unit_copy(cn_bytes(value, sizeof(value)));

        unit_check(cn_regex_match(regex, copy) == (patterns[i].yes ? CN_REGEX_YES : CN_REGEX_NO),
                   patterns[i].pattern);
        unit_free(copy);
        cn_regex_destroy(regex);
    }
}


static void
large_and_deep_patterns_are_refused(void **state)
{
    char            *pattern = malloc(CN_RE2_PATTERN_MAX + 1);
    cn_re2_error_t   error;

    (void) state;
    assert_non_null(pattern);
    memset(pattern, '(', CN_RE2_PATTERN_MAX + 1);

    assert_int_equal(cn_regex_check(cn_bytes(pattern, CN_RE2_PATTERN_MAX + 1), &error),
                     CN_ERR_LIMIT);
    assert_int_equal(cn_regex_check(cn_bytes(pattern, CN_RE2_PATTERN_MAX), &error), CN_ERR_LIMIT);
    assert_int_equal(error.at, CN_RE2_DEPTH_MAX);

    memset(pattern + CN_RE2_DEPTH_MAX, ')', CN_RE2_DEPTH_MAX);
    assert_int_equal(cn_regex_check(cn_bytes(pattern, (size_t) 2 * CN_RE2_DEPTH_MAX), NULL), CN_OK);

    /* folding a class costs as much as it is wide */
    assert_int_equal(cn_regex_check(CN_BYTES("(?i)[\\x{80}-\\x{10ffff}][\\x{80}-\\x{10ffff}]"), &error),
                     CN_OK);
    assert_int_equal(cn_regex_check(CN_BYTES("(?i)[^a][^a][\\Wa][^b]\\D\\W\\S"), &error), CN_OK);
    assert_int_equal(cn_regex_check(CN_BYTES("(?i)[\\W\xc3\xa9][\\W\xc3\xa9][\\W\xc3\xa9]"), &error),
                     CN_ERR_LIMIT);
    assert_int_equal(error.at, 16);

    /* within RE2's count, beyond what is worth its memory */
    assert_int_equal(cn_regex_check(CN_BYTES("(?:abcdefgh|[^x]ijklmnop|qrstuvwxyz){1000}"), &error),
                     CN_ERR_LIMIT);
    free(pattern);
}


static const struct {
    const char  *pattern;
    const char  *rewrite;
    const char  *value;
    const char  *result;
} replaced[] = {
    { "^/api/(.*)$", "/v2/\\1", "/api/x/y", "/v2/x/y" },
    { "/(\\w+)/(\\w+)", "/\\2/\\1", "/a/b/c/d", "/b/a/d/c" },
    { "x", "y", "/abc", "/abc" },
    { "a", "\\0\\0\\\\", "banana", "baa\\naa\\naa\\" },
    { "^/old(/?)(.*)", "/\\2", "/old/x", "/x" },
    { "^/old(/?)(.*)", "/\\2", "/old", "/" },
    { "(a)|(b)", "[\\1\\2]", "ab", "[a][b]" },
    { "b*", "-", "abc", "-a-c-" },
    { "", "-", "\xc3\xa9", "-\xc3\xa9-" },
    { "(a)?", "[\\1]", "", "[]" },
    { "(?i)A", "", "aAb", "b" },
};


static void
each_find_is_replaced(void **state)
{
    cn_pool_t  *pool = cn_pool_create(1024, NULL);

    (void) state;
    assert_non_null(pool);

    for (size_t i = 0; i < CN_COUNT_OF(replaced); i++) {
        cn_regex_t  *regex = made(replaced[i].pattern, CN_REGEX_FIND);
        cn_bytes_t   value = unit_copy(cn_bytes_str(replaced[i].value));
        cn_bytes_t   result;

        unit_check(cn_regex_check_rewrite(cn_bytes_str(replaced[i].pattern),
                                          cn_bytes_str(replaced[i].rewrite), NULL) == CN_OK,
                   replaced[i].pattern);
        unit_check(cn_regex_replace(regex, value, cn_bytes_str(replaced[i].rewrite), pool, &result)
                   == CN_OK, replaced[i].pattern);
        unit_check(cn_bytes_equal(result, cn_bytes_str(replaced[i].result)), replaced[i].pattern);
        unit_free(value);
        cn_regex_destroy(regex);
    }

    cn_pool_destroy(pool);
}


static void
a_replacement_has_its_limits(void **state)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_regex_t  *regex = made("a", CN_REGEX_FIND);
    uint8_t     *value = malloc(CN_REGEX_VALUE_MAX);
    cn_bytes_t   result;

    (void) state;
    assert_non_null(pool);
    assert_non_null(value);
    memset(value, 'a', CN_REGEX_VALUE_MAX);

    assert_int_equal(cn_regex_replace(regex, cn_bytes(value, CN_REGEX_VALUE_MAX), CN_BYTES("b"),
                                      pool, &result), CN_OK);
    assert_int_equal(result.len, CN_REGEX_VALUE_MAX);
    assert_int_equal(cn_regex_replace(regex, cn_bytes(value, CN_REGEX_VALUE_MAX), CN_BYTES("bb"),
                                      pool, &result), CN_ERR_LIMIT);
    assert_int_equal(cn_regex_replace(regex, CN_BYTES("a\xff"), CN_BYTES("b"), pool, &result),
                     CN_ERR_SYNTAX);
    cn_regex_destroy(regex);
    cn_pool_destroy(pool);
    free(value);
}


static void
a_substitution_names_groups_that_are_there(void **state)
{
    cn_re2_error_t  error;

    (void) state;

    assert_int_equal(cn_regex_check_rewrite(CN_BYTES("(a)"), CN_BYTES("\\2"), &error),
                     CN_ERR_SYNTAX);
    assert_int_equal(error.at, 0);
    assert_int_equal(cn_regex_check_rewrite(CN_BYTES("a"), CN_BYTES("x\\n"), &error),
                     CN_ERR_SYNTAX);
    assert_int_equal(error.at, 1);
    assert_int_equal(cn_regex_check_rewrite(CN_BYTES("a"), CN_BYTES("\\"), &error), CN_ERR_SYNTAX);
    assert_int_equal(cn_regex_check_rewrite(CN_BYTES("(?:a)(?P<n>b)"), CN_BYTES("\\1\\\\$1"),
                                            &error), CN_OK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_re2_refuses_is_refused_with_its_place),
        cmocka_unit_test(what_re2_accepts_answers_as_re2_does),
        cmocka_unit_test(a_value_that_is_not_utf8_is_an_error),
        cmocka_unit_test(too_much_work_is_an_error),
        cmocka_unit_test(a_short_value_is_answered_all_the_same),
        cmocka_unit_test(large_and_deep_patterns_are_refused),
        cmocka_unit_test(each_find_is_replaced),
        cmocka_unit_test(a_replacement_has_its_limits),
        cmocka_unit_test(a_substitution_names_groups_that_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
