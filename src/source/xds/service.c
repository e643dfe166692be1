/* SPDX-License-Identifier: Apache-2.0 */

/*
 * service - services by the chains of their ports.  A port of which both is said what its HTTP does
 * and what its TCP does has two chains, the halves of one chain of the model: the HTTP half comes
 * first and has the filters.  A chain that is refused is in the model, closed.
 */

#include "source/xds/xds.h"

#define HTTP_MANAGER  CN_XDS_TYPE("envoy.extensions.filters.network.http_connection_manager.v3." \
                                  "HttpConnectionManager")
#define TCP_PROXY     CN_XDS_TYPE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")


/* ---- services ---- */

cn_service_t *
cn_xds_service(const cn_xds_t *xds, cn_bytes_t host)
{
    uintptr_t  position = (uintptr_t) cn_map_get(xds->services, host);

    return position == 0
           ? NULL : CN_ARRAY_AT(&xds->model->services, cn_service_t, position - 1);
}


/*
 * A chain's cluster knows the service's name and namespace; else its host does.  Any of its chains
 * may be the first and have no cluster.
 */
static void
name_service(const cn_xds_t *xds, cn_bytes_t cluster, cn_service_t *service)
{
    uintptr_t   position = (uintptr_t) cn_map_get(xds->clusters, cluster);
    cn_bytes_t  rest;

    if (position > 0) {
        const cn_cluster_t  *known = CN_ARRAY_AT(&xds->model->clusters, const cn_cluster_t,
                                                 position - 1);

        service->name = known->service_name;
        service->name_space = known->service_namespace;
        return;
    }

    if (service->name.len == 0 && cn_bytes_split(service->host, '.', &service->name, &rest)) {
        (void) cn_bytes_split(rest, '.', &service->name_space, &rest);
    }
}


/*
 * The service of that host, which is copied, made when it is new; NULL: memory.  Until the next one
 * is made.
 */
static cn_service_t *
get_service(cn_xds_t *xds, cn_bytes_t name, cn_bytes_t cluster)
{
    cn_array_t    *services = &xds->model->services;
    cn_service_t  *made = cn_xds_service(xds, name);
    cn_bytes_t     host;

    if (made != NULL) {
        name_service(xds, cluster, made);
        return made;
    }

    made = cn_xds_add(xds, services);

    if (made == NULL) {
        return NULL;
    }

    if (cn_pool_copy(xds->pool, name, &host) != CN_OK
        || cn_map_set(xds->services, host, (void *) services->count) != CN_OK)
    {
        services->count--;
        cn_read_no_memory(&xds->read);
        return NULL;
    }

    *made = (cn_service_t) {
        .host = host,
        .addresses = CN_ARRAY_INIT(xds->pool, cn_table_ip_t),
        .chains = CN_ARRAY_INIT(xds->pool, cn_chain_config_t),
        .origin = { .file = "", .resource = "" },
    };
    name_service(xds, cluster, made);

    return made;
}


/* ---- chains ---- */

cn_chain_config_t *
cn_xds_chain_of_port(const cn_service_t *service, uint16_t port)
{
    CN_ARRAY_EACH(&service->chains, cn_chain_config_t, chain) {
        if (chain->port == port) {
            return chain;
        }
    }

    return NULL;
}


static void
read_tcp_proxy(cn_xds_t *xds, cn_bytes_t value, cn_chain_config_t *chain)
{
    const Cairn__TcpProxy  *message = cn_decode(&xds->read, &cairn__tcp_proxy__descriptor, value,
                                                "tcp_proxy");

    if (message == NULL) {
        return;
    }

    chain->tcp_cluster = cn_decoded(message->cluster);

    if (message->idle_timeout != NULL) {
        chain->tcp_idle_timeout_ms = cn_xds_duration(xds, message->idle_timeout, "idle_timeout");

        if (chain->tcp_idle_timeout_ms == 0) {
            cn_read_error(&xds->read, NULL, "idle_timeout", "0, none, is not implemented");
        }
    }

    if (message->max_downstream_connection_duration != NULL) {
        chain->tcp_max_duration_ms = cn_xds_duration(xds,
            message->max_downstream_connection_duration, "max_downstream_connection_duration");
    }
}


static void
read_filter(cn_xds_t *xds, const Cairn__Filter *filter, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    cn_bytes_t  type_url, value;

    if (filter->typed_config == NULL) {
        cn_read_error(&xds->read, NULL, "filters", "a filter has no configuration");
        return;
    }

    type_url = cn_decoded(filter->typed_config->type_url);
    value = cn_decoded(filter->typed_config->value);

    if (cn_bytes_equal(type_url, CN_BYTES(HTTP_MANAGER))) {
        cn_xds_read_http(xds, value, service, chain);

    } else if (cn_bytes_equal(type_url, CN_BYTES(TCP_PROXY))) {
        read_tcp_proxy(xds, value, chain);

    } else {
        cn_xds_read_network_filter(xds, type_url, value, chain);
    }
}


static void
read_chain_filters(cn_xds_t *xds, cn_bytes_t value, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    const Cairn__FilterChain  *message;
    cn_pool_t                 *pool = cn_xds_borrow_pool(xds);

    if (pool == NULL) {
        cn_read_no_memory(&xds->read);
        return;
    }

    /* all that is kept of it is what its filters' own octets are read into */
    xds->read.pool = pool;
    message = cn_decode(&xds->read, &cairn__filter_chain__descriptor, value, "filter_chain");
    xds->read.pool = xds->pool;

    if (message == NULL) {
        cn_pool_destroy(pool);
        return;
    }

    if (message->transport_socket != NULL) {
        cn_read_error(&xds->read, NULL, "transport_socket", "is not implemented");
    }

    for (size_t i = 0; i < message->n_filters; i++) {
        read_filter(xds, message->filters[i], service, chain);
    }

    cn_pool_destroy(pool);
}


static bool
has_module(const cn_chain_config_t *chain, const cn_module_config_t *module)
{
    CN_ARRAY_EACH(&chain->filters, const cn_filter_config_t, filter) {
        if (filter->module == module) {
            return true;
        }
    }

    return false;
}


/*
 * The TCP half of a port whose HTTP half is there: that has the filters, of which those that need
 * no request hold for raw connections too.  A filter that stands in this half alone would be lost.
 */
static void
read_tcp_half(cn_xds_t *xds, cn_bytes_t value, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    cn_chain_config_t  half = *chain;

    half.filters = CN_ARRAY_INIT(xds->pool, cn_filter_config_t);
    read_chain_filters(xds, value, service, &half);
    half.protocol = CN_PROTOCOL_AUTO;

    CN_ARRAY_EACH(&half.filters, const cn_filter_config_t, filter) {
        if (!has_module(chain, filter->module)) {
            cn_read_error(&xds->read, NULL, "filters", "%.*s in the TCP half of a port alone is "
                          "not implemented", CN_BYTES_ARG(filter->name));
        }
    }

    half.filters = chain->filters;
    *chain = half;
}


/* A chain that cannot be read is there all the same: refused, and so is the port's other half. */
void
cn_xds_read_half(cn_xds_t *xds, const cn_xds_half_t *half)
{
    const cn_xds_name_t  *name = &half->name;
    size_t                errors = xds->read.errors;
    cn_service_t         *service = get_service(xds, name->host, half->full_name);
    cn_chain_config_t    *chain = service == NULL
                                  ? NULL : cn_xds_chain_of_port(service, name->port);
    bool                  second = chain != NULL;

    if (service == NULL) {
        return;
    }

    if (second && (name->is_http || chain->protocol != CN_PROTOCOL_HTTP)) {
        cn_read_error(&xds->read, NULL, "filter_chain", "is the second of its port");
        chain->refused = true;
        return;
    }

    if (second) {
        read_tcp_half(xds, half->value, service, chain);

    } else {
        chain = cn_xds_add(xds, &service->chains);

        if (chain == NULL) {
            return;
        }

        cn_chain_defaults(chain, xds->pool);
        chain->port = name->port;

        if (cn_pool_copy(xds->pool, half->full_name, &chain->name) != CN_OK) {
            cn_read_no_memory(&xds->read);
        }

        chain->protocol = name->is_http ? CN_PROTOCOL_HTTP : CN_PROTOCOL_TCP;
        read_chain_filters(xds, half->value, service, chain);
    }

    if (chain->protocol == CN_PROTOCOL_TCP) {
        cn_xds_finish_tcp(xds, service, chain);
    }

    chain->refused = chain->refused || xds->read.errors > errors;
}
