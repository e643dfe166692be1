/* SPDX-License-Identifier: Apache-2.0 */

/* Counters shared by processes of which any may be killed at any instruction. */

#include "stats/slab.h"

#include "base/pool.h"
#include "stats/ring.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const cn_slab_config_t  small = { .workers = 2, .cells = 64, .ring_size = 32768, .series_size = 65536 };


static cn_slab_t *
mapped(const cn_slab_config_t *config)
{
    cn_slab_t   *slab;
    const char  *error;
    int          fd;

    assert_int_equal(cn_slab_create(config, &fd), CN_OK);
    slab = cn_slab_map(fd, &error);
    assert_non_null(slab);
    assert_null(error);
    close(fd);

    return slab;
}


static void
a_new_slab_is_zero_and_as_configured(void **state)
{
    cn_slab_t  *slab = mapped(&small);

    (void) state;

    assert_memory_equal(cn_slab_config(slab), &small, sizeof(small));
    assert_int_equal(*cn_slab_generation(slab), 0);
    assert_int_equal(*cn_slab_last_id(slab), 0);
    assert_int_equal(cn_slab_worker(slab, 1)->state, CN_WORKER_GONE);
    assert_null(cn_slab_worker(slab, 2));
    assert_null(cn_slab_cell(slab, 64));
    assert_int_equal(cn_slab_cell(slab, 63)->key, 0);
    assert_non_null(cn_slab_ring(slab, 2));
    assert_null(cn_slab_ring(slab, 3));
    cn_slab_unmap(slab);
}


static void
a_configuration_out_of_range_makes_no_slab(void **state)
{
    static const cn_slab_config_t  cases[] = {
        { 0, 64, 32768, 65536 }, { 129, 64, 32768, 65536 }, { 1, 0, 32768, 65536 },
        { 1, 1u << 30, 32768, 65536 }, { 1, 64, 32769, 65536 }, { 1, 64, 4096, 65536 },
        { 1, 64, 32768, 1 },
    };
    int  fd;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        assert_int_equal(cn_slab_create(&cases[i], &fd), CN_ERR_RANGE);
    }
}


static void
what_is_no_slab_is_not_mapped(void **state)
{
    const char  *error;
    int          fd;
    int          copy;
    uint8_t      header[128];

    (void) state;

    /* sealed, but with a header that lies in each of its bytes */
    assert_int_equal(cn_slab_create(&small, &fd), CN_OK);
    assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));

    for (size_t i = 0; i < 32; i++) {
        header[i] ^= 1;
        assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
        assert_null(cn_slab_map(fd, &error));
        assert_non_null(error);
        header[i] ^= 1;
    }

    /* a right header on memory that could shrink under us */
    copy = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(pwrite(copy, header, sizeof(header), 0), sizeof(header));
    assert_null(cn_slab_map(copy, &error));
    assert_string_equal(error, "the slab's size is not sealed");
    assert_int_equal(fcntl(copy, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    assert_null(cn_slab_map(copy, &error));
    close(copy);
    close(fd);
    assert_null(cn_slab_map(-1, &error));
}


static void
a_key_keeps_its_cell_and_without_room_all_share_one(void **state)
{
    cn_slab_t  *slab = mapped(&small);
    uint32_t    cells[63];

    (void) state;

    for (uint64_t key = 1; key <= 63; key++) {
        cells[key - 1] = cn_slab_cell_acquire(slab, key << 32);
        assert_true(cells[key - 1] > 0 && cells[key - 1] < 64);
        assert_int_equal(cn_slab_cell(slab, cells[key - 1])->key, key << 32);
        assert_int_equal(cn_slab_cell(slab, cells[key - 1])->epoch, 1);
    }

    assert_int_equal(cn_slab_cell_acquire(slab, 1000), CN_CELL_OVERFLOW);
    assert_int_equal(cn_slab_cell_acquire(slab, 0), CN_CELL_OVERFLOW);

    for (uint64_t key = 1; key <= 63; key++) {
        assert_int_equal(cn_slab_cell_acquire(slab, key << 32), cells[key - 1]);
    }

    cn_slab_unmap(slab);
}


static void
a_retired_cell_is_free_when_all_have_passed_and_nothing_is_active(void **state)
{
    cn_slab_t  *slab = mapped(&small);
    uint32_t    cell = cn_slab_cell_acquire(slab, 7);
    uint32_t    kept = cn_slab_cell_acquire(slab, 8);

    (void) state;

    cn_slab_worker(slab, 0)->pid = 10;
    cn_slab_worker(slab, 0)->generation = 5;
    cn_slab_worker(slab, 1)->pid = 11;
    cn_slab_worker(slab, 1)->generation = 4;
    cn_slab_active_add(slab, 1, cell, 1);
    cn_slab_cell(slab, cell)->failures = 3;

    cn_slab_cell_retire(slab, cell, 5);
    cn_slab_cell_retire(slab, CN_CELL_OVERFLOW, 5);
    cn_slab_cell_retire(slab, 9999, 5);
    cn_slab_cells_reclaim(slab);
    assert_int_equal(cn_slab_cell(slab, cell)->key, 7);         /* worker 1 is behind */

    cn_slab_worker(slab, 1)->generation = 5;
    cn_slab_cells_reclaim(slab);
    assert_int_equal(cn_slab_cell(slab, cell)->key, 7);         /* a request still runs */

    cn_slab_active_add(slab, 1, cell, -1);
    cn_slab_cells_reclaim(slab);
    assert_int_equal(cn_slab_cell(slab, cell)->key, 0);
    assert_int_equal(cn_slab_cell(slab, cell)->failures, 0);
    assert_int_equal(cn_slab_cell(slab, kept)->key, 8);

    /*
     * handed out anew: another epoch; and a retired one that is wanted again comes back as it was
     */
    cell = cn_slab_cell_acquire(slab, 7);
    cn_slab_cell(slab, cell)->failures = 2;
    cn_slab_cell_retire(slab, cell, 6);
    assert_int_equal(cn_slab_cell_acquire(slab, 7), cell);
    cn_slab_worker_gone(slab, 0);
    cn_slab_worker_gone(slab, 1);
    cn_slab_cells_reclaim(slab);
    assert_int_equal(cn_slab_cell(slab, cell)->key, 7);
    assert_int_equal(cn_slab_cell(slab, cell)->failures, 2);

    cn_slab_unmap(slab);
}


static void
cells_go_round_for_ever(void **state)
{
    cn_slab_t  *slab = mapped(&small);
    cn_slab_t  *other;
    const char *error;
    int         fd;

    (void) state;

    cn_slab_unmap(slab);
    assert_int_equal(cn_slab_create(&small, &fd), CN_OK);
    slab = cn_slab_map(fd, &error);
    other = cn_slab_map(fd, &error);            /* a second master, during an upgrade */

    for (uint64_t key = 1; key < 5000; key++) {
        cn_slab_t  *master = key % 3 == 0 ? other : slab;
        uint32_t    cell = cn_slab_cell_acquire(master, key);

        assert_int_not_equal(cell, CN_CELL_OVERFLOW);
        assert_int_equal(cn_slab_cell(slab, cell)->key, key);
        cn_slab_cell_retire(slab, cell, 1);
        cn_slab_cells_reclaim(other);
    }

    /* a new master finds what the old one gave */
    uint32_t  cell = cn_slab_cell_acquire(slab, 4321);

    cn_slab_unmap(other);
    other = cn_slab_map(fd, &error);
    assert_int_equal(cn_slab_cell_acquire(other, 4321), cell);
    cn_slab_unmap(other);
    cn_slab_unmap(slab);
    close(fd);
}


static void
active_requests_are_summed_and_those_of_a_dead_worker_leave_with_it(void **state)
{
    cn_slab_t  *slab = mapped(&small);
    pid_t       child;
    int         ends[2];
    char        byte;

    (void) state;

    assert_int_equal(pipe(ends), 0);
    cn_slab_active_add(slab, 0, 5, 3);
    child = fork();

    if (child == 0) {
        for (int i = 0; i < 1000; i++) {
            cn_slab_active_add(slab, 1, 5, 2);
            cn_slab_active_add(slab, 1, 5, -1);
        }

        cn_slab_active_add(slab, 1, 1u << 20, 1);           /* out of range */
        (void) !write(ends[1], "x", 1);
        pause();
        _exit(1);
    }

    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(cn_slab_active(slab, 5), 1003);
    assert_int_equal(cn_slab_worker_active(slab, 0, 5), 3);
    assert_int_equal(cn_slab_worker_active(slab, 1, 5), 1000);
    assert_int_equal(cn_slab_worker_active(slab, CN_WORKERS_MAX, 5), 0);
    assert_int_equal(cn_slab_active(slab, CN_CELL_OVERFLOW), 1);
    assert_int_equal(cn_slab_active(slab, CN_CELL_NONE), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);

    cn_slab_worker(slab, 1)->pid = (uint32_t) child;
    cn_slab_worker_gone(slab, 1);
    assert_int_equal(cn_slab_active(slab, 5), 3);
    assert_int_equal(cn_slab_active(slab, CN_CELL_OVERFLOW), 0);
    assert_int_equal(cn_slab_worker(slab, 1)->pid, 0);

    cn_slab_active_add(slab, 0, 5, -4);                     /* never below none */
    assert_int_equal(cn_slab_active(slab, 5), 0);
    cn_slab_active_add(slab, 9, 5, 1);
    assert_int_equal(cn_slab_active(slab, 5), 0);

    /* slots that nobody has are not looked at */
    cn_slab_active_add(slab, 0, 5, 2);
    cn_slab_active_add(slab, 1, 5, 3);
    cn_slab_use_slots(slab, 1, 7, false);
    assert_int_equal(cn_slab_active(slab, 5), 2);
    cn_slab_use_slots(slab, 1, 1, true);
    cn_slab_use_slots(slab, 0, 1, false);
    assert_int_equal(cn_slab_active(slab, 5), 3);

    close(ends[0]);
    close(ends[1]);
    cn_slab_unmap(slab);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_new_slab_is_zero_and_as_configured),
        cmocka_unit_test(a_configuration_out_of_range_makes_no_slab),
        cmocka_unit_test(what_is_no_slab_is_not_mapped),
        cmocka_unit_test(a_key_keeps_its_cell_and_without_room_all_share_one),
        cmocka_unit_test(a_retired_cell_is_free_when_all_have_passed_and_nothing_is_active),
        cmocka_unit_test(cells_go_round_for_ever),
        cmocka_unit_test(active_requests_are_summed_and_those_of_a_dead_worker_leave_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
