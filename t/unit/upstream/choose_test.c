/* SPDX-License-Identifier: Apache-2.0 */

/* Which endpoint is chosen, by each policy, with weights and without, idle and under load. */

#include "unit.h"

#include "table/keys.h"
#include "table/snapshot.h"
#include "table/verify.h"
#include "upstream/upstream.h"

#include <unistd.h>

#define CLUSTER        7u
#define ENDPOINTS_MAX  100

typedef struct {
    cn_publisher_t    *publisher;
    cn_publication_t   publication;
    cn_tables_t       *tables;
    cn_slab_t         *slab;
    cn_upstream_t     *upstream;
    uint32_t           chosen[ENDPOINTS_MAX];
} chooser_t;


static void
put(chooser_t *chooser, cn_block_builder_t *builder, cn_bytes_t key)
{
    const cn_block_t  *block;

    assert_int_equal(cn_block_finish(builder, &block), CN_OK);
    assert_int_equal(cn_publisher_put(chooser->publisher, block, &key, 1), CN_OK);
    cn_block_builder_destroy(builder);
}


static void
put_cluster(chooser_t *chooser, cn_lb_policy_t lb)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, CLUSTER,
                                                           sizeof(cn_table_cluster_t));
    cn_table_cluster_t   made = {
        .id = CLUSTER, .lb = (uint8_t) lb, .max_connections = UINT32_MAX,
        .max_pending = UINT32_MAX, .max_requests = UINT32_MAX, .max_retries = UINT32_MAX,
        .cell = CN_CELL_NONE,
    };
    uint8_t              key[CN_KEY_MAX];

    assert_non_null(builder);
    made.name = cn_block_add_bytes(builder, CN_BYTES("c"));
    memcpy(cn_block_builder_root(builder), &made, sizeof(made));
    put(chooser, builder, cn_key_cluster(key, CLUSTER));
}


/* Weights ended by 0; one above 2^31 is of an endpoint that is not healthy. */
static void
put_endpoints(chooser_t *chooser, const uint32_t *weights)
{
    cn_block_builder_t    *builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, CLUSTER,
                                                             sizeof(cn_table_endpoints_t));
    cn_table_endpoints_t   made = { .cluster = CLUSTER };
    uint32_t               count = 0, place = 0;
    uint8_t                key[CN_KEY_MAX];

    while (weights[count] != 0) {
        count++;
    }

    assert_non_null(builder);
    made.endpoints = cn_block_add_array(builder, count, sizeof(cn_table_endpoint_t),
                                        _Alignof(cn_table_endpoint_t));

    for (uint32_t i = 0; i < 2 * count; i++) {          /* first those that are healthy */
        uint32_t             weight = weights[i % count];
        bool                 healthy = weight < 1u << 31;
        cn_table_endpoint_t  item = {
            .ip = { [10] = 0xff, [11] = 0xff, 10, 0, 0, (uint8_t) (i % count) }, .port = 80,
            .flags = healthy ? CN_ENDPOINT_HEALTHY : 0, .weight = weight & 0x7fffffff,
            .weight_before = made.total_weight, .cell = 1 + i % count, .cell_key = 1000 + i % count,
        };

        if (healthy != (i < count)) {
            continue;
        }

        if (healthy) {
            made.usable++;
            made.total_weight += item.weight;
            made.weight_unit = (uint32_t) cn_common_divisor(item.weight, made.weight_unit);
        }

        memcpy(cn_block_builder_at(builder, made.endpoints.at + place++ * (uint32_t) sizeof(item)),
               &item, sizeof(item));
    }

    memcpy(cn_block_builder_root(builder), &made, sizeof(made));
    put(chooser, builder, cn_key_endpoints(key, CLUSTER));
}


static void
chooser_open(chooser_t *chooser, cn_lb_policy_t lb, const uint32_t *weights)
{
    cn_slab_config_t   config = { .workers = 2, .cells = 256, .ring_size = 32768,
                                  .series_size = 65536 };
    const char        *what = "";
    int                fd;
    cn_status_t        status;

    memset(chooser, 0, sizeof(*chooser));
    assert_int_equal(cn_slab_create(&config, &fd), CN_OK);
    chooser->slab = cn_slab_map(fd, &what);
    assert_non_null(chooser->slab);
    close(fd);
    chooser->publisher = cn_publisher_create(0);
    chooser->tables = cn_tables_create(cn_table_verify);
    assert_true(chooser->publisher != NULL && chooser->tables != NULL);
    cn_publisher_begin(chooser->publisher);
    put_cluster(chooser, lb);
    put_endpoints(chooser, weights);
    assert_int_equal(cn_publisher_commit(chooser->publisher, &chooser->publication), CN_OK);

    {
        cn_publication_t  copy = chooser->publication;

        copy.directory = dup(copy.directory);

        for (size_t i = 0; i < copy.segment_count; i++) {
            copy.segments[i] = dup(copy.segments[i]);
        }

        assert_int_equal(cn_tables_offer(chooser->tables, &copy), CN_OK);
    }

    while ((status = cn_tables_adopt(chooser->tables, 1000, &what)) == CN_AGAIN) {
        continue;
    }

    assert_int_equal(status, CN_OK);
    chooser->upstream = cn_upstream_create(&(cn_upstream_env_t) {
        .tables = chooser->tables, .slab = chooser->slab,
    });
    assert_non_null(chooser->upstream);
}


static void
chooser_close(chooser_t *chooser)
{
    cn_upstream_destroy(chooser->upstream);
    cn_tables_destroy(chooser->tables);
    cn_publisher_destroy(chooser->publisher);
    cn_slab_unmap(chooser->slab);
}


/* So many requests one behind the other, each over before the next. */
static void
choose(chooser_t *chooser, unsigned times)
{
    memset(chooser->chosen, 0, sizeof(chooser->chosen));

    for (unsigned i = 0; i < times; i++) {
        cn_host_t  host;

        assert_int_equal(cn_upstream_choose(chooser->upstream, CLUSTER, NULL, 0, 0, &host),
                         CN_CHOICE_OK);
        assert_true(host.address.ip[15] < ENDPOINTS_MAX);
        chooser->chosen[host.address.ip[15]]++;
        cn_upstream_release(chooser->upstream, &host);
    }
}


static bool
between(uint32_t count, uint32_t low, uint32_t high)
{
    return count >= low && count <= high;
}


#define DOWN  (1u << 31)


static void
round_robin_gives_each_weight_its_turns(void **state)
{
    static const uint32_t  equal[] = { 5, 5, DOWN | 9, 5, 0 };
    static const uint32_t  three_to_one[] = { 300, 100, 0 };
    static const uint32_t  uneven[] = { 1, DOWN | 50, 7, 2, 0 };
    chooser_t              chooser;

    (void) state;
    chooser_open(&chooser, CN_LB_ROUND_ROBIN, equal);
    choose(&chooser, 30);
    assert_int_equal(chooser.chosen[0], 10);
    assert_int_equal(chooser.chosen[1], 10);
    assert_int_equal(chooser.chosen[2], 0);
    assert_int_equal(chooser.chosen[3], 10);
    chooser_close(&chooser);

    chooser_open(&chooser, CN_LB_ROUND_ROBIN, three_to_one);

    for (unsigned i = 0; i < 10; i++) {
        choose(&chooser, 4);            /* exact in every four, wherever they begin */
        assert_int_equal(chooser.chosen[0], 3);
        assert_int_equal(chooser.chosen[1], 1);
    }

    chooser_close(&chooser);

    chooser_open(&chooser, CN_LB_ROUND_ROBIN, uneven);
    choose(&chooser, 50);
    assert_int_equal(chooser.chosen[0], 5);
    assert_int_equal(chooser.chosen[1], 0);
    assert_int_equal(chooser.chosen[2], 35);
    assert_int_equal(chooser.chosen[3], 10);
    chooser_close(&chooser);
}


/* Ten standard deviations: a fault of the arithmetic is larger, chance is not. */
static void
random_follows_weights(void **state)
{
    static const uint32_t  equal[] = { 4, 4, 0 };
    static const uint32_t  weights[] = { 1, 3, DOWN | 4, 0 };
    chooser_t              chooser;

    (void) state;
    chooser_open(&chooser, CN_LB_RANDOM, equal);
    choose(&chooser, 10000);
    assert_true(between(chooser.chosen[0], 4500, 5500));
    assert_int_equal(chooser.chosen[0] + chooser.chosen[1], 10000);
    chooser_close(&chooser);

    chooser_open(&chooser, CN_LB_RANDOM, weights);
    choose(&chooser, 10000);
    assert_true(between(chooser.chosen[0], 2067, 2933));
    assert_int_equal(chooser.chosen[2], 0);
    assert_int_equal(chooser.chosen[0] + chooser.chosen[1], 10000);
    chooser_close(&chooser);
}


/* As the other worker counts it: its requests are as good as ours. */
static void
busy(chooser_t *chooser, uint32_t endpoint, int32_t requests)
{
    cn_slab_active_add(chooser->slab, 1, 1 + endpoint, requests);
}


static void
least_request_of_equals_avoids_the_busier(void **state)
{
    static const uint32_t  two[] = { 1, 1, 0 };
    static const uint32_t  with_a_heavy_one_down[] = { DOWN | 8, 1, 1, 0 };
    chooser_t              chooser;

    (void) state;
    chooser_open(&chooser, CN_LB_LEAST_REQUEST, two);
    busy(&chooser, 0, 1);
    choose(&chooser, 1000);
    assert_true(chooser.chosen[0] < 150);       /* only when both draws are it */
    chooser_close(&chooser);

    chooser_open(&chooser, CN_LB_LEAST_REQUEST, with_a_heavy_one_down);
    busy(&chooser, 1, 1);
    choose(&chooser, 1000);
    assert_int_equal(chooser.chosen[0], 0);
    assert_true(chooser.chosen[1] < 150);
    chooser_close(&chooser);
}


/* Shares are weight / (active + 1). */
static void
least_request_of_unequals_shares(void **state)
{
    static const uint32_t  weights[] = { 3, 1, DOWN | 9, 0 };
    chooser_t              chooser;

    (void) state;
    chooser_open(&chooser, CN_LB_LEAST_REQUEST, weights);
    choose(&chooser, 1000);
    assert_true(between(chooser.chosen[0], 740, 760));
    assert_int_equal(chooser.chosen[0] + chooser.chosen[1], 1000);

    busy(&chooser, 0, 2);                       /* 3 / 3 against 1 / 1 */
    choose(&chooser, 1000);
    assert_true(between(chooser.chosen[0], 490, 510));

    busy(&chooser, 0, 3);                       /* 3 / 6 against 1 / 1 */
    choose(&chooser, 1000);
    assert_true(between(chooser.chosen[0], 323, 343));

    busy(&chooser, 1, 3);                       /* 3 / 6 against 1 / 4 */
    choose(&chooser, 1000);
    assert_true(between(chooser.chosen[0], 657, 677));
    chooser_close(&chooser);
}


/* More than can be looked at each time: a sample of them gives the same shares. */
static void
least_request_of_many_unequals_shares(void **state)
{
    uint32_t   weights[ENDPOINTS_MAX + 1] = { 0 };
    uint32_t   heavy = 0, busy_ones = 0;
    chooser_t  chooser;

    (void) state;

    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        weights[i] = i % 2 == 0 ? 3 : 1;
    }

    chooser_open(&chooser, CN_LB_LEAST_REQUEST, weights);
    choose(&chooser, 20000);

    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        heavy += i % 2 == 0 ? chooser.chosen[i] : 0;
        assert_true(chooser.chosen[i] > 0);
    }

    assert_true(between(heavy, 14400, 15600));

    for (uint32_t i = 0; i < ENDPOINTS_MAX / 2; i++) {
        busy(&chooser, i, 3);
    }

    choose(&chooser, 20000);

    for (uint32_t i = 0; i < ENDPOINTS_MAX / 2; i++) {
        busy_ones += chooser.chosen[i];
    }

    assert_true(between(busy_ones, 3400, 4600));        /* a quarter against one: a fifth */
    chooser_close(&chooser);
}


static void
where_nothing_can_be_chosen_it_is_said(void **state)
{
    static const uint32_t  down[] = { DOWN | 1, DOWN | 2, 0 };
    chooser_t              chooser;
    cn_host_t              host;

    (void) state;
    chooser_open(&chooser, CN_LB_LEAST_REQUEST, down);
    assert_int_equal(cn_upstream_choose(chooser.upstream, CLUSTER, NULL, 0, 0, &host),
                     CN_CHOICE_NO_HEALTHY_HOST);
    assert_int_equal(cn_upstream_choose(chooser.upstream, CLUSTER + 1, NULL, 0, 0, &host),
                     CN_CHOICE_NO_CLUSTER);
    assert_int_equal(cn_upstream_choose(chooser.upstream, 0, NULL, 0, 0, &host),
                     CN_CHOICE_NO_CLUSTER);
    chooser_close(&chooser);
}


/* A try goes elsewhere, by weight or not. */
static void
what_was_tried_is_avoided(void **state)
{
    static const uint32_t  weights[] = { 1000, 1, 1, 0 };
    static const uint32_t  equal[] = { 1, 1, 1, 0 };
    static const cn_lb_policy_t  policies[] = { CN_LB_ROUND_ROBIN, CN_LB_LEAST_REQUEST };

    (void) state;

    for (size_t i = 0; i < 2 * CN_COUNT_OF(policies); i++) {
        chooser_t     chooser;
        cn_host_t     host;
        cn_address_t  tried = { .ip = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 0 }, .port = 80 };

        chooser_open(&chooser, policies[i / 2], i % 2 == 0 ? equal : weights);
        busy(&chooser, 0, i % 2 == 0 ? 0 : 2000);
        assert_int_equal(cn_upstream_choose(chooser.upstream, CLUSTER, &tried, 1, 2000, &host),
                         CN_CHOICE_OK);
        assert_int_not_equal(host.address.ip[15], 0);
        cn_upstream_release(chooser.upstream, &host);
        chooser_close(&chooser);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(round_robin_gives_each_weight_its_turns),
        cmocka_unit_test(random_follows_weights),
        cmocka_unit_test(least_request_of_equals_avoids_the_busier),
        cmocka_unit_test(least_request_of_unequals_shares),
        cmocka_unit_test(least_request_of_many_unequals_shares),
        cmocka_unit_test(where_nothing_can_be_chosen_it_is_said),
        cmocka_unit_test(what_was_tried_is_avoided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
