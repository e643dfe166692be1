/* SPDX-License-Identifier: Apache-2.0 */

/* Draws are even enough, children draw anew, identifiers have their form. */

#include "unit.h"

#include "base/random.h"

#include <sys/wait.h>
#include <unistd.h>


static void
draws_below_a_bound_are_even(void **state)
{
    static const uint64_t  bounds[] = { 1, 2, 3, 7, 10, 1000003, (1ull << 63) + 1, UINT64_MAX };

    unsigned  seen[7] = { 0 };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bounds); i++) {
        for (unsigned j = 0; j < 1000; j++) {
            assert_true(cn_random_below(bounds[i]) < bounds[i]);
        }
    }

    for (unsigned i = 0; i < 70000; i++) {
        seen[cn_random_below(7)]++;
    }

    /* 10000 each with a deviation of 93: seven of them is beyond chance */
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(seen[i], 9350, 10650);
    }
}


static void
bits_are_set_half_of_the_time(void **state)
{
    unsigned  seen[64] = { 0 };

    (void) state;

    for (unsigned i = 0; i < 10000; i++) {
        uint64_t  draw = cn_random();

        for (size_t j = 0; j < 64; j++) {
            seen[j] += (draw >> j) & 1;
        }
    }

    for (size_t j = 0; j < 64; j++) {
        assert_in_range(seen[j], 4600, 5400);
    }
}


static void
chance_is_never_always_or_by_share(void **state)
{
    unsigned  hits = 0;

    (void) state;

    for (unsigned i = 0; i < 100000; i++) {
        assert_false(cn_random_chance(0));
        assert_true(cn_random_chance(1000000));
        assert_true(cn_random_chance(UINT32_MAX));
        hits += cn_random_chance(100000);
    }

    assert_in_range(hits, 9300, 10700);
}


/* What a child draws, and one identifier of it. */
static void
draw_in_child(uint64_t *draw, char uuid[36])
{
    int    ends[2], status = -1;
    pid_t  child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);

    if (child == 0) {
        *draw = cn_random();
        cn_random_uuid(uuid);
        _exit(write(ends[1], draw, 8) == 8 && write(ends[1], uuid, 36) == 36 ? 0 : 1);
    }

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], draw, 8), 8);
    assert_int_equal(read(ends[0], uuid, 36), 36);
    (void) close(ends[0]);
    (void) close(ends[1]);
}


static void
a_child_does_not_repeat_its_parent(void **state)
{
    uint64_t  draws[3] = { cn_random(), 0, 0 };
    char      uuids[3][36];

    (void) state;

    cn_random_uuid(uuids[0]);
    draw_in_child(&draws[1], uuids[1]);
    draw_in_child(&draws[2], uuids[2]);
    draws[0] = cn_random();
    cn_random_uuid(uuids[0]);

    for (size_t i = 0; i < 3; i++) {
        size_t  j = (i + 1) % 3;

        assert_true(draws[i] != draws[j]);
        assert_memory_not_equal(uuids[i], uuids[j], 36);
    }
}


static void
secrets_fill_their_room_and_differ(void **state)
{
    uint8_t  *a = malloc(5000), *b = malloc(5000);
    unsigned  zeros = 0;

    (void) state;
    assert_non_null(a);
    assert_non_null(b);
    memset(a, 0, 5000);
    memset(b, 0, 5000);
    cn_random_secret(a, 5000);
    cn_random_secret(b, 5000);
    assert_memory_not_equal(a, b, 5000);

    for (size_t i = 0; i < 5000; i++) {
        zeros += a[i] == 0;
    }

    assert_in_range(zeros, 0, 70);
    cn_random_secret(a, 0);
    free(a);
    free(b);
}


static void
uuids_are_of_version_4_and_differ(void **state)
{
    char  before[36] = "";

    (void) state;

    for (unsigned i = 0; i < 200; i++) {
        char  *uuid = malloc(36);

        assert_non_null(uuid);
        cn_random_uuid(uuid);

        for (size_t j = 0; j < 36; j++) {
            bool  dash = j == 8 || j == 13 || j == 18 || j == 23;

            assert_true(dash ? uuid[j] == '-' : strchr("0123456789abcdef", uuid[j]) != NULL);
        }

        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
        assert_memory_not_equal(before, uuid, 36);
        memcpy(before, uuid, 36);
        free(uuid);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(draws_below_a_bound_are_even),
        cmocka_unit_test(bits_are_set_half_of_the_time),
        cmocka_unit_test(chance_is_never_always_or_by_share),
        cmocka_unit_test(a_child_does_not_repeat_its_parent),
        cmocka_unit_test(secrets_fill_their_room_and_differ),
        cmocka_unit_test(uuids_are_of_version_4_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
