/* SPDX-License-Identifier: Apache-2.0 */

/*
 * update - other endpoints of a few clusters in a model that is made.  Pods come and go all the
 * time, and nothing else of a model depends on them: thousands of services are not read again.
 *
 * Only what is simple is done here.  One that several clusters have is not, and istiod makes none.
 * An assignment of a cluster whose newest version is refused, or
 * one that cannot be read itself, is for a whole building, which knows last good versions.
 */

#include "source/xds/xds.h"

#define CLUSTERS_MAX  64                /* more are a reason to read all */

typedef struct {
    cn_xds_resource_t  *resource;
    cn_cluster_t       *cluster;
    cn_array_t          before;         /* its endpoints */
} change_t;

typedef struct {
    change_t  list[CLUSTERS_MAX];
    size_t    count;
} changes_t;


/* They are ordered by name. */
static cn_cluster_t *
find_cluster(const cn_model_t *model, cn_bytes_t name)
{
    size_t  low = 0, high = model->clusters.count;

    while (low < high) {
        size_t         middle = low + (high - low) / 2;
        cn_cluster_t  *cluster = CN_ARRAY_AT(&model->clusters, cn_cluster_t, middle);
        int            order = cn_bytes_compare(cluster->name, name);

        if (order == 0) {
            return cluster;
        }

        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return NULL;
}


/* The cluster of that name, if its newest version serves; NULL: there is none. */
static cn_cluster_t *
owner_of(const cn_xds_state_t *state, const cn_model_t *model, cn_bytes_t name)
{
    const cn_xds_resource_t  *cluster = cn_xds_find(state, CN_XDS_CLUSTERS, name);

    if (cluster == NULL || !cluster->is_good
        || !cn_bytes_equal(cn_xds_endpoints_name(cluster->pushed), name))
    {
        return NULL;
    }

    return find_cluster(model, name);
}


/* That it was refused is told until a whole building finds it good. */
static bool
was_rejected(const cn_xds_state_t *state, cn_bytes_t name)
{
    CN_ARRAY_EACH(&state->rejected, const cn_xds_rejected_t, rejected) {
        if (rejected->type == CN_XDS_ENDPOINTS && cn_bytes_equal(rejected->name, name)) {
            return true;
        }
    }

    return false;
}


/* False: there are more than are worth it, or what is touched is not simple. */
static bool
find_changes(const cn_xds_state_t *state, const cn_model_t *model, changes_t *changes)
{
    cn_xds_resource_t  *resource;
    size_t              at = 0;

    changes->count = 0;

    while (cn_xds_next(state, CN_XDS_ENDPOINTS, &at, &resource)) {
        cn_cluster_t  *cluster;

        if (!resource->touched) {
            continue;
        }

        cluster = owner_of(state, model, resource->name);

        if (cluster == NULL || changes->count == CLUSTERS_MAX
            || was_rejected(state, resource->name))
        {
            return false;
        }

        changes->list[changes->count++] = (change_t) {
            .resource = resource, .cluster = cluster, .before = cluster->endpoints,
        };
    }

    return true;
}


/* As a building makes it.  NULL: memory. */
static cn_map_t *
map_workloads(const cn_model_t *model, cn_pool_t *pool)
{
    cn_map_t   *map = cn_map_create_in(pool);
    uintptr_t   position = 0;

    CN_ARRAY_EACH(&model->workloads, const cn_workload_t, workload) {
        position++;

        CN_ARRAY_EACH(&workload->addresses, const cn_table_ip_t, ip) {
            if (map == NULL
                || cn_map_set(map, cn_bytes(ip->ip, sizeof(ip->ip)), (void *) position) != CN_OK)
            {
                return NULL;
            }
        }
    }

    return map;
}


/* False: one cannot be used. */
static bool
read_changes(cn_xds_t *xds, const changes_t *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const change_t  *change = &changes->list[i];

        change->cluster->endpoints = CN_ARRAY_INIT(xds->pool, cn_endpoint_config_t);

        if (!cn_xds_read_endpoints(xds, change->resource->pushed, change->cluster)
            || xds->read.errors > 0)
        {
            return false;
        }
    }

    return !xds->model->account.over;
}


static cn_status_t
tell_positions(const cn_model_t *model, const changes_t *changes, cn_array_t *positions)
{
    for (size_t i = 0; i < changes->count; i++) {
        size_t  *slot = cn_array_add(positions);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = (size_t) (changes->list[i].cluster - (cn_cluster_t *) model->clusters.items);
    }

    return CN_OK;
}


static cn_status_t
update(cn_xds_t *xds, const changes_t *changes, cn_array_t *positions)
{
    cn_pool_t  *pool = cn_xds_borrow_pool(xds);
    bool        ok;

    if (pool == NULL) {
        return CN_AGAIN;
    }

    xds->workloads = map_workloads(xds->model, pool);
    ok = xds->workloads != NULL && read_changes(xds, changes)
         && tell_positions(xds->model, changes, positions) == CN_OK;
    cn_pool_destroy(pool);

    for (size_t i = 0; i < changes->count; i++) {
        const change_t  *change = &changes->list[i];

        if (ok) {
            cn_xds_set_good(xds->state, change->resource);
        } else {
            change->cluster->endpoints = change->before;
        }
    }

    return ok ? CN_OK : CN_AGAIN;
}


cn_status_t
cn_xds_update_endpoints(cn_xds_state_t *state, cn_report_t *report, cn_model_t *model,
    cn_array_t *positions)
{
    cn_xds_t     xds = {
        .state = state, .model = model, .pool = model->pool,
        .read = { .pool = model->pool, .report = report, .model = model },
    };
    changes_t    changes;
    cn_status_t  status;

    if (!state->changed || state->changed_more || state->shared
        || !find_changes(state, model, &changes))
    {
        return CN_AGAIN;
    }

    status = update(&xds, &changes, positions);

    if (status == CN_OK) {
        state->buildings++;
        cn_xds_set_built(state);
    }

    return status;
}
