/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Conformance of path normalisation at Istio's four levels:
 *
 *  - 345 vectors that follow from the rules of the levels: 16 paths for each of NONE, BASE and
 *    MERGE_SLASHES, 18 for DECODE_AND_MERGE_SLASHES, 23 escapes that no level decodes, each octet
 *    as an escape (255), and %00, which is refused;
 *  - what a real Envoy was seen to do (t/goldens/paths.tsv);
 *  - random paths, against the rules written down once more: plainly, a step at a time.
 */

#include "http/normalize.h"

#include "unit.h"

#include <stdio.h>

#define TEXT_MAX  1024
#define LEVELS    4

static const char *const  level_names[LEVELS] = {
    "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"
};

static unsigned  vectors;               /* how many were compared */


/* What the function under test makes of path; NULL: it refuses. */
static char *
normalized(const char *path, cn_path_level_t level)
{
    static char  text[TEXT_MAX];
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_bytes_t   copy = unit_copy(cn_bytes_str(path)), out;
    cn_status_t  status = cn_path_normalize(copy, level, pool, &out);
    char        *result = NULL;

    if (status == CN_OK) {
        assert_true(out.len < TEXT_MAX);
        snprintf(text, sizeof(text), "%.*s", CN_BYTES_ARG(out));
        result = text;

    } else {
        assert_int_equal(status, CN_ERR_SYNTAX);
    }

    unit_free(copy);
    cn_pool_destroy(pool);

    return result;
}


/* expected NULL: refused. */
static bool
same(const char *path, cn_path_level_t level, const char *expected)
{
    const char  *got = normalized(path, level);

    vectors++;

    if (expected == NULL ? got == NULL : got != NULL && strcmp(got, expected) == 0) {
        return true;
    }

    print_error("%s at %s: %s, not %s\n", path, level_names[level], got == NULL ? "refused" : got,
                expected == NULL ? "refused" : expected);

    return false;
}


/* ---- vectors by rule ------------------------------------------------------------------------- */

/*
 * NONE leaves a path as it is.  BASE is RFC 3986: escapes of unreserved octets are decoded, '\' is
 * '/', then dot segments go.  MERGE_SLASHES makes one of many slashes.  DECODE takes %2F and %5C as
 * the slashes that they stand for, before all that.
 */
static const struct {
    const char  *path;
    const char  *base;
    const char  *merge;
    const char  *decode;
    bool         only_decode;
} rules[] = {
    { "/one/./two",          "/one/two",       "/one/two",       "/one/two",     false },
    { "/one/two/.",          "/one/two/",      "/one/two/",      "/one/two/",    false },
    { "/one/../two",         "/two",           "/two",           "/two",         false },
    { "/one/two/..",         "/one/",          "/one/",          "/one/",        false },
    { "/../../one",          "/one",           "/one",           "/one",         false },
    { "/one/%2e/two",        "/one/two",       "/one/two",       "/one/two",     false },
    { "/one/%2E%2e/two",     "/two",           "/two",           "/two",         false },
    { "/%6f%6Ee",            "/one",           "/one",           "/one",         false },
    { "/one\\two",           "/one/two",       "/one/two",       "/one/two",     false },
    { "/one\\..\\two",       "/two",           "/two",           "/two",         false },
    { "//one",               "//one",          "/one",           "/one",         false },
    { "/one//two///three",   "/one//two///three", "/one/two/three", "/one/two/three", false },
    { "/one//../two",        "/one/two",       "/one/two",       "/one/two",     false },
    { "/one%2ftwo",          "/one%2ftwo",     "/one%2ftwo",     "/one/two",     false },
    { "/one%5Ctwo",          "/one%5Ctwo",     "/one%5Ctwo",     "/one/two",     false },
    { "/one%2F..%5ctwo",     "/one%2F..%5ctwo", "/one%2F..%5ctwo", "/two",       false },
    { "/one%2F%2Ftwo",       "/one%2F%2Ftwo",  "/one%2F%2Ftwo",  "/one/two",     true },
    { "/one/%2f%2E%2e%2Ftwo", "/one/%2f..%2Ftwo", "/one/%2f..%2Ftwo", "/one/two", true },
};

/* What %XX may not lose at any level: the reserved octets but '/', and what else a path escapes. */
static const char *const  kept[] = {
    "%20", "%21", "%22", "%23", "%24", "%25", "%26", "%27", "%28", "%29", "%2A", "%2B", "%2C",
    "%3A", "%3B", "%3C", "%3D", "%3E", "%3F", "%40", "%5B", "%5D", "%7F",
};


static bool
check_rules(void)
{
    bool  all = true;

    for (size_t i = 0; i < CN_COUNT_OF(rules); i++) {
        if (!rules[i].only_decode) {
            all &= same(rules[i].path, CN_PATH_NONE, rules[i].path);
            all &= same(rules[i].path, CN_PATH_BASE, rules[i].base);
            all &= same(rules[i].path, CN_PATH_MERGE_SLASHES, rules[i].merge);
        }

        all &= same(rules[i].path, CN_PATH_DECODE_AND_MERGE_SLASHES, rules[i].decode);
    }

    return all;
}


/* The octet as an escape of a path, and as what BASE makes of it. */
static void
write_escape(unsigned octet, bool lower, char path[8], char expected[8])
{
    bool  alphanumeric = (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z')
        || (octet >= 'a' && octet <= 'z');

    snprintf(path, 8, lower ? "/%%%02x" : "/%%%02X", octet);

    if (octet == '.') {
        snprintf(expected, 8, "/");             /* "/." */

    } else if (alphanumeric || octet == '-' || octet == '_' || octet == '~') {
        snprintf(expected, 8, "/%c", (char) octet);

    } else {
        snprintf(expected, 8, "%s", path);
    }
}


static void
the_rules_of_the_levels_hold(void **state)
{
    char  path[8], expected[8];
    bool  all;

    (void) state;
    vectors = 0;
    all = check_rules();
    assert_int_equal(vectors, 16 + 16 + 16 + 18);

    for (size_t i = 0; i < CN_COUNT_OF(kept); i++) {
        snprintf(path, sizeof(path), "/x%sy", kept[i]);
        all &= same(path, CN_PATH_BASE, path);
    }

    for (unsigned octet = 1; octet < 256; octet++) {
        write_escape(octet, octet % 2 == 0, path, expected);
        all &= same(path, CN_PATH_BASE, expected);
    }

    all &= same("/%00", CN_PATH_BASE, NULL);
    assert_int_equal(vectors, 345);
    assert_true(all);
}


/* The same escapes where slashes are decoded or merged, and in the other case of their digits. */
static void
escapes_are_kept_at_every_level(void **state)
{
    char  path[8], expected[8];
    bool  all = true;

    (void) state;

    for (unsigned octet = 1; octet < 256; octet++) {
        for (int lower = 0; lower < 2; lower++) {
            write_escape(octet, lower, path, expected);
            all &= same(path, CN_PATH_NONE, path);
            all &= same(path, CN_PATH_BASE, expected);
            all &= same(path, CN_PATH_MERGE_SLASHES, expected);

            if (octet != '/' && octet != '\\') {
                all &= same(path, CN_PATH_DECODE_AND_MERGE_SLASHES, expected);
            }
        }
    }

    for (int level = CN_PATH_BASE; level < LEVELS; level++) {
        for (size_t i = 0; i < CN_COUNT_OF(kept); i++) {
            snprintf(path, sizeof(path), "/x%sy", kept[i]);
            all &= same(path, (cn_path_level_t) level, path);
        }

        all &= same("/x%00", (cn_path_level_t) level, NULL);
    }

    assert_true(all);
}


/* ---- what was recorded ----------------------------------------------------------------------- */

/* \xHH in place. */
static void
unescape(char *text)
{
    char      *to = text;
    unsigned   octet;

    for (char *at = text; *at != '\0'; at++) {
        if (at[0] == '\\' && at[1] == 'x' && sscanf(at + 2, "%2x", &octet) == 1) {
            *to++ = (char) octet;
            at += 3;

        } else {
            *to++ = *at;
        }
    }

    *to = '\0';
}


static cn_path_level_t
level_of(const char *name)
{
    for (int i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return (cn_path_level_t) i;
        }
    }

    fail_msg("no level %s", name);

    return CN_PATH_NONE;
}


static void
paths_become_what_envoy_made_of_them(void **state)
{
    FILE    *file = fopen("t/goldens/paths.tsv", "r");
    char     line[TEXT_MAX];
    size_t   count = 0;
    bool     all = true;

    (void) state;
    assert_non_null(file);

    while (fgets(line, sizeof(line), file) != NULL) {
        char  *level = line, *sent, *becomes;

        if (line[0] == '#') {
            continue;
        }

        line[strcspn(line, "\n")] = '\0';
        sent = strchr(level, '\t');
        assert_non_null(sent);
        *sent++ = '\0';
        becomes = strchr(sent, '\t');
        assert_non_null(becomes);
        *becomes++ = '\0';
        unescape(sent);
        unescape(becomes);
        count++;
        all &= same(sent, level_of(level), becomes[0] == '!' ? NULL : becomes);
    }

    fclose(file);
    assert_int_equal(count, 211);
    assert_true(all);
}


/* ---- the rules once more, a step at a time --------------------------------------------------- */

static unsigned
hex_digit(char digit)
{
    const char  *digits = "0123456789abcdef0123456789ABCDEF";
    const char  *at = digit == '\0' ? NULL : strchr(digits, digit);

    return at == NULL ? 16 : (unsigned) (at - digits) % 16;
}


/* The octet that the escape at text is for; 256: there is none. */
static unsigned
escape(const char *text)
{
    if (text[0] != '%' || hex_digit(text[1]) == 16 || hex_digit(text[2]) == 16) {
        return 256;
    }

    return hex_digit(text[1]) * 16 + hex_digit(text[2]);
}


/* Each escape of one of the octets becomes that octet. */
static void
step_decode(char *text, const char *octets)
{
    char    out[TEXT_MAX];
    size_t  len = 0;

    for (size_t i = 0; text[i] != '\0'; i++) {
        unsigned  octet = escape(text + i);

        if (octet > 0 && octet < 256 && strchr(octets, (char) octet) != NULL) {
            out[len++] = (char) octet;
            i += 2;

        } else {
            out[len++] = text[i];
        }
    }

    out[len] = '\0';
    memcpy(text, out, len + 1);
}


static void
step_replace(char *text, const char *from, const char *to)
{
    for (char *at = strstr(text, from); at != NULL; at = strstr(at + strlen(to), from)) {
        memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
        memcpy(at, to, strlen(to));
    }
}


/* Segments are piled up one by one; ".." takes one off. */
static void
step_dots(char *text)
{
    char   *segments[TEXT_MAX];
    char    copy[TEXT_MAX];
    size_t  count = 0;
    bool    ends_in_slash = false;

    snprintf(copy, sizeof(copy), "%s", text + 1);

    for (char *at = copy; at != NULL; ) {
        char  *slash = strchr(at, '/');
        bool   dots;

        if (slash != NULL) {
            *slash = '\0';
        }

        dots = strcmp(at, "..") == 0 || strcmp(at, "..;") == 0;
        ends_in_slash = dots || strcmp(at, ".") == 0;

        if (dots) {
            count -= count > 0;

        } else if (!ends_in_slash) {
            segments[count++] = at;
        }

        at = slash == NULL ? NULL : slash + 1;
    }

    text[0] = '\0';

    for (size_t i = 0; i < count; i++) {
        strncat(strncat(text, "/", TEXT_MAX - 1), segments[i], TEXT_MAX - 1);
    }

    if (ends_in_slash || count == 0) {
        strncat(text, "/", TEXT_MAX - 1);
    }
}


/* What the levels make of a path of printable octets without '?' and '#'; false: it is refused. */
static bool
by_the_rules(const char *path, cn_path_level_t level, char text[TEXT_MAX])
{
    static const char *const  escaped[][2] = {
        { "\"", "%22" }, { "<", "%3C" }, { ">", "%3E" }, { "^", "%5E" }, { "`", "%60" },
        { "{", "%7B" }, { "|", "%7C" }, { "}", "%7D" },
    };

    snprintf(text, TEXT_MAX, "%s", path);

    if (level == CN_PATH_NONE) {
        return true;
    }

    if (strstr(text, "%00") != NULL) {
        return false;
    }

    if (level == CN_PATH_DECODE_AND_MERGE_SLASHES) {
        step_decode(text, "/\\");
    }

    step_decode(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~");
    step_replace(text, "\\", "/");

    for (size_t i = 0; i < CN_COUNT_OF(escaped); i++) {
        step_replace(text, escaped[i][0], escaped[i][1]);
    }

    step_dots(text);

    if (level != CN_PATH_BASE) {
        bool  slashes = strspn(text, "/") == strlen(text) && text[1] != '\0';

        while (strstr(text, "//") != NULL) {
            step_replace(text, "//", "/");
        }

        if (slashes) {
            memcpy(text, "//", 3);      /* Envoy keeps two where there is nothing else */
        }
    }

    return true;
}


/* Text such that decoding makes no new escape: "%" only where two digits follow at once. */
static void
make_path(unsigned seed, char path[TEXT_MAX])
{
    static const char *const  parts[] = {
        "/", "/", "/", "a", ".", "..", "..;", ";", "\\", "%2e", "%2E", "%2f", "%5C", "%41", "%7e",
        "%3b", "%20", "%25", "%00", "~", "|", "{", "\"", "B", "=", "%c3", "//", "/./", "/../", "%%zz",
    };
    uint64_t  random = seed * 0x9e3779b97f4a7c15u + 1;

    snprintf(path, TEXT_MAX, "/");

    for (unsigned i = 0; i < 9; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        strncat(path, parts[random % CN_COUNT_OF(parts)], TEXT_MAX - strlen(path) - 1);
    }
}


static void
random_paths_become_what_the_rules_make_of_them(void **state)
{
    char  path[TEXT_MAX], expected[TEXT_MAX];
    bool  all = true;

    (void) state;

    for (unsigned seed = 0; seed < 50000 && all; seed++) {
        make_path(seed, path);

        for (int level = CN_PATH_NONE; level < LEVELS; level++) {
            bool  taken = by_the_rules(path, (cn_path_level_t) level, expected);

            all &= same(path, (cn_path_level_t) level, taken ? expected : NULL);
        }
    }

    assert_true(all);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_rules_of_the_levels_hold),
        cmocka_unit_test(escapes_are_kept_at_every_level),
        cmocka_unit_test(paths_become_what_envoy_made_of_them),
        cmocka_unit_test(random_paths_become_what_the_rules_make_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
