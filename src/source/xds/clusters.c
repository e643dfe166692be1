/* SPDX-License-Identifier: Apache-2.0 */

/* clusters - clusters, their endpoints, and the workloads that have the endpoints' addresses. */

#include "source/xds/wire.h"
#include "source/xds/xds.h"

#include "cluster.pb-c.h"
#include "workload.pb-c.h"

#define HBONE_PORT      15008
#define HTTP_OPTIONS    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

/* How Envoy's listeners reach each other: cairn needs none of them. */
static const char *const  plumbing[] = {
    "main_internal", "encap", "connect_originate", "inner_connect_originate",
    "outer_connect_originate",
};


/* ---- clusters ---- */

/* filter_metadata.istio.services[0]. */
static const Cairn__Struct *
istio_service(const Cairn__Metadata *metadata)
{
    for (size_t i = 0; metadata != NULL && i < metadata->n_filter_metadata; i++) {
        const Cairn__Metadata__Entry  *entry = metadata->filter_metadata[i];

        if (!cn_bytes_equal(cn_decoded(entry->key), CN_BYTES("istio")) || entry->value == NULL) {
            continue;
        }

        for (size_t j = 0; j < entry->value->n_fields; j++) {
            const Cairn__Struct__Field  *field = entry->value->fields[j];

            if (cn_bytes_equal(cn_decoded(field->key), CN_BYTES("services"))
                && field->value != NULL
                && field->value->kind_case == CAIRN__VALUE__KIND_LIST_VALUE
                && field->value->list_value->n_values > 0
                && field->value->list_value->values[0]->kind_case
                   == CAIRN__VALUE__KIND_STRUCT_VALUE)
            {
                return field->value->list_value->values[0]->struct_value;
            }
        }
    }

    return NULL;
}


static uint32_t
limit_of(const Cairn__UInt32Value *value)
{
    return value == NULL ? UINT32_MAX : value->has_value ? value->value : 0;
}


static void
read_breakers(cn_xds_t *xds, const Cairn__CircuitBreakers *breakers, cn_cluster_t *cluster)
{
    for (size_t i = 0; breakers != NULL && i < breakers->n_thresholds; i++) {
        const Cairn__CircuitBreakers__Thresholds  *item = breakers->thresholds[i];

        if (item->has_priority && item->priority != 0) {
            cn_read_error(&xds->read, NULL, "circuit_breakers.priority", "is not implemented");
        }

        cluster->max_connections = limit_of(item->max_connections);
        cluster->max_pending = limit_of(item->max_pending_requests);
        cluster->max_requests = limit_of(item->max_requests);
        cluster->max_retries = limit_of(item->max_retries);
    }
}


static void
read_options(cn_xds_t *xds, const Cairn__NamedAny *named, cn_cluster_t *cluster)
{
    const Cairn__HttpProtocolOptions  *options;

    if (!cn_bytes_equal(cn_decoded(named->key), CN_BYTES(HTTP_OPTIONS)) || named->value == NULL) {
        cn_read_error(&xds->read, NULL, "typed_extension_protocol_options",
                      "%.*s is not implemented", CN_BYTES_ARG(cn_decoded(named->key)));
        return;
    }

    options = cn_decode(&xds->read, &cairn__http_protocol_options__descriptor,
                        cn_decoded(named->value->value), "typed_extension_protocol_options");

    if (options == NULL) {
        return;
    }

    if (options->upstream_protocol_options_case
        == CAIRN__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG)
    {
        cluster->http2 = options->explicit_http_config->protocol_config_case
            == CAIRN__HTTP_PROTOCOL_OPTIONS__EXPLICIT__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS;
    }

    cluster->client_protocol = options->upstream_protocol_options_case
        == CAIRN__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG;

    if (options->common_http_protocol_options != NULL
        && options->common_http_protocol_options->idle_timeout != NULL)
    {
        cluster->idle_timeout_ms = cn_xds_duration(xds,
            options->common_http_protocol_options->idle_timeout, "idle_timeout");
    }
}


static void
read_balancer(cn_xds_t *xds, const Cairn__Cluster *message, cn_cluster_t *cluster)
{
    switch (message->has_lb_policy ? message->lb_policy : 0) {

    case CAIRN__CLUSTER__LB_POLICY__ROUND_ROBIN:
        cluster->lb = CN_LB_ROUND_ROBIN;
        break;

    case CAIRN__CLUSTER__LB_POLICY__LEAST_REQUEST:
        cluster->lb = CN_LB_LEAST_REQUEST;
        break;

    case CAIRN__CLUSTER__LB_POLICY__RANDOM:
        cluster->lb = CN_LB_RANDOM;
        break;

    default:
        cn_read_error(&xds->read, NULL, "lb_policy", "%d is not implemented", message->lb_policy);
        break;
    }
}


static int32_t
type_of(const Cairn__Cluster *message)
{
    return message->cluster_discovery_type_case == CAIRN__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE
           ? message->type : -1;
}


static void
fill_cluster(cn_xds_t *xds, const Cairn__Cluster *message, cn_cluster_t *cluster)
{
    const Cairn__Struct                    *service = istio_service(message->metadata);
    const Cairn__Cluster__CommonLbConfig   *common = message->common_lb_config;

    cn_cluster_defaults(cluster, xds->pool);
    cluster->name = cn_decoded(message->name);
    cluster->service_host = cn_xds_struct_string(service, "host");
    cluster->service_name = cn_xds_struct_string(service, "name");
    cluster->service_namespace = cn_xds_struct_string(service, "namespace");

    if (type_of(message) != CAIRN__CLUSTER__DISCOVERY_TYPE__EDS) {
        cn_read_error(&xds->read, NULL, "type", "a cluster without EDS is not implemented");
    }

    if (common != NULL && common->healthy_panic_threshold != NULL
        && common->healthy_panic_threshold->has_value
        && common->healthy_panic_threshold->value > 0)
    {
        cn_read_error(&xds->read, NULL, "common_lb_config.healthy_panic_threshold",
                      "is not implemented");
    }

    if (message->connect_timeout != NULL) {
        cluster->connect_timeout_ms = cn_xds_duration(xds, message->connect_timeout,
                                                      "connect_timeout");
    }

    read_balancer(xds, message, cluster);
    read_breakers(xds, message->circuit_breakers, cluster);
    cn_xds_read_transport(xds, message);

    for (size_t i = 0; i < message->n_typed_extension_protocol_options; i++) {
        read_options(xds, message->typed_extension_protocol_options[i], cluster);
    }
}


/*
 * A headless service's: whoever wants it goes to a pod's address, which leads to no chain of the
 * service.  It has no endpoints, so it is not in the model; a chain that leads there is refused if
 * it can be reached.
 */
static bool
goes_where_it_was_sent(const Cairn__Cluster *message)
{
    return type_of(message) == CAIRN__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST
           && message->lb_policy == CAIRN__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
}


static bool
is_plumbing(cn_bytes_t name)
{
    for (size_t i = 0; i < CN_COUNT_OF(plumbing); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(plumbing[i]))) {
            return true;
        }
    }

    return false;
}


bool
cn_xds_read_cluster(cn_xds_t *xds, cn_bytes_t value)
{
    const Cairn__Cluster  *message;
    cn_cluster_t           cluster;
    cn_cluster_t          *slot;
    size_t                 errors = xds->read.errors;
    cn_bytes_t             name;

    if (cn_wire_bytes(value, 1, &name) && is_plumbing(name)) {
        return true;
    }

    message = cn_decode(&xds->read, &cairn__cluster__descriptor, value, "cluster");

    if (message == NULL) {
        return false;
    }

    if (goes_where_it_was_sent(message)) {
        if (cn_map_set(xds->original, cn_decoded(message->name), xds) != CN_OK) {
            cn_read_no_memory(&xds->read);
        }
        return xds->read.errors == errors;
    }

    fill_cluster(xds, message, &cluster);

    if (xds->read.errors > errors) {
        return false;
    }

    slot = cn_xds_add(xds, &xds->model->clusters);

    if (slot == NULL) {
        return false;
    }

    *slot = cluster;
    xds->endpoints = cn_xds_endpoints_name(value);

    if (cn_map_set(xds->clusters, cluster.name,
                   (void *) (uintptr_t) xds->model->clusters.count) != CN_OK)
    {
        xds->model->clusters.count--;
        cn_read_no_memory(&xds->read);
        return false;
    }

    return true;
}


/* ---- endpoints ---- */

/* "10.244.1.13:9080", "[fd00::1]:9080". */
static bool
parse_endpoint_id(cn_bytes_t id, cn_endpoint_config_t *endpoint)
{
    size_t      colon = cn_bytes_find_last_octet(id, ':');
    cn_bytes_t  address;
    uint64_t    port;

    if (colon == SIZE_MAX || cn_bytes_to_u64(cn_bytes_from(id, colon + 1), 65535, &port) != CN_OK
        || port == 0)
    {
        return false;
    }

    address = cn_bytes(id.ptr, colon);

    if (address.len > 2 && address.ptr[0] == '[' && address.ptr[address.len - 1] == ']') {
        address = cn_bytes(address.ptr + 1, address.len - 2);
    }

    endpoint->port = (uint16_t) port;
    endpoint->hbone_port = HBONE_PORT;

    return cn_xds_ip(address, endpoint->ip);
}


static bool
read_address(const Cairn__Address *address, cn_endpoint_config_t *endpoint)
{
    if (address->address_case == CAIRN__ADDRESS__ADDRESS_ENVOY_INTERNAL_ADDRESS) {
        const Cairn__InternalAddress  *internal = address->envoy_internal_address;

        return cn_bytes_equal(cn_decoded(internal->server_listener_name),
                              CN_BYTES("connect_originate"))
               && parse_endpoint_id(cn_decoded(internal->endpoint_id), endpoint);
    }

    if (address->address_case == CAIRN__ADDRESS__ADDRESS_SOCKET_ADDRESS) {
        const Cairn__SocketAddress  *socket = address->socket_address;

        if (socket->port_case != CAIRN__SOCKET_ADDRESS__PORT_PORT_VALUE || socket->port_value == 0
            || socket->port_value > 65535 || (socket->has_protocol && socket->protocol != 0))
        {
            return false;
        }

        endpoint->port = (uint16_t) socket->port_value;

        return cn_xds_ip(cn_decoded(socket->address), endpoint->ip);
    }

    return false;
}


static void
add_endpoint(cn_xds_t *xds, const Cairn__LbEndpoint *message, cn_cluster_t *cluster)
{
    cn_endpoint_config_t   made = { .weight = 1 };
    cn_endpoint_config_t  *slot;
    uintptr_t              position;
    int32_t                health = message->has_health_status ? message->health_status : 0;

    if (message->host_identifier_case != CAIRN__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT
        || message->endpoint->address == NULL || !read_address(message->endpoint->address, &made))
    {
        cn_read_error(&xds->read, NULL, "endpoint.address", "a kind of address is not implemented");
        return;
    }

    if (xds->by_mode && !cn_xds_check_mode(xds, message->metadata, made.hbone_port != 0)) {
        return;
    }

    if (message->load_balancing_weight != NULL && message->load_balancing_weight->has_value) {
        made.weight = message->load_balancing_weight->value;
    }

    made.healthy = health == CAIRN__LB_ENDPOINT__HEALTH__HEALTHY
                   || health == CAIRN__LB_ENDPOINT__HEALTH__UNKNOWN;
    position = (uintptr_t) cn_map_get(xds->workloads, cn_bytes(made.ip, sizeof(made.ip)));

    if (position > 0) {
        const cn_workload_t  *workload = CN_ARRAY_AT(&xds->model->workloads, const cn_workload_t,
                                                     position - 1);

        made.principal = workload->principal;
        made.uid = workload->uid;
    }

    slot = cn_xds_add(xds, &cluster->endpoints);

    if (slot != NULL) {
        *slot = made;
    }
}


static int
compare_endpoints(const void *a, const void *b)
{
    const cn_endpoint_config_t  *left = a;
    const cn_endpoint_config_t  *right = b;
    int                          order = memcmp(left->ip, right->ip, sizeof(left->ip));

    return order != 0 ? order : (left->port > right->port) - (left->port < right->port);
}


/* Nothing of the message is kept: an endpoint's texts are its workload's. */
static void
add_endpoints(cn_xds_t *xds, const Cairn__ClusterLoadAssignment *message, cn_cluster_t *cluster)
{
    for (size_t i = 0; i < message->n_endpoints; i++) {
        const Cairn__LocalityLbEndpoints  *locality = message->endpoints[i];

        if (locality->has_priority && locality->priority != 0) {
            cn_read_error(&xds->read, NULL, "endpoints.priority", "is not implemented");
            continue;
        }

        for (size_t j = 0; j < locality->n_lb_endpoints; j++) {
            add_endpoint(xds, locality->lb_endpoints[j], cluster);
        }
    }

    if (cn_array_sort(&cluster->endpoints, compare_endpoints) != CN_OK) {
        cn_read_no_memory(&xds->read);
    }
}


bool
cn_xds_read_endpoints(cn_xds_t *xds, cn_bytes_t value, cn_cluster_t *cluster)
{
    const Cairn__ClusterLoadAssignment  *message;
    cn_pool_t                           *pool = cn_xds_borrow_pool(xds);

    cluster->endpoints.count = 0;

    if (pool == NULL) {
        cn_read_no_memory(&xds->read);
        return false;
    }

    xds->read.pool = pool;
    message = cn_decode(&xds->read, &cairn__cluster_load_assignment__descriptor, value,
                        "endpoints");
    xds->read.pool = xds->pool;

    if (message != NULL) {
        add_endpoints(xds, message, cluster);
    }

    cn_pool_destroy(pool);

    return message != NULL;
}


bool
cn_xds_read_assignment(cn_xds_t *xds, cn_bytes_t value)
{
    cn_array_t  *clusters = &xds->model->clusters;

    return cn_xds_read_endpoints(xds, value,
                                 CN_ARRAY_AT(clusters, cn_cluster_t, clusters->count - 1));
}


/* ---- workloads ---- */

static cn_bytes_t
principal_of(cn_xds_t *xds, const Cairn__Workload *message)
{
    cn_bytes_t  domain = cn_decoded(message->trust_domain);
    cn_bytes_t  account = cn_decoded(message->service_account);
    char       *id;

    domain = domain.len > 0 ? domain : CN_BYTES("cluster.local");
    account = account.len > 0 ? account : CN_BYTES("default");
    id = cn_pool_printf(xds->pool, "spiffe://%.*s/ns/%.*s/sa/%.*s", CN_BYTES_ARG(domain),
                        CN_BYTES_ARG(cn_decoded(message->namespace_)), CN_BYTES_ARG(account));

    if (id == NULL) {
        cn_read_no_memory(&xds->read);
    }

    return cn_bytes_str(id);
}


static void
add_workload_address(cn_xds_t *xds, cn_bytes_t octets, cn_workload_t *workload)
{
    cn_table_ip_t   ip = { .ip = { [10] = 0xff, [11] = 0xff } };
    cn_table_ip_t  *slot;

    memcpy(ip.ip + 16 - octets.len, octets.ptr, octets.len);
    slot = cn_xds_add(xds, &workload->addresses);

    if (slot == NULL) {
        return;
    }

    *slot = ip;

    if (cn_map_set(xds->workloads, cn_bytes(ip.ip, sizeof(ip.ip)),
                   (void *) (uintptr_t) (xds->model->workloads.count + 1)) != CN_OK)
    {
        cn_read_no_memory(&xds->read);
    }
}


/* Its addresses must not lead to the workload that comes next. */
static void
forget_workload(cn_xds_t *xds, const cn_workload_t *workload)
{
    CN_ARRAY_EACH(&workload->addresses, const cn_table_ip_t, address) {
        (void) cn_map_remove(xds->workloads, cn_bytes(address->ip, sizeof(address->ip)));
    }
}


bool
cn_xds_read_workload(cn_xds_t *xds, cn_bytes_t value)
{
    const Cairn__Workload  *message;
    cn_workload_t           made;
    cn_workload_t          *slot;
    size_t                  errors = xds->read.errors;

    message = cn_decode_loosely(&xds->read, &cairn__workload__descriptor, value, "workload");

    if (message == NULL) {
        return false;
    }

    if (message->n_addresses == 0
        || (message->has_network_mode
            && message->network_mode == CAIRN__WORKLOAD__NETWORK_MODE__HOST_NETWORK))
    {
        return true;
    }

    made = (cn_workload_t) {
        .addresses = CN_ARRAY_INIT(xds->pool, cn_table_ip_t),
        .uid = cn_decoded(message->uid),
        .name = cn_decoded(message->name),
        .name_space = cn_decoded(message->namespace_),
        .workload = cn_decoded(message->workload_name),
        .canonical_name = cn_decoded(message->canonical_name),
        .canonical_revision = cn_decoded(message->canonical_revision),
        .cluster = cn_decoded(message->cluster_id),
        .principal = principal_of(xds, message),
    };
    made.app = made.canonical_name;
    made.version = made.canonical_revision;

    for (size_t i = 0; i < message->n_addresses; i++) {
        if (message->addresses[i].len != 4 && message->addresses[i].len != 16) {
            cn_read_error(&xds->read, NULL, "workload.addresses", "is no IP address");
            return false;
        }
    }

    for (size_t i = 0; i < message->n_addresses; i++) {
        add_workload_address(xds, cn_decoded(message->addresses[i]), &made);
    }

    slot = xds->read.errors == errors ? cn_xds_add(xds, &xds->model->workloads) : NULL;

    if (slot == NULL) {
        forget_workload(xds, &made);
        return false;
    }

    *slot = made;

    return true;
}
