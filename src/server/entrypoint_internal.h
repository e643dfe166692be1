/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint_internal - the entrypoint between its own files: what it has read so far, and typed
 * values of the environment.
 */

#ifndef CN_SERVER_ENTRYPOINT_INTERNAL_H
#define CN_SERVER_ENTRYPOINT_INTERNAL_H

#include "server/bootstrap_internal.h"
#include "server/entrypoint.h"

#include <jansson.h>

typedef struct {
    const cn_entrypoint_input_t  *input;
    cn_pool_t                    *pool;
    cn_report_t                  *report;
    cn_bootstrap_t               *out;
    const char                   *root;             /* CAIRN_ROOT, or "" */
    bool                          failed;           /* memory: nothing of all this holds */

    /* flags; NULL and 0: not given */
    const char                   *domain;
    const char                   *service_cluster;
    const char                   *proxy_log_level;
    const char                   *log_output_level;
    uint32_t                      concurrency;

    /* of the pod; objects, dropped at the end */
    const char                   *pod_name;
    const char                   *name_space;
    const char                   *service_account;
    cn_array_t                    addresses;        /* cn_bytes_t: the pod's IP first */
    json_t                       *labels;
    json_t                       *annotations;
    json_t                       *proxy_config;     /* defaults and all that is laid over them */
} cn_entrypoint_t;

/*
 * --- entrypoint_env.c ------------------------------------------------------------------------
 */

/* A variable of the environment alone; NULL: not set, or empty. */
const char *cn_entrypoint_find(char *const *environment, const char *name);

/* An error at the flag or variable of that name. */
void cn_entrypoint_wrong(cn_entrypoint_t *entry, const char *name, const char *expected);

/*
 * A string in the pool, never NULL: when memory is spent it is "" and entry has failed, so that no
 * path or name is left out quietly (a server without root is checked against the system's).
 */
const char *cn_entrypoint_printf(cn_entrypoint_t *entry, const char *format, ...) CN_PRINTF(2, 3);

/* A path of the container, in the pool: behind CAIRN_ROOT.  Never NULL, likewise. */
const char *cn_entrypoint_path(cn_entrypoint_t *entry, const char *path);

/*
 * The same, and what ProxyConfig's proxyMetadata says counts where the environment itself does not
 * say it.
 */
const char *cn_entrypoint_env(const cn_entrypoint_t *entry, const char *name);

/* Typed; *value stays as it is when the variable is not set.  Another type is reported. */
void cn_entrypoint_env_bool(cn_entrypoint_t *entry, const char *name, bool *value);
void cn_entrypoint_env_duration(cn_entrypoint_t *entry, const char *name, uint64_t *ms);
void cn_entrypoint_env_ratio(cn_entrypoint_t *entry, const char *name, uint32_t *ppm);
void cn_entrypoint_env_u32(cn_entrypoint_t *entry, const char *name, uint32_t min, uint32_t max,
    uint32_t *value);

/* A member of ProxyConfig; NULL: none of that name and type.  Another type is reported. */
const char *cn_entrypoint_config_string(const cn_entrypoint_t *entry, const char *name);
void cn_entrypoint_config_duration(cn_entrypoint_t *entry, const char *name, uint64_t *ms);
void cn_entrypoint_config_u32(cn_entrypoint_t *entry, const char *name, uint32_t max,
    uint32_t *value);

/*
 * --- entrypoint_pod.c ------------------------------------------------------------------------
 */

/* The pod's name, account, addresses, labels and annotations. */
void cn_entrypoint_read_pod(cn_entrypoint_t *entry);

/* ProxyConfig: Istio's defaults, under PROXY_CONFIG, under the pod's annotation. */
void cn_entrypoint_read_config(cn_entrypoint_t *entry);

/*
 * --- entrypoint_control.c --------------------------------------------------------------------
 */

/* istiod, who signs, and which identity this is. */
void cn_entrypoint_read_control(cn_entrypoint_t *entry);

/*
 * --- entrypoint_node.c -----------------------------------------------------------------------
 */

/*
 * The xDS Node that istiod knows this waypoint by: a new object {"id", "cluster", "locality",
 * "metadata"}.  NULL: memory.
 */
json_t *cn_entrypoint_node(cn_entrypoint_t *entry) CN_MUST_USE;

#endif
