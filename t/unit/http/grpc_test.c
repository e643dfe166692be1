/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_test - timeouts, statuses and messages as gRPC writes them. */

#include "http/grpc.h"

#include "unit.h"

static const struct {
    const char   *text;
    cn_status_t   status;
    uint64_t      timeout_ms;
} parsed[] = {
    { "200m", CN_OK, 200 },
    { "0S", CN_OK, 0 },
    { "5S", CN_OK, 5000 },
    { "2M", CN_OK, 120000 },
    { "1H", CN_OK, 3600000 },
    { "1500u", CN_OK, 2 },
    { "1n", CN_OK, 1 },
    { "99999999H", CN_OK, 99999999ull * 3600 * 1000 },
    { "", CN_ERR_SYNTAX, 0 },
    { "m", CN_ERR_SYNTAX, 0 },
    { "5", CN_ERR_SYNTAX, 0 },
    { "5s", CN_ERR_SYNTAX, 0 },
    { "-5S", CN_ERR_SYNTAX, 0 },
    { "5 S", CN_ERR_SYNTAX, 0 },
    { "123456789S", CN_ERR_SYNTAX, 0 },
    { "xyz", CN_ERR_SYNTAX, 0 },
};

static const struct {
    uint64_t     timeout_ms;
    const char  *text;
} printed[] = {
    { 0, "0m" },
    { 200, "200m" },
    { 99999999, "99999999m" },
    { 100000000, "100000S" },
    { 99999999ull * 1000, "99999999S" },
    { 100000000ull * 1000, "1666666M" },
    { UINT64_MAX, "99999999H" },
};


static void
a_timeout_is_read_in_milliseconds(void **state)
{
    (void) state;

    for (size_t i = 0; i < sizeof(parsed) / sizeof(parsed[0]); i++) {
        cn_bytes_t   text = unit_copy(cn_bytes_str(parsed[i].text));
        uint64_t     timeout_ms = 0;
        cn_status_t  status = cn_grpc_timeout_parse(text, &timeout_ms);

        unit_check(status == parsed[i].status, parsed[i].text);
        unit_check(timeout_ms == parsed[i].timeout_ms, parsed[i].text);
        unit_free(text);
    }
}


static void
a_timeout_is_written_in_at_most_eight_digits(void **state)
{
    (void) state;

    for (size_t i = 0; i < sizeof(printed) / sizeof(printed[0]); i++) {
        char    text[CN_GRPC_TIMEOUT_TEXT];
        size_t  len = cn_grpc_timeout_print(printed[i].timeout_ms, text);

        unit_check(cn_bytes_equal(cn_bytes(text, len), cn_bytes_str(printed[i].text)),
                   printed[i].text);
    }
}


static void
a_status_is_a_number_that_is_known(void **state)
{
    static const struct { const char *text; cn_grpc_status_t status; } statuses[] = {
        { "0", CN_GRPC_OK }, { "5", CN_GRPC_NOT_FOUND }, { "16", CN_GRPC_UNAUTHENTICATED },
        { "05", CN_GRPC_NOT_FOUND }, { "17", CN_GRPC_UNKNOWN }, { "", CN_GRPC_UNKNOWN },
        { "-1", CN_GRPC_UNKNOWN }, { "OK", CN_GRPC_UNKNOWN }, { "0 ", CN_GRPC_UNKNOWN },
        { "18446744073709551616", CN_GRPC_UNKNOWN },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(statuses); i++) {
        cn_bytes_t  text = unit_copy(cn_bytes_str(statuses[i].text));

        unit_check(cn_grpc_status_parse(text) == statuses[i].status, statuses[i].text);
        unit_free(text);
    }

    assert_string_equal(cn_grpc_status_name(CN_GRPC_UNAVAILABLE), "UNAVAILABLE");
    assert_string_equal(cn_grpc_status_name(CN_GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(cn_grpc_status_name((cn_grpc_status_t) 17), "UNKNOWN");
}


static void
http_statuses_and_resets_stand_for_statuses(void **state)
{
    static const struct { uint16_t http; cn_grpc_status_t status; } https[] = {
        { 400, CN_GRPC_INTERNAL }, { 401, CN_GRPC_UNAUTHENTICATED },
        { 403, CN_GRPC_PERMISSION_DENIED }, { 404, CN_GRPC_UNIMPLEMENTED },
        { 429, CN_GRPC_UNAVAILABLE }, { 502, CN_GRPC_UNAVAILABLE }, { 503, CN_GRPC_UNAVAILABLE },
        { 504, CN_GRPC_UNAVAILABLE }, { 200, CN_GRPC_UNKNOWN }, { 500, CN_GRPC_UNKNOWN },
    };
    static const cn_grpc_status_t  resets[] = {
        CN_GRPC_INTERNAL, CN_GRPC_INTERNAL, CN_GRPC_INTERNAL, CN_GRPC_INTERNAL, CN_GRPC_INTERNAL,
        CN_GRPC_INTERNAL, CN_GRPC_INTERNAL, CN_GRPC_UNAVAILABLE, CN_GRPC_CANCELLED,
        CN_GRPC_INTERNAL, CN_GRPC_INTERNAL, CN_GRPC_RESOURCE_EXHAUSTED, CN_GRPC_PERMISSION_DENIED,
        CN_GRPC_INTERNAL,
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(https); i++) {
        assert_int_equal(cn_grpc_status_of_http(https[i].http), https[i].status);
    }

    for (uint32_t i = 0; i < CN_COUNT_OF(resets); i++) {
        assert_int_equal(cn_grpc_status_of_reset(i), resets[i]);
    }
}


static void
a_message_is_percent_decoded(void **state)
{
    static const struct { const char *text; const char *decoded; } messages[] = {
        { "", "" }, { "plain words", "plain words" }, { "100%25", "100%" },
        { "%e4%B8%96", "\xe4\xb8\x96" }, { "%2", "%2" }, { "%", "%" }, { "%g0%0g", "%g0%0g" },
        { "%%32", "%2" }, { "a%20", "a " },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(messages); i++) {
        cn_bytes_t   text = unit_copy(cn_bytes_str(messages[i].text));
        uint8_t     *out = malloc(text.len + (text.len == 0));
        size_t       len = cn_grpc_percent_decode(text, out);

        unit_check(cn_bytes_equal(cn_bytes(out, len), cn_bytes_str(messages[i].decoded)),
                   messages[i].text);
        free(out);
        unit_free(text);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_timeout_is_read_in_milliseconds),
        cmocka_unit_test(a_timeout_is_written_in_at_most_eight_digits),
        cmocka_unit_test(a_status_is_a_number_that_is_known),
        cmocka_unit_test(http_statuses_and_resets_stand_for_statuses),
        cmocka_unit_test(a_message_is_percent_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
