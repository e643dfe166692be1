/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The environment of Istio's agent as a bootstrap; the Node is compared with those that the agent
 * itself was seen to send for the same environment.
 */

#include "unit.h"

#include "server/entrypoint.h"

#include <jansson.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORDED       "t/unit/server/recorded/"
#define VARIABLES_MAX  64
#define WORDS_MAX      32

/* A pod: a directory for its files, an environment, arguments. */
typedef struct {
    char             root[64];
    char            *environment[VARIABLES_MAX + 1];
    size_t           variables;
    char            *arguments[WORDS_MAX + 1];
    const char      *addresses[4];
    uint32_t         cores;
    cn_pool_t       *pool;
    cn_report_t     *report;
    cn_bootstrap_t   bootstrap;
    cn_status_t      status;
} pod_t;

static const char  labels[] =
    "app=\"waypoint\"\n"
    "gateway.istio.io/managed=\"istio.io-mesh-controller\"\n"
    "gateway.networking.k8s.io/gateway-class-name=\"istio-waypoint\"\n"
    "gateway.networking.k8s.io/gateway-name=\"waypoint\"\n"
    "istio.io/dataplane-mode=\"none\"\n"
    "service.istio.io/canonical-name=\"waypoint\"\n"
    "service.istio.io/canonical-revision=\"latest\"\n"
    "sidecar.istio.io/inject=\"false\"";

static const char  annotations[] =
    "istio.io/rev=\"default\"\n"
    "kubernetes.io/config.seen=\"2026-08-22T15:00:18.000000000Z\"\n"
    "kubernetes.io/config.source=\"api\"\n"
    "prometheus.io/path=\"/stats/prometheus\"\n"
    "prometheus.io/port=\"15020\"\n"
    "prometheus.io/scrape=\"true\"";

static const char *const  environment[] = {
    "ISTIO_META_SERVICE_ACCOUNT=waypoint",
    "ISTIO_META_NODE_NAME=node-a",
    "PILOT_CERT_PROVIDER=istiod",
    "CA_ADDR=istiod.istio-system.svc:15012",
    "POD_NAME=waypoint-6d5f8c9b4d-x7k2p",
    "POD_NAMESPACE=default",
    "INSTANCE_IP=10.244.1.50",
    "SERVICE_ACCOUNT=waypoint",
    "HOST_IP=172.18.0.2",
    "ISTIO_CPU_LIMIT=2",
    "PROXY_CONFIG={\"image\":{\"imageType\":\"distroless\"},"
    "\"proxyMetadata\":{\"ISTIO_META_ENABLE_HBONE\":\"true\"}}",
    "ISTIO_META_ENABLE_HBONE=true",
    "GOMEMLIMIT=1073741824",
    "ISTIO_META_CLUSTER_ID=Kubernetes",
    "ISTIO_META_INTERCEPTION_MODE=REDIRECT",
    "ISTIO_META_WORKLOAD_NAME=waypoint",
    "ISTIO_META_OWNER=kubernetes://apis/apps/v1/namespaces/default/deployments/waypoint",
    "ISTIO_META_MESH_ID=cluster.local",
};

static const char *const  words[] = {
    "waypoint", "--domain", "default.svc.cluster.local", "--serviceCluster", "waypoint.default",
    "--proxyLogLevel", "warning", "--proxyComponentLogLevel", "misc:error", "--log_output_level",
    "default:info",
};


/* ---- a pod ----------------------------------------------------------------------------------- */

static const char *
path_in(const pod_t *pod, const char *path)
{
    static char  full[512];

    snprintf(full, sizeof(full), "%s%s", pod->root, path);

    return full;
}


static void
make_directories(const pod_t *pod, const char *path)
{
    char  full[512];

    snprintf(full, sizeof(full), "%s%s", pod->root, path);

    for (char *at = full + strlen(pod->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(full, 0755);
        *at = '/';
    }
}


static void
put_file(const pod_t *pod, const char *path, const char *text)
{
    make_directories(pod, path);

    FILE  *file = fopen(path_in(pod, path), "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}


/* Sets or replaces NAME=VALUE; "NAME" takes it away. */
static void
set_variable(pod_t *pod, const char *variable)
{
    size_t  len = strcspn(variable, "=");
    size_t  at = 0;

    while (at < pod->variables && !(strncmp(pod->environment[at], variable, len) == 0
                                    && pod->environment[at][len] == '='))
    {
        at++;
    }

    if (at < pod->variables) {
        free(pod->environment[at]);
        pod->environment[at] = pod->environment[--pod->variables];
        pod->environment[pod->variables] = NULL;
    }

    if (variable[len] == '=') {
        assert_true(pod->variables < VARIABLES_MAX);
        pod->environment[pod->variables++] = strdup(variable);
    }
}


static void
pod_start(pod_t *pod)
{
    char  variable[128];

    *pod = (pod_t) { .root = "/tmp/cairn-pod-XXXXXX", .cores = 8 };
    assert_non_null(mkdtemp(pod->root));
    put_file(pod, "/etc/istio/pod/labels", labels);
    put_file(pod, "/etc/istio/pod/annotations", annotations);

    for (size_t i = 0; i < CN_COUNT_OF(environment); i++) {
        set_variable(pod, environment[i]);
    }

    for (size_t i = 0; i < CN_COUNT_OF(words); i++) {
        pod->arguments[i] = (char *) words[i];
    }

    snprintf(variable, sizeof(variable), "CAIRN_ROOT=%s", pod->root);
    set_variable(pod, variable);
}


static void
pod_read(pod_t *pod)
{
    cn_entrypoint_input_t  input = {
        .arguments = pod->arguments,
        .environment = pod->environment,
        .addresses = pod->addresses,
        .cores = pod->cores,
    };

    cn_pool_destroy(pod->pool);
    pod->pool = cn_pool_create(4096, NULL);
    assert_non_null(pod->pool);
    pod->report = cn_report_create(pod->pool);
    assert_non_null(pod->report);
    pod->status = cn_entrypoint_read(&input, pod->pool, pod->report, &pod->bootstrap);
}


static void
pod_end(pod_t *pod)
{
    static const char *const  left[] = {
        "/etc/istio/pod/labels", "/etc/istio/pod/annotations", "/etc/istio/pod", "/etc/istio",
        "/etc", "/var/run/secrets/workload-spiffe-uds/socket",
        "/var/run/secrets/workload-spiffe-uds",
        "/var/run/secrets/workload-spiffe-credentials/cert-chain.pem",
        "/var/run/secrets/workload-spiffe-credentials/key.pem",
        "/var/run/secrets/workload-spiffe-credentials/root-cert.pem",
        "/var/run/secrets/workload-spiffe-credentials", "/var/run/secrets", "/var/run", "/var", "",
    };

    for (size_t i = 0; i < CN_COUNT_OF(left); i++) {
        remove(path_in(pod, left[i]));
    }

    assert_int_equal(access(pod->root, F_OK), -1);  /* and nothing else was written */

    for (size_t i = 0; i < pod->variables; i++) {
        free(pod->environment[i]);
    }

    cn_pool_destroy(pod->pool);
}


static const char *
said(const pod_t *pod, size_t at)
{
    assert_true(at < pod->report->entries.count);

    return cn_report_line(CN_ARRAY_AT(&pod->report->entries, cn_report_entry_t, at), pod->pool);
}


static void
assert_read(pod_t *pod)
{
    pod_read(pod);

    if (pod->status != CN_OK) {
        print_error("%s\n", said(pod, 0));
        fail();
    }
}


/* ---- the node -------------------------------------------------------------------------------- */

/* Field by field, so that a difference is told by name. */
static void
assert_same_object(const char *where, json_t *left, json_t *right)
{
    const char  *key;
    json_t      *value;

    json_object_foreach(left, key, value) {
        if (!json_equal(value, json_object_get(right, key))) {
            char  *one = json_dumps(value, JSON_ENCODE_ANY);
            char  *two = json_dumps(json_object_get(right, key), JSON_ENCODE_ANY);

            print_error("%s.%s: %s is not %s\n", where, key, one, two != NULL ? two : "there");
            free(one);
            free(two);
            fail();
        }
    }

    assert_int_equal(json_object_size(left), json_object_size(right));
}


static void
assert_recorded(pod_t *pod, const char *file)
{
    json_t  *recorded = json_load_file(file, 0, NULL);
    json_t  *node;

    assert_non_null(recorded);
    assert_read(pod);
    node = json_loads(pod->bootstrap.istiod.node, 0, NULL);
    assert_non_null(node);
    assert_same_object("metadata", json_object_get(recorded, "metadata"),
                       json_object_get(node, "metadata"));
    assert_same_object("node", recorded, node);
    json_decref(node);
    json_decref(recorded);
}


static void
the_node_is_the_one_that_was_recorded(void **state)
{
    pod_t  pod;
    char   text[2048];

    (void) state;
    pod_start(&pod);
    assert_recorded(&pod, RECORDED "plain.json");

    set_variable(&pod, "ISTIO_META_NETWORK=network-1");
    assert_recorded(&pod, RECORDED "multinetwork.json");
    set_variable(&pod, "ISTIO_META_NETWORK");

    pod.addresses[0] = "10.244.1.50";       /* the interface's own: not twice */
    pod.addresses[1] = "fd00:10:244::50";
    assert_recorded(&pod, RECORDED "dualstack.json");
    pod.addresses[0] = NULL;

    snprintf(text, sizeof(text), "%s\nambient.istio.io/xfcc-include-client-identity=\"true\"\n",
             annotations);
    put_file(&pod, "/etc/istio/pod/annotations", text);
    assert_recorded(&pod, RECORDED "annotated.json");
    pod_end(&pod);
}


static json_t *
metadata_of(pod_t *pod, json_t **node)
{
    assert_read(pod);
    *node = json_loads(pod->bootstrap.istiod.node, 0, NULL);

    return json_object_get(*node, "metadata");
}


static void
the_environment_goes_into_the_metadata(void **state)
{
    pod_t    pod;
    json_t  *node, *metadata;

    (void) state;
    pod_start(&pod);
    set_variable(&pod, "ISTIO_META_ISTIO_VERSION=1.29.1");
    set_variable(&pod, "ISTIO_META_EMPTY=");
    set_variable(&pod, "ISTIO_METAJSON_STATS={\"HISTOGRAM\": {\"x\": [1, 2]}, \"LABELS\": "
                       "{\"app\": \"other\", \"zone\": \"z\"}}");
    set_variable(&pod, "PROXY_CONFIG={proxyMetadata: {ISTIO_META_FROM_CONFIG: a, "
                       "ISTIO_META_CLUSTER_ID: b, OTHER: c}}");
    set_variable(&pod, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS=true");
    metadata = metadata_of(&pod, &node);

    assert_string_equal(json_string_value(json_object_get(metadata, "ISTIO_VERSION")), "1.29.1");
    assert_null(json_object_get(metadata, "EMPTY"));
    assert_true(json_is_object(json_object_get(metadata, "HISTOGRAM")));
    assert_null(json_object_get(metadata, "STATS"));
    assert_string_equal(json_string_value(json_object_get(metadata, "FROM_CONFIG")), "a");
    assert_string_equal(json_string_value(json_object_get(metadata, "CLUSTER_ID")), "Kubernetes");
    assert_null(json_object_get(metadata, "OTHER"));
    assert_string_equal(
        json_string_value(json_object_get(metadata, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS")), "true");

    metadata = json_object_get(metadata, "LABELS");
    assert_string_equal(json_string_value(json_object_get(metadata, "app")), "waypoint");
    assert_string_equal(json_string_value(json_object_get(metadata, "zone")), "z");
    json_decref(node);
    pod_end(&pod);
}


static void
proxy_config_is_merged(void **state)
{
    pod_t    pod;
    json_t  *node, *config;

    (void) state;
    pod_start(&pod);
    put_file(&pod, "/etc/istio/pod/annotations",
             "proxy.istio.io/config=\"terminationDrainDuration: 9s\\nproxyMetadata:\\n  "
             "MINIMUM_DRAIN_DURATION: 3s\\n\"\n");
    set_variable(&pod, "PROXY_CONFIG={\"discoveryAddress\": \"other:15012\", "
                       "\"terminationDrainDuration\": \"7s\", \"proxyMetadata\": {\"A\": \"b\"}}");
    config = json_object_get(metadata_of(&pod, &node), "PROXY_CONFIG");

    assert_string_equal(json_string_value(json_object_get(config, "discoveryAddress")),
                        "other:15012");
    assert_int_equal(json_object_size(json_object_get(config, "proxyMetadata")), 2);
    assert_int_equal(pod.bootstrap.drain_ms, 9000);
    assert_string_equal(pod.bootstrap.istiod.server.host, "other");
    json_decref(node);

    /* a variable of the environment may stand in proxyMetadata instead */
    set_variable(&pod, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS=1");
    assert_read(&pod);
    assert_int_equal(pod.bootstrap.drain_minimum_ms, 3000);

    set_variable(&pod, "PROXY_CONFIG={privateKeyProvider: {cryptomb: {}}}");
    assert_read(&pod);
    assert_string_equal(said(&pod, 1),
                        "warning: PROXY_CONFIG: privateKeyProvider is not implemented yet");
    pod_end(&pod);
}


/* ---- the bootstrap --------------------------------------------------------------------------- */

static void
assert_address(const cn_array_t *list, size_t at, const char *expected)
{
    char  text[CN_ADDRESS_TEXT_MAX];

    assert_true(at < list->count);
    (void) cn_address_print(CN_ARRAY_AT(list, cn_address_t, at), text);
    assert_string_equal(text, expected);
}


static void
a_plain_pod_has_what_the_agent_has(void **state)
{
    pod_t                  pod;
    const cn_bootstrap_t  *out = &pod.bootstrap;

    (void) state;
    pod_start(&pod);
    assert_read(&pod);

    assert_address(&out->hbone, 0, "0.0.0.0:15008");
    assert_address(&out->status, 0, "0.0.0.0:15021");
    assert_address(&out->metrics, 0, "0.0.0.0:15020");
    assert_address(&out->metrics, 1, "0.0.0.0:15090");
    assert_address(&out->admin, 0, "127.0.0.1:15000");
    assert_int_equal(out->hbone.count + out->status.count + out->metrics.count + out->admin.count,
                     5);
    assert_int_equal(out->workers, 2);
    assert_null(out->pid_path);
    assert_null(out->source_files);
    assert_int_equal(out->log_level, CN_LOG_INFO);
    assert_string_equal(out->log_path, "stderr");
    assert_string_equal(out->waypoint, "default/waypoint");
    assert_string_equal(out->waypoint_account, "waypoint");
    assert_int_equal(out->drain_ms, 5000);
    assert_int_equal(out->drain_deadline_ms, 5000);
    assert_int_equal(out->drain_minimum_ms, 0);
    assert_false(out->term_waits_for_idle);

    assert_string_equal(out->istiod.server.address, "istiod.istio-system.svc:15012");
    assert_string_equal(out->istiod.server.server_name, "istiod.istio-system.svc");
    assert_true(out->istiod.delta);
    assert_false(out->istiod.server.plaintext);
    assert_string_equal(out->istiod.server.root,
                        path_in(&pod, "/var/run/secrets/istio/root-cert.pem"));
    assert_string_equal(out->istiod.server.token,
                        path_in(&pod, "/var/run/secrets/tokens/istio-token"));
    assert_int_equal(out->identity, CN_IDENTITY_ISTIO_CA);
    assert_string_equal(out->ca.server.host, "istiod.istio-system.svc");
    assert_int_equal(out->ca.key.kind, CN_KEY_P256);
    assert_int_equal(out->ca.ttl_ms, 86400000);
    assert_string_equal(out->trust_domain, "cluster.local");
    pod_end(&pod);
}


static void
the_control_plane_is_as_the_environment_says(void **state)
{
    static const char *const  variables[] = {
        "ISTIOD_SAN=istiod-canary", "TRUST_DOMAIN=mesh",
        "CAIRN_TRUST_DOMAIN_ALIASES=old, older", "CA_ADDR=ca.example:443", "CA_ROOT_CA=SYSTEM",
        "XDS_ROOT_CA=/r.pem", "XDS_HEADER_X-Tenant=t", "CA_HEADER_KEY=k=v", "SECRET_TTL=1h30m",
        "SECRET_GRACE_PERIOD_RATIO=0.3", "SECRET_GRACE_PERIOD_RATIO_JITTER=0.05",
        "WORKLOAD_RSA_KEY_SIZE=4096", "GRPC_KEEPALIVE_INTERVAL=45s", "GRPC_KEEPALIVE_TIMEOUT=3s",
        "ISTIO_META_CLUSTER_ID=east",
    };
    pod_t                         pod;
    const cn_bootstrap_istiod_t  *istiod = &pod.bootstrap.istiod;
    const cn_bootstrap_ca_t      *ca = &pod.bootstrap.ca;
    const cn_grpc_metadata_t     *header;

    (void) state;
    pod_start(&pod);

    for (size_t i = 0; i < CN_COUNT_OF(variables); i++) {
        set_variable(&pod, variables[i]);
    }

    assert_read(&pod);
    assert_string_equal(istiod->server.server_name, "istiod-canary");
    assert_string_equal(istiod->server.root, path_in(&pod, "/r.pem"));
    assert_string_equal(istiod->server.cluster_id, "east");
    assert_int_equal(istiod->server.keepalive_ms, 45000);
    assert_int_equal(istiod->server.keepalive_timeout_ms, 3000);
    assert_int_equal(istiod->server.headers.count, 1);
    header = istiod->server.headers.items;
    assert_bytes(header->name, "x-tenant");
    assert_bytes(header->value, "t");

    assert_string_equal(ca->server.server_name, "ca.example");
    assert_int_equal(ca->server.port, 443);
    assert_null(ca->server.root);
    header = ca->server.headers.items;
    assert_bytes(header->name, "key");
    assert_bytes(header->value, "k=v");
    assert_int_equal(ca->ttl_ms, 5400000);
    assert_int_equal(ca->grace_ppm, 300000);
    assert_int_equal(ca->grace_jitter_ppm, 50000);
    assert_int_equal(ca->key.kind, CN_KEY_RSA);
    assert_int_equal(ca->key.rsa_bits, 4096);
    assert_string_equal(pod.bootstrap.trust_domain, "mesh");
    assert_int_equal(pod.bootstrap.trust_aliases.count, 2);
    assert_bytes(*CN_ARRAY_AT(&pod.bootstrap.trust_aliases, cn_bytes_t, 1), "older");

    set_variable(&pod, "ECC_SIGNATURE_ALGORITHM=ECDSA");
    set_variable(&pod, "ECC_CURVE=P384");
    set_variable(&pod, "PROXY_CONFIG={discoveryAddress: \"istiod:15010\", "
                       "controlPlaneAuthPolicy: NONE}");
    assert_read(&pod);
    assert_int_equal(ca->key.kind, CN_KEY_P384);
    assert_true(istiod->server.plaintext);
    assert_null(istiod->server.token);
    assert_null(istiod->server.root);
    pod_end(&pod);
}


static void
put_socket(const pod_t *pod, const char *path)
{
    struct sockaddr_un  name = { .sun_family = AF_UNIX };
    int                 fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    make_directories(pod, path);
    snprintf(name.sun_path, sizeof(name.sun_path), "%s%s", pod->root, path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &name, sizeof(name)), 0);
    close(fd);
}


static void
the_identity_is_the_first_that_is_there(void **state)
{
    pod_t                  pod;
    const cn_bootstrap_t  *out = &pod.bootstrap;
    const char            *credentials = "/var/run/secrets/workload-spiffe-credentials/";
    char                   path[256];

    (void) state;
    pod_start(&pod);

    snprintf(path, sizeof(path), "%scert-chain.pem", credentials);
    put_file(&pod, path, "x");
    snprintf(path, sizeof(path), "%skey.pem", credentials);
    put_file(&pod, path, "x");
    assert_read(&pod);
    assert_int_equal(out->identity, CN_IDENTITY_ISTIO_CA);      /* not all three */

    snprintf(path, sizeof(path), "%sroot-cert.pem", credentials);
    put_file(&pod, path, "x");
    assert_read(&pod);
    assert_int_equal(out->identity, CN_IDENTITY_FILES);
    assert_string_equal(out->root, path_in(&pod, path));

    set_variable(&pod, "FILE_MOUNTED_CERTS=true");
    assert_read(&pod);
    assert_int_equal(out->identity, CN_IDENTITY_FILES);
    assert_string_equal(out->key, path_in(&pod, "/etc/certs/key.pem"));

    put_socket(&pod, "/var/run/secrets/workload-spiffe-uds/socket");
    assert_read(&pod);
    assert_int_equal(out->identity, CN_IDENTITY_SOCKET);
    assert_string_equal(out->identity_socket,
                        path_in(&pod, "/var/run/secrets/workload-spiffe-uds/socket"));
    assert_int_equal(cn_bootstrap_check_built(out, pod.report), CN_ERR_UNSUPPORTED);
    pod_end(&pod);
}


static void
term_waits_for_connections_if_told(void **state)
{
    pod_t                  pod;
    const cn_bootstrap_t  *out = &pod.bootstrap;

    (void) state;
    pod_start(&pod);
    set_variable(&pod, "EXIT_ON_ZERO_ACTIVE_CONNECTIONS=true");
    set_variable(&pod, "MINIMUM_DRAIN_DURATION=8s");
    assert_read(&pod);
    assert_true(out->term_waits_for_idle);
    assert_int_equal(out->drain_ms, 8000);
    assert_int_equal(out->drain_minimum_ms, 8000);
    assert_true(out->drain_deadline_ms == CN_DRAIN_FOREVER);
    pod_end(&pod);
}


static void
addresses_and_ports_are_the_pods(void **state)
{
    pod_t                  pod;
    const cn_bootstrap_t  *out = &pod.bootstrap;

    (void) state;
    pod_start(&pod);
    set_variable(&pod, "INSTANCE_IP=fd00::5");
    assert_read(&pod);
    assert_int_equal(out->hbone.count, 1);
    assert_address(&out->hbone, 0, "[::]:15008");
    assert_address(&out->admin, 0, "[::1]:15000");

    pod.addresses[0] = "10.0.0.5";
    set_variable(&pod, "ENVOY_STATUS_PORT=25021");
    set_variable(&pod, "ENVOY_PROMETHEUS_PORT=25090");
    set_variable(&pod, "CAIRN_HBONE_PORT=25008");
    set_variable(&pod, "PROXY_CONFIG={proxyAdminPort: 25000, statusPort: 25020}");
    assert_read(&pod);
    assert_int_equal(out->hbone.count, 2);
    assert_address(&out->hbone, 0, "0.0.0.0:25008");
    assert_address(&out->status, 1, "[::]:25021");
    assert_address(&out->metrics, 0, "0.0.0.0:25020");
    assert_address(&out->metrics, 3, "[::]:25090");
    assert_address(&out->admin, 0, "[::1]:25000");
    pod_end(&pod);
}


static const struct {
    const char  *name;
    const char  *variable;
    const char  *flag;
    uint32_t     cores;
    uint32_t     workers;
} worker_cases[] = {
    { "the limit",                 "ISTIO_CPU_LIMIT=2",              NULL,            8, 2 },
    { "the cores, being fewer",    "ISTIO_CPU_LIMIT=16",             NULL,            8, 8 },
    { "no limit",                  "ISTIO_CPU_LIMIT",                NULL,            8, 8 },
    { "ProxyConfig's before it",   "PROXY_CONFIG={concurrency: 3}",  NULL,            8, 3 },
    { "ProxyConfig's 0: all",      "PROXY_CONFIG={concurrency: 0}",  NULL,            8, 8 },
    { "the flag's before all",     "PROXY_CONFIG={concurrency: 3}", "--concurrency=4", 8, 4 },
    { "never above 64",            "ISTIO_CPU_LIMIT",                NULL,          200, 64 },
};


static void
workers_are_as_many_as_may_run(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(worker_cases); i++) {
        pod_t  pod;

        pod_start(&pod);
        set_variable(&pod, worker_cases[i].variable);
        pod.arguments[CN_COUNT_OF(words)] = (char *) worker_cases[i].flag;
        pod.cores = worker_cases[i].cores;
        assert_read(&pod);
        unit_check(pod.bootstrap.workers == worker_cases[i].workers, worker_cases[i].name);
        pod_end(&pod);
    }
}


static const struct {
    const char      *proxy;
    const char      *agent;
    cn_log_level_t   level;
} level_cases[] = {
    { "warning",  "default:info",             CN_LOG_INFO },
    { "debug",    "default:info",             CN_LOG_DEBUG },
    { "trace",    "default:none",             CN_LOG_DEBUG },
    { "off",      "none",                     CN_LOG_ALERT },
    { "critical", "ads:debug,default:error",  CN_LOG_ERROR },
    { "error",    "all:warn",                 CN_LOG_WARN },
};


static void
the_log_level_is_the_wider_of_both(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(level_cases); i++) {
        pod_t  pod;

        pod_start(&pod);
        pod.arguments[6] = (char *) level_cases[i].proxy;
        pod.arguments[10] = (char *) level_cases[i].agent;
        assert_read(&pod);
        unit_check(pod.bootstrap.log_level == level_cases[i].level, level_cases[i].proxy);
        pod_end(&pod);
    }
}


/* ---- what is wrong --------------------------------------------------------------------------- */

static const struct {
    const char  *name;
    const char  *variable;
    const char  *said;
} wrong_cases[] = {
    { "no name", "POD_NAME", "error: POD_NAME: expected to be set in the environment" },
    { "an empty one", "POD_NAMESPACE=", "error: POD_NAMESPACE: expected to be set" },
    { "no address", "INSTANCE_IP", "error: INSTANCE_IP: expected to be set" },
    { "an address that is none", "INSTANCE_IP=10.0.0", "error: INSTANCE_IP: expected an IP" },
    { "ProxyConfig that is none", "PROXY_CONFIG={", "PROXY_CONFIG" },
    { "ProxyConfig that is no mapping", "PROXY_CONFIG=[1]",
      "error: PROXY_CONFIG: expected one mapping" },
    { "a drain that is none", "PROXY_CONFIG={terminationDrainDuration: 5}",
      "error: terminationDrainDuration: expected a duration" },
    { "an address without a port", "PROXY_CONFIG={discoveryAddress: istiod}",
      "error: discoveryAddress: expected HOST:PORT" },
    { "a CA without a port", "CA_ADDR=istiod", "error: CA_ADDR: expected HOST:PORT" },
    { "a limit that is none", "ISTIO_CPU_LIMIT=2000m", "error: ISTIO_CPU_LIMIT: expected a number" },
    { "a life that is none", "SECRET_TTL=1d", "error: SECRET_TTL: expected a duration" },
    { "no life", "SECRET_TTL=0s", "error: SECRET_TTL: expected above 0s" },
    { "a ratio above 1", "SECRET_GRACE_PERIOD_RATIO=2",
      "error: SECRET_GRACE_PERIOD_RATIO: expected a number of 0..1" },
    { "a bool that is none", "EXIT_ON_ZERO_ACTIVE_CONNECTIONS=yes",
      "error: EXIT_ON_ZERO_ACTIVE_CONNECTIONS: expected true or false" },
    { "another signature", "ECC_SIGNATURE_ALGORITHM=ED25519",
      "error: ECC_SIGNATURE_ALGORITHM: expected ECDSA" },
    { "another curve", "ECC_CURVE=P521", "error: ECC_CURVE: expected P256 or P384" },
    { "a short key", "WORKLOAD_RSA_KEY_SIZE=1024", "error: WORKLOAD_RSA_KEY_SIZE: expected" },
    { "another CA", "CA_PROVIDER=GoogleCAS", "error: CA_PROVIDER: expected Citadel" },
    { "a binary header", "XDS_HEADER_X-BIN=a", "error: XDS_HEADER_: expected" },
    { "a header with a line end", "CA_HEADER_X=a\r\nb", "error: CA_HEADER_: expected" },
    { "a socket elsewhere", "WORKLOAD_IDENTITY_SOCKET_FILE=../x",
      "error: WORKLOAD_IDENTITY_SOCKET_FILE: expected a name" },
    { "metadata that is no object", "ISTIO_METAJSON_X=[1]", "error: ISTIO_METAJSON_: expected" },
    { "metadata that is no UTF-8", "ISTIO_META_X=\xff", "error: ISTIO_META_X: expected UTF-8" },
    { "a port that is none", "ENVOY_STATUS_PORT=0", "error: ENVOY_STATUS_PORT: expected" },
};


static void
what_is_wrong_is_told_by_its_name(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(wrong_cases); i++) {
        pod_t  pod;

        pod_start(&pod);
        set_variable(&pod, wrong_cases[i].variable);
        pod_read(&pod);
        unit_check(pod.status == CN_ERR_SYNTAX, wrong_cases[i].name);

        size_t  at = pod.report->entries.count - 1;

        if (strstr(said(&pod, at), wrong_cases[i].said) == NULL) {
            print_error("case \"%s\": %s\n", wrong_cases[i].name, said(&pod, at));
            fail();
        }

        pod_end(&pod);
    }
}


static void
another_role_is_refused(void **state)
{
    pod_t  pod;

    (void) state;
    pod_start(&pod);
    pod.arguments[0] = "sidecar";
    pod_read(&pod);
    assert_int_equal(pod.status, CN_ERR_SYNTAX);
    assert_string_equal(said(&pod, 0),
                        "error: proxy: expected waypoint: nothing else is served here");
    pod.arguments[0] = NULL;
    pod_read(&pod);
    assert_int_equal(pod.status, CN_ERR_SYNTAX);
    pod_end(&pod);
}


static void
unknown_flags_are_notes(void **state)
{
    static const char *const  more[] = {
        "waypoint", "--outlierLogPath=/dev/stdout", "--log_as_json", "--unknown", "value",
        "--concurrency", "1", "--last",
    };
    pod_t  pod;

    (void) state;
    pod_start(&pod);
    memset(pod.arguments, 0, sizeof(pod.arguments));

    for (size_t i = 0; i < CN_COUNT_OF(more); i++) {
        pod.arguments[i] = (char *) more[i];
    }

    assert_read(&pod);
    assert_int_equal(pod.bootstrap.workers, 1);
    assert_int_equal(pod.report->entries.count, 4);
    assert_string_equal(said(&pod, 0), "note: --outlierLogPath: has no effect here");
    assert_string_equal(said(&pod, 2), "note: --unknown: has no effect here");
    assert_string_equal(said(&pod, 3), "note: --last: has no effect here");

    /* and without --domain and --serviceCluster the node is the same */
    json_t  *node = json_loads(pod.bootstrap.istiod.node, 0, NULL);

    assert_string_equal(json_string_value(json_object_get(node, "cluster")), "waypoint.default");
    assert_non_null(strstr(json_string_value(json_object_get(node, "id")),
                           "~default.svc.cluster.local"));
    json_decref(node);
    pod_end(&pod);
}


static void
a_pod_without_its_files_is_served(void **state)
{
    pod_t  pod;

    (void) state;
    pod_start(&pod);
    unlink(path_in(&pod, "/etc/istio/pod/labels"));
    assert_read(&pod);
    assert_string_equal(said(&pod, 1),
                        "warning: /etc/istio/pod/labels: No such file or directory");
    assert_string_equal(pod.bootstrap.waypoint, "default/waypoint");
    pod_end(&pod);
}


/* Whatever the pool may not hold: no bootstrap comes of it that lacks a path, a name, an address. */
static void
spent_memory_is_never_a_setting_left_out(void **state)
{
    pod_t                  pod;
    unsigned               failures = 0;
    cn_pool_t             *other = cn_pool_create(4096, NULL);
    cn_entrypoint_input_t  input;
    cn_status_t            status = CN_ERR_MEMORY;

    (void) state;
    assert_non_null(other);
    pod_start(&pod);
    set_variable(&pod, "CAIRN_TRUST_DOMAIN_ALIASES=a,b");
    set_variable(&pod, "XDS_HEADER_A=b");
    input = (cn_entrypoint_input_t) {
        .arguments = pod.arguments, .environment = pod.environment, .cores = 2,
    };

    for (size_t limit = 1024; status != CN_OK; limit += 256) {
        cn_account_t           account = { .limit = limit };
        cn_pool_t             *pool = cn_pool_create(256, &account);
        cn_report_t           *report = cn_report_create(other);
        cn_bootstrap_t         out;

        assert_non_null(pool);
        assert_non_null(report);
        assert_true(limit < 1024 * 1024);
        status = cn_entrypoint_read(&input, pool, report, &out);
        failures += status != CN_OK;

        if (status == CN_OK) {
            assert_int_equal(report->errors, 0);
            assert_int_equal(out.hbone.count + out.admin.count + out.status.count
                             + out.metrics.count, 5);
            assert_string_equal(out.istiod.server.root,
                                path_in(&pod, "/var/run/secrets/istio/root-cert.pem"));
            assert_non_null(out.istiod.server.token);
            assert_int_equal(out.istiod.server.headers.count, 1);
            assert_int_equal(out.trust_aliases.count, 2);
            assert_non_null(out.ca.server.root);
            assert_string_equal(out.waypoint, "default/waypoint");
        }

        cn_pool_destroy(pool);
    }

    assert_true(failures > 5);
    cn_pool_destroy(other);
    pod_end(&pod);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_node_is_the_one_that_was_recorded),
        cmocka_unit_test(the_environment_goes_into_the_metadata),
        cmocka_unit_test(proxy_config_is_merged),
        cmocka_unit_test(a_plain_pod_has_what_the_agent_has),
        cmocka_unit_test(the_control_plane_is_as_the_environment_says),
        cmocka_unit_test(the_identity_is_the_first_that_is_there),
        cmocka_unit_test(term_waits_for_connections_if_told),
        cmocka_unit_test(addresses_and_ports_are_the_pods),
        cmocka_unit_test(workers_are_as_many_as_may_run),
        cmocka_unit_test(the_log_level_is_the_wider_of_both),
        cmocka_unit_test(what_is_wrong_is_told_by_its_name),
        cmocka_unit_test(another_role_is_refused),
        cmocka_unit_test(unknown_flags_are_notes),
        cmocka_unit_test(a_pod_without_its_files_is_served),
        cmocka_unit_test(spent_memory_is_never_a_setting_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
