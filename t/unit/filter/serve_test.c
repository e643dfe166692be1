/* SPDX-License-Identifier: Apache-2.0 */

/*
 * serve_test - the data path in one process, from a plain connection to an upstream and back, over tables made by hand:
 * service "app" with a direct response under /direct, a 404 beside it, and a route to an upstream on loopback.
 */

#include "base/clock.h"
#include "base/hash.h"
#include "event/socket.h"
#include "filter/listener.h"
#include "http/normalize.h"
#include "table/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS  5000

typedef struct {
    cn_worker_env_t   env;
    cn_listeners_t   *listeners;
    cn_publisher_t   *publisher;
    int               slab_fd;
    int               upstream;         /* a listening socket */
    cn_address_t      upstream_address;
} rig_t;


static cn_rel_bytes_t
text(cn_block_builder_t *builder, const char *str)
{
    return cn_block_add_bytes(builder, cn_bytes_str(str));
}


/* Adds the filters that this build has; the router, which every build has, is the last. */
static cn_rel_array_t
put_filters(cn_block_builder_t *builder)
{
    static const char *const  names[] = { "headers", "access_log", "metrics", "router" };
    uint16_t                  modules[CN_COUNT_OF(names)];
    cn_rel_array_t            filters;
    cn_table_filter_t        *filter;
    uint32_t                  count = 0;

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        for (uint16_t j = 0; cn_modules[j] != NULL; j++) {
            if (strcmp(cn_modules[j]->name, names[i]) == 0) {
                modules[count++] = j;
            }
        }
    }

    filters = cn_block_add_array(builder, count, sizeof(cn_table_filter_t), 8);
    filter = cn_block_builder_at(builder, filters.at);

    for (uint32_t i = 0; i < count; i++) {
        filter[i].module = modules[i];
    }

    return filters;
}


static void
put_block(rig_t *rig, cn_block_builder_t *builder, const cn_bytes_t *keys, size_t count)
{
    const cn_block_t  *block = NULL;
    const char        *what = "";

    assert_int_equal(cn_block_finish(builder, &block), CN_OK);

    if (cn_table_verify(block, &what) != CN_OK) {
        fail_msg("a block made by hand is refused: %s", what);
    }

    assert_int_equal(cn_publisher_put(rig->publisher, block, keys, count), CN_OK);
    cn_block_builder_destroy(builder);
}


static void
put_global(rig_t *rig)
{
    cn_block_builder_t  *builder = cn_block_builder_create(CN_BLOCK_GLOBAL, 1,
                                                           sizeof(cn_table_global_t));
    cn_bytes_t           key = CN_BYTES("G");
    cn_rel_bytes_t       name_space = text(builder, "default");
    cn_rel_bytes_t       domain = text(builder, "cluster.local");
    cn_rel_bytes_t       waypoint = text(builder, "waypoint");
    cn_table_global_t   *global = cn_block_builder_root(builder);

    global->name_space = name_space;
    global->cluster_domain = domain;
    global->waypoint = waypoint;
    global->modules_hash = cn_modules_hash();
    global->access_log = 1;
    put_block(rig, builder, &key, 1);
}


/* Three routes: an exact one that answers itself, a prefix to the upstream, nothing else. */
static void
put_service(rig_t *rig)
{
    cn_block_builder_t      *builder = cn_block_builder_create(CN_BLOCK_SERVICE, 2,
                                                               sizeof(cn_table_service_t));
    cn_bytes_t               key = CN_BYTES("Happ.default.svc.cluster.local:80");
    cn_rel_bytes_t           host = text(builder, "app.default.svc.cluster.local");
    cn_rel_bytes_t           cluster = text(builder, "inbound-vip|80|http|app");
    cn_rel_bytes_t           direct_path = text(builder, "/direct");
    cn_rel_bytes_t           prefix = text(builder, "/up");
    cn_rel_bytes_t           body = text(builder, "hello");
    cn_rel_array_t           filters, routes, chains, destinations, scan;
    cn_table_route_t        *route;
    cn_table_chain_t        *chain;
    cn_table_destination_t  *destination;
    cn_table_service_t      *service;

    filters = put_filters(builder);

    destinations = cn_block_add_array(builder, 1, sizeof(cn_table_destination_t), 8);
    destination = cn_block_builder_at(builder, destinations.at);
    *destination = (cn_table_destination_t) { .cluster = 7, .weight = 1, .cluster_name = cluster };

    routes = cn_block_add_array(builder, 2, sizeof(cn_table_route_t), 8);
    route = cn_block_builder_at(builder, routes.at);
    route[0] = (cn_table_route_t) {
        .path_kind = CN_PATH_MATCH_EXACT,
        .path = direct_path,
        .action = CN_ACTION_DIRECT_RESPONSE,
        .direct_status = 200,
        .direct_body = body,
        .no_cluster_status = 503,
    };
    route[1] = (cn_table_route_t) {
        .path_kind = CN_PATH_MATCH_PREFIX,
        .path = prefix,
        .action = CN_ACTION_FORWARD,
        .destinations = destinations,
        .total_weight = 1,
        .no_cluster_status = 503,
        .retry = { .on = CN_RETRY_CONNECT_FAILURE, .tries = 2, .base_backoff_ms = 1,
                   .max_backoff_ms = 2 },
    };

    scan = cn_block_add_array(builder, 2, sizeof(uint32_t), 4);
    ((uint32_t *) cn_block_builder_at(builder, scan.at))[1] = 1;
    chains = cn_block_add_array(builder, 1, sizeof(cn_table_chain_t), 8);
    chain = cn_block_builder_at(builder, chains.at);
    *chain = (cn_table_chain_t) {
        .port = 80,
        .protocol = CN_PROTOCOL_HTTP,
        .path_level = CN_PATH_BASE,
        .name = cluster,
        .filters = filters,
        .routes = routes,
        .index = { .scan = scan },
    };

    service = cn_block_builder_root(builder);
    service->host = host;
    service->chains = chains;
    put_block(rig, builder, &key, 1);
}


static void
put_cluster(rig_t *rig, const cn_address_t *address)
{
    static const uint8_t   cluster_key[] = { 'C', 0, 0, 0, 7 };
    static const uint8_t   endpoints_key[] = { 'E', 0, 0, 0, 7 };
    cn_bytes_t             keys[] = {
        cn_bytes(cluster_key, sizeof(cluster_key)), cn_bytes(endpoints_key, sizeof(endpoints_key)),
    };
    cn_block_builder_t    *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, 3,
                                                             sizeof(cn_table_cluster_t));
    cn_rel_bytes_t         name = text(builder, "inbound-vip|80|http|app");
    cn_table_cluster_t    *cluster = cn_block_builder_root(builder);
    cn_table_endpoints_t  *root;
    cn_table_endpoint_t   *endpoint;
    cn_rel_array_t         endpoints;

    *cluster = (cn_table_cluster_t) {
        .id = 7, .lb = CN_LB_LEAST_REQUEST, .name = name, .connect_timeout_ms = 1000,
        .idle_timeout_ms = 60000, .max_connections = UINT32_MAX, .max_pending = UINT32_MAX,
        .max_requests = UINT32_MAX, .max_retries = UINT32_MAX, .cell = CN_CELL_NONE,
    };
    put_block(rig, builder, &keys[0], 1);

    builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, 4, sizeof(cn_table_endpoints_t));
    endpoints = cn_block_add_array(builder, 1, sizeof(cn_table_endpoint_t), 8);
    endpoint = cn_block_builder_at(builder, endpoints.at);
    *endpoint = (cn_table_endpoint_t) {
        .port = address->port, .flags = CN_ENDPOINT_HEALTHY, .weight = 1, .cell = 1,
    };
    memcpy(endpoint->ip, address->ip, 16);
    root = cn_block_builder_root(builder);
    *root = (cn_table_endpoints_t) {
        .cluster = 7, .usable = 1, .total_weight = 1, .weight_unit = 1, .endpoints = endpoints,
    };
    put_block(rig, builder, &keys[1], 1);
}


static void
publish(rig_t *rig)
{
    cn_publication_t   publication;
    const char        *what = "";
    cn_status_t        status;

    cn_publisher_begin(rig->publisher);
    put_global(rig);
    put_service(rig);
    put_cluster(rig, &rig->upstream_address);
    assert_int_equal(cn_publisher_commit(rig->publisher, &publication), CN_OK);

    /* the tables take descriptors, the publisher keeps its own */
    publication.directory = dup(publication.directory);

    for (size_t i = 0; i < publication.segment_count; i++) {
        publication.segments[i] = dup(publication.segments[i]);
    }

    assert_int_equal(cn_tables_offer(rig->env.tables, &publication), CN_OK);

    do {
        status = cn_tables_adopt(rig->env.tables, 1000, &what);
    } while (status == CN_AGAIN);

    if (status != CN_OK) {
        fail_msg("the snapshot is refused: %s", what);
    }
}


static int
set_up(void **state)
{
    static rig_t        rig;
    cn_slab_config_t    config = { .workers = 1, .cells = 64, .ring_size = 65536,
                                   .series_size = 1 << 20 };
    const char         *error = "";
    cn_upstream_env_t   upstream;

    memset(&rig, 0, sizeof(rig));
    cn_clock_update();
    assert_int_equal(cn_slab_create(&config, &rig.slab_fd), CN_OK);
    rig.env.slab = cn_slab_map(rig.slab_fd, &error);
    assert_non_null(rig.env.slab);
    rig.env.slot = cn_slab_worker(rig.env.slab, 0);
    rig.env.ring = cn_slab_ring(rig.env.slab, 0);
    rig.env.series = cn_series_open(rig.env.slab, 0);
    rig.env.loop = cn_loop_create();
    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    rig.env.tables = cn_tables_create(cn_table_verify);
    rig.publisher = cn_publisher_create(0);
    upstream = (cn_upstream_env_t) { rig.env.loop, rig.env.tables, rig.env.slab, 0,
                                     &rig.env.account };
    rig.env.upstream = cn_upstream_create(&upstream);
    rig.listeners = cn_listeners_create(&rig.env);
    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &rig.upstream_address), CN_OK);
    assert_int_equal(cn_socket_listen(&rig.upstream_address, false, 16, &rig.upstream), CN_OK);
    assert_int_equal(cn_socket_local(rig.upstream, &rig.upstream_address), CN_OK);
    publish(&rig);
    *state = &rig;

    return 0;
}


static int
tear_down(void **state)
{
    rig_t  *rig = *state;

    cn_listeners_destroy(rig->listeners);
    cn_upstream_destroy(rig->env.upstream);

    for (unsigned i = 0; i < 5; i++) {
        cn_loop_turn(rig->env.loop, 0);
    }

    cn_tables_destroy(rig->env.tables);
    cn_publisher_destroy(rig->publisher);
    cn_series_close(rig->env.series);
    cn_slab_unmap(rig->env.slab);
    cn_loop_destroy(rig->env.loop);
    close(rig->slab_fd);
    close(rig->upstream);

    for (size_t i = 0; i < CN_COUNT_OF(rig->env.module_states); i++) {
        cn_free(rig->env.module_states[i]);
    }

    return 0;
}


/* A client's end of a connection that the listeners have accepted. */
static int
client(rig_t *rig)
{
    int           fds[2];
    cn_address_t  peer = { .port = 1 };

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    cn_listeners_accept_plain(rig->listeners, fds[0], &peer, &peer);

    return fds[1];
}


static void
say(int fd, const char *bytes)
{
    assert_int_equal(write(fd, bytes, strlen(bytes)), (ssize_t) strlen(bytes));
}


/* Turns the loop until what fd says ends with `until`; text is what was said. */
static void
hear(rig_t *rig, int fd, const char *until, char *out, size_t size)
{
    uint64_t  deadline = cn_clock_us_now() / 1000 + WAIT_MS;
    size_t    len = 0;

    out[0] = '\0';

    while (len < strlen(until) || strcmp(out + len - strlen(until), until) != 0) {
        ssize_t  got;

        if (cn_clock_us_now() / 1000 > deadline) {
            fail_msg("waited for \"%s\", got \"%s\"", until, out);
        }

        cn_loop_turn(rig->env.loop, 1);
        got = recv(fd, out + len, size - 1 - len, MSG_DONTWAIT);

        if (got > 0) {
            len += (size_t) got;
            out[len] = '\0';
        }
    }
}


static int
accept_upstream(rig_t *rig)
{
    for (unsigned i = 0; i < 1000; i++) {
        cn_address_t  peer;
        int           fd;

        if (cn_socket_accept(rig->upstream, &fd, &peer) == CN_OK) {
            return fd;
        }

        cn_loop_turn(rig->env.loop, 1);
    }

    fail_msg("nobody connects to the upstream");

    return -1;
}


static void
a_direct_response_is_answered_by_the_waypoint(void **state)
{
    rig_t  *rig = *state;
    int     fd = client(rig);
    char    answer[2048];

    say(fd, "GET /direct HTTP/1.1\r\nhost: app\r\n\r\n");
    hear(rig, fd, "hello", answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(answer, "content-length: 5\r\n"));
    assert_non_null(strstr(answer, "server: istio-envoy\r\n"));
    close(fd);
}


static void
what_no_route_matches_is_not_found(void **state)
{
    rig_t  *rig = *state;
    int     fd = client(rig);
    char    answer[2048];

    say(fd, "GET /elsewhere HTTP/1.1\r\nhost: app.default\r\n\r\n");
    hear(rig, fd, "\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 404 Not Found\r\n"));
    say(fd, "GET /direct HTTP/1.1\r\nhost: nobody\r\n\r\n");
    hear(rig, fd, "\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 404 Not Found\r\n"));
    close(fd);
}


static void
a_request_reaches_the_upstream_and_its_answer_comes_back(void **state)
{
    rig_t  *rig = *state;
    int     fd = client(rig);
    char    seen[2048], answer[2048];

    say(fd, "POST /up/x?q=1 HTTP/1.1\r\nHost: app\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc");

    int  upstream = accept_upstream(rig);

    hear(rig, upstream, "abc", seen, sizeof(seen));
    assert_non_null(strstr(seen, "POST /up/x?q=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(seen, "x-a: b\r\n"));
    assert_non_null(strstr(seen, "x-forwarded-proto: http\r\n"));
    assert_non_null(strstr(seen, "x-request-id: "));
    say(upstream, "HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    hear(rig, fd, "0\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "2\r\nhi\r\n"));
    assert_non_null(strstr(answer, "server: istio-envoy\r\n"));

    /* the upstream connection is used again */
    say(fd, "GET /up/y HTTP/1.1\r\nHost: app\r\n\r\n");
    hear(rig, upstream, "\r\n\r\n", seen, sizeof(seen));
    assert_non_null(strstr(seen, "GET /up/y HTTP/1.1\r\n"));
    say(upstream, "HTTP/1.1 204 No Content\r\n\r\n");
    hear(rig, fd, "\r\n\r\n", answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 204 No Content\r\n"));
    close(upstream);
    close(fd);
    cn_loop_turn(rig->env.loop, 1);
    assert_int_equal(cn_slab_active(rig->env.slab, 1), 0);
}


static void
an_upstream_that_is_not_there_is_tried_thrice_and_answered_503(void **state)
{
    rig_t  *rig = *state;
    int     fd = client(rig);
    char    answer[2048];

    close(rig->upstream);
    rig->upstream = -1;
    say(fd, "GET /up HTTP/1.1\r\nHost: app\r\n\r\n");
    hear(rig, fd, "remote connection failure", answer, sizeof(answer));
    assert_non_null(strstr(answer, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_non_null(strstr(answer, "retried and the latest reset reason: "));
    close(fd);
}


static void
a_client_that_leaves_takes_its_upstream_request_along(void **state)
{
    rig_t  *rig = *state;
    int     fd = client(rig);
    char    seen[2048];

    say(fd, "POST /up HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nabc");

    int  upstream = accept_upstream(rig);

    hear(rig, upstream, "abc", seen, sizeof(seen));
    close(fd);

    for (unsigned i = 0; i < 1000 && recv(upstream, seen, sizeof(seen), MSG_DONTWAIT) != 0; i++) {
        cn_loop_turn(rig->env.loop, 1);
    }

    assert_int_equal(cn_slab_active(rig->env.slab, 1), 0);
    assert_int_equal(rig->env.slot->active, 0);
    close(upstream);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(a_direct_response_is_answered_by_the_waypoint, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_no_route_matches_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_reaches_the_upstream_and_its_answer_comes_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_upstream_that_is_not_there_is_tried_thrice_and_answered_503, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_leaves_takes_its_upstream_request_along,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
