/* SPDX-License-Identifier: Apache-2.0 */

/* Names of the reasons for which streams close. */

#include "unit.h"

#include "stream/stream.h"


static void
each_reason_has_its_own_name(void **state)
{
    (void) state;

    for (int i = 0; i < CN_CLOSE_REASON_COUNT; i++) {
        const char  *name = cn_close_reason_name((cn_close_reason_t) i);

        assert_non_null(name);
        assert_true(strlen(name) > 0);
        assert_string_not_equal(name, "unknown");

        for (int j = 0; j < i; j++) {
            assert_string_not_equal(name, cn_close_reason_name((cn_close_reason_t) j));
        }
    }

    assert_string_equal(cn_close_reason_name(CN_CLOSE_CONNECT_REFUSED), "connect refused");
    assert_string_equal(cn_close_reason_name(CN_CLOSE_RESET), "reset by peer");
    assert_string_equal(cn_close_reason_name(CN_CLOSE_REASON_COUNT), "unknown");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_reason_has_its_own_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
