/* SPDX-License-Identifier: Apache-2.0 */

/*
 * choose - which endpoint?  Least request draws two and takes the one with fewer active requests,
 * as all workers together count them (Envoy's choice_count 2); with unequal weights the draws are
 * weighted and the load is taken relative to the weight.
 */

#include "upstream/internal.h"

#include "base/random.h"

/* The endpoints of a cluster as they are now. */
typedef struct {
    const cn_block_t           *block;
    const cn_table_endpoint_t  *items;
    uint32_t                    count;
    uint64_t                    total_weight;       /* of the healthy ones */
    uint32_t                    healthy;
    bool                        weighted;           /* not all weights are equal */
} endpoints_t;


static bool
is_healthy(const cn_table_endpoint_t *endpoint)
{
    return (endpoint->flags & CN_ENDPOINT_HEALTHY) && !(endpoint->flags & CN_ENDPOINT_DRAINING);
}


static bool
load_endpoints(const cn_tables_t *tables, uint32_t cluster, endpoints_t *endpoints)
{
    const cn_table_endpoints_t  *table;

    *endpoints = (endpoints_t) { .block = cn_tables_endpoints(tables, cluster, NULL) };

    if (endpoints->block == NULL) {
        return false;
    }

    table = cn_block_root(endpoints->block);
    endpoints->items = CN_BLOCK_ITEMS(endpoints->block, table->endpoints, cn_table_endpoint_t);
    endpoints->count = table->endpoints.count;

    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (is_healthy(&endpoints->items[i])) {
            endpoints->healthy++;
            endpoints->total_weight += endpoints->items[i].weight;
            endpoints->weighted |= endpoints->items[i].weight != endpoints->items[0].weight;
        }
    }

    return endpoints->healthy > 0;
}


/* The nth healthy one. */
static const cn_table_endpoint_t *
nth_healthy(const endpoints_t *endpoints, uint32_t n)
{
    if (endpoints->healthy == endpoints->count) {
        return &endpoints->items[n];
    }

    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (is_healthy(&endpoints->items[i]) && n-- == 0) {
            return &endpoints->items[i];
        }
    }

    return &endpoints->items[0];
}


static const cn_table_endpoint_t *
weighted_at(const endpoints_t *endpoints, uint64_t point)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (!is_healthy(&endpoints->items[i])) {
            continue;
        }

        if (point < endpoints->items[i].weight) {
            return &endpoints->items[i];
        }

        point -= endpoints->items[i].weight;
    }

    return nth_healthy(endpoints, 0);
}


static const cn_table_endpoint_t *
draw(const endpoints_t *endpoints)
{
    if (endpoints->weighted) {
        return weighted_at(endpoints, cn_random_below(endpoints->total_weight));
    }

    return nth_healthy(endpoints, (uint32_t) cn_random_below(endpoints->healthy));
}


/*
 * Whether a carries less than b for its weight; one more request counted, so that an idle light one
 * does not win all.
 */
static bool
less_loaded(const cn_upstream_t *upstream, const cn_table_endpoint_t *a,
    const cn_table_endpoint_t *b)
{
    uint64_t  load_a = (uint64_t) cn_slab_active(upstream->env.slab, a->cell) + 1;
    uint64_t  load_b = (uint64_t) cn_slab_active(upstream->env.slab, b->cell) + 1;

    return load_a * b->weight < load_b * a->weight;
}


static const cn_table_endpoint_t *
draw_least_request(const cn_upstream_t *upstream, const endpoints_t *endpoints)
{
    const cn_table_endpoint_t  *first = draw(endpoints);
    const cn_table_endpoint_t  *second = first;

    for (unsigned i = 0; i < 4 && second == first && endpoints->healthy > 1; i++) {
        second = draw(endpoints);
    }

    return less_loaded(upstream, second, first) ? second : first;
}


/* Each worker goes round on its own, from a random start, so that workers do not walk in step. */
static const cn_table_endpoint_t *
draw_round_robin(cn_upstream_t *upstream, uint32_t cluster, const endpoints_t *endpoints)
{
    cn_bytes_t  key = cn_bytes(&cluster, sizeof(cluster));
    uint64_t   *next = cn_map_get(upstream->rounds, key);
    uint64_t    at;

    if (next == NULL) {
        next = cn_alloc(sizeof(*next));

        if (next == NULL || cn_map_set(upstream->rounds, key, next) != CN_OK) {
            cn_free(next);
            return draw(endpoints);
        }

        *next = cn_random() >> 1;
    }

    at = (*next)++;

    if (endpoints->weighted) {
        /* a golden-ratio stride visits the weights evenly without runs of one endpoint */
        return weighted_at(endpoints, (at * 0x9e3779b97f4a7c15u >> 32) % endpoints->total_weight);
    }

    return nth_healthy(endpoints, (uint32_t) (at % endpoints->healthy));
}


static const cn_table_endpoint_t *
draw_by_policy(cn_upstream_t *upstream, const cn_table_cluster_t *cluster,
    const endpoints_t *endpoints)
{
    switch ((cn_lb_policy_t) cluster->lb) {
    case CN_LB_ROUND_ROBIN:
        return draw_round_robin(upstream, cluster->id, endpoints);
    case CN_LB_RANDOM:
        return draw(endpoints);
    case CN_LB_LEAST_REQUEST:
    default:
        return draw_least_request(upstream, endpoints);
    }
}


static bool
is_avoided(const cn_table_endpoint_t *endpoint, const cn_address_t *avoid, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (avoid[i].port == endpoint->port && memcmp(avoid[i].ip, endpoint->ip, 16) == 0) {
            return true;
        }
    }

    return false;
}


static void
copy_text(char *out, size_t size, cn_bytes_t text)
{
    size_t  len = text.len < size - 1 ? text.len : size - 1;

    if (len > 0) {
        memcpy(out, text.ptr, len);
    }

    out[len] = '\0';
}


static void
fill_host(cn_host_t *host, const cn_block_t *block, const cn_table_endpoint_t *endpoint,
    const cn_table_cluster_t *cluster)
{
    *host = (cn_host_t) {
        .cluster = cluster->id,
        .hbone_port = (endpoint->flags & CN_ENDPOINT_HBONE) ? endpoint->hbone_port : 0,
        .http2 = cluster->http2 != 0,
        .client_protocol = cluster->client_protocol != 0,
        .cell = endpoint->cell,
        .cluster_cell = cluster->cell,
        .connect_timeout_ms = cluster->connect_timeout_ms,
        .idle_timeout_ms = cluster->idle_timeout_ms,
    };

    memcpy(host->address.ip, endpoint->ip, 16);
    host->address.port = endpoint->port;
    copy_text(host->principal, sizeof(host->principal), cn_block_bytes(block, endpoint->principal));
    copy_text(host->uid, sizeof(host->uid), cn_block_bytes(block, endpoint->uid));
}


cn_choice_t
cn_upstream_choose(cn_upstream_t *upstream, uint32_t id, const cn_address_t *avoid,
    size_t avoid_count, uint32_t attempts, cn_host_t *host)
{
    const cn_block_t           *block = cn_tables_cluster(upstream->env.tables, id, NULL);
    const cn_table_cluster_t   *cluster;
    const cn_table_endpoint_t  *endpoint;
    endpoints_t                 endpoints;

    if (id == 0 || block == NULL) {
        return CN_CHOICE_NO_CLUSTER;
    }

    cluster = cn_block_root(block);

    if (cluster->max_requests != UINT32_MAX && cluster->cell != CN_CELL_NONE
        && cn_slab_active(upstream->env.slab, cluster->cell) >= cluster->max_requests)
    {
        return CN_CHOICE_OVERFLOW;
    }

    if (!load_endpoints(upstream->env.tables, id, &endpoints)) {
        return CN_CHOICE_NO_HEALTHY_HOST;
    }

    endpoint = draw_by_policy(upstream, cluster, &endpoints);

    for (uint32_t i = 0; i < attempts && is_avoided(endpoint, avoid, avoid_count); i++) {
        endpoint = draw_by_policy(upstream, cluster, &endpoints);
    }

    fill_host(host, endpoints.block, endpoint, cluster);
    cn_slab_active_add(upstream->env.slab, upstream->env.worker, host->cell, 1);

    if (host->cluster_cell != CN_CELL_NONE) {
        cn_slab_active_add(upstream->env.slab, upstream->env.worker, host->cluster_cell, 1);
    }

    return CN_CHOICE_OK;
}


void
cn_upstream_release(cn_upstream_t *upstream, const cn_host_t *host)
{
    cn_slab_active_add(upstream->env.slab, upstream->env.worker, host->cell, -1);

    if (host->cluster_cell != CN_CELL_NONE) {
        cn_slab_active_add(upstream->env.slab, upstream->env.worker, host->cluster_cell, -1);
    }
}
