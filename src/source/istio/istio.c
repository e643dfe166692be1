/* SPDX-License-Identifier: Apache-2.0 */

/*
 * istio - one reading of a directory: files, resources, what they say, the model.
 *
 * What is broken is contained here: each resource is read by its kind's reader, and when that
 * reports an error, its last good version is read instead; where there is none, it is left out
 * closed.  The state that is kept from one reading to the next is the document of each resource
 * that was good then.
 */

#include "source/istio/istio.h"
#include "source/istio/yaml.h"

#include "base/fiber.h"

#define STATE_POOL_FIRST  4096

struct cn_istio_state_s {
    cn_pool_t   *pool;
    cn_array_t   keys;              /* cn_bytes_t */
    cn_array_t   documents;         /* cn_doc_t *, as keys */
    cn_map_t    *by_key;            /* key -> cn_doc_t */
};

typedef void (*reader_fn)(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
typedef void (*refuser_fn)(cn_istio_t *istio, const cn_resource_t *resource);

/* In the order in which they are read: what is referred to first. */
static const struct { cn_istio_kind_t kind; reader_fn read; refuser_fn refuse; } readers[] = {
    { CN_KIND_NAMESPACE,        cn_istio_read_namespace,        NULL },
    { CN_KIND_SERVICE,          cn_istio_read_service,          NULL },
    { CN_KIND_SERVICE_ENTRY,    cn_istio_read_service_entry,    NULL },
    { CN_KIND_POD,              cn_istio_read_pod,              NULL },
    { CN_KIND_WORKLOAD_ENTRY,   cn_istio_read_workload_entry,   NULL },
    { CN_KIND_ENDPOINT_SLICE,   cn_istio_read_slice,            NULL },
    { CN_KIND_DESTINATION_RULE, cn_istio_read_destination_rule, cn_istio_refuse_destination_rule },
    { CN_KIND_VIRTUAL_SERVICE,  cn_istio_read_virtual_service,  cn_istio_refuse_virtual_service },
    { CN_KIND_HTTP_ROUTE,       cn_istio_read_http_route,       cn_istio_refuse_http_route },
};


/* ---- state ----------------------------------------------------------------------------------- */


void
cn_istio_state_destroy(cn_istio_state_t *state)
{
    if (state != NULL) {
        cn_pool_destroy(state->pool);       /* the state lies in it */
    }
}


static cn_istio_state_t *
state_create(void)
{
    cn_pool_t         *pool = cn_pool_create(STATE_POOL_FIRST, NULL);
    cn_istio_state_t  *state = pool == NULL ? NULL : cn_pool_alloc_zero(pool, sizeof(*state));

    if (state == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    state->pool = pool;
    state->keys = CN_ARRAY_INIT(pool, cn_bytes_t);
    state->documents = CN_ARRAY_INIT(pool, cn_doc_t *);
    state->by_key = cn_map_create_in(pool);

    if (state->by_key == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    return state;
}


static cn_status_t
state_add(cn_istio_state_t *state, cn_bytes_t key, const cn_doc_t *doc)
{
    cn_doc_t    *copy = cn_yaml_copy(doc, state->pool);
    cn_bytes_t  *key_slot = cn_array_add(&state->keys);
    cn_doc_t   **doc_slot = cn_array_add(&state->documents);

    if (copy == NULL || key_slot == NULL || doc_slot == NULL
        || cn_pool_copy(state->pool, key, key_slot) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    *doc_slot = copy;

    return cn_map_set(state->by_key, key, copy);
}


const cn_doc_t *
cn_istio_last_good(const cn_istio_state_t *state, cn_bytes_t key)
{
    return state == NULL ? NULL : cn_map_get(state->by_key, key);
}


cn_status_t
cn_istio_last_each(const cn_istio_state_t *state, const char *file,
    cn_status_t (*fn)(void *arg, cn_bytes_t key, const cn_doc_t *doc), void *arg)
{
    for (size_t i = 0; i < state->keys.count; i++) {
        cn_doc_t     *doc = *CN_ARRAY_AT(&state->documents, cn_doc_t *, i);
        cn_status_t   status;

        if (strcmp(doc->file, file) != 0) {
            continue;
        }

        status = fn(arg, *CN_ARRAY_AT(&state->keys, cn_bytes_t, i), doc);

        if (status != CN_OK) {
            return status;
        }
    }

    return CN_OK;
}


/* What is in force now is what the next reading falls back to. */
static cn_istio_state_t *
state_of(const cn_istio_t *istio)
{
    cn_istio_state_t  *state = state_create();

    if (state == NULL) {
        return NULL;
    }

    CN_ARRAY_EACH(&istio->loaded, const cn_loaded_ref_t, slot) {
        const cn_loaded_t  *loaded = *slot;

        if (loaded->broken || loaded->kind == CN_KIND_UNKNOWN) {
            continue;
        }

        if (state_add(state, loaded->key, loaded->resource.root) != CN_OK) {
            cn_istio_state_destroy(state);
            return NULL;
        }
    }

    return state;
}


/* ---- one resource ---------------------------------------------------------------------------- */


typedef struct {
    cn_istio_t   *istio;
    cn_loaded_t  *loaded;
    reader_fn     read;             /* NULL: the module's */
} attempt_t;


static bool
has_resource(const cn_read_t *read, const char *kind, cn_bytes_t name_space, cn_bytes_t name)
{
    const cn_istio_t  *istio = read->source;
    char              *key = cn_pool_printf(istio->pool, "%s %.*s/%.*s", kind,
                                            CN_BYTES_ARG(name_space), CN_BYTES_ARG(name));

    return key != NULL && cn_map_get(istio->by_key, cn_bytes_str(key)) != NULL;
}


static bool
read_once(const attempt_t *attempt, cn_report_t *report)
{
    cn_istio_t   *istio = attempt->istio;
    cn_loaded_t  *loaded = attempt->loaded;
    cn_read_t     read = {
        .pool = istio->pool, .report = report, .model = istio->model, .resource = &loaded->resource,
        .source = istio, .has = has_resource,
    };

    if (attempt->read != NULL) {
        attempt->read(istio, &read, &loaded->resource);

    } else {
        cn_status_t  status = loaded->module->read_resource(&read, &loaded->resource,
                                                            &loaded->parsed);

        if (status != CN_OK && read.errors == 0) {
            cn_read_error(&read, loaded->resource.root, "", "cannot be read: %s",
                          cn_status_name(status));
        }
    }

    return read.errors == 0;
}


/*
 * Puts the last good version in the place of the broken one; false: there is none, or it is not
 * good any more.
 */
static bool
fall_back(const attempt_t *attempt)
{
    cn_istio_t      *istio = attempt->istio;
    cn_loaded_t     *loaded = attempt->loaded;
    const cn_doc_t  *last = cn_istio_last_good(istio->last, loaded->key);
    cn_doc_t        *copy = last == NULL ? NULL : cn_yaml_copy(last, istio->pool);
    cn_report_t     *scratch = cn_report_create(istio->pool);
    cn_read_t        read = { .pool = istio->pool, .report = scratch, .model = istio->model };
    cn_loaded_t     *old;

    if (copy == NULL || scratch == NULL) {
        return false;
    }

    old = cn_istio_loaded(istio, copy, &read);

    if (old == NULL || read.errors > 0) {
        return false;
    }

    loaded->resource = old->resource;
    loaded->parsed = NULL;

    return read_once(attempt, scratch);
}


static void
read_resource(const attempt_t *attempt)
{
    cn_istio_t      *istio = attempt->istio;
    cn_loaded_t     *loaded = attempt->loaded;
    cn_resource_t    broken = loaded->resource;
    void            *parsed;

    if (!loaded->broken && read_once(attempt, istio->report)) {
        return;
    }

    parsed = loaded->parsed;

    if (fall_back(attempt)) {
        loaded->broken = false;
        loaded->stale = true;
        cn_report_add(istio->report, CN_REPORT_NOTE, broken.root, broken.label, "",
                      "is broken: its last good version stays in force");
        return;
    }

    loaded->resource = broken;
    loaded->parsed = parsed;
    loaded->broken = true;
}


static void
read_kind(cn_istio_t *istio, cn_istio_kind_t kind, reader_fn read, refuser_fn refuse)
{
    CN_ARRAY_EACH(&istio->loaded, const cn_loaded_ref_t, slot) {
        attempt_t  attempt = { .istio = istio, .loaded = *slot, .read = read };

        if ((*slot)->kind != kind) {
            continue;
        }

        cn_fiber_rest();
        read_resource(&attempt);

        if ((*slot)->broken && refuse != NULL) {
            refuse(istio, &(*slot)->resource);
        }
    }
}


/* ---- the waypoint ---------------------------------------------------------------------------- */


static void
no_waypoint(cn_istio_t *istio, const char *text)
{
    cn_doc_t  where = { .file = istio->config->directory == NULL ? "." : istio->config->directory };

    cn_report_add(istio->report, CN_REPORT_ERROR, &where, "", "", "%s", text);
}


static bool
is_named(const cn_gateway_t *gateway, const char *name)
{
    cn_bytes_t  name_space, rest;

    if (!cn_bytes_split(cn_bytes_str(name), '/', &name_space, &rest)) {
        rest = name_space;
        name_space = CN_BYTES("default");
    }

    return cn_bytes_equal(gateway->name, rest) && cn_bytes_equal(gateway->name_space, name_space);
}


static cn_status_t
choose_waypoint(cn_istio_t *istio)
{
    const char  *name = istio->config->waypoint;

    CN_ARRAY_EACH(&istio->gateways, const cn_gateway_ref_t, gateway) {
        if (name != NULL && !is_named(*gateway, name)) {
            continue;
        }

        if (istio->waypoint != NULL) {
            no_waypoint(istio, "has more than one Gateway of class istio-waypoint: "
                               "say which with `waypoint`");
            return CN_ERR_EXISTS;
        }

        istio->waypoint = *gateway;
    }

    if (istio->waypoint == NULL) {
        no_waypoint(istio, name == NULL ? "has no Gateway of class istio-waypoint"
                                        : "has no Gateway of class istio-waypoint of that name");
        return CN_ERR_NOT_FOUND;
    }

    istio->model->waypoint = istio->waypoint->name;
    istio->model->name_space = istio->waypoint->name_space;

    return CN_OK;
}


/* ---- all of it ------------------------------------------------------------------------------- */


static cn_status_t
set_globals(cn_istio_t *istio)
{
    const cn_source_config_t  *config = istio->config;
    cn_model_t                *model = istio->model;

    model->access_log = config->access_log;
    model->http_10 = config->http_10;

    for (size_t i = 0; i <= config->trust_alias_count; i++) {
        const cn_bytes_t  *domain = i == 0 ? &config->trust_domain : &config->trust_aliases[i - 1];
        cn_bytes_t        *slot = cn_array_add(&model->trust_domains);

        if (slot == NULL || cn_pool_copy(model->pool, i == 0 && domain->len == 0
                                         ? CN_BYTES("cluster.local") : *domain, slot) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static cn_status_t
istio_init(cn_istio_t *istio)
{
    cn_pool_t  *pool = istio->pool;

    istio->loaded = CN_ARRAY_INIT(pool, cn_loaded_ref_t);
    istio->gateways = CN_ARRAY_INIT(pool, cn_gateway_ref_t);
    istio->by_key = cn_map_create_in(pool);
    istio->namespaces = cn_map_create_in(pool);
    istio->services = cn_map_create_in(pool);
    istio->pods = cn_map_create_in(pool);
    istio->entries = cn_map_create_in(pool);
    istio->inline_endpoints = CN_ARRAY_INIT(pool, cn_pod_ref_t);

    if (istio->by_key == NULL || istio->namespaces == NULL || istio->services == NULL
        || istio->pods == NULL || istio->entries == NULL) {
        return CN_ERR_MEMORY;
    }

    return set_globals(istio);
}


static cn_status_t
read_all(cn_istio_t *istio)
{
    cn_status_t  status = istio_init(istio);

    if (status == CN_OK) {
        status = cn_istio_load(istio);
    }

    if (status != CN_OK) {
        return status;
    }

    read_kind(istio, CN_KIND_GATEWAY, cn_istio_read_gateway, NULL);
    status = choose_waypoint(istio);

    if (status != CN_OK) {
        return status;
    }

    for (size_t i = 0; i < CN_COUNT_OF(readers); i++) {
        read_kind(istio, readers[i].kind, readers[i].read, readers[i].refuse);
    }

    read_kind(istio, CN_KIND_MODULE, NULL, NULL);

    status = cn_istio_build(istio);

    if (status == CN_OK && istio->model->services.count == 0) {
        no_waypoint(istio, "has no service that uses the waypoint (label istio.io/use-waypoint)");
        status = CN_ERR_NOT_FOUND;
    }

    return status;
}


cn_status_t
cn_istio_read(const cn_source_config_t *config, cn_istio_state_t **state, cn_report_t *report,
    cn_model_t **model)
{
    cn_istio_t         istio = { .config = config, .report = report, .last = *state,
        .model = cn_model_create() };
    cn_istio_state_t  *next;
    cn_status_t        status;

    if (istio.model == NULL) {
        return CN_ERR_MEMORY;
    }

    istio.pool = istio.model->pool;
    status = read_all(&istio);

    if (cn_model_check_memory(istio.model, report) != CN_OK) {
        status = CN_ERR_LIMIT;
    }

    next = status == CN_OK ? state_of(&istio) : NULL;

    if (next == NULL) {
        cn_model_destroy(istio.model);
        return status == CN_OK ? CN_ERR_MEMORY : status;
    }

    cn_istio_state_destroy(*state);
    *state = next;
    *model = istio.model;

    return CN_OK;
}
