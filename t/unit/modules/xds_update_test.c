/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Other endpoints in a model that is made are what a whole building would have made of them; what
 * is more than that is left to a whole building.
 */

#include "push.h"

#define REVIEWS  "inbound-vip|9080|http|reviews.default.svc.cluster.local"
#define RATINGS  "inbound-vip|9080|http|ratings.default.svc.cluster.local"

typedef struct {
    cn_pool_t       *pool;
    cn_xds_state_t  *state;
    push_t          *push;
    cn_model_t      *model;
    const char      *text;              /* of the model as it was built */
    cn_array_t       positions;
} fixture_t;


static cn_model_t *
build(cn_xds_state_t *state, cn_pool_t *pool)
{
    cn_source_config_t   config = {
        .waypoint = "default/waypoint", .trust_domain = CN_BYTES("cluster.local"),
        .access_log = true, .modules = cn_module_configs,
    };
    cn_model_t          *model = NULL;

    assert_int_equal(cn_xds_build(state, &config, cn_report_create(pool), &model), CN_OK);

    return model;
}


static fixture_t
serving(void)
{
    fixture_t  fixture = { .pool = cn_pool_create(4096, NULL), .state = cn_xds_state_create(NULL) };

    fixture.push = push_of(fixture.pool, "01-plain");
    push_put(fixture.state, fixture.push);
    fixture.model = build(fixture.state, fixture.pool);
    fixture.text = cn_model_print(fixture.model, fixture.pool);
    fixture.positions = CN_ARRAY_INIT(fixture.pool, size_t);

    return fixture;
}


static void
end(fixture_t *fixture)
{
    cn_model_destroy(fixture->model);
    cn_xds_state_destroy(fixture->state);
    cn_pool_destroy(fixture->pool);
}


/* The same with other text of the same length in it. */
static void
change(fixture_t *fixture, cn_xds_type_t type, const char *name, const char *old, const char *new)
{
    resource_t  *item = push_find(fixture->push, type, name);
    cn_bytes_t   copy = push_join(fixture->pool, item->value, CN_BYTES(""));
    uint8_t     *octets = (uint8_t *) (uintptr_t) copy.ptr;
    size_t       found = 0;

    for (size_t i = 0; i + strlen(old) <= copy.len; i++) {
        if (memcmp(octets + i, old, strlen(old)) == 0) {
            memcpy(octets + i, new, strlen(new));
            found++;
        }
    }

    assert_true(found > 0);
    item->value = copy;
}


static cn_status_t
update(fixture_t *fixture)
{
    return cn_xds_update_endpoints(fixture->state, cn_report_create(fixture->pool), fixture->model,
                                   &fixture->positions);
}


/* What is in the model now is what another state, which never saw anything else, makes. */
static void
check_model(fixture_t *fixture)
{
    cn_xds_state_t  *other = cn_xds_state_create(NULL);

    push_put(other, fixture->push);
    assert_string_equal(cn_model_print(fixture->model, fixture->pool),
                        push_build(other, fixture->pool));
    cn_xds_state_destroy(other);
}


static void
other_endpoints_are_as_a_whole_building_makes_them(void **state)
{
    fixture_t  fixture = serving();

    (void) state;
    change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.13:9080", "10.244.1.99:9080");
    change(&fixture, CN_XDS_ENDPOINTS, RATINGS, "10.244.2.12:9080", "10.244.2.12:9999");
    push_put(fixture.state, fixture.push);
    assert_true(cn_xds_is_changed(fixture.state));
    assert_int_equal(update(&fixture), CN_OK);
    assert_false(cn_xds_is_changed(fixture.state));
    assert_int_equal(fixture.positions.count, 2);
    assert_string_not_equal(cn_model_print(fixture.model, fixture.pool), fixture.text);
    check_model(&fixture);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), "");

    /* and again, as they were; and of a workload that is known */
    change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.99:9080", "10.244.1.13:9080");
    change(&fixture, CN_XDS_ENDPOINTS, RATINGS, "10.244.2.12:9999", "10.244.2.12:9080");
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_OK);
    assert_string_equal(cn_model_print(fixture.model, fixture.pool), fixture.text);

    /* a whole building finds nothing else */
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.text);
    end(&fixture);
}


static void
what_did_not_change_is_not_updated(void **state)
{
    fixture_t  fixture = serving();

    (void) state;
    assert_int_equal(update(&fixture), CN_AGAIN);
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_AGAIN);
    assert_int_equal(fixture.positions.count, 0);
    end(&fixture);
}


static void
more_than_endpoints_is_for_a_whole_building(void **state)
{
    enum { CLUSTER, LISTENER, WORKLOAD, GONE, NEW, UNNAMED, REFUSED };

    (void) state;

    for (int what = CLUSTER; what <= REFUSED; what++) {
        fixture_t    fixture = serving();
        push_t      *push = fixture.push;
        resource_t  *item;

        change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.13:9080", "10.244.1.99:9080");

        switch (what) {
        case CLUSTER:
            item = push_find(push, CN_XDS_CLUSTERS, RATINGS);
            item->value = push_join(fixture.pool, item->value, CN_BYTES("\xa2\x01\x00"));
            break;
        case LISTENER:
            push_change_chain(fixture.pool, push, RATINGS, UNKNOWN_FIELD);
            break;
        case WORKLOAD:
            change(&fixture, CN_XDS_WORKLOADS, "Pod/default/ratings-v1", "ratings", "ratongs");
            break;
        case GONE:
            *push_find(push, CN_XDS_ENDPOINTS, RATINGS) = push->items[--push->count];
            break;
        case NEW:
            push_add(push, CN_XDS_ENDPOINTS, CN_BYTES_NONE, CN_BYTES("\x0a\x03new"));
            break;
        case UNNAMED:
            push_add(push, CN_XDS_ENDPOINTS, CN_BYTES_NONE, CN_BYTES("\x0a\x01\x01"));
            break;
        case REFUSED:
            push_add(push, CN_XDS_ENDPOINTS, CN_BYTES(RATINGS), CN_BYTES("\x0a\x05other"));
            break;
        }

        push_put(fixture.state, push);
        assert_int_equal(update(&fixture), CN_AGAIN);
        assert_true(cn_xds_is_changed(fixture.state));
        assert_string_equal(cn_model_print(fixture.model, fixture.pool), fixture.text);
        end(&fixture);
    }
}


static void
endpoints_that_cannot_be_used_leave_the_model_as_it_is(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *item = push_find(fixture.push, CN_XDS_ENDPOINTS, RATINGS);
    cn_bytes_t   good = item->value;

    (void) state;
    change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.13:9080", "10.244.1.99:9080");
    item->value = push_join(fixture.pool, good, UNKNOWN_FIELD);
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_AGAIN);
    assert_string_equal(cn_model_print(fixture.model, fixture.pool), fixture.text);

    /* a whole building contains it; that it is good again is for another */
    cn_model_destroy(fixture.model);
    fixture.model = build(fixture.state, fixture.pool);
    assert_non_null(strstr(push_rejected(fixture.state, fixture.pool), RATINGS));
    change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.99:9080", "10.244.1.98:9080");
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_OK);
    assert_non_null(strstr(push_rejected(fixture.state, fixture.pool), RATINGS));

    item->value = push_join(fixture.pool, good, CN_BYTES(""));
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_AGAIN);
    end(&fixture);
}


static void
endpoints_of_a_cluster_that_is_refused_are_for_a_whole_building(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *item = push_find(fixture.push, CN_XDS_CLUSTERS, REVIEWS);

    (void) state;
    item->value = push_join(fixture.pool, item->value, UNKNOWN_FIELD);
    push_put(fixture.state, fixture.push);
    cn_model_destroy(fixture.model);
    fixture.model = build(fixture.state, fixture.pool);
    change(&fixture, CN_XDS_ENDPOINTS, REVIEWS, "10.244.1.13:9080", "10.244.1.99:9080");
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_AGAIN);
    end(&fixture);
}


/* Cluster "a" has the endpoints of ratings, as ratings itself has. */
static void
endpoints_of_several_clusters_are_for_a_whole_building(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *item = push_find(fixture.push, CN_XDS_CLUSTERS, RATINGS);

    (void) state;
    push_add(fixture.push, CN_XDS_CLUSTERS, CN_BYTES_NONE,
             push_join(fixture.pool, item->value, CN_BYTES("\x0a\x01" "a")));
    push_put(fixture.state, fixture.push);
    cn_model_destroy(fixture.model);
    fixture.model = build(fixture.state, fixture.pool);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), "");
    change(&fixture, CN_XDS_ENDPOINTS, RATINGS, "10.244.2.12:9080", "10.244.2.99:9080");
    push_put(fixture.state, fixture.push);
    assert_int_equal(update(&fixture), CN_AGAIN);
    end(&fixture);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(other_endpoints_are_as_a_whole_building_makes_them),
        cmocka_unit_test(what_did_not_change_is_not_updated),
        cmocka_unit_test(more_than_endpoints_is_for_a_whole_building),
        cmocka_unit_test(endpoints_that_cannot_be_used_leave_the_model_as_it_is),
        cmocka_unit_test(endpoints_of_a_cluster_that_is_refused_are_for_a_whole_building),
        cmocka_unit_test(endpoints_of_several_clusters_are_for_a_whole_building),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
