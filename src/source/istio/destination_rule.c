/* SPDX-License-Identifier: Apache-2.0 */

/*
 * destination_rule - subsets of a service and how its endpoints are chosen.  The rules that count
 * come from one namespace: the waypoint's, else the service's, else the mesh's root namespace.
 */

#include "source/istio/istio.h"

#define ROOT_NAMESPACE  "istio-system"
#define RANK_NONE       3


static cn_lb_policy_t
read_simple(cn_read_t *read, cn_doc_t *balancer, const char *field)
{
    static const struct { const char *name; cn_lb_policy_t lb; } names[] = {
        { "UNSPECIFIED", CN_LB_LEAST_REQUEST },
        { "LEAST_REQUEST", CN_LB_LEAST_REQUEST },
        { "LEAST_CONN", CN_LB_LEAST_REQUEST },
        { "ROUND_ROBIN", CN_LB_ROUND_ROBIN },
        { "RANDOM", CN_LB_RANDOM },
    };
    cn_bytes_t                name;

    if (!cn_read_string(read, balancer, "simple", field, &name)) {
        return 0;
    }

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(names[i].name))) {
            return names[i].lb;
        }
    }

    cn_read_error(read, cn_doc_get(balancer, "simple"), cn_read_path(read, "%s.simple", field),
                  cn_bytes_equal(name, CN_BYTES("PASSTHROUGH"))
                      ? "PASSTHROUGH is not implemented%.*s"
                                                                 : "\"%.*s\" is no load balancer",
                  cn_bytes_equal(name, CN_BYTES("PASSTHROUGH")) ? 0 : (int) name.len,
                      (const char *) name.ptr);

    return 0;
}


/*
 * ISTIO_MUTUAL is what the tunnel does anyway, and DISABLE asks for nothing more: neither adds TLS
 * within it.
 */
static void
read_tls(cn_read_t *read, cn_doc_t *policy, const char *field)
{
    static const char *const  unsupported[] = {
        "clientCertificate", "privateKey", "caCertificates", "credentialName", "subjectAltNames",
            "sni",
        "insecureSkipVerify", "caCrl", NULL
    };
    cn_doc_t                 *tls = cn_read_mapping(read, policy, "tls", field);
    const char               *path = cn_read_path(read, "%s.tls", field);
    cn_bytes_t                mode = CN_BYTES("DISABLE");

    if (tls == NULL) {
        return;
    }

    if (cn_read_string(read, tls, "mode", path, &mode) && !cn_bytes_equal(mode, CN_BYTES("DISABLE"))
        && !cn_bytes_equal(mode, CN_BYTES("ISTIO_MUTUAL")))
    {
        cn_read_error(read, cn_doc_get(tls, "mode"), cn_read_path(read, "%s.mode", path),
                      "%.*s is not implemented",
                      CN_BYTES_ARG(mode));
    }

    cn_read_unsupported(read, tls, path, unsupported);
}


static void
read_h2_upgrade(cn_read_t *read, cn_doc_t *http, const char *field, cn_pool_policy_t *pool)
{
    static const char *const  names[] = { "DEFAULT", "UPGRADE", "DO_NOT_UPGRADE" };
    cn_bytes_t                name;

    if (!cn_read_string(read, http, "h2UpgradePolicy", field, &name)) {
        return;
    }

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(names[i]))) {
            pool->h2_upgrade = (cn_h2_upgrade_t) i;
            return;
        }
    }

    cn_read_error(read, cn_doc_get(http, "h2UpgradePolicy"),
                  cn_read_path(read, "%s.h2UpgradePolicy", field), "\"%.*s\" is none",
                  CN_BYTES_ARG(name));
}


/* In whole milliseconds; 0 would mean that nothing was said. */
static void
read_time(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field, uint32_t *time_ms)
{
    if (cn_read_duration_ms(read, parent, key, field, time_ms) && *time_ms == 0) {
        cn_read_error(read, cn_doc_get(parent, key), cn_read_path(read, "%s.%s", field, key),
                      "0 is not implemented");
    }
}


static void
read_pool(cn_read_t *read, cn_doc_t *policy, const char *field, cn_pool_policy_t *pool)
{
    static const char *const  unsupported_http[] = {
        "http1MaxPendingRequests", "http2MaxRequests", "maxRequestsPerConnection", "maxRetries",
            "maxConcurrentStreams", NULL
    };
    static const char *const  unsupported_tcp[] = {
        "maxConnections", "tcpKeepalive", "maxConnectionDuration", NULL
    };
    const char               *path = cn_read_path(read, "%s.connectionPool", field);
    const char               *http_path = cn_read_path(read, "%s.http", path);
    const char               *tcp_path = cn_read_path(read, "%s.tcp", path);
    cn_doc_t                 *both = cn_read_mapping(read, policy, "connectionPool", field);
    cn_doc_t                 *http = cn_read_mapping(read, both, "http", path);
    cn_doc_t                 *tcp = cn_read_mapping(read, both, "tcp", path);

    pool->given = both != NULL;
    read_h2_upgrade(read, http, http_path, pool);
    (void) cn_read_bool(read, http, "useClientProtocol", http_path, &pool->client_protocol);
    read_time(read, http, "idleTimeout", http_path, &pool->idle_timeout_ms);
    read_time(read, tcp, "idleTimeout", tcp_path, &pool->tcp_idle_timeout_ms);
    read_time(read, tcp, "connectTimeout", tcp_path, &pool->connect_timeout_ms);
    cn_read_unsupported(read, http, http_path, unsupported_http);
    cn_read_unsupported(read, tcp, tcp_path, unsupported_tcp);
}


static void
read_policy(cn_read_t *read, cn_doc_t *parent, const char *field, cn_traffic_policy_t *made)
{
    static const char *const  unsupported[] = {
        "outlierDetection", "portLevelSettings", "tunnel", "proxyProtocol",
            "retryBudget", NULL
    };
    static const char *const  unsupported_balancer[] = {
        "consistentHash", "localityLbSetting", "warmupDurationSecs", "warmup", NULL
    };
    cn_doc_t                 *policy = cn_read_mapping(read, parent, "trafficPolicy", field);
    const char               *path = cn_read_path(read, "%s.trafficPolicy", field);
    const char               *inner = cn_read_path(read, "%s.loadBalancer", path);
    cn_doc_t                 *balancer = cn_read_mapping(read, policy, "loadBalancer", path);

    read_tls(read, policy, path);
    read_pool(read, policy, path, &made->pool);
    cn_read_unsupported(read, policy, path, unsupported);
    cn_read_unsupported(read, balancer, inner, unsupported_balancer);

    made->lb = read_simple(read, balancer, inner);
}


static void
read_subset(cn_read_t *read, cn_doc_t *item, const char *field, cn_array_t *subsets)
{
    cn_subset_t   subset = { .labels = CN_ARRAY_INIT(read->pool, cn_label_t) };
    cn_subset_t  *slot;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    if (cn_read_need_string(read, item, "name", field, &subset.name)) {
        CN_ARRAY_EACH(subsets, const cn_subset_t, other) {
            if (cn_bytes_equal(other->name, subset.name)) {
                cn_read_error(read, item, cn_read_path(read, "%s.name", field),
                              "subset %.*s is there twice", CN_BYTES_ARG(subset.name));
            }
        }
    }

    cn_istio_labels(read, item, "labels", field, &subset.labels);
    read_policy(read, item, field, &subset.policy);
    subset.origin = cn_istio_origin(read, item);
    slot = cn_array_add(subsets);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = subset;
}


static unsigned
rank(const cn_istio_t *istio, const cn_kube_service_t *service, cn_bytes_t name_space)
{
    if (cn_bytes_equal(name_space, istio->model->name_space)) {
        return 0;
    }

    if (cn_bytes_equal(name_space, service->name_space)) {
        return 1;
    }

    return cn_bytes_equal(name_space, CN_BYTES(ROOT_NAMESPACE)) ? 2 : RANK_NONE;
}


static void
attach(cn_istio_t *istio, cn_read_t *read, cn_destination_rule_t *rule)
{
    cn_kube_service_t          *service = rule->service;
    unsigned                    mine = rank(istio, service, rule->name_space);
    cn_destination_rule_ref_t  *first = service->rules.items;
    cn_destination_rule_ref_t  *slot;

    if (mine == RANK_NONE) {
        cn_read_warn(read, read->resource->root, "metadata.namespace",
                     "is neither the waypoint's nor the service's: the rule has no effect");
        return;
    }

    if (service->rules.count > 0) {
        unsigned  theirs = rank(istio, service, (*first)->name_space);

        if (mine > theirs) {
            return;
        }

        if (mine < theirs) {
            service->rules.count = 0;
        }
    }

    slot = cn_array_add(&service->rules);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = rule;
}


void
cn_istio_read_destination_rule(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    static const char *const  unsupported[] = { "workloadSelector", NULL };
    static const char *const  ignored[] = { "exportTo", NULL };
    cn_destination_rule_t    *made = cn_istio_new(read, sizeof(*made));
    cn_doc_t                 *subsets;
    cn_bytes_t                host;
    size_t                    index = 0;

    if (made == NULL) {
        return;
    }

    *made = (cn_destination_rule_t) {
        .name_space = resource->name_space,
        .subsets = CN_ARRAY_INIT(read->pool, cn_subset_t),
        .origin = cn_istio_origin(read, resource->root),
    };

    if (cn_read_need_string(read, resource->spec == NULL ? resource->root : resource->spec, "host",
                            "spec", &host)) {
        made->service = cn_istio_service(istio, host, resource->name_space);

        if (made->service == NULL) {
            cn_read_error(read, cn_doc_get(resource->spec, "host"), "spec.host",
                          "there is no service %.*s",
                          CN_BYTES_ARG(cn_istio_full_host(istio, host, resource->name_space)));
        }
    }

    read_policy(read, resource->spec, "spec", &made->policy);
    subsets = cn_read_sequence(read, resource->spec, "subsets", "spec");

    CN_DOC_EACH(subsets, item) {
        read_subset(read, item, cn_read_path(read, "spec.subsets[%zu]", index++), &made->subsets);
    }

    cn_read_unsupported(read, resource->spec, "spec", unsupported);
    cn_read_ignore(resource->spec, ignored);
    cn_istio_finish(read);

    if (read->errors == 0) {
        attach(istio, read, made);
    }
}


void
cn_istio_refuse_destination_rule(cn_istio_t *istio, const cn_resource_t *resource)
{
    cn_doc_t           *host = cn_doc_get(resource->spec, "host");
    cn_kube_service_t  *service = host == NULL ? NULL
        : cn_istio_service(istio, host->text, resource->name_space);

    if (service != NULL) {
        service->refused = true;
    }
}
