/* SPDX-License-Identifier: Apache-2.0 */

/* JSON as YAML and as text. */

#include "unit.h"

#include "cli/render.h"

static const struct {
    const char  *name;
    const char  *json;
    const char  *yaml;
    const char  *text;
} cases[] = {
    { "scalars of an object", "{\"a\": 1, \"long\": \"x: y\", \"t\": true, \"n\": null}",
      "\"a\": 1\n\"long\": \"x: y\"\n\"t\": true\n\"n\": null\n",
      "a     1\nlong  x: y\nt     true\nn     -\n" },
    { "an empty list, object and string", "{\"l\": [], \"o\": {}, \"s\": \"\"}",
      "\"l\": []\n\"o\": {}\n\"s\": \"\"\n", "l  -\no  -\ns  -\n" },
    { "a table", "{\"w\": [{\"i\": 0, \"state\": \"up\"}, {\"i\": 10, \"more\": 1}]}",
      "\"w\":\n  - \"i\": 0\n    \"state\": \"up\"\n  - \"i\": 10\n    \"more\": 1\n",
      "w\n  i   state  more  \n  0   up     -     \n  10  -      1     \n" },
    { "lists in lists", "[[1, 2], []]", "-\n  - 1\n  - 2\n- []\n", "- \n  - 1\n  - 2\n- -\n" },
    { "an object in an object", "{\"a\": {\"b\": [1]}}", "\"a\":\n  \"b\":\n    - 1\n",
      "a\n  b\n    - 1\n" },
    { "a key behind a dash", "[{\"a\": {\"b\": 1}, \"c\": 2}]",
      "- \"a\":\n    \"b\": 1\n  \"c\": 2\n", "- a\n    b  1\n  c  2\n" },
    { "what a terminal would obey", "{\"a\": \"x\\u001b[2J\"}", "\"a\": \"x\\u001B[2J\"\n",
      "a  \"x\\u001B[2J\"\n" },
    { "a scalar alone", "7", "7\n", "7\n" },
};


static void
assert_rendered(const char *name, const char *json, cn_render_t how, const char *expected)
{
    cn_bytes_t   copy = unit_copy(cn_bytes_str(json));
    char        *out = NULL;
    size_t       len = 0;
    FILE        *file = open_memstream(&out, &len);

    assert_non_null(file);
    unit_check(cn_render(copy, how, file), name);
    assert_int_equal(fclose(file), 0);

    if (strcmp(out, expected) != 0) {
        print_error("case \"%s\": got:\n%s\nexpected:\n%s\n", name, out, expected);
        fail();
    }

    free(out);
    unit_free(copy);
}


static void
a_document_is_rendered(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        assert_rendered(cases[i].name, cases[i].json, CN_RENDER_YAML, cases[i].yaml);
        assert_rendered(cases[i].name, cases[i].json, CN_RENDER_TEXT, cases[i].text);
        assert_rendered(cases[i].name, cases[i].json, CN_RENDER_JSON, cases[i].json);
    }
}


static void
what_is_no_json_is_not(void **state)
{
    FILE  *file = fopen("/dev/null", "we");

    (void) state;

    assert_non_null(file);
    assert_false(cn_render(CN_BYTES("no such page"), CN_RENDER_TEXT, file));
    assert_false(cn_render(CN_BYTES("{\"a\":"), CN_RENDER_YAML, file));
    assert_int_equal(fclose(file), 0);
}


static void
forms_have_names(void **state)
{
    cn_render_t  how = CN_RENDER_JSON;

    (void) state;

    assert_true(cn_render_parse("yaml", &how));
    assert_int_equal(how, CN_RENDER_YAML);
    assert_false(cn_render_parse("xml", &how));
    assert_int_equal(how, CN_RENDER_YAML);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_document_is_rendered),
        cmocka_unit_test(what_is_no_json_is_not),
        cmocka_unit_test(forms_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
