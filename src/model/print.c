/* SPDX-License-Identifier: Apache-2.0 */

/*
 * print - the canonical JSON of a model.  What is not set is left out, keys are sorted, lists are
 * in the order that counts or sorted by the source: two models that behave the same print the same.
 * A NULL anywhere is memory spent; it runs up to the top.
 */

#include "model/print.h"

#include <arpa/inet.h>
#include <stdio.h>


json_t *
cn_print_bytes(cn_bytes_t bytes)
{
    json_t   *string = json_stringn((const char *) bytes.ptr, bytes.len);
    uint8_t  *wide;
    size_t    len = 0;

    if (string != NULL || bytes.len > SIZE_MAX / 2) {
        return string;
    }

    wide = cn_alloc(bytes.len * 2);

    if (wide == NULL) {
        return NULL;
    }

    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] < 0x80) {
            wide[len++] = bytes.ptr[i];

        } else {
            wide[len++] = (uint8_t) (0xc0 | bytes.ptr[i] >> 6);
            wide[len++] = (uint8_t) (0x80 | (bytes.ptr[i] & 0x3f));
        }
    }

    string = json_stringn((const char *) wide, len);
    cn_free(wide);

    return string;
}


json_t *
cn_print_ip(const uint8_t ip[16])
{
    static const uint8_t  mapped[12] = { [10] = 0xff, [11] = 0xff };
    char                  text[INET6_ADDRSTRLEN];

    if (memcmp(ip, mapped, sizeof(mapped)) == 0) {
        inet_ntop(AF_INET, ip + sizeof(mapped), text, sizeof(text));

    } else {
        inet_ntop(AF_INET6, ip, text, sizeof(text));
    }

    return json_string(text);
}


void
cn_print_set(json_t **object, const char *key, json_t *value)
{
    if (*object == NULL) {
        json_decref(value);
        return;
    }

    if (json_object_set_new(*object, key, value) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}


void
cn_print_append(json_t **array, json_t *value)
{
    if (*array == NULL) {
        json_decref(value);
        return;
    }

    if (json_array_append_new(*array, value) != 0) {
        json_decref(*array);
        *array = NULL;
    }
}


void
cn_print_set_bytes(json_t **object, const char *key, cn_bytes_t value)
{
    if (value.len > 0) {
        cn_print_set(object, key, cn_print_bytes(value));
    }
}


void
cn_print_set_u64(json_t **object, const char *key, uint64_t value)
{
    if (value != 0) {
        cn_print_set(object, key, json_integer((json_int_t) value));
    }
}


void
cn_print_set_bool(json_t **object, const char *key, bool value)
{
    if (value) {
        cn_print_set(object, key, json_true());
    }
}


void
cn_print_set_list(json_t **object, const char *key, json_t *value)
{
    if (value != NULL && json_array_size(value) == 0) {
        json_decref(value);
        return;
    }

    cn_print_set(object, key, value);
}


static const char *
string_kind(cn_string_match_kind_t kind)
{
    switch (kind) {
    case CN_STRING_EXACT:
        return "exact";
    case CN_STRING_PREFIX:
        return "prefix";
    case CN_STRING_SUFFIX:
        return "suffix";
    case CN_STRING_CONTAINS:
        return "contains";
    case CN_STRING_REGEX:
        return "regex";
    case CN_STRING_ANY:
        return "any";
    }

    return "unknown";
}


json_t *
cn_print_string_match(const cn_string_match_t *match)
{
    json_t  *object = json_object();
    bool     any = match->kind == CN_STRING_ANY;

    cn_print_set(&object, string_kind(match->kind),
                 any ? json_true() : cn_print_bytes(match->value));
    cn_print_set_bool(&object, "ignore_case", match->ignore_case);

    return object;
}


static json_t *
print_header_matches(const cn_array_t *matches)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(matches, const cn_header_match_t, match) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, "name", match->name);
        cn_print_set_bool(&object, "present", match->present_only);
        cn_print_set_bool(&object, "invert", match->invert);
        cn_print_set_bool(&object, "missing_as_empty", match->missing_as_empty);

        if (!match->present_only) {
            cn_print_set(&object, "value", cn_print_string_match(&match->value));
        }

        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_header_ops(const cn_array_t *ops)
{
    static const char *const  names[] = { "unknown", "set", "add", "remove" };
    json_t                   *list = json_array();

    CN_ARRAY_EACH(ops, const cn_header_op_t, op) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, names[op->op], op->name);
        cn_print_set(&object, "on", json_string(op->on_response ? "response" : "request"));

        if (op->op != CN_HEADER_OP_REMOVE) {
            cn_print_set(&object, op->format ? "format" : "value", cn_print_bytes(op->value));
        }

        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_filters(const cn_array_t *filters)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(filters, const cn_filter_config_t, filter) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, "name", filter->name);

        if (filter->config != NULL && filter->module->print != NULL) {
            cn_print_set(&object, "config", filter->module->print(filter->config));
        }

        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_destinations(const cn_array_t *destinations)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(destinations, const cn_destination_t, destination) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, "cluster", destination->cluster);
        cn_print_set(&object, "weight", json_integer(destination->weight));
        cn_print_set_bytes(&object, "host_rewrite", destination->host_rewrite);
        cn_print_set_list(&object, "headers", print_header_ops(&destination->header_ops));
        cn_print_set_list(&object, "filters", print_filters(&destination->filters));
        cn_print_append(&list, object);
    }

    return list;
}


/* By bit. */
static const char *const  retry_names[] = {
    "connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes",
    "5xx", "gateway-error", "reset", "retriable-4xx", "reset-before-request",
    "deadline-exceeded", "internal", "resource-exhausted",
};


bool
cn_retry_condition(cn_bytes_t name, uint32_t *bit)
{
    for (size_t i = 0; i < CN_COUNT_OF(retry_names); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(retry_names[i]))) {
            *bit = 1u << i;
            return true;
        }
    }

    return false;
}


static json_t *
print_retry_on(uint32_t on)
{
    json_t  *list = json_array();

    for (size_t i = 0; i < CN_COUNT_OF(retry_names); i++) {
        if (on & (1u << i)) {
            cn_print_append(&list, json_string(retry_names[i]));
        }
    }

    return list;
}


static json_t *
print_retry(const cn_retry_t *retry)
{
    json_t  *object = json_object();
    json_t  *statuses = json_array();

    CN_ARRAY_EACH(&retry->statuses, const uint32_t, status) {
        cn_print_append(&statuses, json_integer(*status));
    }

    cn_print_set_list(&object, "on", print_retry_on(retry->on));
    cn_print_set(&object, "tries", json_integer(retry->tries));
    cn_print_set_u64(&object, "per_try_timeout_ms", retry->per_try_timeout_ms);
    cn_print_set_u64(&object, "base_backoff_ms", retry->base_backoff_ms);
    cn_print_set_u64(&object, "max_backoff_ms", retry->max_backoff_ms);
    cn_print_set_u64(&object, "host_attempts", retry->host_attempts);
    cn_print_set_list(&object, "statuses", statuses);

    return object;
}


static json_t *
print_path(const cn_route_t *route)
{
    static const char *const  names[] = { "unknown", "any", "exact", "prefix", "separated_prefix",
        "regex" };
    json_t                   *object = json_object();

    cn_print_set(&object, names[route->path_kind], cn_print_bytes(route->path));
    cn_print_set_bool(&object, "ignore_case", route->path_ignore_case);

    return object;
}


static void
set_rewrite(json_t **object, const cn_path_rewrite_t *rewrite)
{
    static const char *const  names[] = { "none", "prefix", "regex", "path" };
    json_t                   *made;

    if (rewrite->kind == CN_REWRITE_NONE) {
        return;
    }

    made = json_object();
    cn_print_set(&made, names[rewrite->kind], cn_print_bytes(rewrite->value));
    cn_print_set_bytes(&made, "pattern", rewrite->pattern);
    cn_print_set(object, "rewrite", made);
}


static json_t *
print_redirect(const cn_route_t *route)
{
    json_t  *object = json_object();

    cn_print_set(&object, "status", json_integer(route->direct_status));
    cn_print_set_bytes(&object, "scheme", route->redirect.scheme);
    cn_print_set_bytes(&object, "host", route->redirect.host);
    cn_print_set_u64(&object, "port", route->redirect.port);

    return object;
}


static json_t *
print_route(const cn_route_t *route)
{
    json_t  *object = json_object();

    cn_print_set(&object, "name", cn_print_bytes(route->name));
    cn_print_set(&object, "path", print_path(route));
    cn_print_set_list(&object, "headers", print_header_matches(&route->headers));
    cn_print_set_list(&object, "query", print_header_matches(&route->query));
    cn_print_set_list(&object, "header_ops", print_header_ops(&route->header_ops));
    cn_print_set_list(&object, "filters", print_filters(&route->filters));
    cn_print_set_bytes(&object, "decorator", route->decorator);

    if (route->action == CN_ACTION_DIRECT_RESPONSE) {
        cn_print_set(&object, "direct_status", json_integer(route->direct_status));
        cn_print_set_bytes(&object, "direct_body", route->direct_body);
        return object;
    }

    set_rewrite(&object, &route->rewrite);

    if (route->action == CN_ACTION_REDIRECT) {
        cn_print_set(&object, "redirect", print_redirect(route));
        return object;
    }

    cn_print_set_bytes(&object, "host_rewrite", route->host_rewrite);
    cn_print_set(&object, "destinations", print_destinations(&route->destinations));
    cn_print_set(&object, "no_cluster_status", json_integer(route->no_cluster_status));
    cn_print_set_u64(&object, "timeout_ms", route->timeout_ms);
    cn_print_set_u64(&object, "max_grpc_timeout_ms", route->max_grpc_timeout_ms);

    if (route->retry.tries > 0) {
        cn_print_set(&object, "retry", print_retry(&route->retry));
    }

    return object;
}


static json_t *
print_chain(const cn_chain_config_t *chain)
{
    static const char *const  protocols[] = { "unknown", "http", "tcp", "auto" };
    static const char *const  levels[] = { "none", "base", "merge_slashes",
        "decode_and_merge_slashes" };
    json_t                   *object = json_object();
    json_t                   *routes = json_array();

    CN_ARRAY_EACH(&chain->routes, const cn_route_t, route) {
        cn_print_append(&routes, print_route(route));
    }

    cn_print_set_bytes(&object, "name", chain->name);
    cn_print_set(&object, "port", json_integer(chain->port));
    cn_print_set(&object, "protocol", json_string(protocols[chain->protocol]));
    cn_print_set_bool(&object, "http2_upstream", chain->http2_upstream);
    cn_print_set_bool(&object, "http_10", chain->http_10);
    cn_print_set_bool(&object, "refused", chain->refused);
    cn_print_set_list(&object, "filters", print_filters(&chain->filters));
    cn_print_set_list(&object, "routes", routes);
    cn_print_set_bytes(&object, "tcp_cluster", chain->tcp_cluster);
    cn_print_set_u64(&object, "tcp_idle_timeout_ms", chain->tcp_idle_timeout_ms);
    cn_print_set_u64(&object, "tcp_max_duration_ms", chain->tcp_max_duration_ms);

    if (chain->protocol != CN_PROTOCOL_TCP && chain->path_level < CN_COUNT_OF(levels)) {
        cn_print_set(&object, "path_level", json_string(levels[chain->path_level]));
    }

    return object;
}


static json_t *
print_addresses(const cn_array_t *addresses)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(addresses, const cn_table_ip_t, address) {
        cn_print_append(&list, cn_print_ip(address->ip));
    }

    return list;
}


static json_t *
print_services(const cn_array_t *services)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(services, const cn_service_t, service) {
        json_t  *object = json_object();
        json_t  *chains = json_array();

        CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
            cn_print_append(&chains, print_chain(chain));
        }

        cn_print_set_bytes(&object, "host", service->host);
        cn_print_set_bytes(&object, "name", service->name);
        cn_print_set_bytes(&object, "namespace", service->name_space);
        cn_print_set_list(&object, "addresses", print_addresses(&service->addresses));
        cn_print_set(&object, "chains", chains);
        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_endpoints(const cn_array_t *endpoints)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(endpoints, const cn_endpoint_config_t, endpoint) {
        json_t  *object = json_object();

        cn_print_set(&object, "address", cn_print_ip(endpoint->ip));
        cn_print_set(&object, "port", json_integer(endpoint->port));
        cn_print_set_u64(&object, "hbone_port", endpoint->hbone_port);
        cn_print_set(&object, "healthy", json_boolean(endpoint->healthy));
        cn_print_set(&object, "weight", json_integer(endpoint->weight));
        cn_print_set_bytes(&object, "principal", endpoint->principal);
        cn_print_set_bytes(&object, "uid", endpoint->uid);
        cn_print_append(&list, object);
    }

    return list;
}


/* What has no limit is not printed. */
static void
set_limit(json_t **object, const char *key, uint32_t limit)
{
    if (limit != UINT32_MAX) {
        cn_print_set(object, key, json_integer(limit));
    }
}


static json_t *
print_clusters(const cn_array_t *clusters)
{
    static const char *const  policies[] = { "unknown", "least_request", "round_robin", "random" };
    json_t                   *list = json_array();

    CN_ARRAY_EACH(clusters, const cn_cluster_t, cluster) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, "name", cluster->name);
        cn_print_set(&object, "lb", json_string(policies[cluster->lb]));
        cn_print_set_bool(&object, "http2", cluster->http2);
        cn_print_set_bool(&object, "client_protocol", cluster->client_protocol);
        cn_print_set_bytes(&object, "service_host", cluster->service_host);
        cn_print_set_bytes(&object, "service_name", cluster->service_name);
        cn_print_set_bytes(&object, "service_namespace", cluster->service_namespace);
        cn_print_set(&object, "connect_timeout_ms", json_integer(cluster->connect_timeout_ms));
        cn_print_set(&object, "idle_timeout_ms", json_integer(cluster->idle_timeout_ms));
        set_limit(&object, "max_connections", cluster->max_connections);
        set_limit(&object, "max_pending", cluster->max_pending);
        set_limit(&object, "max_requests", cluster->max_requests);
        set_limit(&object, "max_retries", cluster->max_retries);
        cn_print_set_list(&object, "endpoints", print_endpoints(&cluster->endpoints));
        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_workloads(const cn_array_t *workloads)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(workloads, const cn_workload_t, workload) {
        json_t  *object = json_object();

        cn_print_set_bytes(&object, "uid", workload->uid);
        cn_print_set_list(&object, "addresses", print_addresses(&workload->addresses));
        cn_print_set_bytes(&object, "name", workload->name);
        cn_print_set_bytes(&object, "namespace", workload->name_space);
        cn_print_set_bytes(&object, "workload", workload->workload);
        cn_print_set_bytes(&object, "canonical_name", workload->canonical_name);
        cn_print_set_bytes(&object, "canonical_revision", workload->canonical_revision);
        cn_print_set_bytes(&object, "app", workload->app);
        cn_print_set_bytes(&object, "version", workload->version);
        cn_print_set_bytes(&object, "cluster", workload->cluster);
        cn_print_set_bytes(&object, "principal", workload->principal);
        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_pins(const cn_array_t *pins)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(pins, const cn_pin_t, pin) {
        json_t  *object = json_object();

        cn_print_set(&object, "address", cn_print_ip(pin->ip));
        cn_print_set(&object, "port", json_integer(pin->port));
        cn_print_set_bytes(&object, "service_host", pin->service_host);
        cn_print_set(&object, "service_port", json_integer(pin->service_port));
        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
print_model(const cn_model_t *model)
{
    json_t  *object = json_object();
    json_t  *domains = json_array();

    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, domain) {
        cn_print_append(&domains, cn_print_bytes(*domain));
    }

    cn_print_set_bytes(&object, "waypoint", model->waypoint);
    cn_print_set_bytes(&object, "namespace", model->name_space);
    cn_print_set_bytes(&object, "cluster_domain", model->cluster_domain);
    cn_print_set_bytes(&object, "cluster_id", model->cluster_id);
    cn_print_set_list(&object, "trust_domains", domains);
    cn_print_set_bool(&object, "access_log", model->access_log);
    cn_print_set_bytes(&object, "access_log_format", model->access_log_format);
    cn_print_set_list(&object, "pins", print_pins(&model->pins));
    cn_print_set(&object, "services", print_services(&model->services));
    cn_print_set(&object, "clusters", print_clusters(&model->clusters));
    cn_print_set(&object, "workloads", print_workloads(&model->workloads));

    return object;
}


char *
cn_model_print(const cn_model_t *model, cn_pool_t *pool)
{
    json_t  *root = print_model(model);
    size_t   len = 0;
    char    *text = NULL;

    if (root != NULL) {
        len = json_dumpb(root, NULL, 0, JSON_INDENT(2) | JSON_SORT_KEYS);
        text = (char *) cn_pool_octets(pool, len + 2);
    }

    if (text != NULL) {
        (void) json_dumpb(root, text, len, JSON_INDENT(2) | JSON_SORT_KEYS);
        text[len] = '\n';
        text[len + 1] = '\0';
    }

    json_decref(root);

    return text;
}
