/* SPDX-License-Identifier: Apache-2.0 */

/* read - getters over documents.  A null counts as absent, as Kubernetes has it. */

#include "model/read.h"

#include "base/regex.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX  512               /* octets of a text, NUL included */


static void
report(cn_read_t *read, cn_report_level_t level, const cn_doc_t *node, const char *field,
    const char *text)
{
    const char  *label = read->resource == NULL ? "" : read->resource->label;

    if (level == CN_REPORT_ERROR) {
        read->errors++;
    }

    cn_report_add(read->report, level, node, label, field, "%s", text);
}


void
cn_read_error(cn_read_t *read, const cn_doc_t *node, const char *field, const char *format, ...)
{
    char     text[TEXT_MAX];
    va_list  args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    report(read, CN_REPORT_ERROR, node, field, text);
}


void
cn_read_warn(cn_read_t *read, const cn_doc_t *node, const char *field, const char *format, ...)
{
    char     text[TEXT_MAX];
    va_list  args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    report(read, CN_REPORT_WARNING, node, field, text);
}


void
cn_read_no_memory(cn_read_t *read)
{
    report(read, CN_REPORT_ERROR, NULL, "", "out of memory");
}


const char *
cn_read_path(cn_read_t *read, const char *format, ...)
{
    char        text[TEXT_MAX];
    const char *path;
    va_list     args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    path = cn_pool_str(read->report->pool, cn_bytes_str(text));

    return path == NULL ? "" : path;
}


/* "spec.http[0]" and "name": "spec.http[0].name". */
static const char *
child(cn_read_t *read, const char *field, const char *key)
{
    return *field == '\0' ? key : cn_read_path(read, "%s.%s", field, key);
}


static void
wrong_type(cn_read_t *read, const cn_doc_t *node, const char *field, const char *wanted)
{
    if (node->kind == CN_DOC_SCALAR) {
        cn_read_error(read, node, field, "expected %s, got %s\"%.*s\"", wanted, node->quoted
                      ? "the string " : "",
                      (int) (node->text.len > 100 ? 100 : node->text.len),
                          (const char *) node->text.ptr);
        return;
    }

    cn_read_error(read, node, field, "expected %s, got %s", wanted, cn_doc_kind_name(node->kind));
}


static cn_doc_t *
collection(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_doc_kind_t kind)
{
    cn_doc_t  *node = cn_doc_get(parent, key);

    if (node == NULL || node->kind == kind) {
        return node;
    }

    cn_doc_use_all(node);
    wrong_type(read, node, child(read, field, key), cn_doc_kind_name(kind));

    return NULL;
}


cn_doc_t *
cn_read_mapping(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field)
{
    return collection(read, parent, key, field, CN_DOC_MAPPING);
}


cn_doc_t *
cn_read_sequence(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field)
{
    return collection(read, parent, key, field, CN_DOC_SEQUENCE);
}


bool
cn_read_item_string(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t *value)
{
    if (cn_doc_string(node, value) == CN_OK) {
        return true;
    }

    wrong_type(read, node, field, "a string");

    return false;
}


bool
cn_read_is_mapping(cn_read_t *read, const cn_doc_t *node, const char *field)
{
    if (node->kind == CN_DOC_MAPPING) {
        return true;
    }

    wrong_type(read, node, field, cn_doc_kind_name(CN_DOC_MAPPING));

    return false;
}


bool
cn_read_string(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_bytes_t *value)
{
    cn_doc_t  *node = cn_doc_get(parent, key);

    if (node == NULL) {
        return false;
    }

    if (cn_doc_string(node, value) == CN_OK) {
        return true;
    }

    cn_doc_use_all(node);
    wrong_type(read, node, child(read, field, key), "a string");

    return false;
}


bool
cn_read_need_string(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    cn_bytes_t *value)
{
    size_t  errors = read->errors;

    if (cn_read_string(read, parent, key, field, value) && value->len > 0) {
        return true;
    }

    if (read->errors == errors) {
        cn_read_error(read, parent, child(read, field, key), "is missing");
    }

    return false;
}


bool
cn_read_bool(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field, bool *value)
{
    cn_doc_t  *node = cn_doc_get(parent, key);

    if (node == NULL) {
        return false;
    }

    if (cn_doc_bool(node, value) == CN_OK) {
        return true;
    }

    cn_doc_use_all(node);
    wrong_type(read, node, child(read, field, key), "true or false");

    return false;
}


bool
cn_read_u64(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field, uint64_t min,
    uint64_t max, uint64_t *value)
{
    cn_doc_t  *node = cn_doc_get(parent, key);

    if (node == NULL) {
        return false;
    }

    switch (cn_doc_u64(node, min, max, value)) {

    case CN_OK:
        return true;

    case CN_ERR_RANGE:
        cn_read_error(read, node, child(read, field, key), "%.*s is not in %llu..%llu",
                      CN_BYTES_ARG(node->text),
                      (unsigned long long) min, (unsigned long long) max);
        return false;

    default:
        cn_doc_use_all(node);
        wrong_type(read, node, child(read, field, key), "a whole number");
        return false;
    }
}


bool
cn_read_double(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field, double min,
    double max, double *value)
{
    cn_doc_t  *node = cn_doc_get(parent, key);
    double     number;

    if (node == NULL) {
        return false;
    }

    if (cn_doc_double(node, &number) != CN_OK) {
        cn_doc_use_all(node);
        wrong_type(read, node, child(read, field, key), "a number");
        return false;
    }

    if (!(number >= min && number <= max)) {
        cn_read_error(read, node, child(read, field, key), "%.*s is not in %g..%g",
                      CN_BYTES_ARG(node->text), min, max);
        return false;
    }

    *value = number;

    return true;
}


bool
cn_read_duration_ms(cn_read_t *read, cn_doc_t *parent, const char *key, const char *field,
    uint32_t *ms)
{
    cn_doc_t    *node = cn_doc_get(parent, key);
    cn_bytes_t   text;
    uint64_t     us;

    if (node == NULL) {
        return false;
    }

    if (cn_doc_string(node, &text) != CN_OK || cn_bytes_to_duration_us(text, &us) != CN_OK) {
        cn_doc_use_all(node);
        wrong_type(read, node, child(read, field, key), "a duration such as 2s or 250ms");
        return false;
    }

    if (us / 1000 > UINT32_MAX / 2) {
        cn_read_error(read, node, child(read, field, key), "%.*s is more than 24 days",
                      CN_BYTES_ARG(text));
        return false;
    }

    *ms = us == 0 ? 0 : us < 1000 ? 1 : (uint32_t) (us / 1000);

    return true;
}


static bool
pattern_fine(cn_read_t *read, const cn_doc_t *node, const char *field, cn_status_t status,
    const cn_re2_error_t *error)
{
    if (status == CN_ERR_MEMORY) {
        cn_read_no_memory(read);

    } else if (status != CN_OK) {
        cn_read_error(read, node, field, "is no pattern of RE2: at octet %zu: %s", error->at,
                      error->text);
    }

    return status == CN_OK;
}


bool
cn_read_regex(cn_read_t *read, const cn_doc_t *node, const char *field, cn_bytes_t pattern)
{
    cn_re2_error_t  error;

    return pattern_fine(read, node, field, cn_regex_check(pattern, &error), &error);
}


bool
cn_read_regex_rewrite(cn_read_t *read, const cn_doc_t *node, const char *field,
    cn_bytes_t pattern, cn_bytes_t rewrite)
{
    cn_re2_error_t  error;

    return pattern_fine(read, node, field, cn_regex_check_rewrite(pattern, rewrite, &error),
                        &error);
}


void
cn_read_unsupported(cn_read_t *read, cn_doc_t *parent, const char *field, const char *const *names)
{
    for (; *names != NULL; names++) {
        cn_doc_t  *node = cn_doc_get(parent, *names);

        if (node != NULL) {
            cn_doc_use_all(node);
            cn_read_error(read, node, child(read, field, *names), "is not implemented");
        }
    }
}


void
cn_read_ignore(cn_doc_t *parent, const char *const *names)
{
    for (; *names != NULL; names++) {
        cn_doc_t  *node = cn_doc_get(parent, *names);

        if (node != NULL) {
            cn_doc_use_all(node);
        }
    }
}


/* The depth of documents is bounded by whoever built them. */
static void
tell_unknown(cn_read_t *read, cn_doc_t *node, const char *field, bool strict)
{
    size_t  index = 0;

    CN_DOC_EACH(node, item) {
        const char  *path = node->kind == CN_DOC_SEQUENCE
                            ? cn_read_path(read, "%s[%zu]", field, index++)
                            : cn_read_path(read, "%s%s%.*s", field, *field == '\0' ? "" : ".",
                                           CN_BYTES_ARG(item->key));

        if (node->kind == CN_DOC_MAPPING && !item->used) {
            report(read, strict ? CN_REPORT_ERROR : CN_REPORT_WARNING, item, path, "unknown field");
            cn_doc_use_all(item);           /* told once */
            continue;
        }

        tell_unknown(read, item, path, strict);
    }
}


void
cn_read_finish(cn_read_t *read, cn_doc_t *node, const char *field, bool strict)
{
    /* the usual case first: paths cost memory */
    if (node != NULL && cn_doc_unused(node) != NULL) {
        tell_unknown(read, node, field, strict);
    }
}
