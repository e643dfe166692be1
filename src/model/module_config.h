/* SPDX-License-Identifier: Apache-2.0 */

/*
 * module_config - the configuration part of a module: master only.  It reads what users and istiod
 * write into a struct of its own, prints that struct for the model, and packs it into the table as
 * the run part expects it (NAME_table.h).
 *
 * A source is handed the list of these and includes no module.  A function of one of them that
 * meets a field it knows but does not implement reports an error naming it: a restriction is never
 * dropped.
 */

#ifndef CN_MODEL_MODULE_CONFIG_H
#define CN_MODEL_MODULE_CONFIG_H

#include "model/model.h"

#include <jansson.h>

/* A parsed resource of the file source. */
typedef struct {
    const char  *api_version;       /* "security.istio.io/v1" */
    const char  *kind;              /* "AuthorizationPolicy" */
    cn_bytes_t   name_space;
    cn_bytes_t   name;
    cn_doc_t    *root;
    cn_doc_t    *spec;              /* NULL when absent */
    const char  *label;             /* "AuthorizationPolicy default/viewer", for reports */
    /* creationTimestamp in seconds, 0: none; ties: name, namespace */
    int64_t      created;
} cn_resource_t;

/* What a reader is handed: where to allocate, where to report, and for whom. */
typedef struct cn_read_s cn_read_t;

struct cn_read_s {
    cn_pool_t            *pool;             /* the model's */
    cn_report_t          *report;
    const cn_model_t     *model;            /* global fields are set */
    const cn_resource_t  *resource;         /* the one being read */
    /* cn_header_op_t of the route or destination being read; NULL elsewhere */
    cn_array_t           *header_ops;
    /* reported through this; the resource is broken when it is not 0 */
    size_t                errors;
    const void           *source;           /* the source's own */

    /* Whether the source has a resource of that name, broken or not; NULL: it cannot tell. */
    bool                (*has)(const cn_read_t *read, const char *kind, cn_bytes_t name_space,
                               cn_bytes_t name);
};

/* Reports at a node: an error (the resource is refused), a warning, a note. */
void cn_read_error(cn_read_t *read, const cn_doc_t *node, const char *field, const char *format,
    ...) CN_PRINTF(4, 5);
void cn_read_warn(cn_read_t *read, const cn_doc_t *node, const char *field, const char *format,
    ...) CN_PRINTF(4, 5);

/*
 * Everything of node that nobody used is an unknown field: an error when strict, else a warning
 * each.
 */
void cn_read_finish(cn_read_t *read, cn_doc_t *node, const char *field, bool strict);

/* Getters that report what is wrong: model/read.h. */

typedef struct { const char *group; const char *const *versions; const char *kind; } cn_kind_t;

/* For which chain a filter is asked. */
typedef struct {
    const cn_service_t       *service;
    const cn_chain_config_t  *chain;
    /* all of this module's kinds that were read well, oldest first */
    const cn_resource_t     **resources;
    void                    **parsed;       /* what read_resource made of each */
    /* and whether one is broken: its targets are to be denied */
    const bool               *broken;
    size_t                    resource_count;
    /* the module's own over all chains of one building, at first NULL; in the pool */
    void                    **memo;
    /* a module may stand in a chain several times: asked with 0, 1, ... until *config is NULL */
    size_t                    ordinal;
    /* the Gateway's name for targetRefs; its namespace is model->name_space */
    const cn_bytes_t         *service_labels_owner;
} cn_chain_question_t;

struct cn_module_config_s {
    const char        *name;                /* as the run part's */
    /* "envoy.filters.http.fault": Envoy's, printed in the model */
    const char        *filter_name;
    const char *const *type_urls;           /* of read_xds, NULL-ended; NULL: none */
    /* resources that are this module's alone, ended by .kind NULL; NULL: none */
    const cn_kind_t   *kinds;
    /* fields of a VirtualService's http[] that are this module's, NULL-ended */
    const char *const *route_fields;
    /* filter types of an HTTPRoute rule that are this module's, NULL-ended */
    const char *const *route_filters;
    /* it does what the cn_header_op_t of routes and destinations say */
    bool               header_ops;
    /* it only counts or logs: what a build leaves out of it is not missed */
    bool               observes;
    /* the build leaves it out: what needs it is refused by name */
    bool               left_out;
    /* stands in every HTTP chain (istiod's way), with or without configuration; where: as listed */
    bool               always;
    /* likewise in every chain of TCP */
    bool               always_raw;

    /* A resource of `kinds`.  CN_ERR_*: reported; the resource is broken. */
    cn_status_t  (*read_resource)(cn_read_t *read, const cn_resource_t *resource, void **parsed);

    /*
     * One chain's configuration from the resources; *config NULL: not needed here.  NULL function:
     * there is none.
     */
    cn_status_t  (*read_chain)(cn_read_t *read, const cn_chain_question_t *question, void **config);

    /*
     * One route field (name is of route_fields) or HTTPRoute filter (of route_filters); called once
     * each, may extend *config.
     */
    cn_status_t  (*read_route)(cn_read_t *read, const char *name, cn_doc_t *node,
                               const char *field, void **config);

    /*
     * A typed configuration, whose octets live during the call only: on_route tells a per-route one
     * from the filter's own.  Unknown fields that matter: CN_ERR_UNSUPPORTED, reported.
     */
    cn_status_t  (*read_xds)(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route,
                             void **config);

    /* A new reference; NULL: memory.  Equal configurations print equally whatever their source. */
    json_t      *(*print)(const void *config);

    /* Packs config; *at is the offset of the run part's struct.  on_route as above. */
    cn_status_t  (*pack)(const void *config, bool on_route, cn_block_builder_t *builder,
                         uint32_t *at);
};

/* All that are compiled in, in chain order, ended by NULL (made by configure). */
extern const cn_module_config_t *const  cn_module_configs[];

/*
 * The names of all run parts in the order of cn_modules (made by configure): a table refers to a
 * module by its place here.
 */
extern const char *const  cn_module_names[];

/* Whether the build has that module. */
bool cn_module_is_built(const char *name);

/* Reports that a module is needed which the build leaves out; CN_ERR_UNSUPPORTED. */
cn_status_t cn_module_left_out(cn_read_t *read, const cn_doc_t *node, const char *field,
    const char *name);

/* Helpers for pack and print of what the model and the modules share. */
cn_table_string_match_t cn_pack_string_match(const cn_string_match_t *match,
    cn_block_builder_t *builder);
cn_table_origin_t cn_pack_origin(const cn_origin_t *origin, cn_block_builder_t *builder);
json_t *cn_print_string_match(const cn_string_match_t *match);

/* The id of the cluster of that name, for a filter that calls it; 0: there is none now. */
uint32_t cn_pack_cluster(const cn_block_builder_t *builder, cn_bytes_t name);

#endif
