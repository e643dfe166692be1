/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report - entries are bounded: a directory of nonsense must not fill the memory with complaints.
 */

#include "model/report.h"

#include <stdarg.h>
#include <stdio.h>

#define REPORT_MAX  1000            /* entries kept */
#define TEXT_MAX    1024            /* octets of one text, NUL included */


cn_report_t *
cn_report_create(cn_pool_t *pool)
{
    cn_report_t  *report = cn_pool_alloc_zero(pool, sizeof(*report));

    if (report == NULL) {
        return NULL;
    }

    report->pool = pool;
    report->entries = CN_ARRAY_INIT(pool, cn_report_entry_t);

    return report;
}


/* A copy that outlives the documents; "" when memory is spent or there is nothing to copy. */
static const char *
copy(cn_pool_t *pool, const char *text)
{
    const char  *kept = (text == NULL || *text == '\0') ? ""
        : cn_pool_str(pool, cn_bytes_str(text));

    return kept == NULL ? "" : kept;
}


static void
count(cn_report_t *report, cn_report_level_t level)
{
    switch (level) {

    case CN_REPORT_ERROR:
        report->errors++;
        break;

    case CN_REPORT_WARNING:
        report->warnings++;
        break;

    case CN_REPORT_NOTE:
        break;
    }
}


void
cn_report_add(cn_report_t *report, cn_report_level_t level, const cn_doc_t *node,
    const char *resource,
    const char *field, const char *format, ...)
{
    cn_report_entry_t  *entry;
    char                text[TEXT_MAX];
    va_list             args;

    count(report, level);

    if (report->entries.count >= REPORT_MAX) {
        report->truncated = true;
        return;
    }

    entry = cn_array_add(&report->entries);

    if (entry == NULL) {
        report->truncated = true;
        return;
    }

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    *entry = (cn_report_entry_t) {
        .level = level,
        .file = copy(report->pool, node == NULL ? "" : node->file),
        .line = node == NULL ? 0 : node->line,
        .column = node == NULL ? 0 : node->column,
        .resource = copy(report->pool, resource),
        .field = copy(report->pool, field),
        .text = copy(report->pool, text),
    };
}


const char *
cn_report_line(const cn_report_entry_t *entry, cn_pool_t *pool)
{
    static const char *const  levels[] = { "error", "warning", "note" };
    char                      place[32] = "";
    const char               *line;

    if (entry->line > 0 && *entry->file != '\0') {
        snprintf(place, sizeof(place), ":%u:%u", entry->line, entry->column);
    }

    line = cn_pool_printf(pool, "%s%s%s%s: %s%s%s%s%s", entry->file, place,
                          *entry->file == '\0' ? "" : ": ", levels[entry->level],
                          entry->resource, *entry->resource == '\0' ? "" : ": ",
                          entry->field, *entry->field == '\0' ? "" : ": ", entry->text);

    return line == NULL ? "" : line;
}
