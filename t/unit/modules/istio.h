/* SPDX-License-Identifier: Apache-2.0 */

/*
 * istio - reads YAML given as text, with the modules of this build, and looks into the model that
 * comes out.
 */

#ifndef CN_T_ISTIO_H
#define CN_T_ISTIO_H

#include "source/source.h"

#include "unit.h"

#include <unistd.h>

/* A waypoint, and a service with two pods behind it; ends with a document's end. */
#define ISTIO_BASE                                                                                  \
    "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: waypoint}}}\n---\n"    \
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint},"         \
    " spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}\n---\n"        \
    "{apiVersion: v1, kind: Service, metadata: {name: web},"                                        \
    " spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: 8080}], selector: {app: web}}}\n---\n"    \
    "{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app: web, version: v1},"          \
    " annotations: {ambient.istio.io/redirection: enabled}}, spec: {serviceAccountName: web},"      \
    " status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: \"True\"}]}}\n---\n"             \
    "{apiVersion: v1, kind: Pod, metadata: {name: web-2, labels: {app: web, version: v2}},"         \
    " spec: {}, status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: \"False\"}]}}\n---\n"

#define ISTIO_BASE_LINES  10u            /* the first line behind it is this and one more */

typedef struct {
    cn_pool_t         *pool;
    cn_istio_state_t  *state;
    cn_report_t       *report;          /* of the last reading */
    cn_model_t        *model;           /* of the last reading that made one */
    json_t            *json;            /* model, printed and parsed */
    cn_status_t        status;
    char               path[32];
} istio_t;


static inline void
istio_open(istio_t *istio)
{
    int  fd;

    *istio = (istio_t) { .pool = cn_pool_create(4096, NULL), .path = "/tmp/cairn-unit-XXXXXX" };
    fd = mkstemp(istio->path);
    assert_true(fd >= 0);
    assert_non_null(istio->pool);
    close(fd);
}


static inline void
istio_drop(istio_t *istio)
{
    json_decref(istio->json);
    istio->json = NULL;
    cn_model_destroy(istio->model);
    istio->model = NULL;
}


static inline void
istio_read_path(istio_t *istio, const char *path)
{
    cn_source_config_t  config = {
        .directory = path, .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };
    char               *text;

    istio_drop(istio);
    istio->report = cn_report_create(istio->pool);
    assert_non_null(istio->report);
    istio->status = cn_istio_read(&config, &istio->state, istio->report, &istio->model);

    if (istio->status == CN_OK) {
        text = cn_model_print(istio->model, istio->pool);
        assert_non_null(text);
        istio->json = json_loads(text, 0, NULL);
        assert_non_null(istio->json);
    }
}


/* Several texts, one behind the other. */
static inline void
istio_read(istio_t *istio, const char *first, const char *second)
{
    FILE  *file = fopen(istio->path, "w");

    assert_non_null(file);
    assert_true(fputs(first, file) >= 0 && fputs(second, file) >= 0);
    assert_int_equal(fclose(file), 0);
    istio_read_path(istio, istio->path);
}


static inline void
istio_close(istio_t *istio)
{
    istio_drop(istio);
    cn_istio_state_destroy(istio->state);
    unlink(istio->path);
    cn_pool_destroy(istio->pool);
}


/* The lines of the report without the file's name, each ended by a newline. */
static inline const char *
istio_lines(istio_t *istio)
{
    const char  *all = "";

    CN_ARRAY_EACH(&istio->report->entries, const cn_report_entry_t, entry) {
        const char  *line = cn_report_line(entry, istio->pool);
        const char  *place = strncmp(line, istio->path, strlen(istio->path)) == 0
            ? line + strlen(istio->path) + 1 : line;

        all = cn_pool_printf(istio->pool, "%s%s\n", all, place);
        assert_non_null(all);
    }

    return all;
}


/* The item of a list whose member `key` is `value`; NULL. */
static inline json_t *
istio_find(json_t *list, const char *key, const char *value)
{
    size_t   i;
    json_t  *item;

    json_array_foreach(list, i, item) {
        const char  *text = json_string_value(json_object_get(item, key));

        if (text != NULL && strcmp(text, value) == 0) {
            return item;
        }
    }

    return NULL;
}


/* The first chain of a service. */
static inline json_t *
istio_chain(istio_t *istio, const char *service)
{
    json_t  *found = istio_find(json_object_get(istio->json, "services"), "name", service);

    return json_array_get(json_object_get(found, "chains"), 0);
}


/* One line of JSON with sorted keys; "" for NULL. */
static inline const char *
istio_text(istio_t *istio, json_t *json)
{
    char  *dumped = json == NULL ? NULL : json_dumps(json,
                                                     JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
    char  *kept = dumped == NULL ? NULL : cn_pool_str(istio->pool, cn_bytes_str(dumped));

    free(dumped);

    return kept == NULL ? "" : kept;
}

#endif
