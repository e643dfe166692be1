/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ServiceEntry and WorkloadEntry: what they come to, what is refused of them, and that istiod makes
 * the same of them.
 */

#include "istio.h"

#define HEAD                                                                                       \
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: waypoint}\n"        \
    "spec: {gatewayClassName: istio-waypoint}\n---\n"                                              \
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {istio.io/use-waypoint: "        \
    "waypoint}}\nspec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: main}, "  \
    "{name: tcp-x, port: 81, targetPort: 8081}]}\n---\n"

#define ENTRY(spec)                                                                                \
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: db, labels: "        \
    "{istio.io/use-waypoint: waypoint, app: base}}\nspec: " spec "\n---\n"

#define WORKLOAD(metadata, spec)                                                                   \
    "apiVersion: networking.istio.io/v1beta1\nkind: WorkloadEntry\nmetadata: " metadata            \
    "\nspec: " spec "\n---\n"

#define PORTS  "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]"
#define BASIC  "hosts: [db.example.com], " PORTS ", resolution: STATIC"


static json_t *
cluster(istio_t *istio, const char *name)
{
    return istio_find(json_object_get(istio->json, "clusters"), "name", name);
}


static const char *
endpoints(istio_t *istio, const char *name)
{
    return istio_text(istio, json_object_get(cluster(istio, name), "endpoints"));
}


static const char *
workload(istio_t *istio, const char *uid)
{
    return istio_text(istio, istio_find(json_object_get(istio->json, "workloads"), "uid", uid));
}


static void
an_entry_with_endpoints_is_a_service(void **state)
{
    istio_t  istio;
    json_t  *service;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD, ENTRY("{" BASIC ", addresses: [240.1.1.1/32, 'fd00::1'], endpoints: ["
               "{address: 10.0.0.2, weight: 5, ports: {http: 9090}, locality: a/b, serviceAccount: "
               "db}, {address: 10.0.0.1, labels: {networking.istio.io/tunnel: http}}]}"));
    assert_string_equal(istio_lines(&istio), "");

    service = istio_find(json_object_get(istio.json, "services"), "host", "db.example.com");
    assert_string_equal(istio_text(&istio, json_object_get(service, "addresses")),
                        "[\"240.1.1.1\",\"fd00::1\"]");
    assert_string_equal(json_string_value(json_object_get(service, "name")), "db.example.com");
    assert_string_equal(json_string_value(json_object_get(service, "namespace")), "default");

    assert_string_equal(endpoints(&istio, "inbound-vip|80|http|db.example.com"),
        "[{\"address\":\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":8080,"
        "\"principal\":\"spiffe://cluster.local/ns/default/sa/default\",\"uid\":\"Kubernetes/"
        "networking.istio.io/ServiceEntry/default/db/10.0.0.1\",\"weight\":1},"
        "{\"address\":\"10.0.0.2\",\"healthy\":true,\"port\":9090,"
        "\"principal\":\"spiffe://cluster.local/ns/default/sa/db\",\"uid\":\"Kubernetes/"
        "networking.istio.io/ServiceEntry/default/db/10.0.0.2\",\"weight\":5}]");
    assert_string_equal(workload(&istio, "Kubernetes/networking.istio.io/ServiceEntry/default/db/"
                                 "10.0.0.2"),
        "{\"addresses\":[\"10.0.0.2\"],\"app\":\"base\",\"canonical_name\":\"base\","
        "\"canonical_revision\":\"latest\",\"cluster\":\"Kubernetes\",\"name\":\"db\","
        "\"namespace\":\"default\",\"principal\":\"spiffe://cluster.local/ns/default/sa/db\","
        "\"uid\":\"Kubernetes/networking.istio.io/ServiceEntry/default/db/10.0.0.2\","
        "\"version\":\"latest\",\"workload\":\"db\"}");
    istio_close(&istio);
}


static void
protocols_of_ports_are_those_that_are_said(void **state)
{
    static const struct { const char *protocol; const char *said; bool http2; } cases[] = {
        { "protocol: HTTP", "\"http\"", false }, { "protocol: HTTP2", "\"http\"", true },
        { "protocol: GRPC", "\"http\"", true }, { "protocol: HTTPS", "\"tcp\"", false },
        { "protocol: TLS", "\"tcp\"", false }, { "protocol: TCP", "\"tcp\"", false },
        { "protocol: mongo", "\"tcp\"", false }, { "targetPort: 1", "\"auto\"", false },
    };
    istio_t  istio;

    (void) state;
    istio_open(&istio);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        const char  *text = cn_pool_printf(istio.pool, ENTRY("{hosts: [a.b.c], resolution: STATIC, "
                                           "ports: [{number: 1234, name: p, %s}], endpoints: "
                                           "[{address: 10.0.0.1}]}"), cases[i].protocol);
        json_t      *chain;

        istio_read(&istio, HEAD, text);
        unit_check(*istio_lines(&istio) == '\0', cases[i].protocol);
        chain = istio_chain(&istio, "a.b.c");
        unit_check(strcmp(istio_text(&istio, json_object_get(chain, "protocol")), cases[i].said)
                   == 0, cases[i].protocol);

        if (strcmp(cases[i].said, "\"http\"") == 0) {
            unit_check(json_is_true(json_object_get(cluster(&istio, "inbound-vip|1234|http|a.b.c"),
                                                    "http2")) == cases[i].http2,
                       cases[i].protocol);
        }
    }

    istio_close(&istio);
}


static void
selectors_find_entries_of_workloads(void **state)
{
    istio_t      istio;
    const char  *found;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD, ENTRY("{" BASIC ", workloadSelector: {labels: {app: web}}}")
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nspec: {containers: "
        "[{name: c, ports: [{name: main, containerPort: 8000}]}]}\nstatus: {podIP: 10.1.0.1, "
        "conditions: [{type: Ready, status: 'True'}]}\n---\n"
        WORKLOAD("{name: one, labels: {app: web}, annotations: {ambient.istio.io/redirection: "
                 "enabled}}", "{address: 10.0.0.1, labels: {app: other, version: v9}, weight: 0}")
        WORKLOAD("{name: two}", "{address: 10.0.0.2, labels: {app: web}, ports: {http: 9090, "
                 "tcp-x: 9091}, serviceAccount: two, weight: 7}")
        WORKLOAD("{name: three, namespace: far}", "{address: 10.0.0.3, labels: {app: web}}")
        WORKLOAD("{name: four, labels: {app: none}}", "{address: 10.0.0.4, labels: {app: web}}"));
    assert_string_equal(istio_lines(&istio), "");

    /* ports: of a Pod as the service targets them, of an entry by name, else the target's number */
    found = endpoints(&istio, "inbound-vip|80|http|db.example.com");
    assert_non_null(strstr(found, "\"10.1.0.1\",\"healthy\":true,\"port\":8080,"));
    assert_non_null(strstr(found, "\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":8080,"));
    assert_non_null(strstr(found, "\"10.0.0.2\",\"healthy\":true,\"port\":9090,"));
    assert_null(strstr(found, "10.0.0.3"));
    assert_null(strstr(found, "10.0.0.4"));

    found = endpoints(&istio, "inbound-vip|80|http|web.default.svc.cluster.local");
    assert_non_null(strstr(found, "\"10.1.0.1\",\"healthy\":true,\"port\":8000,"));
    assert_non_null(strstr(found, "\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":80,"));
    assert_non_null(strstr(found, "\"10.0.0.2\",\"healthy\":true,\"port\":9090,"));
    assert_non_null(strstr(found, "WorkloadEntry/default/two\",\"weight\":7}"));
    assert_non_null(strstr(found, "WorkloadEntry/default/one\",\"weight\":1}"));

    found = endpoints(&istio, "inbound-vip|81|tcp|web.default.svc.cluster.local");
    assert_non_null(strstr(found, "\"10.0.0.1\",\"hbone_port\":15008,\"healthy\":true,\"port\":8081,"));
    assert_non_null(strstr(found, "\"10.0.0.2\",\"healthy\":true,\"port\":9091,"));

    found = workload(&istio, "Kubernetes/networking.istio.io/WorkloadEntry/default/one");
    assert_non_null(strstr(found, "\"canonical_name\":\"web\",\"canonical_revision\":\"v9\","));
    istio_close(&istio);
}


/* An EndpointSlice says what of Pods is ready; of WorkloadEntries it knows nothing. */
static void
a_slice_does_not_hide_entries(void **state)
{
    istio_t      istio;
    const char  *found;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD,
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: "
        "{kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 8000}]\n"
        "endpoints: [{addresses: [10.1.0.1]}]\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: q, labels: {app: web}}\nspec: {containers: "
        "[{name: c, ports: [{name: main, containerPort: 8000}]}]}\nstatus: {podIP: 10.1.0.2}\n---\n"
        WORKLOAD("{name: one, labels: {app: web}}", "{address: 10.0.0.1}"));
    assert_string_equal(istio_lines(&istio), "");
    found = endpoints(&istio, "inbound-vip|80|http|web.default.svc.cluster.local");
    assert_non_null(strstr(found, "10.1.0.1"));
    assert_non_null(strstr(found, "10.0.0.1"));
    assert_null(strstr(found, "10.1.0.2"));
    istio_close(&istio);
}


static void
several_hosts_are_several_services(void **state)
{
    istio_t  istio;
    json_t  *services;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD, ENTRY("{hosts: [a.b.c, d.e], " PORTS ", resolution: STATIC, addresses: "
               "[240.0.0.1], endpoints: [{address: 10.0.0.1}]}")
               "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\n"
               "spec: {host: d.e, trafficPolicy: {loadBalancer: {simple: RANDOM}}}\n");
    assert_int_equal(istio.report->errors, 0);
    assert_non_null(strstr(istio_lines(&istio), ": warning: ServiceEntry default/db: spec.addresses: "
                           "belong to the first of several hosts: the others are found by name\n"));
    services = json_object_get(istio.json, "services");
    assert_string_equal(istio_text(&istio, json_object_get(istio_find(services, "host", "a.b.c"),
                                                           "addresses")), "[\"240.0.0.1\"]");
    assert_null(json_object_get(istio_find(services, "host", "d.e"), "addresses"));
    assert_string_equal(json_string_value(json_object_get(cluster(&istio, "inbound-vip|80|http|d.e"),
                                                          "lb")), "random");
    assert_string_equal(json_string_value(json_object_get(cluster(&istio,
                        "inbound-vip|80|http|a.b.c"), "lb")), "least_request");
    assert_int_equal(json_array_size(json_object_get(istio.json, "workloads")), 1);
    istio_close(&istio);
}


/* What istiod has given out is in the status of what it was given to. */
static void
given_addresses_count_where_none_is_asked_for(void **state)
{
    istio_t  istio;
    json_t  *services;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD, "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: "
               "{name: db, labels: {istio.io/use-waypoint: waypoint}}\nspec: {hosts: [a.b.c, d.e.f], "
               PORTS ", resolution: STATIC, endpoints: [{address: 10.0.0.1}]}\n"
               "status: {addresses: [{value: 240.240.0.1, host: a.b.c}, {value: 240.240.0.2, host: "
               "d.e.f}]}\n");
    assert_string_equal(istio_lines(&istio), "");
    services = json_object_get(istio.json, "services");
    assert_string_equal(istio_text(&istio, json_object_get(istio_find(services, "host", "d.e.f"),
                                                           "addresses")), "[\"240.240.0.2\"]");
    istio_close(&istio);
}


/* The line is "LINE:COLUMN: " and this, and there is no other. */
static void
what_cannot_be_obeyed_is_refused(void **state)
{
    static const struct { const char *name, *text, *line; } cases[] = {
        { "resolution NONE", ENTRY("{hosts: [a.b.c], " PORTS ", resolution: NONE, endpoints: "
                                   "[{address: 10.0.0.1}]}"),
          "spec.resolution: NONE is not implemented: only STATIC is" },
        { "no resolution is NONE", ENTRY("{hosts: [a.b.c], " PORTS ", endpoints: "
                                         "[{address: 10.0.0.1}]}"),
          "spec.resolution: NONE is not implemented: only STATIC is" },
        { "DNS without endpoints", ENTRY("{hosts: [a.b.c], " PORTS ", resolution: DNS}"),
          "spec.resolution: DNS is not implemented: only STATIC is" },
        { "a resolution that is none", ENTRY("{hosts: [a.b.c], " PORTS ", resolution: STATICC, "
                                             "endpoints: [{address: 10.0.0.1}]}"),
          "spec.resolution: \"STATICC\" is no resolution: expected STATIC" },
        { "no host", ENTRY("{hosts: [], " PORTS ", resolution: STATIC, endpoints: "
                           "[{address: 10.0.0.1}]}"), "spec.hosts: is missing or empty" },
        { "a wildcard", ENTRY("{hosts: ['*.b.c'], " PORTS ", resolution: STATIC, endpoints: "
                              "[{address: 10.0.0.1}]}"),
          "spec.hosts: *.b.c: a wildcard is not implemented" },
        { "a host that is a Service", ENTRY("{hosts: [web.default.svc.cluster.local], " PORTS
                                            ", resolution: STATIC, endpoints: "
                                            "[{address: 10.0.0.1}]}"),
          "spec.hosts: there is already a service web.default.svc.cluster.local" },
        { "nobody behind it", ENTRY("{" BASIC "}"),
          "spec.endpoints: is missing or empty, and so is workloadSelector" },
        { "endpoints and a selector", ENTRY("{" BASIC ", workloadSelector: {labels: {a: b}}, "
                                            "endpoints: [{address: 10.0.0.1}]}"),
          "spec.workloadSelector: cannot stand beside endpoints" },
        { "a selector of nothing", ENTRY("{" BASIC ", workloadSelector: {}}"),
          "spec.workloadSelector.labels: is missing or empty" },
        { "a range of addresses", ENTRY("{" BASIC ", addresses: [10.0.0.0/8], endpoints: "
                                        "[{address: 10.0.0.1}]}"),
          "spec.addresses: 10.0.0.0/8: a range of addresses is not implemented" },
        { "an address that is none", ENTRY("{" BASIC ", addresses: [10.0.0], endpoints: "
                                           "[{address: 10.0.0.1}]}"),
          "spec.addresses: \"10.0.0\" is no IP address" },
        { "names of who must answer", ENTRY("{" BASIC ", subjectAltNames: [a], endpoints: "
                                            "[{address: 10.0.0.1}]}"),
          "spec.subjectAltNames: is not implemented" },
        { "a location that is none", ENTRY("{" BASIC ", location: INSIDE, endpoints: "
                                           "[{address: 10.0.0.1}]}"),
          "spec.location: \"INSIDE\" is no location: expected MESH_EXTERNAL or MESH_INTERNAL" },
        { "no ports", ENTRY("{hosts: [a.b.c], resolution: STATIC, endpoints: "
                            "[{address: 10.0.0.1}]}"), "spec.ports: is missing or empty" },
        { "a port twice", ENTRY("{hosts: [a.b.c], ports: [{number: 1, name: a}, {number: 1, name: "
                                "b}], resolution: STATIC, endpoints: [{address: 10.0.0.1}]}"),
          "spec.ports[1].number: port 1 is there twice" },
        { "a protocol that is none", ENTRY("{hosts: [a.b.c], ports: [{number: 1, name: a, protocol: "
                                           "HTPP}], resolution: STATIC, endpoints: "
                                           "[{address: 10.0.0.1}]}"),
          "spec.ports[0].protocol: \"HTPP\" is no protocol" },
        { "an endpoint by name", ENTRY("{" BASIC ", endpoints: [{address: a.b}]}"),
          "spec.endpoints[0].address: \"a.b\": other than an IP address is not implemented" },
        { "an endpoint in the file system", ENTRY("{" BASIC ", endpoints: [{address: "
                                                  "'unix:///a'}]}"),
          "spec.endpoints[0].address: \"unix:///a\": other than an IP address is not implemented" },
        { "a port of an endpoint", ENTRY("{" BASIC ", endpoints: [{address: 10.0.0.1, ports: {http: "
                                         "70000}}]}"),
          "spec.endpoints[0].ports.http: is no port number in 1..65535" },
        { "a weight", ENTRY("{" BASIC ", endpoints: [{address: 10.0.0.1, weight: 1000001}]}"),
          "spec.endpoints[0].weight: 1000001 is not in 0..1000000" },
        { "another network", WORKLOAD("{name: w}", "{address: 10.0.0.1, network: far}"),
          "spec.network: a workload of another network (far) is not implemented" },
        { "no address", WORKLOAD("{name: w}", "{serviceAccount: a}"),
          "spec.address: is missing" },
    };
    istio_t  istio;

    (void) state;
    istio_open(&istio);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        const char  *lines, *line;

        istio_read(&istio, HEAD, cases[i].text);
        lines = istio_lines(&istio);
        line = strstr(lines, ": spec.");

        if (line == NULL || strncmp(line + 2, cases[i].line, strlen(cases[i].line)) != 0
            || strchr(line, '\n')[1] != '\0' || istio.report->errors != 1)
        {
            print_error("%s", lines);
            unit_check(false, cases[i].name);
        }

        unit_check(istio.status == CN_OK, cases[i].name);
        unit_check(istio_find(json_object_get(istio.json, "services"), "name", "a.b.c") == NULL,
                   cases[i].name);
    }

    istio_close(&istio);
}


/* The mesh's own network, as its root namespace names it, is no other. */
static void
the_own_network_is_no_other(void **state)
{
    istio_t  istio;

    (void) state;
    istio_open(&istio);
    istio_read(&istio, HEAD, "apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system, labels: "
               "{topology.istio.io/network: near}}\n---\n"
               WORKLOAD("{name: one, labels: {app: web}}", "{address: 10.0.0.1, network: near}")
               WORKLOAD("{name: two, labels: {app: web, topology.istio.io/network: far}}",
                        "{address: 10.0.0.2}"));
    assert_int_equal(istio.report->errors, 1);
    assert_non_null(strstr(istio_lines(&istio), "WorkloadEntry default/two: spec.network: a workload "
                           "of another network (far) is not implemented"));
    assert_non_null(strstr(endpoints(&istio, "inbound-vip|80|http|web.default.svc.cluster.local"),
                           "10.0.0.1"));
    istio_close(&istio);
}


static bool
has_policy(istio_t *istio, const char *service)
{
    json_t  *filters = json_object_get(istio_chain(istio, service), "filters");

    return istio_find(filters, "name", "envoy.filters.http.rbac") != NULL;
}


/* A policy names the ServiceEntry, not its host; a Service may be called the same. */
static void
policies_find_entries_by_their_names(void **state)
{
    static const struct { const char *target; bool entry, service; } cases[] = {
        { "{group: networking.istio.io, kind: ServiceEntry, name: db}", true, false },
        { "{group: '', kind: Service, name: db}", false, true },
        { "{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}", true, true },
    };
    istio_t  istio;

    (void) state;
    istio_open(&istio);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        const char  *text = cn_pool_printf(istio.pool,
            ENTRY("{hosts: [a.b.c, d.e.f], " PORTS ", resolution: STATIC, endpoints: [{address: "
                  "10.0.0.1}]}")
            "apiVersion: v1\nkind: Service\nmetadata: {name: db, labels: {istio.io/use-waypoint: "
            "waypoint}}\nspec: {ports: [{name: http, port: 80}]}\n---\n"
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: "
            "{targetRefs: [%s], rules: [{to: [{operation: {methods: [GET]}}]}]}\n", cases[i].target);

        istio_read(&istio, HEAD, text);
        unit_check(*istio_lines(&istio) == '\0', cases[i].target);
        unit_check(has_policy(&istio, "a.b.c") == cases[i].entry, cases[i].target);
        unit_check(has_policy(&istio, "d.e.f") == cases[i].entry, cases[i].target);
        unit_check(has_policy(&istio, "db") == cases[i].service, cases[i].target);
    }

    istio_close(&istio);
}


/* ---- what istiod makes of the same ---- */

static json_t *
model_of(istio_t *istio, const char *path, bool xds)
{
    cn_source_config_t   config = {
        .directory = path, .trust_domain = CN_BYTES("cluster.local"),
        .modules = cn_module_configs,
    };
    cn_report_t         *report = cn_report_create(istio->pool);
    cn_istio_state_t    *state = NULL;
    cn_model_t          *model = NULL;
    cn_status_t          status = xds ? cn_xds_read_directory(&config, report, &model)
                                      : cn_istio_read(&config, &state, report, &model);
    json_t              *json;

    assert_int_equal(status, CN_OK);
    json = json_loads(cn_model_print(model, istio->pool), 0, NULL);
    assert_non_null(json);
    cn_model_destroy(model);
    cn_istio_state_destroy(state);

    return json;
}


static void
recorded_entries_are_one_model(void **state)
{
    static const char *const  clusters[] = {
        "inbound-vip|80|http|static.example.com", "inbound-vip|5432|tcp|static.example.com",
        "inbound-vip|80|http|vm.internal",
    };
    static const char *const  workloads[] = {
        "Kubernetes/networking.istio.io/WorkloadEntry/default/vm-1",
        "Kubernetes/networking.istio.io/WorkloadEntry/default/vm-2",
        "Kubernetes/networking.istio.io/ServiceEntry/default/static/198.51.100.1",
        "Kubernetes/networking.istio.io/ServiceEntry/default/static/198.51.100.2",
    };
    static const char *const  services[] = { "vm.internal", "details.default.svc.cluster.local" };
    static const struct { const char *list, *key; const char *const *names; size_t count; } all[] = {
        { "clusters", "name", clusters, CN_COUNT_OF(clusters) },
        { "workloads", "uid", workloads, CN_COUNT_OF(workloads) },
        { "services", "host", services, CN_COUNT_OF(services) },
    };
    istio_t  istio;
    json_t  *yaml, *xds;

    (void) state;
    istio_open(&istio);
    yaml = model_of(&istio, "t/unit/modules/recorded/07-egress/input.yaml", false);
    xds = model_of(&istio, "t/unit/modules/recorded/07-egress", true);

    for (size_t i = 0; i < CN_COUNT_OF(all); i++) {
        for (size_t j = 0; j < all[i].count; j++) {
            json_t      *left = istio_find(json_object_get(yaml, all[i].list), all[i].key,
                                           all[i].names[j]);
            json_t      *right = istio_find(json_object_get(xds, all[i].list), all[i].key,
                                            all[i].names[j]);

            unit_check(left != NULL && right != NULL, all[i].names[j]);

            unit_check(json_equal(left, right), all[i].names[j]);
        }
    }

    json_decref(yaml);
    json_decref(xds);
    istio_close(&istio);
}


/* Clusters whose DestinationRules are understood, by either way. */
static void
recorded_balancers_are_one_model(void **state)
{
    static const struct { const char *name, *lb; } cases[] = {
        { "inbound-vip|80|http|rnd.default.svc.cluster.local", "random" },
        { "inbound-vip|80|http|rr.default.svc.cluster.local", "round_robin" },
        { "inbound-vip|80|http|tlsistio.default.svc.cluster.local", "least_request" },
        { "inbound-vip|80|http|tlsoff.default.svc.cluster.local", "least_request" },
    };
    istio_t  istio;
    json_t  *yaml, *xds;

    (void) state;
    istio_open(&istio);
    yaml = model_of(&istio, "t/unit/modules/recorded/06-dr-all/input.yaml", false);
    xds = model_of(&istio, "t/unit/modules/recorded/06-dr-all", true);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        json_t  *left = istio_find(json_object_get(yaml, "clusters"), "name", cases[i].name);
        json_t  *right = istio_find(json_object_get(xds, "clusters"), "name", cases[i].name);

        unit_check(left != NULL, cases[i].name);
        assert_string_equal(istio_text(&istio, left), istio_text(&istio, right));
        unit_check(strcmp(json_string_value(json_object_get(left, "lb")), cases[i].lb) == 0,
                   cases[i].name);
    }

    json_decref(yaml);
    json_decref(xds);
    istio_close(&istio);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(an_entry_with_endpoints_is_a_service),
        cmocka_unit_test(protocols_of_ports_are_those_that_are_said),
        cmocka_unit_test(selectors_find_entries_of_workloads),
        cmocka_unit_test(a_slice_does_not_hide_entries),
        cmocka_unit_test(several_hosts_are_several_services),
        cmocka_unit_test(given_addresses_count_where_none_is_asked_for),
        cmocka_unit_test(what_cannot_be_obeyed_is_refused),
        cmocka_unit_test(the_own_network_is_no_other),
        cmocka_unit_test(policies_find_entries_by_their_names),
        cmocka_unit_test(recorded_entries_are_one_model),
        cmocka_unit_test(recorded_balancers_are_one_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
