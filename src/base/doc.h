/* SPDX-License-Identifier: Apache-2.0 */

/*
 * doc - the tree of a parsed document, each node with its place in the file.  Built by the YAML
 * reader; read by the configuration sources and by modules.  The tree and its strings live in one
 * pool.  Scalars keep their text; the typed getters say what the text must be.
 */

#ifndef CN_BASE_DOC_H
#define CN_BASE_DOC_H

#include "base/array.h"

typedef enum {
    CN_DOC_NULL,
    CN_DOC_SCALAR,
    CN_DOC_SEQUENCE,
    CN_DOC_MAPPING,
} cn_doc_kind_t;

typedef struct cn_doc_s cn_doc_t;

struct cn_doc_s {
    cn_doc_kind_t  kind;
    bool           quoted;      /* a quoted scalar is a string whatever it looks like */
    bool           used;        /* somebody looked at it; what stays unused is an unknown field */
    uint32_t       line;        /* 1 is the first */
    uint32_t       column;      /* 1 is the first */
    const char    *file;        /* the pool's, as the user named it */
    cn_bytes_t     key;         /* in a mapping: this value's key; else none */
    cn_bytes_t     text;        /* of a scalar */
    cn_doc_t      *first;       /* of a sequence or mapping: its first item */
    cn_doc_t      *next;        /* the next item of the same parent */
    uint32_t       count;       /* items */
};

#define CN_DOC_EACH(node, item)                                                         \
    for (cn_doc_t *item = (node) && (node)->kind >= CN_DOC_SEQUENCE ? (node)->first : NULL; \
         item != NULL; item = item->next)

/* The value under key, marked used; NULL when absent, null or node is NULL or no mapping. */
cn_doc_t *cn_doc_get(cn_doc_t *node, const char *key);

/* Follows "spec.selector.app"; marks each step used.  NULL when a step is absent. */
cn_doc_t *cn_doc_path(cn_doc_t *node, const char *path);

/*
 * Scalars, with the types that Kubernetes' YAML reader gives them: a plain true, yes, on is a bool
 * and a plain 5 or 1e3 a number, neither is a string; what is quoted is a string only.  A number
 * with a leading zero is none (octal to some readers).  CN_ERR_SYNTAX: not of that type;
 * CN_ERR_RANGE: out of min..max.
 */
cn_status_t cn_doc_bool(const cn_doc_t *node, bool *value) CN_MUST_USE;
cn_status_t cn_doc_u64(const cn_doc_t *node, uint64_t min, uint64_t max, uint64_t *value)
    CN_MUST_USE;
cn_status_t cn_doc_double(const cn_doc_t *node, double *value) CN_MUST_USE;
cn_status_t cn_doc_string(const cn_doc_t *node, cn_bytes_t *value) CN_MUST_USE;

/* Marks node and all below as used. */
void cn_doc_use_all(cn_doc_t *node);

/*
 * The first node below root that nobody used, in file order; NULL when none is left.  The items of
 * a used sequence count as used, their fields do not.
 */
cn_doc_t *cn_doc_unused(cn_doc_t *root);

/* What a kind is called in messages: "a mapping", "a sequence", "a scalar", "null". */
const char *cn_doc_kind_name(cn_doc_kind_t kind);

#endif
