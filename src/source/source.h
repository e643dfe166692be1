/* SPDX-License-Identifier: Apache-2.0 */

/*
 * source - where configuration comes from.  A source makes a whole model of its input; what is
 * broken is reported and contained: a broken resource keeps its last good version or is left out
 * closed.
 */

#ifndef CN_SOURCE_SOURCE_H
#define CN_SOURCE_SOURCE_H

#include "model/module_config.h"

typedef struct {
    const char                       *directory;        /* of YAML files, or of recorded *.pb */
    /* "default/waypoint", or NULL: the directory has just one */
    const char                       *waypoint;
    cn_bytes_t                        trust_domain;     /* "cluster.local" */
    const cn_bytes_t                 *trust_aliases;
    size_t                            trust_alias_count;
    bool                              access_log;
    bool                              http_10;          /* HTTP/1.0 is answered */
    const cn_module_config_t *const  *modules;          /* NULL-ended */
} cn_source_config_t;

/*
 * May take a while: within a fiber (base/fiber.h) it rests now and then; *state, report and *model
 * are its own until it returns.
 *
 * Reads a directory of YAML (sorted order, multi-document, kind: List).  previous is the model's
 * source state of the last good reading (NULL at first): where a resource is broken now, its last
 * good documents are used again. CN_OK: *model is usable, report may hold errors of contained
 * resources; CN_ERR_*: there is no waypoint or no service, or memory: no model.
 */
typedef struct cn_istio_state_s cn_istio_state_t;
cn_status_t cn_istio_read(const cn_source_config_t *config, cn_istio_state_t **state,
    cn_report_t *report, cn_model_t **model) CN_MUST_USE;
void cn_istio_state_destroy(cn_istio_state_t *state);

/*
 * Whether a change of that name in the directory is one of its configuration: a file that is read,
 * or the link behind which a mounted ConfigMap changes all of its files at once.
 */
bool cn_istio_is_watched(const char *name);

/*
 * Reads lds.pb, cds.pb, eds.pb (and workload files if present) of a recorded push.  As above,
 * without a state.
 */
cn_status_t cn_xds_read_directory(const cn_source_config_t *config, cn_report_t *report,
    cn_model_t **model) CN_MUST_USE;

#endif
