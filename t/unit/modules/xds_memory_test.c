/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each allocation of a push and its building fails once: nothing that restricts is lost, and when
 * memory is there again, all is as if it had never failed.
 */

#define CN_FAIL_ALLOC

/* own copies, with the fault injection in them; the archive's stay out of the link */
#include "base/block.c"
#include "base/pool.c"

#include "push.h"

#define REVIEWS  "inbound-vip|9080|http|reviews.default.svc.cluster.local"


static const cn_source_config_t  config = {
    .waypoint = "default/waypoint", .trust_domain = CN_BYTES_INIT("cluster.local"),
    .access_log = true, .modules = cn_module_configs,
};


/* As push_put(), which may fail; what does is put again later, as the stream begins anew. */
static void
try_put(cn_xds_state_t *state, const push_t *push)
{
    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        cn_xds_push_begin(state, (cn_xds_type_t) i);
    }

    for (size_t i = 0; i < push->count; i++) {
        if (cn_xds_put(state, push->items[i].type, push->items[i].name, CN_BYTES_NONE,
                       push->items[i].value) != CN_OK)
        {
            return;
        }
    }
}


static const json_t *
item_of(const json_t *list, const char *key, const json_t *like)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t  *item = json_array_get(list, i);

        if (json_equal(json_object_get(item, key), json_object_get(like, key))) {
            return item;
        }
    }

    return NULL;
}


/* Every chain is the one that it was, or closed; none is what it never was. */
static void
check_chains(const char *text, const char *good, const char *name)
{
    json_t        *now = json_loads(text, 0, NULL);
    json_t        *before = json_loads(good, 0, NULL);
    const json_t  *services = json_object_get(now, "services");

    for (size_t i = 0; i < json_array_size(services); i++) {
        const json_t  *service = json_array_get(services, i);
        const json_t  *chains = json_object_get(service, "chains");
        const json_t  *old = item_of(json_object_get(before, "services"), "host", service);

        unit_check(old != NULL, name);

        for (size_t j = 0; j < json_array_size(chains); j++) {
            const json_t  *chain = json_array_get(chains, j);
            const json_t  *as_it_was = item_of(json_object_get(old, "chains"), "port", chain);

            unit_check(json_is_true(json_object_get(chain, "refused"))
                       || json_equal(chain, as_it_was), name);
        }
    }

    json_decref(now);
    json_decref(before);
}


/* One allocation of a put and a building fails; false: there were fewer. */
static bool
fail_one(cn_xds_state_t *state, const push_t *push, cn_pool_t *pool, size_t at, const char *good)
{
    cn_report_t  *report = cn_report_create(pool);
    cn_model_t   *model = NULL;
    cn_status_t   status;
    bool          failed;

    cn_alloc_fail_at(at);
    try_put(state, push);
    status = cn_xds_build(state, &config, report, &model);
    failed = fail_at == 0;
    cn_alloc_fail_at(0);

    if (status == CN_OK) {
        check_chains(cn_model_print(model, pool), good, cn_pool_printf(pool, "allocation %zu", at));
        cn_model_destroy(model);

    } else {
        assert_true(status == CN_ERR_MEMORY || status == CN_ERR_NOT_FOUND);
    }

    return failed;
}


static void
fail_each(const char *scenario, bool serving, size_t least)
{
    size_t  at = 0;
    bool    failed = true;

    while (failed) {
        cn_pool_t       *pool = cn_pool_create(4096, NULL);
        cn_xds_state_t  *fresh = cn_xds_state_create(NULL);
        cn_xds_state_t  *state = cn_xds_state_create(NULL);
        push_t          *push = push_of(pool, scenario);
        resource_t      *item = push_find(push, CN_XDS_LISTENERS, "main_internal");
        cn_bytes_t       whole = item->value;
        const char      *good;

        push_put(state, push);
        good = push_build(state, pool);
        assert_non_null(good);
        push_change_chain(pool, push, REVIEWS, UNKNOWN_FIELD);
        failed = fail_one(serving ? state : fresh, push, pool, ++at, good);
        item->value = whole;
        push_put(serving ? state : fresh, push);
        assert_string_equal(push_build(serving ? state : fresh, pool), good);
        assert_string_equal(push_rejected(serving ? state : fresh, pool), "");
        cn_xds_state_destroy(state);
        cn_xds_state_destroy(fresh);
        cn_pool_destroy(pool);
    }

    assert_true(at > least);
}


static void
a_failed_allocation_opens_nothing_that_serves(void **state)
{
    (void) state;
    fail_each("04a-authz-viewer", true, 50);
}


static void
a_failed_allocation_opens_nothing_that_is_new(void **state)
{
    (void) state;
    fail_each("04a-authz-viewer", false, 150);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_failed_allocation_opens_nothing_that_serves),
        cmocka_unit_test(a_failed_allocation_opens_nothing_that_is_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
