/* SPDX-License-Identifier: Apache-2.0 */

/*
 * read - how a reader takes fields from a document.  Each getter marks the field as used and
 * reports what is wrong with it at its place: read->errors tells in the end, so that a reader goes
 * on and the user gets all errors at once.  `field` is the path of the parent ("spec.http[0]"),
 * `key` the field in it.
 */

#ifndef CN_MODEL_READ_H
#define CN_MODEL_READ_H

#include "model/module_config.h"

/*
 * "spec.http[0].route": a path for reports, in the report's pool; "" when memory is spent, never
 * NULL.
 */
const char *cn_read_path(cn_read_t *read, const char *format, ...) CN_PRINTF(2, 3);

/* The child when it is there and of that kind; NULL: absent, or reported. */
cn_doc_t *cn_read_mapping(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field);
cn_doc_t *cn_read_sequence(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field);

/* True: *value is set.  False: absent, or reported; *value is as it was. */
bool cn_read_string(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_bytes_t *value);
bool cn_read_bool(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    bool *value);
bool cn_read_u64(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    uint64_t min,
    uint64_t max, uint64_t *value);
bool cn_read_double(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    double min,
    double max, double *value);

/* "2s", "1h30m", "250ms": milliseconds, at least 1 when it is more than nothing. */
bool cn_read_duration_ms(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    uint32_t *ms);

/* A string that must be there and not empty. */
bool cn_read_need_string(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_bytes_t *value);

/* node itself as a string, as an item of a sequence is; reported at `field`. */
bool cn_read_item_string(cn_read_t *read, const cn_doc_t *node, const char *field,
    cn_bytes_t *value);

/* node as a mapping; reported at `field` when it is none. */
bool cn_read_is_mapping(cn_read_t *read, const cn_doc_t *node, const char *field);

/*
 * Each of the names (NULL-ended) that is present is a field that we know and do not implement: an
 * error that names it.
 */
void cn_read_unsupported(cn_read_t *read, cn_doc_t *parent, const char *field,
    const char *const *names);

/* Fields (NULL-ended) that say nothing to a waypoint: used, with all below. */
void cn_read_ignore(cn_doc_t *parent, const char *const *names);

/*
 * Whether a pattern can be run (base/regex.h); if not, an error at field says where and why.  node
 * may be NULL.
 */
bool cn_read_regex(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t pattern);

/* As above for a pattern and what replaces its finds. */
bool cn_read_regex_rewrite(cn_read_t *read, const cn_doc_t *node, const char *field,
    cn_bytes_t pattern, cn_bytes_t rewrite);

/* Says that memory is spent; the resource counts as broken. */
void cn_read_no_memory(cn_read_t *read);

#endif
