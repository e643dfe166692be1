/* SPDX-License-Identifier: Apache-2.0 */

/* What the model says of resources, and what stays in force when one of them is broken. */

#include "istio.h"

#define VS(name, http) \
    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: " name "}, spec: {hosts: [web], http: " http "}}\n---\n"
#define DR \
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: {host: web," \
    " trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {version: v1}}," \
    " {name: v2, labels: {version: v2}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]}}\n---\n"
#define ROUTE(name, rules) \
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: " name "}, spec:" \
    " {parentRefs: [{group: \"\", kind: Service, name: web, port: 80}], rules: " rules "}}\n---\n"
#define POLICY(name, spec) \
    "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: " name "}, spec: {" spec "}}\n---\n"
#define TO_SERVICE "targetRefs: [{group: \"\", kind: Service, name: web}]"
#define TO_GATEWAY "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]"
#define BACKEND    "backendRefs: [{name: web, port: 80}]"


static json_t *
routes(istio_t *istio)
{
    return json_object_get(istio_chain(istio, "web"), "routes");
}


/* The names of a list's items, joined by blanks. */
static const char *
names(istio_t *istio, json_t *list)
{
    const char  *all = "";
    size_t       i;
    json_t      *item;

    json_array_foreach(list, i, item) {
        all = cn_pool_printf(istio->pool, "%s%s%s", all, i == 0 ? "" : " ",
                             json_string_value(json_object_get(item, "name")));
        assert_non_null(all);
    }

    return all;
}


static void
a_service_without_rules_has_istiods_default_route(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, "");
    assert_int_equal(istio.report->errors + istio.report->warnings, 0);
    assert_string_equal(istio_text(&istio, istio_chain(&istio, "web")),
        "{\"filters\":[{\"name\":\"envoy.filters.http.fault\"},{\"name\":\"cairn.headers\"},{\"name\":\"istio.stats\"},"
        "{\"name\":\"envoy.filters.http.router\"}],\"name\":\"inbound-vip|80|http|web.default.svc.cluster.local\","
        "\"path_level\":\"base\",\"port\":80,\"protocol\":\"http\",\"routes\":[{\"decorator\":\"web.default.svc.cluster.local:80/*\","
        "\"destinations\":[{\"cluster\":\"inbound-vip|80|http|web.default.svc.cluster.local\",\"weight\":1}],\"name\":\"default\","
        "\"no_cluster_status\":503,\"path\":{\"prefix\":\"/\"},\"retry\":{\"base_backoff_ms\":25,\"host_attempts\":5,"
        "\"max_backoff_ms\":250,\"on\":[\"connect-failure\",\"refused-stream\",\"unavailable\",\"cancelled\","
        "\"retriable-status-codes\"],\"tries\":2}}]}");
    istio_close(&istio);
}


static void
endpoints_tell_health_and_tunnel(void **state)
{
    istio_t  istio;
    json_t  *cluster;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, "");
    cluster = json_array_get(json_object_get(istio.json, "clusters"), 0);
    assert_string_equal(istio_text(&istio, json_object_get(cluster, "endpoints")),
        "[{\"address\":\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":8080,"
        "\"principal\":\"spiffe://cluster.local/ns/default/sa/web\",\"uid\":\"Kubernetes//Pod/default/web-1\",\"weight\":1},"
        "{\"address\":\"10.0.0.2\",\"healthy\":false,\"port\":8080,"
        "\"principal\":\"spiffe://cluster.local/ns/default/sa/default\",\"uid\":\"Kubernetes//Pod/default/web-2\",\"weight\":1}]");
    istio_close(&istio);
}


static void
an_endpoint_slice_wins_over_the_selector(void **state)
{
    istio_t  istio;
    json_t  *cluster;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE,
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, labels: {kubernetes.io/service-name: web}},"
        " addressType: IPv4, ports: [{name: http, port: 9999}], endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}},"
        " {addresses: [10.7.7.7], conditions: {ready: false}}]}\n");
    cluster = json_array_get(json_object_get(istio.json, "clusters"), 0);
    assert_string_equal(istio_text(&istio, json_object_get(cluster, "endpoints")),
        "[{\"address\":\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":9999,"
        "\"principal\":\"spiffe://cluster.local/ns/default/sa/web\",\"uid\":\"Kubernetes//Pod/default/web-1\",\"weight\":1},"
        "{\"address\":\"10.7.7.7\",\"healthy\":false,\"port\":9999,\"weight\":1}]");
    istio_close(&istio);
}


static void
protocols_come_from_names_application_protocols_and_ports(void **state)
{
    static const struct { const char *port; const char *protocol; bool http2; } cases[] = {
        { "{name: http, port: 1000}", "http", false },
        { "{name: http-web, port: 1000}", "http", false },
        { "{name: HTTP, port: 1000}", "http", false },
        { "{name: http2, port: 1000}", "http", true },
        { "{name: grpc-echo, port: 1000}", "http", true },
        { "{name: grpc-web-x, port: 1000}", "http", true },
        { "{name: tcp, port: 1000}", "tcp", false },
        { "{name: https, port: 443}", "tcp", false },
        { "{name: httpx, port: 1000}", "auto", false },
        { "{port: 1000}", "auto", false },
        { "{port: 3306}", "tcp", false },
        { "{name: http, port: 3306}", "http", false },
        { "{name: tcp, appProtocol: kubernetes.io/h2c, port: 1000}", "http", true },
        { "{name: http, appProtocol: mysql, port: 1000}", "tcp", false },
        { "{name: http, appProtocol: something, port: 1000}", "auto", false },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        istio_t      istio;
        const char  *yaml;
        json_t      *chain;

        istio_open(&istio);
        yaml = cn_pool_printf(istio.pool,
                              "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [%s]}}\n",
                              cases[i].port);
        istio_read(&istio, ISTIO_BASE, yaml);
        chain = istio_chain(&istio, "x");
        unit_check(strcmp(json_string_value(json_object_get(chain, "protocol")),
                          cases[i].protocol) == 0, cases[i].port);
        unit_check(json_is_true(json_object_get(chain, "http2_upstream")) == cases[i].http2,
                   cases[i].port);
        istio_close(&istio);
    }
}


static void
labels_decide_whose_services_are_whose(void **state)
{
    static const struct { const char *name; const char *yaml; bool ours; } cases[] = {
        { "the namespace's label", "metadata: {name: x}", true },
        { "none", "metadata: {name: x, labels: {istio.io/use-waypoint: none}}", false },
        { "another", "metadata: {name: x, labels: {istio.io/use-waypoint: other}}", false },
        { "of another namespace", "metadata: {name: x, namespace: far, labels: {istio.io/use-waypoint: waypoint,"
          " istio.io/use-waypoint-namespace: default}}", true },
        { "of another namespace's own", "metadata: {name: x, namespace: far, labels: {istio.io/use-waypoint: waypoint}}", false },
        { "a namespace without a label", "metadata: {name: x, namespace: far}", false },
        { "a waypoint's own", "metadata: {name: x, labels: {gateway.istio.io/managed: istio.io-mesh-controller}}", false },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        istio_t      istio;
        const char  *yaml;

        istio_open(&istio);
        yaml = cn_pool_printf(istio.pool,
                              "{apiVersion: v1, kind: Service, %s, spec: {ports: [{name: http, port: 80}]}}\n",
                              cases[i].yaml);
        istio_read(&istio, ISTIO_BASE, yaml);
        unit_check((istio_chain(&istio, "x") != NULL) == cases[i].ours, cases[i].name);
        istio_close(&istio);
    }
}


static void
a_split_over_subsets_has_their_clusters_and_balancers(void **state)
{
    istio_t  istio;
    json_t  *clusters;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, DR VS("web",
                                         "[{name: split, timeout: 2s, route: [{destination: {host: web, subset: v1},"
        " weight: 90}, {destination: {host: web, subset: v2}, weight: 10}]}]"));
    assert_int_equal(istio.report->errors, 0);
    assert_string_equal(istio_text(&istio,
                                   json_object_get(json_array_get(routes(&istio), 0),
                                                   "destinations")),
        "[{\"cluster\":\"inbound-vip|80|http/v1|web.default.svc.cluster.local\",\"weight\":90},"
        "{\"cluster\":\"inbound-vip|80|http/v2|web.default.svc.cluster.local\",\"weight\":10}]");
    assert_string_equal(json_string_value(json_object_get(json_array_get(routes(&istio), 0),
                                                          "decorator")), "web:80/*");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(routes(&istio), 0),
                                                        "max_grpc_timeout_ms")), 2000);

    clusters = json_object_get(istio.json, "clusters");
    assert_string_equal(json_string_value(json_object_get(istio_find(clusters, "name",
        "inbound-vip|80|http/v1|web.default.svc.cluster.local"), "lb")), "random");
    assert_string_equal(json_string_value(json_object_get(istio_find(clusters, "name",
        "inbound-vip|80|http/v2|web.default.svc.cluster.local"), "lb")), "round_robin");
    istio_close(&istio);
}


static void
a_match_keeps_every_condition(void **state)
{
    istio_t  istio;
    json_t  *route;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, VS("web",
                                      "[{name: r, match: [{name: m, uri: {prefix: /API}, ignoreUriCase: true, method: {exact: GET},"
        " headers: {X-B: {prefix: b}, x-a: {}}, withoutHeaders: {x-c: {exact: c}}, queryParams: {q: {exact: \"1\"}}}],"
        " route: [{destination: {host: web}}]}, {route: [{destination: {host: web}}]}, {name: never, route: [{destination: {host: web}}]}]"));
    assert_int_equal(istio.report->errors, 0);
    /* nothing comes behind a route that matches all */
    assert_string_equal(names(&istio, routes(&istio)), "r.m ");
    route = json_array_get(routes(&istio), 0);
    assert_string_equal(istio_text(&istio, json_object_get(route, "path")),
                        "{\"ignore_case\":true,\"prefix\":\"/api\"}");
    assert_string_equal(istio_text(&istio, json_object_get(route, "headers")),
        "[{\"name\":\"x-a\",\"present\":true},{\"name\":\"x-b\",\"value\":{\"prefix\":\"b\"}},"
        "{\"invert\":true,\"missing_as_empty\":true,\"name\":\"x-c\",\"value\":{\"exact\":\"c\"}},"
        "{\"name\":\":method\",\"value\":{\"exact\":\"GET\"}}]");
    assert_string_equal(istio_text(&istio, json_object_get(route, "query")),
                        "[{\"name\":\"q\",\"value\":{\"exact\":\"1\"}}]");
    istio_close(&istio);
}


static void
header_operations_stand_in_envoys_order(void **state)
{
    istio_t  istio;
    json_t  *route;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, VS("web",
                                      "[{headers: {request: {set: {x-b: \"1\", X-A: \"100%%\"}, add: {x-c: \"2\"}, remove: [x-d]},"
        " response: {remove: [x-e]}}, route: [{destination: {host: web}, headers: {request: {set: {x-f: \"3\"}}}}]}]"));
    route = json_array_get(routes(&istio), 0);
    assert_string_equal(istio_text(&istio, json_object_get(route, "header_ops")),
        "[{\"on\":\"request\",\"remove\":\"x-d\"},{\"on\":\"request\",\"set\":\"x-a\",\"value\":\"100%\"},"
        "{\"on\":\"request\",\"set\":\"x-b\",\"value\":\"1\"},{\"add\":\"x-c\",\"on\":\"request\",\"value\":\"2\"},"
        "{\"on\":\"request\",\"set\":\"x-f\",\"value\":\"3\"},{\"on\":\"response\",\"remove\":\"x-e\"}]");
    istio_close(&istio);
}


static void
a_fault_is_of_its_route(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, VS("web",
                                      "[{fault: {delay: {fixedDelay: 5s, percentage: {value: 12.5}}, abort: {httpStatus: 503}},"
        " route: [{destination: {host: web}}]}]"));
    assert_string_equal(istio_text(&istio,
                                   json_object_get(json_array_get(routes(&istio), 0), "filters")),
        "[{\"config\":{\"abort_ppm\":1000000,\"abort_status\":503,\"delay_ms\":5000,\"delay_ppm\":125000},"
        "\"name\":\"envoy.filters.http.fault\"}]");
    istio_close(&istio);
}


static void
matches_of_http_routes_are_ordered_by_gateway_api(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE,
        ROUTE("b", "[{name: all, " BACKEND "}, {name: short, matches: [{path: {value: /a}}], " BACKEND "},"
              " {name: method, matches: [{path: {value: /abc}, method: GET}], " BACKEND "},"
              " {name: long, matches: [{path: {value: /abc/}}], " BACKEND "}]")
        ROUTE("a", "[{name: headers, matches: [{path: {value: /abc}, headers: [{name: x, value: z}]}], " BACKEND "},"
              " {name: exact, matches: [{path: {type: Exact, value: /a}}], " BACKEND "},"
              " {name: nobody, matches: [{path: {value: /abcdef}}]}]"));
    assert_int_equal(istio.report->errors, 0);
    assert_string_equal(names(&istio, routes(&istio)),
                        "exact nobody method headers long short all");
    assert_string_equal(istio_text(&istio, json_array_get(routes(&istio), 1)),
        "{\"decorator\":\"default~80~web.default.svc.cluster.local:80/*\",\"direct_status\":500,\"name\":\"nobody\","
        "\"path\":{\"separated_prefix\":\"/abcdef\"}}");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(routes(&istio), 0),
                                                        "no_cluster_status")), 500);
    istio_close(&istio);
}


/* ---- authorization --------------------------------------------------------------------------- */


static const char *
rbac(istio_t *istio, size_t i)
{
    return istio_text(istio, json_array_get(json_object_get(istio_chain(istio, "web"), "filters"),
                                            i));
}


static void
policies_of_service_and_gateway_stand_in_two_filters(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE,
        POLICY("allow", TO_SERVICE ", rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/a, \"*/sa/b\"],"
               " notNamespaces: [bad]}}], to: [{operation: {methods: [GET], paths: [/x*]}}, {operation: {ports: [\"80\"]}}]}]")
        POLICY("deny", TO_GATEWAY ", action: DENY, rules: [{to: [{operation: {hosts: [\"*.Example.com\"]}}]}]")
        POLICY("sa", TO_GATEWAY ", rules: [{from: [{source: {serviceAccounts: [x, far/y], ipBlocks: [10.1.2.3/8]}}]}]"));
    assert_int_equal(istio.report->errors, 0);
    assert_string_equal(rbac(&istio, 0),
        "{\"config\":{\"action\":\"DENY\",\"policies\":[{\"name\":\"ns[default]-policy[deny]-rule[0]\","
        "\"permissions\":{\"host\":{\"ignore_case\":true,\"suffix\":\".example.com\"}},\"principals\":{\"any\":true}}]},"
        "\"name\":\"envoy.filters.http.rbac\"}");
    assert_string_equal(rbac(&istio, 1),
        "{\"config\":{\"action\":\"ALLOW\",\"policies\":[{\"name\":\"ns[default]-policy[allow]-rule[0]\","
        "\"permissions\":{\"or\":[{\"and\":[{\"method\":{\"exact\":\"GET\"}},{\"path\":{\"prefix\":\"/x\"}}]},{\"port\":80}]},"
        "\"principals\":{\"and\":[{\"or\":[{\"principal\":{\"exact\":\"spiffe://cluster.local/ns/default/sa/a\"}},"
        "{\"principal\":{\"suffix\":\"/sa/b\"}}]},{\"not\":{\"namespace\":{\"exact\":\"bad\"}}}]}},"
        "{\"name\":\"ns[default]-policy[sa]-rule[0]\",\"permissions\":{\"any\":true},\"principals\":{\"and\":["
        "{\"or\":[{\"and\":[{\"namespace\":{\"exact\":\"default\"}},{\"service_account\":{\"exact\":\"x\"}}]},"
        "{\"and\":[{\"namespace\":{\"exact\":\"far\"}},{\"service_account\":{\"exact\":\"y\"}}]}]},"
        "{\"source_ip\":{\"address\":\"10.0.0.0\",\"prefix_bits\":104}}]}}]},\"name\":\"envoy.filters.http.rbac\"}");
    istio_close(&istio);
}


static void
an_allow_without_rules_never_applies(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, POLICY("nothing", TO_SERVICE));
    assert_string_equal(rbac(&istio, 0),
        "{\"config\":{\"action\":\"ALLOW\",\"policies\":[{\"name\":\"ns[default]-policy[nothing]-rule[0]\","
        "\"permissions\":{\"or\":[]},\"principals\":{\"or\":[]}}]},\"name\":\"envoy.filters.http.rbac\"}");
    istio_close(&istio);
}


static void
on_tcp_a_deny_forgets_the_request_and_an_allow_forgets_itself(void **state)
{
    istio_t  istio;
    json_t  *filters;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE,
        "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{name: tcp, port: 5432}]}}\n---\n"
        POLICY("deny", TO_GATEWAY ", action: DENY, rules: [{to: [{operation: {methods: [GET], ports: [\"5432\"]}}]}]")
        POLICY("allow", TO_GATEWAY ", rules: [{to: [{operation: {methods: [GET]}}]}, {from: [{source: {namespaces: [a]}}]}]"));
    filters = json_object_get(istio_chain(&istio, "db"), "filters");
    assert_string_equal(istio_text(&istio, filters),
        "[{\"config\":{\"action\":\"DENY\",\"policies\":[{\"name\":\"ns[default]-policy[deny]-rule[0]\",\"permissions\":{\"port\":5432},"
        "\"principals\":{\"any\":true}}]},\"name\":\"envoy.filters.http.rbac\"},{\"config\":{\"action\":\"ALLOW\",\"policies\":["
        "{\"name\":\"ns[default]-policy[allow]-rule[1]\",\"permissions\":{\"any\":true},\"principals\":{\"namespace\":{\"exact\":\"a\"}}}]},"
        "\"name\":\"envoy.filters.http.rbac\"},{\"name\":\"istio.stats\"}]");
    istio_close(&istio);
}


/* ---- containment ----------------------------------------------------------------------------- */


#define DENIES_ALL \
    "{\"config\":{\"action\":\"DENY\",\"policies\":[{\"name\":\"ns[default]-policy[p]-broken\",\"permissions\":{\"any\":true}," \
    "\"principals\":{\"any\":true}}]},\"name\":\"envoy.filters.http.rbac\"}"

static void
a_new_broken_policy_denies_what_it_targets(void **state)
{
    static const char *const  broken[] = {
        POLICY("p", TO_SERVICE ", rules: [{form: [{source: {namespaces: [a]}}]}]"),
        POLICY("p", TO_GATEWAY ", action: MAYBE"),
        /* could mean any */
        POLICY("p", "targetRefs: [{group: \"\", kind: Service, name: nowhere}]"),
        POLICY("p", "targetRef: [x], rules: [{}]"),
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: [1]}\n",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(broken); i++) {
        istio_t  istio;

        istio_open(&istio);
        istio_read(&istio, ISTIO_BASE, broken[i]);
        unit_check(istio.report->errors > 0, broken[i]);
        unit_check(strcmp(rbac(&istio, 0), DENIES_ALL) == 0, broken[i]);
        istio_close(&istio);
    }
}


static void
a_new_broken_route_closes_its_service(void **state)
{
    static const char *const  broken[] = {
        VS("web", "[{corsPolicy: {}, route: [{destination: {host: web}}]}]"),
        VS("web", "[{match: [{uri: {regex: (}}], route: [{destination: {host: web}}]}]"),
        ROUTE("web", "[{backendRefs: [{name: web, port: 0}]}]"),
        "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: web}, spec: {host: web, trafficPolicy:"
        " {outlierDetection: {}}}}\n",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(broken); i++) {
        istio_t  istio;

        istio_open(&istio);
        istio_read(&istio, ISTIO_BASE, broken[i]);
        unit_check(json_is_true(json_object_get(istio_chain(&istio, "web"), "refused")), broken[i]);
        istio_close(&istio);
    }
}


/* Like istiod: what a route names and is not there has no cluster, and the rest of it holds. */
static void
a_dangling_destination_closes_its_share_only(void **state)
{
    static const struct {
        const char  *yaml;
        const char  *cluster;
        int          status;
    } cases[] = {
        { VS("web", "[{route: [{destination: {host: nowhere}}]}]"),
          "inbound-vip|80|http|nowhere.default.svc.cluster.local", 503 },
        { VS("web", "[{route: [{destination: {host: web, subset: v9}}]}]"),
          "inbound-vip|80|http/v9|web.default.svc.cluster.local", 503 },
        { VS("web", "[{route: [{destination: {host: web, port: {number: 81}}}]}]"),
          "inbound-vip|81|http|web.default.svc.cluster.local", 503 },
        { ROUTE("web", "[{backendRefs: [{name: nowhere, port: 80}]}]"),
          "inbound-vip|80|http|nowhere.default.svc.cluster.local", 500 },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        istio_t   istio;
        json_t   *route, *destination;

        istio_open(&istio);
        istio_read(&istio, ISTIO_BASE, cases[i].yaml);
        unit_check(istio.report->errors == 0, cases[i].yaml);
        unit_check(istio.report->warnings == 1, cases[i].yaml);
        unit_check(!json_is_true(json_object_get(istio_chain(&istio, "web"), "refused")),
                   cases[i].yaml);
        route = json_array_get(routes(&istio), 0);
        destination = json_array_get(json_object_get(route, "destinations"), 0);
        unit_check(strcmp(json_string_value(json_object_get(destination, "cluster")),
                          cases[i].cluster) == 0, cases[i].yaml);
        unit_check(json_integer_value(json_object_get(route, "no_cluster_status"))
                   == cases[i].status, cases[i].yaml);
        istio_close(&istio);
    }
}


/* Where each route was said: that lives in the model, whatever it was read from. */
static void
each_route_tells_its_file(const istio_t *istio)
{
    CN_ARRAY_EACH(&istio->model->services, const cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
            CN_ARRAY_EACH(&chain->routes, const cn_route_t, route) {
                assert_string_equal(route->origin.file, istio->path);
            }
        }
    }
}


static void
a_broken_resource_keeps_its_last_good_version(void **state)
{
    istio_t      istio;
    const char  *good;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, DR VS("web",
                                         "[{name: good, route: [{destination: {host: web, subset: v1}}]}]")
               POLICY("p", TO_SERVICE ", rules: [{to: [{operation: {methods: [GET]}}]}]"));
    assert_int_equal(istio.report->errors, 0);
    good = istio_text(&istio, istio_chain(&istio, "web"));

    /* broken each in its own way, twice: what is kept is kept again */
    for (unsigned round = 0; round < 2; round++) {
        istio_read(&istio, ISTIO_BASE, DR VS("web",
                                             "[{name: bad, route: [{destination: {host: web, subset: 9}}]}]")
                   POLICY("p", TO_SERVICE ", rules: [{too: [{operation: {methods: [GET]}}]}]"));
        assert_int_equal(istio.report->errors, 2);
        assert_string_equal(istio_text(&istio, istio_chain(&istio, "web")), good);
        each_route_tells_its_file(&istio);
    }

    /* mended */
    istio_read(&istio, ISTIO_BASE, DR VS("web",
                                         "[{name: mended, route: [{destination: {host: web, subset: v2}}]}]"));
    assert_int_equal(istio.report->errors, 0);
    assert_string_equal(names(&istio, routes(&istio)), "mended");

    /* taken away is not broken */
    istio_read(&istio, ISTIO_BASE, "");
    assert_string_equal(names(&istio, routes(&istio)), "default");
    istio_close(&istio);
}


static void
a_file_that_is_no_yaml_keeps_what_it_had(void **state)
{
    istio_t      istio;
    const char  *good;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, VS("web",
                                      "[{name: good, timeout: 1s, route: [{destination: {host: web}}]}]"));
    good = istio_text(&istio, istio.json);

    istio_read(&istio, ISTIO_BASE, "{apiVersion: [\n");
    assert_int_equal(istio.status, CN_OK);
    assert_int_equal(istio.report->errors, 1);
    assert_string_equal(istio_text(&istio, istio.json), good);
    each_route_tells_its_file(&istio);

    istio_read(&istio, "{apiVersion: [\n", "");
    assert_int_equal(istio.status, CN_OK);
    assert_string_equal(istio_text(&istio, istio.json), good);
    istio_close(&istio);
}


static void
a_list_is_its_items(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, ISTIO_BASE, "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: x},"
               " spec: {ports: [{port: 80, name: http}]}}]}\n");
    assert_int_equal(istio.report->errors + istio.report->warnings, 0);
    assert_non_null(istio_chain(&istio, "x"));
    istio_close(&istio);
}


static void
bookinfo_is_whole(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read_path(&istio, "conf/bookinfo");
    assert_int_equal(istio.status, CN_OK);
    assert_int_equal(istio.report->entries.count, 0);
    assert_string_equal(names(&istio, json_object_get(istio.json, "services")),
                        "details productpage ratings reviews");
    assert_string_equal(names(&istio, json_object_get(istio_chain(&istio, "ratings"), "routes")),
                        "jason default");
    istio_close(&istio);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_service_without_rules_has_istiods_default_route),
        cmocka_unit_test(endpoints_tell_health_and_tunnel),
        cmocka_unit_test(an_endpoint_slice_wins_over_the_selector),
        cmocka_unit_test(protocols_come_from_names_application_protocols_and_ports),
        cmocka_unit_test(labels_decide_whose_services_are_whose),
        cmocka_unit_test(a_split_over_subsets_has_their_clusters_and_balancers),
        cmocka_unit_test(a_match_keeps_every_condition),
        cmocka_unit_test(header_operations_stand_in_envoys_order),
        cmocka_unit_test(a_fault_is_of_its_route),
        cmocka_unit_test(matches_of_http_routes_are_ordered_by_gateway_api),
        cmocka_unit_test(policies_of_service_and_gateway_stand_in_two_filters),
        cmocka_unit_test(an_allow_without_rules_never_applies),
        cmocka_unit_test(on_tcp_a_deny_forgets_the_request_and_an_allow_forgets_itself),
        cmocka_unit_test(a_new_broken_policy_denies_what_it_targets),
        cmocka_unit_test(a_new_broken_route_closes_its_service),
        cmocka_unit_test(a_dangling_destination_closes_its_share_only),
        cmocka_unit_test(a_broken_resource_keeps_its_last_good_version),
        cmocka_unit_test(a_file_that_is_no_yaml_keeps_what_it_had),
        cmocka_unit_test(a_list_is_its_items),
        cmocka_unit_test(bookinfo_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
