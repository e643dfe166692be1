/* SPDX-License-Identifier: Apache-2.0 */

/* Lines of the downward API, and Go's quoted strings. */

#include "unit.h"

#include "server/pod_info.h"

static const struct {
    const char  *name;
    const char  *quoted;
    cn_status_t  status;
    const char  *value;
} strings[] = {
    { "nothing",                      "\"\"",               CN_OK, "" },
    { "plain",                        "\"a b=c\"",          CN_OK, "a b=c" },
    { "UTF-8 as it is",               "\"\xc3\xa9\"",       CN_OK, "\xc3\xa9" },
    { "each letter",          "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"", CN_OK, "\a\b\f\n\r\t\v\\\"" },
    { "hexadecimal octets",           "\"\\x41\\xc3\\xA9\"", CN_OK, "A\xc3\xa9" },
    { "an octal octet",               "\"\\101\"",          CN_OK, "A" },
    { "two octets of UTF-8",          "\"\\u00e9\"",        CN_OK, "\xc3\xa9" },
    { "three octets",                 "\"\\u20ac\"",        CN_OK, "\xe2\x82\xac" },
    { "four octets",                  "\"\\U0001F600\"",    CN_OK, "\xf0\x9f\x98\x80" },
    { "no quotes",                    "abc",                CN_ERR_SYNTAX, NULL },
    { "one quote",                    "\"",                 CN_ERR_SYNTAX, NULL },
    { "no end",                       "\"abc",              CN_ERR_SYNTAX, NULL },
    { "a quote within",               "\"a\"b\"",           CN_ERR_SYNTAX, NULL },
    { "an escaped end",               "\"a\\\"",            CN_ERR_SYNTAX, NULL },
    { "an unknown escape",            "\"\\q\"",            CN_ERR_SYNTAX, NULL },
    { "a quote that needs no escape", "\"\\'\"",            CN_ERR_SYNTAX, NULL },
    { "too few digits",               "\"\\x4\"",           CN_ERR_SYNTAX, NULL },
    { "no digits",                    "\"\\u00g0\"",        CN_ERR_SYNTAX, NULL },
    { "half a pair",                  "\"\\ud800\"",        CN_ERR_SYNTAX, NULL },
    { "past Unicode",                 "\"\\U00110000\"",    CN_ERR_SYNTAX, NULL },
    { "past an octet",                "\"\\777\"",          CN_ERR_SYNTAX, NULL },
    { "no octal digit",               "\"\\18z\"",          CN_ERR_SYNTAX, NULL },
};

static const struct {
    const char  *name;
    const char  *text;
    const char  *json;
    size_t       bad;
} files[] = {
    { "an empty file", "", "{}", 0 },
    { "lines", "app=\"a\"\ntopology.istio.io/network=\"n\\\"1\"\n",
      "{\"app\": \"a\", \"topology.istio.io/network\": \"n\\\"1\"}", 0 },
    { "no end of the last line", "app=\"a\"", "{\"app\": \"a\"}", 0 },
    { "blank lines and CRLF", "\n\r\napp=\"a\"\r\n\n", "{\"app\": \"a\"}", 0 },
    { "an equals sign in the value", "a=\"b=c\"\n", "{\"a\": \"b=c\"}", 0 },
    { "a key twice", "a=\"1\"\na=\"2\"\n", "{\"a\": \"2\"}", 0 },
    { "lines that are none", "=\"x\"\nnothing\na=b\nc=\"d\"\n", "{\"c\": \"d\"}", 3 },
    { "a value that is no UTF-8", "a=\"\\xff\"\nb=\"c\"\n", "{\"b\": \"c\"}", 1 },
    { "a key that is no UTF-8", "\xff=\"a\"\nb=\"c\"\n", "{\"b\": \"c\"}", 1 },
};


static void
a_quoted_string_is_read(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(strings); i++) {
        cn_bytes_t   copy = unit_copy(cn_bytes_str(strings[i].quoted));
        cn_pool_t   *pool = cn_pool_create(256, NULL);
        cn_bytes_t   value = CN_BYTES_NONE;

        assert_non_null(pool);
        unit_check(cn_pod_info_unquote(copy, pool, &value) == strings[i].status, strings[i].name);
        unit_check(strings[i].value == NULL
                   || cn_bytes_equal(value, cn_bytes_str(strings[i].value)), strings[i].name);
        cn_pool_destroy(pool);
        unit_free(copy);
    }
}


static void
a_file_is_read(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        cn_bytes_t   copy = unit_copy(cn_bytes_str(files[i].text));
        cn_pool_t   *pool = cn_pool_create(256, NULL);
        size_t       bad;
        json_t      *expected = json_loads(files[i].json, 0, NULL);
        json_t      *object;

        assert_non_null(pool);
        object = cn_pod_info_read(copy, pool, &bad);
        unit_check(json_equal(object, expected) == 1, files[i].name);
        unit_check(bad == files[i].bad, files[i].name);
        json_decref(object);
        json_decref(expected);
        cn_pool_destroy(pool);
        unit_free(copy);
    }
}


static void
lines_past_the_limit_are_left_out(void **state)
{
    cn_pool_t  *pool = cn_pool_create(256, NULL);
    size_t      size = (CN_POD_INFO_LINES_MAX + 3) * 16;
    char       *text = malloc(size);
    size_t      len = 0;
    size_t      bad;
    json_t     *object;

    (void) state;
    assert_non_null(pool);
    assert_non_null(text);

    for (int i = 0; i < CN_POD_INFO_LINES_MAX + 3; i++) {
        len += (size_t) snprintf(text + len, size - len, "k%d=\"v\"\n", i);
    }

    object = cn_pod_info_read(cn_bytes(text, len), pool, &bad);
    assert_int_equal(json_object_size(object), CN_POD_INFO_LINES_MAX);
    assert_int_equal(bad, 3);
    json_decref(object);
    free(text);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_quoted_string_is_read),
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(lines_past_the_limit_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
