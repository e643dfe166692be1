/* SPDX-License-Identifier: Apache-2.0 */

/* state - resources by name, with a limit for all that is held of them. */

#include "source/xds/state.h"

#include "source/xds/wire.h"
#include "source/xds/xds.h"

#define TOTAL_MAX     ((size_t) 512 * 1024 * 1024)
#define RESOURCE_MAX  ((size_t) 64 * 1024 * 1024)
#define REJECTED_MAX  1000
#define ENTRY_SIZE    256               /* charged for a resource beside its octets */

enum { EDS = 3 };                       /* Cluster.type */

typedef struct {
    const char  *kind;
    const char  *url;
    uint32_t     name_field;
} type_t;

static const type_t  types[CN_XDS_TYPES] = {
    [CN_XDS_CLUSTERS] = { "Cluster", CN_XDS_TYPE("envoy.config.cluster.v3.Cluster"), 1 },
    [CN_XDS_ENDPOINTS] = { "ClusterLoadAssignment",
                           CN_XDS_TYPE("envoy.config.endpoint.v3.ClusterLoadAssignment"), 1 },
    [CN_XDS_LISTENERS] = { "Listener", CN_XDS_TYPE("envoy.config.listener.v3.Listener"), 1 },
    [CN_XDS_WORKLOADS] = { "Workload", CN_XDS_TYPE("istio.workload.Workload"), 20 },
};


const char *
cn_xds_kind(cn_xds_type_t type)
{
    return types[type].kind;
}


const char *
cn_xds_type_url(cn_xds_type_t type)
{
    return types[type].url;
}


bool
cn_xds_type_of(cn_bytes_t type_url, cn_xds_type_t *type)
{
    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        if (cn_bytes_equal(type_url, cn_bytes_str(types[i].url))) {
            *type = (cn_xds_type_t) i;
            return true;
        }
    }

    return false;
}


/* ---- octets ---- */

static bool
has_room(const cn_xds_state_t *state, size_t len)
{
    return len <= state->total_max && state->used <= state->total_max - len;
}


/* A copy that is charged. */
static cn_status_t
hold(cn_xds_state_t *state, cn_bytes_t octets, cn_bytes_t *held)
{
    uint8_t  *copy;

    *held = CN_BYTES_NONE;

    if (octets.len == 0) {
        return CN_OK;
    }

    if (!has_room(state, octets.len)) {
        return CN_ERR_LIMIT;
    }

    copy = cn_alloc(octets.len);

    if (copy == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(copy, octets.ptr, octets.len);
    state->used += octets.len;
    *held = cn_bytes(copy, octets.len);

    return CN_OK;
}


static void
let_go(cn_xds_state_t *state, cn_bytes_t *held)
{
    state->used -= held->len;
    cn_free((void *) (uintptr_t) held->ptr);
    *held = CN_BYTES_NONE;
}


/* ---- making and ending ---- */

static void
destroy_resource(cn_xds_state_t *state, cn_xds_resource_t *resource)
{
    let_go(state, &resource->name);
    let_go(state, &resource->version);
    let_go(state, &resource->pushed);
    let_go(state, &resource->good);
    state->used -= ENTRY_SIZE;
    cn_free(resource);
}


static void
destroy_unit(cn_xds_state_t *state, cn_xds_unit_t *unit)
{
    let_go(state, &unit->octets);
    state->used -= ENTRY_SIZE;
    cn_free(unit);
}


static void
destroy_resources(cn_xds_state_t *state, cn_map_t *resources)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (resources != NULL && cn_map_next(resources, &at, &key, &value)) {
        destroy_resource(state, value);
    }

    cn_map_destroy(resources);
}


void
cn_xds_state_destroy(cn_xds_state_t *state)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    if (state == NULL) {
        return;
    }

    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        destroy_resources(state, state->types[i].resources);
    }

    while (state->units != NULL && cn_map_next(state->units, &at, &key, &value)) {
        destroy_unit(state, value);
    }

    cn_map_destroy(state->units);
    cn_pool_destroy(state->rejected_pool);
    cn_free(state);
}


cn_xds_state_t *
cn_xds_state_create(const cn_xds_limits_t *limits)
{
    cn_xds_state_t  *state = cn_alloc_zero(sizeof(*state));
    bool             ok;

    if (state == NULL) {
        return NULL;
    }

    state->total_max = limits != NULL && limits->total_max > 0 ? limits->total_max : TOTAL_MAX;
    state->resource_max = limits != NULL && limits->resource_max > 0
                          ? limits->resource_max : RESOURCE_MAX;
    state->units = cn_map_create();
    ok = state->units != NULL;

    for (size_t i = 0; i < CN_XDS_TYPES; i++) {
        state->types[i].resources = cn_map_create();
        ok = ok && state->types[i].resources != NULL;
    }

    if (!ok) {
        cn_xds_state_destroy(state);
        return NULL;
    }

    return state;
}


/* ---- resources ---- */

cn_xds_resource_t *
cn_xds_find(const cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name)
{
    return cn_map_get(state->types[type].resources, name);
}


bool
cn_xds_next(const cn_xds_state_t *state, cn_xds_type_t type, size_t *at,
    cn_xds_resource_t **resource)
{
    cn_bytes_t  key;
    void       *value = NULL;
    bool        more = cn_map_next(state->types[type].resources, at, &key, &value);

    *resource = value;

    return more;
}


/* As names of Kubernetes and istiod are; they are sent back, and logged. */
static bool
is_name(cn_bytes_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] <= 0x20 || name.ptr[i] > 0x7e) {
            return false;
        }
    }

    return name.len > 0 && name.len <= CN_XDS_NAME_MAX;
}


static cn_status_t
make_resource(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name,
    cn_xds_resource_t **resource)
{
    cn_xds_resource_t  *made;
    cn_status_t         status;

    *resource = NULL;

    if (!has_room(state, ENTRY_SIZE + name.len)) {
        return CN_ERR_LIMIT;
    }

    made = cn_alloc_zero(sizeof(*made));

    if (made == NULL) {
        return CN_ERR_MEMORY;
    }

    state->used += ENTRY_SIZE;
    status = hold(state, name, &made->name);

    if (status == CN_OK) {
        status = cn_map_set(state->types[type].resources, made->name, made);
    }

    if (status != CN_OK) {
        destroy_resource(state, made);
        return status;
    }

    state->changed = true;
    state->changed_more = true;
    *resource = made;

    return CN_OK;
}


/* What was pushed before makes room for what comes; if it could be used, it is kept. */
static void
retire(cn_xds_state_t *state, cn_xds_resource_t *resource)
{
    if (resource->is_good) {
        let_go(state, &resource->good);
        resource->good = resource->pushed;
        resource->pushed = CN_BYTES_NONE;
        resource->is_good = false;
        return;
    }

    let_go(state, &resource->pushed);
}


static void
refuse(cn_xds_state_t *state, cn_xds_resource_t *resource, const char *reason)
{
    let_go(state, &resource->version);

    if (resource->refusal != NULL && strcmp(resource->refusal, reason) == 0) {
        return;
    }

    retire(state, resource);
    resource->refusal = reason;
    state->changed = true;
    state->changed_more = true;
}


static cn_status_t
set_octets(cn_xds_state_t *state, cn_xds_resource_t *resource, cn_bytes_t value)
{
    cn_status_t  status;

    if (resource->refusal == NULL && (resource->is_good || resource->pushed.len > 0)
        && cn_bytes_equal(resource->pushed, value))
    {
        return CN_OK;
    }

    retire(state, resource);
    state->changed = true;
    resource->touched = true;

    /* the last good octets, come again: they are not held twice */
    if (resource->good.len > 0 && cn_bytes_equal(resource->good, value)) {
        resource->pushed = resource->good;
        resource->good = CN_BYTES_NONE;
        resource->is_good = true;
        resource->refusal = NULL;
        return CN_OK;
    }

    status = hold(state, value, &resource->pushed);
    resource->refusal = status == CN_OK ? NULL
                        : status == CN_ERR_LIMIT ? "has no room beside all others"
                        : "found no memory";

    return status == CN_ERR_LIMIT ? CN_OK : status;
}


/* Why value cannot be the resource of that name; NULL: it can. */
static const char *
find_fault(const cn_xds_state_t *state, const cn_xds_resource_t *resource, bool again,
    bool has_own, cn_bytes_t own, cn_bytes_t value)
{
    if (value.len > state->resource_max) {
        return "is larger than resources may be";
    }

    if (!has_own || !cn_bytes_equal(own, resource->name)) {
        return "has another name within";
    }

    if (again && (resource->refusal != NULL || !cn_bytes_equal(resource->pushed, value))) {
        return "comes twice in one push";
    }

    return NULL;
}


/* Nobody can say whose it is: it may be the one that restricts. */
static void
note_unnamed(cn_xds_resources_t *resources, cn_xds_state_t *state)
{
    state->changed = state->changed || !resources->unnamed;
    state->changed_more = state->changed_more || !resources->unnamed;
    resources->unnamed = true;
    resources->unnamed_push = resources->push;
}


/* The entry of a name, made when it is new; NULL with CN_OK: it is noted that there was one. */
static cn_status_t
get_resource(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name,
    cn_xds_resource_t **resource)
{
    cn_xds_resources_t  *resources = &state->types[type];
    cn_status_t          status = CN_OK;

    CN_BUG_ON(state->building);
    *resource = is_name(name) ? cn_map_get(resources->resources, name) : NULL;

    if (*resource == NULL && is_name(name)) {
        status = make_resource(state, type, name, resource);
    }

    if (*resource == NULL) {
        note_unnamed(resources, state);
    }

    return status == CN_ERR_LIMIT ? CN_OK : status;
}


static cn_status_t
set_version(cn_xds_state_t *state, cn_xds_resource_t *resource, cn_bytes_t version)
{
    cn_status_t  status;

    if (cn_bytes_equal(resource->version, version)) {
        return CN_OK;
    }

    let_go(state, &resource->version);
    status = hold(state, version, &resource->version);

    return status == CN_ERR_LIMIT ? CN_OK : status;     /* it will come once more than it must */
}


cn_status_t
cn_xds_put(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name, cn_bytes_t version,
    cn_bytes_t value)
{
    uint64_t            push = state->types[type].push;
    cn_bytes_t          own;
    bool                has_own = cn_wire_bytes(value, types[type].name_field, &own);
    cn_xds_resource_t  *resource;
    const char         *fault;
    cn_status_t         status;

    status = get_resource(state, type, name.len > 0 ? name : own, &resource);

    if (resource == NULL) {
        return status;
    }

    /* one that was refused may come to be used without other octets than its last good ones */
    state->changed_more = state->changed_more || resource->refusal != NULL;
    fault = find_fault(state, resource, resource->push == push && push > 0, has_own, own, value);
    resource->push = push;

    if (fault != NULL) {
        refuse(state, resource, fault);
        return CN_OK;
    }

    status = set_octets(state, resource, value);

    if (resource->touched && (type != CN_XDS_ENDPOINTS || resource->refusal != NULL)) {
        state->changed_more = true;
        resource->touched = false;
    }

    return status == CN_OK && version.len <= CN_XDS_NAME_MAX
           ? set_version(state, resource, version) : status;
}


cn_status_t
cn_xds_put_refused(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name, const char *reason)
{
    cn_xds_resource_t  *resource;
    cn_status_t         status = get_resource(state, type, name, &resource);

    if (resource != NULL) {
        resource->push = state->types[type].push;
        refuse(state, resource, reason);
    }

    return status;
}


bool
cn_xds_is_in_push(const cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name)
{
    const cn_xds_resource_t  *resource = cn_map_get(state->types[type].resources, name);

    return name.len == 0 || (resource != NULL && resource->push == state->types[type].push);
}


void
cn_xds_remove(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name)
{
    cn_xds_resource_t  *resource;

    CN_BUG_ON(state->building);
    resource = cn_map_remove(state->types[type].resources, name);

    if (resource != NULL) {
        destroy_resource(state, resource);
        state->changed = true;
        state->changed_more = true;
    }
}


void
cn_xds_push_begin(cn_xds_state_t *state, cn_xds_type_t type)
{
    state->types[type].push++;
}


void
cn_xds_forget_unnamed(cn_xds_state_t *state, cn_xds_type_t type)
{
    state->changed = state->changed || state->types[type].unnamed;
    state->changed_more = state->changed_more || state->types[type].unnamed;
    state->types[type].unnamed = false;
}


void
cn_xds_push_end_full(cn_xds_state_t *state, cn_xds_type_t type)
{
    cn_xds_resources_t  *resources = &state->types[type];
    cn_xds_resource_t   *resource;
    size_t               at = 0;

    CN_BUG_ON(state->building);

    if (resources->unnamed && resources->unnamed_push == resources->push) {
        return;                         /* it may be any of those that were not named */
    }

    cn_xds_forget_unnamed(state, type);

    while (cn_xds_next(state, type, &at, &resource)) {
        if (resource->push != resources->push) {
            (void) cn_map_remove(resources->resources, resource->name);
            destroy_resource(state, resource);
            state->changed = true;
            state->changed_more = true;
        }
    }
}


bool
cn_xds_is_changed(const cn_xds_state_t *state)
{
    return state->changed;
}


bool
cn_xds_is_building(const cn_xds_state_t *state)
{
    return state->building;
}


void
cn_xds_set_good(cn_xds_state_t *state, cn_xds_resource_t *resource)
{
    let_go(state, &resource->good);
    resource->is_good = true;
}


void
cn_xds_set_built(cn_xds_state_t *state)
{
    cn_xds_resource_t  *resource;
    size_t              at = 0;

    state->changed = false;
    state->changed_more = false;

    while (cn_xds_next(state, CN_XDS_ENDPOINTS, &at, &resource)) {
        resource->touched = false;
    }
}


cn_bytes_t
cn_xds_endpoints_name(cn_bytes_t cluster)
{
    cn_bytes_t  name, config, service = CN_BYTES_NONE;
    uint64_t    kind;

    if (!cn_wire_number(cluster, 2, &kind) || kind != EDS || !cn_wire_bytes(cluster, 1, &name)
        || !cn_wire_bytes(cluster, 3, &config) || !cn_wire_bytes(config, 2, &service))
    {
        return CN_BYTES_NONE;
    }

    name = service.len > 0 ? service : name;

    return is_name(name) ? name : CN_BYTES_NONE;
}


/* ---- units ---- */

cn_bytes_t
cn_xds_good_unit(const cn_xds_state_t *state, cn_bytes_t key)
{
    const cn_xds_unit_t  *unit = cn_map_get(state->units, key);

    return unit == NULL ? CN_BYTES_NONE : unit->octets;
}


static void
drop_unit(cn_xds_state_t *state, cn_bytes_t key)
{
    cn_xds_unit_t  *unit = cn_map_remove(state->units, key);

    if (unit != NULL) {
        destroy_unit(state, unit);
    }
}


static cn_xds_unit_t *
make_unit(cn_xds_state_t *state, cn_bytes_t key)
{
    cn_xds_unit_t  *unit = has_room(state, ENTRY_SIZE) ? cn_alloc_zero(sizeof(*unit)) : NULL;

    if (unit == NULL) {
        return NULL;
    }

    state->used += ENTRY_SIZE;

    if (cn_map_set(state->units, key, unit) != CN_OK) {
        destroy_unit(state, unit);
        return NULL;
    }

    return unit;
}


void
cn_xds_set_good_unit(cn_xds_state_t *state, cn_bytes_t key, cn_bytes_t octets)
{
    cn_xds_unit_t  *unit = cn_map_get(state->units, key);

    if (unit == NULL && octets.len > 0) {
        unit = make_unit(state, key);
    }

    if (unit == NULL) {
        return;
    }

    unit->building = state->buildings;

    if (octets.len == 0 || cn_bytes_equal(unit->octets, octets)) {
        return;
    }

    let_go(state, &unit->octets);

    if (hold(state, octets, &unit->octets) != CN_OK) {
        drop_unit(state, key);
    }
}


void
cn_xds_sweep_units(cn_xds_state_t *state)
{
    size_t      at = 0;
    cn_bytes_t  key;
    void       *value;

    while (cn_map_next(state->units, &at, &key, &value)) {
        cn_xds_unit_t  *unit = value;

        if (unit->building != state->buildings) {
            (void) cn_map_remove(state->units, key);
            destroy_unit(state, unit);
        }
    }
}


/* ---- the rejected ---- */

void
cn_xds_reject_none(cn_xds_state_t *state)
{
    cn_pool_destroy(state->rejected_pool);
    state->rejected_pool = cn_pool_create(4096, NULL);
    state->rejected = CN_ARRAY_INIT(state->rejected_pool, cn_xds_rejected_t);
}


void
cn_xds_reject(cn_xds_state_t *state, cn_xds_type_t type, cn_bytes_t name, const char *reason)
{
    cn_pool_t          *pool = state->rejected_pool;
    cn_xds_rejected_t  *slot;
    cn_bytes_t          name_copy;
    char               *reason_copy;

    if (pool == NULL || state->rejected.count >= REJECTED_MAX
        || cn_pool_copy(pool, name, &name_copy) != CN_OK)
    {
        return;
    }

    reason_copy = cn_pool_str(pool, cn_bytes_str(reason));
    slot = reason_copy == NULL ? NULL : cn_array_add(&state->rejected);

    if (slot != NULL) {
        *slot = (cn_xds_rejected_t) {
            .type = type, .name = name_copy, .reason = reason_copy,
        };
    }
}


size_t
cn_xds_rejected(const cn_xds_state_t *state, const cn_xds_rejected_t **list)
{
    *list = state->rejected.items;

    return state->rejected.count;
}
