/* SPDX-License-Identifier: Apache-2.0 */

/* Values with commands are taken apart as written; what is no command is refused, by name. */

#include "unit.h"

#include "base/header_format.h"

static const struct {
    const char   *value;
    cn_status_t   status;
    bool          format;
    const char   *plain;        /* or the command that is not known */
} checked[] = {
    { "", CN_OK, false, "" },
    { "plain", CN_OK, false, "plain" },
    { "100%%", CN_OK, false, "100%" },
    { "%%PROTOCOL%%", CN_OK, false, "%PROTOCOL%" },
    { "%PROTOCOL%", CN_OK, true, "%PROTOCOL%" },
    { "a-%REQ(x-a?:path):12%-%%", CN_OK, true, "a-%REQ(x-a?:path):12%-%%" },
    { "%RESP(x)%%START_TIME%", CN_OK, true, "%RESP(x)%%START_TIME%" },
    { "50%", CN_ERR_SYNTAX, false, "" },
    { "%", CN_ERR_SYNTAX, false, "" },
    { "%PROTOCOL", CN_ERR_SYNTAX, false, "" },
    { "%REQ%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ()%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ(x%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ(x):%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ(x):-1%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ(x):65537%", CN_ERR_SYNTAX, false, "REQ" },
    { "%REQ(x)y%", CN_ERR_SYNTAX, false, "REQ" },
    { "%PROTOCOL(x)%", CN_ERR_SYNTAX, false, "PROTOCOL" },
    { "%START_TIME(%Y)%", CN_ERR_SYNTAX, false, "START_TIME" },
    { "%protocol%", CN_ERR_UNSUPPORTED, false, "protocol" },
    { "%FILTER_STATE(a)%", CN_ERR_UNSUPPORTED, false, "FILTER_STATE" },
    { "%PROTOCOL%%NOPE:3%", CN_ERR_UNSUPPORTED, false, "NOPE" },
};


static void
values_are_checked(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(checked); i++) {
        cn_bytes_t   value = unit_copy(cn_bytes_str(checked[i].value));
        uint8_t      out[64];
        cn_bytes_t   plain, command;
        bool         format;
        cn_status_t  status = cn_format_check(value, out, &plain, &format, &command);

        unit_check(status == checked[i].status, checked[i].value);

        if (status == CN_OK) {
            unit_check(format == checked[i].format, checked[i].value);
            unit_check(cn_bytes_equal(plain, cn_bytes_str(checked[i].plain)), checked[i].value);

        } else {
            unit_check(cn_bytes_equal(command, cn_bytes_str(checked[i].plain)), checked[i].value);
        }

        unit_free(value);
    }
}


static void
a_value_is_taken_apart(void **state)
{
    cn_bytes_t         value = unit_copy(CN_BYTES("a%%b%REQ(X-A?:path):12%%RESP(y)%%PROTOCOL%c"));
    cn_format_piece_t  piece;
    size_t             at = 0;

    (void) state;

    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_int_equal(piece.command, CN_FORMAT_LITERAL);
    assert_bytes(piece.text, "a");
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_bytes(piece.text, "%");
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_bytes(piece.text, "b");
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_int_equal(piece.command, CN_FORMAT_REQ);
    assert_bytes(piece.name, "X-A");
    assert_bytes(piece.other, ":path");
    assert_int_equal(piece.max, 12);
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_int_equal(piece.command, CN_FORMAT_RESP);
    assert_bytes(piece.name, "y");
    assert_int_equal(piece.other.len, 0);
    assert_true(piece.max == SIZE_MAX);
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_int_equal(piece.command, CN_FORMAT_PROTOCOL);
    assert_int_equal(cn_format_next(value, &at, &piece), CN_OK);
    assert_bytes(piece.text, "c");
    assert_int_equal(cn_format_next(value, &at, &piece), CN_AGAIN);
    assert_int_equal(at, value.len);
    unit_free(value);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(a_value_is_taken_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
