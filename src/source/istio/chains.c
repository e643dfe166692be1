/* SPDX-License-Identifier: Apache-2.0 */

/* chains - a port of a service as a chain: its filters in the modules' order, its routes. */

#include "source/istio/build.h"


static cn_status_t
add_filter(cn_array_t *filters, const cn_module_config_t *module, void *config)
{
    cn_filter_config_t  *slot = cn_array_add(filters);

    if (slot == NULL) {
        return CN_ERR_MEMORY;
    }

    *slot = (cn_filter_config_t) { .module = module, .name = cn_bytes_str(module->filter_name),
        .config = config };

    return CN_OK;
}


static int
compare_loaded(const void *a, const void *b)
{
    int64_t  left = (*(const cn_loaded_ref_t *) a)->resource.created;
    int64_t  right = (*(const cn_loaded_ref_t *) b)->resource.created;

    return (left > right) - (left < right);
}


static cn_status_t
collect(const cn_istio_t *istio, const cn_module_config_t *module, cn_istio_resources_t *out)
{
    cn_array_t  list = CN_ARRAY_INIT(istio->pool, cn_loaded_ref_t);
    size_t      size = 0;

    CN_ARRAY_EACH(&istio->loaded, const cn_loaded_ref_t, loaded) {
        cn_loaded_ref_t  *slot;

        if ((*loaded)->module != module) {
            continue;
        }

        slot = cn_array_add(&list);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = *loaded;
    }

    *out = (cn_istio_resources_t) { .count = list.count };

    if (list.count == 0) {
        return CN_OK;
    }

    if (cn_array_sort(&list, compare_loaded) != CN_OK
        || cn_size_mul(list.count, sizeof(void *), &size) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    out->resources = cn_pool_alloc(istio->pool, size);
    out->parsed = cn_pool_alloc(istio->pool, size);
    out->broken = cn_pool_alloc(istio->pool, size);

    if (out->resources == NULL || out->parsed == NULL || out->broken == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < list.count; i++) {
        const cn_loaded_t  *loaded = *CN_ARRAY_AT(&list, cn_loaded_ref_t, i);

        out->resources[i] = &loaded->resource;
        out->parsed[i] = loaded->parsed;
        out->broken[i] = loaded->broken;
    }

    return CN_OK;
}


/*
 * The modules in the order in which they stand in a chain (as they are listed), with their
 * resources.
 */
cn_status_t
cn_istio_place_modules(const cn_istio_t *istio, cn_array_t *placed)
{
    for (const cn_module_config_t *const *module = istio->config->modules; *module != NULL;
         module++) {
        cn_istio_placed_t  *slot = cn_array_add(placed);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        slot->module = *module;

        if (collect(istio, *module, &slot->resources) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static cn_status_t
add_module(cn_istio_t *istio, cn_istio_placed_t *placed, const cn_service_t *service,
    cn_chain_config_t *chain)
{
    const cn_module_config_t  *module = placed->module;
    cn_chain_question_t        question = {
        .service = service,
        .chain = chain,
        .resources = placed->resources.resources,
        .parsed = placed->resources.parsed,
        .broken = placed->resources.broken,
        .resource_count = placed->resources.count,
        .memo = &placed->memo,
        .service_labels_owner = &istio->model->waypoint,
    };
    cn_read_t                  read = { .pool = istio->pool, .report = istio->report,
        .model = istio->model };

    for ( ;; ) {
        void         *config = NULL;
        cn_status_t   status = module->read_chain == NULL ? CN_OK
            : module->read_chain(&read, &question, &config);

        if (status != CN_OK) {
            if (status == CN_ERR_MEMORY) {
                return status;
            }

            /* reported; a filter that cannot be made must not be missing */
            chain->refused = true;
            return CN_OK;
        }

        if (config == NULL) {
            break;
        }

        if (add_filter(&chain->filters, module, config) != CN_OK) {
            return CN_ERR_MEMORY;
        }

        question.ordinal++;
    }

    if (question.ordinal == 0
        && (chain->protocol == CN_PROTOCOL_TCP ? module->always_raw : module->always))
    {
        return add_filter(&chain->filters, module, NULL);
    }

    return CN_OK;
}


cn_status_t
cn_istio_add_chain(cn_istio_builder_t *builder, const cn_array_t *placed, cn_kube_service_t *from,
    const cn_kube_port_t *port,
    const cn_service_t *service, cn_chain_config_t *chain)
{
    cn_istio_t   *istio = builder->istio;
    bool          http = port->protocol != CN_PROTOCOL_TCP;
    cn_status_t   status = CN_OK;

    cn_chain_defaults(chain, istio->pool);
    chain->port = port->port;
    chain->protocol = port->protocol;
    chain->http2_upstream = port->http2;
    chain->http_10 = http && istio->model->http_10;
    chain->refused = from->refused;
    chain->name = cn_istio_cluster_name(istio, from, port->port, http ? "http" : "tcp",
                                        CN_BYTES_NONE, from->host);

    if (port->protocol != CN_PROTOCOL_HTTP) {
        chain->tcp_cluster = cn_istio_cluster_name(istio, from, port->port, "tcp", CN_BYTES_NONE,
                                                   from->host);
        chain->tcp_idle_timeout_ms = cn_istio_pool_policy(from, NULL)->tcp_idle_timeout_ms;
    }

    if (chain->name.len == 0 || (chain->tcp_cluster.len == 0
                                 && port->protocol != CN_PROTOCOL_HTTP)) {
        return CN_ERR_MEMORY;
    }

    CN_ARRAY_EACH(placed, cn_istio_placed_t, item) {
        if (status == CN_OK) {
            status = add_module(istio, item, service, chain);
        }
    }

    if (status == CN_OK && http) {
        status = cn_istio_build_routes(istio, from, port, &chain->routes);
    }

    return status;
}
