/* SPDX-License-Identifier: Apache-2.0 */

/* Path normalisation at Istio's four levels, as a real Envoy was seen to do it. */

#include "http/normalize.h"

#include "unit.h"

#define BAD  ((const char *) -1)        /* CN_ERR_SYNTAX */
#define SAME NULL

typedef struct {
    const char  *path;
    const char  *base;
    const char  *merge;
    const char  *decode;
} case_t;

static const case_t  cases[] = {
    { "/a/b",               SAME,           SAME,           SAME },
    { "//a//b",             SAME,           "/a/b",         "/a/b" },
    { "/a/../b",            "/b",           "/b",           "/b" },
    { "/a/./b",             "/a/b",         "/a/b",         "/a/b" },
    { "/../b",              "/b",           "/b",           "/b" },
    { "/a/..",              "/",            "/",            "/" },
    { "/a/.",               "/a/",          "/a/",          "/a/" },
    { "/a/%2e%2e/b",        "/b",           "/b",           "/b" },
    { "/a/%2E%2E/b",        "/b",           "/b",           "/b" },
    { "/a%2fb",             SAME,           SAME,           "/a/b" },
    { "/a%2Fb",             SAME,           SAME,           "/a/b" },
    { "/a%5cb",             SAME,           SAME,           "/a/b" },
    { "/a%5Cb",             SAME,           SAME,           "/a/b" },
    { "/a\\b",              "/a/b",         "/a/b",         "/a/b" },
    { "/a\\..\\b",          "/b",           "/b",           "/b" },
    { "/a/..%2fb",          SAME,           SAME,           "/b" },
    { "/a%00b",             BAD,            BAD,            BAD },
    { "/a;p=1/b",           SAME,           SAME,           SAME },
    { "/a/..;/b",           "/b",           "/b",           "/b" },
    { "/a%3bb",             SAME,           SAME,           SAME },
    { "/a%61b",             "/aab",         "/aab",         "/aab" },
    { "/a%7eb",             "/a~b",         "/a~b",         "/a~b" },
    { "/a%25b",             SAME,           SAME,           SAME },
    { "/a%252fb",           SAME,           SAME,           SAME },
    { "/a%zzb",             SAME,           SAME,           SAME },
    { "/a%2",               SAME,           SAME,           SAME },
    { "/a%",                SAME,           SAME,           SAME },
    { "/a#frag",            "/a",           "/a",           "/a" },
    { "/a#frag?x=1",        "/a",           "/a",           "/a" },
    { "/a?x=1#frag",        "/a?x=1",       "/a?x=1",       "/a?x=1" },
    { "/a?x=/../y",         SAME,           SAME,           SAME },
    { "/a/../b?x=/../y",    "/b?x=/../y",   "/b?x=/../y",   "/b?x=/../y" },
    { "/a?x=%2f",           SAME,           SAME,           SAME },
    { "/a?",                SAME,           SAME,           SAME },
    { "/?",                 SAME,           SAME,           SAME },
    { "/a%20b",             SAME,           SAME,           SAME },
    { "/a//",               SAME,           "/a/",          "/a/" },
    { "/A/B",               SAME,           SAME,           SAME },
    { "/a|b",               "/a%7Cb",       "/a%7Cb",       "/a%7Cb" },
    { "/a\"b",              "/a%22b",       "/a%22b",       "/a%22b" },
    { "/a<b>",              "/a%3Cb%3E",    "/a%3Cb%3E",    "/a%3Cb%3E" },
    { "/a{b}",              "/a%7Bb%7D",    "/a%7Bb%7D",    "/a%7Bb%7D" },
    { "/a^b",               "/a%5Eb",       "/a%5Eb",       "/a%5Eb" },
    { "/a`b",               "/a%60b",       "/a%60b",       "/a%60b" },
    { "/\xc3\xa9",          BAD,            BAD,            BAD },
    { "/a b",               BAD,            BAD,            BAD },
    { "/a\x7f",             BAD,            BAD,            BAD },
    { "/a/%c3%a9",          SAME,           SAME,           SAME },
    { "/%2e/a",             "/a",           "/a",           "/a" },
    { "/%2e%2e/a",          "/a",           "/a",           "/a" },
    { "/a/b/../../c",       "/c",           "/c",           "/c" },
    { "/a/b/../../../c",    "/c",           "/c",           "/c" },
    { "/.",                 "/",            "/",            "/" },
    { "/..",                "/",            "/",            "/" },
    { "/a:b@c",             SAME,           SAME,           SAME },
    { "/a!$&'()*+,=b",      SAME,           SAME,           SAME },
    { "/a%0ab",             SAME,           SAME,           SAME },
    { "/a%0d%0ab",          SAME,           SAME,           SAME },
    { "/a+b",               SAME,           SAME,           SAME },
    { "/a%2bb",             SAME,           SAME,           SAME },
    { "/a%3fb",             SAME,           SAME,           SAME },
    { "/a%23b",             SAME,           SAME,           SAME },
    { "/~u",                SAME,           SAME,           SAME },
    { "/a/...",             SAME,           SAME,           SAME },
    { "/a/.hidden",         SAME,           SAME,           SAME },
    { "///",                SAME,           "//",           "//" },
    { "/a/%2f/b",           SAME,           SAME,           "/a/b" },
    { "/%2f..%2fb",         SAME,           SAME,           "/b" },
    { "/a%2f..%2fb",        SAME,           SAME,           "/b" },
    { "/a%5c..%5cb",        SAME,           SAME,           "/b" },
    { "/a//../b",           "/a/b",         "/a/b",         "/a/b" },
    { "/%%32%65%%32%65/a",  BAD,            BAD,            BAD },
    { "/%%32%66a",          BAD,            BAD,            BAD },
    { "/%%41",              "/%A",          "/%A",          "/%A" },
    { "a/b",                BAD,            BAD,            BAD },
    { "",                   BAD,            BAD,            BAD },
    { "*",                  SAME,           SAME,           SAME },
};


static void
check(const case_t *test, cn_path_level_t level, const char *wanted)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_bytes_t   path = unit_copy(cn_bytes_str(test->path)), out;
    cn_status_t  status = cn_path_normalize(path, level, pool, &out);

    if (wanted == BAD) {
        unit_check(status == CN_ERR_SYNTAX, test->path);

    } else {
        unit_check(status == CN_OK, test->path);
        wanted = wanted == SAME ? test->path : wanted;

        if (!cn_bytes_equal(out, cn_bytes_str(wanted))) {
            print_error("%s at level %d: %.*s, not %s\n", test->path, (int) level, CN_BYTES_ARG(out), wanted);
            fail();
        }
    }

    unit_free(path);
    cn_pool_destroy(pool);
}


static void
paths_become_what_envoy_makes_of_them(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        check(&cases[i], CN_PATH_BASE, cases[i].base);
        check(&cases[i], CN_PATH_MERGE_SLASHES, cases[i].merge);
    }
}


static void
decoding_takes_escaped_slashes_too(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        check(&cases[i], CN_PATH_DECODE_AND_MERGE_SLASHES, cases[i].decode);
    }
}


static void
none_only_cuts_the_fragment(void **state)
{
    const case_t  with = { .path = "/a/../%2e#x" };

    (void) state;
    check(&with, CN_PATH_NONE, "/a/../%2e");

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        if (strchr(cases[i].path, '#') == NULL) {
            check(&cases[i], CN_PATH_NONE, SAME);
        }
    }
}


/* What is canonical stays itself: another hop finds nothing to change. */
static void
normalising_twice_changes_nothing(void **state)
{
    static const char *const  parts[] = { "a", "/", ".", "%2e", "%2f", "%", "2", "e", ";", "\\", "%5c", "|" };

    (void) state;

    for (unsigned seed = 0; seed < 60000; seed++) {
        char        text[128] = "/";
        unsigned    rest = seed * 2654435761u;
        cn_pool_t  *pool = cn_pool_create(1024, NULL);
        cn_bytes_t  once, twice;

        for (unsigned i = 0; i < 7; i++) {
            (void) strncat(text, parts[(rest >> (4 * i)) % CN_COUNT_OF(parts)], sizeof(text) - strlen(text) - 1);
        }

        for (int level = CN_PATH_BASE; level <= CN_PATH_DECODE_AND_MERGE_SLASHES; level++) {
            if (cn_path_normalize(cn_bytes_str(text), (cn_path_level_t) level, pool, &once) != CN_OK) {
                continue;
            }

            unit_check(cn_path_normalize(once, (cn_path_level_t) level, pool, &twice) == CN_OK, text);
            unit_check(cn_bytes_equal(once, twice), text);
            unit_check(cn_bytes_find(once, CN_BYTES("/../")) == SIZE_MAX, text);
        }

        cn_pool_destroy(pool);
    }
}


static void
a_canonical_path_is_not_copied(void **state)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_bytes_t   path = CN_BYTES("/productpage?u=normal"), out;

    (void) state;
    assert_int_equal(cn_path_normalize(path, CN_PATH_BASE, pool, &out), CN_OK);
    assert_ptr_equal(out.ptr, path.ptr);
    assert_bytes(cn_path_without_query(out), "/productpage");
    assert_bytes(cn_path_without_query(CN_BYTES("/a")), "/a");
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(paths_become_what_envoy_makes_of_them),
        cmocka_unit_test(decoding_takes_escaped_slashes_too),
        cmocka_unit_test(none_only_cuts_the_fragment),
        cmocka_unit_test(normalising_twice_changes_nothing),
        cmocka_unit_test(a_canonical_path_is_not_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
