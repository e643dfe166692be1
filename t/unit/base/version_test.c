/* SPDX-License-Identifier: Apache-2.0 */

/* The version is of the form that release tools and -v promise. */

#include "base/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>


static void
version_is_three_numbers(void **state)
{
    unsigned  major;
    unsigned  minor;
    unsigned  patch;
    int       end = 0;

    (void) state;

    assert_int_equal(sscanf(CN_VERSION, "%u.%u.%u%n", &major, &minor, &patch, &end), 3);
    assert_int_equal(end, sizeof(CN_VERSION) - 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(version_is_three_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
