/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a control plane pushes, in whatever order and form, is one model; what of it cannot be used
 * is contained, named, and goes on as it was.
 */

#include "push.h"

#define REVIEWS  "inbound-vip|9080|http|reviews.default.svc.cluster.local"
#define RATINGS  "inbound-vip|9080|http|ratings.default.svc.cluster.local"

typedef struct {
    cn_pool_t       *pool;
    cn_xds_state_t  *state;
    push_t          *push;          /* of recording 01 */
    const char      *good;          /* its model, if it was put and built already */
} fixture_t;


static fixture_t
empty(void)
{
    fixture_t  fixture = { .pool = cn_pool_create(4096, NULL), .state = cn_xds_state_create(NULL) };

    assert_non_null(fixture.pool);
    assert_non_null(fixture.state);
    fixture.push = push_of(fixture.pool, "01-plain");

    return fixture;
}


static fixture_t
serving(void)
{
    fixture_t  fixture = empty();

    push_put(fixture.state, fixture.push);
    fixture.good = push_build(fixture.state, fixture.pool);
    assert_non_null(fixture.good);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), "");

    return fixture;
}


static void
end(fixture_t *fixture)
{
    cn_xds_state_destroy(fixture->state);
    cn_pool_destroy(fixture->pool);
}


static size_t
count_in(const char *text, const char *needle)
{
    size_t  count = 0;

    for (const char *at = strstr(text, needle); at != NULL; at = strstr(at + 1, needle)) {
        count++;
    }

    return count;
}


#define REFUSED  "\"refused\": true"


/* ---- one model ---- */

static void
every_order_of_resources_is_one_model(void **state)
{
    fixture_t  fixture = serving();

    (void) state;

    for (uint64_t seed = 1; seed <= 8; seed++) {
        cn_xds_state_t  *other = cn_xds_state_create(NULL);

        push_shuffle(fixture.push, seed);
        push_put(other, fixture.push);
        assert_string_equal(push_build(other, fixture.pool), fixture.good);
        cn_xds_state_destroy(other);
    }

    end(&fixture);
}


static void
a_delta_says_what_the_state_of_the_world_says(void **state)
{
    static const char *const  files[] = {
        "lds.delta.pb", "workload.delta.pb", "eds.delta.pb", "cds.delta.pb",
    };
    fixture_t                 fixture = serving();
    push_t                   *delta = cn_pool_alloc_zero(fixture.pool, sizeof(*delta));
    cn_xds_state_t           *other = cn_xds_state_create(NULL);

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        push_read_delta(fixture.pool, cn_pool_printf(fixture.pool, RECORDED "01-plain/%s",
                                                     files[i]), delta);
    }

    push_put(other, delta);
    assert_string_equal(push_build(other, fixture.pool), fixture.good);
    assert_string_equal(push_rejected(other, fixture.pool), "");
    cn_xds_state_destroy(other);
    end(&fixture);
}


/* ---- what changes ---- */

static void
the_same_octets_again_are_no_change(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *cluster = push_find(fixture.push, CN_XDS_CLUSTERS, REVIEWS);

    (void) state;
    assert_false(cn_xds_is_changed(fixture.state));
    push_shuffle(fixture.push, 5);
    push_put(fixture.state, fixture.push);
    assert_false(cn_xds_is_changed(fixture.state));

    cluster = push_find(fixture.push, CN_XDS_CLUSTERS, REVIEWS);
    cluster->value = push_join(fixture.pool, cluster->value, CN_BYTES("\xa2\x01\x00"));
    push_put(fixture.state, fixture.push);
    assert_true(cn_xds_is_changed(fixture.state));

    /* a field that is passed over: other octets, the same model */
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), "");
    assert_false(cn_xds_is_changed(fixture.state));
    end(&fixture);
}


static void
what_a_full_push_does_not_name_is_gone(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *cluster = push_find(fixture.push, CN_XDS_CLUSTERS, REVIEWS);
    const char  *text;

    (void) state;
    *cluster = fixture.push->items[--fixture.push->count];
    push_put(fixture.state, fixture.push);
    assert_true(cn_xds_is_changed(fixture.state));
    text = push_build(fixture.state, fixture.pool);
    assert_int_equal(count_in(text, REVIEWS), count_in(fixture.good, REVIEWS) - 1);
    end(&fixture);
}


static void
a_delta_takes_away_what_it_names_and_nothing_else(void **state)
{
    fixture_t    fixture = serving();
    const char  *text;

    (void) state;
    cn_xds_push_begin(fixture.state, CN_XDS_CLUSTERS);
    cn_xds_remove(fixture.state, CN_XDS_CLUSTERS, CN_BYTES("nobody"));
    assert_false(cn_xds_is_changed(fixture.state));
    cn_xds_remove(fixture.state, CN_XDS_CLUSTERS, CN_BYTES(REVIEWS));
    assert_true(cn_xds_is_changed(fixture.state));
    text = push_build(fixture.state, fixture.pool);
    assert_int_equal(count_in(text, REVIEWS), count_in(fixture.good, REVIEWS) - 1);
    assert_int_equal(count_in(text, "\"name\": \"" RATINGS "\""),
                     count_in(fixture.good, "\"name\": \"" RATINGS "\""));
    end(&fixture);
}


/* ---- what cannot be used ---- */

/* Every type: refused by name, and as it was; then good again. */
static void
a_refused_resource_goes_on_as_it_was(void **state)
{
    static const struct {
        cn_xds_type_t  type;
        const char    *name;
        cn_bytes_t     more;
        const char    *rejected;
    } cases[] = {
        { CN_XDS_CLUSTERS, REVIEWS, CN_BYTES_INIT("\x98\x06\x01"),
          "Cluster " REVIEWS ": cluster: field 99 of Cluster is not implemented\n" },
        { CN_XDS_CLUSTERS, REVIEWS, CN_BYTES_INIT("\x9a\x01\x00"),
          "Cluster " REVIEWS ": cluster.outlier_detection: is not implemented\n" },
        { CN_XDS_ENDPOINTS, REVIEWS, CN_BYTES_INIT("\x98\x06\x01"),
          "ClusterLoadAssignment " REVIEWS ": endpoints: field 99 of ClusterLoadAssignment is not "
          "implemented\n" },
        /* an endpoint more, without an address */
        { CN_XDS_ENDPOINTS, REVIEWS, CN_BYTES_INIT("\x12\x02\x12\x00"),
          "ClusterLoadAssignment " REVIEWS ": endpoint.address: a kind of address is not "
          "implemented\n" },
        { CN_XDS_LISTENERS, "connect_terminate", CN_BYTES_INIT("\x98\x06\x01"),
          "Listener connect_terminate: listener: field 99 of Listener is not implemented\n" },
        { CN_XDS_LISTENERS, "main_internal", CN_BYTES_INIT("\x98\x06\x01"),
          "Listener main_internal: listener: field 99 of Listener is not implemented\n" },
        { CN_XDS_LISTENERS, "main_internal", CN_BYTES_INIT("\xca\x01\x00"),
          "Listener main_internal: listener.default_filter_chain: is not implemented\n" },
        /* a chain more, whose name is a number */
        { CN_XDS_LISTENERS, "main_internal", CN_BYTES_INIT("\x1a\x02\x38\x01"),
          "Listener main_internal: filter_chain: has no name that can be read\n" },
        { CN_XDS_WORKLOADS, "Pod/default/reviews-v1", CN_BYTES_INIT("\x1a\x01\x01"),
          "workload.addresses: is no IP address\n" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        fixture_t    fixture = serving();
        resource_t  *item = push_find(fixture.push, cases[i].type, cases[i].name);
        cn_bytes_t   good = item->value;
        const char  *rejected;

        item->value = push_join(fixture.pool, good, cases[i].more);

        for (unsigned round = 0; round < 2; round++) {
            const char  *text;

            push_put(fixture.state, fixture.push);
            unit_check(cn_xds_is_changed(fixture.state) == (round == 0), cases[i].rejected);
            text = push_build(fixture.state, fixture.pool);
            rejected = push_rejected(fixture.state, fixture.pool);
            unit_check(text != NULL && strcmp(text, fixture.good) == 0, cases[i].rejected);

            if (strstr(rejected, cases[i].rejected) == NULL) {
                print_error("rejected: %s\n", rejected);
            }

            unit_check(strstr(rejected, cases[i].rejected) != NULL, cases[i].rejected);
            unit_check(count_in(rejected, "\n") == 1, cases[i].rejected);
        }

        item->value = good;
        push_put(fixture.state, fixture.push);
        assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
        assert_string_equal(push_rejected(fixture.state, fixture.pool), "");
        end(&fixture);
    }
}


/* The chain that is refused is as it was; the one beside it has what is new. */
static void
a_refused_chain_goes_on_and_its_neighbours_change(void **state)
{
    fixture_t        fixture = serving();
    resource_t      *item = push_find(fixture.push, CN_XDS_LISTENERS, "main_internal");
    cn_bytes_t       good = item->value;
    cn_xds_state_t  *other = cn_xds_state_create(NULL);
    const char      *changed, *text;

    (void) state;

    /* ratings becomes a chain of TLS, which is not implemented: refused where it is new */
    push_change_chain(fixture.pool, fixture.push, RATINGS, UNKNOWN_FIELD);
    push_put(other, fixture.push);
    changed = push_build(other, fixture.pool);
    assert_int_equal(count_in(fixture.good, REFUSED), 0);
    assert_int_equal(count_in(changed, REFUSED), 1);
    assert_string_equal(push_rejected(other, fixture.pool), "Listener main_internal: FilterChain "
                        RATINGS ": filter_chain: field 99 of FilterChain is not implemented\n");
    cn_xds_state_destroy(other);

    push_put(fixture.state, fixture.push);
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);

    /* a chain that is gone beside the refused one is gone */
    {
        Cairn__Listener      *listener = push_listener(item);
        ProtobufCBinaryData  *chain = push_chain(listener, REVIEWS);

        free(chain->data);
        *chain = listener->filter_chains[--listener->n_filter_chains];
        push_repack(fixture.pool, listener, item);
    }

    push_put(fixture.state, fixture.push);
    text = push_build(fixture.state, fixture.pool);
    assert_int_equal(count_in(text, REFUSED), 0);
    assert_null(strstr(text, "\"host\": \"reviews.default.svc.cluster.local\","));
    assert_non_null(strstr(text, "\"name\": \"" RATINGS "\""));

    /* and when it comes again, broken, nothing is known of it any more: it is closed */
    item->value = good;
    push_change_chain(fixture.pool, fixture.push, REVIEWS, UNKNOWN_FIELD);
    push_put(fixture.state, fixture.push);
    text = push_build(fixture.state, fixture.pool);
    assert_int_equal(count_in(text, REFUSED), 1);
    item->value = good;
    push_put(fixture.state, fixture.push);
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
    end(&fixture);
}


/* An HTTP and a TCP half stand and fall together. */
static void
a_port_of_two_halves_goes_on_whole(void **state)
{
    static const char *const  halves[] = {
        "inbound-vip|7777|http|multi.default.svc.cluster.local",
        "inbound-vip|7777|tcp|multi.default.svc.cluster.local",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(halves); i++) {
        fixture_t        fixture = serving();
        cn_xds_state_t  *other = cn_xds_state_create(NULL);

        push_change_chain(fixture.pool, fixture.push, halves[i], UNKNOWN_FIELD);
        push_put(fixture.state, fixture.push);
        assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
        push_put(other, fixture.push);
        assert_int_equal(count_in(push_build(other, fixture.pool), REFUSED), 1);
        cn_xds_state_destroy(other);
        end(&fixture);
    }
}


/* A policy before all chains that is not implemented. */
static void
what_stands_before_all_goes_on_or_closes_all(void **state)
{
    fixture_t        fixture = serving();
    push_t          *flags = cn_pool_alloc_zero(fixture.pool, sizeof(*flags));
    cn_xds_state_t  *other = cn_xds_state_create(NULL);
    const char      *rejected = "Listener connect_terminate: connect_terminate: filter "
                                "envoy.filters.http.rbac is not implemented\n";

    (void) state;
    assert_non_null(flags);
    push_read_full(fixture.pool, RECORDED "11-variants-flags/lds.pb", flags);
    push_find(fixture.push, CN_XDS_LISTENERS, "connect_terminate")->value =
        push_find(flags, CN_XDS_LISTENERS, "connect_terminate")->value;
    push_put(fixture.state, fixture.push);
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), rejected);

    push_put(other, fixture.push);
    assert_int_equal(count_in(push_build(other, fixture.pool), REFUSED), 16);
    assert_string_equal(push_rejected(other, fixture.pool), rejected);
    cn_xds_state_destroy(other);
    end(&fixture);
}


/* ---- the tree ---- */

/* The first service's range becomes /24; or the whole tree asks for something else. */
typedef enum { ONE_RANGE, WHOLE_TREE, ADDRESS_MOVES } damage_t;


static void
damage_tree(cn_pool_t *pool, resource_t *item, damage_t damage)
{
    Cairn__Listener   *listener = push_listener(item);
    Cairn__Matcher    *matcher = listener->filter_chain_matcher;
    Cairn__Any        *any = matcher->matcher_tree->custom_match->typed_config;
    Cairn__IPMatcher  *ranges = cairn__ipmatcher__unpack(NULL, any->value.len, any->value.data);
    Cairn__CidrRange  *first;
    size_t             len;

    assert_non_null(ranges);
    assert_true(ranges->n_range_matchers > 1);
    first = ranges->range_matchers[0]->ranges[0];

    if (damage == WHOLE_TREE) {
        push_append(&matcher->matcher_tree->input->typed_config->type_url, CN_BYTES("2"));

    } else {
        first->prefix_len->value = 24;
    }

    if (damage == ADDRESS_MOVES) {
        /* to the second service */
        Cairn__CidrRange     *second = ranges->range_matchers[1]->ranges[0];
        ProtobufCBinaryData   own = second->address_prefix;

        second->address_prefix = first->address_prefix;
        first->address_prefix = own;
    }

    len = cairn__ipmatcher__get_packed_size(ranges);
    free(any->value.data);
    any->value.data = malloc(len);
    assert_non_null(any->value.data);
    any->value.len = cairn__ipmatcher__pack(ranges, any->value.data);
    cairn__ipmatcher__free_unpacked(ranges, NULL);
    push_repack(pool, listener, item);
}


static void
addresses_that_cannot_be_read_go_on_as_they_were(void **state)
{
    (void) state;

    for (damage_t damage = ONE_RANGE; damage <= WHOLE_TREE; damage++) {
        fixture_t        fixture = serving();
        cn_xds_state_t  *other = cn_xds_state_create(NULL);
        resource_t      *item = push_find(fixture.push, CN_XDS_LISTENERS, "main_internal");
        const char      *text;

        damage_tree(fixture.pool, item, damage);

        for (unsigned round = 0; round < 2; round++) {
            push_put(fixture.state, fixture.push);
            assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
            assert_non_null(strstr(push_rejected(fixture.state, fixture.pool),
                                   damage == WHOLE_TREE
                                       ? "Listener main_internal: filter_chain_matcher: is not "
                                         "implemented\n"
                                       : "Listener main_internal: filter_chain_matcher: a range "
                                         "of addresses is not implemented: "));
        }

        push_put(other, fixture.push);
        text = push_build(other, fixture.pool);
        assert_non_null(text);
        assert_true(strcmp(text, fixture.good) != 0);
        assert_non_null(strstr(push_rejected(other, fixture.pool), "filter_chain_matcher"));
        cn_xds_state_destroy(other);
        end(&fixture);
    }
}


/* The first service's last good address is the second's now: it is not given to both. */
static void
an_address_that_moved_is_not_kept(void **state)
{
    fixture_t                  fixture = serving();
    resource_t                *item = push_find(fixture.push, CN_XDS_LISTENERS, "main_internal");
    const cn_source_config_t   config = {
        .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };
    cn_model_t                *model;
    size_t                     without = 0;

    (void) state;
    damage_tree(fixture.pool, item, ADDRESS_MOVES);
    push_put(fixture.state, fixture.push);
    assert_int_equal(cn_xds_build(fixture.state, &config, cn_report_create(fixture.pool), &model),
                     CN_OK);

    CN_ARRAY_EACH(&model->services, const cn_service_t, service) {
        without += service->addresses.count == 0;

        CN_ARRAY_EACH(&model->services, const cn_service_t, other) {
            if (other != service && service->addresses.count > 0 && other->addresses.count > 0) {
                assert_memory_not_equal(service->addresses.items, other->addresses.items, 16);
            }
        }
    }

    /* one that never had an address, headless, and the one that lost its own */
    assert_int_equal(without, 1 + (strstr(fixture.good, "\"addresses\": []") != NULL));
    cn_model_destroy(model);
    end(&fixture);
}


/* ---- what is no resource ---- */

static void
names_and_sizes_have_limits(void **state)
{
    char             longer[CN_XDS_NAME_MAX + 2];
    fixture_t        fixture = serving();
    resource_t      *item = push_find(fixture.push, CN_XDS_CLUSTERS, REVIEWS);
    cn_bytes_t       good = item->value;
    cn_xds_limits_t  limits = { .resource_max = 20000 };
    cn_xds_state_t  *small = cn_xds_state_create(&limits);
    const char      *rejected;

    (void) state;
    memset(longer, 'x', sizeof(longer));

    /* another name within than the response says */
    item->name = CN_BYTES(RATINGS "2");
    push_put(fixture.state, fixture.push);
    (void) push_build(fixture.state, fixture.pool);
    assert_string_equal(push_rejected(fixture.state, fixture.pool),
                        "Cluster " RATINGS "2: has another name within\n");

    /* what has no name is told, and what was not named stays: it may be that */
    item->name = cn_bytes(longer, sizeof(longer));
    push_put(fixture.state, fixture.push);
    (void) push_build(fixture.state, fixture.pool);
    assert_non_null(strstr(push_rejected(fixture.state, fixture.pool), "Cluster : "));
    assert_non_null(cn_xds_find(fixture.state, CN_XDS_CLUSTERS, CN_BYTES(RATINGS "2")));
    item->name = CN_BYTES("a\nb");
    push_put(fixture.state, fixture.push);
    (void) push_build(fixture.state, fixture.pool);
    assert_non_null(strstr(push_rejected(fixture.state, fixture.pool), "Cluster : "));
    item->name = CN_BYTES_NONE;
    item->value = CN_BYTES("\x08\x01");
    push_put(fixture.state, fixture.push);
    (void) push_build(fixture.state, fixture.pool);
    assert_non_null(strstr(push_rejected(fixture.state, fixture.pool), "Cluster : "));

    /* and all is well again */
    item->value = good;
    push_put(fixture.state, fixture.push);
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
    assert_string_equal(push_rejected(fixture.state, fixture.pool), "");

    /* main_internal is larger */
    push_put(small, fixture.push);
    assert_null(push_build(small, fixture.pool));
    rejected = push_rejected(small, fixture.pool);
    assert_string_equal(rejected, "Listener main_internal: is larger than resources may be\n");
    cn_xds_state_destroy(small);
    end(&fixture);
}


static void
one_name_twice_in_a_push_is_refused(void **state)
{
    fixture_t    fixture = serving();
    resource_t  *item = push_find(fixture.push, CN_XDS_LISTENERS, "main_internal");

    (void) state;
    push_add(fixture.push, CN_XDS_LISTENERS, CN_BYTES_NONE, item->value);
    push_put(fixture.state, fixture.push);
    assert_false(cn_xds_is_changed(fixture.state));         /* the same, twice */
    push_change_chain(fixture.pool, fixture.push, REVIEWS, UNKNOWN_FIELD);
    push_put(fixture.state, fixture.push);
    assert_string_equal(push_build(fixture.state, fixture.pool), fixture.good);
    assert_string_equal(push_rejected(fixture.state, fixture.pool),
                        "Listener main_internal: comes twice in one push\n");
    end(&fixture);
}


/* A control plane cannot fill the memory; what serves goes on serving. */
static void
all_together_have_a_limit(void **state)
{
    fixture_t        fixture = empty();
    cn_xds_limits_t  limits = { .total_max = 400 * 1024 };
    cn_xds_state_t  *bounded = cn_xds_state_create(&limits);
    const char      *good, *rejected;
    size_t           more = 0;

    (void) state;
    push_put(bounded, fixture.push);
    good = push_build(bounded, fixture.pool);
    assert_non_null(good);
    assert_string_equal(push_rejected(bounded, fixture.pool), "");

    for (unsigned i = 0; i < 5000; i++) {
        char        value[128];
        int         len = snprintf(value, sizeof(value), "\x0a\x0ahost-%05u", i);

        assert_int_equal(cn_xds_put(bounded, CN_XDS_CLUSTERS, CN_BYTES_NONE, CN_BYTES_NONE,
                                    cn_bytes(value, (size_t) len)), CN_OK);
        more += cn_xds_find(bounded, CN_XDS_CLUSTERS, cn_bytes(value + 2, 10)) != NULL;
        assert_true(bounded->used <= limits.total_max);
    }

    assert_true(more > 100 && more < 5000);
    assert_string_equal(push_build(bounded, fixture.pool), good);
    rejected = push_rejected(bounded, fixture.pool);
    assert_non_null(strstr(rejected, "Cluster host-00000: "));
    assert_non_null(strstr(rejected, "Cluster : "));        /* those that found no room */

    /* a full push without them makes room again */
    push_put(bounded, fixture.push);
    assert_string_equal(push_build(bounded, fixture.pool), good);
    assert_string_equal(push_rejected(bounded, fixture.pool), "");
    cn_xds_state_destroy(bounded);
    end(&fixture);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_order_of_resources_is_one_model),
        cmocka_unit_test(a_delta_says_what_the_state_of_the_world_says),
        cmocka_unit_test(the_same_octets_again_are_no_change),
        cmocka_unit_test(what_a_full_push_does_not_name_is_gone),
        cmocka_unit_test(a_delta_takes_away_what_it_names_and_nothing_else),
        cmocka_unit_test(a_refused_resource_goes_on_as_it_was),
        cmocka_unit_test(a_refused_chain_goes_on_and_its_neighbours_change),
        cmocka_unit_test(a_port_of_two_halves_goes_on_whole),
        cmocka_unit_test(what_stands_before_all_goes_on_or_closes_all),
        cmocka_unit_test(addresses_that_cannot_be_read_go_on_as_they_were),
        cmocka_unit_test(an_address_that_moved_is_not_kept),
        cmocka_unit_test(names_and_sizes_have_limits),
        cmocka_unit_test(one_name_twice_in_a_push_is_refused),
        cmocka_unit_test(all_together_have_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
