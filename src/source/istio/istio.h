/* SPDX-License-Identifier: Apache-2.0 */

/*
 * istio - what the readers of this folder share: resources as they stand in the files, and what was
 * understood of them.  Everything lives in the pool of the model that is being made.
 *
 *   files --yaml--> documents --resource--> cn_loaded_t --kinds--> the structs below --build-->
 *   model
 *
 * Kinds are read in an order in which what a resource refers to is known before it: a reference
 * that dangles makes the resource broken like any other fault in it, and its last good version is
 * read in its place.
 */

#ifndef CN_SOURCE_ISTIO_ISTIO_H
#define CN_SOURCE_ISTIO_ISTIO_H

#include "base/map.h"
#include "model/read.h"
#include "source/source.h"

typedef struct { cn_bytes_t key; cn_bytes_t value; } cn_label_t;

typedef enum {
    CN_KIND_NAMESPACE, CN_KIND_GATEWAY, CN_KIND_SERVICE, CN_KIND_POD, CN_KIND_ENDPOINT_SLICE,
    CN_KIND_SERVICE_ENTRY, CN_KIND_WORKLOAD_ENTRY, CN_KIND_DESTINATION_RULE,
    CN_KIND_VIRTUAL_SERVICE, CN_KIND_HTTP_ROUTE, CN_KIND_MODULE,
    CN_KIND_IGNORED,                        /* known to be of no interest to a waypoint */
    CN_KIND_UNKNOWN,
} cn_istio_kind_t;

/* A resource as it stands in a file. */
typedef struct {
    cn_resource_t              resource;
    cn_istio_kind_t            kind;
    const cn_module_config_t  *module;      /* of CN_KIND_MODULE */
    cn_bytes_t                 key;         /* "kind namespace/name" */
    /* its file could not be read: this is the last good version */
    bool                       retained;
    bool                       broken;      /* and there is no last good version */
    bool                       stale;       /* broken now; the last good version is in force */
    void                      *parsed;      /* of CN_KIND_MODULE */
} cn_loaded_t;

typedef struct {
    cn_bytes_t  name;
    cn_array_t  labels;                     /* cn_label_t */
} cn_namespace_t;

typedef struct {
    cn_bytes_t    name;
    cn_bytes_t    name_space;
    cn_bytes_t    class_name;
    cn_bytes_t    for_service_account;      /* none: by labels of services and namespaces */
    cn_bytes_t    waypoint_for;             /* label istio.io/waypoint-for; none: service */
    cn_doc_t     *root;
    const char   *label;
} cn_gateway_t;

typedef struct {
    cn_bytes_t             name;
    uint16_t               port;
    uint16_t               target_port;     /* 0: by name */
    cn_bytes_t             target_name;
    cn_service_protocol_t  protocol;
    bool                   http2;
} cn_kube_port_t;

/* A Service, or one host of a ServiceEntry, whose name is its host. */
typedef struct {
    cn_bytes_t  name;
    cn_bytes_t  name_space;
    cn_bytes_t  host;
    cn_bytes_t  entry;                      /* the ServiceEntry; none: it is a Service */
    cn_array_t  labels;                     /* cn_label_t */
    cn_array_t  addresses;                  /* cn_table_ip_t */
    cn_array_t  ports;                      /* cn_kube_port_t, TCP ones */
    cn_array_t  selector;                   /* cn_label_t */
    cn_array_t  endpoints;                  /* cn_pod_ref_t, of a ServiceEntry that has its own */
    cn_array_t  slices;                     /* cn_slice_ref_t */
    /* cn_destination_rule_ref_t, of the first namespace that has any */
    cn_array_t  rules;
    cn_array_t  virtual_services;           /* cn_rule_set_ref_t that steer it */
    cn_array_t  http_routes;                /* cn_rule_set_ref_t */
    bool        publish_not_ready;
    bool        ours;                       /* this waypoint's */
    bool        refused;                    /* something that routes to it is broken */
    int64_t     created;
    cn_origin_t origin;
} cn_kube_service_t;

typedef struct {
    cn_bytes_t  name;
    uint16_t    port;
} cn_container_port_t;

#define CN_ENTRY_WEIGHT_MAX  1000000        /* of a WorkloadEntry */

/* A Pod, a WorkloadEntry, or an endpoint that stands in a ServiceEntry. */
typedef struct {
    cn_bytes_t  name;
    cn_bytes_t  name_space;
    cn_array_t  labels;                     /* cn_label_t */
    const cn_array_t  *named_by;            /* labels that name it in metrics; NULL: its own */
    cn_array_t  addresses;                  /* cn_table_ip_t */
    /* cn_container_port_t: by the container's name; of an entry by the service port's */
    cn_array_t  ports;
    uint32_t    weight;
    bool        entry;                      /* it is no Pod */
    cn_bytes_t  service_account;
    cn_bytes_t  workload;
    cn_bytes_t  uid;
    cn_bytes_t  principal;
    bool        ready;
    bool        hbone;
    bool        host_network;
} cn_pod_t;

typedef struct {
    cn_array_t  addresses;                  /* cn_table_ip_t */
    bool        ready;
    cn_bytes_t  pod;                        /* targetRef of kind Pod, in the slice's namespace */
} cn_slice_endpoint_t;

typedef struct {
    cn_bytes_t  name_space;
    cn_bytes_t  service;
    cn_array_t  endpoints;                  /* cn_slice_endpoint_t */
    cn_array_t  ports;                      /* cn_container_port_t: by the service port's name */
} cn_slice_t;

typedef enum { CN_H2_UPGRADE_DEFAULT, CN_H2_UPGRADE, CN_H2_DO_NOT_UPGRADE } cn_h2_upgrade_t;

/* connectionPool of a trafficPolicy; a subset's takes the place of its rule's as a whole. */
typedef struct {
    bool             given;
    cn_h2_upgrade_t  h2_upgrade;
    bool             client_protocol;       /* the endpoint is spoken to as the client speaks */
    uint32_t         idle_timeout_ms;       /* of HTTP connections; 0: not said, likewise below */
    uint32_t         tcp_idle_timeout_ms;
    uint32_t         connect_timeout_ms;
} cn_pool_policy_t;

typedef struct {
    cn_lb_policy_t    lb;                   /* 0: not said */
    cn_pool_policy_t  pool;
} cn_traffic_policy_t;

typedef struct {
    cn_bytes_t           name;
    cn_array_t           labels;            /* cn_label_t */
    cn_traffic_policy_t  policy;            /* what is not said is as the rule says */
    cn_origin_t          origin;
} cn_subset_t;

typedef struct {
    cn_bytes_t           name_space;
    cn_kube_service_t   *service;
    cn_traffic_policy_t  policy;
    cn_array_t           subsets;           /* cn_subset_t */
    cn_origin_t          origin;
} cn_destination_rule_t;

/* One way into a route: what must match. */
typedef struct {
    cn_bytes_t            name;
    cn_path_match_kind_t  path_kind;
    bool                  path_ignore_case;
    cn_bytes_t            path;
    cn_array_t            headers;          /* cn_header_match_t, as istiod orders them */
    cn_array_t            query;            /* cn_header_match_t */
    uint16_t              port;             /* 0: any */
    uint32_t              header_count;     /* named headers, for precedence */
    uint32_t              line;
    const char           *file;
} cn_rule_match_t;

typedef struct {
    cn_kube_service_t  *service;            /* NULL: not found, which its kind of route allows */
    cn_bytes_t          host;
    cn_bytes_t          subset;
    uint16_t            port;               /* 0: the service's only one, or the chain's */
    uint32_t            weight;
    cn_bytes_t          host_rewrite;
    cn_array_t          header_ops;         /* cn_header_op_t */
    cn_array_t          filters;            /* cn_filter_config_t */
} cn_rule_destination_t;

/* What a rule does to a path and an authority, or answers by itself. */
typedef struct {
    cn_bytes_t          host_rewrite;
    cn_path_rewrite_t   rewrite;            /* of a redirect: of its location */
    /* of Gateway API: the rewrite's value replaces the prefix that a match names */
    bool                replace_prefix;
    cn_redirect_t       redirect;
    bool                port_of_request;    /* the redirect's port is the chain's */
    uint16_t            redirect_status;    /* not 0: a redirect */
    bool                direct;             /* a direct response; direct_status is the rule's */
    cn_bytes_t          direct_body;
} cn_rule_actions_t;

/* http[] of a VirtualService or rules[] of an HTTPRoute. */
typedef struct {
    cn_bytes_t   name;
    cn_array_t   matches;                   /* cn_rule_match_t; none: one that matches all */
    cn_array_t   destinations;              /* cn_rule_destination_t */
    cn_array_t   header_ops;                /* cn_header_op_t */
    cn_array_t   filters;                   /* cn_filter_config_t */
    cn_rule_actions_t  actions;             /* redirect, rewrite, direct response */
    bool         weighted;                  /* several were said, though some have no weight */
    uint32_t     timeout_ms;
    bool         has_retry;
    cn_retry_t   retry;
    uint16_t     direct_status;             /* not 0: no destination can be chosen */
    uint16_t     no_cluster_status;
    cn_origin_t  origin;
} cn_rule_t;

typedef struct {
    cn_bytes_t   name;
    cn_bytes_t   name_space;
    int64_t      created;
    cn_array_t   services;                  /* cn_service_ref_t: whose traffic it routes */
    /* uint16_t for each of services: 0: all (HTTPRoute's parentRefs) */
    cn_array_t   ports;
    cn_array_t   rules;                     /* cn_rule_t */
} cn_rule_set_t;

typedef cn_kube_service_t      *cn_service_ref_t;           /* arrays hold these */
typedef cn_pod_t               *cn_pod_ref_t;
typedef cn_destination_rule_t  *cn_destination_rule_ref_t;
typedef cn_slice_t             *cn_slice_ref_t;
typedef cn_gateway_t           *cn_gateway_ref_t;
typedef cn_rule_set_t          *cn_rule_set_ref_t;
typedef cn_loaded_t            *cn_loaded_ref_t;

typedef struct {
    const cn_source_config_t  *config;
    cn_model_t                *model;
    cn_pool_t                 *pool;        /* the model's */
    cn_report_t               *report;
    const cn_istio_state_t    *last;        /* of the last reading; NULL */
    cn_array_t                 loaded;      /* cn_loaded_ref_t, in file order */
    cn_map_t                  *by_key;      /* key -> cn_loaded_t */
    cn_gateway_t              *waypoint;
    cn_array_t                 gateways;    /* cn_gateway_ref_t */
    cn_map_t                  *namespaces;  /* name -> cn_namespace_t */
    cn_map_t                  *services;    /* host -> cn_kube_service_t */
    cn_map_t                  *pods;        /* namespace/name -> cn_pod_t */
    cn_map_t                  *entries;     /* namespace/name -> cn_pod_t: WorkloadEntries */
    cn_array_t                 inline_endpoints;    /* cn_pod_ref_t: of all ServiceEntries */
} cn_istio_t;

/* ---- load.c: files and documents ------------------------------------------------------------- */

/*
 * Reads the files into istio->loaded; what the last reading had of a file that cannot be read now
 * is kept.  CN_ERR_IO, CN_ERR_MEMORY: reported.
 */
cn_status_t cn_istio_load(cn_istio_t *istio) CN_MUST_USE;

/*
 * A loaded resource made of a document, into *loaded; NULL when it is none (reported as far as need
 * be).
 */
cn_loaded_t *cn_istio_loaded(cn_istio_t *istio, cn_doc_t *root, cn_read_t *read);

/* The last good document of a resource, or NULL.  (istio.c) */
const cn_doc_t *cn_istio_last_good(const cn_istio_state_t *state, cn_bytes_t key);

/* Calls fn for each last good document that stood in file. */
cn_status_t cn_istio_last_each(const cn_istio_state_t *state, const char *file,
    cn_status_t (*fn)(void *arg, cn_bytes_t key, const cn_doc_t *doc), void *arg) CN_MUST_USE;

/* ---- readers of kinds ---- */

/* Each adds what it understood; read->errors tells whether it may be used. */
void cn_istio_read_namespace(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
void cn_istio_read_gateway(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
void cn_istio_read_service(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
void cn_istio_read_pod(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
void cn_istio_read_slice(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);
void cn_istio_read_service_entry(cn_istio_t *istio, cn_read_t *read,
    const cn_resource_t *resource);
void cn_istio_read_workload_entry(cn_istio_t *istio, cn_read_t *read,
    const cn_resource_t *resource);
void cn_istio_read_destination_rule(cn_istio_t *istio, cn_read_t *read,
    const cn_resource_t *resource);
void cn_istio_read_virtual_service(cn_istio_t *istio, cn_read_t *read,
    const cn_resource_t *resource);
void cn_istio_read_http_route(cn_istio_t *istio, cn_read_t *read, const cn_resource_t *resource);

/* The services that a broken resource would have steered: they are refused. */
void cn_istio_refuse_destination_rule(cn_istio_t *istio, const cn_resource_t *resource);
void cn_istio_refuse_virtual_service(cn_istio_t *istio, const cn_resource_t *resource);
void cn_istio_refuse_http_route(cn_istio_t *istio, const cn_resource_t *resource);

/* ---- small helpers (kube.c) ------------------------------------------------------------------ */

/* A mapping of strings to strings; its items as labels. */
void cn_istio_labels(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_array_t *labels);
cn_bytes_t cn_istio_label(const cn_array_t *labels, const char *key);

/* Whether every label of wanted is among labels. */
bool cn_istio_selects(const cn_array_t *wanted, const cn_array_t *labels);

/*
 * The service that a route's host names: short (in name_space), name.ns, name.ns.svc or full.
 * NULL.
 */
cn_kube_service_t *cn_istio_service(const cn_istio_t *istio, cn_bytes_t host,
    cn_bytes_t name_space);

/* Its full name in lower case, as hosts are compared, whether there is such a service or not. */
cn_bytes_t cn_istio_full_host(cn_istio_t *istio, cn_bytes_t given, cn_bytes_t name_space);

/* ASCII letters in lower case, in pool; none: memory. */
cn_bytes_t cn_istio_lower(cn_pool_t *pool, cn_bytes_t text);
const cn_kube_port_t *cn_istio_port(const cn_kube_service_t *service, uint16_t port);
const cn_subset_t *cn_istio_subset(const cn_kube_service_t *service, cn_bytes_t name);

/* The protocol of that name (any case), into port; false: there is none.  (service.c) */
bool cn_istio_protocol(cn_bytes_t name, cn_kube_port_t *port);

/* Adds port unless its number is there, which is reported at field.  (service.c) */
void cn_istio_add_port(cn_read_t *read, const cn_kube_port_t *port, const cn_doc_t *node,
    const char *field, cn_array_t *ports);

/* Whether the resource, or a label of it, says that CONNECT is answered on port 15008.  (pod.c) */
bool cn_istio_has_tunnel(cn_read_t *read, const cn_array_t *labels);

/* The resource's metadata; its labels; what is left over is told. */
cn_doc_t *cn_istio_metadata(const cn_resource_t *resource);
void cn_istio_read_labels(cn_read_t *read, cn_array_t *labels);
void cn_istio_finish(cn_read_t *read);

/* Zeroed, in the model's pool; NULL: memory, reported.  put: unless the resource is broken. */
void *cn_istio_new(cn_read_t *read, size_t size);
void cn_istio_put(cn_read_t *read, cn_map_t *map, cn_bytes_t key, void *value);
void cn_istio_add_ip(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t text,
    cn_array_t *addresses);

/* Where node stands, for the model. */
cn_origin_t cn_istio_origin(const cn_read_t *read, const cn_doc_t *node);

/* An IPv4 or IPv6 address; false: it is none. */
bool cn_istio_ip(cn_bytes_t text, cn_table_ip_t *ip);

/* ---- build.c --------------------------------------------------------------------------------- */

/* Fills services, clusters and workloads of the model.  CN_ERR_MEMORY. */
cn_status_t cn_istio_build(cn_istio_t *istio) CN_MUST_USE;

/*
 * The routes of one chain from the rule sets of its service, which are sorted here, in order.
 * (routes.c)
 */
cn_status_t cn_istio_build_routes(cn_istio_t *istio, cn_kube_service_t *service,
    const cn_kube_port_t *port,
    cn_array_t *routes) CN_MUST_USE;

/* What DestinationRules say of connections to a service or a subset of it (NULL); never NULL. */
const cn_pool_policy_t *cn_istio_pool_policy(const cn_kube_service_t *service,
    const cn_subset_t *subset);

/* "inbound-vip|9080|http/v1|HOST", or "outbound|9080|v1|HOST" of a service that is not ours. */
cn_bytes_t cn_istio_cluster_name(cn_istio_t *istio, const cn_kube_service_t *service,
    uint16_t port, const char *protocol,
    cn_bytes_t subset, cn_bytes_t host);

#endif
