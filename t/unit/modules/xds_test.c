/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What istiod made of resources, recorded beside them, says the same as the resources themselves; and
 * bytes that are not what istiod writes are refused.
 */

#include "istio.h"

#include <sys/stat.h>

#define RECORDED  "t/unit/modules/recorded/"


static char *
model_of(cn_pool_t *pool, const char *directory, bool xds, cn_report_t *report)
{
    cn_source_config_t   config = {
        .directory = directory, .trust_domain = CN_BYTES("cluster.local"), .access_log = true,
        .modules = cn_module_configs,
    };
    cn_istio_state_t    *state = NULL;
    cn_model_t          *model = NULL;
    cn_status_t          status = xds ? cn_xds_read_directory(&config, report, &model)
                                      : cn_istio_read(&config, &state, report, &model);
    char                *text = status == CN_OK ? cn_model_print(model, pool) : NULL;

    cn_model_destroy(model);
    cn_istio_state_destroy(state);

    return text;
}


static void
recorded_xds_and_its_resources_are_one_model(void **state)
{
    static const char *const  scenarios[] = {
        "01-plain", "02-vs-split", "03-httproute-split", "04a-authz-viewer",
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(scenarios); i++) {
        cn_pool_t    *pool = cn_pool_create(4096, NULL);
        cn_report_t  *report = cn_report_create(pool);
        const char   *directory = cn_pool_printf(pool, RECORDED "%s", scenarios[i]);
        const char   *file = cn_pool_printf(pool, RECORDED "%s/input.yaml", scenarios[i]);
        const char   *from_xds = model_of(pool, directory, true, report);
        const char   *from_yaml = model_of(pool, file, false, report);

        unit_check(report->errors == 0, scenarios[i]);
        unit_check(from_xds != NULL && from_yaml != NULL, scenarios[i]);
        unit_check(strcmp(from_xds, from_yaml) == 0, scenarios[i]);
        cn_pool_destroy(pool);
    }
}


/* One service of a printed model, as text; NULL: there is none. */
static char *
service_in(const char *model, const char *host)
{
    json_t  *root = json_loads(model, 0, NULL);
    char    *text = NULL;
    json_t  *service;
    size_t   i;

    assert_non_null(root);

    json_array_foreach(json_object_get(root, "services"), i, service) {
        if (strcmp(json_string_value(json_object_get(service, "host")), host) == 0) {
            text = json_dumps(service, JSON_SORT_KEYS | JSON_INDENT(1));
        }
    }

    json_decref(root);

    return text;
}


/*
 * One policy with every condition that is not of a token.  The push has more, for other services,
 * that is not implemented: those are refused.
 */
static void
recorded_conditions_are_those_of_the_policy(void **state)
{
    static const char *const  hosts[] = {
        "productpage.default.svc.cluster.local", "sleep.default.svc.cluster.local",
    };
    cn_pool_t                *pool = cn_pool_create(4096, NULL);
    cn_report_t              *report = cn_report_create(pool);
    const char               *from_xds = model_of(pool, RECORDED "04-authz", true, report);
    const char               *from_yaml = model_of(pool, RECORDED "04-authz/input.yaml", false,
                                                   report);

    (void) state;
    assert_non_null(from_xds);
    assert_non_null(from_yaml);

    for (size_t i = 0; i < CN_COUNT_OF(hosts); i++) {
        char  *xds = service_in(from_xds, hosts[i]);
        char  *yaml = service_in(from_yaml, hosts[i]);

        unit_check(xds != NULL && yaml != NULL && strcmp(xds, yaml) == 0, hosts[i]);
        unit_check(strstr(xds, "\"refused\"") == NULL, hosts[i]);
        free(xds);
        free(yaml);
    }

    cn_pool_destroy(pool);
}


static cn_bytes_t
read_file(cn_pool_t *pool, const char *path)
{
    struct stat  info;
    FILE        *file = fopen(path, "rb");
    uint8_t     *octets;

    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &info), 0);
    octets = cn_pool_octets(pool, (size_t) info.st_size);
    assert_int_equal(fread(octets, 1, (size_t) info.st_size, file), info.st_size);
    fclose(file);

    return cn_bytes(octets, (size_t) info.st_size);
}


static void
write_file(const char *directory, const char *name, cn_bytes_t content)
{
    char   path[256];
    FILE  *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}


/* A push that is cut or flipped anywhere is refused or read, never more. */
static void
damaged_pushes_do_no_harm(void **state)
{
    static const char *const  files[] = { "cds.pb", "eds.pb", "lds.pb", "workload.delta.pb" };
    char                      directory[] = "/tmp/cairn-unit-XXXXXX";
    cn_pool_t                *pool = cn_pool_create(4096, NULL);
    cn_bytes_t                good[CN_COUNT_OF(files)];
    uint64_t                  random = 88172645463325252u;

    (void) state;
    assert_non_null(mkdtemp(directory));

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        good[i] = read_file(pool, cn_pool_printf(pool, RECORDED "04a-authz-viewer/%s", files[i]));
    }

    for (unsigned round = 0; round < 200; round++) {
        cn_pool_t  *scratch = cn_pool_create(4096, NULL);
        size_t      which = round % CN_COUNT_OF(files);

        for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
            cn_bytes_t  copy = unit_copy(good[i]);

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;

            if (i == which && round % 2 == 0) {
                ((uint8_t *) (uintptr_t) copy.ptr)[random % copy.len] ^= (uint8_t) (1 + random % 255);

            } else if (i == which) {
                copy.len = random % copy.len;
            }

            write_file(directory, files[i], copy);
            unit_free(copy);
        }

        (void) model_of(scratch, directory, true, cn_report_create(scratch));
        cn_pool_destroy(scratch);
    }

    for (size_t i = 0; i < CN_COUNT_OF(files); i++) {
        unlink(cn_pool_printf(pool, "%s/%s", directory, files[i]));
    }

    rmdir(directory);
    cn_pool_destroy(pool);
}


/* ---- splicing ---- */

/* One resource of a push: tag, length and the Any. */
static cn_bytes_t
next_field(cn_bytes_t *rest)
{
    const uint8_t  *start = rest->ptr;
    size_t          at = 1, len = 0;

    for (unsigned shift = 0; at < rest->len; shift += 7) {
        len |= (size_t) (start[at] & 0x7f) << shift;

        if (start[at++] < 0x80) {
            break;
        }
    }

    assert_int_equal(start[0] & 7, 2);              /* has a length: all that istiod writes here */
    assert_true(len <= rest->len - at);
    *rest = cn_bytes_from(*rest, at + len);

    return cn_bytes(start, at + len);
}


static bool
is_resource_of(cn_bytes_t field, const char *name)
{
    return field.ptr[0] == 0x12                     /* DiscoveryResponse.resources */
           && memmem(field.ptr, field.len, name, strlen(name)) != NULL;
}


/* The listener of that name, an Any with its tag and length. */
static cn_bytes_t
listener_of(cn_bytes_t push, const char *name)
{
    cn_bytes_t  field, found = CN_BYTES_NONE;

    while (push.len > 0) {
        field = next_field(&push);

        if (is_resource_of(field, name)) {
            assert_int_equal(found.len, 0);
            found = field;
        }
    }

    assert_true(found.len > 0);

    return found;
}


/* The push with another listener in the place of its own of that name. */
static cn_bytes_t
splice(cn_pool_t *pool, cn_bytes_t push, const char *name, cn_bytes_t listener)
{
    uint8_t  *octets = cn_pool_octets(pool, push.len + listener.len);
    size_t    len = 0;

    while (push.len > 0) {
        cn_bytes_t  field = next_field(&push);

        if (is_resource_of(field, name)) {
            field = listener;
        }

        memcpy(octets + len, field.ptr, field.len);
        len += field.len;
    }

    return cn_bytes(octets, len);
}


/* LbEndpoint.load_balancing_weight, {value: 1}, becomes 5 in the endpoints of one address. */
static void
weights_of_endpoints_are_read(void **state)
{
    static const char *const  names[] = { "cds.pb", "eds.pb", "lds.pb", "workload.delta.pb" };
    char                      directory[] = "/tmp/cairn-unit-XXXXXX";
    cn_pool_t                *pool = cn_pool_create(4096, NULL);
    cn_source_config_t        config = {
        .directory = directory, .waypoint = "default/waypoint",
        .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };
    cn_model_t               *model = NULL;
    size_t                    changed = 0, ones = 0;

    (void) state;
    assert_non_null(mkdtemp(directory));

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        cn_bytes_t  file = read_file(pool, cn_pool_printf(pool, RECORDED "02-vs-split/%s", names[i]));

        if (strcmp(names[i], "eds.pb") == 0) {
            /* where its metadata has it; the weight comes behind, and then the address */
            uint8_t  *at = memmem(file.ptr, file.len, "\x1a\x10" "10.244.2.14", 13);

            while (at != NULL) {
                size_t  rest = (size_t) (file.ptr + file.len - at);

                at = memmem(at, rest, "\x22\x02\x08\x01", 4);
                assert_non_null(at);
                at[3] = 5;
                changed++;
                rest = (size_t) (file.ptr + file.len - at);
                at = memmem(at, rest, "\x1a\x10" "10.244.2.14", 13);
            }
        }

        write_file(directory, names[i], file);
    }

    assert_true(changed > 0);
    assert_int_equal(cn_xds_read_directory(&config, cn_report_create(pool), &model), CN_OK);

    CN_ARRAY_EACH(&model->clusters, const cn_cluster_t, cluster) {
        CN_ARRAY_EACH(&cluster->endpoints, const cn_endpoint_config_t, endpoint) {
            bool  it = endpoint->ip[14] == 2 && endpoint->ip[15] == 14;

            assert_int_equal(endpoint->weight, it ? 5 : 1);
            ones += !it;
        }
    }

    assert_true(ones > 0);
    cn_model_destroy(model);

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        unlink(cn_pool_printf(pool, "%s/%s", directory, names[i]));
    }

    rmdir(directory);
    cn_pool_destroy(pool);
}


typedef struct { size_t all, refused; } chains_t;

static const char *const  others[] = { "cds.pb", "eds.pb", "workload.delta.pb" };

/* The model of recording 01 with these listeners instead of its own. */
static cn_model_t *
model_with(cn_pool_t *pool, cn_bytes_t lds, cn_report_t *report)
{
    char                      directory[] = "/tmp/cairn-unit-XXXXXX";
    cn_source_config_t        config = {
        .directory = directory, .waypoint = "default/waypoint",
        .trust_domain = CN_BYTES("cluster.local"), .access_log = true,
        .modules = cn_module_configs,
    };
    cn_model_t               *model = NULL;

    assert_non_null(mkdtemp(directory));

    for (size_t i = 0; i < CN_COUNT_OF(others); i++) {
        write_file(directory, others[i],
                   read_file(pool, cn_pool_printf(pool, RECORDED "01-plain/%s", others[i])));
    }

    write_file(directory, "lds.pb", lds);
    assert_int_equal(cn_xds_read_directory(&config, report, &model), CN_OK);

    for (size_t i = 0; i < CN_COUNT_OF(others); i++) {
        unlink(cn_pool_printf(pool, "%s/%s", directory, others[i]));
    }

    unlink(cn_pool_printf(pool, "%s/lds.pb", directory));
    rmdir(directory);

    return model;
}


/* The chains that a waypoint would have of recording 01 with these listeners. */
static chains_t
chains_with(cn_pool_t *pool, cn_bytes_t lds, cn_report_t *report)
{
    cn_model_t  *model = model_with(pool, lds, report);
    chains_t     chains = { 0, 0 };

    CN_ARRAY_EACH(&model->services, const cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
            chains.all++;
            chains.refused += chain->refused;
        }
    }

    cn_model_destroy(model);

    return chains;
}


/* The chains of reviews as JSON, in pool. */
static const char *
reviews_of(cn_pool_t *pool, const char *text)
{
    json_t      *model = json_loads(text, 0, NULL);
    json_t      *service;
    const char  *chains = NULL;
    size_t       index;

    assert_non_null(model);

    json_array_foreach(json_object_get(model, "services"), index, service) {
        if (strcmp(json_string_value(json_object_get(service, "host")),
                   "reviews.default.svc.cluster.local") == 0)
        {
            char  *dump = json_dumps(json_object_get(service, "chains"), JSON_SORT_KEYS);

            chains = cn_pool_printf(pool, "%s", dump);
            free(dump);
        }
    }

    json_decref(model);
    assert_non_null(chains);

    return chains;
}


/*
 * All that a VirtualService and an HTTPRoute say of routes, as istiod made it: 05 and 09 without
 * what stands in them beside (mirrors, CORS, delegates, other clusters), taken out of both forms.
 */
static void
recorded_routes_and_their_resources_are_one_chain(void **state)
{
    static const char *const  scenarios[] = { "05-vs-routes", "09-http-routes" };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(scenarios); i++) {
        cn_pool_t    *pool = cn_pool_create(4096, NULL);
        cn_report_t  *report = cn_report_create(pool);
        const char   *lds = cn_pool_printf(pool, RECORDED "%s/lds.pb", scenarios[i]);
        const char   *file = cn_pool_printf(pool, RECORDED "%s/input.yaml", scenarios[i]);
        cn_model_t   *model = model_with(pool, read_file(pool, lds), report);
        const char   *from_xds = reviews_of(pool, cn_model_print(model, pool));
        const char   *from_yaml = reviews_of(pool, model_of(pool, file, false, report));

        cn_model_destroy(model);
        unit_check(strstr(from_yaml, "\"refused\"") == NULL, scenarios[i]);
        unit_check(strlen(from_yaml) > 4000, scenarios[i]);
        unit_check(strcmp(from_xds, from_yaml) == 0, scenarios[i]);
        cn_pool_destroy(pool);
    }
}


static bool
is_reported(const cn_report_t *report, cn_pool_t *pool, const char *line)
{
    CN_ARRAY_EACH(&report->entries, const cn_report_entry_t, entry) {
        if (strcmp(cn_report_line(entry, pool), line) == 0) {
            return true;
        }
    }

    return false;
}


/*
 * What stands before CONNECT stands before every chain.  A policy there that is not understood
 * must close all of them, although each chain by itself is as good as before.
 */
static void
a_policy_before_all_chains_refuses_all(void **state)
{
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_report_t  *report = cn_report_create(pool);
    cn_bytes_t    plain = read_file(pool, RECORDED "01-plain/lds.pb");
    cn_bytes_t    flags = read_file(pool, RECORDED "11-variants-flags/lds.pb");
    const char   *name = "connect_terminate";
    chains_t      chains;

    (void) state;

    /* its own listener put back in its place: the splice by itself changes nothing */
    chains = chains_with(pool, splice(pool, plain, name, listener_of(plain, name)), report);
    assert_int_equal(chains.all, 16);
    assert_int_equal(chains.refused, 0);
    assert_int_equal(report->errors, 0);

    chains = chains_with(pool, splice(pool, plain, name, listener_of(flags, name)), report);
    assert_int_equal(chains.all, 16);
    assert_int_equal(chains.refused, 16);
    assert_int_equal(report->errors, 1);
    assert_true(is_reported(report, pool, "error: Listener connect_terminate: connect_terminate: "
                            "filter envoy.filters.http.rbac is not implemented"));
    cn_pool_destroy(pool);
}


/* ---- listeners made by hand ---- */

static cn_bytes_t
join(cn_pool_t *pool, cn_bytes_t left, cn_bytes_t right)
{
    uint8_t  *octets = cn_pool_octets(pool, left.len + right.len);

    if (left.len > 0) {
        memcpy(octets, left.ptr, left.len);
    }

    if (right.len > 0) {
        memcpy(octets + left.len, right.ptr, right.len);
    }

    return cn_bytes(octets, left.len + right.len);
}


/* A field with a length; all of these are below 16384 octets. */
static cn_bytes_t
field(cn_pool_t *pool, unsigned number, cn_bytes_t content)
{
    uint8_t  *head = cn_pool_octets(pool, 3);

    head[0] = (uint8_t) (number << 3 | 2);
    head[1] = (uint8_t) (content.len & 0x7f) | 0x80;
    head[2] = (uint8_t) (content.len >> 7);

    return join(pool, cn_bytes(head, 3), content);
}


static cn_bytes_t
any(cn_pool_t *pool, const char *type, cn_bytes_t value)
{
    const char  *url = cn_pool_printf(pool, "type.googleapis.com/%s", type);

    return join(pool, field(pool, 1, cn_bytes_str(url)), field(pool, 2, value));
}


/* A chain of that name to its cluster, as TCP, and what else stands in it. */
static cn_bytes_t
chain_of(cn_pool_t *pool, const char *name, cn_bytes_t also)
{
    cn_bytes_t  proxy = any(pool, "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                            field(pool, 2, cn_bytes_str(name)));
    cn_bytes_t  chain = join(pool, field(pool, 7, cn_bytes_str(name)),
                             field(pool, 3, field(pool, 4, proxy)));

    return field(pool, 3, join(pool, chain, also));
}


static cn_bytes_t
push_of(cn_pool_t *pool, cn_bytes_t name, cn_bytes_t chains)
{
    return field(pool, 2, any(pool, "envoy.config.listener.v3.Listener", join(pool, name, chains)));
}


#define PLUMBING  CN_BYTES_INIT("\x0a\x11" "connect_originate")
#define REVIEWS   "reviews.default.svc.cluster.local"

/*
 * What cannot be read may be what restricts: the chain that it is, or the listener that would
 * stand before all.  The other half of a port does not open it.
 */
static void
what_cannot_be_read_opens_nothing(void **state)
{
    static const struct {
        const char  *name;
        cn_bytes_t   in_http;           /* octets more in the HTTP half's chain */
        cn_bytes_t   listener_name;     /* of another listener, as it is on the wire */
        size_t       refused;
        const char  *in_tcp;            /* type of a filter more in the TCP half */
        const char  *more;              /* the name of a chain more */
    } cases[] = {
        { "a filter of the TCP half that nobody knows", CN_BYTES_INIT("\x2a\x00"),
          PLUMBING, 1, "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
          NULL },
        { "a policy in the TCP half alone", CN_BYTES_INIT("\x2a\x00"), PLUMBING,
          1, "envoy.extensions.filters.network.rbac.v3.RBAC", NULL },
        { "a second HTTP half", CN_BYTES_INIT("\x2a\x00"), PLUMBING, 1, NULL,
          "inbound-vip|9080|http/v1|" REVIEWS },
        { "a second TCP half", CN_BYTES_INIT("\x2a\x00"), PLUMBING, 1, NULL,
          "inbound-vip|9080|tcp/v1|" REVIEWS },
        { "nothing is wrong", CN_BYTES_INIT("\x2a\x00"), PLUMBING, 0, NULL, NULL },
        { "a match that would choose among chains", CN_BYTES_INIT("\x0a\x00"),
          PLUMBING, 1, NULL, NULL },
        { "a field that nobody knows", CN_BYTES_INIT("\x98\x06\x01"), PLUMBING,
          1, NULL, NULL },
        { "TLS", CN_BYTES_INIT("\x32\x00"), PLUMBING, 1, NULL, NULL },
        { "a filter that is no message", CN_BYTES_INIT("\x1a\x01\xff"),
          PLUMBING, 1, NULL, NULL },
        { "a chain whose name is a number", CN_BYTES_INIT("\x38\x01"), PLUMBING,
          2, NULL, NULL },
        { "a listener whose name is a number", CN_BYTES_INIT("\x2a\x00"),
          CN_BYTES_INIT("\x08\x01"), 2, NULL, NULL },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t    *pool = cn_pool_create(4096, NULL);
        cn_report_t  *report = cn_report_create(pool);
        cn_bytes_t    chains = join(pool, chain_of(pool, "inbound-vip|9080|http|" REVIEWS,
                                                   cases[i].in_http),
                                    chain_of(pool, "inbound-vip|9080|tcp|" REVIEWS,
                                             cases[i].in_tcp == NULL ? CN_BYTES_NONE
                                             : field(pool, 3, field(pool, 4, any(pool,
                                                     cases[i].in_tcp,
                                                     CN_BYTES("\x0a\x00"))))));
        chains_t      found;

        if (cases[i].more != NULL) {
            chains = join(pool, chains, chain_of(pool, cases[i].more, CN_BYTES_NONE));
        }

        chains = join(pool, chains, chain_of(pool, "inbound-vip|3306|tcp|mysql.default.svc."
                                             "cluster.local", CN_BYTES_NONE));
        found = chains_with(pool, join(pool, push_of(pool, cases[i].listener_name, CN_BYTES_NONE),
                                       push_of(pool, field(pool, 1, CN_BYTES("main_internal")),
                                               chains)), report);
        unit_check(found.all == 2, cases[i].name);
        unit_check(found.refused == cases[i].refused, cases[i].name);
        unit_check((report->errors > 0) == (cases[i].refused > 0), cases[i].name);
        cn_pool_destroy(pool);
    }
}


/* Somebody put it there; what it was to do is not done, and all else is as it was. */
static void
a_listener_beside_istiods_is_refused_by_name(void **state)
{
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_report_t  *report = cn_report_create(pool);
    cn_bytes_t    lds = read_file(pool, RECORDED "01-plain/lds.pb");
    cn_bytes_t    more = push_of(pool, field(pool, 1, CN_BYTES("mine")), CN_BYTES_NONE);
    chains_t      found = chains_with(pool, join(pool, lds, more), report);

    (void) state;
    assert_true(is_reported(report, pool, "error: Listener mine: a listener beside istiod's own is "
                                          "not implemented"));
    assert_int_equal(report->errors, 1);
    assert_int_equal(found.refused, 0);
    assert_true(found.all > 5);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(recorded_xds_and_its_resources_are_one_model),
        cmocka_unit_test(recorded_conditions_are_those_of_the_policy),
        cmocka_unit_test(recorded_routes_and_their_resources_are_one_chain),
        cmocka_unit_test(damaged_pushes_do_no_harm),
        cmocka_unit_test(a_policy_before_all_chains_refuses_all),
        cmocka_unit_test(weights_of_endpoints_are_read),
        cmocka_unit_test(what_cannot_be_read_opens_nothing),
        cmocka_unit_test(a_listener_beside_istiods_is_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
