/* SPDX-License-Identifier: Apache-2.0 */

/*
 * yaml - from octets to document trees with places.  What Kubernetes' own reader would take one way
 * and another reader another way is refused: aliases, duplicate keys, tags, keys that are no
 * scalars.
 */

#ifndef CN_SOURCE_ISTIO_YAML_H
#define CN_SOURCE_ISTIO_YAML_H

#include "model/report.h"

#define CN_YAML_DEPTH_MAX  64

/*
 * Appends the documents of text (cn_doc_t *, in file order; empty ones are left out) to documents;
 * all lives in pool but text and file, which the caller keeps.  A value in a mapping has the place
 * of its key.  CN_ERR_SYNTAX: reported; the documents before the fault are there.  CN_ERR_MEMORY.
 */
cn_status_t cn_yaml_read(const char *file, cn_bytes_t text, cn_pool_t *pool, cn_report_t *report,
    cn_array_t *documents) CN_MUST_USE;

/* A copy of doc with all below, its file name too, unused again.  NULL: memory. */
cn_doc_t *cn_yaml_copy(const cn_doc_t *doc, cn_pool_t *pool) CN_MUST_USE;

#endif
