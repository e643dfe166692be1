/* SPDX-License-Identifier: Apache-2.0 */

/* Waits grow by 1.6 up to their bound, each a fifth more or less. */

#include "base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>


static void
waits_grow_to_their_bound_and_begin_anew(void **state)
{
    static const uint64_t  middle[] = { 500, 800, 1280, 2048, 3275, 5000, 5000, 5000 };
    cn_backoff_t           backoff = { 500, 5000, 500 };

    (void) state;

    for (unsigned round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(middle) / sizeof(middle[0]); i++) {
            assert_int_equal(backoff.delay_ms, middle[i]);

            uint64_t  delay_ms = cn_backoff_next(&backoff);

            assert_in_range(delay_ms, middle[i] - middle[i] / 5, middle[i] + middle[i] / 5);
        }

        cn_backoff_reset(&backoff);
    }
}


static void
a_look_does_not_make_it_longer(void **state)
{
    cn_backoff_t  backoff = { 100, 1000, 100 };
    uint64_t      least = UINT64_MAX, most = 0;

    (void) state;

    for (unsigned i = 0; i < 2000; i++) {
        uint64_t  delay_ms = cn_backoff_delay(&backoff);

        least = delay_ms < least ? delay_ms : least;
        most = delay_ms > most ? delay_ms : most;
    }

    assert_int_equal(backoff.delay_ms, 100);
    assert_int_equal(least, 80);
    assert_int_equal(most, 120);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(waits_grow_to_their_bound_and_begin_anew),
        cmocka_unit_test(a_look_does_not_make_it_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
