/* SPDX-License-Identifier: Apache-2.0 */

/*
 * listener - istiod describes a waypoint as Envoy listeners that feed each other.  Only
 * main_internal says something about services: a tree from addresses and ports to chains, and the
 * chains.  A chain that is refused is in the model, closed.
 */

#include "source/xds/xds.h"

#include "listener.pb-c.h"

#define HTTP_MANAGER  CN_XDS_TYPE("envoy.extensions.filters.network.http_connection_manager.v3." \
                                  "HttpConnectionManager")
#define TCP_PROXY     CN_XDS_TYPE("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
#define IP_MATCHER    CN_XDS_TYPE("xds.type.matcher.v3.IPMatcher")
#define DEPTH_MAX     8                 /* matchers within matchers */


/* ---- services ---- */

/* A chain's cluster knows the service's name and namespace; else its host does. */
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

    if (cn_bytes_split(service->host, '.', &service->name, &rest)) {
        (void) cn_bytes_split(rest, '.', &service->name_space, &rest);
    }
}


/* The service of that host, made when it is new; NULL: memory.  Until the next one is made. */
static cn_service_t *
get_service(cn_xds_t *xds, cn_bytes_t host, cn_bytes_t cluster)
{
    cn_array_t    *services = &xds->model->services;
    uintptr_t      position = (uintptr_t) cn_map_get(xds->services, host);
    cn_service_t  *made;

    if (position > 0) {
        return CN_ARRAY_AT(services, cn_service_t, position - 1);
    }

    made = cn_xds_add(xds, services);

    if (made == NULL || cn_map_set(xds->services, host, (void *) services->count) != CN_OK) {
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


static void
add_address(cn_xds_t *xds, const uint8_t ip[16], cn_service_t *service)
{
    cn_table_ip_t  *slot;

    CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, known) {
        if (memcmp(known->ip, ip, 16) == 0) {
            return;
        }
    }

    slot = cn_xds_add(xds, &service->addresses);

    if (slot != NULL) {
        memcpy(slot->ip, ip, 16);
    }
}


/* ---- chains ---- */

static cn_chain_config_t *
chain_of_port(cn_service_t *service, uint16_t port)
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
    const Cairn__FilterChain  *message = cn_decode(&xds->read, &cairn__filter_chain__descriptor,
                                                   value, "filter_chain");

    if (message == NULL) {
        return;
    }

    if (message->transport_socket != NULL) {
        cn_read_error(&xds->read, NULL, "transport_socket", "is not implemented");
    }

    for (size_t i = 0; i < message->n_filters; i++) {
        read_filter(xds, message->filters[i], service, chain);
    }
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
static void
read_chain(cn_xds_t *xds, cn_bytes_t value, cn_bytes_t full_name, const cn_xds_name_t *name)
{
    size_t              errors = xds->read.errors;
    cn_service_t       *service = get_service(xds, name->host, full_name);
    cn_chain_config_t  *chain = service == NULL ? NULL : chain_of_port(service, name->port);
    bool                second = chain != NULL;

    if (service == NULL) {
        return;
    }

    if (second && (name->is_http || chain->protocol != CN_PROTOCOL_HTTP)) {
        cn_read_error(&xds->read, NULL, "filter_chain", "is the second of its port");
        chain->refused = true;
        return;
    }

    if (second) {
        read_tcp_half(xds, value, service, chain);

    } else {
        chain = cn_xds_add(xds, &service->chains);

        if (chain == NULL) {
            return;
        }

        cn_chain_defaults(chain, xds->pool);
        chain->port = name->port;
        chain->name = full_name;
        chain->protocol = name->is_http ? CN_PROTOCOL_HTTP : CN_PROTOCOL_TCP;
        read_chain_filters(xds, value, service, chain);
    }

    if (chain->protocol == CN_PROTOCOL_TCP) {
        cn_xds_finish_tcp(xds, service, chain);
    }

    chain->refused = chain->refused || xds->read.errors > errors;
}


/* HTTP chains first: of a port that has both, they have the filters. */
static void
read_chains(cn_xds_t *xds, const Cairn__Listener *listener, bool http)
{
    for (size_t i = 0; i < listener->n_filter_chains; i++) {
        cn_bytes_t               value = cn_decoded(listener->filter_chains[i]);
        const Cairn__ChainName  *first;
        cn_xds_name_t            name;

        first = cn_decode_loosely(&xds->read, &cairn__chain_name__descriptor, value,
                                  "filter_chain");

        if (first == NULL) {
            xds->all_refused = true;    /* it may be the one with the policies of any port */
            continue;
        }

        if (!cn_xds_parse_name(cn_decoded(first->name), &name) || name.is_http != http) {
            continue;                   /* direct-http, direct-tcp: to workloads, not services */
        }

        cn_xds_label(xds, "FilterChain", cn_decoded(first->name));
        read_chain(xds, value, cn_decoded(first->name), &name);
    }
}


/* ---- the tree ---- */

#define INPUT(name)  CN_XDS_TYPE("envoy.extensions.matching.common_inputs.network.v3." name)

/* What a tree may ask for: where a connection goes and what it speaks.  Never: who asks. */
static const char *const  inputs[] = {
    INPUT("DestinationIPInput"), INPUT("DestinationPortInput"), INPUT("ApplicationProtocolInput"),
    INPUT("FilterStateInput"),
};

typedef struct {
    cn_xds_t                     *xds;
    Cairn__CidrRange *const      *ranges;
    size_t                        range_count;
    unsigned                      depth;
} walk_t;


static void walk_matcher(walk_t walk, const Cairn__Matcher *matcher);


/* A leaf: all of the ranges belong to the chain's service. */
static void
walk_action(const walk_t *walk, const Cairn__TypedExtension *action)
{
    cn_xds_t       *xds = walk->xds;
    cn_xds_name_t   name;
    uintptr_t       position;

    if (!cn_xds_parse_name(cn_decoded(action->name), &name)) {
        return;
    }

    position = (uintptr_t) cn_map_get(xds->services, name.host);

    for (size_t i = 0; position > 0 && i < walk->range_count; i++) {
        const Cairn__CidrRange  *range = walk->ranges[i];
        uint8_t                  ip[16];
        uint32_t                 bits = range->prefix_len != NULL && range->prefix_len->has_value
                                        ? range->prefix_len->value : 0;

        if (!cn_xds_ip(cn_decoded(range->address_prefix), ip)
            || (bits != 32 && bits != 128))
        {
            cn_read_error(&xds->read, NULL, "filter_chain_matcher",
                          "a range of addresses is not implemented");
            return;
        }

        add_address(xds, ip, CN_ARRAY_AT(&xds->model->services, cn_service_t, position - 1));
    }
}


static void
walk_on_match(const walk_t *walk, const Cairn__Matcher__OnMatch *on_match)
{
    if (on_match == NULL) {
        return;
    }

    if (on_match->on_match_case == CAIRN__MATCHER__ON_MATCH__ON_MATCH_MATCHER) {
        walk_matcher(*walk, on_match->matcher);

    } else if (on_match->on_match_case == CAIRN__MATCHER__ON_MATCH__ON_MATCH_ACTION) {
        walk_action(walk, on_match->action);
    }
}


static void
walk_ranges(walk_t walk, const Cairn__TypedExtension *custom)
{
    const Cairn__IPMatcher  *matcher;

    if (custom->typed_config == NULL
        || !cn_bytes_equal(cn_decoded(custom->typed_config->type_url), CN_BYTES(IP_MATCHER)))
    {
        cn_read_error(&walk.xds->read, NULL, "filter_chain_matcher", "is not implemented");
        return;
    }

    matcher = cn_decode(&walk.xds->read, &cairn__ipmatcher__descriptor,
                        cn_decoded(custom->typed_config->value), "filter_chain_matcher");

    for (size_t i = 0; matcher != NULL && i < matcher->n_range_matchers; i++) {
        walk.ranges = matcher->range_matchers[i]->ranges;
        walk.range_count = matcher->range_matchers[i]->n_ranges;
        walk_on_match(&walk, matcher->range_matchers[i]->on_match);
    }
}


static bool
is_known_input(const Cairn__TypedExtension *input)
{
    for (size_t i = 0; input != NULL && input->typed_config != NULL && i < CN_COUNT_OF(inputs); i++)
    {
        if (cn_bytes_equal(cn_decoded(input->typed_config->type_url), cn_bytes_str(inputs[i]))) {
            return true;
        }
    }

    return false;
}


static void
walk_matcher(walk_t walk, const Cairn__Matcher *matcher)
{
    const Cairn__Matcher__MatcherTree  *tree;

    if (++walk.depth > DEPTH_MAX
        || matcher->matcher_type_case != CAIRN__MATCHER__MATCHER_TYPE_MATCHER_TREE
        || !is_known_input(matcher->matcher_tree->input))
    {
        cn_read_error(&walk.xds->read, NULL, "filter_chain_matcher", "is not implemented");
        return;
    }

    tree = matcher->matcher_tree;

    if (tree->tree_type_case == CAIRN__MATCHER__MATCHER_TREE__TREE_TYPE_CUSTOM_MATCH) {
        walk_ranges(walk, tree->custom_match);

    } else if (tree->tree_type_case == CAIRN__MATCHER__MATCHER_TREE__TREE_TYPE_EXACT_MATCH_MAP) {
        for (size_t i = 0; i < tree->exact_match_map->n_map; i++) {
            walk_on_match(&walk, tree->exact_match_map->map[i]->value);
        }
    }

    walk_on_match(&walk, matcher->on_no_match);
}


/* ---- listeners ---- */

/* Before CONNECT stand filters that only pass on what is known; any other might restrict. */
static bool
passes_on(const cn_xds_t *xds, const Cairn__Any *any)
{
    static const char *const  known[] = {
        CN_XDS_TYPE("envoy.extensions.filters.http.set_filter_state.v3.Config"),
        CN_XDS_TYPE("envoy.extensions.filters.http.router.v3.Router"),
    };
    bool                      skipped = false;

    if (any == NULL) {
        return false;
    }

    for (size_t i = 0; i < CN_COUNT_OF(known); i++) {
        if (cn_bytes_equal(cn_decoded(any->type_url), cn_bytes_str(known[i]))) {
            return true;
        }
    }

    (void) cn_xds_module(xds, cn_decoded(any->type_url), cn_decoded(any->value), &skipped);

    return skipped;
}


static void
check_tunnel(cn_xds_t *xds, const Cairn__Any *any)
{
    const Cairn__TunnelConnectionManager  *manager;

    if (any == NULL || !cn_bytes_equal(cn_decoded(any->type_url), CN_BYTES(HTTP_MANAGER))) {
        cn_read_error(&xds->read, NULL, "connect_terminate",
                      "a filter before CONNECT is not implemented");
        return;
    }

    manager = cn_decode_loosely(&xds->read, &cairn__tunnel_connection_manager__descriptor,
                                cn_decoded(any->value), "connect_terminate");

    for (size_t i = 0; manager != NULL && i < manager->n_http_filters; i++) {
        if (!passes_on(xds, manager->http_filters[i]->typed_config)) {
            cn_read_error(&xds->read, NULL, "connect_terminate", "filter %.*s is not implemented",
                          CN_BYTES_ARG(cn_decoded(manager->http_filters[i]->name)));
        }
    }
}


static void
check_terminate(cn_xds_t *xds, const Cairn__Listener *listener)
{
    for (size_t i = 0; i < listener->n_filter_chains; i++) {
        const Cairn__FilterChain  *chain;

        chain = cn_decode(&xds->read, &cairn__filter_chain__descriptor,
                          cn_decoded(listener->filter_chains[i]), "connect_terminate");

        for (size_t j = 0; chain != NULL && j < chain->n_filters; j++) {
            check_tunnel(xds, chain->filters[j]->typed_config);
        }
    }
}


void
cn_xds_read_listener(cn_xds_t *xds, cn_bytes_t value)
{
    const Cairn__NameOnly  *first;
    const Cairn__Listener  *listener;
    cn_bytes_t              name;
    size_t                  errors = xds->read.errors;
    bool                    terminate;

    xds->read.resource = NULL;
    first = cn_decode_loosely(&xds->read, &cairn__name_only__descriptor, value, "listener");

    if (first == NULL) {
        xds->all_refused = true;        /* it may be the one that stands before all others */
        return;
    }

    name = cn_decoded(first->name);

    if (!cn_bytes_equal(name, CN_BYTES("main_internal"))
        && !cn_bytes_equal(name, CN_BYTES("connect_terminate")))
    {
        return;
    }

    cn_xds_label(xds, "Listener", name);
    listener = cn_decode(&xds->read, &cairn__listener__descriptor, value, "listener");
    terminate = cn_bytes_equal(name, CN_BYTES("connect_terminate"));

    if (listener != NULL && terminate) {
        check_terminate(xds, listener);
    }

    if (terminate) {
        /* what stands before every chain and is not understood may be a policy */
        xds->all_refused = xds->all_refused || xds->read.errors > errors;
    }

    if (listener == NULL || terminate) {
        return;
    }

    read_chains(xds, listener, true);
    read_chains(xds, listener, false);

    cn_xds_label(xds, "Listener", name);

    if (listener->filter_chain_matcher != NULL) {
        walk_matcher((walk_t) { .xds = xds }, listener->filter_chain_matcher);
    }
}
