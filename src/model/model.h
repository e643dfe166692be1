/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model - a waypoint described independently of where the description came from.  Sources (Istio
 * YAML, xDS) fill it, the compiler turns it into tables, and it prints itself as canonical JSON.
 * Everything lives in the model's pool and is immutable once the source returns it.
 *
 * It must hold what istiod says through Envoy's configuration: chains by address, port and
 * protocol; ordered filters, each a module and its configuration; ordered routes; clusters with
 * endpoints.
 */

#ifndef CN_MODEL_MODEL_H
#define CN_MODEL_MODEL_H

#include "model/report.h"
#include "table/layout.h"

typedef struct cn_module_config_s cn_module_config_t;      /* model/module_config.h */

/* Where the user said it; for explain, not printed with -T. */
typedef struct {
    const char  *file;              /* "" over xDS */
    uint32_t     line;
    const char  *resource;          /* "VirtualService default/reviews" */
} cn_origin_t;

typedef struct {
    cn_string_match_kind_t  kind;
    bool                    ignore_case;
    cn_bytes_t              value;
} cn_string_match_t;

typedef struct {
    cn_bytes_t         name;        /* lower case or ":pseudo" */
    bool               present_only;
    bool               invert;
    bool               missing_as_empty;
    cn_string_match_t  value;
} cn_header_match_t;

typedef struct {
    cn_header_op_kind_t  op;
    bool                 on_response;
    bool                 format;    /* value has commands (base/header_format.h) */
    cn_bytes_t           name;      /* lower case */
    cn_bytes_t           value;
} cn_header_op_t;

/* One module's part: in a chain's order, or per route or destination. */
typedef struct {
    const cn_module_config_t  *module;
    cn_bytes_t                 name;        /* "envoy.filters.http.fault" */
    void                      *config;      /* the module's own; NULL: it needs none */
} cn_filter_config_t;

typedef struct {
    cn_bytes_t  cluster;            /* a cluster's name; it need not exist */
    uint32_t    weight;
    cn_bytes_t  host_rewrite;       /* where the route has none */
    cn_array_t  header_ops;         /* cn_header_op_t */
    cn_array_t  filters;            /* cn_filter_config_t */
} cn_destination_t;

typedef struct {
    cn_path_rewrite_kind_t  kind;
    cn_bytes_t              pattern;
    cn_bytes_t              value;
} cn_path_rewrite_t;

typedef struct {
    cn_bytes_t  scheme;
    cn_bytes_t  host;
    uint16_t    port;
} cn_redirect_t;

typedef struct {
    uint32_t    on;                 /* cn_retry_on_t bits */
    uint32_t    tries;
    uint32_t    per_try_timeout_ms;
    uint32_t    base_backoff_ms;
    uint32_t    max_backoff_ms;
    uint32_t    host_attempts;
    cn_array_t  statuses;           /* uint32_t */
} cn_retry_t;

typedef struct {
    cn_bytes_t            name;
    cn_path_match_kind_t  path_kind;
    bool                  path_ignore_case;
    cn_bytes_t            path;
    cn_array_t            headers;          /* cn_header_match_t */
    cn_array_t            query;            /* cn_header_match_t */
    cn_route_action_t     action;
    cn_array_t            destinations;     /* cn_destination_t */
    uint16_t              direct_status;    /* of a direct response or a redirect */
    cn_bytes_t            direct_body;
    cn_path_rewrite_t     rewrite;          /* upstream, or in a redirect's location */
    cn_bytes_t            host_rewrite;
    cn_redirect_t         redirect;
    uint16_t              no_cluster_status;
    uint32_t              timeout_ms;
    uint32_t              max_grpc_timeout_ms;
    cn_retry_t            retry;
    cn_array_t            header_ops;       /* cn_header_op_t */
    cn_array_t            filters;          /* cn_filter_config_t */
    cn_bytes_t            decorator;
    cn_origin_t           origin;
} cn_route_t;

typedef struct {
    uint16_t               port;
    cn_service_protocol_t  protocol;
    uint8_t                path_level;      /* cn_path_level_t */
    bool                   http2_upstream;
    bool                   http_10;         /* HTTP/1.0 is answered */
    bool                   refused;         /* left out closed: all requests are denied */
    cn_bytes_t             name;            /* "inbound-vip|9080|http|HOST" */
    cn_array_t             filters;         /* cn_filter_config_t, the router last */
    cn_array_t             routes;          /* cn_route_t */
    cn_bytes_t             tcp_cluster;
    uint32_t               tcp_idle_timeout_ms;     /* 0: an hour */
    uint32_t               tcp_max_duration_ms;     /* 0: none */
} cn_chain_config_t;

typedef struct {
    cn_bytes_t   host;
    cn_bytes_t   name;
    cn_bytes_t   name_space;
    /* the ServiceEntry whose host it is, which policies name; none: a Service.  Not printed. */
    cn_bytes_t   entry;
    cn_array_t   addresses;         /* cn_table_ip_t */
    cn_array_t   chains;            /* cn_chain_config_t */
    cn_origin_t  origin;
} cn_service_t;

typedef struct {
    uint8_t     ip[16];
    uint16_t    port;
    uint16_t    hbone_port;         /* 15008; 0: not reached by HBONE */
    bool        healthy;
    uint32_t    weight;
    cn_bytes_t  principal;
    cn_bytes_t  uid;
} cn_endpoint_config_t;

typedef struct {
    cn_bytes_t      name;
    cn_lb_policy_t  lb;
    bool            http2;
    bool            client_protocol;    /* as the client speaks: HTTP/1.1 or HTTP/2 */
    cn_bytes_t      service_host;
    cn_bytes_t      service_name;
    cn_bytes_t      service_namespace;
    uint32_t        connect_timeout_ms;
    uint32_t        idle_timeout_ms;
    uint32_t        max_connections;
    uint32_t        max_pending;
    uint32_t        max_requests;
    uint32_t        max_retries;
    cn_array_t      endpoints;      /* cn_endpoint_config_t, sorted by address and port */
    cn_origin_t     origin;
} cn_cluster_t;

typedef struct {
    cn_array_t  addresses;          /* cn_table_ip_t */
    cn_bytes_t  uid;
    cn_bytes_t  name;
    cn_bytes_t  name_space;
    cn_bytes_t  workload;
    cn_bytes_t  canonical_name;
    cn_bytes_t  canonical_revision;
    cn_bytes_t  app;
    cn_bytes_t  version;
    cn_bytes_t  cluster;
    cn_bytes_t  principal;
} cn_workload_t;

typedef struct {
    uint8_t     ip[16];
    uint16_t    port;
    uint16_t    service_port;
    cn_bytes_t  service_host;
} cn_pin_t;

/* What one model may take: a configuration that needs more is a mistake or an attack. */
#define CN_MODEL_MEMORY_MAX  ((size_t) 1024 * 1024 * 1024)

typedef struct {
    cn_account_t account;           /* of the pool; over: what is in it is not all */
    cn_pool_t   *pool;              /* owns all below */
    cn_bytes_t   waypoint;
    cn_bytes_t   name_space;
    cn_bytes_t   cluster_domain;
    cn_bytes_t   cluster_id;
    cn_bytes_t   root_namespace;    /* where the mesh's own resources are; not printed */
    cn_array_t   trust_domains;     /* cn_bytes_t */
    bool         access_log;
    bool         http_10;           /* where no chain says */
    cn_bytes_t   access_log_format;
    cn_array_t   pins;              /* cn_pin_t */
    cn_array_t   services;          /* cn_service_t, sorted by host */
    cn_array_t   clusters;          /* cn_cluster_t, sorted by name */
    cn_array_t   workloads;         /* cn_workload_t, sorted by uid */
} cn_model_t;

/*
 * An empty model with the defaults of Istio's mesh configuration, in a pool of its own.  NULL:
 * memory.
 */
cn_model_t *cn_model_create(void) CN_MUST_USE;
void cn_model_destroy(cn_model_t *model);

/*
 * Whether all that was read had room in the model; CN_ERR_LIMIT: reported, and the model must not
 * be used, since what did not fit may be what restricts.
 */
cn_status_t cn_model_check_memory(const cn_model_t *model, cn_report_t *report) CN_MUST_USE;

/* Brings services, clusters and workloads into the order that the model has them in. */
cn_status_t cn_model_sort(cn_model_t *model) CN_MUST_USE;

/*
 * Fills what every route, cluster and chain has when nothing is said: istiod's defaults (retry 2,
 * least request, ...).
 */
void cn_route_defaults(cn_route_t *route, cn_pool_t *pool);
void cn_cluster_defaults(cn_cluster_t *cluster, cn_pool_t *pool);
void cn_chain_defaults(cn_chain_config_t *chain, cn_pool_t *pool);

/* The bit of a retry condition's name ("connect-failure"); false: it is not implemented. */
bool cn_retry_condition(cn_bytes_t name, uint32_t *bit);

/*
 * Brings operations (cn_header_op_t) into the order in which they are done: those on requests,
 * those on responses, and of each the removals first.  CN_ERR_MEMORY.
 */
cn_status_t cn_header_ops_order(cn_array_t *ops) CN_MUST_USE;

/*
 * The canonical JSON (sorted keys, 2 blanks of indent, newline at the end), in pool; NULL: memory.
 */
char *cn_model_print(const cn_model_t *model, cn_pool_t *pool) CN_MUST_USE;

#endif
