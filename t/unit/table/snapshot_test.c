/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the master publishes is what workers look up: each change costs what changed, and pins
 * outlive adoption.
 */

#include "table/snapshot.h"

#include "base/clock.h"
#include "base/pool.h"

#include "offer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct {
    cn_publisher_t    *publisher;
    cn_tables_t       *tables;
    cn_publication_t   publication;
} world_t;


static int
setup(void **state)
{
    world_t  *world = calloc(1, sizeof(*world));

    cn_table_set_module_verify(sample_module_verify);
    world->publisher = cn_publisher_create(100);
    world->tables = cn_tables_create(cn_table_verify);
    *state = world;

    return 0;
}


static int
teardown(void **state)
{
    world_t  *world = *state;

    cn_tables_destroy(world->tables);
    cn_publisher_destroy(world->publisher);
    free(world);

    return 0;
}


static void
commit_and_adopt(world_t *world)
{
    const char  *what = "";
    size_t       slices;

    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_OK);
    assert_int_equal(offer_all(world->tables, &world->publication), CN_OK);
    assert_int_equal(adopt_all(world->tables, 1000, &slices, &what), CN_OK);
    assert_int_equal(cn_tables_generation(world->tables), world->publication.generation);
}


static bool
path_is(const world_t *world, uint32_t number, const char *path)
{
    return cn_bytes_equal(service_path(world->tables, number, NULL), cn_bytes_str(path));
}


static void
every_kind_is_found_by_its_key_and_by_no_other(void **state)
{
    world_t  *world = *state;
    uint8_t   key[CN_KEY_MAX];
    uint8_t   vip[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, 0, 0, 7 };
    uint8_t   pod[16] = { [0] = 0xfd, [15] = 4 };

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 7, "/a"), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_cluster(2, 2), cn_key_cluster(key, 2)), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_endpoints(2, 2), cn_key_endpoints(key, 2)), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_workload(4, 4), cn_key_workload(key, pod)), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_global(5), cn_key_global()), CN_OK);
    commit_and_adopt(world);

    assert_int_equal(world->publication.generation, 101);
    assert_int_equal(cn_tables_service_by_address(world->tables, vip, 80, NULL)->id, 1);
    assert_null(cn_tables_service_by_address(world->tables, vip, 81, NULL));
    assert_null(cn_tables_service_by_address(world->tables, pod, 80, NULL));
    assert_int_equal(cn_tables_service_by_host(world->tables, CN_BYTES("svc7.default.svc.cluster.local"), 80,
                                               NULL)->id, 1);
    assert_null(cn_tables_service_by_host(world->tables, CN_BYTES("svc8.default.svc.cluster.local"), 80, NULL));
    assert_null(cn_tables_service_by_host(world->tables, CN_BYTES_NONE, 80, NULL));
    assert_int_equal(cn_tables_cluster(world->tables, 2, NULL)->kind, CN_BLOCK_CLUSTER);
    assert_null(cn_tables_cluster(world->tables, 3, NULL));
    assert_int_equal(cn_tables_endpoints(world->tables, 2, NULL)->kind, CN_BLOCK_ENDPOINTS);
    assert_null(cn_tables_endpoints(world->tables, 258, NULL));
    assert_int_equal(cn_tables_workload(world->tables, pod, NULL)->id, 4);
    assert_null(cn_tables_workload(world->tables, vip, NULL));
    assert_int_equal(cn_tables_global(world->tables, NULL)->id, 5);
}


static void
a_block_under_a_key_that_is_not_its_own_is_not_given_out(void **state)
{
    world_t  *world = *state;
    uint8_t   key[CN_KEY_MAX];

    /* as if the hash of "evil" were that of another service's name */
    cn_publisher_begin(world->publisher);
    assert_int_equal(put_built(world->publisher, sample_service(1, 1, "/a"), cn_key_host(key, CN_BYTES("evil"), 80)), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_cluster(2, 2), cn_key_cluster(key, 9)), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_cluster(3, 3), cn_key_global()), CN_OK);
    commit_and_adopt(world);

    assert_non_null(cn_tables_find(world->tables, cn_key_host(key, CN_BYTES("evil"), 80), NULL));
    assert_null(cn_tables_service_by_host(world->tables, CN_BYTES("evil"), 80, NULL));
    assert_null(cn_tables_cluster(world->tables, 9, NULL));
    assert_null(cn_tables_global(world->tables, NULL));
}


static void
nothing_changed_is_nothing_to_send(void **state)
{
    world_t  *world = *state;

    for (int i = 0; i < 2; i++) {
        cn_publisher_begin(world->publisher);
        assert_int_equal(put_service(world->publisher, 1, 1, "/a"), CN_OK);
        assert_int_equal(put_service(world->publisher, 2, 2, "/b"), CN_OK);
        assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), i == 0 ? CN_OK : CN_AGAIN);
    }

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 2), CN_OK);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 1), CN_OK);
    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_AGAIN);

    /* the same blocks under other keys are a change, without a new segment */
    uint8_t  key[CN_KEY_MAX];

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 2), CN_OK);
    assert_int_equal(put_built(world->publisher, sample_service(1, 1, "/a"), cn_key_host(key, CN_BYTES("x"), 1)), CN_OK);
    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_OK);
    assert_int_equal(world->publication.segment_count, 1);
    assert_int_equal(world->publication.written, world->publication.directory_size);
}


static void
what_is_put_is_new_and_all_others_are_kept(void **state)
{
    world_t  *world = *state;

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep_others(world->publisher), CN_OK);
    assert_int_equal(put_service(world->publisher, 1, 1, "/a"), CN_OK);
    assert_int_equal(put_service(world->publisher, 2, 2, "/b"), CN_OK);
    assert_int_equal(put_service(world->publisher, 3, 3, "/c"), CN_OK);
    commit_and_adopt(world);

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 2, 2, "/other"), CN_OK);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 3), CN_OK);
    assert_int_equal(cn_publisher_keep_others(world->publisher), CN_OK);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, "/a"));
    assert_true(path_is(world, 2, "/other"));
    assert_true(path_is(world, 3, "/c"));

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep_others(world->publisher), CN_OK);
    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_AGAIN);

    /* its key is taken: that is no publication */
    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 4, 1, "/a"), CN_OK);
    assert_int_equal(cn_publisher_keep_others(world->publisher), CN_ERR_EXISTS);
}


static void
what_is_not_put_again_is_gone(void **state)
{
    world_t  *world = *state;

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/a"), CN_OK);
    assert_int_equal(put_service(world->publisher, 2, 2, "/b"), CN_OK);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, "/a"));
    assert_true(path_is(world, 2, "/b"));

    cn_publisher_begin(world->publisher);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 2), CN_OK);
    assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, 3), CN_ERR_NOT_FOUND);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, ""));
    assert_true(path_is(world, 2, "/b"));

    cn_publisher_begin(world->publisher);
    commit_and_adopt(world);
    assert_true(path_is(world, 2, ""));
    assert_int_equal(world->publication.segment_count, 0);
}


static void
a_key_and_an_id_stand_for_one_block_only(void **state)
{
    world_t  *world = *state;
    uint8_t   key[CN_KEY_MAX];

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/a"), CN_OK);
    assert_int_equal(put_service(world->publisher, 1, 2, "/b"), CN_ERR_EXISTS);
    assert_int_equal(put_service(world->publisher, 3, 1, "/b"), CN_ERR_EXISTS);
    assert_int_equal(put_built(world->publisher, sample_cluster(1, 1), cn_key_cluster(key, 1)), CN_OK);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, "/a"));
    assert_true(path_is(world, 2, ""));
}


static void
five_thousand_services_publish_fast_and_one_change_writes_little(void **state)
{
    enum { SERVICES = 5000 };
    world_t   *world = *state;
    uint64_t   started;
    uint8_t    key[CN_KEY_MAX];
    size_t     first;

    cn_publisher_begin(world->publisher);

    for (uint32_t i = 1; i <= SERVICES; i++) {
        assert_int_equal(put_service(world->publisher, i, i, "/a"), CN_OK);
        assert_int_equal(put_built(world->publisher, sample_cluster(i, i), cn_key_cluster(key, i)), CN_OK);
        assert_int_equal(put_built(world->publisher, sample_endpoints(i, i), cn_key_endpoints(key, i)), CN_OK);
    }

    started = cn_clock_us_now();
    assert_int_equal(cn_publisher_commit(world->publisher, &world->publication), CN_OK);
    print_message("# first commit: %llu us, %zu bytes\n", (unsigned long long) (cn_clock_us_now() - started),
                  world->publication.written);
    first = world->publication.written;
    assert_true(first > 5 * 1024 * 1024);

    /* adopted in slices: no call may take much longer than its budget */
    const char  *what = "";
    size_t       slices;

    assert_int_equal(offer_all(world->tables, &world->publication), CN_OK);
    started = cn_clock_us_now();
    assert_int_equal(adopt_all(world->tables, 500, &slices, &what), CN_OK);
    print_message("# adoption: %llu us in %zu slices\n", (unsigned long long) (cn_clock_us_now() - started), slices);
    assert_true(slices > 2);

    for (uint32_t i = 1; i <= SERVICES; i++) {
        assert_true(path_is(world, i, "/a"));
    }

    for (uint32_t change = 1; change <= 100; change++) {
        cn_publisher_begin(world->publisher);

        for (uint32_t i = 1; i <= SERVICES; i++) {
            assert_int_equal(i == change ? put_service(world->publisher, i, i, "/changed")
                             : cn_publisher_keep(world->publisher, CN_BLOCK_SERVICE, i), CN_OK);
            assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_CLUSTER, i), CN_OK);
            assert_int_equal(cn_publisher_keep(world->publisher, CN_BLOCK_ENDPOINTS, i), CN_OK);
        }

        commit_and_adopt(world);
        assert_true(world->publication.written < 1024 * 1024);
        assert_true(world->publication.segment_count <= CN_SEGMENTS_MAX);
        assert_true(path_is(world, change, "/changed"));
        assert_true(path_is(world, change + 1, "/a"));
    }

    size_t  mapped;
    size_t  pinned;

    cn_tables_memory(world->tables, &mapped, &pinned);
    assert_true(mapped < 2 * first);
    assert_int_equal(pinned, 0);
}


static void
garbage_is_compacted_and_segments_stay_few(void **state)
{
    world_t  *world = *state;
    char      path[32];

    for (uint32_t round = 0; round < 300; round++) {
        size_t  total = 0;
        size_t  live = 0;
        size_t  at = 0;

        cn_publisher_begin(world->publisher);

        for (uint32_t i = 0; i < 80; i++) {
            snprintf(path, sizeof(path), "/%u", i == round % 80 || round == 0 ? round : 0);
            assert_int_equal(put_service(world->publisher, i + 1, i, path), CN_OK);
        }

        commit_and_adopt(world);
        snprintf(path, sizeof(path), "/%u", round);
        assert_true(path_is(world, round % 80, path));
        assert_true(world->publication.segment_count <= CN_SEGMENTS_MAX);

        for (size_t i = 0; i < world->publication.segment_count; i++) {
            total += world->publication.segment_sizes[i];
        }

        for (const cn_block_t *block; (block = cn_tables_next(world->tables, &at)) != NULL; ) {
            live += block->size;
        }

        live /= 2;                              /* each has two keys */
        assert_int_equal(at, 160);
        assert_true(total < 3 * live);
    }
}


static void
a_pinned_block_stays_readable_until_it_is_let_go(void **state)
{
    world_t       *world = *state;
    cn_segment_t  *segment = NULL;
    cn_bytes_t     path;
    size_t         mapped;
    size_t         pinned;

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/old"), CN_OK);
    commit_and_adopt(world);
    path = service_path(world->tables, 1, &segment);
    cn_segment_pin(segment);
    cn_segment_pin(segment);

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/new"), CN_OK);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, "/new"));
    assert_true(cn_bytes_equal(path, CN_BYTES("/old")));

    cn_tables_memory(world->tables, &mapped, &pinned);
    assert_true(pinned > 0 && pinned < mapped);
    cn_segment_unpin(segment);
    assert_true(cn_bytes_equal(path, CN_BYTES("/old")));
    cn_segment_unpin(segment);
    cn_tables_memory(world->tables, &mapped, &pinned);
    assert_int_equal(pinned, 0);

    /* and beyond the tables' own end */
    path = service_path(world->tables, 1, &segment);
    cn_segment_pin(segment);
    cn_tables_destroy(world->tables);
    assert_true(cn_bytes_equal(path, CN_BYTES("/new")));
    cn_segment_unpin(segment);
    world->tables = cn_tables_create(cn_table_verify);
}


static void
a_new_master_publishes_over_the_old_ones_numbers(void **state)
{
    world_t  *world = *state;

    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/first"), CN_OK);
    commit_and_adopt(world);

    cn_publisher_destroy(world->publisher);
    world->publisher = cn_publisher_create(cn_tables_generation(world->tables));
    cn_publisher_begin(world->publisher);
    assert_int_equal(put_service(world->publisher, 1, 1, "/second"), CN_OK);
    commit_and_adopt(world);
    assert_true(path_is(world, 1, "/second"));
    assert_int_equal(world->publication.generation, 102);
}


int
main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        CASE(every_kind_is_found_by_its_key_and_by_no_other),
        CASE(a_block_under_a_key_that_is_not_its_own_is_not_given_out),
        CASE(nothing_changed_is_nothing_to_send),
        CASE(what_is_put_is_new_and_all_others_are_kept),
        CASE(what_is_not_put_again_is_gone),
        CASE(a_key_and_an_id_stand_for_one_block_only),
        CASE(five_thousand_services_publish_fast_and_one_change_writes_little),
        CASE(garbage_is_compacted_and_segments_stay_few),
        CASE(a_pinned_block_stays_readable_until_it_is_let_go),
        CASE(a_new_master_publishes_over_the_old_ones_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
