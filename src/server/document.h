/* SPDX-License-Identifier: Apache-2.0 */

/* document - parsed YAML as JSON: what istiod is told of us goes on as it was written. */

#ifndef CN_SERVER_DOCUMENT_H
#define CN_SERVER_DOCUMENT_H

#include "base/doc.h"

#include <jansson.h>

/*
 * A new JSON value of the types that Kubernetes' reader gives the document's scalars (base/doc.h).
 * NULL: memory, or a string that is not UTF-8.
 */
json_t *cn_document_json(const cn_doc_t *doc) CN_MUST_USE;

/* The same as text without blanks, keys in the document's order, in pool.  NULL: likewise. */
const char *cn_document_print(const cn_doc_t *doc, cn_pool_t *pool) CN_MUST_USE;

/* A JSON value (borrowed; NULL is allowed and gives NULL) as such text in pool.  NULL: memory. */
const char *cn_document_text(const json_t *value, cn_pool_t *pool) CN_MUST_USE;

#endif
