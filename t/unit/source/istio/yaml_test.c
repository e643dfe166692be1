/* SPDX-License-Identifier: Apache-2.0 */

/*
 * YAML becomes trees with places, and what two readers would take two ways is refused with its
 * place.
 */

#include "source/istio/yaml.h"

#include "unit.h"

typedef struct {
    cn_pool_t    *pool;
    cn_report_t  *report;
    cn_array_t    documents;
    cn_status_t   status;
    cn_bytes_t    text;
} reading_t;


static reading_t
read_text(cn_bytes_t text)
{
    reading_t  reading = { .pool = cn_pool_create(1024, NULL) };

    assert_non_null(reading.pool);
    reading.text = unit_copy(text);
    reading.report = cn_report_create(reading.pool);
    reading.documents = CN_ARRAY_INIT(reading.pool, cn_doc_t *);
    reading.status = cn_yaml_read("a.yaml", reading.text, reading.pool, reading.report,
                                  &reading.documents);

    return reading;
}


static void
end(reading_t *reading)
{
    cn_pool_destroy(reading->pool);
    unit_free(reading->text);
}


static cn_doc_t *
document(const reading_t *reading, size_t i)
{
    assert_true(i < reading->documents.count);

    return *CN_ARRAY_AT(&reading->documents, cn_doc_t *, i);
}


static void
refusals_name_the_place(void **state)
{
    static const struct { const char *name; const char *text; const char *line; } cases[] = {
        { "an alias", "a: &x 1\nb: *x\n", "a.yaml:1:4: error: anchors are not supported" },
        { "an alias alone", "a: *x\n", "a.yaml:1:4: error: aliases are not supported" },
        { "a tag", "a: !!str 1\n", "a.yaml:1:4: error: tags are not supported" },
        { "a duplicate key", "a: 1\nb: 2\na: 3\n",
            "a.yaml:3:1: error: duplicate key \"a\", first on line 1" },
        { "a quoted duplicate", "a: 1\n\"a\": 3\n",
            "a.yaml:2:1: error: duplicate key \"a\", first on line 1" },
        { "a mapping as a key", "? {a: 1}\n: 2\n", "a.yaml:1:3: error: a key must be a scalar" },
        { "a merge key", "<<: {a: 1}\n", "a.yaml:1:1: error: merge keys are not supported" },
        { "an open bracket", "a: [1, 2\nb: 3\n",
            "a.yaml:2:2: error: not YAML: did not find expected ',' or ']' "
                                                 "while parsing a flow sequence" },
        { "a tab as indentation", "a:\n\tb: 1\n",
            "a.yaml:2:1: error: not YAML: found character that cannot start any "
                                                 "token while scanning for the next token" },
        { "bad UTF-8", "a: \"\xff\"\n", "a.yaml:1:1: error: not YAML: invalid leading UTF-8 octet" },
        { "a control character", "a: \x01\n",
            "a.yaml:1:1: error: not YAML: control characters are not allowed" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        reading_t    reading = read_text(cn_bytes_str(cases[i].text));
        const char  *line;

        unit_check(reading.status == CN_ERR_SYNTAX, cases[i].name);
        unit_check(reading.report->errors == 1, cases[i].name);
        line = cn_report_line(reading.report->entries.items, reading.pool);

        if (strcmp(line, cases[i].line) != 0) {
            print_error("%s\n", line);
        }

        unit_check(strcmp(line, cases[i].line) == 0, cases[i].name);
        end(&reading);
    }
}


static void
a_value_has_the_place_of_its_key(void **state)
{
    reading_t  reading = read_text(CN_BYTES("a:\n  b:\n    - x\n    - c: 1\n"));
    cn_doc_t  *list;

    (void) state;
    assert_int_equal(reading.status, CN_OK);
    list = cn_doc_path(document(&reading, 0), "a.b");
    assert_non_null(list);
    assert_int_equal(list->line, 2);
    assert_int_equal(list->column, 3);
    assert_int_equal(list->count, 2);
    assert_int_equal(list->first->line, 3);
    assert_int_equal(list->first->column, 7);
    assert_string_equal(list->first->file, "a.yaml");
    end(&reading);
}


static void
documents_before_a_fault_count_and_empty_ones_do_not(void **state)
{
    reading_t  reading = read_text(CN_BYTES("---\na: 1\n---\n# nothing\n---\nb: 2\n---\nc: [\n"));

    (void) state;
    assert_int_equal(reading.status, CN_ERR_SYNTAX);
    assert_int_equal(reading.documents.count, 2);
    assert_non_null(cn_doc_get(document(&reading, 1), "b"));
    end(&reading);
}


static void
nothing_is_no_document(void **state)
{
    static const char *const  texts[] = { "", "\n\n", "# a comment\n", "---\n", "---\n---\n" };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(texts); i++) {
        reading_t  reading = read_text(cn_bytes_str(texts[i]));

        unit_check(reading.status == CN_OK && reading.documents.count == 0, texts[i]);
        end(&reading);
    }
}


static void
depth_is_bounded(void **state)
{
    char       text[2 * (CN_YAML_DEPTH_MAX + 1) + 1];
    reading_t  reading;

    (void) state;
    memset(text, '[', CN_YAML_DEPTH_MAX);
    memset(text + CN_YAML_DEPTH_MAX, ']', CN_YAML_DEPTH_MAX);
    reading = read_text(cn_bytes(text, 2 * CN_YAML_DEPTH_MAX));
    assert_int_equal(reading.status, CN_OK);
    end(&reading);

    memset(text, '[', CN_YAML_DEPTH_MAX + 1);
    memset(text + CN_YAML_DEPTH_MAX + 1, ']', CN_YAML_DEPTH_MAX + 1);
    reading = read_text(cn_bytes(text, 2 * (CN_YAML_DEPTH_MAX + 1)));
    assert_int_equal(reading.status, CN_ERR_SYNTAX);
    end(&reading);
}


static void
a_duplicate_among_many_keys_is_found(void **state)
{
    char       text[4096] = "";
    size_t     len = 0;
    reading_t  reading;

    (void) state;

    for (unsigned i = 0; i < 200; i++) {
        len += (size_t) snprintf(text + len, sizeof(text) - len, "k%u: 1\n", i);
    }

    reading = read_text(cn_bytes(text, len));
    assert_int_equal(reading.status, CN_OK);
    assert_int_equal(document(&reading, 0)->count, 200);
    end(&reading);

    len += (size_t) snprintf(text + len, sizeof(text) - len, "k150: 2\n");
    reading = read_text(cn_bytes(text, len));
    assert_int_equal(reading.status, CN_ERR_SYNTAX);
    end(&reading);
}


static void
a_copy_is_whole_and_unused(void **state)
{
    reading_t   reading = read_text(CN_BYTES("a: {b: [1, \"2\", ~]}\n"));
    cn_pool_t  *pool = cn_pool_create(1024, NULL);
    cn_doc_t   *copy;

    (void) state;
    cn_doc_use_all(document(&reading, 0));
    copy = cn_yaml_copy(document(&reading, 0), pool);
    end(&reading);                      /* the copy stands alone, but for the file's name */

    assert_non_null(copy);
    assert_non_null(cn_doc_unused(copy));
    assert_int_equal(cn_doc_path(copy, "a.b")->count, 3);
    assert_bytes(cn_doc_path(copy, "a.b")->first->next->text, "2");
    assert_true(cn_doc_path(copy, "a.b")->first->next->quoted);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(refusals_name_the_place),
        cmocka_unit_test(a_value_has_the_place_of_its_key),
        cmocka_unit_test(documents_before_a_fault_count_and_empty_ones_do_not),
        cmocka_unit_test(nothing_is_no_document),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_duplicate_among_many_keys_is_found),
        cmocka_unit_test(a_copy_is_whole_and_unused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
