/* SPDX-License-Identifier: Apache-2.0 */

/*
 * explain - walks the way of a request without going it: service, port, filters in their order,
 * route, destinations, endpoints.  It uses the very tables, look-ups and matchers of the data path
 * and the modules' own words, so that it cannot tell another story than what is served.
 */

#include "filter/explain.h"

#include "filter/chain.h"
#include "http/normalize.h"
#include "http/wire.h"
#include "route/action.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_MAX_OCTETS  1024
#define ENDPOINTS_SHOWN  20

typedef struct {
    cn_explain_t              *explain;
    const cn_tables_t         *tables;
    cn_stream_info_t           connection;
    cn_message_t               head;
    cn_match_input_t           input;
    cn_target_t                target;
    const cn_table_service_t  *service;
    const cn_table_chain_t    *chain;
    const cn_table_route_t    *route;           /* NULL: none matched */
} walk_t;


/* ---- lines ----------------------------------------------------------------------------------- */

/* Adds where it was said; returns the length. */
static size_t
print_origin(const cn_block_t *block, const cn_table_origin_t *origin, char *out, size_t size)
{
    cn_bytes_t  file = cn_block_bytes(block, origin->file);
    cn_bytes_t  resource = cn_block_bytes(block, origin->resource);
    int         len = 0;

    if (resource.len > 0 && file.len > 0) {
        len = snprintf(out, size, "; %.*s (%.*s:%u)", CN_BYTES_ARG(resource), CN_BYTES_ARG(file),
                       origin->line);

    } else if (file.len > 0) {
        len = snprintf(out, size, " (%.*s:%u)", CN_BYTES_ARG(file), origin->line);

    } else if (resource.len > 0) {
        len = snprintf(out, size, "; %.*s", CN_BYTES_ARG(resource));
    }

    return len < 0 ? 0 : (size_t) len >= size ? size - 1 : (size_t) len;
}


void
cn_explain_line(cn_explain_t *explain, const cn_block_t *block, const cn_table_origin_t *origin,
    const char *format, ...)
{
    char         text[LINE_MAX_OCTETS];
    size_t       len;
    va_list      args;
    cn_bytes_t  *line;

    va_start(args, format);
    int  printed = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    len = printed < 0 ? 0 : (size_t) printed >= sizeof(text) ? sizeof(text) - 1 : (size_t) printed;

    if (origin != NULL) {
        len += print_origin(block, origin, text + len, sizeof(text) - len);
    }

    line = cn_array_add(&explain->lines);

    if (line == NULL || cn_pool_copy(explain->pool, cn_bytes(text, len), line) != CN_OK) {
        explain->out_of_memory = true;
    }
}


static void
answer(walk_t *walk, uint16_t status, const char *why)
{
    walk->explain->status = status;
    walk->explain->denied |= status == 403;
    cn_explain_line(walk->explain, NULL, NULL, "answer: %u, %s", status, why);
}


/* ---- who is asked, and may it be ------------------------------------------------------------- */

static bool
find_service(walk_t *walk, cn_bytes_t authority)
{
    const cn_block_t  *block;

    walk->target = cn_target_by_authority(walk->tables, authority, 80);
    block = walk->target.block;

    if (block == NULL) {
        cn_explain_line(walk->explain, NULL, NULL,
                        "service: none of this waypoint has the host or address %.*s, port %u",
                        CN_BYTES_ARG(authority), walk->target.port);
        answer(walk, 404, "no such service (NR)");
        return false;
    }

    walk->service = cn_block_root(block);
    walk->chain = cn_service_chain(block, walk->target.port);
    cn_explain_line(walk->explain, block, &walk->service->origin, "service: %.*s",
                    CN_BYTES_ARG(cn_block_bytes(block, walk->service->host)));

    if (walk->chain == NULL) {
        answer(walk, 404, "the service has no such port (NR)");
        return false;
    }

    cn_explain_line(walk->explain, NULL, NULL, "chain: %.*s",
                    CN_BYTES_ARG(cn_block_bytes(block, walk->chain->name)));

    return true;
}


static cn_status_t
make_head(walk_t *walk, const cn_explain_request_t *request)
{
    cn_message_t  *head = &walk->head;
    cn_status_t    status = CN_OK;

    cn_message_init(head, walk->explain->pool);
    head->method = request->method;
    head->authority = request->authority;
    head->path = request->path;
    head->version = CN_HTTP_11;

    if (request->headers.count > 0) {
        status = cn_headers_copy(&head->headers, &request->headers);
    }

    head->scheme = cn_http_forwarded_scheme(&head->headers, CN_BYTES("http"));

    return status;
}


/* The one canonical path, as the chain makes it. */
static cn_status_t
normalize(walk_t *walk)
{
    cn_bytes_t    given = walk->head.path;
    cn_status_t   status;

    if (given.len == 0 || given.ptr[0] != '/') {
        answer(walk, 404, "the path does not begin with a slash");
        return CN_ERR_SYNTAX;
    }

    status = cn_path_normalize(given, walk->chain->path_level, walk->explain->pool,
                               &walk->head.path);

    if (status == CN_ERR_MEMORY) {
        return status;
    }

    if (status != CN_OK) {
        answer(walk, 400, "the path cannot be normalised");
        return status;
    }

    if (!cn_bytes_equal(given, walk->head.path)) {
        cn_explain_line(walk->explain, NULL, NULL, "path: %.*s is taken for %.*s",
                        CN_BYTES_ARG(given), CN_BYTES_ARG(walk->head.path));
    }

    return CN_OK;
}


/* ---- filters --------------------------------------------------------------------------------- */

static const void *
find_config(const cn_block_t *block, cn_rel_array_t ref, uint16_t module)
{
    const cn_table_filter_t  *filters = CN_BLOCK_ITEMS(block, ref, cn_table_filter_t);

    for (uint32_t i = 0; i < ref.count; i++) {
        if (filters[i].module == module) {
            return cn_block_at(block, filters[i].config);
        }
    }

    return NULL;
}


/* A destination's own counts for all only where it is the only one. */
static const void *
route_config(const walk_t *walk, uint16_t module)
{
    const cn_block_t              *block = walk->target.block;
    const cn_table_destination_t  *only;
    const void                    *config = NULL;

    if (walk->route == NULL) {
        return NULL;
    }

    if (walk->route->destinations.count == 1) {
        only = CN_BLOCK_ITEMS(block, walk->route->destinations, cn_table_destination_t);
        config = find_config(block, only->filters, module);
    }

    return config != NULL ? config : find_config(block, walk->route->filters, module);
}


/* False: a filter answers by itself. */
static bool
ask_filters(walk_t *walk)
{
    const cn_block_t         *block = walk->target.block;
    const cn_table_filter_t  *filters
        = CN_BLOCK_ITEMS(block, walk->chain->filters, cn_table_filter_t);

    for (uint32_t i = 0; i < walk->chain->filters.count; i++) {
        const cn_module_t  *module = cn_modules[filters[i].module];

        if (module->explain == NULL) {
            continue;
        }

        module->explain(walk->explain, block, cn_block_at(block, filters[i].config),
                        route_config(walk, filters[i].module), &walk->input);

        if (walk->explain->status != 0) {
            answer(walk, walk->explain->status,
                   walk->explain->denied ? "RBAC: access denied" : module->name);
            return false;
        }
    }

    return true;
}


/* ---- routes ---------------------------------------------------------------------------------- */

/* The routes before the one that matched, each with why it did not. */
static void
tell_passed_over(walk_t *walk)
{
    const cn_block_t        *block = walk->target.block;
    const cn_table_route_t  *routes
        = CN_BLOCK_ITEMS(block, walk->chain->routes, cn_table_route_t);

    for (uint32_t i = 0; i < walk->chain->routes.count && &routes[i] != walk->route; i++) {
        char        why[160] = "";
        cn_match_t  match = cn_route_matches(block, &routes[i], &walk->input, why);

        if (match != CN_MATCH_YES) {
            cn_explain_line(walk->explain, block, &routes[i].origin, "route: not %.*s: %s",
                            CN_BYTES_ARG(cn_block_bytes(block, routes[i].name)), why);
        }

        if (match == CN_MATCH_ERROR) {
            return;                         /* what comes after it is not asked */
        }
    }
}


static void
tell_endpoint(walk_t *walk, const cn_block_t *block, const cn_table_endpoint_t *endpoint)
{
    cn_address_t  address = { .port = endpoint->port };
    char          text[CN_ADDRESS_TEXT_MAX];
    char          hbone[CN_ADDRESS_TEXT_MAX + 32] = "directly";
    cn_bytes_t    principal = cn_block_bytes(block, endpoint->principal);
    const char   *state = endpoint->flags & CN_ENDPOINT_DRAINING ? "draining"
                          : endpoint->flags & CN_ENDPOINT_HEALTHY ? "healthy" : "not healthy";

    memcpy(address.ip, endpoint->ip, sizeof(address.ip));
    cn_address_print(&address, text);

    if (endpoint->flags & CN_ENDPOINT_HBONE) {
        snprintf(hbone, sizeof(hbone), "by HBONE, port %u", endpoint->hbone_port);
    }

    cn_explain_line(walk->explain, NULL, NULL, "      endpoint: %s %s, %s%s%.*s", text, state,
                    hbone, principal.len > 0 ? " to " : "", CN_BYTES_ARG(principal));
}


static void
tell_endpoints(walk_t *walk, uint32_t cluster)
{
    const cn_block_t            *block = cn_tables_endpoints(walk->tables, cluster, NULL);
    const cn_table_endpoints_t  *table;
    const cn_table_endpoint_t   *items;

    if (block == NULL || ((table = cn_block_root(block))->endpoints.count == 0)) {
        cn_explain_line(walk->explain, NULL, NULL, "      endpoint: none, answers 503 (UH)");
        return;
    }

    items = CN_BLOCK_ITEMS(block, table->endpoints, cn_table_endpoint_t);

    for (uint32_t i = 0; i < table->endpoints.count && i < ENDPOINTS_SHOWN; i++) {
        tell_endpoint(walk, block, &items[i]);
    }

    if (table->endpoints.count > ENDPOINTS_SHOWN) {
        cn_explain_line(walk->explain, NULL, NULL, "      endpoint: and %u more",
                        table->endpoints.count - ENDPOINTS_SHOWN);
    }
}


/* What becomes of headers, as said in the table; `where` is the indent. */
static void
tell_header_ops(walk_t *walk, cn_rel_array_t ref, const char *where)
{
    static const char *const     verbs[] = { "", "set", "add", "remove" };
    const cn_block_t            *block = walk->target.block;
    const cn_table_header_op_t  *ops = CN_BLOCK_ITEMS(block, ref, cn_table_header_op_t);

    for (uint32_t i = 0; i < ref.count; i++) {
        cn_bytes_t  value = cn_block_bytes(block, ops[i].value);

        cn_explain_line(walk->explain, NULL, NULL, "%s%s header: %s %.*s%s%.*s", where,
                        ops[i].on_response ? "response" : "request", verbs[ops[i].op],
                        CN_BYTES_ARG(cn_block_bytes(block, ops[i].name)),
                        ops[i].op == CN_HEADER_OP_REMOVE ? "" : ": ", CN_BYTES_ARG(value));
    }
}


/* The authority and path that go upstream.  False: the rewrite fails. */
static bool
tell_rewrite(walk_t *walk)
{
    const cn_block_t  *block = walk->target.block;
    cn_bytes_t         host = cn_route_host_rewrite(block, walk->route, NULL);
    cn_bytes_t         path;

    if (cn_route_rewrite(block, walk->route, walk->head.path, walk->explain->pool, &path)
        != CN_OK)
    {
        answer(walk, 500, "the path cannot be rewritten");
        return false;
    }

    if (path.len > 0) {
        cn_explain_line(walk->explain, NULL, NULL, "   rewrite: the path goes on as %.*s",
                        CN_BYTES_ARG(path));
    }

    if (host.len > 0) {
        cn_explain_line(walk->explain, NULL, NULL, "   rewrite: the authority goes on as %.*s",
                        CN_BYTES_ARG(host));
    }

    return true;
}


static void
tell_redirect(walk_t *walk)
{
    cn_bytes_t  location;

    if (cn_route_location(walk->target.block, walk->route, &walk->head, walk->explain->pool,
                          &location) != CN_OK)
    {
        answer(walk, 500, "the path cannot be rewritten");
        return;
    }

    cn_explain_line(walk->explain, NULL, NULL, "   redirect: to %.*s", CN_BYTES_ARG(location));
    answer(walk, walk->route->direct_status, "by the route itself");
}


static void
tell_direct(walk_t *walk)
{
    const cn_table_route_t  *route = walk->route;
    char                     text[80];
    cn_bytes_t               body = cn_block_bytes(walk->target.block, route->direct_body);

    if (body.len > 0) {
        cn_bytes_escape(body, text, sizeof(text));
        cn_explain_line(walk->explain, NULL, NULL, "   body: %zu octets: %s", body.len, text);
    }

    answer(walk, route->direct_status != 0 ? route->direct_status : 500, "by the route itself");
}


static const char *
policy_name(uint8_t lb)
{
    switch ((cn_lb_policy_t) lb) {
    case CN_LB_ROUND_ROBIN:
        return "round robin";
    case CN_LB_RANDOM:
        return "random";
    case CN_LB_LEAST_REQUEST:
    default:
        return "least request";
    }
}


/* False: there is none. */
static bool
tell_cluster(walk_t *walk, uint32_t id)
{
    const cn_block_t          *block = id == 0 ? NULL : cn_tables_cluster(walk->tables, id, NULL);
    const cn_table_cluster_t  *cluster;

    if (block == NULL) {
        return false;
    }

    cluster = cn_block_root(block);
    cn_explain_line(walk->explain, block, &cluster->origin, "      cluster: %s",
                    policy_name(cluster->lb));
    tell_endpoints(walk, id);

    return true;
}


static void
tell_destination(walk_t *walk, const cn_table_destination_t *destination)
{
    const cn_block_t          *block = walk->target.block;
    uint32_t                   total = walk->route->total_weight;
    double                     share = walk->route->destinations.count == 1 || total == 0
        ? 100.0 : 100.0 * destination->weight / total;

    cn_explain_line(walk->explain, block, &walk->route->origin, "   destination: %g %% to %.*s",
                    share, CN_BYTES_ARG(cn_block_bytes(block, destination->cluster_name)));

    tell_header_ops(walk, destination->header_ops, "      ");

    if (walk->route->host_rewrite.len == 0 && destination->host_rewrite.len > 0) {
        cn_explain_line(walk->explain, NULL, NULL, "      rewrite: the authority goes on as %.*s",
                        CN_BYTES_ARG(cn_block_bytes(block, destination->host_rewrite)));
    }

    if (!tell_cluster(walk, destination->cluster)) {
        cn_explain_line(walk->explain, NULL, NULL, "      cluster: it does not exist, answers %u",
                        walk->route->no_cluster_status);
    }
}


static void
tell_route(walk_t *walk)
{
    const cn_block_t              *block = walk->target.block;
    const cn_table_route_t        *route = walk->route;
    const cn_table_destination_t  *destinations
        = CN_BLOCK_ITEMS(block, route->destinations, cn_table_destination_t);
    char                           timeout[48] = "no timeout";

    if (route->timeout_ms > 0) {
        snprintf(timeout, sizeof(timeout), "timeout %u ms", route->timeout_ms);
    }

    cn_explain_line(walk->explain, block, &route->origin, "route: %.*s, %s, %u more tries",
                    CN_BYTES_ARG(cn_block_bytes(block, route->name)), timeout, route->retry.tries);

    tell_header_ops(walk, route->header_ops, "   ");

    if (route->action == CN_ACTION_REDIRECT) {
        tell_redirect(walk);
        return;
    }

    if (route->action == CN_ACTION_DIRECT_RESPONSE || route->destinations.count == 0) {
        tell_direct(walk);
        return;
    }

    if (!tell_rewrite(walk)) {
        return;
    }

    for (uint32_t i = 0; i < route->destinations.count; i++) {
        tell_destination(walk, &destinations[i]);
    }

    cn_explain_line(walk->explain, NULL, NULL, "answer: the destination's");
}


/* ---- the walk -------------------------------------------------------------------------------- */

/* Raw bytes: what would be asked in them counts for nothing. */
static void
walk_raw(walk_t *walk)
{
    walk->input = (cn_match_input_t) {
        .connection = &walk->connection, .port = walk->target.port,
    };
    cn_explain_line(walk->explain, NULL, NULL,
                    "raw TCP: there are no requests here, only connections and who makes them");

    if (!ask_filters(walk)) {
        return;
    }

    if (tell_cluster(walk, walk->chain->tcp_cluster)) {
        cn_explain_line(walk->explain, NULL, NULL, "answer: the destination's");

    } else {
        answer(walk, 503, "the cluster does not exist: the connection is reset (NC)");
    }
}


static void
walk_filters_and_routes(walk_t *walk)
{
    bool  error = false;

    if (walk->chain->refused) {
        cn_explain_line(walk->explain, NULL, NULL,
                        "chain: closed, its configuration is broken and there is no last good one");
        answer(walk, 403, "RBAC: access denied");
        return;
    }

    if (walk->chain->protocol == CN_PROTOCOL_TCP) {
        walk_raw(walk);
        return;
    }

    cn_match_input_init(&walk->input, &walk->head, &walk->connection, walk->target.port);
    walk->route = cn_route_find(walk->target.block, walk->chain, &walk->input, &error);

    if (error) {
        tell_passed_over(walk);
        answer(walk, 500, "a route's matcher failed");
        return;
    }

    if (!ask_filters(walk)) {
        return;
    }

    tell_passed_over(walk);

    if (walk->route == NULL) {
        answer(walk, 404, "no route matches (NR)");
        return;
    }

    tell_route(walk);
}


cn_status_t
cn_explain_run(const cn_tables_t *tables, const cn_explain_request_t *request,
    cn_explain_t *explain)
{
    walk_t       walk = { .explain = explain, .tables = tables };
    cn_status_t  status;

    explain->lines = CN_ARRAY_INIT(explain->pool, cn_bytes_t);
    explain->status = 0;
    explain->denied = false;
    explain->out_of_memory = false;
    walk.connection.peer_principal = request->principal;

    if (request->principal.len > 0) {
        cn_explain_line(explain, NULL, NULL, "from: %.*s", CN_BYTES_ARG(request->principal));

    } else {
        cn_explain_line(explain, NULL, NULL, "from: a client without an identity");
    }

    if (find_service(&walk, request->authority)) {
        status = make_head(&walk, request);

        if (status == CN_OK) {
            status = normalize(&walk);
        }

        if (status == CN_ERR_MEMORY) {
            return status;
        }

        if (status == CN_OK) {
            walk_filters_and_routes(&walk);
        }
    }

    return explain->out_of_memory ? CN_ERR_MEMORY : CN_OK;
}
