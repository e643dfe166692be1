/* SPDX-License-Identifier: Apache-2.0 */

/* Changes of a directory or a file are told once it has come to rest. */

#include "unit.h"

#include "base/clock.h"
#include "event/changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_US  10000000u

static cn_loop_t  *loop;
static char        top[64];
static unsigned    told;


static bool
ends_in_yaml(const char *name)
{
    return cn_bytes_ends_with(cn_bytes_str(name), CN_BYTES(".yaml"));
}


static void
count(void *owner)
{
    assert_ptr_equal(owner, top);
    told++;
}


/* TOP/NAME; good until the next call. */
static const char *
path_of(const char *name)
{
    static char  path[128];

    snprintf(path, sizeof(path), "%s/%s", top, name);

    return path;
}


static void
put(const char *name, const char *text)
{
    FILE  *file = fopen(path_of(name), "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}


/* Turns until it was told so often, or for so long. */
static void
turn_until(unsigned count_wanted, uint64_t longest_us)
{
    uint64_t  until = cn_clock_us_now() + longest_us;

    while (told < count_wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }
}


static int
setup(void **state)
{
    (void) state;
    told = 0;
    snprintf(top, sizeof(top), "/tmp/cairn-changes-XXXXXX");
    loop = cn_loop_create();

    return loop != NULL && mkdtemp(top) != NULL && mkdir(path_of("in"), 0755) == 0 ? 0 : -1;
}


static int
teardown(void **state)
{
    static const char *const  files[] = { "in/a.yaml", "in/b.yaml", "in/c.txt", "a.yaml" };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        unlink(path_of(files[i]));
    }

    rmdir(path_of("in"));
    rmdir(top);
    cn_loop_destroy(loop);

    return 0;
}


static void
many_changes_are_told_once(void **state)
{
    cn_changes_t  *changes = cn_changes_open(loop, path_of("in/"), ends_in_yaml, count, top);

    (void) state;

    assert_non_null(changes);
    put("in/a.yaml", "1");
    put("in/b.yaml", "2");
    unlink(path_of("in/a.yaml"));
    turn_until(1, DEADLINE_US);
    assert_int_equal(told, 1);
    turn_until(2, 400000);
    assert_int_equal(told, 1);
    cn_changes_close(changes);
    cn_loop_turn(loop, 0);
}


static void
other_names_are_not_told(void **state)
{
    cn_changes_t  *changes = cn_changes_open(loop, path_of("in"), ends_in_yaml, count, top);

    (void) state;

    assert_non_null(changes);
    put("in/c.txt", "1");
    turn_until(1, 400000);
    assert_int_equal(told, 0);
    cn_changes_close(changes);
    cn_loop_turn(loop, 0);
}


static void
a_file_alone_is_watched(void **state)
{
    cn_changes_t  *changes;

    (void) state;

    put("a.yaml", "1");
    changes = cn_changes_open(loop, path_of("a.yaml"), ends_in_yaml, count, top);
    assert_non_null(changes);
    put("a.yaml", "2");
    turn_until(1, DEADLINE_US);
    assert_int_equal(told, 1);
    cn_changes_close(changes);
    cn_loop_turn(loop, 0);
}


static void
a_directory_that_comes_later_is_found(void **state)
{
    cn_changes_t  *changes;

    (void) state;

    assert_int_equal(rmdir(path_of("in")), 0);
    changes = cn_changes_open(loop, path_of("in"), ends_in_yaml, count, top);
    assert_non_null(changes);
    assert_int_equal(mkdir(path_of("in"), 0755), 0);
    turn_until(1, DEADLINE_US);
    assert_int_equal(told, 1);
    put("in/a.yaml", "1");
    turn_until(2, DEADLINE_US);
    assert_int_equal(told, 2);
    cn_changes_close(changes);
    cn_loop_turn(loop, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(many_changes_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(other_names_are_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_alone_is_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_comes_later_is_found, setup, teardown),
    };

    cn_clock_update();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
