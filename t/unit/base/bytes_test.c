/* SPDX-License-Identifier: Apache-2.0 */

/* Runs of bytes: comparing, finding, cutting, numbers, durations, escaping. */

#include "unit.h"

#include "base/bytes.h"

#define NOWHERE  SIZE_MAX


static void
views_are_what_they_were_made_of(void **state)
{
    (void) state;

    assert_int_equal(cn_bytes_str(NULL).len, 0);
    assert_bytes(cn_bytes_str("abc"), "abc");
    assert_int_equal(CN_BYTES("a\0b").len, 3);
    assert_bytes(cn_bytes_from(CN_BYTES("abc"), 1), "bc");
    assert_int_equal(cn_bytes_from(CN_BYTES("abc"), 3).len, 0);
    assert_int_equal(cn_bytes_from(CN_BYTES("abc"), SIZE_MAX).len, 0);
    assert_int_equal(cn_lower('A'), 'a');
    assert_int_equal(cn_lower('Z'), 'z');
    assert_int_equal(cn_lower('@'), '@');
    assert_int_equal(cn_lower('['), '[');
    assert_int_equal(cn_lower(0xc4), 0xc4);
}


static const struct {
    const char  *name;
    cn_bytes_t   a, b;
    int          order;             /* its sign */
    bool         equal_nocase;
} compare_cases[] = {
    { "two empty runs are equal", CN_BYTES_INIT(""), CN_BYTES_INIT(""), 0, true },
    { "no pointer is as empty", { NULL, 0 }, CN_BYTES_INIT(""), 0, true },
    { "nothing is before something", { NULL, 0 }, CN_BYTES_INIT("a"), -1, false },
    { "a prefix is before", CN_BYTES_INIT("ab"), CN_BYTES_INIT("abc"), -1, false },
    { "the first difference decides", CN_BYTES_INIT("b"), CN_BYTES_INIT("abc"), 1, false },
    { "octets are unsigned", CN_BYTES_INIT("\xff"), CN_BYTES_INIT("a"), 1, false },
    { "a NUL counts", CN_BYTES_INIT("a\0b"), CN_BYTES_INIT("a\0c"), -1, false },
    { "case matters but for nocase", CN_BYTES_INIT("aB"), CN_BYTES_INIT("Ab"), 1, true },
    { "only letters fold", CN_BYTES_INIT("a["), CN_BYTES_INIT("A{"), 1, false },
};

static void
comparison_is_by_octet(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(compare_cases); i++) {
        const char  *name = compare_cases[i].name;
        cn_bytes_t   a = unit_copy(compare_cases[i].a), b = unit_copy(compare_cases[i].b);
        int          order = cn_bytes_compare(a, b), back = cn_bytes_compare(b, a);

        unit_check((order > 0) - (order < 0) == compare_cases[i].order, name);
        unit_check((back > 0) - (back < 0) == -compare_cases[i].order, name);
        unit_check(cn_bytes_equal(a, b) == (order == 0), name);
        unit_check(cn_bytes_equal_nocase(a, b) == compare_cases[i].equal_nocase, name);
        unit_free(a);
        unit_free(b);
    }
}


static const struct {
    const char  *name;
    cn_bytes_t   bytes, part;
    bool         starts, starts_nocase, ends, ends_nocase;
    size_t       at, at_nocase;
} part_cases[] = {
    { "nothing is everywhere", CN_BYTES_INIT("abc"), { NULL, 0 }, 1, 1, 1, 1, 0, 0 },
    { "nothing is in nothing", { NULL, 0 }, { NULL, 0 }, 1, 1, 1, 1, 0, 0 },
    { "something is not in nothing", { NULL, 0 }, CN_BYTES_INIT("a"), 0, 0, 0, 0, NOWHERE,
      NOWHERE },
    { "the whole", CN_BYTES_INIT("abc"), CN_BYTES_INIT("abc"), 1, 1, 1, 1, 0, 0 },
    { "longer than the whole", CN_BYTES_INIT("abc"), CN_BYTES_INIT("abcd"), 0, 0, 0, 0, NOWHERE,
      NOWHERE },
    { "at the start", CN_BYTES_INIT("abc"), CN_BYTES_INIT("ab"), 1, 1, 0, 0, 0, 0 },
    { "at the end", CN_BYTES_INIT("abc"), CN_BYTES_INIT("bc"), 0, 0, 1, 1, 1, 1 },
    { "in another case", CN_BYTES_INIT("xABx"), CN_BYTES_INIT("ab"), 0, 0, 0, 0, NOWHERE, 1 },
    { "both ends in another case", CN_BYTES_INIT("ABAB"), CN_BYTES_INIT("ab"), 0, 1, 0, 1,
      NOWHERE, 0 },
    { "the first of two", CN_BYTES_INIT("aabab"), CN_BYTES_INIT("ab"), 0, 0, 1, 1, 1, 1 },
    { "across a NUL", CN_BYTES_INIT("a\0b"), CN_BYTES_INIT("\0b"), 0, 0, 1, 1, 1, 1 },
};

static void
parts_are_found_where_they_stand(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(part_cases); i++) {
        const char  *name = part_cases[i].name;
        cn_bytes_t   bytes = unit_copy(part_cases[i].bytes), part = unit_copy(part_cases[i].part);

        unit_check(cn_bytes_starts_with(bytes, part) == part_cases[i].starts, name);
        unit_check(cn_bytes_starts_with_nocase(bytes, part) == part_cases[i].starts_nocase, name);
        unit_check(cn_bytes_ends_with(bytes, part) == part_cases[i].ends, name);
        unit_check(cn_bytes_ends_with_nocase(bytes, part) == part_cases[i].ends_nocase, name);
        unit_check(cn_bytes_find(bytes, part) == part_cases[i].at, name);
        unit_check(cn_bytes_find_nocase(bytes, part) == part_cases[i].at_nocase, name);
        unit_free(bytes);
        unit_free(part);
    }
}


static void
octets_are_found_from_both_ends(void **state)
{
    (void) state;

    assert_int_equal(cn_bytes_find_octet(CN_BYTES("a:b:c"), ':'), 1);
    assert_int_equal(cn_bytes_find_last_octet(CN_BYTES("a:b:c"), ':'), 3);
    assert_true(cn_bytes_find_octet(CN_BYTES("abc"), ':') == NOWHERE);
    assert_true(cn_bytes_find_last_octet(CN_BYTES("abc"), ':') == NOWHERE);
    assert_true(cn_bytes_find_octet(CN_BYTES_NONE, 0) == NOWHERE);
    assert_true(cn_bytes_find_last_octet(CN_BYTES_NONE, 0) == NOWHERE);
    assert_int_equal(cn_bytes_find_octet(CN_BYTES("a\xff"), 0xff), 1);
}


static void
trim_takes_blanks_and_tabs_only(void **state)
{
    (void) state;

    assert_bytes(cn_bytes_trim(CN_BYTES(" \ta b\t ")), "a b");
    assert_bytes(cn_bytes_trim(CN_BYTES("\r\na\n")), "\r\na\n");
    assert_bytes(cn_bytes_trim(CN_BYTES(" \t ")), "");
    assert_bytes(cn_bytes_trim(CN_BYTES_NONE), "");
}


static void
split_cuts_at_the_first_separator(void **state)
{
    cn_bytes_t  head, rest = CN_BYTES("a,,b");

    (void) state;

    assert_true(cn_bytes_split(rest, ',', &head, &rest));
    assert_bytes(head, "a");
    assert_bytes(rest, ",b");
    assert_true(cn_bytes_split(rest, ',', &head, &rest));
    assert_bytes(head, "");
    assert_bytes(rest, "b");
    assert_false(cn_bytes_split(rest, ',', &head, &rest));
    assert_bytes(head, "b");
    assert_bytes(rest, "");
    assert_false(cn_bytes_split(CN_BYTES_NONE, ',', &head, &rest));
    assert_int_equal(head.len, 0);
    assert_true(cn_bytes_split(CN_BYTES("a,"), ',', &head, &rest));
    assert_int_equal(rest.len, 0);
}


static const struct {
    const char   *name;
    cn_bytes_t    text;
    uint64_t      max;
    cn_status_t   status;
    uint64_t      value;
} number_cases[] = {
    { "zero", CN_BYTES_INIT("0"), 9, CN_OK, 0 },
    { "leading zeros", CN_BYTES_INIT("0012"), 12, CN_OK, 12 },
    { "the largest", CN_BYTES_INIT("18446744073709551615"), UINT64_MAX, CN_OK, UINT64_MAX },
    { "one more", CN_BYTES_INIT("18446744073709551616"), UINT64_MAX, CN_ERR_RANGE, 0 },
    { "many more", CN_BYTES_INIT("99999999999999999999999"), UINT64_MAX, CN_ERR_RANGE, 0 },
    { "at the bound", CN_BYTES_INIT("65535"), 65535, CN_OK, 65535 },
    { "over the bound", CN_BYTES_INIT("65536"), 65535, CN_ERR_RANGE, 0 },
    { "nothing", CN_BYTES_INIT(""), 9, CN_ERR_SYNTAX, 0 },
    { "a sign", CN_BYTES_INIT("+1"), 9, CN_ERR_SYNTAX, 0 },
    { "a minus", CN_BYTES_INIT("-1"), 9, CN_ERR_SYNTAX, 0 },
    { "a blank before", CN_BYTES_INIT(" 1"), 9, CN_ERR_SYNTAX, 0 },
    { "a blank after", CN_BYTES_INIT("1 "), 9, CN_ERR_SYNTAX, 0 },
    { "hexadecimal", CN_BYTES_INIT("0x1"), 9, CN_ERR_SYNTAX, 0 },
    { "a letter after too many digits", CN_BYTES_INIT("99999999999999999999999x"), UINT64_MAX,
      CN_ERR_SYNTAX, 0 },
    { "a NUL", CN_BYTES_INIT("1\0"), 9, CN_ERR_SYNTAX, 0 },
};

static void
numbers_are_digits_within_a_bound(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(number_cases); i++) {
        cn_bytes_t   text = unit_copy(number_cases[i].text);
        uint64_t     value = 0;
        cn_status_t  status = cn_bytes_to_u64(text, number_cases[i].max, &value);

        unit_check(status == number_cases[i].status, number_cases[i].name);
        unit_check(value == number_cases[i].value, number_cases[i].name);
        unit_free(text);
    }
}


static const struct {
    const char   *name;
    cn_bytes_t    text;
    cn_status_t   status;
    uint64_t      us;
} duration_cases[] = {
    { "zero needs no unit", CN_BYTES_INIT("0"), CN_OK, 0 },
    { "zero with one", CN_BYTES_INIT("0s"), CN_OK, 0 },
    { "all units", CN_BYTES_INIT("1h2m3s4ms5us"), CN_OK, 3723004005 },
    { "a fraction", CN_BYTES_INIT("1.5s"), CN_OK, 1500000 },
    { "a fraction alone", CN_BYTES_INIT(".5s"), CN_OK, 500000 },
    { "a point without a fraction", CN_BYTES_INIT("1.s"), CN_OK, 1000000 },
    { "hours in fractions", CN_BYTES_INIT("0.25h"), CN_OK, 900000000 },
    { "minutes before milliseconds", CN_BYTES_INIT("1m1ms"), CN_OK, 60001000 },
    { "micro sign", CN_BYTES_INIT("7\xc2\xb5s"), CN_OK, 7 },
    { "Greek mu", CN_BYTES_INIT("7\xce\xbcs"), CN_OK, 7 },
    { "under a microsecond is one", CN_BYTES_INIT("1ns"), CN_OK, 1 },
    { "a microsecond and a bit is one", CN_BYTES_INIT("1500ns"), CN_OK, 1 },
    { "more digits than nanoseconds", CN_BYTES_INIT("1.0000000000000000000009s"), CN_OK, 1000000 },
    { "nothing", CN_BYTES_INIT(""), CN_ERR_SYNTAX, 0 },
    { "no unit", CN_BYTES_INIT("5"), CN_ERR_SYNTAX, 0 },
    { "no unit at the end", CN_BYTES_INIT("1s5"), CN_ERR_SYNTAX, 0 },
    { "no number", CN_BYTES_INIT("s"), CN_ERR_SYNTAX, 0 },
    { "only a point", CN_BYTES_INIT(".s"), CN_ERR_SYNTAX, 0 },
    { "two points", CN_BYTES_INIT("1.2.3s"), CN_ERR_SYNTAX, 0 },
    { "a sign", CN_BYTES_INIT("-1s"), CN_ERR_SYNTAX, 0 },
    { "an unknown unit", CN_BYTES_INIT("1d"), CN_ERR_SYNTAX, 0 },
    { "a blank", CN_BYTES_INIT("1 s"), CN_ERR_SYNTAX, 0 },
    { "an upper-case unit", CN_BYTES_INIT("1S"), CN_ERR_SYNTAX, 0 },
    { "too long by its unit", CN_BYTES_INIT("6000000h"), CN_ERR_RANGE, 0 },
    { "too long by its digits", CN_BYTES_INIT("99999999999999999999ns"), CN_ERR_RANGE, 0 },
    { "too long by its sum", CN_BYTES_INIT("5000000h5000000h"), CN_ERR_RANGE, 0 },
};

static void
durations_are_read_as_go_writes_them(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(duration_cases); i++) {
        cn_bytes_t   text = unit_copy(duration_cases[i].text);
        uint64_t     us = 0;
        cn_status_t  status = cn_bytes_to_duration_us(text, &us);

        unit_check(status == duration_cases[i].status, duration_cases[i].name);
        unit_check(us == duration_cases[i].us, duration_cases[i].name);
        unit_free(text);
    }
}


static void
numbers_are_printed_in_decimal(void **state)
{
    char  out[20];

    (void) state;

    assert_bytes(cn_bytes(out, cn_u64_print(0, out)), "0");
    assert_bytes(cn_bytes(out, cn_u64_print(10, out)), "10");
    assert_bytes(cn_bytes(out, cn_u64_print(4711, out)), "4711");
    assert_bytes(cn_bytes(out, cn_u64_print(UINT64_MAX, out)), "18446744073709551615");
}


static void
escaped_bytes_are_harmless(void **state)
{
    char  out[64];

    (void) state;

    assert_string_equal(cn_bytes_escape(CN_BYTES("GET /"), out, sizeof(out)), "GET /");
    assert_string_equal(cn_bytes_escape(CN_BYTES("\x1b[31m\r\n"), out, sizeof(out)),
                        "\\x1b[31m\\x0d\\x0a");
    assert_string_equal(cn_bytes_escape(CN_BYTES("\"\\\0\x7f\xff"), out, sizeof(out)),
                        "\\x22\\x5c\\x00\\x7f\\xff");
    assert_string_equal(cn_bytes_escape(CN_BYTES_NONE, out, sizeof(out)), "");
}


static void
escaped_bytes_are_cut_to_the_room_and_never_within_an_escape(void **state)
{
    (void) state;

    for (size_t size = 0; size < 12; size++) {
        char        *out = malloc(size + 1);
        const char  *text;

        assert_non_null(out);
        out[size] = '#';
        text = cn_bytes_escape(CN_BYTES("ab\ncd"), out, size);
        assert_int_equal(out[size], '#');
        assert_true(strlen(text) < (size == 0 ? 1 : size));
        assert_int_equal(strncmp("ab\\x0acd", text, strlen(text)), 0);
        assert_true(strlen(text) <= 2 || strlen(text) >= 6);
        free(out);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(views_are_what_they_were_made_of),
        cmocka_unit_test(comparison_is_by_octet),
        cmocka_unit_test(parts_are_found_where_they_stand),
        cmocka_unit_test(octets_are_found_from_both_ends),
        cmocka_unit_test(trim_takes_blanks_and_tabs_only),
        cmocka_unit_test(split_cuts_at_the_first_separator),
        cmocka_unit_test(numbers_are_digits_within_a_bound),
        cmocka_unit_test(durations_are_read_as_go_writes_them),
        cmocka_unit_test(numbers_are_printed_in_decimal),
        cmocka_unit_test(escaped_bytes_are_harmless),
        cmocka_unit_test(escaped_bytes_are_cut_to_the_room_and_never_within_an_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
