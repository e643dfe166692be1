/* SPDX-License-Identifier: Apache-2.0 */

/*
 * build - the model of one waypoint out of what the directory says: which services are its own, a
 * chain for each of their ports, a cluster for each chain and subset, endpoints, workloads.  All
 * lists come out sorted.
 */

#include "source/istio/build.h"

#include "base/fiber.h"


/* ---- whose services -------------------------------------------------------------------------- */


/* The waypoint's own Service, and those of other waypoints, are not steered by a waypoint. */
static bool
is_waypoint_service(const cn_kube_service_t *service)
{
    return cn_bytes_equal(cn_istio_label(&service->labels, "gateway.istio.io/managed"),
                          CN_BYTES("istio.io-mesh-controller"));
}


/* Labels of a service or namespace: 0 nothing said, 1 this waypoint, -1 another or none. */
static int
label_says(const cn_istio_t *istio, const cn_array_t *labels, cn_bytes_t name_space)
{
    cn_bytes_t  name = cn_istio_label(labels, "istio.io/use-waypoint");
    cn_bytes_t  other = cn_istio_label(labels, "istio.io/use-waypoint-namespace");

    if (name.len == 0) {
        return 0;
    }

    if (cn_bytes_equal(name, CN_BYTES("none"))) {
        return -1;
    }

    if (other.len > 0) {
        name_space = other;
    }

    return cn_bytes_equal(name, istio->waypoint->name)
        && cn_bytes_equal(name_space, istio->waypoint->name_space) ? 1 : -1;
}


static bool
uses_waypoint(const cn_istio_t *istio, const cn_kube_service_t *service)
{
    const cn_namespace_t  *name_space;
    int                    says = label_says(istio, &service->labels, service->name_space);

    if (says != 0) {
        return says > 0;
    }

    name_space = cn_map_get(istio->namespaces, service->name_space);

    return name_space != NULL && label_says(istio, &name_space->labels, name_space->name) > 0;
}


/* A Gateway for a service account serves the services all of whose pods run as it. */
static bool
runs_as(cn_istio_builder_t *builder, const cn_kube_service_t *service, cn_bytes_t account)
{
    const cn_array_t  *pods = cn_istio_candidates(builder, service);
    bool               any = false;

    if (pods == NULL
        || !cn_bytes_equal(service->name_space, builder->istio->waypoint->name_space))
    {
        return false;
    }

    CN_ARRAY_EACH(pods, const cn_pod_ref_t, pod) {
        if (!cn_istio_selects(&service->selector, &(*pod)->labels)) {
            continue;
        }

        if (!cn_bytes_equal((*pod)->service_account, account)) {
            return false;
        }

        any = true;
    }

    return any;
}


/* istio.io/waypoint-for: service, which is the default, workload, all or none. */
static bool
is_for_services(const cn_istio_t *istio)
{
    const cn_gateway_t  *waypoint = istio->waypoint;
    cn_bytes_t           whom = waypoint->waypoint_for;

    if (whom.len == 0 || cn_bytes_equal(whom, CN_BYTES("service"))) {
        return true;
    }

    if (!cn_bytes_equal(whom, CN_BYTES("none"))) {
        cn_report_add(istio->report, CN_REPORT_WARNING, waypoint->root, waypoint->label,
                      "metadata.labels", "istio.io/waypoint-for: %.*s: traffic that is addressed "
                      "to workloads is not implemented", CN_BYTES_ARG(whom));
    }

    return cn_bytes_equal(whom, CN_BYTES("all"));
}


static void
mark_ours(cn_istio_builder_t *builder)
{
    cn_istio_t  *istio = builder->istio;
    cn_bytes_t   account = istio->waypoint->for_service_account;
    size_t       at = 0;
    cn_bytes_t   host;
    void        *value;

    if (!is_for_services(istio)) {
        return;
    }

    while (cn_map_next(istio->services, &at, &host, &value)) {
        cn_kube_service_t  *service = value;

        cn_fiber_rest();

        if (is_waypoint_service(service)) {
            continue;
        }

        service->ours = account.len > 0 ? runs_as(builder, service, account)
            : uses_waypoint(istio, service);
    }
}


/* ---- clusters -------------------------------------------------------------------------------- */


static cn_lb_policy_t
balancer(const cn_kube_service_t *service, const cn_subset_t *subset)
{
    if (subset != NULL && subset->policy.lb != 0) {
        return subset->policy.lb;
    }

    CN_ARRAY_EACH(&service->rules, const cn_destination_rule_ref_t, rule) {
        if ((*rule)->policy.lb != 0) {
            return (*rule)->policy.lb;
        }
    }

    return CN_LB_LEAST_REQUEST;
}


const cn_pool_policy_t *
cn_istio_pool_policy(const cn_kube_service_t *service, const cn_subset_t *subset)
{
    static const cn_pool_policy_t  nothing_said;

    if (subset != NULL && subset->policy.pool.given) {
        return &subset->policy.pool;
    }

    CN_ARRAY_EACH(&service->rules, const cn_destination_rule_ref_t, rule) {
        if ((*rule)->policy.pool.given) {
            return &(*rule)->policy.pool;
        }
    }

    return &nothing_said;
}


/* Which protocol the endpoints are spoken to in, and for how long (istiod's rules). */
static void
apply_pool_policy(const cn_pool_policy_t *pool, const cn_kube_port_t *port, cn_cluster_t *cluster)
{
    cluster->http2 = port->http2 || pool->h2_upgrade == CN_H2_UPGRADE;
    cluster->client_protocol = !cluster->http2
        && (pool->client_protocol || port->protocol == CN_PROTOCOL_AUTO);

    if (pool->idle_timeout_ms > 0) {
        cluster->idle_timeout_ms = pool->idle_timeout_ms;

    } else if (pool->tcp_idle_timeout_ms > 0) {
        cluster->idle_timeout_ms = pool->tcp_idle_timeout_ms;
    }

    if (pool->connect_timeout_ms > 0) {
        cluster->connect_timeout_ms = pool->connect_timeout_ms;
    }
}


static cn_status_t
add_cluster(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port,
    const char *protocol,
    const cn_subset_t *subset)
{
    cn_istio_t    *istio = builder->istio;
    cn_bytes_t     name = cn_istio_cluster_name(istio, service, port->port, protocol,
                                                subset == NULL ? CN_BYTES_NONE : subset->name,
                                                    service->host);
    cn_cluster_t  *made;

    if (name.len == 0) {
        return CN_ERR_MEMORY;
    }

    if (cn_map_get(builder->clusters, name) != NULL) {
        return CN_OK;
    }

    made = cn_array_add(&istio->model->clusters);

    if (made == NULL || cn_map_set(builder->clusters, name, istio) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    cn_cluster_defaults(made, istio->pool);
    made->name = name;
    made->lb = balancer(service, subset);
    apply_pool_policy(cn_istio_pool_policy(service, subset), port, made);
    made->service_host = service->host;
    made->service_name = service->name;
    made->service_namespace = service->name_space;
    made->origin = subset == NULL ? service->origin : subset->origin;

    return cn_istio_add_endpoints(builder, service, port, subset, &made->endpoints);
}


static cn_status_t
add_clusters_of(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port,
    const char *protocol)
{
    cn_status_t  status = add_cluster(builder, service, port, protocol, NULL);

    CN_ARRAY_EACH(&service->rules, const cn_destination_rule_ref_t, rule) {
        CN_ARRAY_EACH(&(*rule)->subsets, const cn_subset_t, subset) {
            if (status == CN_OK) {
                status = add_cluster(builder, service, port, protocol, subset);
            }
        }
    }

    return status;
}


static cn_status_t
add_port_clusters(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port)
{
    cn_status_t  status = CN_OK;

    if (port->protocol != CN_PROTOCOL_TCP) {
        status = add_clusters_of(builder, service, port, "http");
    }

    if (status == CN_OK && port->protocol != CN_PROTOCOL_HTTP) {
        status = add_clusters_of(builder, service, port, "tcp");
    }

    return status;
}


/* Services of others that a rule sends to: only the ports and subsets that are named. */
static cn_status_t
add_foreign(cn_istio_builder_t *builder, const cn_rule_set_t *set, const cn_kube_port_t *asked)
{
    CN_ARRAY_EACH(&set->rules, const cn_rule_t, rule) {
        CN_ARRAY_EACH(&rule->destinations, const cn_rule_destination_t, to) {
            const cn_kube_port_t  *port;
            cn_status_t            status;

            if (to->service == NULL || to->service->ours) {
                continue;
            }

            port = to->port == 0 && to->service->ports.count == 1
                   ? CN_ARRAY_AT(&to->service->ports, cn_kube_port_t, 0)
                   : cn_istio_port(to->service, to->port == 0 ? asked->port : to->port);

            if (port == NULL) {
                continue;
            }

            status = add_cluster(builder, to->service, port, "http",
                                 to->subset.len == 0 ? NULL
                                     : cn_istio_subset(to->service, to->subset));

            if (status != CN_OK) {
                return status;
            }
        }
    }

    return CN_OK;
}


static cn_status_t
add_foreign_clusters(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port)
{
    const cn_array_t  *lists[] = { &service->virtual_services, &service->http_routes };

    for (size_t i = 0; i < CN_COUNT_OF(lists); i++) {
        CN_ARRAY_EACH(lists[i], const cn_rule_set_ref_t, set) {
            cn_status_t  status = add_foreign(builder, *set, port);

            if (status != CN_OK) {
                return status;
            }
        }
    }

    return CN_OK;
}


static cn_status_t
add_service(cn_istio_builder_t *builder, const cn_array_t *placed, cn_kube_service_t *from)
{
    cn_istio_t    *istio = builder->istio;
    cn_service_t   made = {
        .host = from->host,
        .name = from->name,
        .name_space = from->name_space,
        .entry = from->entry,
        .addresses = from->addresses,
        .chains = CN_ARRAY_INIT(istio->pool, cn_chain_config_t),
        .origin = from->origin,
    };
    cn_service_t  *slot;

    CN_ARRAY_EACH(&from->ports, const cn_kube_port_t, port) {
        cn_chain_config_t   chain;
        cn_chain_config_t  *chain_slot;
        cn_status_t         status = cn_istio_add_chain(builder, placed, from, port, &made, &chain);

        if (status == CN_OK) {
            status = add_port_clusters(builder, from, port);
        }

        if (status == CN_OK) {
            status = add_foreign_clusters(builder, from, port);
        }

        chain_slot = status == CN_OK ? cn_array_add(&made.chains) : NULL;

        if (chain_slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *chain_slot = chain;
    }

    slot = cn_array_add(&istio->model->services);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = made;

    return CN_OK;
}


/* ---- workloads ------------------------------------------------------------------------------- */


/* The first of the labels that is there. */
static cn_bytes_t
first_label(const cn_array_t *labels, const char *const *names)
{
    for (; *names != NULL; names++) {
        cn_bytes_t  value = cn_istio_label(labels, *names);

        if (value.len > 0) {
            return value;
        }
    }

    return CN_BYTES_NONE;
}


static cn_status_t
add_workload(cn_istio_t *istio, const cn_pod_t *pod)
{
    static const char *const  names[] = { "service.istio.io/canonical-name",
        "app.kubernetes.io/name", "app", NULL };
    static const char *const  revisions[] = {
        "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version", NULL
    };
    const cn_array_t         *labels = pod->named_by == NULL ? &pod->labels : pod->named_by;
    cn_bytes_t                name = first_label(labels, names);
    cn_bytes_t                revision = first_label(labels, revisions);
    cn_workload_t            *made;

    if (pod->host_network || pod->addresses.count == 0) {
        return CN_OK;                       /* its address is the node's, not its own */
    }

    made = cn_array_add(&istio->model->workloads);

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    *made = (cn_workload_t) {
        .addresses = pod->addresses,
        .uid = pod->uid,
        .name = pod->name,
        .name_space = pod->name_space,
        .workload = pod->workload,
        .canonical_name = name.len > 0 ? name : pod->workload,
        .canonical_revision = revision.len > 0 ? revision : CN_BYTES("latest"),
        .cluster = istio->model->cluster_id,
        .principal = pod->principal,
    };
    made->app = made->canonical_name;       /* Istio's workload discovery has no other */
    made->version = made->canonical_revision;

    return CN_OK;
}


static cn_status_t
build_services(cn_istio_builder_t *builder)
{
    cn_istio_t   *istio = builder->istio;
    cn_array_t    placed = CN_ARRAY_INIT(istio->pool, cn_istio_placed_t);
    cn_status_t   status = cn_istio_place_modules(istio, &placed);
    size_t        at = 0;
    cn_bytes_t    key;
    void         *value;

    while (status == CN_OK && cn_map_next(istio->services, &at, &key, &value)) {
        cn_fiber_rest();

        if (((cn_kube_service_t *) value)->ours) {
            status = add_service(builder, &placed, value);
        }
    }

    return status;
}


static cn_status_t
build_workloads(cn_istio_builder_t *builder)
{
    cn_istio_t   *istio = builder->istio;
    cn_map_t     *maps[] = { istio->pods, istio->entries };
    cn_status_t   status = CN_OK;
    cn_bytes_t    key;
    void         *value;

    for (size_t i = 0; i < CN_COUNT_OF(maps); i++) {
        size_t  at = 0;

        while (status == CN_OK && cn_map_next(maps[i], &at, &key, &value)) {
            cn_fiber_rest();
            status = add_workload(istio, value);
        }
    }

    CN_ARRAY_EACH(&istio->inline_endpoints, const cn_pod_ref_t, endpoint) {
        status = status == CN_OK ? add_workload(istio, *endpoint) : status;
    }

    return status;
}


cn_status_t
cn_istio_build(cn_istio_t *istio)
{
    cn_model_t   *model = istio->model;
    cn_istio_builder_t     builder = {
        .istio = istio,
        .pods_by_label = cn_map_create_in(istio->pool),
        .pods_by_ip = cn_map_create_in(istio->pool),
        .clusters = cn_map_create_in(istio->pool),
    };
    cn_status_t   status;

    if (builder.pods_by_label == NULL || builder.pods_by_ip == NULL || builder.clusters == NULL) {
        return CN_ERR_MEMORY;
    }

    status = cn_istio_index_pods(&builder);

    if (status == CN_OK) {
        mark_ours(&builder);
        status = build_services(&builder);
    }

    if (status == CN_OK) {
        status = build_workloads(&builder);
    }

    return status != CN_OK || cn_model_sort(model) != CN_OK ? CN_ERR_MEMORY : CN_OK;
}
