/* SPDX-License-Identifier: Apache-2.0 */

/* Reading a document's tree. */

#include "unit.h"

#include "base/doc.h"

static cn_pool_t  *pool;


static int
open_pool(void **state)
{
    (void) state;
    pool = cn_pool_create(1024, NULL);

    return pool == NULL ? -1 : 0;
}


static int
close_pool(void **state)
{
    (void) state;
    cn_pool_destroy(pool);

    return 0;
}


static cn_doc_t *
node(cn_doc_kind_t kind, const char *key, const char *text)
{
    cn_doc_t  *made = cn_pool_alloc_zero(pool, sizeof(*made));

    assert_non_null(made);
    made->kind = kind;
    made->key = cn_bytes_str(key);
    made->text = cn_bytes_str(text);

    return made;
}


/* Puts a child at the end. */
static cn_doc_t *
add(cn_doc_t *parent, cn_doc_t *child)
{
    cn_doc_t  **at = &parent->first;

    while (*at != NULL) {
        at = &(*at)->next;
    }

    *at = child;
    parent->count++;

    return child;
}


/* spec: {selector: {app: web}, list: [{a: 1}, two], nothing: null, other: x} */
static cn_doc_t *
sample(void)
{
    cn_doc_t  *root = node(CN_DOC_MAPPING, NULL, NULL);
    cn_doc_t  *spec = add(root, node(CN_DOC_MAPPING, "spec", NULL));
    cn_doc_t  *selector = add(spec, node(CN_DOC_MAPPING, "selector", NULL));
    cn_doc_t  *list = add(spec, node(CN_DOC_SEQUENCE, "list", NULL));

    (void) add(selector, node(CN_DOC_SCALAR, "app", "web"));
    (void) add(add(list, node(CN_DOC_MAPPING, NULL, NULL)), node(CN_DOC_SCALAR, "a", "1"));
    (void) add(list, node(CN_DOC_SCALAR, NULL, "two"));
    (void) add(spec, node(CN_DOC_NULL, "nothing", NULL));
    (void) add(spec, node(CN_DOC_SCALAR, "other", "x"));

    return root;
}


static void
values_are_found_by_key_and_by_path(void **state)
{
    cn_doc_t  *root = sample(), *spec = cn_doc_get(root, "spec");

    (void) state;
    assert_non_null(spec);
    assert_bytes(cn_doc_path(root, "spec.selector.app")->text, "web");
    assert_ptr_equal(cn_doc_path(root, ""), root);
    assert_null(cn_doc_path(root, "spec.selector.none.app"));
    assert_null(cn_doc_path(root, "spec.other.app"));
    assert_null(cn_doc_path(NULL, "spec"));
    assert_null(cn_doc_get(NULL, "spec"));
    assert_null(cn_doc_get(spec, "nothing"));
    assert_null(cn_doc_get(cn_doc_get(spec, "list"), "a"));
    assert_null(cn_doc_get(cn_doc_get(spec, "other"), "a"));
}


static void
items_are_walked_in_order(void **state)
{
    cn_doc_t  *root = sample();
    unsigned   count = 0;

    (void) state;

    CN_DOC_EACH(cn_doc_path(root, "spec.list"), item) {
        assert_int_equal(item->kind, count == 0 ? CN_DOC_MAPPING : CN_DOC_SCALAR);
        count++;
    }

    CN_DOC_EACH(cn_doc_path(root, "spec.other"), item) {
        assert_null(item);
    }

    CN_DOC_EACH(cn_doc_get(root, "none"), item) {
        assert_null(item);
    }

    assert_int_equal(count, 2);
}


static void
what_nobody_used_is_found_in_file_order(void **state)
{
    cn_doc_t  *root = sample(), *spec;

    (void) state;

    assert_null(cn_doc_unused(NULL));
    assert_bytes(cn_doc_unused(root)->key, "spec");
    spec = cn_doc_get(root, "spec");
    assert_bytes(cn_doc_unused(root)->key, "selector");
    assert_non_null(cn_doc_get(spec, "selector"));
    assert_bytes(cn_doc_unused(root)->key, "app");
    assert_non_null(cn_doc_path(spec, "selector.app"));
    assert_bytes(cn_doc_unused(root)->key, "list");
    assert_non_null(cn_doc_get(spec, "list"));
    assert_bytes(cn_doc_unused(root)->key, "a");
    cn_doc_use_all(cn_doc_get(spec, "list"));
    assert_bytes(cn_doc_unused(root)->key, "nothing");
    assert_null(cn_doc_get(spec, "nothing"));
    assert_bytes(cn_doc_unused(root)->key, "other");
    cn_doc_use_all(root);
    assert_null(cn_doc_unused(root));
    cn_doc_use_all(NULL);
}


#define YES  1
#define NO   0
#define NOT  (-1)               /* is no bool */

static const struct {
    const char   *text;
    bool          quoted;
    int           boolean;
    bool          string;
    cn_status_t   u64;          /* in 1..100 */
    uint64_t      number;
    cn_status_t   real;
    double        value;
} scalars[] = {
    { "true", false, YES, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "Off", false, NO, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "no", false, NO, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "tRue", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "true", true, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "5", false, NOT, false, CN_OK, 5, CN_OK, 5 },
    { "5", true, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1", false, NOT, false, CN_OK, 1, CN_OK, 1 },
    { "100", false, NOT, false, CN_OK, 100, CN_OK, 100 },
    { "101", false, NOT, false, CN_ERR_RANGE, 0, CN_OK, 101 },
    { "0", false, NOT, false, CN_ERR_RANGE, 0, CN_OK, 0 },
    { "-5", false, NOT, false, CN_ERR_RANGE, 0, CN_OK, -5 },
    { "-", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "010", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0x10", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0.5", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, 0.5 },
    { "0e1", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, 0 },
    { "+5", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0o17", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0b11", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0xg", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "0x", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1_000", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "_1", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1.5", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, 1.5 },
    { "-.5", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, -0.5 },
    { "1e3", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, 1000 },
    { "1e-3", false, NOT, false, CN_ERR_SYNTAX, 0, CN_OK, 0.001 },
    { "1e", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1e999", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_RANGE, 0 },
    { ".inf", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "-.inf", false, NOT, false, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "nan", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "inf", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { ".", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1.2.3", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "10.0.0.1", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "v1", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "5s", false, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "99999999999999999999", false, NOT, false, CN_ERR_RANGE, 0, CN_OK, 1e20 },
    { "", true, NOT, true, CN_ERR_SYNTAX, 0, CN_ERR_SYNTAX, 0 },
    { "1111111111111111111111111111111111111111111111111111111111111111111111111", false, NOT,
      false, CN_ERR_RANGE, 0, CN_ERR_SYNTAX, 0 },
};

static void
scalars_have_the_type_that_their_text_has(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(scalars); i++) {
        const char  *name = scalars[i].text;
        cn_doc_t    *scalar = node(CN_DOC_SCALAR, NULL, NULL);
        bool         yes = scalars[i].boolean == NO;
        uint64_t     number = 0;
        double       value = 0;
        cn_bytes_t   string = CN_BYTES_NONE;

        scalar->text = unit_copy(cn_bytes_str(name));
        scalar->quoted = scalars[i].quoted;

        if (scalars[i].boolean == NOT) {
            unit_check(cn_doc_bool(scalar, &yes) == CN_ERR_SYNTAX, name);

        } else {
            unit_check(cn_doc_bool(scalar, &yes) == CN_OK, name);
            unit_check(yes == (scalars[i].boolean == YES), name);
        }

        unit_check(cn_doc_string(scalar, &string)
                   == (scalars[i].string ? CN_OK : CN_ERR_SYNTAX), name);
        unit_check(string.len == (scalars[i].string ? strlen(name) : 0), name);
        unit_check(cn_doc_u64(scalar, 1, 100, &number) == scalars[i].u64, name);
        unit_check(number == scalars[i].number, name);
        unit_check(cn_doc_double(scalar, &value) == scalars[i].real, name);
        unit_check(!(value < scalars[i].value) && !(value > scalars[i].value), name);
        unit_free(scalar->text);
    }
}


static void
what_is_no_scalar_has_no_value(void **state)
{
    cn_doc_t    *others[] = { NULL, node(CN_DOC_NULL, NULL, NULL), sample(),
                              node(CN_DOC_SEQUENCE, NULL, NULL) };
    bool         yes;
    uint64_t     number;
    double       value;
    cn_bytes_t   string;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(others); i++) {
        assert_int_equal(cn_doc_bool(others[i], &yes), CN_ERR_SYNTAX);
        assert_int_equal(cn_doc_u64(others[i], 0, 1, &number), CN_ERR_SYNTAX);
        assert_int_equal(cn_doc_double(others[i], &value), CN_ERR_SYNTAX);
        assert_int_equal(cn_doc_string(others[i], &string), CN_ERR_SYNTAX);
    }
}


static void
kinds_have_names(void **state)
{
    (void) state;

    assert_string_equal(cn_doc_kind_name(CN_DOC_NULL), "null");
    assert_string_equal(cn_doc_kind_name(CN_DOC_SCALAR), "a scalar");
    assert_string_equal(cn_doc_kind_name(CN_DOC_SEQUENCE), "a sequence");
    assert_string_equal(cn_doc_kind_name(CN_DOC_MAPPING), "a mapping");
    assert_string_equal(cn_doc_kind_name((cn_doc_kind_t) 99), "unknown");
}


#define TEST(name)  cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        TEST(values_are_found_by_key_and_by_path),
        TEST(items_are_walked_in_order),
        TEST(what_nobody_used_is_found_in_file_order),
        TEST(scalars_have_the_type_that_their_text_has),
        TEST(what_is_no_scalar_has_no_value),
        TEST(kinds_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
