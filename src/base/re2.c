/* SPDX-License-Identifier: Apache-2.0 */

/*
 * re2 - recursive descent over RE2's published grammar (default options: UTF-8, Perl classes, \b,
 * Perl extensions, ^ and $ at the ends of the text, '.' without newline).
 *
 *   alternation  = sequence { '|' sequence }
 *   sequence     = { atom [ repetition ] | "(?" flags ')' }
 *   atom         = literal | '.' | '^' | '$' | class | escape | '(' alternation ')'
 *   repetition   = ( '*' | '+' | '?' | '{' n [ ',' [ m ] ] '}' ) [ '?' ]
 *
 * Each atom is written as one thing that a quantifier can follow, so that nothing that is written
 * next can change its meaning.
 */

#include "base/re2.h"

#include "base/pool.h"
#include "base/re2_class.h"

#include <stdarg.h>
#include <stdio.h>

/* The flags in force; a group restores those from before it. */
typedef struct {
    bool  fold;                 /* i */
    bool  lines;                /* m: ^ and $ at each line */
    bool  dot_all;              /* s */
    bool  lazy;                 /* U: quantifiers are lazy, with '?' greedy */
} flags_t;

typedef enum { LAST_NOTHING, LAST_ATOM, LAST_REPEATED } last_t;

typedef cn_re2_parser_t  parser_t;


bool
cn_utf8_next(cn_bytes_t bytes, size_t *at, uint32_t *code)
{
    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    if (*at >= bytes.len) {
        return false;
    }

    const uint8_t  *ptr = bytes.ptr + *at;
    size_t          len = ptr[0] < 0x80 ? 1 : ptr[0] < 0xe0 ? 2 : ptr[0] < 0xf0 ? 3 : 4;

    if ((ptr[0] >= 0x80 && ptr[0] < 0xc2) || ptr[0] > 0xf4 || len > bytes.len - *at) {
        return false;
    }

    *code = len == 1 ? ptr[0] : ptr[0] & (0x7fu >> len);

    for (size_t i = 1; i < len; i++) {
        if ((ptr[i] & 0xc0) != 0x80) {
            return false;
        }

        *code = *code << 6 | (ptr[i] & 0x3fu);
    }

    *at += len;
    return *code >= least[len] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
}


bool
cn_re2_fail(parser_t *parser, cn_status_t status, size_t at, const char *format, ...)
{
    va_list  args;

    if (parser->status == CN_OK) {
        parser->status = status;
        parser->error->at = at;
        va_start(args, format);
        vsnprintf(parser->error->text, sizeof(parser->error->text), format, args);
        va_end(args);
    }

    return false;
}


bool
cn_re2_emit(parser_t *parser, const char *text, size_t len)
{
    if (len > parser->size - parser->len) {
        size_t    size = parser->size * 2 + len + 64;
        uint8_t  *out = cn_realloc(parser->out, size);

        if (out == NULL) {
            return cn_re2_fail(parser, CN_ERR_MEMORY, parser->at, "no memory");
        }

        parser->out = out;
        parser->size = size;
    }

    memcpy(parser->out + parser->len, text, len);
    parser->len += len;
    return true;
}


bool
cn_re2_emit_str(parser_t *parser, const char *text)
{
    return cn_re2_emit(parser, text, strlen(text));
}


bool
cn_re2_emit_code(parser_t *parser, uint32_t code)
{
    char  text[16];

    snprintf(text, sizeof(text), "\\x{%x}", code);
    return cn_re2_emit_str(parser, text);
}


bool
cn_re2_insert(parser_t *parser, size_t at, const char *text)
{
    size_t  len = strlen(text);
    size_t  moved = parser->len - at;

    if (!cn_re2_emit_str(parser, text)) {
        return false;
    }

    memmove(parser->out + at + len, parser->out + at, moved);
    memcpy(parser->out + at, text, len);
    return true;
}


bool
cn_re2_set_fold(parser_t *parser, bool fold)
{
    if (parser->folding == fold) {
        return true;
    }

    parser->folding = fold;
    return cn_re2_emit_str(parser, fold ? "(?i)" : "(?-i)");
}


static uint8_t
peek(const parser_t *parser, size_t ahead)
{
    return parser->at + ahead < parser->pattern.len ? parser->pattern.ptr[parser->at + ahead] : 0;
}


static bool
at_end(const parser_t *parser)
{
    return parser->at >= parser->pattern.len;
}


static bool
is_letter(uint32_t code)
{
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}


static bool
emit_literal(parser_t *parser, uint32_t code, flags_t flags)
{
    char  plain[1] = { (char) code };

    if ((is_letter(code) || code >= 0x80) && !cn_re2_set_fold(parser, flags.fold)) {
        return false;
    }

    if (is_letter(code) || (code >= '0' && code <= '9') || code == '/') {
        return cn_re2_emit(parser, plain, 1);
    }

    return cn_re2_emit_code(parser, code);
}


static bool
parse_literal(parser_t *parser, flags_t flags)
{
    uint32_t  code;

    if (!cn_utf8_next(parser->pattern, &parser->at, &code)) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, parser->at, "not UTF-8");
    }

    return emit_literal(parser, code, flags);
}


/* \Q...\E: each octet between stands for itself; a repetition after it is the last one's. */
static bool
parse_quoted(parser_t *parser, flags_t flags, last_t *last)
{
    parser->at += 2;

    while (!at_end(parser)) {
        if (peek(parser, 0) == '\\' && peek(parser, 1) == 'E') {
            parser->at += 2;
            break;
        }

        if (!parse_literal(parser, flags)) {
            return false;
        }

        *last = LAST_ATOM;
    }

    return true;
}


/* An anchor or boundary, in a group of its own: PCRE2 repeats groups, not assertions. */
static bool
emit_anchor(parser_t *parser, const char *text, size_t octets)
{
    parser->at += octets;
    return cn_re2_emit_str(parser, text);
}


static bool
parse_backslash(parser_t *parser, flags_t flags, last_t *last)
{
    size_t    start = parser->at;
    uint32_t  code;

    *last = LAST_ATOM;

    switch (peek(parser, 1)) {

    case 'b':
        return emit_anchor(parser, "(?:\\b)", 2);

    case 'B':
        return emit_anchor(parser, "(?:\\B)", 2);

    case 'A':
        return emit_anchor(parser, "(?:\\A)", 2);

    case 'z':
        return emit_anchor(parser, "(?:\\z)", 2);

    case 'C':
        return cn_re2_fail(parser, CN_ERR_UNSUPPORTED, start, "\\C (one octet) is not supported");

    case 'Q':
        *last = LAST_NOTHING;
        return parse_quoted(parser, flags, last);

    case 'p':
    case 'P':
    case 'd':
    case 'D':
    case 's':
    case 'S':
    case 'w':
    case 'W':
        return cn_re2_class_escape(parser, flags.fold);

    default:
        return cn_re2_escape(parser, &code) && emit_literal(parser, code, flags);
    }
}


/* One number of {n,m}: no leading zero but "0" itself, as RE2 has it. */
static bool
repeat_number(const parser_t *parser, size_t *at, int32_t *number)
{
    size_t   start = *at;
    int32_t  value = 0;

    while (*at < parser->pattern.len && parser->pattern.ptr[*at] >= '0'
           && parser->pattern.ptr[*at] <= '9')
    {
        if (value < 100000) {
            value = value * 10 + (parser->pattern.ptr[*at] - '0');
        }

        (*at)++;
    }

    *number = value;
    return *at > start && (*at == start + 1 || parser->pattern.ptr[start] != '0');
}


/* {n}, {n,}, {n,m} at the parser's place; false: it is no repetition, the brace is a literal. */
static bool
read_braces(const parser_t *parser, size_t *end, int32_t *min, int32_t *max)
{
    const cn_bytes_t  *pattern = &parser->pattern;
    size_t             at = parser->at + 1;

    if (!repeat_number(parser, &at, min)) {
        return false;
    }

    *max = *min;

    if (at < pattern->len && pattern->ptr[at] == ',') {
        at++;
        *max = -1;

        if (at < pattern->len && pattern->ptr[at] != '}' && !repeat_number(parser, &at, max)) {
            return false;
        }
    }

    *end = at + 1;
    return at < pattern->len && pattern->ptr[at] == '}';
}


/* What a repetition does to its atom; *product is that of the atom's own repetitions. */
static bool
check_repeat(parser_t *parser, size_t at, int32_t min, int32_t max, uint32_t *product)
{
    int32_t  most = max < 0 ? min : max;

    if (min > CN_RE2_REPEAT_MAX || max > CN_RE2_REPEAT_MAX) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "repeated more than %d times",
                           CN_RE2_REPEAT_MAX);
    }

    if (max >= 0 && max < min) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "repeated at most less than at least");
    }

    *product *= most > 0 ? (uint32_t) most : 1;

    if (*product > CN_RE2_REPEAT_MAX) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "nested repetitions make more than %d",
                           CN_RE2_REPEAT_MAX);
    }

    return true;
}


/*
 * A repetition of what was written last.  It is written as RE2 means it, with U resolved; the atom
 * before it is one thing, so that it can simply follow.
 */
static bool
parse_repetition(parser_t *parser, flags_t flags, last_t *last, uint32_t *product)
{
    size_t   start = parser->at;
    size_t   end = start + 1;
    int32_t  min = 0;
    int32_t  max = -1;

    if (peek(parser, 0) == '{' && !read_braces(parser, &end, &min, &max)) {
        *last = LAST_ATOM;
        *product = 1;
        return parse_literal(parser, flags);
    }

    if (*last == LAST_NOTHING) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start, "nothing to repeat");
    }

    if (*last == LAST_REPEATED) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start,
                           "a repetition of a repetition (possessive or doubled)");
    }

    if (peek(parser, 0) == '{' && !check_repeat(parser, start, min, max, product)) {
        return false;
    }

    if (!cn_re2_emit(parser, (const char *) parser->pattern.ptr + start, end - start)) {
        return false;
    }

    parser->at = end;
    bool  lazy = flags.lazy;

    if (peek(parser, 0) == '?') {
        parser->at++;
        lazy = !lazy;
    }

    *last = LAST_REPEATED;
    return !lazy || cn_re2_emit_str(parser, "?");
}


static bool
is_word(uint8_t octet)
{
    return is_letter(octet) || (octet >= '0' && octet <= '9') || octet == '_';
}


/* Two groups of one name are refused; the names are found again in the pattern. */
static bool
name_is_new(const parser_t *parser, size_t at, cn_bytes_t name)
{
    for (size_t i = 0; i + 3 + name.len < at; i++) {
        const uint8_t  *ptr = parser->pattern.ptr + i;

        if (ptr[0] == '?' && (ptr[1] == '<' || (ptr[1] == 'P' && ptr[2] == '<'))) {
            size_t  from = ptr[1] == '<' ? 2 : 3;

            if (memcmp(ptr + from, name.ptr, name.len) == 0 && ptr[from + name.len] == '>') {
                return false;
            }
        }
    }

    return true;
}


/* (?P<name> and (?<name>: the parser stands at the '('. */
static bool
parse_name(parser_t *parser)
{
    size_t  start = parser->at;
    size_t  at = start + (peek(parser, 2) == 'P' ? 4 : 3);
    size_t  from = at;

    while (at < parser->pattern.len && is_word(parser->pattern.ptr[at])) {
        at++;
    }

    if (at == from || at >= parser->pattern.len || parser->pattern.ptr[at] != '>') {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start, "not the name of a group");
    }

    if (!name_is_new(parser, start, cn_bytes(parser->pattern.ptr + from, at - from))) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start, "a second group of this name");
    }

    parser->at = at + 1;
    return true;
}


/* Says by name what RE2 does not have. */
static bool
refuse_group(parser_t *parser)
{
    const char  *what = "not a group of RE2";

    switch (peek(parser, 2)) {

    case '=':
    case '!':
        what = "look-ahead is not in RE2";
        break;

    case '<':
        what = "look-behind is not in RE2";
        break;

    case '>':
        what = "an atomic group is not in RE2";
        break;

    case '#':
        what = "a comment is not in RE2";
        break;

    case '(':
        what = "a conditional is not in RE2";
        break;

    case 'R':
    case '&':
    case '+':
    case '0':
    case '1':
        what = "recursion is not in RE2";
        break;

    case 'C':
        what = "a callout is not in RE2";
        break;

    case '|':
        what = "a branch reset is not in RE2";
        break;

    default:
        break;
    }

    return cn_re2_fail(parser, CN_ERR_SYNTAX, parser->at, "%s", what);
}


/* One letter of "(?ims-U"; false: not a flag. */
static bool
set_flag(flags_t *flags, uint8_t letter, bool on)
{
    switch (letter) {

    case 'i':
        flags->fold = on;
        return true;

    case 'm':
        flags->lines = on;
        return true;

    case 's':
        flags->dot_all = on;
        return true;

    case 'U':
        flags->lazy = on;
        return true;

    default:
        return false;
    }
}


/* "(?flags)" or "(?flags:"; *opens tells them apart. */
static bool
parse_flags(parser_t *parser, flags_t *flags, bool *opens)
{
    bool    negated = false;
    bool    seen = true;                /* a '-' must have a flag after it */
    size_t  at = parser->at + 2;

    for (; at < parser->pattern.len; at++) {
        uint8_t  letter = parser->pattern.ptr[at];

        if (letter == '-' && !negated) {
            negated = true;
            seen = false;

        } else if (letter == ':' || letter == ')') {
            if (!seen) {
                break;
            }

            *opens = letter == ':';
            parser->at = at + 1;
            return true;

        } else if (set_flag(flags, letter, !negated)) {
            seen = true;

        } else {
            break;
        }
    }

    return refuse_group(parser);
}


static bool parse_alternation(parser_t *parser, flags_t flags, uint32_t depth,
    uint32_t *product);


/* What opens a group: "(", a name, or flags; *opens is false when flags alone were set. */
static bool
open_group(parser_t *parser, flags_t *flags, bool *opens)
{
    bool  named = peek(parser, 2) == 'P' && peek(parser, 3) == '<';

    named = named || (peek(parser, 2) == '<' && peek(parser, 3) != '=' && peek(parser, 3) != '!');
    *opens = true;

    if (peek(parser, 1) != '?') {
        parser->at++;

    } else if (named) {
        if (!parse_name(parser)) {
            return false;
        }

    } else {
        return parse_flags(parser, flags, opens) && (!*opens || cn_re2_emit_str(parser, "(?:"));
    }

    parser->groups++;
    return cn_re2_emit_str(parser, "(");
}


/*
 * A group, or flags for the rest of the one around it (*flags is changed, and nothing was written).
 * Names are left out: nothing refers to them.
 */
static bool
parse_group(parser_t *parser, flags_t *flags, uint32_t depth, last_t *last, uint32_t *product)
{
    size_t   start = parser->at;
    flags_t  inner = *flags;
    bool     folding = parser->folding;
    bool     opens;

    if (depth >= CN_RE2_DEPTH_MAX) {
        return cn_re2_fail(parser, CN_ERR_LIMIT, start, "groups within groups over %d deep",
                           CN_RE2_DEPTH_MAX);
    }

    if (!open_group(parser, &inner, &opens)) {
        return false;
    }

    if (!opens) {
        *flags = inner;
        *last = LAST_NOTHING;
        return true;
    }

    if (!parse_alternation(parser, inner, depth + 1, product)) {
        return false;
    }

    if (at_end(parser)) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start, "a group is not closed");
    }

    parser->at++;
    parser->folding = folding;
    *last = LAST_ATOM;
    return cn_re2_emit_str(parser, ")");
}


static bool
parse_atom(parser_t *parser, flags_t flags, last_t *last)
{
    *last = LAST_ATOM;

    switch (peek(parser, 0)) {

    case '[':
        return cn_re2_class(parser, flags.fold);

    case '.':
        parser->at++;
        return cn_re2_emit_str(parser, flags.dot_all ? "." : "\\N");

    case '^':
        return emit_anchor(parser, flags.lines ? "(?m:^)" : "(?:\\A)", 1);

    case '$':
        return emit_anchor(parser, flags.lines ? "(?m:$)" : "(?:\\z)", 1);

    case '\\':
        return parse_backslash(parser, flags, last);

    default:
        return parse_literal(parser, flags);
    }
}


/* To the end or to the ')' that closes it; *product: the most that anything in it is repeated. */
static bool
parse_alternation(parser_t *parser, flags_t flags, uint32_t depth, uint32_t *product)
{
    last_t    last = LAST_NOTHING;
    uint32_t  own = 1;                  /* of the last atom */
    bool      fine = true;

    *product = 1;

    while (fine && !at_end(parser) && peek(parser, 0) != ')') {
        switch (peek(parser, 0)) {

        case '|':
            parser->at++;
            last = LAST_NOTHING;
            fine = cn_re2_emit_str(parser, "|");
            break;

        case '(':
            fine = parse_group(parser, &flags, depth, &last, &own);
            break;

        case '*':
        case '+':
        case '?':
        case '{':
            fine = parse_repetition(parser, flags, &last, &own);
            break;

        default:
            own = 1;
            fine = parse_atom(parser, flags, &last);
            break;
        }

        *product = own > *product ? own : *product;
    }

    return fine;
}


cn_status_t
cn_re2_translate(cn_bytes_t pattern, cn_re2_translation_t *translation, cn_re2_error_t *error)
{
    parser_t  parser = { .pattern = pattern, .error = error };
    uint32_t  product;

    *error = (cn_re2_error_t) { 0 };
    *translation = (cn_re2_translation_t) { NULL, 0, 0 };

    if (pattern.len > CN_RE2_PATTERN_MAX) {
        cn_re2_fail(&parser, CN_ERR_LIMIT, CN_RE2_PATTERN_MAX, "longer than %d octets",
                    CN_RE2_PATTERN_MAX);
        return CN_ERR_LIMIT;
    }

    if (parse_alternation(&parser, (flags_t) { 0 }, 0, &product) && !at_end(&parser)) {
        cn_re2_fail(&parser, CN_ERR_SYNTAX, parser.at, "a group is closed that was not opened");
    }

    if (parser.status != CN_OK) {
        cn_free(parser.out);
        return parser.status;
    }

    *translation = (cn_re2_translation_t) { parser.out, parser.len, parser.groups };
    return CN_OK;
}
