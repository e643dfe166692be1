/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report - what was wrong with the input, collected and not printed at once: `-t`, the log, the
 * admin endpoint and a NACK all tell the same list.
 */

#ifndef CN_MODEL_REPORT_H
#define CN_MODEL_REPORT_H

#include "base/doc.h"

typedef enum { CN_REPORT_ERROR, CN_REPORT_WARNING, CN_REPORT_NOTE } cn_report_level_t;

typedef struct {
    cn_report_level_t  level;
    const char        *file;        /* "" when it came over xDS */
    uint32_t           line;        /* 0: none */
    uint32_t           column;
    /* "VirtualService default/reviews", an xDS resource's name, or "" */
    const char        *resource;
    const char        *field;       /* "spec.http[0].route[1].weight", or "" */
    const char        *text;        /* what is wrong and what was expected */
} cn_report_entry_t;

typedef struct {
    cn_pool_t   *pool;
    cn_array_t   entries;           /* cn_report_entry_t */
    size_t       errors;
    size_t       warnings;
    bool         truncated;         /* past 1000 entries only counted */
} cn_report_t;

/* In pool, empty.  NULL: memory. */
cn_report_t *cn_report_create(cn_pool_t *pool) CN_MUST_USE;

/* Adds an entry at a node's place (node may be NULL).  resource and field are copied. */
void cn_report_add(cn_report_t *report, cn_report_level_t level, const cn_doc_t *node,
    const char *resource,
    const char *field, const char *format, ...) CN_PRINTF(6, 7);

/* "FILE:LINE:COL: error: RESOURCE: FIELD: TEXT", parts that are absent left out. */
const char *cn_report_line(const cn_report_entry_t *entry, cn_pool_t *pool);

#endif
