/* SPDX-License-Identifier: Apache-2.0 */

/*
 * virtual_service - networking.istio.io VirtualService, its http part.  A field that we know and do
 * not implement is an error that names it; an unknown one is a warning, in a match an error.
 */

#include "source/istio/rules.h"

#define WEIGHT_MAX    1000000
#define ATTEMPTS_MAX  1000

typedef struct {
    cn_istio_t    *istio;
    cn_read_t     *read;
    cn_bytes_t     name_space;
} reader_t;


/* ---- match ----------------------------------------------------------------------------------- */


/*
 * {exact: x}, {prefix: x} or {regex: x}; where empty says "is present", {} is that, and so is the
 * pattern "*", which is none.  False: reported.
 */
static bool
read_string_match(cn_read_t *read, cn_doc_t *node, const char *field, bool may_be_empty,
    cn_string_match_t *match)
{
    size_t  errors = read->errors;
    bool    exact, prefix, regex;

    *match = (cn_string_match_t) { .kind = CN_STRING_ANY };

    if (node->kind == CN_DOC_NULL && may_be_empty) {
        return true;
    }

    if (!cn_read_is_mapping(read, node, field)) {
        return false;
    }

    exact = cn_read_string(read, node, "exact", field, &match->value);
    prefix = cn_read_string(read, node, "prefix", field, &match->value);
    regex = cn_read_string(read, node, "regex", field, &match->value);

    if (exact + prefix + regex > 1) {
        cn_read_error(read, node, field, "has more than one of exact, prefix, regex");

    } else if (exact || prefix) {
        match->kind = exact ? CN_STRING_EXACT : CN_STRING_PREFIX;

    } else if (regex && may_be_empty && cn_bytes_equal(match->value, CN_BYTES("*"))) {
        match->value = CN_BYTES_NONE;

    } else if (regex) {
        match->kind = CN_STRING_REGEX;
        (void) cn_read_regex(read, cn_doc_get(node, "regex"),
                             cn_read_path(read, "%s.regex", field), match->value);

    } else if (!may_be_empty && read->errors == errors) {
        cn_read_error(read, node, field, "needs one of exact, prefix, regex");
    }

    cn_read_finish(read, node, field, true);

    return read->errors == errors;
}


static void
read_uri(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_match_t *match)
{
    cn_doc_t           *node = cn_doc_get(item, "uri");
    const char         *path = cn_read_path(read, "%s.uri", field);
    cn_string_match_t   value;

    (void) cn_read_bool(read, item, "ignoreUriCase", field, &match->path_ignore_case);

    if (node == NULL || !read_string_match(read, node, path, false, &value)) {
        return;
    }

    if (value.kind == CN_STRING_EXACT && (value.value.len == 0 || value.value.ptr[0] != '/')) {
        cn_read_error(read, node, path, "a path begins with /");
        return;
    }

    match->path = value.value;

    if (value.kind == CN_STRING_REGEX) {
        match->path_kind = CN_PATH_MATCH_REGEX;
        match->path_ignore_case = false;        /* (?i) says it in the pattern */
        return;
    }

    match->path_kind = value.kind == CN_STRING_EXACT ? CN_PATH_MATCH_EXACT : CN_PATH_MATCH_PREFIX;
}


static void
read_named_matches(cn_read_t *read, cn_doc_t *item, const char *key, const char *field,
    bool invert, cn_array_t *matches)
{
    cn_doc_t  *mapping = cn_read_mapping(read, item, key, field);
    bool       headers = strcmp(key, "queryParams") != 0;

    CN_DOC_EACH(mapping, node) {
        const char         *path = cn_read_path(read, "%s.%s.%.*s", field, key,
                                                CN_BYTES_ARG(node->key));
        cn_string_match_t   value;
        cn_header_match_t  *last;

        node->used = true;

        if (node->key.len == 0) {
            cn_read_error(read, node, path, "has no name");
            continue;
        }

        if (!read_string_match(read, node, path, true, &value)
            || (headers && !cn_rule_check_name(read, node, path, node->key)))
        {
            continue;
        }

        cn_rule_add_match(read, matches, node->key, headers, &value);

        if (matches->count > 0) {
            last = CN_ARRAY_AT(matches, cn_header_match_t, matches->count - 1);
            last->invert = invert;
            last->missing_as_empty = invert && !last->present_only;
        }
    }
}


static void
read_pseudo(cn_read_t *read, cn_doc_t *item, const char *key, const char *field,
    cn_array_t *matches)
{
    cn_doc_t           *node = cn_doc_get(item, key);
    cn_string_match_t   value;

    if (node != NULL && read_string_match(read, node, cn_read_path(read, "%s.%s", field, key),
                                          false, &value)) {
        cn_rule_add_match(read, matches, cn_bytes_str(cn_read_path(read, ":%s", key)), true,
                          &value);
    }
}


/* Whether a list of gateways (absent: all) takes in the mesh itself. */
static bool
in_mesh(cn_read_t *read, cn_doc_t *parent, const char *field)
{
    cn_doc_t    *gateways = cn_read_sequence(read, parent, "gateways", field);
    cn_bytes_t   name;
    bool         found = gateways == NULL || gateways->count == 0;

    CN_DOC_EACH(gateways, item) {
        if (cn_read_item_string(read, item, cn_read_path(read, "%s.gateways", field), &name)) {
            found = found || cn_bytes_equal(name, CN_BYTES("mesh"));
        }
    }

    return found;
}


/* False: this way in is not for a waypoint, and no other is made of it. */
static bool
read_match(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_match_t *match)
{
    static const char *const  ignored[] = { "statPrefix", NULL };
    cn_doc_t                 *labels;
    cn_bytes_t                source;
    uint64_t                  port = 0;
    bool                      ours;

    cn_rule_match_init(match, read, item);

    if (!cn_read_is_mapping(read, item, field)) {
        return false;
    }

    (void) cn_read_string(read, item, "name", field, &match->name);
    read_uri(read, item, field, match);
    read_named_matches(read, item, "headers", field, false, &match->headers);
    read_named_matches(read, item, "withoutHeaders", field, true, &match->headers);
    read_named_matches(read, item, "queryParams", field, false, &match->query);

    if (cn_array_sort(&match->headers, cn_rule_compare_names) != CN_OK
        || cn_array_sort(&match->query, cn_rule_compare_names) != CN_OK)
    {
        cn_read_no_memory(read);
    }

    read_pseudo(read, item, "method", field, &match->headers);
    read_pseudo(read, item, "authority", field, &match->headers);
    read_pseudo(read, item, "scheme", field, &match->headers);

    if (cn_read_u64(read, item, "port", field, 1, 65535, &port)) {
        match->port = (uint16_t) port;
    }

    ours = in_mesh(read, item, field);
    labels = cn_read_mapping(read, item, "sourceLabels", field);

    if (labels != NULL && labels->count > 0) {
        cn_read_warn(read, labels, cn_read_path(read, "%s.sourceLabels", field),
                     "a waypoint does not know its clients' labels: this match is left out");
        ours = false;
    }

    if (cn_read_string(read, item, "sourceNamespace", field, &source)) {
        cn_read_warn(read, cn_doc_get(item, "sourceNamespace"),
                     cn_read_path(read, "%s.sourceNamespace", field),
                     "istiod does not heed it for a waypoint: clients of all namespaces match");
    }

    cn_doc_use_all(labels);
    cn_read_ignore(item, ignored);
    cn_read_finish(read, item, field, true);

    return ours;
}


/* ---- route ----------------------------------------------------------------------------------- */


/* What is not there (yet) has no cluster, and answers 503: it is told, and the rest holds. */
static void
resolve(const reader_t *reader, cn_doc_t *node, const char *field, cn_rule_destination_t *made)
{
    cn_istio_t  *istio = reader->istio;
    cn_read_t   *read = reader->read;

    made->service = cn_istio_service(istio, made->host, reader->name_space);
    made->host = cn_istio_full_host(istio, made->host, reader->name_space);

    if (made->service == NULL) {
        cn_read_warn(read, cn_doc_get(node, "host"), cn_read_path(read, "%s.host", field),
                     "there is no service %.*s: its share is answered 503",
                     CN_BYTES_ARG(made->host));
        return;
    }

    if (made->port != 0 && cn_istio_port(made->service, made->port) == NULL) {
        cn_read_warn(read, cn_doc_path(node, "port.number"),
                     cn_read_path(read, "%s.port.number", field),
                     "service %.*s has no port %u: its share is answered 503",
                     CN_BYTES_ARG(made->host), made->port);
    }

    if (made->subset.len > 0 && cn_istio_subset(made->service, made->subset) == NULL) {
        cn_read_warn(read, cn_doc_get(node, "subset"), cn_read_path(read, "%s.subset", field),
                     "no DestinationRule of %.*s has a subset %.*s: its share is answered 503",
                     CN_BYTES_ARG(made->host), CN_BYTES_ARG(made->subset));
    }
}


static void
read_destination(const reader_t *reader, cn_doc_t *item, const char *field,
    cn_rule_destination_t *made)
{
    cn_read_t   *read = reader->read;
    cn_doc_t    *node = cn_read_mapping(read, item, "destination", field);
    const char  *path = cn_read_path(read, "%s.destination", field);
    cn_doc_t    *port = cn_read_mapping(read, node, "port", path);
    uint64_t     number = 0;

    if (node == NULL) {
        if (cn_doc_get(item, "destination") == NULL) {
            cn_read_error(read, item, path, "is missing");
        }
        return;
    }

    (void) cn_read_string(read, node, "subset", path, &made->subset);

    if (cn_read_u64(read, port, "number", cn_read_path(read, "%s.port", path), 1, 65535, &number)) {
        made->port = (uint16_t) number;
    }

    if (cn_read_need_string(read, node, "host", path, &made->host)) {
        resolve(reader, node, path, made);
    }
}


/* A field of http[] or route[] that belongs to a module of this build. */
static void
read_module_field(const reader_t *reader, cn_doc_t *parent, const char *name, const char *field,
    cn_array_t *filters,
    cn_array_t *ops)
{
    cn_doc_t    *node = cn_doc_get(parent, name);
    const char  *path = cn_read_path(reader->read, "%s.%s", field, name);

    if (node != NULL && !cn_rule_module_field(reader->istio, reader->read, name, false, node, path,
                                              filters, ops)) {
        cn_doc_use_all(node);
        cn_read_error(reader->read, node, path, "is not implemented in this build");
    }
}


static void
read_route(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *route = cn_read_sequence(read, item, "route", field);
    uint64_t    total = 0;
    size_t      index = 0;

    if (route == NULL || route->count == 0) {
        if (cn_doc_get(item, "route") == NULL || route != NULL) {
            cn_read_error(read, item, cn_read_path(read, "%s.route", field), "is missing");
        }
        return;
    }

    rule->weighted = route->count > 1;

    CN_DOC_EACH(route, node) {
        const char             *path = cn_read_path(read, "%s.route[%zu]", field, index++);
        cn_rule_destination_t   made;
        uint64_t                weight = 0;

        if (!cn_read_is_mapping(read, node, path)) {
            continue;
        }

        cn_rule_destination_init(&made, read);
        read_destination(reader, node, path, &made);
        read_module_field(reader, node, "headers", path, &made.filters, &made.header_ops);
        (void) cn_read_u64(read, node, "weight", path, 0, WEIGHT_MAX, &weight);
        total += weight;
        made.host_rewrite = cn_rule_take_authority(&made.header_ops);
        made.weight = route->count == 1 ? 1 : (uint32_t) weight;

        if (made.weight > 0) {
            cn_rule_add(read, &rule->destinations, &made);
        }
    }

    if (route->count > 1 && total == 0) {
        cn_read_error(read, route, cn_read_path(read, "%s.route", field), "all weights are 0");
    }
}


/* "connect-failure,503": names of conditions and status codes. */
static void
read_retry_on(cn_read_t *read, cn_doc_t *node, const char *field, cn_retry_t *retry)
{
    cn_bytes_t  rest, word;
    bool        more;

    if (!cn_read_string(read, node, "retryOn", field, &rest) || rest.len == 0) {
        return;
    }

    retry->on = 0;

    do {
        uint64_t  status;
        uint32_t  bit = 0;

        more = cn_bytes_split(rest, ',', &word, &rest);
        word = cn_bytes_trim(word);

        if (cn_bytes_to_u64(word, 599, &status) == CN_OK && status >= 100) {
            uint32_t  number = (uint32_t) status;

            cn_rule_add(read, &retry->statuses, &number);
            bit = CN_RETRY_RETRIABLE_STATUS_CODES;

        } else if (!cn_retry_condition(word, &bit)) {
            cn_read_error(read, cn_doc_get(node, "retryOn"),
                          cn_read_path(read, "%s.retryOn", field),
                          "\"%.*s\" is no condition that is implemented", CN_BYTES_ARG(word));
        }

        retry->on |= bit;
    } while (more);
}


static void
read_retries(cn_read_t *read, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    static const char *const  unsupported[] = { "retryRemoteLocalities", NULL };
    cn_doc_t                 *node = cn_read_mapping(read, item, "retries", field);
    const char               *path = cn_read_path(read, "%s.retries", field);
    cn_route_t                defaults;
    cn_retry_t               *retry = &rule->retry;
    uint64_t                  attempts = 0;
    bool                      another_host = true;

    if (node == NULL) {
        return;
    }

    cn_route_defaults(&defaults, read->pool);
    rule->has_retry = true;
    *retry = defaults.retry;
    (void) cn_read_u64(read, node, "attempts", path, 0, ATTEMPTS_MAX, &attempts);
    retry->tries = (uint32_t) attempts;
    (void) cn_read_duration_ms(read, node, "perTryTimeout", path, &retry->per_try_timeout_ms);

    if (cn_read_duration_ms(read, node, "backoff", path, &retry->base_backoff_ms)) {
        retry->max_backoff_ms = retry->base_backoff_ms > UINT32_MAX / 10 ? UINT32_MAX
            : retry->base_backoff_ms * 10;
    }

    if (cn_read_bool(read, node, "retryIgnorePreviousHosts", path, &another_host)
        && !another_host) {
        retry->host_attempts = 0;
    }

    read_retry_on(read, node, path, retry);
    cn_read_unsupported(read, node, path, unsupported);
}


/* A rule leads to destinations, elsewhere, or answers by itself: one of the three. */
static void
read_actions(const reader_t *reader, cn_doc_t *item, const char *field, cn_rule_t *rule)
{
    cn_read_t   *read = reader->read;
    cn_bytes_t   authority = cn_rule_take_authority(&rule->header_ops);
    bool         routes = cn_doc_get(item, "route") != NULL;
    bool         rewrites = cn_doc_get(item, "rewrite") != NULL;

    cn_rule_read_redirect(read, item, field, &rule->actions);
    cn_rule_read_direct(read, item, field, rule);

    bool  redirects = rule->actions.redirect_status != 0;

    if (redirects + rule->actions.direct + routes > 1
        || (rewrites && (redirects || rule->actions.direct)))
    {
        cn_read_error(read, item, field, "redirect, directResponse, and route with rewrite do "
                      "not go together");
    }

    if (redirects || rule->actions.direct) {
        cn_doc_use_all(cn_doc_get(item, "route"));
        cn_doc_use_all(cn_doc_get(item, "rewrite"));

    } else {
        read_route(reader, item, field, rule);
        cn_rule_read_rewrite(read, item, field, &rule->actions);
    }

    if (rule->actions.host_rewrite.len == 0) {
        rule->actions.host_rewrite = authority;
    }
}


static void
read_http(const reader_t *reader, cn_doc_t *item, const char *field, cn_array_t *rules)
{
    static const char *const  unsupported[] = {
        "delegate", "mirror", "mirrorPercent", "mirror_percent", "mirrorPercentage", "mirrors",
        "corsPolicy", NULL
    };
    cn_read_t                *read = reader->read;
    cn_doc_t                 *matches;
    cn_rule_t                 rule;
    size_t                    index = 0;

    if (!cn_read_is_mapping(read, item, field)) {
        return;
    }

    cn_rule_init(&rule, read, item);
    (void) cn_read_string(read, item, "name", field, &rule.name);
    matches = cn_read_sequence(read, item, "match", field);

    CN_DOC_EACH(matches, node) {
        cn_rule_match_t  match;

        if (read_match(read, node, cn_read_path(read, "%s.match[%zu]", field, index++), &match)) {
            cn_rule_add(read, &rule.matches, &match);
        }
    }

    cn_read_unsupported(read, item, field, unsupported);
    read_module_field(reader, item, "headers", field, &rule.filters, &rule.header_ops);
    read_module_field(reader, item, "fault", field, &rule.filters, &rule.header_ops);
    read_actions(reader, item, field, &rule);
    read_retries(read, item, field, &rule);
    (void) cn_read_duration_ms(read, item, "timeout", field, &rule.timeout_ms);

    if (matches != NULL && matches->count > 0 && rule.matches.count == 0) {
        return;                             /* no way in */
    }

    cn_rule_add(read, rules, &rule);
}


/* ---- the resource ---------------------------------------------------------------------------- */


/* A VirtualService counts for services of its own namespace, and that of the waypoint for all. */
static bool
may_route(const cn_istio_t *istio, const cn_kube_service_t *service, cn_bytes_t name_space)
{
    return cn_bytes_equal(name_space, service->name_space)
        || cn_bytes_equal(name_space, istio->model->name_space);
}


static void
read_hosts(const reader_t *reader, cn_doc_t *spec, cn_rule_set_t *set)
{
    cn_read_t  *read = reader->read;
    cn_doc_t   *hosts = cn_read_sequence(read, spec, "hosts", "spec");
    size_t      index = 0;

    if (hosts == NULL || hosts->count == 0) {
        cn_read_error(read, spec, "spec.hosts", "is missing");
        return;
    }

    CN_DOC_EACH(hosts, item) {
        const char         *field = cn_read_path(read, "spec.hosts[%zu]", index++);
        cn_kube_service_t  *service;
        cn_bytes_t          host;

        if (!cn_read_item_string(read, item, field, &host)) {
            continue;
        }

        if (cn_bytes_find_octet(host, '*') != SIZE_MAX) {
            cn_read_error(read, item, field, "a wildcard host is not implemented");
            continue;
        }

        service = cn_istio_service(reader->istio, host, reader->name_space);

        if (service == NULL) {
            cn_read_error(read, item, field, "there is no service %.*s",
                          CN_BYTES_ARG(cn_istio_full_host(reader->istio, host,
                                                          reader->name_space)));

        } else if (may_route(reader->istio, service, reader->name_space)) {
            cn_rule_set_serve(read, set, service, 0);

        } else {
            cn_read_warn(read, item, field,
                         "is of another namespace than the VirtualService and the waypoint: "
                         "no effect");
        }
    }
}


static void
skip(cn_istio_t *istio, const cn_resource_t *resource)
{
    cn_doc_use_all(resource->root);
    cn_report_add(istio->report, CN_REPORT_NOTE, resource->root, resource->label, "spec.gateways",
                  "is bound to gateways other than mesh alone, and skipped");
}


void
cn_istio_read_virtual_service(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource)
{
    static const char *const  unsupported[] = { "tls", "tcp", NULL };
    static const char *const  ignored[] = { "exportTo", NULL };
    reader_t                  reader = { .istio = istio, .read = read,
        .name_space = resource->name_space };
    cn_rule_set_t            *set = cn_rule_set_new(read, resource);
    cn_doc_t                 *http;
    size_t                    index = 0;

    if (set == NULL) {
        return;
    }

    if (resource->spec == NULL) {
        cn_read_error(read, resource->root, "spec", "is missing");
        return;
    }

    if (!in_mesh(read, resource->spec, "spec")) {
        if (read->errors == 0) {
            skip(istio, resource);
        }
        return;
    }

    read_hosts(&reader, resource->spec, set);
    http = cn_read_sequence(read, resource->spec, "http", "spec");

    CN_DOC_EACH(http, item) {
        read_http(&reader, item, cn_read_path(read, "spec.http[%zu]", index++), &set->rules);
    }

    cn_read_unsupported(read, resource->spec, "spec", unsupported);
    cn_read_ignore(resource->spec, ignored);
    cn_istio_finish(read);

    if (read->errors == 0) {
        CN_ARRAY_EACH(&set->services, const cn_service_ref_t, service) {
            cn_rule_add(read, &(*service)->virtual_services, &set);
        }
    }
}


void
cn_istio_refuse_virtual_service(cn_istio_t *istio, const cn_resource_t *resource)
{
    cn_doc_t  *hosts = cn_doc_get(resource->spec, "hosts");

    CN_DOC_EACH(hosts, item) {
        cn_kube_service_t  *service = cn_istio_service(istio, item->text, resource->name_space);

        if (service != NULL && may_route(istio, service, resource->name_space)) {
            service->refused = true;
        }
    }
}
