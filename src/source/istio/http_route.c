/* SPDX-License-Identifier: Apache-2.0 */

/*
 * http_route - Gateway API HTTPRoute with a Service as its parent.  Each match of a rule becomes a
 * rule of its own, since Gateway API orders matches, not rules; the order is made when all routes
 * of a service are known (routes.c).
 */

#include "source/istio/rules.h"

#define WEIGHT_MAX    1000000
#define ATTEMPTS_MAX  1000

typedef struct {
    cn_istio_t  *istio;
    cn_read_t   *read;
    cn_bytes_t   name_space;
} reader_t;


/* Whether a reference of `group` and `kind` (with their defaults) is to a v1 Service. */
static bool
is_service(cn_read_t *read, cn_doc_t *node, const char *field, const char *default_group,
    const char *default_kind)
{
    cn_bytes_t  group = cn_bytes_str(default_group);
    cn_bytes_t  kind = cn_bytes_str(default_kind);

    (void) cn_read_string(read, node, "group", field, &group);
    (void) cn_read_string(read, node, "kind", field, &kind);

    return group.len == 0 && cn_bytes_equal(kind, CN_BYTES("Service"));
}


/* ---- matches --------------------------------------------------------------------------------- */


static void
read_path_match(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_match_t *match)
{
    cn_doc_t    *node = cn_read_mapping(read, item, "path", field);
    const char  *path = cn_read_path(read, "%s.path", field);
    cn_bytes_t   type = CN_BYTES("PathPrefix");
    cn_bytes_t   value = CN_BYTES("/");

    (void) cn_read_string(read, node, "type", path, &type);
    (void) cn_read_string(read, node, "value", path, &value);

    if (cn_bytes_equal(type, CN_BYTES("RegularExpression"))) {
        match->path_kind = CN_PATH_MATCH_REGEX;
        match->path = value;
        (void) cn_read_regex(read, cn_doc_get(node, "value"), cn_read_path(read, "%s.value", path),
                             value);
        return;
    }

    if (value.len == 0 || value.ptr[0] != '/') {
        cn_read_error(read, node, cn_read_path(read, "%s.value", path), "a path begins with /");
        return;
    }

    if (cn_bytes_equal(type, CN_BYTES("Exact"))) {
        match->path_kind = CN_PATH_MATCH_EXACT;
        match->path = value;
        return;
    }

    if (!cn_bytes_equal(type, CN_BYTES("PathPrefix"))) {
        cn_read_error(read, cn_doc_get(node, "type"), cn_read_path(read, "%s.type", path),
                      "%.*s is none of Exact, PathPrefix, RegularExpression", CN_BYTES_ARG(type));
        return;
    }

    /* the last slash of a prefix says nothing, and "/" is everything */
    if (value.len > 1 && value.ptr[value.len - 1] == '/') {
        value.len--;
    }

    match->path_kind = value.len == 1 ? CN_PATH_MATCH_PREFIX : CN_PATH_MATCH_SEPARATED_PREFIX;
    match->path = value;
}


static void
read_value_matches(cn_read_t *read, cn_doc_t *item, const char *key, const char *field,
    bool headers, cn_array_t *matches)
{
    cn_doc_t  *list = cn_read_sequence(read, item, key, field);
    size_t     index = 0;

    CN_DOC_EACH(list, node) {
        const char         *path = cn_read_path(read, "%s.%s[%zu]", field, key, index++);
        cn_string_match_t   value = { .kind = CN_STRING_EXACT };
        cn_bytes_t          type = CN_BYTES("Exact");
        cn_bytes_t          name;

        if (!cn_read_is_mapping(read, node, path)
            || !cn_read_need_string(read, node, "name", path, &name)
            || !cn_read_need_string(read, node, "value", path, &value.value)
            || (headers && !cn_rule_check_name(read, cn_doc_get(node, "name"),
                                               cn_read_path(read, "%s.name", path), name)))
        {
            continue;
        }

        (void) cn_read_string(read, node, "type", path, &type);

        if (cn_bytes_equal(type, CN_BYTES("RegularExpression"))) {
            value.kind = CN_STRING_REGEX;
            (void) cn_read_regex(read, cn_doc_get(node, "value"),
                                 cn_read_path(read, "%s.value", path), value.value);

        } else if (!cn_bytes_equal(type, CN_BYTES("Exact"))) {
            cn_read_error(read, cn_doc_get(node, "type"), cn_read_path(read, "%s.type", path),
                          "%.*s is none of Exact, RegularExpression", CN_BYTES_ARG(type));
        }

        cn_rule_add_match(read, matches, name, headers, &value);
    }
}


static void
read_match(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_match_t *match)
{
    cn_string_match_t  method = { .kind = CN_STRING_EXACT };

    cn_rule_match_init(match, read, item);

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    read_path_match(read, item, field, match);
    read_value_matches(read, item, "headers", field, true, &match->headers);
    read_value_matches(read, item, "queryParams", field, false, &match->query);
    match->header_count = (uint32_t) match->headers.count;

    if (cn_array_sort(&match->headers, cn_rule_compare_names) != CN_OK
        || cn_array_sort(&match->query, cn_rule_compare_names) != CN_OK)
    {
        cn_read_no_memory(read);
    }

    if (cn_read_string(read, item, "method", field, &method.value)) {
        cn_rule_add_match(read, &match->headers, CN_BYTES(":method"), true, &method);
    }

    cn_read_finish(read, item, field, true);
}


/* ---- filters and backends -------------------------------------------------------------------- */


/* False: it is a filter of another kind.  A backend has none of these: actions is NULL. */
static bool
read_action_filter(cn_read_t *read, cn_doc_t *item, const char *field, cn_bytes_t type,
    cn_rule_actions_t *actions)
{
    bool  redirect = cn_bytes_equal(type, CN_BYTES("RequestRedirect"));
    bool  rewrite = cn_bytes_equal(type, CN_BYTES("URLRewrite"));

    if (actions == NULL || (!redirect && !rewrite)) {
        return false;
    }

    if (actions->redirect_status != 0 || actions->rewrite.kind != CN_REWRITE_NONE
        || actions->host_rewrite.len > 0)
    {
        cn_read_error(read, item, field, "a rule has one RequestRedirect or URLRewrite");
    }

    if (redirect) {
        cn_rule_read_request_redirect(read, item, field, actions);

    } else {
        cn_rule_read_url_rewrite(read, item, field, actions);
    }

    return true;
}


static void
read_filters(const reader_t *reader, cn_doc_t *parent, const char *field, cn_array_t *filters,
    cn_array_t *ops, cn_rule_actions_t *actions)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *list = cn_read_sequence(read, parent, "filters", field);
    size_t      index = 0;

    CN_DOC_EACH(list, item) {
        const char  *path = cn_read_path(read, "%s.filters[%zu]", field, index++);
        cn_bytes_t   type;
        const char  *name;

        if (!cn_read_is_mapping(read, item, path)
            || !cn_read_need_string(read, item, "type", path, &type)) {
            continue;
        }

        if (read_action_filter(read, item, path, type, actions)) {
            continue;
        }

        name = cn_read_path(read, "%.*s", CN_BYTES_ARG(type));

        if (!cn_rule_module_field(reader->istio, read, name, true, item, path, filters, ops)) {
            cn_doc_use_all(item);
            cn_read_error(read, cn_doc_get(item, "type"), cn_read_path(read, "%s.type", path),
                          "%s is not implemented", name);
        }
    }
}


static void
resolve(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_destination_t *made)
{
    cn_istio_t  *istio = reader->istio;
    cn_read_t   *read = reader->read;

    made->service = cn_istio_service(istio, made->host, reader->name_space);
    made->host = cn_istio_full_host(istio, made->host, reader->name_space);

    if (made->service == NULL) {
        cn_read_warn(read, cn_doc_get(item, "name"), cn_read_path(read, "%s.name", field),
                     "there is no service %.*s: its share is answered 500",
                     CN_BYTES_ARG(made->host));

    } else if (made->port != 0 && cn_istio_port(made->service, made->port) == NULL) {
        cn_read_warn(read, cn_doc_get(item, "port"), cn_read_path(read, "%s.port", field),
                     "service %.*s has no port %u: its share is answered 500",
                     CN_BYTES_ARG(made->host), made->port);
    }
}


/*
 * Whom a backend names.  What cannot be one (another kind, or of another namespace, which nothing
 * grants) has no service: no cluster is called so, and its share is answered 500.
 */
static void
read_target(const reader_t *reader, cn_doc_t *item, const char *field,
    cn_rule_destination_t *made)
{
    cn_read_t   *read = reader->read;
    cn_bytes_t   name_space = reader->name_space;
    uint64_t     number = 0;
    bool         service = is_service(read, item, field, "", "Service");

    if (cn_read_u64(read, item, "port", field, 1, 65535, &number)) {
        made->port = (uint16_t) number;

    } else if (service && cn_doc_get(item, "port") == NULL) {
        cn_read_error(read, item, cn_read_path(read, "%s.port", field), "is missing");
    }

    (void) cn_read_string(read, item, "namespace", field, &name_space);

    if (!cn_read_need_string(read, item, "name", field, &made->host)) {
        return;
    }

    if (!service) {
        cn_read_warn(read, item, cn_read_path(read, "%s.kind", field),
                     "a backend other than a Service is not implemented: its share is answered "
                     "500");
        made->host = CN_BYTES_NONE;

    } else if (!cn_bytes_equal(name_space, reader->name_space)) {
        cn_read_warn(read, item, cn_read_path(read, "%s.namespace", field),
                     "a backend of another namespace is not implemented: its share is answered "
                     "500");
        made->host = CN_BYTES_NONE;

    } else {
        resolve(reader, item, field, made);
    }
}


static void
read_backend(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_read_t              *read = reader->read;
    cn_rule_destination_t   made;
    uint64_t                weight = 1;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    cn_rule_destination_init(&made, read);
    read_target(reader, item, field, &made);
    (void) cn_read_u64(read, item, "weight", field, 0, WEIGHT_MAX, &weight);
    made.weight = (uint32_t) weight;
    read_filters(reader, item, field, &made.filters, &made.header_ops, NULL);
    made.host_rewrite = cn_rule_take_authority(&made.header_ops);

    if (made.weight > 0) {
        cn_rule_add(read, &rule->destinations, &made);
    }
}


/* ---- rules ----------------------------------------------------------------------------------- */


/* {attempts, backoff, codes}: beside istiod's own conditions a status is one. */
static void
read_retry(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_doc_t    *node = cn_read_mapping(read, item, "retry", field);
    const char  *path = cn_read_path(read, "%s.retry", field);
    cn_doc_t    *codes = cn_read_sequence(read, node, "codes", path);
    cn_retry_t  *retry = &rule->retry;
    cn_route_t   defaults;
    uint64_t     number = 0;
    size_t       index = 0;

    if (node == NULL) {
        return;
    }

    cn_route_defaults(&defaults, read->pool);
    rule->has_retry = true;
    *retry = defaults.retry;
    retry->on &= ~(uint32_t) CN_RETRY_RETRIABLE_STATUS_CODES;
    (void) cn_read_u64(read, node, "attempts", path, 0, ATTEMPTS_MAX, &number);
    retry->tries = (uint32_t) number;

    if (cn_read_duration_ms(read, node, "backoff", path, &retry->base_backoff_ms)) {
        retry->max_backoff_ms = retry->base_backoff_ms > UINT32_MAX / 10 ? UINT32_MAX
            : retry->base_backoff_ms * 10;
    }

    CN_DOC_EACH(codes, code) {
        const char  *place = cn_read_path(read, "%s.codes[%zu]", path, index++);
        uint32_t     status;

        if (cn_doc_u64(code, 400, 599, &number) != CN_OK) {
            cn_doc_use_all(code);
            cn_read_error(read, code, place, "expected a status in 400..599");
            continue;
        }

        status = (uint32_t) number;
        retry->on |= CN_RETRY_RETRIABLE_STATUS_CODES;
        cn_rule_add(read, &retry->statuses, &status);
    }
}


/* backendRequest is of each try; where nothing is tried again, it is of the only one. */
static void
read_timeouts(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_doc_t    *timeouts = cn_read_mapping(read, item, "timeouts", field);
    const char  *path = cn_read_path(read, "%s.timeouts", field);
    uint32_t     backend_ms = 0;

    (void) cn_read_duration_ms(read, timeouts, "request", path, &rule->timeout_ms);

    if (!cn_read_duration_ms(read, timeouts, "backendRequest", path, &backend_ms)
        || backend_ms == 0)
    {
        return;
    }

    if (rule->has_retry) {
        rule->retry.per_try_timeout_ms = backend_ms;

    } else {
        rule->timeout_ms = backend_ms;
    }
}


static void
read_session(cn_read_t *read, cn_doc_t *item, const char *field)
{
    cn_doc_t  *node = cn_doc_get(item, "sessionPersistence");

    if (node != NULL) {
        cn_doc_use_all(node);
        cn_read_warn(read, node, cn_read_path(read, "%s.sessionPersistence", field),
                     "istiod makes none for a waypoint: no effect");
    }
}


static void
read_rule_filters(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_bytes_t  authority;

    read_filters(reader, item, field, &rule->filters, &rule->header_ops, &rule->actions);
    authority = cn_rule_take_authority(&rule->header_ops);

    if (rule->actions.host_rewrite.len == 0) {
        rule->actions.host_rewrite = authority;
    }
}


static void
read_rule(const reader_t *reader, cn_doc_t *item, const char *field, size_t number,
    cn_array_t *rules)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *matches, *backends;
    cn_rule_t   rule;
    size_t      index = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    cn_rule_init(&rule, read, item);
    rule.no_cluster_status = 500;

    if (!cn_read_string(read, item, "name", field, &rule.name)) {
        rule.name = cn_bytes_str(cn_pool_printf(read->pool, "%.*s.%.*s.%zu",
                                                CN_BYTES_ARG(read->resource->name_space),
                                                CN_BYTES_ARG(read->resource->name), number));
    }

    matches = cn_read_sequence(read, item, "matches", field);
    backends = cn_read_sequence(read, item, "backendRefs", field);
    read_rule_filters(reader, item, field, &rule);
    read_retry(read, item, field, &rule);
    read_timeouts(read, item, field, &rule);
    read_session(read, item, field);

    CN_DOC_EACH(backends, node) {
        read_backend(reader, node, cn_read_path(read, "%s.backendRefs[%zu]", field, index++),
                     &rule);
    }

    if (rule.destinations.count == 0 && rule.actions.redirect_status == 0) {
        rule.direct_status = 500;           /* Gateway API: nobody to answer */
    }

    if (rule.actions.redirect_status != 0 && backends != NULL && backends->count > 0) {
        cn_read_error(read, backends, cn_read_path(read, "%s.backendRefs", field),
                      "a rule that redirects has no backends");
    }

    if (matches == NULL || matches->count == 0) {
        cn_rule_add(read, rules, &rule);
        return;
    }

    index = 0;

    CN_DOC_EACH(matches, node) {
        cn_rule_match_t  match;
        cn_rule_t        one = rule;

        one.matches = CN_ARRAY_INIT(read->pool, cn_rule_match_t);
        read_match(read, node, cn_read_path(read, "%s.matches[%zu]", field, index++), &match);

        if (rule.actions.replace_prefix && match.path_kind != CN_PATH_MATCH_PREFIX
            && match.path_kind != CN_PATH_MATCH_SEPARATED_PREFIX)
        {
            cn_read_error(read, node, cn_read_path(read, "%s.matches[%zu].path", field, index - 1),
                          "ReplacePrefixMatch needs a path of type PathPrefix");
        }

        cn_rule_add(read, &one.matches, &match);
        cn_rule_add(read, rules, &one);
    }
}


/* ---- the resource ---------------------------------------------------------------------------- */


/* sectionName is a port's name; with a port both must be of the same one.  False: reported. */
static bool
read_section(cn_read_t *read, cn_doc_t *item, const char *field,
    const cn_kube_service_t *service, uint64_t *port)
{
    cn_bytes_t  section = CN_BYTES_NONE;

    if (!cn_read_string(read, item, "sectionName", field, &section) || section.len == 0) {
        return true;
    }

    CN_ARRAY_EACH(&service->ports, const cn_kube_port_t, known) {
        if (cn_bytes_equal(known->name, section) && (*port == 0 || *port == known->port)) {
            *port = known->port;
            return true;
        }
    }

    cn_read_error(read, cn_doc_get(item, "sectionName"),
                  cn_read_path(read, "%s.sectionName", field),
                  "service %.*s has no such port of the name %.*s", CN_BYTES_ARG(service->host),
                  CN_BYTES_ARG(section));
    return false;
}


static void
read_parent(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_set_t *set)
{
    cn_read_t          *read = reader->read;
    cn_bytes_t          name = CN_BYTES_NONE;
    cn_bytes_t          name_space = reader->name_space;
    cn_kube_service_t  *service;
    uint64_t            port = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    if (!is_service(read, item, field, "gateway.networking.k8s.io", "Gateway")) {
        cn_doc_use_all(item);
        cn_report_add(read->report, CN_REPORT_NOTE, item, read->resource->label, field,
                      "is no Service: traffic of other parents does not pass a waypoint by it");
        return;
    }

    (void) cn_read_u64(read, item, "port", field, 1, 65535, &port);

    if (cn_read_string(read, item, "namespace", field, &name_space)
        && !cn_bytes_equal(name_space, reader->name_space)) {
        cn_read_error(read, item, cn_read_path(read, "%s.namespace", field),
                      "a parent of another namespace is not implemented");
        return;
    }

    if (!cn_read_need_string(read, item, "name", field, &name)) {
        return;
    }

    service = cn_istio_service(reader->istio, name, reader->name_space);

    if (service == NULL) {
        cn_read_error(read, cn_doc_get(item, "name"), cn_read_path(read, "%s.name", field),
                      "there is no service %.*s",
                      CN_BYTES_ARG(cn_istio_full_host(reader->istio, name, reader->name_space)));
        return;
    }

    if (port != 0 && cn_istio_port(service, (uint16_t) port) == NULL) {
        cn_read_error(read, cn_doc_get(item, "port"), cn_read_path(read, "%s.port", field),
                      "service %.*s has no port %u", CN_BYTES_ARG(service->host),
                      (unsigned) port);
        return;
    }

    if (!read_section(read, item, field, service, &port)) {
        return;
    }

    cn_rule_set_serve(read, set, service, (uint16_t) port);
}


void
cn_istio_read_http_route(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    static const char *const  unsupported[] = { "useDefaultGateways", NULL };
    cn_doc_t                 *hostnames = cn_doc_get(resource->spec, "hostnames");
    reader_t                  reader = { .istio = istio, .read = read,
        .name_space = resource->name_space };
    cn_rule_set_t            *set = cn_rule_set_new(read, resource);
    cn_doc_t                 *parents, *rules;
    size_t                    index = 0;

    if (set == NULL) {
        return;
    }

    parents = cn_read_sequence(read, resource->spec, "parentRefs", "spec");

    CN_DOC_EACH(parents, item) {
        read_parent(&reader, item, cn_read_path(read, "spec.parentRefs[%zu]", index++), set);
    }

    if (parents == NULL || parents->count == 0) {
        cn_read_error(read, resource->spec == NULL ? resource->root : resource->spec,
                      "spec.parentRefs", "is missing");
    }

    if (set->services.count == 0) {
        if (read->errors == 0) {
            cn_doc_use_all(resource->root);     /* an ingress's or egress's route */
        }
        return;
    }

    rules = cn_read_sequence(read, resource->spec, "rules", "spec");
    index = 0;

    CN_DOC_EACH(rules, item) {
        read_rule(&reader, item, cn_read_path(read, "spec.rules[%zu]", index), index, &set->rules);
        index++;
    }

    if (hostnames != NULL) {
        cn_doc_use_all(hostnames);
        cn_read_warn(read, hostnames, "spec.hostnames",
                     "of a Service's routes they say nothing: requests of all hosts match");
    }

    cn_read_unsupported(read, resource->spec, "spec", unsupported);
    cn_istio_finish(read);

    if (read->errors == 0) {
        CN_ARRAY_EACH(&set->services, const cn_service_ref_t, service) {
            cn_rule_add(read, &(*service)->http_routes, &set);
        }
    }
}


void
cn_istio_refuse_http_route(cn_istio_t *istio, const cn_resource_t *resource)
{
    cn_doc_t  *parents = cn_doc_get(resource->spec, "parentRefs");

    CN_DOC_EACH(parents, item) {
        cn_doc_t           *kind = cn_doc_get(item, "kind");
        cn_doc_t           *name = cn_doc_get(item, "name");
        cn_kube_service_t  *service;

        if (kind == NULL || name == NULL || !cn_bytes_equal(kind->text, CN_BYTES("Service"))) {
            continue;
        }

        service = cn_istio_service(istio, name->text, resource->name_space);

        if (service != NULL) {
            service->refused = true;
        }
    }
}
