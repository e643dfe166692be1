/* SPDX-License-Identifier: Apache-2.0 */

/* routes_page - /routes.json and /config_dump: the services of this waypoint, where they lead. */

#include "admin/pages.h"
#include "model/print.h"

#include <stdio.h>
#include <stdlib.h>


static void
set_origin(json_t **object, const cn_origin_t *origin)
{
    char  place[1024];

    if (origin->file == NULL || origin->file[0] == '\0') {
        return;
    }

    snprintf(place, sizeof(place), "%s:%u", origin->file, origin->line);
    cn_print_set(object, "origin", cn_print_bytes(cn_bytes_str(place)));

    if (origin->resource != NULL) {
        cn_print_set_bytes(object, "resource", cn_bytes_str(origin->resource));
    }
}


static int
compare_cluster(const void *key, const void *item)
{
    return cn_bytes_compare(*(const cn_bytes_t *) key, ((const cn_cluster_t *) item)->name);
}


static json_t *
describe_endpoints(const cn_cluster_t *cluster)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(&cluster->endpoints, const cn_endpoint_config_t, endpoint) {
        json_t        *object = json_object();
        cn_address_t   address = { .port = endpoint->port };
        char           text[CN_ADDRESS_TEXT_MAX];

        memcpy(address.ip, endpoint->ip, sizeof(address.ip));
        cn_address_print(&address, text);
        cn_print_set(&object, "address", json_string(text));
        cn_print_set(&object, "healthy", json_boolean(endpoint->healthy));
        cn_print_set(&object, "hbone", json_boolean(endpoint->hbone_port != 0));
        cn_print_append(&list, object);
    }

    return list;
}


static json_t *
describe_destination(const cn_model_t *model, const cn_destination_t *destination, double total)
{
    json_t              *object = json_object();
    const cn_cluster_t  *cluster = NULL;

    if (model->clusters.count > 0) {
        cluster = bsearch(&destination->cluster, model->clusters.items, model->clusters.count,
                          sizeof(cn_cluster_t), compare_cluster);
    }

    cn_print_set(&object, "cluster", cn_print_bytes(destination->cluster));
    cn_print_set(&object, "percent",
                 json_real(total > 0 ? 100.0 * destination->weight / total : 100.0));

    if (cluster != NULL) {
        cn_print_set(&object, "endpoints", describe_endpoints(cluster));
    }

    return object;
}


static const char *
path_kind(cn_path_match_kind_t kind)
{
    switch (kind) {
    case CN_PATH_MATCH_EXACT:
        return "exact";
    case CN_PATH_MATCH_PREFIX:
    case CN_PATH_MATCH_SEPARATED_PREFIX:
        return "prefix";
    case CN_PATH_MATCH_REGEX:
        return "regex";
    case CN_PATH_MATCH_ANY:
    default:
        return "any";
    }
}


/* The names of what a route adds to the way: "fault" and the like. */
static json_t *
describe_filters(const cn_array_t *filters)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(filters, const cn_filter_config_t, filter) {
        cn_print_append(&list, cn_print_bytes(filter->name));
    }

    return list;
}


static json_t *
describe_headers(const cn_array_t *headers)
{
    json_t  *list = json_array();

    CN_ARRAY_EACH(headers, const cn_header_match_t, header) {
        char  text[300];

        snprintf(text, sizeof(text), "%.*s%s%.*s", CN_BYTES_ARG(header->name),
                 header->invert ? " not " : " ", CN_BYTES_ARG(header->value.value));
        cn_print_append(&list, cn_print_bytes(cn_bytes_str(text)));
    }

    return list;
}


/* What a route does but to send on: a redirect's target, as far as it says; rewrites. */
static void
describe_actions(json_t **object, const cn_route_t *route)
{
    bool  redirect = route->action == CN_ACTION_REDIRECT;

    if (redirect) {
        cn_print_set_u64(object, "redirect", route->direct_status);
        cn_print_set_bytes(object, "to_scheme", route->redirect.scheme);
        cn_print_set_bytes(object, "to_host", route->redirect.host);
        cn_print_set_u64(object, "to_port", route->redirect.port);

    } else {
        cn_print_set_u64(object, "direct_status", route->direct_status);
    }

    cn_print_set_bytes(object, "rewrite_pattern", route->rewrite.pattern);
    cn_print_set_bytes(object, redirect ? "to_path" : "rewrite", route->rewrite.value);
    cn_print_set_bytes(object, "rewrite_host", route->host_rewrite);
}


static json_t *
describe_route(const cn_model_t *model, const cn_route_t *route)
{
    json_t  *object = json_object();
    json_t  *list = json_array();
    double   total = 0;

    CN_ARRAY_EACH(&route->destinations, const cn_destination_t, weighed) {
        total += weighed->weight;
    }

    CN_ARRAY_EACH(&route->destinations, const cn_destination_t, destination) {
        cn_print_append(&list, describe_destination(model, destination, total));
    }

    cn_print_set(&object, "name", cn_print_bytes(route->name));
    cn_print_set(&object, "match", json_string(path_kind(route->path_kind)));
    cn_print_set_bytes(&object, "path", route->path);
    cn_print_set_list(&object, "headers", describe_headers(&route->headers));
    cn_print_set_list(&object, "filters", describe_filters(&route->filters));
    describe_actions(&object, route);
    cn_print_set_u64(&object, "timeout_ms", route->timeout_ms);
    cn_print_set(&object, "destinations", list);
    set_origin(&object, &route->origin);

    return object;
}


static json_t *
describe_chain(const cn_model_t *model, const cn_chain_config_t *chain)
{
    json_t  *object = json_object();
    json_t  *list = json_array();

    CN_ARRAY_EACH(&chain->routes, const cn_route_t, route) {
        cn_print_append(&list, describe_route(model, route));
    }

    cn_print_set(&object, "port", json_integer(chain->port));
    cn_print_set_bool(&object, "refused", chain->refused);
    cn_print_set(&object, "filters", describe_filters(&chain->filters));
    cn_print_set(&object, "routes", list);

    return object;
}


static json_t *
describe_service(const cn_model_t *model, const cn_service_t *service)
{
    json_t  *object = json_object();
    json_t  *list = json_array();
    json_t  *addresses = json_array();

    CN_ARRAY_EACH(&service->chains, const cn_chain_config_t, chain) {
        cn_print_append(&list, describe_chain(model, chain));
    }

    CN_ARRAY_EACH(&service->addresses, const cn_table_ip_t, address) {
        cn_print_append(&addresses, cn_print_ip(address->ip));
    }

    cn_print_set(&object, "host", cn_print_bytes(service->host));
    cn_print_set_list(&object, "addresses", addresses);
    cn_print_set(&object, "ports", list);
    set_origin(&object, &service->origin);

    return object;
}


static json_t *
describe_routes(const cn_model_t *model)
{
    json_t  *object = json_object();
    json_t  *list = json_array();

    CN_ARRAY_EACH(&model->services, const cn_service_t, service) {
        cn_print_append(&list, describe_service(model, service));
    }

    cn_print_set(&object, "services", list);

    return object;
}


static void
not_ready(cn_page_t *page)
{
    page->status = 503;
    cn_page_printf(page, "there is no configuration yet\n");
}


void
cn_page_routes(cn_page_t *page)
{
    const cn_model_t  *model = page->view->model(page->view->owner);

    if (model == NULL) {
        not_ready(page);
        return;
    }

    cn_page_json(page, describe_routes(model));
}


/* The model as `cairn -T` prints it, under a key of its own. */
void
cn_page_config_dump(cn_page_t *page)
{
    const cn_model_t  *model = page->view->model(page->view->owner);
    const char        *text;

    if (model == NULL) {
        not_ready(page);
        return;
    }

    text = cn_model_print(model, page->pool);

    if (text == NULL) {
        page->failed = true;
        return;
    }

    page->content_type = CN_BYTES("application/json");
    cn_page_write(page, CN_BYTES("{\"model\":\n"));
    cn_page_write(page, cn_bytes_str(text));
    cn_page_write(page, CN_BYTES("}\n"));
}
