/* SPDX-License-Identifier: Apache-2.0 */

/* routes - one route of a virtual host. */

#include "source/xds/xds.h"

#include "base/header_format.h"

#define PREVIOUS_HOSTS  CN_XDS_TYPE("envoy.extensions.retry.host.previous_hosts.v3." \
                                    "PreviousHostsPredicate")
#define DIRECT_BODY_MAX  (1024 * 1024)


/* ---- matches ---- */

static cn_bytes_t
lower(cn_xds_t *xds, cn_bytes_t bytes)
{
    uint8_t  *octets = cn_pool_octets(xds->pool, bytes.len);

    if (octets == NULL) {
        cn_read_no_memory(&xds->read);
        return CN_BYTES_NONE;
    }

    for (size_t i = 0; i < bytes.len; i++) {
        octets[i] = cn_lower(bytes.ptr[i]);
    }

    return cn_bytes(octets, bytes.len);
}


static void
read_string(cn_xds_t *xds, const Cairn__StringMatcher *matcher, const char *field,
    cn_string_match_t *match)
{
    *match = (cn_string_match_t) { .kind = CN_STRING_EXACT };

    switch (matcher->pattern_case) {

    case CAIRN__STRING_MATCHER__PATTERN_EXACT:
        match->value = cn_decoded(matcher->exact);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_PREFIX:
        match->kind = CN_STRING_PREFIX;
        match->value = cn_decoded(matcher->prefix);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_SUFFIX:
        match->kind = CN_STRING_SUFFIX;
        match->value = cn_decoded(matcher->suffix);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_CONTAINS:
        match->kind = CN_STRING_CONTAINS;
        match->value = cn_decoded(matcher->contains);
        break;

    case CAIRN__STRING_MATCHER__PATTERN_SAFE_REGEX:
        match->kind = CN_STRING_REGEX;
        match->value = cn_decoded(matcher->safe_regex->regex);
        (void) cn_read_regex(&xds->read, NULL, field, match->value);
        return;                         /* case is the pattern's own matter */

    default:
        cn_read_error(&xds->read, NULL, field, "a pattern is not implemented");
        break;
    }

    if (matcher->has_ignore_case && matcher->ignore_case) {
        match->ignore_case = true;
        match->value = lower(xds, match->value);
    }
}


static void
read_header(cn_xds_t *xds, const Cairn__HeaderMatcher *message, cn_array_t *matches)
{
    cn_header_match_t  *match = cn_xds_add(xds, matches);

    if (match == NULL) {
        return;
    }

    match->name = lower(xds, cn_decoded(message->name));
    match->invert = message->has_invert_match && message->invert_match;
    match->missing_as_empty = message->has_treat_missing_header_as_empty
                              && message->treat_missing_header_as_empty;

    if (message->specifier_case == CAIRN__HEADER_MATCHER__SPECIFIER_STRING_MATCH) {
        read_string(xds, message->string_match, "match.headers", &match->value);
        return;
    }

    match->present_only = true;
    match->value.kind = CN_STRING_ANY;

    if (message->specifier_case != CAIRN__HEADER_MATCHER__SPECIFIER_PRESENT_MATCH
        || !message->present_match)
    {
        cn_read_error(&xds->read, NULL, "match.headers", "a header match is not implemented");
    }
}


static void
read_query(cn_xds_t *xds, const Cairn__QueryParameterMatcher *message, cn_array_t *matches)
{
    cn_header_match_t  *match = cn_xds_add(xds, matches);

    if (match == NULL) {
        return;
    }

    match->name = cn_decoded(message->name);

    if (message->specifier_case == CAIRN__QUERY_PARAMETER_MATCHER__SPECIFIER_STRING_MATCH) {
        read_string(xds, message->string_match, "match.query_parameters", &match->value);
        return;
    }

    match->present_only = true;
    match->value.kind = CN_STRING_ANY;

    if (message->specifier_case != CAIRN__QUERY_PARAMETER_MATCHER__SPECIFIER_PRESENT_MATCH
        || !message->present_match)
    {
        cn_read_error(&xds->read, NULL, "match.query_parameters", "is not implemented");
    }
}


static void
read_match(cn_xds_t *xds, const Cairn__RouteMatch *message, cn_route_t *route)
{
    switch (message->path_specifier_case) {

    case CAIRN__ROUTE_MATCH__PATH_SPECIFIER_PREFIX:
        route->path_kind = CN_PATH_MATCH_PREFIX;
        route->path = cn_decoded(message->prefix);
        break;

    case CAIRN__ROUTE_MATCH__PATH_SPECIFIER_PATH:
        route->path_kind = CN_PATH_MATCH_EXACT;
        route->path = cn_decoded(message->path);
        break;

    case CAIRN__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
        route->path_kind = CN_PATH_MATCH_SEPARATED_PREFIX;
        route->path = cn_decoded(message->path_separated_prefix);
        break;

    case CAIRN__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX:
        route->path_kind = CN_PATH_MATCH_REGEX;
        route->path = cn_decoded(message->safe_regex->regex);
        (void) cn_read_regex(&xds->read, NULL, "match.safe_regex", route->path);
        break;

    default:
        cn_read_error(&xds->read, NULL, "match.path", "a pattern is not implemented");
        return;
    }

    /* without a value it is false; without the message it is true */
    if (route->path_kind != CN_PATH_MATCH_REGEX && message->case_sensitive != NULL
        && !(message->case_sensitive->has_value && message->case_sensitive->value))
    {
        route->path_ignore_case = true;
        route->path = lower(xds, route->path);
    }

    for (size_t i = 0; i < message->n_headers; i++) {
        read_header(xds, message->headers[i], &route->headers);
    }

    for (size_t i = 0; i < message->n_query_parameters; i++) {
        read_query(xds, message->query_parameters[i], &route->query);
    }
}


/* ---- header operations ---- */

/* "%%" is a percent sign; commands stay for the worker. */
static void
read_value(cn_xds_t *xds, cn_bytes_t value, cn_header_op_t *op)
{
    cn_bytes_t   command;
    uint8_t     *octets = cn_pool_octets(xds->pool, value.len);
    cn_status_t  status;

    if (octets == NULL) {
        cn_read_no_memory(&xds->read);
        return;
    }

    status = cn_format_check(value, octets, &op->value, &op->format, &command);

    if (status == CN_ERR_UNSUPPORTED) {
        cn_read_error(&xds->read, NULL, "headers_to_add", "the command %%%.*s%% is not implemented",
                      CN_BYTES_ARG(command));

    } else if (status != CN_OK) {
        cn_read_error(&xds->read, NULL, "headers_to_add", "a command is malformed");
    }
}


static void
read_additions(cn_xds_t *xds, Cairn__HeaderValueOption *const *items, size_t count,
    bool on_response, cn_array_t *ops)
{
    for (size_t i = 0; i < count; i++) {
        int32_t          action = items[i]->has_append_action ? items[i]->append_action : 0;
        cn_header_op_t  *op;

        /* nothing is added before it is whole: a refused chain is packed all the same */
        if (items[i]->header == NULL
            || (action != CAIRN__HEADER_VALUE_OPTION__APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD
                && action
                   != CAIRN__HEADER_VALUE_OPTION__APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD))
        {
            cn_read_error(&xds->read, NULL, "headers_to_add.append_action", "is not implemented");
            return;
        }

        op = cn_xds_add(xds, ops);

        if (op == NULL) {
            return;
        }

        op->op = action == 0 ? CN_HEADER_OP_ADD : CN_HEADER_OP_SET;
        op->on_response = on_response;
        op->name = lower(xds, cn_decoded(items[i]->header->key));
        read_value(xds, cn_decoded(items[i]->header->value), op);

        if (op->name.len == 0 || op->name.ptr[0] == ':'
            || cn_bytes_equal(op->name, CN_BYTES("host")))
        {
            cn_read_error(&xds->read, NULL, "headers_to_add", "a change of header %.*s is not "
                          "implemented", CN_BYTES_ARG(op->name));
        }
    }
}


static void
read_removals(cn_xds_t *xds, const ProtobufCBinaryData *names, size_t count, bool on_response,
    cn_array_t *ops)
{
    for (size_t i = 0; i < count; i++) {
        cn_header_op_t  *op = cn_xds_add(xds, ops);

        if (op == NULL) {
            return;
        }

        op->op = CN_HEADER_OP_REMOVE;
        op->on_response = on_response;
        op->name = lower(xds, cn_decoded(names[i]));
    }
}


static bool
has_header_module(const cn_xds_t *xds)
{
    for (const cn_module_config_t *const *at = xds->config->modules; *at != NULL; at++) {
        if ((*at)->header_ops) {
            return true;
        }
    }

    return false;
}


static void
order_ops(cn_xds_t *xds, cn_array_t *ops)
{
    if (ops->count > 0 && !has_header_module(xds)) {
        cn_read_error(&xds->read, NULL, "headers_to_add, headers_to_remove",
                      "need a module that this build leaves out");
        return;
    }

    if (cn_header_ops_order(ops) != CN_OK) {
        cn_read_no_memory(&xds->read);
    }
}


/* ---- per-route filters ---- */

static void
read_filters(cn_xds_t *xds, Cairn__NamedAny *const *items, size_t count, cn_array_t *filters)
{
    for (size_t i = 0; i < count; i++) {
        const Cairn__Any          *any = items[i]->value;
        const cn_module_config_t  *module = NULL;
        cn_filter_config_t        *filter;
        void                      *config = NULL;
        bool                       skipped = false;

        if (any != NULL) {
            module = cn_xds_module(xds, cn_decoded(any->type_url), cn_decoded(any->value),
                                   &skipped);
        }

        if (module == NULL || module->read_xds == NULL) {
            cn_read_error(&xds->read, NULL, "typed_per_filter_config", "%.*s is not implemented",
                          CN_BYTES_ARG(cn_decoded(items[i]->key)));
            continue;
        }

        if (module->read_xds(&xds->read, cn_decoded(any->type_url), cn_decoded(any->value), true,
                             &config) != CN_OK)
        {
            continue;                       /* reported */
        }

        filter = cn_xds_add(xds, filters);

        if (filter != NULL) {
            *filter = (cn_filter_config_t) {
                .module = module, .name = cn_bytes_str(module->filter_name), .config = config,
            };
        }
    }
}


/* ---- actions ---- */

static void
read_retry_on(cn_xds_t *xds, cn_bytes_t rest, cn_retry_t *retry)
{
    cn_bytes_t  word;
    bool        more;

    retry->on = 0;

    do {
        uint32_t  bit = 0;

        more = cn_bytes_split(rest, ',', &word, &rest);

        if (!cn_retry_condition(cn_bytes_trim(word), &bit)) {
            cn_read_error(&xds->read, NULL, "retry_policy.retry_on", "%.*s is not implemented",
                          CN_BYTES_ARG(word));
        }

        retry->on |= bit;
    } while (more);
}


static void
read_retry(cn_xds_t *xds, const Cairn__RetryPolicy *policy, cn_retry_t *retry)
{
    if (policy == NULL) {
        retry->tries = 0;
        return;
    }

    read_retry_on(xds, cn_decoded(policy->retry_on), retry);
    retry->tries = policy->num_retries == NULL ? 1
                   : policy->num_retries->has_value ? policy->num_retries->value : 0;
    retry->per_try_timeout_ms = cn_xds_duration(xds, policy->per_try_timeout, "per_try_timeout");
    retry->host_attempts = 0;

    for (size_t i = 0; i < policy->n_retry_host_predicate; i++) {
        const Cairn__Any  *any = policy->retry_host_predicate[i]->typed_config;

        if (any == NULL || !cn_bytes_equal(cn_decoded(any->type_url), CN_BYTES(PREVIOUS_HOSTS))) {
            cn_read_error(&xds->read, NULL, "retry_host_predicate", "is not implemented");
            continue;
        }

        retry->host_attempts = policy->has_host_selection_retry_max_attempts
                               ? (uint32_t) policy->host_selection_retry_max_attempts : 1;
    }

    if (policy->retry_back_off != NULL) {
        retry->base_backoff_ms = cn_xds_duration(xds, policy->retry_back_off->base_interval,
                                                 "retry_back_off.base_interval");
        retry->max_backoff_ms = policy->retry_back_off->max_interval != NULL
            ? cn_xds_duration(xds, policy->retry_back_off->max_interval, "retry_back_off")
            : retry->base_backoff_ms * 10;
    }

    for (size_t i = 0; i < policy->n_retriable_status_codes; i++) {
        uint32_t  *slot = cn_xds_add(xds, &retry->statuses);

        if (slot != NULL) {
            *slot = policy->retriable_status_codes[i];
        }
    }
}


static cn_destination_t *
add_destination(cn_xds_t *xds, cn_bytes_t cluster, uint32_t weight, cn_route_t *route)
{
    cn_destination_t  *made = cn_xds_add(xds, &route->destinations);

    if (made != NULL) {
        *made = (cn_destination_t) {
            .cluster = cluster,
            .weight = weight,
            .header_ops = CN_ARRAY_INIT(xds->pool, cn_header_op_t),
            .filters = CN_ARRAY_INIT(xds->pool, cn_filter_config_t),
        };
    }

    return made;
}


static void
read_weighted(cn_xds_t *xds, const Cairn__WeightedCluster *weighted, cn_route_t *route)
{
    for (size_t i = 0; i < weighted->n_clusters; i++) {
        const Cairn__WeightedCluster__ClusterWeight  *item = weighted->clusters[i];
        uint32_t                                      weight;
        cn_destination_t                             *made;

        weight = item->weight != NULL && item->weight->has_value ? item->weight->value : 0;

        if (weight == 0) {
            continue;
        }

        made = add_destination(xds, cn_decoded(item->name), weight, route);

        if (made == NULL) {
            return;
        }

        made->host_rewrite = cn_decoded(item->host_rewrite_literal);

        read_removals(xds, item->request_headers_to_remove, item->n_request_headers_to_remove,
                      false, &made->header_ops);
        read_additions(xds, item->request_headers_to_add, item->n_request_headers_to_add, false,
                       &made->header_ops);
        read_removals(xds, item->response_headers_to_remove, item->n_response_headers_to_remove,
                      true, &made->header_ops);
        read_additions(xds, item->response_headers_to_add, item->n_response_headers_to_add, true,
                       &made->header_ops);
        order_ops(xds, &made->header_ops);
        read_filters(xds, item->typed_per_filter_config, item->n_typed_per_filter_config,
                     &made->filters);
    }
}


/* What is sent on or told to a client must be a path. */
static void
check_path(cn_xds_t *xds, const char *field, cn_bytes_t path)
{
    bool  fine = path.len > 0 && path.ptr[0] == '/';

    for (size_t i = 0; i < path.len; i++) {
        fine = fine && path.ptr[i] > 0x20 && path.ptr[i] < 0x7f && path.ptr[i] != '#';
    }

    if (!fine) {
        cn_read_error(&xds->read, NULL, field, "is no path");
    }
}


static void
read_rewrite(cn_xds_t *xds, const Cairn__RouteAction *action, cn_route_t *route)
{
    const Cairn__RegexMatchAndSubstitute  *regex = action->regex_rewrite;

    route->host_rewrite = cn_decoded(action->host_rewrite_literal);

    if (action->prefix_rewrite.len > 0) {
        route->rewrite.kind = CN_REWRITE_PREFIX;
        route->rewrite.value = cn_decoded(action->prefix_rewrite);
        check_path(xds, "route.prefix_rewrite", route->rewrite.value);
    }

    if (regex == NULL) {
        return;
    }

    if (regex->pattern == NULL || action->prefix_rewrite.len > 0) {
        cn_read_error(&xds->read, NULL, "route.regex_rewrite",
                      "has no pattern, or prefix_rewrite is there too");
        return;
    }

    route->rewrite.kind = CN_REWRITE_REGEX;
    route->rewrite.pattern = cn_decoded(regex->pattern->regex);
    route->rewrite.value = cn_decoded(regex->substitution);
    (void) cn_read_regex_rewrite(&xds->read, NULL, "route.regex_rewrite", route->rewrite.pattern,
                                 route->rewrite.value);
}


static void
read_redirect(cn_xds_t *xds, const Cairn__RedirectAction *redirect, cn_route_t *route)
{
    static const uint16_t  codes[] = { 301, 302, 303, 307, 308 };
    int32_t                code = redirect->has_response_code ? redirect->response_code : 0;

    route->action = CN_ACTION_REDIRECT;

    if (code < 0 || code >= (int32_t) CN_COUNT_OF(codes)
        || (redirect->has_port_redirect && redirect->port_redirect > UINT16_MAX))
    {
        cn_read_error(&xds->read, NULL, "redirect",
                      "response_code or port_redirect is out of range");
        return;
    }

    route->direct_status = codes[code];
    route->redirect.host = cn_decoded(redirect->host_redirect);
    route->redirect.port = (uint16_t) (redirect->has_port_redirect ? redirect->port_redirect : 0);

    if (redirect->scheme_rewrite_specifier_case
        == CAIRN__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT)
    {
        route->redirect.scheme = cn_decoded(redirect->scheme_redirect);
    }

    if (redirect->path_rewrite_specifier_case
        == CAIRN__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT
        && redirect->path_redirect.len > 0)
    {
        route->rewrite.kind = CN_REWRITE_PATH;
        route->rewrite.value = cn_decoded(redirect->path_redirect);

    } else if (redirect->path_rewrite_specifier_case
               == CAIRN__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE)
    {
        route->rewrite.kind = CN_REWRITE_PREFIX;
        route->rewrite.value = cn_decoded(redirect->prefix_rewrite);
    }

    /* istiod's own, of a VirtualService: it means nothing, and the redirect is answered 500 */
    if (route->rewrite.kind != CN_REWRITE_NONE
        && !cn_bytes_starts_with(route->rewrite.value, CN_BYTES("%PREFIX()%")))
    {
        check_path(xds, "redirect", route->rewrite.value);
    }
}


static void
read_action(cn_xds_t *xds, const Cairn__RouteAction *action, cn_route_t *route)
{
    static const uint16_t  statuses[] = { 503, 404, 500 };
    int32_t                missing;

    missing = action->has_cluster_not_found_response_code
              ? action->cluster_not_found_response_code : 0;

    if (missing < 0 || missing >= (int32_t) CN_COUNT_OF(statuses)) {
        cn_read_error(&xds->read, NULL, "route.cluster_not_found_response_code", "is unknown");

    } else {
        route->no_cluster_status = statuses[missing];
    }

    if (action->cluster_specifier_case == CAIRN__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER) {
        (void) add_destination(xds, cn_decoded(action->cluster), 1, route);

    } else if (action->cluster_specifier_case
               == CAIRN__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS)
    {
        read_weighted(xds, action->weighted_clusters, route);

    } else {
        cn_read_error(&xds->read, NULL, "route.cluster_specifier", "is not implemented");
    }

    if (action->timeout == NULL) {
        cn_read_error(&xds->read, NULL, "route.timeout", "Envoy's own default is not implemented");
    }

    route->timeout_ms = cn_xds_duration(xds, action->timeout, "route.timeout");
    route->max_grpc_timeout_ms = cn_xds_duration(xds, action->max_grpc_timeout,
                                                 "route.max_grpc_timeout");
    read_retry(xds, action->retry_policy, &route->retry);
    read_rewrite(xds, action, route);
}


static void
read_direct(cn_xds_t *xds, const Cairn__DirectResponseAction *direct, cn_route_t *route)
{
    const Cairn__DataSource  *body = direct->body;

    route->action = CN_ACTION_DIRECT_RESPONSE;
    route->direct_status = (uint16_t) (direct->has_status ? direct->status : 0);

    if (!direct->has_status || direct->status < 200 || direct->status > 599) {
        cn_read_error(&xds->read, NULL, "direct_response.status", "is not in 200..599");
    }

    if (body != NULL && body->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_STRING) {
        route->direct_body = cn_decoded(body->inline_string);

    } else if (body != NULL && body->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_BYTES) {
        route->direct_body = cn_decoded(body->inline_bytes);
    }

    if (route->direct_body.len > DIRECT_BODY_MAX) {
        cn_read_error(&xds->read, NULL, "direct_response.body", "is longer than 1 MiB");
    }
}


void
cn_xds_read_route(cn_xds_t *xds, const Cairn__Route *message, const char *field, cn_route_t *route)
{
    cn_route_defaults(route, xds->pool);
    route->name = cn_decoded(message->name);

    if (message->match == NULL) {
        cn_read_error(&xds->read, NULL, field, "matches nothing");
        return;
    }

    read_match(xds, message->match, route);

    if (message->decorator != NULL) {
        route->decorator = cn_decoded(message->decorator->operation);
    }

    read_removals(xds, message->request_headers_to_remove, message->n_request_headers_to_remove,
                  false, &route->header_ops);
    read_additions(xds, message->request_headers_to_add, message->n_request_headers_to_add, false,
                   &route->header_ops);
    read_removals(xds, message->response_headers_to_remove,
                  message->n_response_headers_to_remove, true, &route->header_ops);
    read_additions(xds, message->response_headers_to_add, message->n_response_headers_to_add, true,
                   &route->header_ops);
    order_ops(xds, &route->header_ops);
    read_filters(xds, message->typed_per_filter_config, message->n_typed_per_filter_config,
                 &route->filters);

    if (message->action_case == CAIRN__ROUTE__ACTION_ROUTE) {
        read_action(xds, message->route, route);

    } else if (message->action_case == CAIRN__ROUTE__ACTION_REDIRECT) {
        read_redirect(xds, message->redirect, route);

    } else if (message->action_case == CAIRN__ROUTE__ACTION_DIRECT_RESPONSE) {
        read_direct(xds, message->direct_response, route);

    } else {
        cn_read_error(&xds->read, NULL, field, "an action is not implemented");
    }
}
