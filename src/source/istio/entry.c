/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entry - ServiceEntry, a service that Kubernetes does not know, and WorkloadEntry, a workload
 * that it does not run.  They become a service and a pod like others: what follows knows no
 * difference but the ports, which a WorkloadEntry names as the service's.
 *
 * Only addresses that stand in the files are endpoints: names would have to be looked up.
 */

#include "source/istio/istio.h"

#define NETWORK_LABEL  "topology.istio.io/network"
#define ROOT           "istio-system"


/* ---- WorkloadEntry --------------------------------------------------------------------------- */

/* Port numbers by the name of the service's port. */
static void
read_entry_ports(cn_read_t *read, cn_doc_t *parent, const char *field, cn_array_t *ports)
{
    cn_doc_t    *mapping = cn_read_mapping(read, parent, "ports", field);
    const char  *inner = cn_read_path(read, "%s.ports", field);

    CN_DOC_EACH(mapping, item) {
        cn_container_port_t  *slot;
        uint64_t              number;

        item->used = true;

        if (cn_doc_u64(item, 1, 65535, &number) != CN_OK) {
            cn_read_error(read, item, cn_read_path(read, "%s.%.*s", inner,
                                                   CN_BYTES_ARG(item->key)),
                          "is no port number in 1..65535");
            continue;
        }

        slot = cn_array_add(ports);

        if (slot == NULL) {
            cn_read_no_memory(read);
            return;
        }

        *slot = (cn_container_port_t) { .name = item->key, .port = (uint16_t) number };
    }
}


/* The network that the mesh's root namespace says it is in; none: there is only one. */
static cn_bytes_t
own_network(const cn_istio_t *istio)
{
    const cn_namespace_t  *root = cn_map_get(istio->namespaces, CN_BYTES(ROOT));

    return root == NULL ? CN_BYTES_NONE : cn_istio_label(&root->labels, NETWORK_LABEL);
}


/* What is in another network is reached through its gateway, and not at its address. */
static void
check_network(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec, const char *field,
    const cn_pod_t *made)
{
    cn_bytes_t  network = cn_istio_label(&made->labels, NETWORK_LABEL);

    (void) cn_read_string(read, spec, "network", field, &network);

    if (network.len > 0 && !cn_bytes_equal(network, own_network(istio))) {
        cn_read_error(read, cn_doc_get(spec, "network"), cn_read_path(read, "%s.network", field),
                      "a workload of another network (%.*s) is not implemented",
                      CN_BYTES_ARG(network));
    }
}


/* The fields that a WorkloadEntry's spec and an item of a ServiceEntry's endpoints share. */
static void
read_entry(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec, const char *field,
    cn_pod_t *made)
{
    static const char *const  ignored[] = { "locality", NULL };     /* nothing chooses by it */
    cn_bytes_t                address;
    uint64_t                  weight = 1;

    if (cn_read_need_string(read, spec, "address", field, &address)) {
        cn_table_ip_t  ip;
        const char    *path = cn_read_path(read, "%s.address", field);

        if (cn_bytes_starts_with(address, CN_BYTES("unix:")) || !cn_istio_ip(address, &ip)) {
            cn_read_error(read, cn_doc_get(spec, "address"), path,
                          "\"%.*s\": other than an IP address is not implemented",
                          CN_BYTES_ARG(address));

        } else {
            cn_istio_add_ip(read, cn_doc_get(spec, "address"), path, address, &made->addresses);
        }
    }

    made->service_account = CN_BYTES("default");
    (void) cn_read_string(read, spec, "serviceAccount", field, &made->service_account);
    (void) cn_read_u64(read, spec, "weight", field, 0, CN_ENTRY_WEIGHT_MAX, &weight);
    made->weight = weight == 0 ? 1 : (uint32_t) weight;
    made->entry = true;
    made->ready = true;                     /* nobody says otherwise of it */
    read_entry_ports(read, spec, field, &made->ports);
    check_network(istio, read, spec, field, made);
    cn_read_ignore(spec, ignored);
}


static void
name_entry(const cn_istio_t *istio, cn_read_t *read, cn_pod_t *made, const char *uid)
{
    const cn_bytes_t  *domain = istio->model->trust_domains.items;

    made->uid = cn_bytes_str(uid);
    made->principal = cn_bytes_str(cn_pool_printf(read->pool, "spiffe://%.*s/ns/%.*s/sa/%.*s",
                                                  CN_BYTES_ARG(*domain),
                                                  CN_BYTES_ARG(made->name_space),
                                                  CN_BYTES_ARG(made->service_account)));

    if (made->uid.len == 0 || made->principal.len == 0) {
        cn_read_no_memory(read);
    }
}


static cn_pod_t
empty_entry(const cn_read_t *read, cn_bytes_t name, cn_bytes_t name_space)
{
    return (cn_pod_t) {
        .name = name,
        .name_space = name_space,
        .workload = name,
        .labels = CN_ARRAY_INIT(read->pool, cn_label_t),
        .addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t),
        .ports = CN_ARRAY_INIT(read->pool, cn_container_port_t),
    };
}


/* Of a label that stands in both places, metadata's counts. */
static void
add_spec_labels(cn_read_t *read, cn_doc_t *spec, cn_array_t *labels)
{
    cn_array_t  more = CN_ARRAY_INIT(read->pool, cn_label_t);
    size_t      own = labels->count;

    cn_istio_labels(read, spec, "labels", "spec", &more);

    CN_ARRAY_EACH(&more, const cn_label_t, label) {
        bool         known = false;
        cn_label_t  *slot;

        for (size_t i = 0; i < own; i++) {
            known = known || cn_bytes_equal(CN_ARRAY_AT(labels, const cn_label_t, i)->key,
                                            label->key);
        }

        slot = known ? NULL : cn_array_add(labels);

        if (slot != NULL) {
            *slot = *label;

        } else if (!known) {
            cn_read_no_memory(read);
            return;
        }
    }
}


void
cn_istio_read_workload_entry(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_pod_t  *made = cn_istio_new(read, sizeof(*made));
    char      *key;

    if (made == NULL) {
        return;
    }

    if (resource->spec == NULL) {
        cn_read_error(read, resource->root, "spec", "is missing");
        return;
    }

    *made = empty_entry(read, resource->name, resource->name_space);
    cn_istio_read_labels(read, &made->labels);
    add_spec_labels(read, resource->spec, &made->labels);
    read_entry(istio, read, resource->spec, "spec", made);
    made->hbone = cn_istio_has_tunnel(read, &made->labels);
    name_entry(istio, read, made,
               cn_pool_printf(read->pool, "%.*s/networking.istio.io/WorkloadEntry/%.*s/%.*s",
                              CN_BYTES_ARG(istio->model->cluster_id),
                              CN_BYTES_ARG(made->name_space), CN_BYTES_ARG(made->name)));
    cn_istio_finish(read);
    key = cn_pool_printf(read->pool, "%.*s/%.*s", CN_BYTES_ARG(made->name_space),
                         CN_BYTES_ARG(made->name));

    if (key == NULL) {
        cn_read_no_memory(read);
        return;
    }

    cn_istio_put(read, istio->entries, cn_bytes_str(key), made);
}


/* ---- ServiceEntry ---------------------------------------------------------------------------- */

static void
read_entry_port(cn_read_t *read, cn_doc_t *item, const char *field, cn_array_t *ports)
{
    cn_kube_port_t  port = { .protocol = CN_PROTOCOL_AUTO };
    cn_bytes_t      protocol = CN_BYTES_NONE;
    uint64_t        number = 0, target = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    (void) cn_read_need_string(read, item, "name", field, &port.name);
    (void) cn_read_string(read, item, "protocol", field, &protocol);
    (void) cn_read_u64(read, item, "targetPort", field, 0, 65535, &target);

    if (cn_doc_get(item, "number") == NULL) {
        cn_read_error(read, item, cn_read_path(read, "%s.number", field), "is missing");
        return;
    }

    if (!cn_read_u64(read, item, "number", field, 1, 65535, &number)
        || cn_bytes_equal_nocase(protocol, CN_BYTES("UDP")))
    {
        return;                             /* UDP does not pass a waypoint */
    }

    if (protocol.len > 0 && !cn_istio_protocol(protocol, &port)) {
        cn_read_error(read, cn_doc_get(item, "protocol"), cn_read_path(read, "%s.protocol", field),
                      "\"%.*s\" is no protocol", CN_BYTES_ARG(protocol));
    }

    port.port = (uint16_t) number;
    port.target_port = target == 0 ? port.port : (uint16_t) target;
    cn_istio_add_port(read, &port, item, cn_read_path(read, "%s.number", field), ports);
}


/* The items of a sequence of strings, each with its place. */
static void
read_strings(cn_read_t *read, cn_doc_t *parent, const char *key, cn_array_t *strings)
{
    cn_doc_t  *list = cn_read_sequence(read, parent, key, "spec");
    size_t     index = 0;

    CN_DOC_EACH(list, item) {
        const char  *field = cn_read_path(read, "spec.%s[%zu]", key, index++);
        cn_bytes_t   text;
        cn_bytes_t  *slot;

        if (!cn_read_item_string(read, item, field, &text)) {
            continue;
        }

        slot = cn_array_add(strings);

        if (slot == NULL) {
            cn_read_no_memory(read);
            return;
        }

        *slot = text;
    }
}


/* Letters, digits, '-', '_' and dots, as long as a name may be (RFC 1035 2.3.4). */
static bool
is_host(cn_bytes_t host)
{
    for (size_t i = 0; i < host.len; i++) {
        uint8_t  octet = cn_lower(host.ptr[i]);

        if ((octet < 'a' || octet > 'z') && (octet < '0' || octet > '9') && octet != '-'
            && octet != '_' && octet != '.')
        {
            return false;
        }
    }

    return host.len > 0 && host.len <= 253;
}


static void
read_hosts(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec, cn_array_t *hosts)
{
    cn_doc_t  *node = cn_doc_get(spec, "hosts");

    read_strings(read, spec, "hosts", hosts);

    if (hosts->count == 0) {
        cn_read_error(read, node == NULL ? spec : node, "spec.hosts", "is missing or empty");
    }

    CN_ARRAY_EACH(hosts, cn_bytes_t, host) {
        *host = cn_istio_lower(read->pool, *host);

        if (cn_bytes_find_octet(*host, '*') != SIZE_MAX) {
            cn_read_error(read, node, "spec.hosts", "%.*s: a wildcard is not implemented",
                          CN_BYTES_ARG(*host));

        } else if (!is_host(*host)) {
            cn_read_error(read, node, "spec.hosts", "\"%.*s\" is no host name",
                          CN_BYTES_ARG(*host));

        } else if (cn_map_get(istio->services, *host) != NULL) {
            cn_read_error(read, node, "spec.hosts", "there is already a service %.*s",
                          CN_BYTES_ARG(*host));
        }
    }
}


/* Those of the user, else those that istiod has given it, by host. */
static void
read_addresses(cn_read_t *read, cn_doc_t *spec, cn_array_t *addresses)
{
    cn_array_t   texts = CN_ARRAY_INIT(read->pool, cn_bytes_t);
    cn_doc_t    *node = cn_doc_get(spec, "addresses");

    read_strings(read, spec, "addresses", &texts);

    CN_ARRAY_EACH(&texts, const cn_bytes_t, text) {
        cn_bytes_t  address, bits;

        if (cn_bytes_split(*text, '/', &address, &bits)
            && !cn_bytes_equal(bits, CN_BYTES("32")) && !cn_bytes_equal(bits, CN_BYTES("128")))
        {
            cn_read_error(read, node, "spec.addresses", "%.*s: a range of addresses is not "
                          "implemented", CN_BYTES_ARG(*text));
            continue;
        }

        cn_istio_add_ip(read, node, "spec.addresses", address, addresses);
    }
}


static void
read_given_addresses(cn_read_t *read, cn_bytes_t host, bool only, cn_array_t *addresses)
{
    cn_doc_t  *list = cn_doc_path(read->resource->root, "status.addresses");

    CN_DOC_EACH(list, item) {
        const cn_doc_t  *value = cn_doc_get(item, "value");
        const cn_doc_t  *whose = cn_doc_get(item, "host");

        if (value != NULL && (whose == NULL ? only : cn_bytes_equal_nocase(whose->text, host))) {
            cn_istio_add_ip(read, value, "status.addresses", value->text, addresses);
        }
    }
}


/* Whether it is STATIC, which has its endpoints in the files; of the others we name the one. */
static bool
check_resolution(cn_read_t *read, cn_doc_t *spec)
{
    static const char *const  others[] = { "NONE", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS" };
    cn_bytes_t                resolution = CN_BYTES("NONE");
    cn_doc_t                 *node = cn_doc_get(spec, "resolution");
    bool                      known = false;

    if (!cn_read_string(read, spec, "resolution", "spec", &resolution) && node != NULL) {
        return false;
    }

    if (cn_bytes_equal(resolution, CN_BYTES("STATIC"))) {
        return true;
    }

    for (size_t i = 0; i < CN_COUNT_OF(others); i++) {
        known = known || cn_bytes_equal(resolution, cn_bytes_str(others[i]));
    }

    if (known) {
        cn_read_error(read, node == NULL ? spec : node, "spec.resolution",
                      "%.*s is not implemented: only STATIC is", CN_BYTES_ARG(resolution));

    } else {
        cn_read_error(read, node, "spec.resolution", "\"%.*s\" is no resolution: expected STATIC",
                      CN_BYTES_ARG(resolution));
    }

    return false;
}


/* Whose mesh it is in changes nothing for a waypoint: HBONE is said of each workload. */
static void
check_location(cn_read_t *read, cn_doc_t *spec)
{
    cn_bytes_t  location = CN_BYTES_NONE;

    if (cn_read_string(read, spec, "location", "spec", &location)
        && !cn_bytes_equal(location, CN_BYTES("MESH_EXTERNAL"))
        && !cn_bytes_equal(location, CN_BYTES("MESH_INTERNAL")))
    {
        cn_read_error(read, cn_doc_get(spec, "location"), "spec.location",
                      "\"%.*s\" is no location: expected MESH_EXTERNAL or MESH_INTERNAL",
                      CN_BYTES_ARG(location));
    }
}


/* The label istio.io/use-waypoint says who is served: a list that leaves us out is told. */
static void
check_export(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec)
{
    cn_array_t  to = CN_ARRAY_INIT(read->pool, cn_bytes_t);
    cn_bytes_t  ours = istio->model->name_space;

    read_strings(read, spec, "exportTo", &to);

    CN_ARRAY_EACH(&to, const cn_bytes_t, item) {
        if (cn_bytes_equal(*item, CN_BYTES("*")) || cn_bytes_equal(*item, ours)
            || (cn_bytes_equal(*item, CN_BYTES("."))
                && cn_bytes_equal(read->resource->name_space, ours)))
        {
            return;
        }
    }

    if (to.count > 0) {
        cn_read_warn(read, cn_doc_get(spec, "exportTo"), "spec.exportTo",
                     "leaves the waypoint's namespace out: it has no effect here");
    }
}


static void
read_endpoint(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *item, const char *field,
    const cn_kube_service_t *service, cn_array_t *endpoints)
{
    const cn_resource_t  *resource = read->resource;
    cn_pod_t             *made = cn_istio_new(read, sizeof(*made));
    cn_pod_ref_t         *slot;
    const cn_doc_t       *address;

    if (made == NULL || !cn_read_is_mapping(read, item, field)) {
        return;
    }

    *made = empty_entry(read, resource->name, resource->name_space);
    cn_istio_labels(read, item, "labels", field, &made->labels);
    read_entry(istio, read, item, field, made);
    address = cn_doc_get(item, "address");
    made->hbone = cn_istio_has_tunnel(read, &made->labels)
                  || cn_istio_has_tunnel(read, &service->labels);
    made->named_by = &service->labels;
    name_entry(istio, read, made,
               cn_pool_printf(read->pool, "%.*s/networking.istio.io/ServiceEntry/%.*s/%.*s/%.*s",
                              CN_BYTES_ARG(istio->model->cluster_id),
                              CN_BYTES_ARG(resource->name_space), CN_BYTES_ARG(resource->name),
                              CN_BYTES_ARG(address == NULL ? CN_BYTES_NONE : address->text)));
    slot = cn_array_add(endpoints);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = made;
}


static void
read_members(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec, bool needed,
    cn_kube_service_t *made)
{
    cn_doc_t  *selector = cn_read_mapping(read, spec, "workloadSelector", "spec");
    cn_doc_t  *list = cn_read_sequence(read, spec, "endpoints", "spec");
    size_t     index = 0;

    cn_istio_labels(read, selector, "labels", "spec.workloadSelector", &made->selector);

    CN_DOC_EACH(list, item) {
        read_endpoint(istio, read, item, cn_read_path(read, "spec.endpoints[%zu]", index++), made,
                      &made->endpoints);
    }

    if (selector != NULL && list != NULL) {
        cn_read_error(read, selector, "spec.workloadSelector", "cannot stand beside endpoints");

    } else if (selector != NULL && made->selector.count == 0) {
        cn_read_error(read, selector, "spec.workloadSelector.labels", "is missing or empty");

    } else if (needed && selector == NULL && made->endpoints.count == 0) {
        cn_read_error(read, spec, "spec.endpoints",
                      "is missing or empty, and so is workloadSelector");
    }
}


static void
read_entry_spec(const cn_istio_t *istio, cn_read_t *read, cn_doc_t *spec, cn_kube_service_t *made)
{
    static const char *const  unsupported[] = { "subjectAltNames", NULL };
    cn_doc_t                 *ports = cn_read_sequence(read, spec, "ports", "spec");
    bool                      is_static = check_resolution(read, spec);
    size_t                    index = 0;

    CN_DOC_EACH(ports, item) {
        read_entry_port(read, item, cn_read_path(read, "spec.ports[%zu]", index++), &made->ports);
    }

    if (ports == NULL || ports->count == 0) {
        cn_read_error(read, spec, "spec.ports", "is missing or empty");
    }

    check_location(read, spec);
    check_export(istio, read, spec);
    read_addresses(read, spec, &made->addresses);
    read_members(istio, read, spec, is_static, made);
    cn_read_unsupported(read, spec, "spec", unsupported);
}


/* A service for each host.  The addresses are the first's: behind an address is one service. */
static void
put_hosts(cn_istio_t *istio, cn_read_t *read, const cn_array_t *hosts,
    const cn_kube_service_t *all)
{
    bool  first = true;

    if (hosts->count > 1 && all->addresses.count > 0) {
        cn_read_warn(read, cn_doc_get(read->resource->spec, "addresses"), "spec.addresses",
                     "belong to the first of several hosts: the others are found by name");
    }

    CN_ARRAY_EACH(hosts, const cn_bytes_t, host) {
        cn_kube_service_t  *made = cn_istio_new(read, sizeof(*made));

        if (made == NULL) {
            return;
        }

        *made = *all;
        made->host = made->name = *host;
        made->slices = CN_ARRAY_INIT(read->pool, cn_slice_ref_t);
        made->rules = CN_ARRAY_INIT(read->pool, cn_destination_rule_ref_t);
        made->virtual_services = CN_ARRAY_INIT(read->pool, cn_rule_set_ref_t);
        made->http_routes = CN_ARRAY_INIT(read->pool, cn_rule_set_ref_t);

        if (!first || all->addresses.count == 0) {
            made->addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t);
        }

        if (all->addresses.count == 0) {
            read_given_addresses(read, *host, hosts->count == 1, &made->addresses);
        }

        cn_istio_put(read, istio->services, *host, made);
        first = false;
    }

    CN_ARRAY_EACH(&all->endpoints, const cn_pod_ref_t, endpoint) {
        cn_pod_ref_t  *slot = cn_array_add(&istio->inline_endpoints);

        if (slot == NULL) {
            cn_read_no_memory(read);
            return;
        }

        *slot = *endpoint;
    }
}


void
cn_istio_read_service_entry(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_array_t          hosts = CN_ARRAY_INIT(read->pool, cn_bytes_t);
    cn_kube_service_t  *made = cn_istio_new(read, sizeof(*made));

    if (made == NULL) {
        return;
    }

    if (resource->spec == NULL) {
        cn_read_error(read, resource->root, "spec", "is missing");
        return;
    }

    *made = (cn_kube_service_t) {
        .entry = resource->name,
        .name_space = resource->name_space,
        .labels = CN_ARRAY_INIT(read->pool, cn_label_t),
        .addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t),
        .ports = CN_ARRAY_INIT(read->pool, cn_kube_port_t),
        .selector = CN_ARRAY_INIT(read->pool, cn_label_t),
        .endpoints = CN_ARRAY_INIT(read->pool, cn_pod_ref_t),
        .created = resource->created,
        .origin = cn_istio_origin(read, resource->root),
    };
    cn_istio_read_labels(read, &made->labels);
    read_hosts(istio, read, resource->spec, &hosts);
    read_entry_spec(istio, read, resource->spec, made);
    cn_istio_finish(read);

    if (read->errors == 0) {
        put_hosts(istio, read, &hosts, made);
    }
}
