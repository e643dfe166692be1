/* SPDX-License-Identifier: Apache-2.0 */

/* Statuses have names, and a broken invariant ends the process. */

#include "unit.h"

#include "base/status.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>


static void
each_status_has_its_own_name(void **state)
{
    (void) state;

    for (int i = CN_OK; i <= CN_ERR_TIMEOUT; i++) {
        assert_int_equal(strncmp(cn_status_name((cn_status_t) i), "CN_", 3), 0);

        for (int j = CN_OK; j < i; j++) {
            assert_string_not_equal(cn_status_name((cn_status_t) i),
                                    cn_status_name((cn_status_t) j));
        }
    }

    assert_string_equal(cn_status_name(CN_ERR_RANGE), "CN_ERR_RANGE");
    assert_string_equal(cn_status_name((cn_status_t) 4711), "CN_ERR_UNKNOWN");
}


static void
a_bug_prints_its_condition_and_aborts(void **state)
{
    struct rlimit  none = { 0, 0 };
    char           text[1024] = "";
    int            ends[2], status = 0;
    pid_t          child;

    (void) state;
    assert_int_equal(pipe(ends), 0);

    child = fork();
    assert_true(child >= 0);

    if (child == 0) {
        volatile int  two = 2;

        (void) setrlimit(RLIMIT_CORE, &none);
        (void) signal(SIGABRT, SIG_DFL);
        (void) dup2(ends[1], STDERR_FILENO);
        CN_BUG_ON(two + two == 4);
        _exit(0);
    }

    (void) close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "[alert]"));
    assert_non_null(strstr(text, "two + two == 4"));
    assert_non_null(strstr(text, "status_test.c"));
    (void) close(ends[0]);
}


static void
a_condition_that_does_not_hold_goes_on(void **state)
{
    (void) state;

    CN_BUG_ON(*state != NULL && false);
    assert_int_equal(CN_COUNT_OF(((int[]) { 1, 2, 3 })), 3);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_status_has_its_own_name),
        cmocka_unit_test(a_bug_prints_its_condition_and_aborts),
        cmocka_unit_test(a_condition_that_does_not_hold_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
