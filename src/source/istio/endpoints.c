/* SPDX-License-Identifier: Apache-2.0 */

/*
 * endpoints - who is behind a port of a service: EndpointSlices, else the pods of its selector;
 * WorkloadEntries of its selector, of which no EndpointSlice knows; a ServiceEntry's own.
 */

#include "source/istio/build.h"

#define HBONE_PORT  15008


/* ---- pods ------------------------------------------------------------------------------------ */


static cn_status_t
index_label(cn_istio_builder_t *builder, cn_pod_t *pod, const cn_label_t *label)
{
    cn_pool_t     *pool = builder->istio->pool;
    char          *key = cn_pool_printf(pool, "%.*s %.*s=%.*s", CN_BYTES_ARG(pod->name_space),
                                        CN_BYTES_ARG(label->key),
                                        CN_BYTES_ARG(label->value));
    cn_array_t    *list = key == NULL ? NULL
        : cn_map_get(builder->pods_by_label, cn_bytes_str(key));
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
index_pod(cn_istio_builder_t *builder, cn_pod_t *pod)
{
    CN_ARRAY_EACH(&pod->labels, const cn_label_t, label) {
        if (index_label(builder, pod, label) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    CN_ARRAY_EACH(&pod->addresses, const cn_table_ip_t, ip) {
        cn_bytes_t  key = cn_bytes(ip->ip, sizeof(ip->ip));

        if (!pod->host_network && !pod->entry
            && cn_map_set(builder->pods_by_ip, key, pod) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


cn_status_t
cn_istio_index_pods(cn_istio_builder_t *builder)
{
    cn_map_t    *maps[] = { builder->istio->pods, builder->istio->entries };
    cn_bytes_t   key;
    void        *value;

    for (size_t i = 0; i < CN_COUNT_OF(maps); i++) {
        size_t  at = 0;

        while (cn_map_next(maps[i], &at, &key, &value)) {
            if (index_pod(builder, value) != CN_OK) {
                return CN_ERR_MEMORY;
            }
        }
    }

    return CN_OK;
}


/*
 * The pods that one of the selector's labels finds, of which the rest is to be checked; NULL: none.
 */
const cn_array_t *
cn_istio_candidates(cn_istio_builder_t *builder, const cn_kube_service_t *service)
{
    const cn_label_t  *first = service->selector.items;
    char              *key;

    if (service->selector.count == 0) {
        return NULL;
    }

    key = cn_pool_printf(builder->istio->pool, "%.*s %.*s=%.*s", CN_BYTES_ARG(service->name_space),
                         CN_BYTES_ARG(first->key),
                         CN_BYTES_ARG(first->value));

    return key == NULL ? NULL : cn_map_get(builder->pods_by_label, cn_bytes_str(key));
}


static const cn_pod_t *
pod_at(const cn_istio_builder_t *builder, const cn_table_ip_t *ip)
{
    return cn_map_get(builder->pods_by_ip, cn_bytes(ip->ip, sizeof(ip->ip)));
}


/* ---- endpoints ------------------------------------------------------------------------------- */


static cn_status_t
add_endpoint(cn_array_t *endpoints, const cn_table_ip_t *ip, uint16_t port, bool ready,
    const cn_pod_t *pod)
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
        made->weight = pod->weight;
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


/* The port of a pod for a service's; 0: it has none of that name. */
static uint16_t
target_of(const cn_kube_port_t *port, const cn_pod_t *pod)
{
    uint16_t  target;

    if (!pod->entry) {
        return port->target_port != 0 ? port->target_port
                                      : container_port(&pod->ports, port->target_name);
    }

    target = container_port(&pod->ports, port->name);

    return target != 0 ? target : port->target_port != 0 ? port->target_port : port->port;
}


static cn_status_t
add_pod(const cn_kube_service_t *service, const cn_kube_port_t *port, const cn_pod_t *pod,
    cn_array_t *endpoints)
{
    uint16_t              target = target_of(port, pod);
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
    return subset == NULL || subset->labels.count == 0
        || (pod != NULL && cn_istio_selects(&subset->labels, &pod->labels));
}


static cn_status_t
add_slice(cn_istio_builder_t *builder, const cn_slice_t *slice, const cn_kube_port_t *port,
    const cn_subset_t *subset,
    cn_array_t *endpoints)
{
    uint16_t  target = container_port(&slice->ports, port->name);

    if (target == 0) {
        return CN_OK;
    }

    CN_ARRAY_EACH(&slice->endpoints, const cn_slice_endpoint_t, item) {
        CN_ARRAY_EACH(&item->addresses, const cn_table_ip_t, ip) {
            const cn_pod_t  *pod = pod_at(builder, ip);

            if (in_subset(subset, pod) && add_endpoint(endpoints, ip, target, item->ready,
                                                       pod) != CN_OK) {
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


/* Those of pods that the selector finds, or that stand in the ServiceEntry. */
static cn_status_t
add_pods(const cn_kube_service_t *service, const cn_kube_port_t *port, const cn_subset_t *subset,
    const cn_array_t *pods, cn_array_t *endpoints)
{
    CN_ARRAY_EACH(pods, const cn_pod_ref_t, pod) {
        bool  known = service->slices.count > 0 && !(*pod)->entry;

        if (!known && cn_istio_selects(&service->selector, &(*pod)->labels)
            && in_subset(subset, *pod) && add_pod(service, port, *pod, endpoints) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


cn_status_t
cn_istio_add_endpoints(cn_istio_builder_t *builder, const cn_kube_service_t *service,
    const cn_kube_port_t *port,
    const cn_subset_t *subset,
    cn_array_t *endpoints)
{
    const cn_array_t  *pods = cn_istio_candidates(builder, service);

    CN_ARRAY_EACH(&service->slices, const cn_slice_ref_t, slice) {
        if (add_slice(builder, *slice, port, subset, endpoints) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    if (add_pods(service, port, subset, pods != NULL ? pods : &service->endpoints, endpoints)
        != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return cn_array_sort(endpoints, compare_endpoints);
}
