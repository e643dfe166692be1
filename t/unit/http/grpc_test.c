/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_test - timeouts as gRPC writes them. */

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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_timeout_is_read_in_milliseconds),
        cmocka_unit_test(a_timeout_is_written_in_at_most_eight_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
