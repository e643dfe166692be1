/* SPDX-License-Identifier: Apache-2.0 */

/* status_page - /status.json, /errors.json, /traffic.json: how the waypoint is. */

#include "admin/pages.h"
#include "base/version.h"
#include "model/print.h"
#include "stats/series.h"

#include <stdio.h>


/* ---- status ---------------------------------------------------------------------------------- */

static const char *
state_name(uint32_t state)
{
    switch ((cn_worker_state_t) state) {
    case CN_WORKER_STARTING:
        return "starting";
    case CN_WORKER_SERVING:
        return "serving";
    case CN_WORKER_DRAINING:
        return "draining";
    case CN_WORKER_GONE:
    default:
        return "gone";
    }
}


static json_t *
number(uint64_t value)
{
    return json_integer((json_int_t) value);
}


static json_t *
describe_worker(uint32_t index, const cn_slab_worker_t *slot)
{
    json_t  *object = json_object();

    cn_print_set(&object, "worker", number(index));
    cn_print_set(&object, "pid", number(slot->pid));
    cn_print_set(&object, "state", json_string(state_name(slot->state)));
    cn_print_set(&object, "generation", number(slot->generation));
    cn_print_set(&object, "connections", number(slot->connections));
    cn_print_set(&object, "tunnels", number(slot->tunnels));
    cn_print_set(&object, "attends", number(slot->attends));
    cn_print_set(&object, "active_requests", number(slot->active));
    cn_print_set(&object, "requests", number(slot->requests));
    cn_print_set(&object, "busy_us", number(slot->busy_us));
    cn_print_set(&object, "longest_turn_us", number(slot->longest_turn_us));
    cn_print_set(&object, "table_bytes", number(slot->table_bytes));
    cn_print_set(&object, "pinned_bytes", number(slot->pinned_bytes));

    return object;
}


static json_t *
describe_workers(const cn_page_t *page)
{
    cn_slab_t  *slab = page->view->slab;
    json_t     *list = json_array();

    for (uint32_t i = 0; i < cn_slab_config(slab)->workers; i++) {
        if (cn_page_has_worker(page->view, i)) {
            cn_print_append(&list, describe_worker(i, cn_slab_worker(slab, i)));
        }
    }

    return list;
}


static json_t *
full_name(const cn_model_t *model)
{
    char  name[600];

    snprintf(name, sizeof(name), "%.*s/%.*s", CN_BYTES_ARG(model->name_space),
             CN_BYTES_ARG(model->waypoint));

    return cn_print_bytes(cn_bytes_str(name));
}


void
cn_page_status(cn_page_t *page)
{
    const cn_admin_view_t  *view = page->view;
    const cn_model_t       *model = view->model(view->owner);
    const cn_report_t      *report = view->report(view->owner);
    json_t                 *object = json_object();

    cn_print_set(&object, "version", json_string(CN_VERSION));
    cn_print_set(&object, "upgrades", number(view->upgrades));
    cn_print_set(&object, "ready", json_boolean(view->ready(view->owner)));
    cn_print_set(&object, "generation", number(cn_tables_generation(view->tables)));
    cn_print_set(&object, "errors", number(report != NULL ? report->errors : 0));
    cn_print_set(&object, "warnings", number(report != NULL ? report->warnings : 0));
    cn_print_set(&object, "identity", cn_page_describe_identity(page));
    cn_print_set(&object, "workers", describe_workers(page));

    if (model != NULL) {
        cn_print_set(&object, "waypoint", full_name(model));
        cn_print_set(&object, "services", number(model->services.count));
        cn_print_set(&object, "clusters", number(model->clusters.count));
        cn_print_set(&object, "workloads", number(model->workloads.count));
    }

    cn_page_json(page, object);
}


void
cn_page_ready(cn_page_t *page)
{
    if (!page->view->ready(page->view->owner)) {
        page->status = 503;
    }
}


/* That it is written is the answer: the master turns, and the guard looks after all others. */
void
cn_page_live(cn_page_t *page)
{
    page->status = 200;
}


/* ---- errors ---------------------------------------------------------------------------------- */

static const char *
level_name(cn_report_level_t level)
{
    switch (level) {
    case CN_REPORT_ERROR:
        return "error";
    case CN_REPORT_WARNING:
        return "warning";
    case CN_REPORT_NOTE:
    default:
        return "note";
    }
}


static json_t *
describe_entry(const cn_report_entry_t *entry)
{
    json_t  *object = json_object();

    cn_print_set(&object, "level", json_string(level_name(entry->level)));
    cn_print_set_bytes(&object, "file", cn_bytes_str(entry->file));
    cn_print_set_u64(&object, "line", entry->line);
    cn_print_set_u64(&object, "column", entry->column);
    cn_print_set_bytes(&object, "resource", cn_bytes_str(entry->resource));
    cn_print_set_bytes(&object, "field", cn_bytes_str(entry->field));
    cn_print_set_bytes(&object, "text", cn_bytes_str(entry->text));

    return object;
}


void
cn_page_errors(cn_page_t *page)
{
    const cn_report_t  *report = page->view->report(page->view->owner);
    json_t             *object = json_object();
    json_t             *list = json_array();

    if (report != NULL) {
        CN_ARRAY_EACH(&report->entries, const cn_report_entry_t, entry) {
            cn_print_append(&list, describe_entry(entry));
        }
    }

    cn_print_set(&object, "errors", number(report != NULL ? report->errors : 0));
    cn_print_set(&object, "warnings", number(report != NULL ? report->warnings : 0));
    cn_print_set(&object, "entries", list);
    cn_page_json(page, object);
}


/* ---- traffic --------------------------------------------------------------------------------- */

/* The labels that tell who called whom and how it went. */
static const char *const  shown_labels[] = {
    "source_workload", "source_principal", "destination_workload", "destination_version",
    "destination_service_name", "destination_service_namespace", "response_code", "response_flags",
};


static bool
is_shown(cn_bytes_t name)
{
    for (size_t i = 0; i < CN_COUNT_OF(shown_labels); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(shown_labels[i]))) {
            return true;
        }
    }

    return false;
}


/* Takes NAME="VALUE" and a comma from the front; the value is as escaped.  False: no more. */
static bool
next_label(cn_bytes_t *rest, cn_bytes_t *name, cn_bytes_t *value)
{
    size_t  at = cn_bytes_find_octet(*rest, '=');
    size_t  end;

    if (at == SIZE_MAX || rest->len - at < 3 || rest->ptr[at + 1] != '"') {
        return false;
    }

    *name = cn_bytes(rest->ptr, at);

    for (end = at + 2; end < rest->len && rest->ptr[end] != '"'; end++) {
        if (rest->ptr[end] == '\\') {
            end++;
        }
    }

    if (end >= rest->len) {
        return false;
    }

    *value = cn_bytes(rest->ptr + at + 2, end - at - 2);
    *rest = cn_bytes_from(*rest, end + 1);

    if (rest->len > 0 && rest->ptr[0] == ',') {
        *rest = cn_bytes_from(*rest, 1);
    }

    return true;
}


/* Two lists: by who called whom, and by route. */
typedef struct {
    json_t  *requests;
    json_t  *routes;
} traffic_t;


static void
add_series(json_t **list, const cn_series_view_t *view)
{
    json_t                  *object = json_object();
    const cn_series_http_t  *http = view->values;
    cn_bytes_t               rest = view->labels;
    cn_bytes_t               name, value;

    while (next_label(&rest, &name, &value)) {
        if (is_shown(name)) {
            char  key[64];

            snprintf(key, sizeof(key), "%.*s", CN_BYTES_ARG(name));
            cn_print_set(&object, key, cn_print_bytes(value));
        }
    }

    cn_print_set(&object, "requests", number(http->requests));
    cn_print_set(&object, "duration_ms_sum", json_real((double) http->duration_ms.sum_milli / 1e3));
    cn_print_append(list, object);
}


static json_t *
describe_values(const cn_series_route_t *values)
{
    json_t  *object = json_object();
    json_t  *classes = json_array();

    for (size_t i = 0; i < CN_COUNT_OF(values->by_class); i++) {
        cn_print_append(&classes, number(values->by_class[i]));
    }

    cn_print_set(&object, "requests", number(values->requests));
    cn_print_set(&object, "denied", number(values->denied));
    cn_print_set(&object, "by_class", classes);
    cn_print_set(&object, "duration_us", number(values->duration_us));

    return object;
}


static void
add_route(traffic_t *traffic, const cn_series_view_t *view)
{
    json_t      *object = describe_values(view->values);
    cn_bytes_t   rest = view->labels;
    cn_bytes_t   name, value;

    while (next_label(&rest, &name, &value)) {
        char  key[64];

        snprintf(key, sizeof(key), "%.*s", CN_BYTES_ARG(name));
        cn_print_set(&object, key, cn_print_bytes(value));
    }

    cn_print_append(&traffic->routes, object);
}


static void
add_traffic(void *context, const cn_series_view_t *view)
{
    traffic_t  *traffic = context;

    if (view->kind == CN_SERIES_HTTP) {
        add_series(&traffic->requests, view);

    } else if (view->kind == CN_SERIES_ROUTE) {
        add_route(traffic, view);
    }
}


void
cn_page_traffic(cn_page_t *page)
{
    json_t     *object = json_object();
    traffic_t   traffic = { json_array(), json_array() };

    if (cn_series_merge(page->view->slab, add_traffic, &traffic) != CN_OK) {
        page->failed = true;
    }

    cn_print_set(&object, "requests", traffic.requests);
    cn_print_set(&object, "routes", traffic.routes);
    cn_page_json(page, object);
}
