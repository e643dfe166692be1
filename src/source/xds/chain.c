/* SPDX-License-Identifier: Apache-2.0 */

/*
 * chain - an HttpConnectionManager as a chain.  Filters stand in istiod's order; modules that
 * istiod does not know stand where the list of modules has them.
 */

#include "source/xds/xds.h"

/* cn_path_level_t of http/normalize.h, by what istiod sets for each */
enum { LEVEL_NONE, LEVEL_BASE, LEVEL_MERGE, LEVEL_DECODE_AND_MERGE };


static size_t
module_place(const cn_xds_t *xds, const cn_module_config_t *module)
{
    size_t  i = 0;

    while (xds->config->modules[i] != NULL && xds->config->modules[i] != module) {
        i++;
    }

    return i;
}


static void
add_filter(cn_xds_t *xds, const cn_module_config_t *module, void *config,
    cn_chain_config_t *chain)
{
    cn_filter_config_t  *slot = cn_xds_add(xds, &chain->filters);

    if (slot != NULL) {
        *slot = (cn_filter_config_t) {
            .module = module, .name = cn_bytes_str(module->filter_name), .config = config,
        };
    }
}


/* A module that no source of xDS names: in every chain, or where its own answer puts it. */
static void
add_own(cn_xds_t *xds, const cn_module_config_t *module, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    void                *memo = NULL;
    cn_chain_question_t  question = { .service = service, .chain = chain, .memo = &memo };
    void                *config = NULL;

    if (module->type_urls != NULL || module->kinds != NULL) {
        return;
    }

    if (module->read_chain != NULL
        && module->read_chain(&xds->read, &question, &config) != CN_OK)
    {
        cn_read_error(&xds->read, NULL, module->filter_name, "cannot be made");
        return;
    }

    if (config != NULL
        || (chain->protocol == CN_PROTOCOL_TCP ? module->always_raw : module->always))
    {
        add_filter(xds, module, config, chain);
    }
}


/* Those that are listed before `before` and were not put yet. */
static void
add_own_before(cn_xds_t *xds, const cn_service_t *service, size_t *next, size_t before,
    cn_chain_config_t *chain)
{
    for (; *next < before && xds->config->modules[*next] != NULL; (*next)++) {
        add_own(xds, xds->config->modules[*next], service, chain);
    }
}


static void
read_filters(cn_xds_t *xds, Cairn__HttpFilter *const *items, size_t count,
    const cn_service_t *service, cn_chain_config_t *chain)
{
    size_t  next = 0;

    for (size_t i = 0; i < count; i++) {
        const Cairn__Any          *any = items[i]->typed_config;
        const cn_module_config_t  *module;
        void                      *config = NULL;
        bool                       skipped = false;

        if (any == NULL) {
            cn_read_error(&xds->read, NULL, "http_filters", "a filter has no configuration");
            continue;
        }

        module = cn_xds_module(xds, cn_decoded(any->type_url), cn_decoded(any->value), &skipped);

        if (skipped) {
            continue;
        }

        if (module == NULL || module->read_xds == NULL) {
            cn_read_error(&xds->read, NULL, "http_filters", "%.*s is not implemented",
                          CN_BYTES_ARG(cn_decoded(any->type_url)));
            continue;
        }

        add_own_before(xds, service, &next, module_place(xds, module), chain);

        if (module->read_xds(&xds->read, cn_decoded(any->type_url), cn_decoded(any->value), false,
                             &config) == CN_OK
            && (config != NULL || module->always))
        {
            add_filter(xds, module, config, chain);
        }
    }
}


static bool
is_true(const Cairn__BoolValue *value)
{
    return value != NULL && value->has_value && value->value;
}


static void
read_path_level(cn_xds_t *xds, const Cairn__HttpConnectionManager *message,
    cn_chain_config_t *chain)
{
    int32_t  slashes = message->has_path_with_escaped_slashes_action
                       ? message->path_with_escaped_slashes_action : 0;
    bool     merge = message->has_merge_slashes && message->merge_slashes;
    bool     decode = slashes == CAIRN__ESCAPED_SLASHES__UNESCAPE_AND_FORWARD;

    if (slashes != CAIRN__ESCAPED_SLASHES__KEEP_UNCHANGED && slashes != 0 && !decode) {
        cn_read_error(&xds->read, NULL, "path_with_escaped_slashes_action",
                      "%d is not implemented", slashes);
    }

    if (!is_true(message->normalize_path)) {
        chain->path_level = LEVEL_NONE;

        if (merge || decode) {
            cn_read_error(&xds->read, NULL, "normalize_path", "off beside merge_slashes is not "
                          "implemented");
        }
        return;
    }

    chain->path_level = decode ? LEVEL_DECODE_AND_MERGE : merge ? LEVEL_MERGE : LEVEL_BASE;

    if (decode && !merge) {
        cn_read_error(&xds->read, NULL, "merge_slashes", "off beside unescaping is not "
                      "implemented");
    }
}


static void
read_settings(cn_xds_t *xds, const Cairn__HttpConnectionManager *message,
    cn_chain_config_t *chain)
{
    if (is_true(message->use_remote_address)) {
        cn_read_error(&xds->read, NULL, "use_remote_address", "is not implemented");
    }

    if (message->stream_idle_timeout == NULL
        || cn_xds_duration(xds, message->stream_idle_timeout, "stream_idle_timeout") != 0)
    {
        cn_read_error(&xds->read, NULL, "stream_idle_timeout", "is not implemented");
    }

    for (size_t i = 0; i < message->n_upgrade_configs; i++) {
        if (!cn_bytes_equal(cn_decoded(message->upgrade_configs[i]->upgrade_type),
                            CN_BYTES("websocket")))
        {
            cn_read_error(&xds->read, NULL, "upgrade_configs", "other than websocket is not "
                          "implemented");
        }
    }

    chain->http_10 = message->http_protocol_options != NULL
        && message->http_protocol_options->has_accept_http_10
        && message->http_protocol_options->accept_http_10;
    chain->http2_upstream = message->has_http2_protocol_options;
    read_path_level(xds, message, chain);
}


static void
read_routes(cn_xds_t *xds, const Cairn__RouteConfiguration *message, cn_chain_config_t *chain)
{
    const Cairn__VirtualHost  *host;

    if (message == NULL || message->n_virtual_hosts != 1
        || message->virtual_hosts[0]->n_domains != 1
        || !cn_bytes_equal(cn_decoded(message->virtual_hosts[0]->domains[0]), CN_BYTES("*")))
    {
        cn_read_error(&xds->read, NULL, "route_config", "other than one virtual host for all "
                      "domains is not implemented");
        return;
    }

    host = message->virtual_hosts[0];

    for (size_t i = 0; i < host->n_routes; i++) {
        cn_route_t  *route = cn_xds_add(xds, &chain->routes);

        if (route == NULL) {
            return;
        }

        cn_xds_read_route(xds, host->routes[i],
                          cn_read_path(&xds->read, "route_config.routes[%zu]", i), route);
    }
}


/*
 * The routes of a message that was decoded into a borrowed pool, in the model's: routes refer to
 * their texts.  What is wrong with them was told.
 */
static const Cairn__RouteConfiguration *
keep_routes(cn_xds_t *xds, const Cairn__RouteConfiguration *message, cn_pool_t *borrowed)
{
    size_t                            errors = xds->read.errors;
    size_t                            size;
    cn_report_t                      *loud;
    const Cairn__RouteConfiguration  *kept;
    uint8_t                          *octets;

    if (message == NULL) {
        return NULL;
    }

    size = cairn__route_configuration__get_packed_size(message);
    octets = cn_pool_octets(borrowed, size > 0 ? size : 1);

    if (octets == NULL) {
        cn_read_no_memory(&xds->read);
        return NULL;
    }

    loud = cn_xds_hush(xds);
    kept = cn_decode_loosely(&xds->read, &cairn__route_configuration__descriptor,
                             cn_bytes(octets, cairn__route_configuration__pack(message, octets)),
                             "route_config");
    xds->read.report = loud;

    if (kept != NULL) {
        xds->read.errors = errors;
    }

    return kept;
}


static void
read_manager(cn_xds_t *xds, cn_bytes_t value, const cn_service_t *service,
    cn_chain_config_t *chain, cn_pool_t *borrowed)
{
    const Cairn__HttpConnectionManager  *message;

    xds->read.pool = borrowed;
    message = cn_decode(&xds->read, &cairn__http_connection_manager__descriptor, value,
                        "http_connection_manager");
    xds->read.pool = xds->pool;

    if (message == NULL) {
        return;
    }

    read_settings(xds, message, chain);
    read_filters(xds, message->http_filters, message->n_http_filters, service, chain);
    read_routes(xds, keep_routes(xds, message->route_config, borrowed), chain);
}


void
cn_xds_read_http(cn_xds_t *xds, cn_bytes_t value, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    cn_pool_t  *borrowed = cn_xds_borrow_pool(xds);

    if (borrowed == NULL) {
        cn_read_no_memory(&xds->read);
        return;
    }

    read_manager(xds, value, service, chain, borrowed);
    cn_pool_destroy(borrowed);
}


void
cn_xds_read_network_filter(cn_xds_t *xds, cn_bytes_t type_url, cn_bytes_t value,
    cn_chain_config_t *chain)
{
    bool                       skipped = false;
    const cn_module_config_t  *module = cn_xds_module(xds, type_url, value, &skipped);
    void                      *config = NULL;

    if (skipped) {
        return;
    }

    if (module == NULL || module->read_xds == NULL) {
        cn_read_error(&xds->read, NULL, "filters", "%.*s is not implemented",
                      CN_BYTES_ARG(type_url));
        return;
    }

    if (module->read_xds(&xds->read, type_url, value, false, &config) == CN_OK
        && (config != NULL || module->always_raw))
    {
        add_filter(xds, module, config, chain);
    }
}


/* As modules are listed, those of one module as they came: our own have no place among istiod's. */
static void
order_filters(const cn_xds_t *xds, cn_chain_config_t *chain)
{
    cn_filter_config_t  *items = chain->filters.items;

    for (size_t i = 1; i < chain->filters.count; i++) {
        cn_filter_config_t  filter = items[i];
        size_t              place = module_place(xds, filter.module);
        size_t              at = i;

        while (at > 0 && module_place(xds, items[at - 1].module) > place) {
            items[at] = items[at - 1];
            at--;
        }

        items[at] = filter;
    }
}


void
cn_xds_finish_tcp(cn_xds_t *xds, const cn_service_t *service, cn_chain_config_t *chain)
{
    size_t  next = 0;

    add_own_before(xds, service, &next, SIZE_MAX, chain);
    order_filters(xds, chain);
}
