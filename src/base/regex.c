/* SPDX-License-Identifier: Apache-2.0 */

/*
 * regex - RE2's patterns on PCRE2.  Limits: steps (both of machine code and of the interpreter),
 * depth and heap of the interpreter.  Machine code that runs out of its stack is followed by the
 * interpreter, whose heap is bounded.
 *
 * Trying one way after another, as both do, can take more steps than a value is worth.  PCRE2 can
 * also go all ways at once, octet by octet; that is slow, but no slower than octets times ways
 * squared.  It has the last word on values for which that product is small; on others a limit is
 * the error.
 */

#include "base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH  8
#include <pcre2.h>

#include <stdio.h>

#define STEPS_MAX      50000
#define DEPTH_MAX      5000
#define HEAP_KIB_MAX   1024
#define WAYS_MAX       256              /* at once */
#define WAYS_MIN       16
#define ALL_WAYS_COST  ((size_t) 500000)        /* octets times ways times ways */
#define WORKSPACE(ways)  (2 + 6 * (size_t) (ways))      /* ints that PCRE2 wants for so many */

struct cn_regex_s {
    pcre2_code           *code;
    pcre2_match_data     *match;
    pcre2_match_context  *limits;
};


static void *
library_alloc(size_t size, void *data)
{
    (void) data;
    return cn_alloc(size);
}


static void
library_free(void *ptr, void *data)
{
    (void) data;
    cn_free(ptr);
}


/* CN_ERR_SYNTAX for what the translation let through and PCRE2 refuses: an unknown script, say. */
static cn_status_t
refused(int number, cn_re2_error_t *error)
{
    if (number == PCRE2_ERROR_HEAP_FAILED) {
        snprintf(error->text, sizeof(error->text), "no memory");
        return CN_ERR_MEMORY;
    }

    error->at = 0;

    if (number == PCRE2_ERROR_PATTERN_TOO_LARGE || number == PCRE2_ERROR_PATTERN_TOO_COMPLICATED
        || number == PCRE2_ERROR_PARENTHESES_NEST_TOO_DEEP)
    {
        snprintf(error->text, sizeof(error->text), "too large when compiled");
        return CN_ERR_LIMIT;
    }

    if (pcre2_get_error_message(number, (PCRE2_UCHAR *) error->text, sizeof(error->text)) < 0) {
        snprintf(error->text, sizeof(error->text), "cannot be compiled");
    }

    return CN_ERR_SYNTAX;
}


static cn_status_t
compile(cn_bytes_t pattern, cn_regex_use_t use, pcre2_general_context *library,
    pcre2_code **code, cn_re2_error_t *error)
{
    cn_re2_translation_t    translation;
    uint32_t                options = PCRE2_UTF | PCRE2_DOTALL | PCRE2_ALT_CIRCUMFLEX
                                      | PCRE2_NEVER_BACKSLASH_C;
    int                     number = PCRE2_ERROR_HEAP_FAILED;
    PCRE2_SIZE              at = 0;
    cn_status_t             status = cn_re2_translate(pattern, &translation, error);
    pcre2_compile_context  *context;

    if (status != CN_OK) {
        return status;
    }

    if (use == CN_REGEX_MATCH) {
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    }

    *code = NULL;
    context = pcre2_compile_context_create(library);

    if (context != NULL && pcre2_set_newline(context, PCRE2_NEWLINE_LF) == 0) {
        *code = pcre2_compile(translation.ptr == NULL ? (PCRE2_SPTR) "" : translation.ptr,
                              translation.len, options, &number, &at, context);
    }

    pcre2_compile_context_free(context);
    cn_free(translation.ptr);
    return *code == NULL ? refused(number, error) : CN_OK;
}


static pcre2_general_context *
library_context(void)
{
    return pcre2_general_context_create(library_alloc, library_free, NULL);
}


cn_status_t
cn_regex_check(cn_bytes_t pattern, cn_re2_error_t *error)
{
    cn_re2_error_t          unheard;
    pcre2_general_context  *library = library_context();
    pcre2_code             *code = NULL;
    cn_status_t             status = CN_ERR_MEMORY;

    if (library != NULL) {
        status = compile(pattern, CN_REGEX_MATCH, library, &code,
                         error == NULL ? &unheard : error);
    }

    pcre2_code_free(code);
    pcre2_general_context_free(library);
    return status;
}


/* The next piece of a rewrite: octets to copy, or a group (octets none); false at the end. */
static bool
next_piece(cn_bytes_t rewrite, size_t *at, cn_bytes_t *octets, int *group)
{
    if (*at >= rewrite.len) {
        return false;
    }

    cn_bytes_t  rest = cn_bytes_from(rewrite, *at);
    size_t      len = cn_bytes_find_octet(rest, '\\');

    *group = -1;

    if (len == 0 && rest.len > 1 && rest.ptr[1] >= '0' && rest.ptr[1] <= '9') {
        *group = rest.ptr[1] - '0';
        *octets = CN_BYTES_NONE;
        *at += 2;

    } else if (len == 0) {
        *octets = cn_bytes(rest.ptr, 1);
        *at += rest.len > 1 ? 2 : 1;

    } else {
        *octets = cn_bytes(rest.ptr, len == SIZE_MAX ? rest.len : len);
        *at += octets->len;
    }

    return true;
}


cn_status_t
cn_regex_check_rewrite(cn_bytes_t pattern, cn_bytes_t rewrite, cn_re2_error_t *error)
{
    cn_re2_error_t        unheard;
    cn_re2_translation_t  translation;
    cn_status_t           status = cn_regex_check(pattern, error);

    error = error == NULL ? &unheard : error;

    if (status == CN_OK) {
        status = cn_re2_translate(pattern, &translation, error);
    }

    if (status != CN_OK) {
        return status;
    }

    cn_free(translation.ptr);

    for (size_t i = 0; i < rewrite.len; i++) {
        if (rewrite.ptr[i] != '\\') {
            continue;
        }

        uint8_t  next = i + 1 < rewrite.len ? rewrite.ptr[i + 1] : 0;
        bool     digit = next >= '0' && next <= '9';

        if ((!digit && next != '\\') || (digit && (uint32_t) (next - '0') > translation.groups)) {
            error->at = i;
            snprintf(error->text, sizeof(error->text), "%s",
                     digit ? "the substitution names a group that the pattern does not have"
                           : "a backslash in the substitution must have a digit or \\ after it");
            return CN_ERR_SYNTAX;
        }

        i++;
    }

    return CN_OK;
}


cn_status_t
cn_regex_create(cn_bytes_t pattern, cn_regex_use_t use, cn_regex_t **regex)
{
    cn_re2_error_t          unheard;
    pcre2_general_context  *library = library_context();
    cn_regex_t             *made = cn_alloc_zero(sizeof(*made));
    cn_status_t             status = CN_ERR_MEMORY;

    *regex = NULL;

    if (library != NULL && made != NULL) {
        status = compile(pattern, use, library, &made->code, &unheard);
    }

    if (status == CN_OK) {
        made->match = pcre2_match_data_create_from_pattern(made->code, library);
        made->limits = pcre2_match_context_create(library);
        status = made->match == NULL || made->limits == NULL ? CN_ERR_MEMORY : CN_OK;
    }

    pcre2_general_context_free(library);

    if (status != CN_OK) {
        cn_regex_destroy(made);
        return status;
    }

    /* without machine code (a system that forbids it) the interpreter does the same */
    (void) pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE);
    pcre2_set_match_limit(made->limits, STEPS_MAX);
    pcre2_set_depth_limit(made->limits, DEPTH_MAX);
    pcre2_set_heap_limit(made->limits, HEAP_KIB_MAX);

    *regex = made;
    return CN_OK;
}


void
cn_regex_destroy(cn_regex_t *regex)
{
    if (regex == NULL) {
        return;
    }

    pcre2_match_context_free(regex->limits);
    pcre2_match_data_free(regex->match);
    pcre2_code_free(regex->code);
    cn_free(regex);
}


size_t
cn_regex_size(const cn_regex_t *regex)
{
    size_t  code = 0;
    size_t  machine = 0;

    (void) pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &code);
    (void) pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &machine);
    return sizeof(*regex) + code + machine + 512;
}


/* The number of groups, or PCRE2's error. */
static int
run(cn_regex_t *regex, cn_bytes_t value, size_t from, uint32_t options)
{
    PCRE2_SPTR  subject = value.ptr == NULL ? (PCRE2_SPTR) "" : value.ptr;
    int         found = pcre2_match(regex->code, subject, value.len, from, options, regex->match,
                                    regex->limits);

    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        found = pcre2_match(regex->code, subject, value.len, from, options | PCRE2_NO_JIT,
                            regex->match, regex->limits);
    }

    return found;
}


static bool
is_limit(int found)
{
    return found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_DEPTHLIMIT
           || found == PCRE2_ERROR_HEAPLIMIT;
}


/*
 * All ways at once, as many as a value of this length may have; else the error is as it was.  What
 * is found first is the longest; that it must reach the end is not heeded there.
 */
static int
run_all_ways(cn_regex_t *regex, cn_bytes_t value)
{
    const PCRE2_SIZE  *ends = pcre2_get_ovector_pointer(regex->match);
    int                workspace[WORKSPACE(WAYS_MAX)];
    size_t             ways = WAYS_MAX;
    int                found;

    while (ways >= WAYS_MIN && value.len * ways * ways > ALL_WAYS_COST) {
        ways -= ways / 8;
    }

    if (ways < WAYS_MIN) {
        return PCRE2_ERROR_MATCHLIMIT;
    }

    found = pcre2_dfa_match(regex->code, value.ptr, value.len, 0, PCRE2_NO_UTF_CHECK,
                            regex->match, regex->limits, workspace, WORKSPACE(ways));

    return found >= 0 && ends[1] != value.len ? PCRE2_ERROR_NOMATCH : found;
}


cn_regex_answer_t
cn_regex_match(cn_regex_t *regex, cn_bytes_t value)
{
    if (value.len > CN_REGEX_VALUE_MAX) {
        return CN_REGEX_ERROR;
    }

    int  found = run(regex, value, 0, 0);

    if (is_limit(found) && value.len > 0) {
        found = run_all_ways(regex, value);
    }

    if (found >= 0) {
        return CN_REGEX_YES;
    }

    return found == PCRE2_ERROR_NOMATCH ? CN_REGEX_NO : CN_REGEX_ERROR;
}


typedef struct {
    uint8_t  *ptr;                      /* on the heap while it grows */
    size_t    len;
    size_t    size;
} text_t;


static cn_status_t
append(text_t *text, cn_bytes_t octets)
{
    if (octets.len > CN_REGEX_VALUE_MAX - text->len) {
        return CN_ERR_LIMIT;
    }

    if (octets.len > text->size - text->len) {
        size_t    size = text->size * 2 + octets.len + 64;
        uint8_t  *ptr = cn_realloc(text->ptr, size);

        if (ptr == NULL) {
            return CN_ERR_MEMORY;
        }

        text->ptr = ptr;
        text->size = size;
    }

    if (octets.len > 0) {
        memcpy(text->ptr + text->len, octets.ptr, octets.len);
    }

    text->len += octets.len;
    return CN_OK;
}


/* What replaces one find; a group that took no part is empty. */
static cn_status_t
append_rewrite(const cn_regex_t *regex, cn_bytes_t value, cn_bytes_t rewrite, int groups,
    text_t *text)
{
    const PCRE2_SIZE  *ends = pcre2_get_ovector_pointer(regex->match);
    cn_status_t        status = CN_OK;
    size_t             at = 0;
    cn_bytes_t         octets;
    int                group;

    while (status == CN_OK && next_piece(rewrite, &at, &octets, &group)) {
        if (group >= 0 && group < groups && ends[2 * group] != PCRE2_UNSET) {
            octets = cn_bytes(value.ptr + ends[2 * group],
                              ends[2 * group + 1] - ends[2 * group]);
        }

        status = append(text, octets);
    }

    return status;
}


/* One code point of value is copied as it is; value is UTF-8. */
static cn_status_t
append_next(text_t *text, cn_bytes_t value, size_t *at)
{
    size_t    from = *at;
    uint32_t  code;

    if (!cn_utf8_next(value, at, &code)) {
        return CN_ERR_SYNTAX;
    }

    return append(text, cn_bytes(value.ptr + from, *at - from));
}


/* An empty find just behind the last one does not count: one code point is passed over instead. */
static cn_status_t
replace_all(cn_regex_t *regex, cn_bytes_t value, cn_bytes_t rewrite, text_t *text, bool *any)
{
    const PCRE2_SIZE  *ends = pcre2_get_ovector_pointer(regex->match);
    cn_status_t        status = CN_OK;
    size_t             at = 0;
    size_t             last = SIZE_MAX;         /* where the last find ended */

    while (status == CN_OK && at <= value.len) {
        int  found = run(regex, value, at, at == 0 ? 0 : PCRE2_NO_UTF_CHECK);

        if (found == PCRE2_ERROR_NOMATCH) {
            break;
        }

        if (found < 0) {
            return found <= PCRE2_ERROR_UTF8_ERR1 && found >= PCRE2_ERROR_UTF8_ERR21
                   ? CN_ERR_SYNTAX : CN_ERR_LIMIT;
        }

        if (ends[0] == last && ends[1] == last) {
            if (at == value.len) {
                break;
            }

            status = append_next(text, value, &at);
            last = SIZE_MAX;
            continue;
        }

        status = append(text, cn_bytes(value.ptr + at, ends[0] - at));
        at = last = ends[1];
        *any = true;

        if (status == CN_OK) {
            status = append_rewrite(regex, value, rewrite, found, text);
        }
    }

    return status == CN_OK ? append(text, cn_bytes_from(value, at)) : status;
}


cn_status_t
cn_regex_replace(cn_regex_t *regex, cn_bytes_t value, cn_bytes_t rewrite, cn_pool_t *pool,
    cn_bytes_t *result)
{
    text_t       text = { NULL, 0, 0 };
    bool         any = false;
    cn_status_t  status = CN_ERR_LIMIT;

    *result = value;

    if (value.len == 0) {
        value = CN_BYTES("");           /* places in it are reckoned from its pointer */
    }

    if (value.len <= CN_REGEX_VALUE_MAX) {
        status = replace_all(regex, value, rewrite, &text, &any);
    }

    if (status == CN_OK && any) {
        status = cn_pool_copy(pool, cn_bytes(text.ptr, text.len), result);
    }

    cn_free(text.ptr);
    return status;
}
