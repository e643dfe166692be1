/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pod - v1 Pod and discovery.k8s.io/v1 EndpointSlice: who is behind a service.  Only what makes a
 * waypoint is read; the rest of their fields is known by name, so that a misspelt one is told.
 */

#include "source/istio/istio.h"

#define HBONE_TUNNEL   "http"

static const char *const  pod_fields[] = {
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostPID", "hostUsers",
        "hostname",
    "hostnameOverride", "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os",
        "overhead",
    "preemptionPolicy", "priority", "priorityClassName", "readinessGates", "resourceClaims",
        "resources",
    "restartPolicy", "runtimeClassName", "schedulerName", "schedulingGates", "securityContext",
        "serviceAccount",
    "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds",
        "tolerations",
    "topologySpreadConstraints", "volumes", "workloadRef", NULL
};

static const char *const  container_fields[] = {
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe",
        "readinessProbe",
    "resizePolicy", "resources", "restartPolicy", "restartPolicyRules", "securityContext",
        "startupProbe", "stdin",
    "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices",
        "volumeMounts",
    "workingDir", NULL
};

static const char *const  container_port_fields[] = { "hostIP", "hostPort", "protocol", NULL };

static void
read_container_ports(cn_read_t *read, cn_doc_t *container, const char *field, cn_array_t *ports)
{
    cn_doc_t  *list = cn_read_sequence(read, container, "ports", field);
    size_t     index = 0;

    CN_DOC_EACH(list, item) {
        const char           *path = cn_read_path(read, "%s.ports[%zu]", field, index++);
        cn_container_port_t   port = { .port = 0 };
        uint64_t              number = 0;

        if (!cn_read_is_mapping(read, item, path)) {
            continue;
        }

        cn_read_ignore(item, container_port_fields);
        (void) cn_read_string(read, item, "name", path, &port.name);

        if (cn_read_u64(read, item, "containerPort", path, 1, 65535, &number)) {
            cn_container_port_t  *slot = cn_array_add(ports);

            port.port = (uint16_t) number;

            if (slot == NULL) {
                cn_read_no_memory(read);
                return;
            }

            *slot = port;
        }
    }
}


static void
read_pod_spec(cn_read_t *read, cn_doc_t *spec, cn_pod_t *made)
{
    cn_doc_t  *containers = cn_read_sequence(read, spec, "containers", "spec");
    size_t     index = 0;

    made->service_account = CN_BYTES("default");
    (void) cn_read_string(read, spec, "serviceAccountName", "spec", &made->service_account);
    (void) cn_read_bool(read, spec, "hostNetwork", "spec", &made->host_network);
    cn_read_ignore(spec, pod_fields);

    CN_DOC_EACH(containers, item) {
        const char  *field = cn_read_path(read, "spec.containers[%zu]", index++);
        cn_bytes_t   name;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        (void) cn_read_string(read, item, "name", field, &name);
        cn_read_ignore(item, container_fields);
        read_container_ports(read, item, field, &made->ports);
    }
}


static void
read_conditions(cn_read_t *read, cn_doc_t *status, cn_pod_t *made)
{
    cn_doc_t    *conditions = cn_read_sequence(read, status, "conditions", "status");
    size_t       index = 0;

    CN_DOC_EACH(conditions, item) {
        const char  *field = cn_read_path(read, "status.conditions[%zu]", index++);
        cn_bytes_t   type = CN_BYTES_NONE;
        cn_bytes_t   value = CN_BYTES_NONE;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        (void) cn_read_need_string(read, item, "type", field, &type);

        if (cn_bytes_equal(type, CN_BYTES("Ready"))
            && cn_read_need_string(read, item, "status", field, &value)) {
            made->ready = cn_bytes_equal(value, CN_BYTES("True"));
        }
    }
}


/* False: the pod does not run any more. */
static bool
read_pod_status(cn_read_t *read, cn_pod_t *made)
{
    cn_doc_t    *status = cn_read_mapping(read, read->resource->root, "status", "");
    cn_doc_t    *ips = cn_read_sequence(read, status, "podIPs", "status");
    cn_bytes_t   phase = CN_BYTES_NONE;
    cn_bytes_t   text;
    size_t       index = 0;

    (void) cn_read_string(read, status, "phase", "status", &phase);
    read_conditions(read, status, made);

    if (cn_read_string(read, status, "podIP", "status", &text)) {
        cn_istio_add_ip(read, cn_doc_get(status, "podIP"), "status.podIP", text, &made->addresses);
    }

    CN_DOC_EACH(ips, item) {
        const char  *field = cn_read_path(read, "status.podIPs[%zu]", index++);

        if (cn_read_is_mapping(read, item, field)
            && cn_read_need_string(read, item, "ip", field, &text)) {
            cn_istio_add_ip(read, item, cn_read_path(read, "%s.ip", field), text, &made->addresses);
        }
    }

    return !cn_bytes_equal(phase, CN_BYTES("Succeeded"))
        && !cn_bytes_equal(phase, CN_BYTES("Failed"));
}


/*
 * "reviews-v1-545db77b95" of a ReplicaSet with the pod's template hash belongs to the Deployment
 * "reviews-v1".
 */
static cn_bytes_t
owner_name(cn_bytes_t kind, cn_bytes_t name, cn_bytes_t hash)
{
    if (cn_bytes_equal(kind, CN_BYTES("ReplicaSet")) && hash.len > 0 && name.len > hash.len + 1
        && cn_bytes_ends_with(name, hash) && name.ptr[name.len - hash.len - 1] == '-')
    {
        return cn_bytes(name.ptr, name.len - hash.len - 1);
    }

    return name;
}


/*
 * A pod whose name was made up by a controller is told by that controller; istiod sees it by
 * generateName.
 */
static void
read_workload(cn_read_t *read, cn_pod_t *made)
{
    cn_doc_t    *meta = cn_istio_metadata(read->resource);
    cn_doc_t    *owners = cn_read_sequence(read, meta, "ownerReferences", "metadata");
    cn_bytes_t   generated = CN_BYTES_NONE;
    size_t       index = 0;

    made->workload = made->name;
    (void) cn_read_string(read, meta, "generateName", "metadata", &generated);

    CN_DOC_EACH(owners, item) {
        const char  *field = cn_read_path(read, "metadata.ownerReferences[%zu]", index++);
        cn_bytes_t   kind = CN_BYTES_NONE;
        cn_bytes_t   name = CN_BYTES_NONE;
        bool         controller = false;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        (void) cn_read_bool(read, item, "controller", field, &controller);
        (void) cn_read_string(read, item, "kind", field, &kind);
        (void) cn_read_string(read, item, "name", field, &name);
        cn_doc_use_all(item);

        if (controller && generated.len > 0 && name.len > 0) {
            made->workload = owner_name(kind, name,
                                        cn_istio_label(&made->labels, "pod-template-hash"));
        }
    }
}


bool
cn_istio_has_tunnel(cn_read_t *read, const cn_array_t *labels)
{
    cn_array_t  annotations = CN_ARRAY_INIT(read->pool, cn_label_t);

    cn_istio_labels(read, cn_istio_metadata(read->resource), "annotations", "metadata",
                    &annotations);

    return cn_bytes_equal(cn_istio_label(&annotations, "ambient.istio.io/redirection"),
                          CN_BYTES("enabled"))
           || cn_bytes_equal(cn_istio_label(labels, "networking.istio.io/tunnel"),
                             CN_BYTES(HBONE_TUNNEL));
}


void
cn_istio_read_pod(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_bytes_t  *domain = istio->model->trust_domains.items;
    cn_pod_t    *made = cn_istio_new(read, sizeof(*made));
    char        *key;
    bool         runs;

    if (made == NULL) {
        return;
    }

    *made = (cn_pod_t) {
        .name = resource->name,
        .name_space = resource->name_space,
        .labels = CN_ARRAY_INIT(read->pool, cn_label_t),
        .addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t),
        .ports = CN_ARRAY_INIT(read->pool, cn_container_port_t),
        .weight = 1,
    };
    cn_istio_read_labels(read, &made->labels);
    read_pod_spec(read, resource->spec, made);
    runs = read_pod_status(read, made);
    read_workload(read, made);
    made->hbone = cn_istio_has_tunnel(read, &made->labels) && !made->host_network;
    made->uid = cn_bytes_str(cn_pool_printf(read->pool, "%.*s//Pod/%.*s/%.*s",
                                            CN_BYTES_ARG(istio->model->cluster_id),
                                            CN_BYTES_ARG(made->name_space),
                                                CN_BYTES_ARG(made->name)));
    made->principal = cn_bytes_str(cn_pool_printf(read->pool, "spiffe://%.*s/ns/%.*s/sa/%.*s",
                                                  CN_BYTES_ARG(*domain),
                                                  CN_BYTES_ARG(made->name_space),
                                                      CN_BYTES_ARG(made->service_account)));
    cn_istio_finish(read);
    key = cn_pool_printf(read->pool, "%.*s/%.*s", CN_BYTES_ARG(made->name_space),
                         CN_BYTES_ARG(made->name));

    if (key == NULL || made->uid.len == 0 || made->principal.len == 0) {
        cn_read_no_memory(read);
        return;
    }

    if (runs) {
        cn_istio_put(read, istio->pods, cn_bytes_str(key), made);
    }
}


/* ---- EndpointSlice --------------------------------------------------------------------------- */


static void
read_slice_endpoint(cn_read_t *read, cn_doc_t *item, const char *field, cn_array_t *endpoints)
{
    static const char *const  fields[] = { "deprecatedTopology", "hints", "hostname", "nodeName",
        "zone", NULL };
    cn_doc_t                 *addresses, *conditions, *target;
    cn_slice_endpoint_t      *made;
    cn_bytes_t                text = CN_BYTES_NONE;
    size_t                    index = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    made = cn_array_add(endpoints);

    if (made == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *made = (cn_slice_endpoint_t) { .addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t),
        .ready = true };
    addresses = cn_read_sequence(read, item, "addresses", field);
    conditions = cn_read_mapping(read, item, "conditions", field);
    target = cn_read_mapping(read, item, "targetRef", field);
    cn_read_ignore(item, fields);

    CN_DOC_EACH(addresses, address) {
        const char  *path = cn_read_path(read, "%s.addresses[%zu]", field, index++);

        if (cn_read_item_string(read, address, path, &text)) {
            cn_istio_add_ip(read, address, path, text, &made->addresses);
        }
    }

    (void) cn_read_bool(read, conditions, "ready", cn_read_path(read, "%s.conditions", field),
                        &made->ready);
    cn_doc_use_all(conditions);

    if (cn_read_string(read, target, "kind", field, &text)
        && cn_bytes_equal(text, CN_BYTES("Pod"))) {
        (void) cn_read_string(read, target, "name", field, &made->pod);
    }

    cn_doc_use_all(target);
}


static void
read_slice_ports(cn_read_t *read, cn_array_t *ports)
{
    static const char *const  fields[] = { "protocol", "appProtocol", NULL };
    cn_doc_t                 *list = cn_read_sequence(read, read->resource->root, "ports", "");
    size_t                    index = 0;

    CN_DOC_EACH(list, item) {
        const char           *field = cn_read_path(read, "ports[%zu]", index++);
        cn_container_port_t   port = { .port = 0 };
        cn_container_port_t  *slot;
        uint64_t              number = 0;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        cn_read_ignore(item, fields);
        (void) cn_read_string(read, item, "name", field, &port.name);

        if (!cn_read_u64(read, item, "port", field, 1, 65535, &number)) {
            continue;
        }

        port.port = (uint16_t) number;
        slot = cn_array_add(ports);

        if (slot == NULL) {
            cn_read_no_memory(read);
            return;
        }

        *slot = port;
    }
}


void
cn_istio_read_slice(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_array_t          labels = CN_ARRAY_INIT(read->pool, cn_label_t);
    cn_slice_t         *made = cn_istio_new(read, sizeof(*made));
    cn_kube_service_t  *service;
    cn_slice_ref_t     *slot;
    cn_doc_t           *endpoints;
    cn_bytes_t          type;
    size_t              index = 0;

    if (made == NULL) {
        return;
    }

    made->name_space = resource->name_space;
    made->endpoints = CN_ARRAY_INIT(read->pool, cn_slice_endpoint_t);
    made->ports = CN_ARRAY_INIT(read->pool, cn_container_port_t);
    cn_istio_read_labels(read, &labels);
    made->service = cn_istio_label(&labels, "kubernetes.io/service-name");
    (void) cn_read_string(read, resource->root, "addressType", "", &type);
    endpoints = cn_read_sequence(read, resource->root, "endpoints", "");

    CN_DOC_EACH(endpoints, item) {
        read_slice_endpoint(read, item, cn_read_path(read, "endpoints[%zu]", index++),
                            &made->endpoints);
    }

    read_slice_ports(read, &made->ports);
    cn_istio_finish(read);

    if (made->service.len == 0) {
        cn_read_error(read, resource->root, "metadata.labels",
                      "has no label kubernetes.io/service-name");
    }

    service = cn_istio_service(istio, made->service, made->name_space);

    if (read->errors > 0 || service == NULL) {
        return;                     /* a slice may outlive its service for a moment */
    }

    slot = cn_array_add(&service->slices);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = made;
}
