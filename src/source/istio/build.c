/* SPDX-License-Identifier: Apache-2.0 */

/*
 * build - the model of one waypoint out of what the directory says: which services are its own, a chain for each of their
 * ports, a cluster for each chain and subset, endpoints, workloads.  All lists come out sorted.
 */

#include "source/istio/istio.h"

#define HBONE_PORT  15008

typedef struct {
    cn_istio_t  *istio;
    cn_map_t    *pods_by_label;     /* "namespace key=value" -> cn_array_t of cn_pod_ref_t */
    cn_map_t    *pods_by_ip;        /* 16 octets -> cn_pod_t */
    cn_map_t    *clusters;          /* name -> anything: which are there */
} builder_t;


/* ---- whose services ------------------------------------------------------------------------------ */


/* The waypoint's own Service, and those of other waypoints, are not steered by a waypoint. */
static bool
is_waypoint_service(const cn_kube_service_t *service)
{
    return cn_bytes_equal(cn_istio_label(&service->labels, "gateway.istio.io/managed"), CN_BYTES("istio.io-mesh-controller"));
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

    return cn_bytes_equal(name, istio->waypoint->name) && cn_bytes_equal(name_space, istio->waypoint->name_space) ? 1 : -1;
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


/* ---- pods ---------------------------------------------------------------------------------------- */


static cn_status_t
index_label(builder_t *builder, cn_pod_t *pod, const cn_label_t *label)
{
    cn_pool_t     *pool = builder->istio->pool;
    char          *key = cn_pool_printf(pool, "%.*s %.*s=%.*s", CN_BYTES_ARG(pod->name_space), CN_BYTES_ARG(label->key),
                                        CN_BYTES_ARG(label->value));
    cn_array_t    *list = key == NULL ? NULL : cn_map_get(builder->pods_by_label, cn_bytes_str(key));
    cn_pod_ref_t  *slot;

    if (key == NULL) {
        return CN_ERR_MEMORY;
    }

    if (list == NULL) {
        list = cn_pool_alloc(pool, sizeof(*list));

        if (list == NULL || cn_map_set(builder->pods_by_label, cn_bytes_str(key), list) != CN_OK) {
            return CN_ERR_MEMORY;
        }

        *list = CN_ARRAY_INIT(pool, cn_pod_ref_t);
    }

    slot = cn_array_add(list);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = pod;

    return CN_OK;
}


static cn_status_t
index_pods(builder_t *builder)
{
    cn_istio_t  *istio = builder->istio;
    size_t       at = 0;
    cn_bytes_t   key;
    void        *value;

    while (cn_map_next(istio->pods, &at, &key, &value)) {
        cn_pod_t  *pod = value;

        CN_ARRAY_EACH(&pod->labels, const cn_label_t, label) {
            if (index_label(builder, pod, label) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }

        CN_ARRAY_EACH(&pod->addresses, const cn_table_ip_t, ip) {
            if (!pod->host_network && cn_map_set(builder->pods_by_ip, cn_bytes(ip->ip, sizeof(ip->ip)), pod) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }
    }

    return CN_OK;
}


/* The pods that one of the selector's labels finds, of which the rest is to be checked; NULL: none. */
static const cn_array_t *
candidates(builder_t *builder, const cn_kube_service_t *service)
{
    const cn_label_t  *first = service->selector.items;
    char              *key;

    if (service->selector.count == 0) {
        return NULL;
    }

    key = cn_pool_printf(builder->istio->pool, "%.*s %.*s=%.*s", CN_BYTES_ARG(service->name_space), CN_BYTES_ARG(first->key),
                         CN_BYTES_ARG(first->value));

    return key == NULL ? NULL : cn_map_get(builder->pods_by_label, cn_bytes_str(key));
}


static const cn_pod_t *
pod_at(const builder_t *builder, const cn_table_ip_t *ip)
{
    return cn_map_get(builder->pods_by_ip, cn_bytes(ip->ip, sizeof(ip->ip)));
}


/* A Gateway for a service account serves the services all of whose pods run as it. */
static bool
runs_as(builder_t *builder, const cn_kube_service_t *service, cn_bytes_t account)
{
    const cn_array_t  *pods = candidates(builder, service);
    bool               any = false;

    if (pods == NULL || !cn_bytes_equal(service->name_space, builder->istio->waypoint->name_space)) {
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


static void
mark_ours(builder_t *builder)
{
    cn_istio_t  *istio = builder->istio;
    cn_bytes_t   account = istio->waypoint->for_service_account;
    size_t       at = 0;
    cn_bytes_t   host;
    void        *value;

    while (cn_map_next(istio->services, &at, &host, &value)) {
        cn_kube_service_t  *service = value;

        if (is_waypoint_service(service)) {
            continue;
        }

        service->ours = account.len > 0 ? runs_as(builder, service, account) : uses_waypoint(istio, service);
    }
}


/* ---- endpoints ----------------------------------------------------------------------------------- */


static cn_status_t
add_endpoint(cn_array_t *endpoints, const cn_table_ip_t *ip, uint16_t port, bool ready, const cn_pod_t *pod)
{
    cn_endpoint_config_t  *made;

    CN_ARRAY_EACH(endpoints, const cn_endpoint_config_t, known) {
        if (memcmp(known->ip, ip->ip, sizeof(ip->ip)) == 0 && known->port == port) {
            return CN_OK;
        }
    }

    made = cn_array_add(endpoints);

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(made->ip, ip->ip, sizeof(made->ip));
    made->port = port;
    made->healthy = ready;
    made->weight = 1;

    if (pod != NULL) {
        made->hbone_port = pod->hbone ? HBONE_PORT : 0;
        made->principal = pod->principal;
        made->uid = pod->uid;
    }

    return CN_OK;
}


static uint16_t
container_port(const cn_array_t *ports, cn_bytes_t name)
{
    CN_ARRAY_EACH(ports, const cn_container_port_t, port) {
        if (cn_bytes_equal(port->name, name)) {
            return port->port;
        }
    }

    return 0;
}


static cn_status_t
add_pod(const cn_kube_service_t *service, const cn_kube_port_t *port, const cn_pod_t *pod, cn_array_t *endpoints)
{
    uint16_t              target = port->target_port != 0 ? port->target_port : container_port(&pod->ports, port->target_name);
    const cn_table_ip_t  *ip = pod->addresses.items;

    /* one endpoint a pod, by its first address, as Kubernetes does for a single-stack Service */
    if (target == 0 || pod->addresses.count == 0) {
        return CN_OK;
    }

    return add_endpoint(endpoints, ip, target, pod->ready || service->publish_not_ready, pod);
}


static bool
in_subset(const cn_subset_t *subset, const cn_pod_t *pod)
{
    return subset == NULL || subset->labels.count == 0 || (pod != NULL && cn_istio_selects(&subset->labels, &pod->labels));
}


static cn_status_t
add_slice(builder_t *builder, const cn_slice_t *slice, const cn_kube_port_t *port, const cn_subset_t *subset,
    cn_array_t *endpoints)
{
    uint16_t  target = container_port(&slice->ports, port->name);

    if (target == 0) {
        return CN_OK;
    }

    CN_ARRAY_EACH(&slice->endpoints, const cn_slice_endpoint_t, item) {
        CN_ARRAY_EACH(&item->addresses, const cn_table_ip_t, ip) {
            const cn_pod_t  *pod = pod_at(builder, ip);

            if (in_subset(subset, pod) && add_endpoint(endpoints, ip, target, item->ready, pod) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }
    }

    return CN_OK;
}


static int
compare_endpoints(const void *a, const void *b)
{
    const cn_endpoint_config_t  *left = a;
    const cn_endpoint_config_t  *right = b;
    int                          order = memcmp(left->ip, right->ip, sizeof(left->ip));

    return order != 0 ? order : (left->port > right->port) - (left->port < right->port);
}


/* EndpointSlices say it where there are any; else the pods that the selector finds. */
static cn_status_t
add_endpoints(builder_t *builder, const cn_kube_service_t *service, const cn_kube_port_t *port, const cn_subset_t *subset,
    cn_array_t *endpoints)
{
    const cn_array_t  *pods = candidates(builder, service);

    if (service->slices.count > 0) {
        CN_ARRAY_EACH(&service->slices, const cn_slice_ref_t, slice) {
            if (add_slice(builder, *slice, port, subset, endpoints) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }

    } else if (pods != NULL) {
        CN_ARRAY_EACH(pods, const cn_pod_ref_t, pod) {
            if (cn_istio_selects(&service->selector, &(*pod)->labels) && in_subset(subset, *pod)
                && add_pod(service, port, *pod, endpoints) != CN_OK)
            {
                return CN_ERR_MEMORY;
            }
        }
    }

    return cn_array_sort(endpoints, compare_endpoints);
}


/* ---- clusters ------------------------------------------------------------------------------------ */


static cn_lb_policy_t
balancer(const cn_kube_service_t *service, const cn_subset_t *subset)
{
    if (subset != NULL && subset->lb != 0) {
        return subset->lb;
    }

    CN_ARRAY_EACH(&service->rules, const cn_destination_rule_ref_t, rule) {
        if ((*rule)->lb != 0) {
            return (*rule)->lb;
        }
    }

    return CN_LB_LEAST_REQUEST;
}


static cn_status_t
add_cluster(builder_t *builder, const cn_kube_service_t *service, const cn_kube_port_t *port, const char *protocol,
    const cn_subset_t *subset)
{
    cn_istio_t    *istio = builder->istio;
    cn_bytes_t     name = cn_istio_cluster_name(istio, service, port->port, protocol,
                                                subset == NULL ? CN_BYTES_NONE : subset->name, service->host);
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
    made->http2 = port->http2;
    made->service_host = service->host;
    made->service_name = service->name;
    made->service_namespace = service->name_space;
    made->origin = subset == NULL ? service->origin : subset->origin;

    return add_endpoints(builder, service, port, subset, &made->endpoints);
}


static cn_status_t
add_clusters_of(builder_t *builder, const cn_kube_service_t *service, const cn_kube_port_t *port, const char *protocol)
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
add_port_clusters(builder_t *builder, const cn_kube_service_t *service, const cn_kube_port_t *port)
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
add_foreign(builder_t *builder, const cn_rule_set_t *set, const cn_kube_port_t *asked)
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
                                 to->subset.len == 0 ? NULL : cn_istio_subset(to->service, to->subset));

            if (status != CN_OK) {
                return status;
            }
        }
    }

    return CN_OK;
}


static cn_status_t
add_foreign_clusters(builder_t *builder, const cn_kube_service_t *service, const cn_kube_port_t *port)
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


/* ---- chains -------------------------------------------------------------------------------------- */


static cn_status_t
add_filter(cn_array_t *filters, const cn_module_config_t *module, void *config)
{
    cn_filter_config_t  *slot = cn_array_add(filters);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = (cn_filter_config_t) { .module = module, .name = cn_bytes_str(module->filter_name), .config = config };

    return CN_OK;
}


/* Resources of a module's kinds, oldest first, as its read_chain wants them. */
typedef struct {
    const cn_resource_t **resources;
    void                **parsed;
    bool                 *broken;
    size_t                count;
} module_resources_t;


static int
compare_loaded(const void *a, const void *b)
{
    const cn_loaded_t  *left = *(const cn_loaded_ref_t *) a;
    const cn_loaded_t  *right = *(const cn_loaded_ref_t *) b;

    return (left->resource.created > right->resource.created) - (left->resource.created < right->resource.created);
}


static cn_status_t
collect(const cn_istio_t *istio, const cn_module_config_t *module, module_resources_t *out)
{
    cn_array_t  list = CN_ARRAY_INIT(istio->pool, cn_loaded_ref_t);
    size_t      size = 0;

    CN_ARRAY_EACH(&istio->loaded, const cn_loaded_ref_t, loaded) {
        cn_loaded_ref_t  *slot;

        if ((*loaded)->module != module) {
            continue;
        }

        slot = cn_array_add(&list);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = *loaded;
    }

    *out = (module_resources_t) { .count = list.count };

    if (list.count == 0) {
        return CN_OK;
    }

    if (cn_array_sort(&list, compare_loaded) != CN_OK || cn_size_mul(list.count, sizeof(void *), &size) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    out->resources = cn_pool_alloc(istio->pool, size);
    out->parsed = cn_pool_alloc(istio->pool, size);
    out->broken = cn_pool_alloc(istio->pool, size);

    if (out->resources == NULL || out->parsed == NULL || out->broken == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < list.count; i++) {
        const cn_loaded_t  *loaded = *CN_ARRAY_AT(&list, cn_loaded_ref_t, i);

        out->resources[i] = &loaded->resource;
        out->parsed[i] = loaded->parsed;
        out->broken[i] = loaded->broken;
    }

    return CN_OK;
}


typedef struct {
    const cn_module_config_t  *module;
    module_resources_t         resources;
    void                      *memo;        /* the module's own */
} placed_t;


/* The modules in the order in which they stand in a chain (as they are listed), with their resources. */
static cn_status_t
place_modules(const cn_istio_t *istio, cn_array_t *placed)
{
    for (const cn_module_config_t *const *module = istio->config->modules; *module != NULL; module++) {
        placed_t  *slot = cn_array_add(placed);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        slot->module = *module;

        if (collect(istio, *module, &slot->resources) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static cn_status_t
add_module(cn_istio_t *istio, placed_t *placed, const cn_service_t *service, cn_chain_config_t *chain)
{
    const cn_module_config_t  *module = placed->module;
    cn_chain_question_t        question = {
        .service = service,
        .chain = chain,
        .resources = placed->resources.resources,
        .parsed = placed->resources.parsed,
        .broken = placed->resources.broken,
        .resource_count = placed->resources.count,
        .memo = &placed->memo,
        .service_labels_owner = &istio->model->waypoint,
    };
    cn_read_t                  read = { .pool = istio->pool, .report = istio->report, .model = istio->model };

    for ( ;; ) {
        void         *config = NULL;
        cn_status_t   status = module->read_chain == NULL ? CN_OK : module->read_chain(&read, &question, &config);

        if (status != CN_OK) {
            if (status == CN_ERR_MEMORY) {
                return status;
            }

            chain->refused = true;          /* reported; a filter that cannot be made must not be missing */
            return CN_OK;
        }

        if (config == NULL) {
            break;
        }

        if (add_filter(&chain->filters, module, config) != CN_OK) {
            return CN_ERR_MEMORY;
        }

        question.ordinal++;
    }

    if (question.ordinal == 0 && module->always && chain->protocol != CN_PROTOCOL_TCP) {
        return add_filter(&chain->filters, module, NULL);
    }

    return CN_OK;
}


static cn_status_t
add_chain(builder_t *builder, const cn_array_t *placed, cn_kube_service_t *from, const cn_kube_port_t *port,
    const cn_service_t *service, cn_chain_config_t *chain)
{
    cn_istio_t   *istio = builder->istio;
    bool          http = port->protocol != CN_PROTOCOL_TCP;
    cn_status_t   status = CN_OK;

    cn_chain_defaults(chain, istio->pool);
    chain->port = port->port;
    chain->protocol = port->protocol;
    chain->http2_upstream = port->http2;
    chain->refused = from->refused;
    chain->name = cn_istio_cluster_name(istio, from, port->port, http ? "http" : "tcp", CN_BYTES_NONE, from->host);

    if (port->protocol != CN_PROTOCOL_HTTP) {
        chain->tcp_cluster = cn_istio_cluster_name(istio, from, port->port, "tcp", CN_BYTES_NONE, from->host);
    }

    if (chain->name.len == 0 || (chain->tcp_cluster.len == 0 && port->protocol != CN_PROTOCOL_HTTP)) {
        return CN_ERR_MEMORY;
    }

    CN_ARRAY_EACH(placed, placed_t, item) {
        if (status == CN_OK) {
            status = add_module(istio, item, service, chain);
        }
    }

    if (status == CN_OK && http) {
        status = cn_istio_build_routes(istio, from, port, &chain->routes);
    }

    return status;
}


static cn_status_t
add_service(builder_t *builder, const cn_array_t *placed, cn_kube_service_t *from)
{
    cn_istio_t    *istio = builder->istio;
    cn_service_t   made = {
        .host = from->host,
        .name = from->name,
        .name_space = from->name_space,
        .addresses = from->addresses,
        .chains = CN_ARRAY_INIT(istio->pool, cn_chain_config_t),
        .origin = from->origin,
    };
    cn_service_t  *slot;

    CN_ARRAY_EACH(&from->ports, const cn_kube_port_t, port) {
        cn_chain_config_t   chain;
        cn_chain_config_t  *chain_slot;
        cn_status_t         status = add_chain(builder, placed, from, port, &made, &chain);

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


/* ---- workloads ----------------------------------------------------------------------------------- */


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
    static const char *const  names[] = { "service.istio.io/canonical-name", "app.kubernetes.io/name", "app", NULL };
    static const char *const  revisions[] = {
        "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version", NULL
    };
    cn_bytes_t                name = first_label(&pod->labels, names);
    cn_bytes_t                revision = first_label(&pod->labels, revisions);
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


static int
compare_services(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_service_t *) a)->host, ((const cn_service_t *) b)->host);
}


static int
compare_clusters(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_cluster_t *) a)->name, ((const cn_cluster_t *) b)->name);
}


static int
compare_workloads(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_workload_t *) a)->uid, ((const cn_workload_t *) b)->uid);
}


static cn_status_t
build_services(builder_t *builder)
{
    cn_istio_t   *istio = builder->istio;
    cn_array_t    placed = CN_ARRAY_INIT(istio->pool, placed_t);
    cn_status_t   status = place_modules(istio, &placed);
    size_t        at = 0;
    cn_bytes_t    key;
    void         *value;

    while (status == CN_OK && cn_map_next(istio->services, &at, &key, &value)) {
        if (((cn_kube_service_t *) value)->ours) {
            status = add_service(builder, &placed, value);
        }
    }

    return status;
}


static cn_status_t
build_workloads(builder_t *builder)
{
    cn_status_t  status = CN_OK;
    size_t       at = 0;
    cn_bytes_t   key;
    void        *value;

    while (status == CN_OK && cn_map_next(builder->istio->pods, &at, &key, &value)) {
        status = add_workload(builder->istio, value);
    }

    return status;
}


cn_status_t
cn_istio_build(cn_istio_t *istio)
{
    cn_model_t   *model = istio->model;
    builder_t     builder = {
        .istio = istio,
        .pods_by_label = cn_map_create_in(istio->pool),
        .pods_by_ip = cn_map_create_in(istio->pool),
        .clusters = cn_map_create_in(istio->pool),
    };
    cn_status_t   status;

    if (builder.pods_by_label == NULL || builder.pods_by_ip == NULL || builder.clusters == NULL) {
        return CN_ERR_MEMORY;
    }

    status = index_pods(&builder);

    if (status == CN_OK) {
        mark_ours(&builder);
        status = build_services(&builder);
    }

    if (status == CN_OK) {
        status = build_workloads(&builder);
    }

    if (status != CN_OK || cn_array_sort(&model->services, compare_services) != CN_OK
        || cn_array_sort(&model->clusters, compare_clusters) != CN_OK
        || cn_array_sort(&model->workloads, compare_workloads) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}
