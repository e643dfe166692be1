/* SPDX-License-Identifier: Apache-2.0 */

/* re2_class - the parser's inside, shared by re2.c and re2_class.c alone. */

#ifndef CN_BASE_RE2_CLASS_H
#define CN_BASE_RE2_CLASS_H

#include "base/re2.h"

typedef struct {
    cn_bytes_t       pattern;
    size_t           at;
    uint32_t         groups;
    bool             folding;           /* what is written now folds, until its group ends */
    bool             class_folds;       /* the class being written is PCRE2's to fold */
    size_t           class_codes;       /* code points of its ranges */
    size_t           folded_codes;      /* of all classes that PCRE2 folds */
    cn_status_t      status;            /* the first failure */
    cn_re2_error_t  *error;
    uint8_t         *out;               /* on the heap */
    size_t           len;
    size_t           size;
} cn_re2_parser_t;

/* Notes the first failure; false always. */
bool cn_re2_fail(cn_re2_parser_t *parser, cn_status_t status, size_t at, const char *format, ...)
    CN_PRINTF(4, 5);

/* Writes to the translation; false: no memory, noted. */
bool cn_re2_emit(cn_re2_parser_t *parser, const char *text, size_t len);
bool cn_re2_emit_str(cn_re2_parser_t *parser, const char *text);
bool cn_re2_emit_code(cn_re2_parser_t *parser, uint32_t code);

/* Puts text into the translation at a place of it; false: no memory, noted. */
bool cn_re2_insert(cn_re2_parser_t *parser, size_t at, const char *text);

/* What is written from here on folds or not: PCRE2's (?i) and (?-i), where it was otherwise. */
bool cn_re2_set_fold(cn_re2_parser_t *parser, bool fold);

/* The code point of an escape such as \n, \x7f, \x{1f600}, \101, \.; the parser stands at the \. */
bool cn_re2_escape(cn_re2_parser_t *parser, uint32_t *code);

/* Writes a class; the parser stands at its '[', or at the '\' of \d, \pL and the like. */
bool cn_re2_class(cn_re2_parser_t *parser, bool fold);
bool cn_re2_class_escape(cn_re2_parser_t *parser, bool fold);

#endif
