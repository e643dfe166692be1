/* SPDX-License-Identifier: Apache-2.0 */

/*
 * re2 - the syntax of RE2, checked and rewritten for PCRE2.  Istio's patterns are RE2's; PCRE2
 * knows more constructs, and reads some of the common ones otherwise.  What RE2 refuses is refused
 * here with the place; what both have is written out in a form that leaves PCRE2 no choice: classes
 * as ranges of code points, anchors as \A and \z, literals escaped, flags resolved.
 */

#ifndef CN_BASE_RE2_H
#define CN_BASE_RE2_H

#include "base/bytes.h"

#define CN_RE2_PATTERN_MAX  16384       /* octets */
#define CN_RE2_REPEAT_MAX   1000        /* of x{n}, nested ones multiplied, as in RE2 */
#define CN_RE2_DEPTH_MAX    200         /* of groups in groups */

typedef struct {
    size_t  at;                 /* octet of the pattern, from 0 */
    char    text[100];          /* what is wrong there, NUL-ended */
} cn_re2_error_t;

typedef struct {
    uint8_t   *ptr;             /* cn_free() it */
    size_t     len;
    uint32_t   groups;          /* capturing ones */
} cn_re2_translation_t;

/*
 * Rewrites pattern for PCRE2 in UTF mode (with PCRE2_DOTALL, PCRE2_ALT_CIRCUMFLEX and newline
 * LF).  CN_ERR_SYNTAX: RE2 refuses it; CN_ERR_UNSUPPORTED: RE2 takes it, we do not (\C, \p under
 * (?i) where folding could differ); CN_ERR_LIMIT; CN_ERR_MEMORY.  On failure *error says where and
 * why and nothing is left to free.
 */
cn_status_t cn_re2_translate(cn_bytes_t pattern, cn_re2_translation_t *translation,
    cn_re2_error_t *error) CN_MUST_USE;

/* Reads one code point of UTF-8 at *at and moves it on.  False: not UTF-8 there, or the end. */
bool cn_utf8_next(cn_bytes_t bytes, size_t *at, uint32_t *code);

#endif
