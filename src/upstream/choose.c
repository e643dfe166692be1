/* SPDX-License-Identifier: Apache-2.0 */

/*
 * choose - which endpoint?
 *
 * Least request draws two and takes the one with fewer active requests, as all workers together
 * count them (Envoy's choice_count 2).  When weights differ, each endpoint gets a share of what
 * comes, its weight over its active requests and one (Envoy's active_request_bias 1.0): two draws
 * would either forget the weights or count them twice.
 */

#include "upstream/internal.h"

#include "base/random.h"

#define CANDIDATES   32                 /* whose active requests are looked at, of weighted ones */
#define GOLDEN       0x9e3779b97f4a7c15u    /* 2^64 over the golden ratio */
#define SHARE_SHIFT  20                 /* of a share's fixed point */

/* The endpoints of a cluster as they are now; those that may be chosen are the first ones. */
typedef struct {
    const cn_block_t           *block;
    const cn_table_endpoint_t  *items;
    uint32_t                    usable;
    uint32_t                    total_weight;
    uint32_t                    unit;           /* divides all weights */
    bool                        weighted;       /* not all weights are equal */
} endpoints_t;


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
    endpoints->usable = table->usable;
    endpoints->total_weight = table->total_weight;
    endpoints->unit = table->weight_unit;
    endpoints->weighted = (uint64_t) table->weight_unit * table->usable != table->total_weight;

    return endpoints->usable > 0;
}


/* Whose weight a point below total_weight lies in. */
static const cn_table_endpoint_t *
weighted_at(const endpoints_t *endpoints, uint64_t point)
{
    uint32_t  low = 0, high = endpoints->usable;

    while (high - low > 1) {
        uint32_t  middle = low + (high - low) / 2;

        if (endpoints->items[middle].weight_before <= point) {
            low = middle;

        } else {
            high = middle;
        }
    }

    return &endpoints->items[low];
}


static const cn_table_endpoint_t *
draw(const endpoints_t *endpoints)
{
    if (endpoints->weighted) {
        return weighted_at(endpoints, cn_random_below(endpoints->total_weight));
    }

    return &endpoints->items[cn_random_below(endpoints->usable)];
}


/* Each worker goes round on its own, from a random start, so that workers do not walk in step. */
static uint64_t
next_turn(cn_upstream_t *upstream, uint32_t cluster)
{
    cn_bytes_t  key = cn_bytes(&cluster, sizeof(cluster));
    uint64_t   *next = cn_map_get(upstream->rounds, key);

    if (next == NULL) {
        next = cn_alloc(sizeof(*next));

        if (next == NULL || cn_map_set(upstream->rounds, key, next) != CN_OK) {
            cn_free(next);
            return cn_random() >> 1;
        }

        *next = cn_random() >> 1;
    }

    return (*next)++;
}


/* ---- least request ---- */

typedef struct {
    const cn_table_endpoint_t  *items[CANDIDATES];
    uint64_t                    shares[CANDIDATES];
    uint64_t                    sum;
    uint32_t                    count;
} candidates_t;


/* weight: what is not already in how the endpoint was found. */
static void
add_candidate(const cn_upstream_t *upstream, const cn_table_endpoint_t *endpoint, uint64_t weight,
    candidates_t *found)
{
    uint64_t  active = cn_slab_active(upstream->env.slab, endpoint->cell);
    uint64_t  share = (weight << SHARE_SHIFT) / (active + 1);

    found->items[found->count] = endpoint;
    found->shares[found->count++] = share;
    found->sum += share;
}


/* Of many endpoints a sample: at even distances along their weights, from a random point. */
static void
add_sample(const cn_upstream_t *upstream, const endpoints_t *endpoints, candidates_t *found)
{
    uint64_t  step = (uint64_t) endpoints->total_weight / CANDIDATES + 1;

    for (uint64_t at = cn_random_below(step);
         at < endpoints->total_weight && found->count < CANDIDATES; at += step)
    {
        add_candidate(upstream, weighted_at(endpoints, at), 1, found);
    }
}


static const cn_table_endpoint_t *
draw_by_share(cn_upstream_t *upstream, uint32_t cluster, const endpoints_t *endpoints)
{
    candidates_t  found = { .count = 0 };
    uint64_t      point;

    if (endpoints->usable > CANDIDATES) {
        add_sample(upstream, endpoints, &found);

    } else {
        for (uint32_t i = 0; i < endpoints->usable; i++) {
            add_candidate(upstream, &endpoints->items[i], endpoints->items[i].weight, &found);
        }
    }

    /* evenly spread from one request to the next, not thrown by dice */
    point = (uint64_t) ((unsigned __int128) (next_turn(upstream, cluster) * GOLDEN) * found.sum
                        >> 64);

    for (uint32_t i = 0; i < found.count; i++) {
        if (point < found.shares[i]) {
            return found.items[i];
        }

        point -= found.shares[i];
    }

    return draw(endpoints);                 /* all shares are too small to count */
}


static const cn_table_endpoint_t *
draw_least_request(cn_upstream_t *upstream, uint32_t cluster, const endpoints_t *endpoints)
{
    const cn_table_endpoint_t  *first, *second;

    if (endpoints->weighted) {
        return draw_by_share(upstream, cluster, endpoints);
    }

    first = second = draw(endpoints);

    for (unsigned i = 0; i < 4 && second == first && endpoints->usable > 1; i++) {
        second = draw(endpoints);
    }

    return cn_slab_active(upstream->env.slab, second->cell)
           < cn_slab_active(upstream->env.slab, first->cell) ? second : first;
}


/* ---- round robin ---- */

/*
 * Every weight's worth once in as many turns as all weights have together, and evenly spread: the
 * points 0..total - 1 are visited by strides near the golden section, which share no divisor with
 * total.
 */
static const cn_table_endpoint_t *
weighted_turn(const endpoints_t *endpoints, uint64_t turn)
{
    uint64_t  total = endpoints->total_weight / endpoints->unit;
    uint64_t  stride = (uint64_t) ((unsigned __int128) total * GOLDEN >> 64) + 1;
    uint64_t  point;

    while (cn_common_divisor(total, stride) != 1) {
        stride++;
    }

    point = turn % total * stride % total;  /* a table's weights have a sum of 32 bits */

    return weighted_at(endpoints, point * endpoints->unit);
}


static const cn_table_endpoint_t *
draw_round_robin(cn_upstream_t *upstream, uint32_t cluster, const endpoints_t *endpoints)
{
    uint64_t  turn = next_turn(upstream, cluster);

    return endpoints->weighted ? weighted_turn(endpoints, turn)
                               : &endpoints->items[turn % endpoints->usable];
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
        return draw_least_request(upstream, cluster->id, endpoints);
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
