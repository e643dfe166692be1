/* SPDX-License-Identifier: Apache-2.0 */

/*
 * routes - the routes of one port of a service, from all rules that steer it, in the order and with
 * the names that istiod gives them.  After a route that matches everything there is no other.
 */

#include "source/istio/rules.h"

typedef struct {
    cn_istio_t               *istio;
    cn_kube_service_t        *service;
    const cn_kube_port_t     *port;
    /* of the decorator when a route has several destinations */
    cn_bytes_t                set_name;
    cn_array_t               *routes;
    bool                      closed;       /* the last route matches everything */
} builder_t;


cn_bytes_t
cn_istio_cluster_name(cn_istio_t *istio, const cn_kube_service_t *service, uint16_t port,
    const char *protocol,
    cn_bytes_t subset, cn_bytes_t host)
{
    char  *name;

    if (service != NULL && !service->ours) {
        name = cn_pool_printf(istio->pool, "outbound|%u|%.*s|%.*s", port, CN_BYTES_ARG(subset),
                              CN_BYTES_ARG(host));

    } else {
        name = cn_pool_printf(istio->pool, "inbound-vip|%u|%s%s%.*s|%.*s", port, protocol,
                              subset.len > 0 ? "/" : "",
                              CN_BYTES_ARG(subset), CN_BYTES_ARG(host));
    }

    return cn_bytes_str(name);
}


/*
 * A destination that names no port means the service's only one, else the one that was asked for.
 */
static uint16_t
destination_port(const builder_t *builder, const cn_rule_destination_t *destination)
{
    const cn_kube_service_t  *service = destination->service;

    if (destination->port != 0) {
        return destination->port;
    }

    if (service != NULL && service->ports.count == 1) {
        return CN_ARRAY_AT(&service->ports, cn_kube_port_t, 0)->port;
    }

    return builder->port->port;
}


static cn_status_t
append_all(cn_array_t *to, const cn_array_t *from)
{
    for (size_t i = 0; i < from->count; i++) {
        void  *slot = cn_array_add(to);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        memcpy(slot, (const uint8_t *) from->items + i * from->item_size, from->item_size);
    }

    return CN_OK;
}


static bool
is_only(const cn_rule_t *rule)
{
    return rule->destinations.count == 1 && !rule->weighted;
}


static cn_status_t
add_destination(const builder_t *builder, const cn_rule_destination_t *from, bool only,
    cn_route_t *route)
{
    cn_pool_t         *pool = builder->istio->pool;
    cn_destination_t  *made = cn_array_add(&route->destinations);

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    *made = (cn_destination_t) {
        .cluster = cn_istio_cluster_name(builder->istio, from->service,
                                         destination_port(builder, from), "http", from->subset,
                                         from->host),
        .weight = only ? 1 : from->weight,
        .host_rewrite = only ? CN_BYTES_NONE : from->host_rewrite,
        .header_ops = CN_ARRAY_INIT(pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(pool, cn_filter_config_t),
    };

    if (made->cluster.len == 0) {
        return CN_ERR_MEMORY;
    }

    /* the only destination's part is the route's own (istiod has no weighted cluster for it) */
    if (only && route->host_rewrite.len == 0) {
        route->host_rewrite = from->host_rewrite;
    }

    if (append_all(only ? &route->header_ops : &made->header_ops, &from->header_ops) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    return append_all(only ? &route->filters : &made->filters, &from->filters);
}


/* "reviews.default.svc.cluster.local:9080/prefix*". */
static cn_status_t
set_decorator(const builder_t *builder, const cn_rule_t *rule, cn_route_t *route)
{
    const cn_rule_destination_t  *first = rule->destinations.items;
    bool                          only = is_only(rule) && rule->direct_status == 0;
    cn_bytes_t                    host = only ? first->host : builder->set_name;
    uint16_t                      port = only ? destination_port(builder, first)
        : builder->port->port;
    cn_bytes_t                    path = CN_BYTES("/");
    const char                   *star = "*";

    if (route->path_kind == CN_PATH_MATCH_EXACT) {
        path = route->path;
        star = "";

    } else if (route->path_kind == CN_PATH_MATCH_PREFIX) {
        path = route->path;

    } else if (route->path_kind == CN_PATH_MATCH_REGEX) {
        path = route->path;
        star = "";
    }

    route->decorator = cn_bytes_str(cn_pool_printf(builder->istio->pool, "%.*s:%u%.*s%s",
                                                   CN_BYTES_ARG(host), port,
                                                   CN_BYTES_ARG(path), star));

    return route->decorator.len == 0 ? CN_ERR_MEMORY : CN_OK;
}


static void
set_match(const cn_rule_match_t *match, cn_route_t *route)
{
    route->path_kind = match->path_kind;
    route->path_ignore_case = match->path_ignore_case;
    route->path = match->path;
    route->headers = match->headers;
    route->query = match->query;
    route->origin.line = match->line;
    route->origin.file = match->file;
}


static cn_status_t
set_name(const builder_t *builder, const cn_rule_t *rule, const cn_rule_match_t *match,
    cn_route_t *route)
{
    route->name = rule->name;

    if (match == NULL || match->name.len == 0) {
        return CN_OK;
    }

    route->name = cn_bytes_str(cn_pool_printf(builder->istio->pool, "%.*s.%.*s",
                                              CN_BYTES_ARG(rule->name),
                                              CN_BYTES_ARG(match->name)));

    return route->name.len == 0 ? CN_ERR_MEMORY : CN_OK;
}


/* A path of any case is compared in lower case; the decorator has it as it was written. */
static cn_status_t
fold_path(cn_pool_t *pool, cn_route_t *route)
{
    uint8_t  *lower;

    if (!route->path_ignore_case) {
        return CN_OK;
    }

    lower = cn_pool_octets(pool, route->path.len);

    if (lower == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < route->path.len; i++) {
        lower[i] = cn_lower(route->path.ptr[i]);
    }

    route->path.ptr = lower;
    return CN_OK;
}


static cn_status_t
fill_route(const builder_t *builder, const cn_rule_t *rule, const cn_rule_match_t *match,
    cn_route_t *route)
{
    cn_status_t  status;
    bool         only = is_only(rule);

    cn_route_defaults(route, builder->istio->pool);
    route->origin = rule->origin;
    route->timeout_ms = rule->timeout_ms;
    route->max_grpc_timeout_ms = rule->timeout_ms;
    route->no_cluster_status = rule->no_cluster_status;

    if (rule->has_retry) {
        route->retry = rule->retry;
    }

    if (match != NULL) {
        set_match(match, route);
    }

    status = cn_rule_set_actions(rule, builder->port->port, builder->istio->pool, route);

    if (status == CN_OK) {
        status = set_name(builder, rule, match, route);
    }

    if (status == CN_OK) {
        status = append_all(&route->header_ops, &rule->header_ops);
    }

    if (status == CN_OK) {
        status = append_all(&route->filters, &rule->filters);
    }

    CN_ARRAY_EACH(&rule->destinations, const cn_rule_destination_t, destination) {
        if (status == CN_OK) {
            status = add_destination(builder, destination, only, route);
        }
    }

    if (status == CN_OK) {
        status = cn_header_ops_order(&route->header_ops);
    }

    if (status == CN_OK) {
        status = set_decorator(builder, rule, route);
    }

    return status == CN_OK ? fold_path(builder->istio->pool, route) : status;
}


static bool
matches_all(const cn_route_t *route)
{
    return route->headers.count == 0 && route->query.count == 0
           && (route->path_kind == CN_PATH_MATCH_ANY
               || (route->path_kind == CN_PATH_MATCH_PREFIX
                   && cn_bytes_equal(route->path, CN_BYTES("/"))));
}


static cn_status_t
add_route(builder_t *builder, const cn_rule_t *rule, const cn_rule_match_t *match)
{
    cn_route_t   route;
    cn_route_t  *slot;
    cn_status_t  status;

    if (builder->closed || (match != NULL && match->port != 0
                            && match->port != builder->port->port)) {
        return CN_OK;
    }

    status = fill_route(builder, rule, match, &route);

    if (status != CN_OK) {
        return status;
    }

    slot = cn_array_add(builder->routes);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = route;
    builder->closed = matches_all(&route);

    return CN_OK;
}


static cn_status_t
add_rule(builder_t *builder, const cn_rule_t *rule)
{
    if (rule->matches.count == 0) {
        return add_route(builder, rule, NULL);
    }

    CN_ARRAY_EACH(&rule->matches, const cn_rule_match_t, match) {
        cn_status_t  status = add_route(builder, rule, match);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


/* Whether set steers the service's traffic to port. */
static bool
steers(const cn_rule_set_t *set, const cn_kube_service_t *service, uint16_t port)
{
    for (size_t i = 0; i < set->services.count; i++) {
        uint16_t  only = *CN_ARRAY_AT(&set->ports, uint16_t, i);

        if (*CN_ARRAY_AT(&set->services, cn_service_ref_t, i) == service
            && (only == 0 || only == port)) {
            return true;
        }
    }

    return false;
}


/* Sorted sets: one that names the service twice stands twice in a row. */
static bool
seen(const cn_rule_set_ref_t *set, const cn_rule_set_ref_t *first)
{
    return set > first && set[-1] == *set;
}


/* ---- Gateway API precedence ------------------------------------------------------------------ */


typedef struct {
    const cn_rule_t      *rule;
    const cn_rule_set_t  *set;
} ranked_t;


static const cn_rule_match_t *
only_match(const cn_rule_t *rule)
{
    return rule->matches.count == 0 ? NULL : rule->matches.items;
}


static bool
has_method(const cn_rule_match_t *match)
{
    return match->headers.count > match->header_count;
}


#define BY(left, right)                                     \
    do {                                                    \
        if ((left) != (right)) {                            \
            return (left) > (right) ? -1 : 1;               \
        }                                                   \
    } while (0)

static int
path_rank(const cn_rule_match_t *match)
{
    switch (match->path_kind) {

    case CN_PATH_MATCH_EXACT:
        return 3;

    case CN_PATH_MATCH_REGEX:
        return 1;

    default:
        return 2;
    }
}


/*
 * Exact paths, prefixes, patterns; of these the longer ones; then a method, more headers, more
 * query parameters.  A rule without a match is last.
 */
static int
compare_ranked(const void *a, const void *b)
{
    const cn_rule_match_t  *left = only_match(((const ranked_t *) a)->rule);
    const cn_rule_match_t  *right = only_match(((const ranked_t *) b)->rule);

    if (left == NULL || right == NULL) {
        return (left == NULL) - (right == NULL);
    }

    BY(path_rank(left), path_rank(right));
    BY(left->path.len, right->path.len);
    BY(has_method(left), has_method(right));
    BY(left->header_count, right->header_count);
    BY(left->query.count, right->query.count);

    return 0;
}


/*
 * All HTTPRoutes of a port are one ordered list; the sort is stable, so older routes and earlier
 * rules win.
 */
static cn_status_t
add_http_routes(builder_t *builder)
{
    cn_istio_t  *istio = builder->istio;
    cn_array_t   ranked = CN_ARRAY_INIT(istio->pool, ranked_t);

    CN_ARRAY_EACH(&builder->service->http_routes, const cn_rule_set_ref_t, set) {
        if (seen(set, builder->service->http_routes.items)
            || !steers(*set, builder->service, builder->port->port)) {
            continue;
        }

        CN_ARRAY_EACH(&(*set)->rules, const cn_rule_t, rule) {
            ranked_t  *slot = cn_array_add(&ranked);

            if (slot == NULL) {
                return CN_ERR_MEMORY;
            }

            *slot = (ranked_t) { .rule = rule, .set = *set };
        }
    }

    if (ranked.count == 0) {
        return CN_OK;
    }

    builder->set_name = cn_bytes_str(cn_pool_printf(istio->pool, "%.*s~%u~%.*s",
                                                    CN_BYTES_ARG(builder->service->name_space),
                                                    builder->port->port,
                                                        CN_BYTES_ARG(builder->service->host)));

    if (builder->set_name.len == 0 || cn_array_sort(&ranked, compare_ranked) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    CN_ARRAY_EACH(&ranked, const ranked_t, item) {
        cn_status_t  status = add_rule(builder, item->rule);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


static cn_status_t
add_virtual_services(builder_t *builder)
{
    CN_ARRAY_EACH(&builder->service->virtual_services, const cn_rule_set_ref_t, set) {
        if (seen(set, builder->service->virtual_services.items)
            || !steers(*set, builder->service, builder->port->port)) {
            continue;
        }

        builder->set_name = (*set)->name;

        CN_ARRAY_EACH(&(*set)->rules, const cn_rule_t, rule) {
            cn_status_t  status = add_rule(builder, rule);

            if (status != CN_OK) {
                return status;
            }
        }
    }

    return CN_OK;
}


/* Nobody steers this port: all of it goes to the service's own endpoints. */
static cn_status_t
add_default(builder_t *builder)
{
    cn_istio_t             *istio = builder->istio;
    cn_rule_destination_t   destination = {
        .service = builder->service,
        .host = builder->service->host,
        .port = builder->port->port,
        .header_ops = CN_ARRAY_INIT(istio->pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(istio->pool, cn_filter_config_t),
        .weight = 1,
    };
    cn_rule_t               rule = {
        .name = CN_BYTES("default"),
        .matches = CN_ARRAY_INIT(istio->pool, cn_rule_match_t),
        .destinations = { .items = &destination, .count = 1, .capacity = 1,
            .item_size = sizeof(destination) },
        .header_ops = CN_ARRAY_INIT(istio->pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(istio->pool, cn_filter_config_t),
        .no_cluster_status = 503,
        .origin = builder->service->origin,
    };

    return add_rule(builder, &rule);
}


cn_status_t
cn_istio_build_routes(cn_istio_t *istio, cn_kube_service_t *service, const cn_kube_port_t *port,
    cn_array_t *routes)
{
    builder_t    builder = { .istio = istio, .service = service, .port = port, .routes = routes };
    bool         steered = false;
    cn_status_t  status;

    if (cn_array_sort(&service->virtual_services, cn_rule_set_compare) != CN_OK
        || cn_array_sort(&service->http_routes, cn_rule_set_compare) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    CN_ARRAY_EACH(&service->virtual_services, const cn_rule_set_ref_t, set) {
        steered = steered || (steers(*set, service, port->port) && (*set)->rules.count > 0);
    }

    CN_ARRAY_EACH(&service->http_routes, const cn_rule_set_ref_t, set) {
        steered = steered || steers(*set, service, port->port);
    }

    if (!steered) {
        return add_default(&builder);
    }

    status = add_virtual_services(&builder);

    return status == CN_OK ? add_http_routes(&builder) : status;
}
