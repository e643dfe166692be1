/* SPDX-License-Identifier: Apache-2.0 */

/*
 * service - v1 Service.  Only what makes a waypoint is read; the rest of its fields is known by
 * name, so that a misspelt one is told.
 */

#include "source/istio/istio.h"

static const char *const  service_fields[] = {
    "allocateLoadBalancerNodePorts", "externalIPs", "externalTrafficPolicy", "healthCheckNodePort",
    "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy", "loadBalancerClass", "loadBalancerIP",
    "loadBalancerSourceRanges", "sessionAffinity", "sessionAffinityConfig", "trafficDistribution",
        NULL
};


typedef struct { const char *name; cn_service_protocol_t protocol; bool http2; } protocol_name_t;

static const protocol_name_t  protocol_names[] = {
    { "http", CN_PROTOCOL_HTTP, false },
    { "http2", CN_PROTOCOL_HTTP, true },
    { "grpc", CN_PROTOCOL_HTTP, true },
    { "grpc-web", CN_PROTOCOL_HTTP, true },
    { "https", CN_PROTOCOL_TCP, false },
    { "tls", CN_PROTOCOL_TCP, false },
    { "tcp", CN_PROTOCOL_TCP, false },
    { "mongo", CN_PROTOCOL_TCP, false },
    { "mysql", CN_PROTOCOL_TCP, false },
    { "redis", CN_PROTOCOL_TCP, false },
    { "hbone", CN_PROTOCOL_TCP, false },
    { "kubernetes.io/h2c", CN_PROTOCOL_HTTP, true },
    { "kubernetes.io/ws", CN_PROTOCOL_HTTP, false },
    { "kubernetes.io/wss", CN_PROTOCOL_TCP, false },
};


bool
cn_istio_protocol(cn_bytes_t name, cn_kube_port_t *port)
{
    for (size_t i = 0; i < CN_COUNT_OF(protocol_names); i++) {
        if (cn_bytes_equal_nocase(name, cn_bytes_str(protocol_names[i].name))) {
            port->protocol = protocol_names[i].protocol;
            port->http2 = protocol_names[i].http2;
            return true;
        }
    }

    return false;
}


/*
 * appProtocol wins, then the name's first word, then ports where a peer would wait for the server
 * to speak first.
 */
static void
choose_protocol(cn_bytes_t app_protocol, cn_kube_port_t *port)
{
    static const uint16_t  tcp_ports[] = { 25, 53, 3306, 27017 };
    cn_bytes_t             word, rest;

    port->protocol = CN_PROTOCOL_AUTO;

    if (app_protocol.len > 0) {
        if (cn_istio_protocol(app_protocol, port)) {
            return;
        }

    } else if (cn_bytes_starts_with_nocase(port->name, CN_BYTES("grpc-web"))
               && (port->name.len == 8 || port->name.ptr[8] == '-'))
    {
        port->protocol = CN_PROTOCOL_HTTP;
        port->http2 = true;
        return;

    } else {
        (void) cn_bytes_split(port->name, '-', &word, &rest);

        if (cn_istio_protocol(word, port)) {
            return;
        }
    }

    for (size_t i = 0; i < CN_COUNT_OF(tcp_ports); i++) {
        if (port->port == tcp_ports[i]) {
            port->protocol = CN_PROTOCOL_TCP;
        }
    }
}


static void
read_target_port(cn_read_t *read, cn_doc_t *item, const char *field, cn_kube_port_t *port)
{
    cn_doc_t  *node = cn_doc_get(item, "targetPort");
    uint64_t   number;

    port->target_port = port->port;

    if (node == NULL) {
        return;
    }

    if (cn_doc_u64(node, 1, 65535, &number) == CN_OK) {
        port->target_port = (uint16_t) number;
        return;
    }

    if (cn_doc_string(node, &port->target_name) == CN_OK && port->target_name.len > 0) {
        port->target_port = 0;
        return;
    }

    cn_read_error(read, node, cn_read_path(read, "%s.targetPort", field),
                  "is no port number in 1..65535 and no name");
}


void
cn_istio_add_port(cn_read_t *read, const cn_kube_port_t *port, const cn_doc_t *node,
    const char *field, cn_array_t *ports)
{
    cn_kube_port_t  *slot;

    CN_ARRAY_EACH(ports, const cn_kube_port_t, other) {
        if (other->port == port->port) {
            cn_read_error(read, node, field, "port %u is there twice", port->port);
            return;
        }
    }

    slot = cn_array_add(ports);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = *port;
}


static void
read_service_port(cn_read_t *read, cn_doc_t *item, const char *field, cn_array_t *ports)
{
    static const char *const  fields[] = { "nodePort", NULL };
    cn_bytes_t                transport = CN_BYTES_NONE;
    cn_bytes_t                app_protocol = CN_BYTES_NONE;
    cn_kube_port_t            port = { .port = 0 };
    uint64_t                  number = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    (void) cn_read_string(read, item, "name", field, &port.name);
    (void) cn_read_string(read, item, "protocol", field, &transport);
    (void) cn_read_string(read, item, "appProtocol", field, &app_protocol);
    cn_read_ignore(item, fields);

    if (cn_doc_get(item, "port") == NULL) {
        cn_read_error(read, item, cn_read_path(read, "%s.port", field), "is missing");
        return;
    }

    if (!cn_read_u64(read, item, "port", field, 1, 65535, &number)) {
        return;
    }

    port.port = (uint16_t) number;
    read_target_port(read, item, field, &port);

    if (transport.len > 0 && !cn_bytes_equal(transport, CN_BYTES("TCP"))) {
        return;                             /* UDP and SCTP do not pass a waypoint */
    }

    choose_protocol(app_protocol, &port);

    cn_istio_add_port(read, &port, item, cn_read_path(read, "%s.port", field), ports);
}


static int
compare_ports(const void *a, const void *b)
{
    const cn_kube_port_t  *left = a;
    const cn_kube_port_t  *right = b;

    return (left->port > right->port) - (left->port < right->port);
}


static void
read_cluster_ips(cn_read_t *read, cn_doc_t *spec, cn_array_t *addresses)
{
    cn_doc_t    *list = cn_read_sequence(read, spec, "clusterIPs", "spec");
    cn_bytes_t   text = CN_BYTES_NONE;
    size_t       index = 0;

    if (cn_read_string(read, spec, "clusterIP", "spec", &text) && text.len > 0
        && !cn_bytes_equal(text, CN_BYTES("None")))
    {
        cn_istio_add_ip(read, cn_doc_get(spec, "clusterIP"), "spec.clusterIP", text, addresses);
    }

    CN_DOC_EACH(list, item) {
        const char  *field = cn_read_path(read, "spec.clusterIPs[%zu]", index++);

        if (cn_read_item_string(read, item, field, &text) && text.len > 0
            && !cn_bytes_equal(text, CN_BYTES("None")))
        {
            cn_istio_add_ip(read, item, field, text, addresses);
        }
    }
}


static void
read_service_spec(cn_read_t *read, cn_doc_t *spec, cn_kube_service_t *made)
{
    cn_doc_t    *ports = cn_read_sequence(read, spec, "ports", "spec");
    cn_bytes_t   type = CN_BYTES_NONE;
    size_t       index = 0;

    if (cn_read_string(read, spec, "type", "spec", &type)
        && cn_bytes_equal(type, CN_BYTES("ExternalName"))) {
        cn_read_error(read, cn_doc_get(spec, "type"), "spec.type",
                      "ExternalName is not implemented");
    }

    CN_DOC_EACH(ports, item) {
        read_service_port(read, item, cn_read_path(read, "spec.ports[%zu]", index++), &made->ports);
    }

    if (cn_array_sort(&made->ports, compare_ports) != CN_OK) {
        cn_read_no_memory(read);
    }

    read_cluster_ips(read, spec, &made->addresses);
    cn_istio_labels(read, spec, "selector", "spec", &made->selector);
    (void) cn_read_bool(read, spec, "publishNotReadyAddresses", "spec", &made->publish_not_ready);
    cn_read_ignore(spec, service_fields);
}


void
cn_istio_read_service(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_kube_service_t  *made = cn_istio_new(read, sizeof(*made));

    if (made == NULL) {
        return;
    }

    *made = (cn_kube_service_t) {
        .name = resource->name,
        .name_space = resource->name_space,
        .host = cn_istio_full_host(istio, resource->name, resource->name_space),
        .labels = CN_ARRAY_INIT(read->pool, cn_label_t),
        .addresses = CN_ARRAY_INIT(read->pool, cn_table_ip_t),
        .ports = CN_ARRAY_INIT(read->pool, cn_kube_port_t),
        .selector = CN_ARRAY_INIT(read->pool, cn_label_t),
        .endpoints = CN_ARRAY_INIT(read->pool, cn_pod_ref_t),
        .slices = CN_ARRAY_INIT(read->pool, cn_slice_ref_t),
        .rules = CN_ARRAY_INIT(read->pool, cn_destination_rule_ref_t),
        .virtual_services = CN_ARRAY_INIT(read->pool, cn_rule_set_ref_t),
        .http_routes = CN_ARRAY_INIT(read->pool, cn_rule_set_ref_t),
        .created = resource->created,
        .origin = cn_istio_origin(read, resource->root),
    };

    if (resource->spec == NULL) {
        cn_read_error(read, resource->root, "spec", "is missing");
        return;
    }

    cn_istio_read_labels(read, &made->labels);
    read_service_spec(read, resource->spec, made);
    cn_istio_finish(read);
    cn_istio_put(read, istio->services, made->host, made);
}
