/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model - an empty model and what istiod puts where nothing is said (istiod 1.32 with its default
 * mesh configuration).
 */

#include "model/module_config.h"

#define POOL_FIRST        4096
/* CN_PATH_BASE of http/normalize.h, which this room may not include */
#define PATH_LEVEL_BASE   1
#define MESH_CONNECT_MS   10000         /* MeshConfig.connectTimeout */
#define MESH_IDLE_MS      3600000       /* MeshConfig.hboneIdleTimeout */


cn_model_t *
cn_model_create(void)
{
    cn_model_t  *model = cn_alloc_zero(sizeof(*model));
    cn_pool_t   *pool;

    if (model == NULL) {
        return NULL;
    }

    model->account.limit = CN_MODEL_MEMORY_MAX;
    pool = cn_pool_create(POOL_FIRST, &model->account);

    if (pool == NULL) {
        cn_free(model);
        return NULL;
    }

    *model = (cn_model_t) {
        .account = model->account,
        .pool = pool,
        .cluster_domain = CN_BYTES("cluster.local"),
        .cluster_id = CN_BYTES("Kubernetes"),
        .root_namespace = CN_BYTES("istio-system"),
        .trust_domains = CN_ARRAY_INIT(pool, cn_bytes_t),
        .pins = CN_ARRAY_INIT(pool, cn_pin_t),
        .services = CN_ARRAY_INIT(pool, cn_service_t),
        .clusters = CN_ARRAY_INIT(pool, cn_cluster_t),
        .workloads = CN_ARRAY_INIT(pool, cn_workload_t),
    };

    return model;
}


void
cn_model_destroy(cn_model_t *model)
{
    if (model != NULL) {
        cn_pool_destroy(model->pool);
        cn_free(model);
    }
}


cn_status_t
cn_model_check_memory(const cn_model_t *model, cn_report_t *report)
{
    if (!model->account.over) {
        return CN_OK;
    }

    cn_report_add(report, CN_REPORT_ERROR, NULL, "", "", "the configuration takes more than "
                  "%zu MiB of memory", model->account.limit >> 20);

    return CN_ERR_LIMIT;
}


void
cn_route_defaults(cn_route_t *route, cn_pool_t *pool)
{
    *route = (cn_route_t) {
        .path_kind = CN_PATH_MATCH_PREFIX,
        .path = CN_BYTES("/"),
        .headers = CN_ARRAY_INIT(pool, cn_header_match_t),
        .query = CN_ARRAY_INIT(pool, cn_header_match_t),
        .action = CN_ACTION_FORWARD,
        .destinations = CN_ARRAY_INIT(pool, cn_destination_t),
        .no_cluster_status = 503,
        .header_ops = CN_ARRAY_INIT(pool, cn_header_op_t),
        .filters = CN_ARRAY_INIT(pool, cn_filter_config_t),
        .retry = {
            .on = CN_RETRY_CONNECT_FAILURE | CN_RETRY_REFUSED_STREAM | CN_RETRY_UNAVAILABLE
                  | CN_RETRY_CANCELLED | CN_RETRY_RETRIABLE_STATUS_CODES,
            .tries = 2,
            .base_backoff_ms = 25,
            .max_backoff_ms = 250,
            .host_attempts = 5,
            .statuses = CN_ARRAY_INIT(pool, uint32_t),
        },
        .origin = { .file = "", .resource = "" },
    };
}


void
cn_cluster_defaults(cn_cluster_t *cluster, cn_pool_t *pool)
{
    *cluster = (cn_cluster_t) {
        .lb = CN_LB_LEAST_REQUEST,
        .connect_timeout_ms = MESH_CONNECT_MS,
        .idle_timeout_ms = MESH_IDLE_MS,
        .max_connections = UINT32_MAX,
        .max_pending = UINT32_MAX,
        .max_requests = UINT32_MAX,
        .max_retries = UINT32_MAX,
        .endpoints = CN_ARRAY_INIT(pool, cn_endpoint_config_t),
        .origin = { .file = "", .resource = "" },
    };
}


void
cn_chain_defaults(cn_chain_config_t *chain, cn_pool_t *pool)
{
    *chain = (cn_chain_config_t) {
        .protocol = CN_PROTOCOL_HTTP,
        .path_level = PATH_LEVEL_BASE,
        .filters = CN_ARRAY_INIT(pool, cn_filter_config_t),
        .routes = CN_ARRAY_INIT(pool, cn_route_t),
    };
}


static int
compare_ops(const void *a, const void *b)
{
    const cn_header_op_t  *left = a;
    const cn_header_op_t  *right = b;

    if (left->on_response != right->on_response) {
        return left->on_response - right->on_response;
    }

    return (left->op != CN_HEADER_OP_REMOVE) - (right->op != CN_HEADER_OP_REMOVE);
}


cn_status_t
cn_header_ops_order(cn_array_t *ops)
{
    return cn_array_sort(ops, compare_ops);
}


static int
compare_services(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_service_t *) a)->host, ((const cn_service_t *) b)->host);
}


static int
compare_clusters(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_cluster_t *) a)->name, ((const cn_cluster_t *) b)->name);
}


static int
compare_workloads(const void *a, const void *b)
{
    return cn_bytes_compare(((const cn_workload_t *) a)->uid, ((const cn_workload_t *) b)->uid);
}


cn_status_t
cn_model_sort(cn_model_t *model)
{
    if (cn_array_sort(&model->services, compare_services) != CN_OK
        || cn_array_sort(&model->clusters, compare_clusters) != CN_OK
        || cn_array_sort(&model->workloads, compare_workloads) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}
