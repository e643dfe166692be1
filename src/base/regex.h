/* SPDX-License-Identifier: Apache-2.0 */

/*
 * regex - regular expressions that behave as RE2's do: the syntax is RE2's (re2.h), a match is of
 * the whole value, and the work is bounded.  PCRE2 does it, compiled to machine code where it can.
 *
 * Values are read as UTF-8, as RE2 does with its default options.  A value that is not UTF-8 is an
 * error and not a "no": a rule that denies must not be passed by with a stray octet.  So is a match
 * that reaches a limit.  Whoever asks decides what an error means: in DENY it matches, in ALLOW it
 * does not, in a route it is refused.
 */

#ifndef CN_BASE_REGEX_H
#define CN_BASE_REGEX_H

#include "base/pool.h"
#include "base/re2.h"

#define CN_REGEX_VALUE_MAX  65536       /* octets of a value; a longer one is an error */

typedef struct cn_regex_s  cn_regex_t;

typedef enum { CN_REGEX_NO, CN_REGEX_YES, CN_REGEX_ERROR } cn_regex_answer_t;

/* A pattern is compiled either to match whole values or to find and replace. */
typedef enum { CN_REGEX_MATCH, CN_REGEX_FIND } cn_regex_use_t;

/*
 * Whether pattern can be used: for whoever loads configuration.  error may be NULL; on failure it
 * says where and why.  CN_ERR_SYNTAX, CN_ERR_UNSUPPORTED, CN_ERR_LIMIT (too large), CN_ERR_MEMORY.
 */
cn_status_t cn_regex_check(cn_bytes_t pattern, cn_re2_error_t *error) CN_MUST_USE;

/* As above for a pattern and what replaces its finds: \0 to \9, \\; groups that are there. */
cn_status_t cn_regex_check_rewrite(cn_bytes_t pattern, cn_bytes_t rewrite, cn_re2_error_t *error)
    CN_MUST_USE;

/* On the heap; pattern is not needed any more afterwards.  Statuses as cn_regex_check(). */
cn_status_t cn_regex_create(cn_bytes_t pattern, cn_regex_use_t use, cn_regex_t **regex)
    CN_MUST_USE;
void cn_regex_destroy(cn_regex_t *regex);

/* Octets it holds, roughly, machine code included. */
size_t cn_regex_size(const cn_regex_t *regex);

/* Whether value as a whole is matched; of CN_REGEX_MATCH only. */
cn_regex_answer_t cn_regex_match(cn_regex_t *regex, cn_bytes_t value) CN_MUST_USE;

/*
 * value with every find replaced, leftmost first, as RE2's GlobalReplace; *result is in pool, or is
 * value when nothing was found.  Of CN_REGEX_FIND only.  CN_ERR_LIMIT: a limit, or result over
 * CN_REGEX_VALUE_MAX; CN_ERR_SYNTAX: value is not UTF-8; CN_ERR_MEMORY.
 */
cn_status_t cn_regex_replace(cn_regex_t *regex, cn_bytes_t value, cn_bytes_t rewrite,
    cn_pool_t *pool, cn_bytes_t *result) CN_MUST_USE;

#endif
