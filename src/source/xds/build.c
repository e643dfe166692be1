/* SPDX-License-Identifier: Apache-2.0 */

/*
 * build - a model of all that a state holds.  Clusters and their endpoints come before the chains
 * that refer to them, workloads before the endpoints that have their addresses; among resources of
 * one type names give the order, so that the order of a push says nothing.
 */

#include "source/xds/xds.h"

#include "base/fiber.h"

#include <stdio.h>

#define REASON_MAX  512                 /* octets */

typedef cn_xds_resource_t  *item_t;


/* ---- containment ---- */

cn_report_t *
cn_xds_hush(cn_xds_t *xds)
{
    cn_report_t  *loud = xds->read.report;
    cn_report_t  *quiet = cn_report_create(xds->pool);

    if (quiet != NULL) {
        xds->read.report = quiet;

    } else {
        cn_read_no_memory(&xds->read);
    }

    return loud;
}


/* "FIELD: TEXT", and whose it is when that is not the resource itself, as far as there is room. */
static void
print_entry(const cn_report_entry_t *entry, const char *label, char *out, size_t size)
{
    bool  within = entry->resource != NULL && entry->resource[0] != '\0'
                   && strcmp(entry->resource, label) != 0;
    bool  placed = entry->field != NULL && entry->field[0] != '\0';

    snprintf(out, size, "%s%s%s%s%s", within ? entry->resource : "", within ? ": " : "",
             placed ? entry->field : "", placed ? ": " : "", entry->text);
}


void
cn_xds_blame(cn_xds_t *xds, cn_xds_type_t type, const cn_xds_resource_t *resource,
    const char *label, size_t first)
{
    const cn_report_t  *report = xds->read.report;
    char                reason[REASON_MAX] = "";
    char                text[REASON_MAX];
    size_t              at = 0;

    for (size_t i = first; i < report->entries.count && at < sizeof(reason) - 1; i++) {
        const cn_report_entry_t  *entry = CN_ARRAY_AT(&report->entries, const cn_report_entry_t, i);

        if (entry->level != CN_REPORT_ERROR) {
            continue;
        }

        print_entry(entry, label, text, sizeof(text));

        /* of each field once, however often it is there */
        if (strstr(reason, text) != NULL) {
            continue;
        }

        at += (size_t) snprintf(reason + at, sizeof(reason) - at, "%s%s",
                                at == 0 ? "" : "; ", text);
        at = at < sizeof(reason) ? at : sizeof(reason) - 1;
    }

    cn_xds_reject(xds->state, type, resource->name, at == 0 ? "cannot be used" : reason);
}


static const char *
label_of(const cn_xds_t *xds)
{
    return xds->read.resource == NULL ? "" : xds->read.resource->label;
}


bool
cn_xds_contain(cn_xds_t *xds, cn_xds_type_t type, cn_xds_resource_t *resource,
    bool (*read)(cn_xds_t *xds, cn_bytes_t value))
{
    size_t        errors = xds->read.errors;
    size_t        first = xds->read.report->entries.count;
    cn_report_t  *loud;
    bool          ok;

    cn_xds_label(xds, cn_xds_kind(type), resource->name);

    if (resource->refusal != NULL) {
        cn_read_error(&xds->read, NULL, NULL, "%s", resource->refusal);

    } else if (read(xds, resource->pushed) && xds->read.errors == errors) {
        cn_xds_set_good(xds->state, resource);
        return true;
    }

    cn_xds_blame(xds, type, resource, label_of(xds), first);

    if (resource->good.len == 0) {
        return false;
    }

    loud = cn_xds_hush(xds);
    errors = xds->read.errors;
    ok = read(xds, resource->good) && xds->read.errors == errors;
    xds->read.report = loud;

    return ok;
}


/* ---- resources ---- */

static int
compare_resources(const void *a, const void *b)
{
    return cn_bytes_compare((*(const item_t *) a)->name, (*(const item_t *) b)->name);
}


/* By name; and what has none is told. */
static cn_status_t
list_resources(cn_xds_t *xds, cn_xds_type_t type, cn_array_t *list)
{
    static const cn_xds_resource_t   nobody = { .name = { NULL, 0 } };
    cn_xds_resource_t               *resource;
    size_t                           at = 0;

    *list = CN_ARRAY_INIT(xds->pool, item_t);

    if (xds->state->types[type].unnamed) {
        size_t  first = xds->read.report->entries.count;

        xds->read.resource = NULL;
        cn_read_error(&xds->read, NULL, cn_xds_type_url(type),
                      "a resource has no name that can be read");
        cn_xds_blame(xds, type, &nobody, "", first);
    }

    while (cn_xds_next(xds->state, type, &at, &resource)) {
        item_t  *slot = cn_array_add(list);

        if (slot == NULL) {
            return CN_ERR_MEMORY;
        }

        *slot = resource;
    }

    return cn_array_sort(list, compare_resources);
}


static cn_status_t
read_workloads(cn_xds_t *xds)
{
    cn_array_t   list;
    cn_status_t  status = list_resources(xds, CN_XDS_WORKLOADS, &list);

    if (status != CN_OK) {
        return status;
    }

    CN_ARRAY_EACH(&list, const item_t, resource) {
        (void) cn_xds_contain(xds, CN_XDS_WORKLOADS, *resource, cn_xds_read_workload);
        cn_fiber_rest();
    }

    return CN_OK;
}


static cn_status_t
read_clusters(cn_xds_t *xds)
{
    cn_array_t   list, unused;
    cn_status_t  status = list_resources(xds, CN_XDS_CLUSTERS, &list);

    if (status == CN_OK) {
        status = list_resources(xds, CN_XDS_ENDPOINTS, &unused);    /* of those without a name */
    }

    if (status != CN_OK) {
        return status;
    }

    CN_ARRAY_EACH(&list, const item_t, resource) {
        cn_xds_resource_t  *endpoints = NULL;

        xds->endpoints = CN_BYTES_NONE;

        if (cn_xds_contain(xds, CN_XDS_CLUSTERS, *resource, cn_xds_read_cluster)
            && xds->endpoints.len > 0)
        {
            endpoints = cn_xds_find(xds->state, CN_XDS_ENDPOINTS, xds->endpoints);
        }

        if (xds->endpoints.len > 0 && !cn_bytes_equal(xds->endpoints, (*resource)->name)) {
            xds->state->shared = true;
        }

        if (endpoints != NULL) {
            (void) cn_xds_contain(xds, CN_XDS_ENDPOINTS, endpoints, cn_xds_read_assignment);
        }

        cn_fiber_rest();
    }

    return CN_OK;
}


/* How Envoy reaches itself: not looked at, but for what was no resource. */
static bool
is_plumbing(cn_bytes_t name)
{
    return cn_bytes_equal(name, CN_BYTES("connect_originate"))
           || cn_bytes_equal(name, CN_BYTES("inner_connect_originate"))
           || cn_bytes_equal(name, CN_BYTES("outer_connect_originate"));
}


static cn_status_t
read_listeners(cn_xds_t *xds)
{
    const cn_xds_resource_t  *terminate;
    cn_array_t                list;
    cn_status_t               status = list_resources(xds, CN_XDS_LISTENERS, &list);

    if (status != CN_OK) {
        return status;
    }

    terminate = cn_xds_find(xds->state, CN_XDS_LISTENERS, CN_BYTES("connect_terminate"));

    /* what has no name may be the one that stands before all others */
    xds->all_refused = xds->state->types[CN_XDS_LISTENERS].unnamed && terminate == NULL;

    CN_ARRAY_EACH(&list, const item_t, resource) {
        if (cn_bytes_equal((*resource)->name, CN_BYTES("main_internal"))) {
            cn_xds_read_main(xds, *resource);

        } else if (cn_bytes_equal((*resource)->name, CN_BYTES("connect_terminate"))) {
            /* what stands before every chain and is not understood may be a policy */
            if (!cn_xds_contain(xds, CN_XDS_LISTENERS, *resource, cn_xds_read_terminate)) {
                xds->all_refused = true;
            }

        } else if ((*resource)->refusal != NULL || !is_plumbing((*resource)->name)) {
            size_t  first = xds->read.report->entries.count;

            cn_xds_label(xds, "Listener", (*resource)->name);
            cn_read_error(&xds->read, NULL, NULL, "%s", (*resource)->refusal != NULL
                          ? (*resource)->refusal
                          : "a listener beside istiod's own is not implemented");
            cn_xds_blame(xds, CN_XDS_LISTENERS, *resource, label_of(xds), first);
        }
    }

    cn_xds_sweep_units(xds->state);

    return CN_OK;
}


/* ---- who we are ---- */

static cn_status_t
set_waypoint(cn_model_t *model, const char *waypoint)
{
    cn_bytes_t  copy;

    if (waypoint == NULL) {
        return CN_OK;
    }

    if (cn_pool_copy(model->pool, cn_bytes_str(waypoint), &copy) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    if (!cn_bytes_split(copy, '/', &model->name_space, &model->waypoint)) {
        model->waypoint = model->name_space;
        model->name_space = CN_BYTES("default");
    }

    return CN_OK;
}


static cn_status_t
set_globals(cn_xds_t *xds)
{
    const cn_source_config_t  *config = xds->config;
    cn_model_t                *model = xds->model;

    model->access_log = config->access_log;
    model->http_10 = config->http_10;

    return set_waypoint(model, config->waypoint);
}


static cn_status_t
add_trust_domain(cn_model_t *model, cn_bytes_t domain)
{
    cn_bytes_t  *slot = cn_array_add(&model->trust_domains);

    return slot == NULL ? CN_ERR_MEMORY : cn_pool_copy(model->pool, domain, slot);
}


/*
 * Those that istiod names, as a peer may be of no other; our own first.  What the bootstrap file
 * has is not asked: a mesh that has given up an alias trusts it no longer.
 */
static cn_status_t
set_trust_domains(cn_xds_t *xds)
{
    cn_bytes_t   own = xds->config->trust_domain;
    cn_status_t  status = CN_OK;

    CN_ARRAY_EACH(&xds->trust_domains, const cn_bytes_t, first) {
        if (cn_bytes_equal(*first, own)) {
            status = add_trust_domain(xds->model, own);
        }
    }

    CN_ARRAY_EACH(&xds->trust_domains, const cn_bytes_t, domain) {
        if (status == CN_OK && !cn_bytes_equal(*domain, own)) {
            status = add_trust_domain(xds->model, *domain);
        }
    }

    return status;
}


/* ---- order ---- */

static int
compare_chains(const void *a, const void *b)
{
    const cn_chain_config_t  *left = a;
    const cn_chain_config_t  *right = b;

    return (left->port > right->port) - (left->port < right->port);
}


static cn_status_t
sort_model(cn_model_t *model)
{
    CN_ARRAY_EACH(&model->services, cn_service_t, service) {
        if (cn_array_sort(&service->chains, compare_chains) != CN_OK) {
            return CN_ERR_MEMORY;
        }
    }

    return cn_model_sort(model);
}


static cn_status_t
read_all(cn_xds_t *xds)
{
    cn_status_t  status;

    xds->clusters = cn_map_create_in(xds->pool);
    xds->workloads = cn_map_create_in(xds->pool);
    xds->services = cn_map_create_in(xds->pool);
    xds->trust_domains = CN_ARRAY_INIT(xds->pool, cn_bytes_t);
    xds->original = cn_map_create_in(xds->pool);

    if (xds->clusters == NULL || xds->workloads == NULL || xds->services == NULL
        || xds->original == NULL || xds->state->rejected_pool == NULL)
    {
        return CN_ERR_MEMORY;
    }

    status = set_globals(xds);

    if (status == CN_OK) {
        status = read_workloads(xds);
    }

    if (status == CN_OK) {
        status = read_clusters(xds);
    }

    if (status == CN_OK) {
        status = read_listeners(xds);
    }

    if (status == CN_OK) {
        status = set_trust_domains(xds);
    }

    if (status != CN_OK) {
        return status;
    }

    xds->read.resource = NULL;

    /* a waypoint that no service uses is one; one whose services are not known is none */
    if (xds->model->services.count == 0 && !xds->main_known) {
        cn_read_error(&xds->read, NULL, "Listener", "there is no main_internal with a service");
        return CN_ERR_NOT_FOUND;
    }

    return sort_model(xds->model);
}


static void
refuse_all(cn_model_t *model)
{
    CN_ARRAY_EACH(&model->services, cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, cn_chain_config_t, chain) {
            chain->refused = true;
        }
    }
}


static cn_status_t
build(cn_xds_t *xds, cn_report_t *report)
{
    cn_status_t  status;

    xds->pool = xds->model->pool;
    xds->read = (cn_read_t) { .pool = xds->pool, .report = report, .model = xds->model };
    status = read_all(xds);

    if (cn_model_check_memory(xds->model, report) != CN_OK) {
        status = CN_ERR_LIMIT;
    }

    if (status == CN_OK && xds->all_refused) {
        refuse_all(xds->model);
    }

    return status;
}


cn_status_t
cn_xds_build(cn_xds_state_t *state, const cn_source_config_t *config, cn_report_t *report,
    cn_model_t **model)
{
    cn_xds_t     xds = { .config = config, .state = state, .model = cn_model_create() };
    cn_status_t  status;

    *model = NULL;

    if (xds.model == NULL) {
        return CN_ERR_MEMORY;
    }

    state->building = true;
    state->buildings++;
    state->shared = false;
    cn_xds_reject_none(state);
    status = build(&xds, report);
    state->building = false;

    if (status != CN_ERR_MEMORY) {
        cn_xds_set_built(state);
    }

    if (status != CN_OK) {
        cn_model_destroy(xds.model);
        return status;
    }

    *model = xds.model;

    return CN_OK;
}
