/* SPDX-License-Identifier: Apache-2.0 */

/* A model compiled, published, verified and found again as a worker does it. */

#include "istio.h"

#include "authz/authz_table.h"
#include "filter/module.h"
#include "model/compile.h"
#include "route/match.h"
#include "table/keys.h"
#include "table/verify.h"

typedef struct {
    istio_t            istio;
    cn_ids_t          *ids;
    cn_publisher_t    *publisher;
    cn_tables_t       *tables;
    cn_publication_t   publication;
    _Atomic uint64_t   last_id;
    size_t             steps;
} tester_t;


static void
tester_open(tester_t *tester)
{
    memset(tester, 0, sizeof(*tester));
    istio_open(&tester->istio);
    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    tester->ids = cn_ids_create(&tester->last_id);
    tester->publisher = cn_publisher_create(0);
    tester->tables = cn_tables_create(cn_table_verify);
    assert_true(tester->ids != NULL && tester->publisher != NULL && tester->tables != NULL);
}


static void
tester_close(tester_t *tester)
{
    cn_tables_destroy(tester->tables);
    cn_publisher_destroy(tester->publisher);
    cn_ids_destroy(tester->ids);
    istio_close(&tester->istio);
}


static cn_status_t
compile(tester_t *tester)
{
    cn_compilation_t  *compilation = cn_compile_start(tester->istio.model, tester->ids, NULL,
                                                      tester->publisher,
                                                      tester->istio.report);
    cn_status_t        status;

    assert_non_null(compilation);
    tester->steps = 1;

    while ((status = cn_compile_step(compilation, 0)) == CN_AGAIN) {
        tester->steps++;
    }

    cn_compile_end(compilation);
    assert_int_equal(status, CN_OK);

    return cn_publisher_commit(tester->publisher, &tester->publication);
}


static void
adopt(tester_t *tester)
{
    cn_publication_t  copy = tester->publication;
    const char       *what = "";
    cn_status_t       status;

    copy.directory = dup(copy.directory);

    for (size_t i = 0; i < copy.segment_count; i++) {
        copy.segments[i] = dup(copy.segments[i]);
    }

    assert_int_equal(cn_tables_offer(tester->tables, &copy), CN_OK);

    while ((status = cn_tables_adopt(tester->tables, 1000, &what)) == CN_AGAIN) {
        continue;
    }

    if (status != CN_OK) {
        print_error("%s\n", what);
    }

    assert_int_equal(status, CN_OK);
}


static const cn_block_t *
by_host(const tester_t *tester, const char *host, uint16_t port)
{
    return cn_tables_service_by_host(tester->tables, cn_bytes_str(host), port, NULL);
}


static void
bookinfo_is_found_by_host_address_and_id(void **state)
{
    static const uint8_t          vip[16] = { [10] = 0xff, [11] = 0xff, 10, 96, 1, 4 };
    static const uint8_t          pod[16] = { [10] = 0xff, [11] = 0xff, 127, 0, 10, 14 };
    tester_t                      tester;
    const cn_block_t             *service, *cluster, *endpoints, *workload;
    const cn_table_chain_t       *chain;
    const cn_table_route_t       *route;
    const cn_table_destination_t *destinations;
    const cn_table_endpoints_t   *set;

    (void) state;
    tester_open(&tester);
    istio_read_path(&tester.istio, "conf/bookinfo");
    assert_int_equal(tester.istio.status, CN_OK);
    assert_int_equal(compile(&tester), CN_OK);
    assert_true(tester.steps > 10);                     /* it yields between things */
    adopt(&tester);

    service = by_host(&tester, "reviews.default.svc.cluster.local", 9080);
    assert_non_null(service);
    assert_ptr_equal(service, cn_tables_service_by_address(tester.tables, vip, 9080, NULL));
    assert_null(cn_tables_service_by_address(tester.tables, vip, 80, NULL));

    chain = cn_service_chain(service, 9080);
    assert_non_null(chain);
    assert_int_equal(chain->routes.count, 1);
    route = CN_BLOCK_ITEMS(service, chain->routes, cn_table_route_t);
    assert_int_equal(route->total_weight, 100);
    assert_int_equal(route->destinations.count, 2);
    destinations = CN_BLOCK_ITEMS(service, route->destinations, cn_table_destination_t);
    assert_int_equal(destinations[0].weight, 90);

    cluster = cn_tables_cluster(tester.tables, destinations[0].cluster, NULL);
    endpoints = cn_tables_endpoints(tester.tables, destinations[0].cluster, NULL);
    assert_true(cluster != NULL && endpoints != NULL);
    set = cn_block_root(endpoints);
    assert_int_equal(set->endpoints.count, 1);
    assert_int_equal(set->total_weight, 1);
    assert_memory_equal(CN_BLOCK_ITEMS(endpoints, set->endpoints, cn_table_endpoint_t)->ip, pod,
                        16);

    workload = cn_tables_workload(tester.tables, pod, NULL);
    assert_non_null(workload);
    assert_bytes(cn_block_bytes(workload,
                                ((const cn_table_workload_t *) cn_block_root(workload))->workload),
                                    "reviews-v1");
    tester_close(&tester);
}


static const char *
route_for(const tester_t *tester, const char *path)
{
    const cn_block_t        *service = by_host(tester, "web.default.svc.cluster.local", 80);
    const cn_table_chain_t  *chain = cn_service_chain(service, 80);
    cn_match_input_t         input = { .path = cn_bytes_str(path) };
    bool                     error = false;
    const cn_table_route_t  *route = cn_route_find(service, chain, &input, &error);
    cn_bytes_t               name;

    assert_false(error);

    if (route == NULL) {
        return "";
    }

    name = cn_block_bytes(service, route->name);

    return cn_pool_str(tester->istio.pool, name);
}


static void
the_index_keeps_the_order_of_routes(void **state)
{
    tester_t  tester;

    (void) state;
    tester_open(&tester);
    istio_read(&tester.istio, ISTIO_BASE,
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web}, spec: {hosts: [web], http: ["
        "{name: ab, match: [{uri: {prefix: /ab}}], route: [{destination: {host: web}}]},"
        "{name: abc, match: [{uri: {exact: /abc}}, {uri: {prefix: /x}}], route: [{destination: {host: web}}]},"
        "{name: fold, match: [{uri: {prefix: /FOLD}, ignoreUriCase: true}], route: [{destination: {host: web}}]},"
        "{name: a, match: [{uri: {prefix: /a}}], route: [{destination: {host: web}}]}]}}\n");
    assert_int_equal(tester.istio.report->errors, 0);
    assert_int_equal(compile(&tester), CN_OK);
    adopt(&tester);

    /* the first, not the most exact */
    assert_string_equal(route_for(&tester, "/abc"), "ab");
    assert_string_equal(route_for(&tester, "/ab"), "ab");
    assert_string_equal(route_for(&tester, "/a"), "a");
    assert_string_equal(route_for(&tester, "/x/y"), "abc");
    assert_string_equal(route_for(&tester, "/fOlD/1"), "fold");
    assert_string_equal(route_for(&tester, "/"), "");
    tester_close(&tester);
}


static void
a_policy_is_packed_with_what_it_needs(void **state)
{
    tester_t                        tester;
    const cn_block_t               *service;
    const cn_table_filter_t        *filters;
    const cn_table_authz_t         *authz;
    const cn_table_authz_policy_t  *policy;

    (void) state;
    tester_open(&tester);
    istio_read(&tester.istio, ISTIO_BASE,
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: {targetRefs: [{group: \"\","
        " kind: Service, name: web}], rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/a]}}]}]}}\n---\n"
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: q}, spec: {targetRefs: [{group: \"\","
        " kind: Service, name: web}], action: DENY, rules: [{to: [{operation: {methods: [GET], notPaths: [/x]}}]}]}}\n");
    assert_int_equal(compile(&tester), CN_OK);
    adopt(&tester);

    service = by_host(&tester, "web.default.svc.cluster.local", 80);
    filters = CN_BLOCK_ITEMS(service, cn_service_chain(service, 80)->filters, cn_table_filter_t);
    assert_string_equal(cn_modules[filters[0].module]->name, "authz");

    authz = cn_block_at(service, filters[0].config);
    assert_int_equal(authz->action, CN_AUTHZ_DENY);
    assert_int_equal(authz->connection_only, 0);
    policy = CN_BLOCK_ITEMS(service, authz->policies, cn_table_authz_policy_t);
    assert_int_equal(policy->permissions_need, CN_AUTHZ_NEEDS_REQUEST);
    assert_int_equal(policy->principals, 0);

    authz = cn_block_at(service, filters[1].config);
    assert_int_equal(authz->action, CN_AUTHZ_ALLOW);
    assert_int_equal(authz->connection_only, 1);
    policy = CN_BLOCK_ITEMS(service, authz->policies, cn_table_authz_policy_t);
    assert_int_equal(policy->principals_need, CN_AUTHZ_NEEDS_PRINCIPAL);
    assert_bytes(cn_block_bytes(service, policy->origin.resource), "AuthorizationPolicy default/p");
    assert_int_equal(policy->origin.line, ISTIO_BASE_LINES + 1);
    tester_close(&tester);
}


#define SERVICE_X(path) \
    "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{name: http, port: 80}]}}\n---\n" \
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: x}, spec: {hosts: [x], http: [" \
    "{match: [{uri: {prefix: " path "}}], route: [{destination: {host: x}}]}]}}\n"

static void
a_reload_writes_what_changed_and_keeps_ids(void **state)
{
    tester_t           tester;
    const cn_block_t  *web, *x;
    uint64_t           web_id, x_id;
    uint64_t           ids_given;

    (void) state;
    tester_open(&tester);
    istio_read(&tester.istio, ISTIO_BASE, SERVICE_X("/one"));
    assert_int_equal(compile(&tester), CN_OK);
    adopt(&tester);
    web = by_host(&tester, "web.default.svc.cluster.local", 80);
    x = by_host(&tester, "x.default.svc.cluster.local", 80);
    web_id = web->id;
    x_id = x->id;
    ids_given = tester.last_id;

    istio_read(&tester.istio, ISTIO_BASE, SERVICE_X("/one"));
    assert_int_equal(compile(&tester), CN_AGAIN);                      /* nothing changed */

    istio_read(&tester.istio, ISTIO_BASE, SERVICE_X("/two"));
    assert_int_equal(compile(&tester), CN_OK);
    adopt(&tester);
    assert_int_equal(by_host(&tester, "web.default.svc.cluster.local", 80)->id, web_id);
    assert_int_equal(by_host(&tester, "web.default.svc.cluster.local", 80)->generation, 1);
    assert_int_equal(by_host(&tester, "x.default.svc.cluster.local", 80)->id, x_id);
    assert_int_equal(by_host(&tester, "x.default.svc.cluster.local", 80)->generation, 2);
    assert_int_equal(tester.last_id, ids_given);
    tester_close(&tester);
}


static void
an_address_taken_twice_is_told_and_the_first_has_it(void **state)
{
    static const uint8_t  vip[16] = { [10] = 0xff, [11] = 0xff, 10, 96, 0, 1 };
    tester_t              tester;

    (void) state;
    tester_open(&tester);
    istio_read(&tester.istio, ISTIO_BASE, "{apiVersion: v1, kind: Service, metadata: {name: x},"
               " spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}}\n");
    assert_int_equal(tester.istio.report->errors, 0);
    assert_int_equal(compile(&tester), CN_OK);
    assert_int_equal(tester.istio.report->errors, 1);
    adopt(&tester);
    assert_ptr_equal(cn_tables_service_by_address(tester.tables, vip, 80, NULL),
                     by_host(&tester, "web.default.svc.cluster.local", 80));
    assert_non_null(by_host(&tester, "x.default.svc.cluster.local", 80));
    tester_close(&tester);
}


static void
cells_follow_endpoints_and_are_given_back(void **state)
{
    static const cn_slab_config_t  config
        = { .workers = 1, .cells = 64, .ring_size = 32768, .series_size = 65536 };
    static const char              one[] =
        "{apiVersion: v1, kind: Pod, metadata: {name: web-3, labels: {app: web}}, spec: {}, status: {podIP: 10.0.0.3}}\n";
    const char                    *error = "";
    tester_t                       tester;
    cn_slab_t                     *slab;
    uint64_t                       key;
    uint32_t                       cell;
    int                            fd;

    (void) state;
    tester_open(&tester);
    assert_int_equal(cn_slab_create(&config, &fd), CN_OK);
    slab = cn_slab_map(fd, &error);
    assert_non_null(slab);

    for (unsigned round = 0; round < 2; round++) {
        cn_compilation_t    *compilation;
        const cn_block_t    *block;

        istio_read(&tester.istio, ISTIO_BASE, round == 0 ? one : "");
        compilation = cn_compile_start(tester.istio.model, tester.ids, slab, tester.publisher,
                                       tester.istio.report);
        assert_non_null(compilation);
        assert_int_equal(cn_compile_step(compilation, 1000000), CN_OK);
        cn_compile_end(compilation);
        assert_int_equal(cn_publisher_commit(tester.publisher, &tester.publication), CN_OK);
        adopt(&tester);

        if (round == 0) {
            const cn_table_endpoints_t  *set;

            block = cn_tables_endpoints(tester.tables, 2, NULL);       /* 1 is the global block */
            assert_non_null(block);
            set = cn_block_root(block);
            assert_int_equal(set->endpoints.count, 3);
            key = CN_BLOCK_ITEMS(block, set->endpoints, cn_table_endpoint_t)[2].cell_key;
            cell = CN_BLOCK_ITEMS(block, set->endpoints, cn_table_endpoint_t)[2].cell;
            assert_true(cell != CN_CELL_OVERFLOW);
            assert_true(atomic_load(&cn_slab_cell(slab, cell)->key) == key);
            assert_int_equal(atomic_load(&cn_slab_cell(slab, cell)->retired), 0);
        }
    }

    assert_true(atomic_load(&cn_slab_cell(slab, cell)->retired) != 0);
    cn_slab_unmap(slab);
    close(fd);
    tester_close(&tester);
}


#define RANDOM_ROUTES  40

static uint32_t
draw(uint64_t *random, uint32_t bound)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;

    return (uint32_t) (*random % bound);
}


/* "/aB/b": of few letters, so that routes and paths meet. */
static void
random_path(uint64_t *random, char out[16])
{
    size_t  len = 1 + draw(random, 6);

    out[0] = '/';

    for (size_t i = 1; i < len; i++) {
        out[i] = "aAb/"[draw(random, 4)];
    }

    out[len] = '\0';
}


/* A VirtualService of all kinds of path matches, some of them with a header. */
static char *
random_routes(cn_pool_t *pool, uint64_t *random)
{
    char  *text = cn_pool_printf(pool, "{apiVersion: networking.istio.io/v1, kind: VirtualService, "
                                 "metadata: {name: web}, spec: {hosts: [web], http: [");

    for (unsigned i = 0; i < RANDOM_ROUTES; i++) {
        static const char *const  kinds[] = { "exact", "prefix", "regex" };
        char                      path[16];

        random_path(random, path);
        text = cn_pool_printf(pool, "%s{name: r%u, match: [{uri: {%s: \"%s%s\"}, ignoreUriCase: %s"
                              "%s}], route: [{destination: {host: web}}]},\n", text, i,
                              kinds[draw(random, 3)], path, draw(random, 2) ? "" : "b",
                              draw(random, 2) ? "true" : "false",
                              draw(random, 3) ? "" : ", headers: {x: {regex: \"1|2\"}}");
    }

    return cn_pool_printf(pool, "%s]}}\n", text);
}


static const cn_table_route_t *
first_of_all(const cn_block_t *service, const cn_table_chain_t *chain,
    const cn_match_input_t *input)
{
    const cn_table_route_t  *routes = CN_BLOCK_ITEMS(service, chain->routes, cn_table_route_t);

    for (uint32_t i = 0; i < chain->routes.count; i++) {
        if (cn_route_matches(service, &routes[i], input, NULL) == CN_MATCH_YES) {
            return &routes[i];
        }
    }

    return NULL;
}


/* Whatever the kinds of matches and their order, the index finds what a walk would find. */
static void
the_index_finds_what_a_walk_would_find(void **state)
{
    uint64_t  random = 88172645463325252u;

    (void) state;

    for (unsigned round = 0; round < 20; round++) {
        tester_t                 tester;
        const cn_block_t        *service;
        const cn_table_chain_t  *chain;

        tester_open(&tester);
        istio_read(&tester.istio, ISTIO_BASE, random_routes(tester.istio.pool, &random));
        assert_int_equal(tester.istio.report->errors, 0);
        assert_int_equal(compile(&tester), CN_OK);
        adopt(&tester);
        service = by_host(&tester, "web.default.svc.cluster.local", 80);
        chain = cn_service_chain(service, 80);
        assert_true(chain->routes.count > 1);

        for (unsigned i = 0; i < 300; i++) {
            char              path[16];
            cn_message_t      head;
            cn_match_input_t  input;
            bool              error = false;

            random_path(&random, path);
            cn_message_init(&head, tester.istio.pool);
            head.path = cn_bytes_str(path);

            if (draw(&random, 2)) {
                assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("x"), CN_BYTES("2")), CN_OK);
            }

            cn_match_input_init(&input, &head, NULL, 80);
            assert_ptr_equal(cn_route_find(service, chain, &input, &error),
                             first_of_all(service, chain, &input));
            assert_false(error);
        }

        tester_close(&tester);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(bookinfo_is_found_by_host_address_and_id),
        cmocka_unit_test(the_index_keeps_the_order_of_routes),
        cmocka_unit_test(the_index_finds_what_a_walk_would_find),
        cmocka_unit_test(a_policy_is_packed_with_what_it_needs),
        cmocka_unit_test(a_reload_writes_what_changed_and_keeps_ids),
        cmocka_unit_test(an_address_taken_twice_is_told_and_the_first_has_it),
        cmocka_unit_test(cells_follow_endpoints_and_are_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
