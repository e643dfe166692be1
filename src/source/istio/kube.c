/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kube - what readers of Kubernetes' kinds share, and the two smallest of them: Namespace and
 * Gateway.
 */

#include "source/istio/istio.h"

#include <arpa/inet.h>

static const char *const  root_fields[] = { "status", NULL };


/* ---- helpers --------------------------------------------------------------------------------- */


bool
cn_istio_ip(cn_bytes_t text, cn_table_ip_t *ip)
{
    char  name[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(name)) {
        return false;
    }

    if (text.len > 0) {
        memcpy(name, text.ptr, text.len);
    }

    name[text.len] = '\0';

    if (inet_pton(AF_INET6, name, ip->ip) == 1) {
        return true;
    }

    *ip = (cn_table_ip_t) { .ip = { [10] = 0xff, [11] = 0xff } };

    return inet_pton(AF_INET, name, ip->ip + 12) == 1;
}


void
cn_istio_add_ip(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t text,
    cn_array_t *addresses)
{
    cn_table_ip_t   ip;
    cn_table_ip_t  *slot;

    if (!cn_istio_ip(text, &ip)) {
        cn_read_error(read, node, field, "\"%.*s\" is no IP address", CN_BYTES_ARG(text));
        return;
    }

    CN_ARRAY_EACH(addresses, cn_table_ip_t, known) {
        if (memcmp(known, &ip, sizeof(ip)) == 0) {
            return;
        }
    }

    slot = cn_array_add(addresses);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = ip;
}


void
cn_istio_labels(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_array_t *labels)
{
    cn_doc_t  *mapping = cn_read_mapping(read, parent, key, field);

    CN_DOC_EACH(mapping, item) {
        const char  *path = cn_read_path(read, "%s%s%s.%.*s", field, *field == '\0' ? "" : ".",
                                         key, CN_BYTES_ARG(item->key));
        cn_label_t  *label = cn_array_add(labels);

        item->used = true;

        if (label == NULL) {
            cn_read_no_memory(read);
            return;
        }

        label->key = item->key;

        if (item->kind != CN_DOC_NULL) {
            (void) cn_read_item_string(read, item, path, &label->value);
        }
    }
}


cn_bytes_t
cn_istio_label(const cn_array_t *labels, const char *key)
{
    cn_bytes_t  wanted = cn_bytes_str(key);

    CN_ARRAY_EACH(labels, const cn_label_t, label) {
        if (cn_bytes_equal(label->key, wanted)) {
            return label->value;
        }
    }

    return CN_BYTES_NONE;
}


bool
cn_istio_selects(const cn_array_t *wanted, const cn_array_t *labels)
{
    CN_ARRAY_EACH(wanted, const cn_label_t, want) {
        bool  found = false;

        CN_ARRAY_EACH(labels, const cn_label_t, label) {
            found = found || (cn_bytes_equal(label->key, want->key)
                              && cn_bytes_equal(label->value, want->value));
        }

        if (!found) {
            return false;
        }
    }

    return true;
}


cn_origin_t
cn_istio_origin(const cn_read_t *read, const cn_doc_t *node)
{
    return (cn_origin_t) { .file = node->file, .line = node->line,
        .resource = read->resource->label };
}


cn_bytes_t
cn_istio_lower(cn_pool_t *pool, cn_bytes_t text)
{
    uint8_t  *lower = cn_pool_octets(pool, text.len);

    if (lower == NULL) {
        return CN_BYTES_NONE;
    }

    for (size_t i = 0; i < text.len; i++) {
        lower[i] = cn_lower(text.ptr[i]);
    }

    return cn_bytes(lower, text.len);
}


cn_bytes_t
cn_istio_full_host(cn_istio_t *istio, cn_bytes_t given, cn_bytes_t name_space)
{
    cn_bytes_t  domain = istio->model->cluster_domain;
    cn_bytes_t  host = cn_istio_lower(istio->pool, given);
    cn_bytes_t  rest = host;
    cn_bytes_t  label;
    size_t      dots = 0;
    char       *full;

    while (cn_bytes_split(rest, '.', &label, &rest)) {
        dots++;
    }

    if (dots == 0) {
        full = cn_pool_printf(istio->pool, "%.*s.%.*s.svc.%.*s", CN_BYTES_ARG(host),
                              CN_BYTES_ARG(name_space),
                              CN_BYTES_ARG(domain));

    } else if (cn_map_get(istio->services, host) != NULL) {
        return host;                        /* "name.ns" may be a ServiceEntry's host too */

    } else if (dots == 1) {
        full = cn_pool_printf(istio->pool, "%.*s.svc.%.*s", CN_BYTES_ARG(host),
                              CN_BYTES_ARG(domain));

    } else if (dots == 2 && cn_bytes_ends_with(host, CN_BYTES(".svc"))) {
        full = cn_pool_printf(istio->pool, "%.*s.%.*s", CN_BYTES_ARG(host), CN_BYTES_ARG(domain));

    } else {
        return host;
    }

    return cn_bytes_str(full);
}


cn_kube_service_t *
cn_istio_service(const cn_istio_t *istio, cn_bytes_t host, cn_bytes_t name_space)
{
    cn_istio_t  *mutable = (cn_istio_t *) (uintptr_t) istio;

    return cn_map_get(istio->services, cn_istio_full_host(mutable, host, name_space));
}


const cn_kube_port_t *
cn_istio_port(const cn_kube_service_t *service, uint16_t port)
{
    CN_ARRAY_EACH(&service->ports, const cn_kube_port_t, item) {
        if (item->port == port) {
            return item;
        }
    }

    return NULL;
}


const cn_subset_t *
cn_istio_subset(const cn_kube_service_t *service, cn_bytes_t name)
{
    CN_ARRAY_EACH(&service->rules, const cn_destination_rule_ref_t, rule) {
        CN_ARRAY_EACH(&(*rule)->subsets, const cn_subset_t, subset) {
            if (cn_bytes_equal(subset->name, name)) {
                return subset;
            }
        }
    }

    return NULL;
}


cn_doc_t *
cn_istio_metadata(const cn_resource_t *resource)
{
    return cn_doc_get(resource->root, "metadata");
}


void
cn_istio_read_labels(cn_read_t *read, cn_array_t *labels)
{
    cn_istio_labels(read, cn_istio_metadata(read->resource), "labels", "metadata", labels);
}


void
cn_istio_finish(cn_read_t *read)
{
    cn_read_ignore(read->resource->root, root_fields);
    cn_read_finish(read, read->resource->root, "", false);
}


void *
cn_istio_new(cn_read_t *read, size_t size)
{
    void  *made = cn_pool_alloc_zero(read->pool, size);

    if (made == NULL) {
        cn_read_no_memory(read);
    }

    return made;
}


void
cn_istio_put(cn_read_t *read, cn_map_t *map, cn_bytes_t key, void *value)
{
    if (read->errors == 0 && cn_map_set(map, key, value) != CN_OK) {
        cn_read_no_memory(read);
    }
}


/* ---- Namespace, Gateway ---------------------------------------------------------------------- */


void
cn_istio_read_namespace(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    cn_namespace_t  *made = cn_istio_new(read, sizeof(*made));

    if (made == NULL) {
        return;
    }

    made->name = resource->name;
    made->labels = CN_ARRAY_INIT(read->pool, cn_label_t);
    cn_istio_read_labels(read, &made->labels);
    cn_doc_use_all(resource->spec);
    cn_istio_finish(read);
    cn_istio_put(read, istio->namespaces, made->name, made);
}


static void
read_listeners(cn_read_t *read, const cn_resource_t *resource)
{
    static const char *const  fields[] = { "name", "hostname", "tls", "allowedRoutes", NULL };
    cn_doc_t                 *listeners = cn_read_sequence(read, resource->spec, "listeners",
                                                           "spec");
    size_t                    index = 0;

    CN_DOC_EACH(listeners, item) {
        const char  *field = cn_read_path(read, "spec.listeners[%zu]", index++);
        cn_bytes_t   protocol = CN_BYTES_NONE;
        uint64_t     port;

        if (!cn_read_is_mapping(read, item, field)) {
            continue;
        }

        cn_read_ignore(item, fields);
        (void) cn_read_u64(read, item, "port", field, 1, 65535, &port);

        if (cn_read_need_string(read, item, "protocol", field, &protocol)
            && !cn_bytes_equal(protocol, CN_BYTES("HBONE"))) {
            cn_read_error(read, item, cn_read_path(read, "%s.protocol", field),
                          "a waypoint's listener speaks HBONE, not %.*s",
                          CN_BYTES_ARG(protocol));
        }
    }
}


void
cn_istio_read_gateway(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    static const char *const   fields[] = { "addresses", "infrastructure", "allowedListeners",
        "backendTLS", "tls", NULL };
    cn_array_t                 labels = CN_ARRAY_INIT(read->pool, cn_label_t);
    cn_array_t                 annotations = CN_ARRAY_INIT(read->pool, cn_label_t);
    cn_gateway_t              *made = cn_istio_new(read, sizeof(*made));
    cn_gateway_t             **slot;

    if (made == NULL) {
        return;
    }

    made->name = resource->name;
    made->name_space = resource->name_space;
    made->root = resource->root;
    made->label = resource->label;
    cn_istio_read_labels(read, &labels);
    cn_istio_labels(read, cn_istio_metadata(resource), "annotations", "metadata", &annotations);
    made->waypoint_for = cn_istio_label(&labels, "istio.io/waypoint-for");
    made->for_service_account = cn_istio_label(&annotations, "istio.io/for-service-account");
    (void) cn_read_need_string(read, resource->spec, "gatewayClassName", "spec", &made->class_name);

    if (!cn_bytes_equal(made->class_name, CN_BYTES("istio-waypoint"))) {
        /* somebody else's: its fields are none of our business */
        return;
    }

    read_listeners(read, resource);
    cn_read_ignore(resource->spec, fields);
    cn_istio_finish(read);

    if (read->errors > 0) {
        return;
    }

    slot = cn_array_add(&istio->gateways);

    if (slot == NULL) {
        cn_read_no_memory(read);
        return;
    }

    *slot = made;
}
