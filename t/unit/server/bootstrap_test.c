/* SPDX-License-Identifier: Apache-2.0 */

/* The keys of the control plane in the bootstrap file, and what is said of wrong ones. */

#include "unit.h"

#include "server/bootstrap.h"

#include <jansson.h>
#include <unistd.h>

typedef struct {
    cn_pool_t       *pool;
    cn_report_t     *report;
    cn_bootstrap_t   bootstrap;
    cn_status_t      status;
} reading_t;

#define NODE  "node: {id: \"waypoint~10.0.0.1~w.d~d.svc.cluster.local\"}"

static const struct {
    const char  *name;
    const char  *text;
    const char  *said;                  /* of the first finding; NULL: it is taken */
} cases[] = {
    { "the least of istiod", "source: {istiod: {address: \"istiod:15012\", " NODE "}}", NULL },
    { "an IPv6 address", "source: {istiod: {address: \"[fd00::1]:15012\", " NODE "}}", NULL },
    { "no port", "source: {istiod: {address: istiod, " NODE "}}", "source.istiod.address" },
    { "port 0", "source: {istiod: {address: \"istiod:0\", " NODE "}}", "source.istiod.address" },
    { "a port too large", "source: {istiod: {address: \"istiod:65536\", " NODE "}}",
      "source.istiod.address" },
    { "no host", "source: {istiod: {address: \":15012\", " NODE "}}", "source.istiod.address" },
    { "a host that is none", "source: {istiod: {address: \"a/b:15012\", " NODE "}}",
      "source.istiod.address" },
    { "IPv6 without brackets", "source: {istiod: {address: \"fd00::1:15012\", " NODE "}}",
      "source.istiod.address" },
    { "brackets around a name", "source: {istiod: {address: \"[istiod]:15012\", " NODE "}}",
      "source.istiod.address" },
    { "no address", "source: {istiod: {" NODE "}}", "source.istiod.address" },
    { "no node", "source: {istiod: {address: \"istiod:15012\"}}", "source.istiod.node" },
    { "a node without id", "source: {istiod: {address: \"istiod:15012\", node: {cluster: a}}}",
      "source.istiod.node" },
    { "metadata that is no mapping",
      "source: {istiod: {address: \"istiod:15012\", node: {id: a, metadata: b}}}",
      "source.istiod.node" },
    { "both sources", "source: {files: d, istiod: {address: \"istiod:15012\", " NODE "}}",
      "either files or istiod" },
    { "a token without TLS",
      "source: {istiod: {address: \"istiod:15010\", plaintext: true, token: t, " NODE "}}",
      "neither token nor root with plaintext" },
    { "delta that is no bool",
      "source: {istiod: {address: \"istiod:15012\", delta: maybe, " NODE "}}",
      "source.istiod.delta" },
    { "a key nobody knows", "source: {istiod: {address: \"istiod:15012\", " NODE ", x: 1}}",
      "unknown key" },
    { "the least of the CA", "identity: {istio_ca: {address: \"istiod:15012\"}}", NULL },
    { "two identities",
      "identity: {development: {}, istio_ca: {address: \"istiod:15012\"}}",
      "one of files, development and istio_ca" },
    { "a life of 90 days", "identity: {istio_ca: {address: \"i:1\", ttl: 2160h}}", NULL },
    { "a life above", "identity: {istio_ca: {address: \"i:1\", ttl: 2160h1s}}",
      "identity.istio_ca.ttl" },
    { "no life", "identity: {istio_ca: {address: \"i:1\", ttl: 0s}}", "identity.istio_ca.ttl" },
    { "a key of another kind", "identity: {istio_ca: {address: \"i:1\", key: rsa-1024}}",
      "identity.istio_ca.key" },
    { "a ratio above 1", "identity: {istio_ca: {address: \"i:1\", grace_ratio: 1.1}}",
      "identity.istio_ca.grace_ratio" },
    { "no pid file", "pid: off", NULL },
    { "TERM that is no bool", "term_waits_for_idle: 5s", "term_waits_for_idle" },
};


/* Reads text as a bootstrap file. */
static reading_t
read_text(const char *text)
{
    char                    path[] = "/tmp/cairn-bootstrap-XXXXXX";
    int                     fd = mkstemp(path);
    cn_bootstrap_options_t  options = { .file = path };
    reading_t               reading = { .pool = cn_pool_create(4096, NULL) };

    assert_true(fd >= 0);
    assert_non_null(reading.pool);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    reading.report = cn_report_create(reading.pool);
    assert_non_null(reading.report);
    reading.status = cn_bootstrap_read(&options, reading.pool, reading.report,
                                       &reading.bootstrap);
    unlink(path);

    return reading;
}


static const char *
said(const reading_t *reading, size_t at)
{
    assert_true(at < reading->report->entries.count);

    return cn_report_line(CN_ARRAY_AT(&reading->report->entries, cn_report_entry_t, at),
                          reading->pool);
}


static void
each_key_is_taken_or_refused_by_name(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        reading_t  reading = read_text(cases[i].text);

        if (cases[i].said == NULL) {
            if (reading.status != CN_OK) {
                print_error("%s\n", said(&reading, 0));
            }

            unit_check(reading.status == CN_OK, cases[i].name);

        } else {
            unit_check(reading.status != CN_OK, cases[i].name);
            unit_check(strstr(said(&reading, 0), cases[i].said) != NULL, cases[i].name);
        }

        cn_pool_destroy(reading.pool);
    }
}


static void
istiod_has_defaults(void **state)
{
    reading_t                     reading = read_text("source: {istiod: {address: \"[::1]:15012\", "
                                                      NODE "}}\n");
    const cn_bootstrap_istiod_t  *istiod = &reading.bootstrap.istiod;

    (void) state;
    assert_int_equal(reading.status, CN_OK);
    assert_string_equal(istiod->server.address, "[::1]:15012");
    assert_string_equal(istiod->server.host, "::1");
    assert_int_equal(istiod->server.port, 15012);
    assert_string_equal(istiod->server.server_name, "::1");
    assert_string_equal(istiod->server.cluster_id, "Kubernetes");
    assert_false(istiod->server.plaintext);
    assert_null(istiod->server.token);
    assert_null(istiod->server.root);
    assert_int_equal(istiod->server.keepalive_ms, 30000);
    assert_int_equal(istiod->server.keepalive_timeout_ms, 10000);
    assert_true(istiod->delta);
    assert_string_equal(istiod->node, "{\"id\":\"waypoint~10.0.0.1~w.d~d.svc.cluster.local\"}");
    cn_pool_destroy(reading.pool);

    reading = read_text("source: {istiod: {address: \"istiod.svc.:15012\", " NODE "}}\n");
    istiod = &reading.bootstrap.istiod;
    assert_string_equal(istiod->server.host, "istiod.svc.");
    assert_string_equal(istiod->server.server_name, "istiod.svc");
    cn_pool_destroy(reading.pool);
}


static void
every_key_of_istiod_arrives(void **state)
{
    reading_t  reading = read_text(
        "source:\n"
        "  istiod:\n"
        "    address: istiod.istio-system.svc:15012\n"
        "    root: /r.pem\n"
        "    server_name: istiod-canary.istio-system.svc\n"
        "    token: /t\n"
        "    cluster_id: east\n"
        "    delta: false\n"
        "    node:\n"
        "      id: a\n"
        "      cluster: b\n"
        "      metadata: {ENABLE_HBONE: \"true\", PORT: 15021, RATIO: 0.5, L: [x, true, ~], M: {}}\n"
        "policies: more\n");
    const cn_bootstrap_istiod_t  *istiod = &reading.bootstrap.istiod;
    cn_status_t                   built;

    (void) state;
    assert_int_equal(reading.status, CN_OK);
    assert_string_equal(istiod->server.host, "istiod.istio-system.svc");
    assert_string_equal(istiod->server.server_name, "istiod-canary.istio-system.svc");
    assert_string_equal(istiod->server.root, "/r.pem");
    assert_string_equal(istiod->server.token, "/t");
    assert_string_equal(istiod->server.cluster_id, "east");
    assert_false(istiod->delta);
    assert_string_equal(istiod->node,
                        "{\"id\":\"a\",\"cluster\":\"b\",\"metadata\":{\"ENABLE_HBONE\":\"true\","
                        "\"PORT\":15021,\"RATIO\":0.5,\"L\":[\"x\",true,null],\"M\":{}}}");
    assert_string_equal(reading.bootstrap.policies, "more");

    built = cn_bootstrap_check_built(&reading.bootstrap, reading.report);
    assert_int_equal(built, CN_ERR_UNSUPPORTED);
    assert_string_equal(said(&reading, 0), "error: policies: not implemented yet");
    cn_pool_destroy(reading.pool);
}


static void
every_key_of_the_ca_arrives(void **state)
{
    reading_t  reading = read_text(
        "identity:\n"
        "  istio_ca:\n"
        "    address: istiod:15012\n"
        "    root: /r.pem\n"
        "    server_name: ca\n"
        "    token: /t\n"
        "    cluster_id: east\n"
        "    trust_domain: mesh\n"
        "    service_account: wp\n"
        "    ttl: 1h\n"
        "    key: rsa-3072\n"
        "    grace_ratio: 0.25\n"
        "    grace_jitter: 0.02\n");
    const cn_bootstrap_ca_t  *ca = &reading.bootstrap.ca;

    (void) state;
    assert_int_equal(reading.status, CN_OK);
    assert_int_equal(reading.bootstrap.identity, CN_IDENTITY_ISTIO_CA);
    assert_string_equal(ca->server.server_name, "ca");
    assert_string_equal(ca->server.root, "/r.pem");
    assert_string_equal(ca->server.token, "/t");
    assert_string_equal(ca->server.cluster_id, "east");
    assert_string_equal(reading.bootstrap.trust_domain, "mesh");
    assert_string_equal(reading.bootstrap.waypoint_account, "wp");
    assert_int_equal(ca->ttl_ms, 3600000);
    assert_int_equal(ca->key.kind, CN_KEY_RSA);
    assert_int_equal(ca->key.rsa_bits, 3072);
    assert_int_equal(ca->grace_ppm, 250000);
    assert_int_equal(ca->grace_jitter_ppm, 20000);
    cn_pool_destroy(reading.pool);

    reading = read_text("identity: {istio_ca: {address: \"i:1\"}}");
    ca = &reading.bootstrap.ca;
    assert_int_equal(ca->key.kind, CN_KEY_P256);
    assert_int_equal(ca->ttl_ms, 86400000);
    assert_int_equal(ca->grace_ppm, 500000);
    assert_int_equal(ca->grace_jitter_ppm, 10000);
    assert_string_equal(reading.bootstrap.trust_domain, "cluster.local");
    cn_pool_destroy(reading.pool);
}


static void
the_pid_file_can_be_left_out(void **state)
{
    reading_t  reading = read_text("pid: off\nterm_waits_for_idle: true\n");

    (void) state;
    assert_null(reading.bootstrap.pid_path);
    assert_true(reading.bootstrap.term_waits_for_idle);
    cn_pool_destroy(reading.pool);

    reading = read_text("pid: x.pid\n");
    assert_string_equal(reading.bootstrap.pid_path, "x.pid");
    assert_false(reading.bootstrap.term_waits_for_idle);
    cn_pool_destroy(reading.pool);
}


static void
it_is_printed_as_json(void **state)
{
    reading_t  reading = read_text("source: {istiod: {address: \"i:1\", token: /t, " NODE "}}\n"
                                   "identity: {istio_ca: {address: \"i:2\"}}\n"
                                   "listen: {plaintext: [\"127.0.0.1:1\"]}\n");
    json_t    *json = json_loads(cn_bootstrap_print(&reading.bootstrap), 0, NULL);
    json_t    *istiod = json_object_get(json_object_get(json, "source"), "istiod");
    json_t    *ca = json_object_get(json_object_get(json, "identity"), "istio_ca");

    (void) state;
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(istiod, "token")), "/t");
    assert_true(json_is_object(json_object_get(istiod, "node")));
    assert_string_equal(json_string_value(json_object_get(ca, "key")), "ecdsa-p256");
    assert_int_equal(json_array_size(json_object_get(json, "plaintext")), 1);
    json_decref(json);
    cn_pool_destroy(reading.pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_key_is_taken_or_refused_by_name),
        cmocka_unit_test(istiod_has_defaults),
        cmocka_unit_test(every_key_of_istiod_arrives),
        cmocka_unit_test(every_key_of_the_ca_arrives),
        cmocka_unit_test(the_pid_file_can_be_left_out),
        cmocka_unit_test(it_is_printed_as_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
