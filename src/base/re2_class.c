/* SPDX-License-Identifier: Apache-2.0 */

/*
 * re2_class - escapes and classes.  What stands for a set of ASCII characters (\d, \s, [:alpha:])
 * is written as ranges, because PCRE2 draws some of them wider; the complement of such a set in the
 * middle of a class is written as the ranges between, and under (?i) without the two characters
 * that fold into ASCII letters: U+017F to s and U+212A to k.
 *
 * ASCII is folded here.  PCRE2 folds a class code point by code point, so that a few letters of the
 * pattern can cost it a million steps: only classes with other characters are left to it, up to a
 * sum.
 */

#include "base/re2_class.h"

#define CODE_MAX    0x10ffffu
#define FOLDED_MAX  ((size_t) 2 * (CODE_MAX + 1))      /* code points that PCRE2 may fold */

typedef struct { uint32_t low, high; }  range_t;

typedef struct {
    const char  *name;
    range_t      ranges[5];             /* ascending; unused ones are 0, 0 at the end */
    uint32_t     count;
} set_t;

static const set_t  perl_sets[] = {
    { "d", { { '0', '9' } }, 1 },
    { "s", { { '\t', '\n' }, { '\f', '\r' }, { ' ', ' ' } }, 3 },
    { "w", { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } }, 4 },
};

static const set_t  posix_sets[] = {
    { "alnum", { { '0', '9' }, { 'A', 'Z' }, { 'a', 'z' } }, 3 },
    { "alpha", { { 'A', 'Z' }, { 'a', 'z' } }, 2 },
    { "ascii", { { 0, 0x7f } }, 1 },
    { "blank", { { '\t', '\t' }, { ' ', ' ' } }, 2 },
    { "cntrl", { { 0, 0x1f }, { 0x7f, 0x7f } }, 2 },
    { "digit", { { '0', '9' } }, 1 },
    { "graph", { { '!', '~' } }, 1 },
    { "lower", { { 'a', 'z' } }, 1 },
    { "print", { { ' ', '~' } }, 1 },
    { "punct", { { '!', '/' }, { ':', '@' }, { '[', '`' }, { '{', '~' } }, 4 },
    { "space", { { '\t', '\r' }, { ' ', ' ' } }, 2 },
    { "upper", { { 'A', 'Z' } }, 1 },
    { "word", { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } }, 4 },
    { "xdigit", { { '0', '9' }, { 'A', 'F' }, { 'a', 'f' } }, 3 },
};

static const char *const  categories[] = {
    "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd",
    "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z",
    "Zl", "Zp", "Zs",
};

/* Scripts whose name has four letters; other names of four letters are abbreviations to PCRE2. */
static const char *const  short_scripts[] = { "Ahom", "Cham", "Lisu", "Thai", "Toto" };


static uint8_t
octet_at(const cn_re2_parser_t *parser, size_t at)
{
    return at < parser->pattern.len ? parser->pattern.ptr[at] : 0;
}


static int
hex_value(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }

    octet = cn_lower(octet);
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}


static bool
bad_escape(cn_re2_parser_t *parser, size_t at)
{
    uint8_t  octet = octet_at(parser, at + 1);

    if (at + 1 >= parser->pattern.len) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "a backslash at the end");
    }

    if (octet >= '1' && octet <= '9') {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "a back-reference is not in RE2");
    }

    return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "not an escape of RE2");
}


/* \x7f or \x{10ffff}; the parser stands behind the x. */
static bool
hex_escape(cn_re2_parser_t *parser, size_t start, uint32_t *code)
{
    bool      braces = octet_at(parser, parser->at) == '{';
    uint32_t  value = 0;
    size_t    digits = 0;

    parser->at += braces;

    while ((braces || digits < 2) && hex_value(octet_at(parser, parser->at)) >= 0) {
        value = value * 16 + (uint32_t) hex_value(octet_at(parser, parser->at));
        parser->at++;
        digits++;

        if (value > CODE_MAX) {
            return bad_escape(parser, start);
        }
    }

    if (braces ? digits == 0 || octet_at(parser, parser->at) != '}' : digits != 2) {
        return bad_escape(parser, start);
    }

    parser->at += braces;
    *code = value;
    return true;
}


/* \0, \12, \123; one digit alone from 1 on would be a back-reference. */
static bool
octal_escape(cn_re2_parser_t *parser, size_t start, uint32_t *code)
{
    uint32_t  value = 0;
    size_t    digits = 0;

    while (digits < 3 && octet_at(parser, parser->at) >= '0'
           && octet_at(parser, parser->at) <= '7')
    {
        value = value * 8 + (octet_at(parser, parser->at) - '0');
        parser->at++;
        digits++;
    }

    *code = value;
    return (digits > 1 || octet_at(parser, start + 1) == '0') || bad_escape(parser, start);
}


bool
cn_re2_escape(cn_re2_parser_t *parser, uint32_t *code)
{
    static const char  names[] = "a\a" "f\f" "n\n" "r\r" "t\t" "v\v";
    size_t             start = parser->at;
    uint8_t            octet = octet_at(parser, start + 1);

    if (start + 1 >= parser->pattern.len) {
        return bad_escape(parser, start);
    }

    if (octet >= '0' && octet <= '7') {
        parser->at++;
        return octal_escape(parser, start, code);
    }

    parser->at += 2;

    if (octet == 'x') {
        return hex_escape(parser, start, code);
    }

    for (size_t i = 0; i + 1 < sizeof(names) - 1; i += 2) {
        if ((uint8_t) names[i] == octet) {
            *code = (uint8_t) names[i + 1];
            return true;
        }
    }

    if (octet >= 0x80 || octet == '8' || octet == '9'
        || (cn_lower(octet) >= 'a' && cn_lower(octet) <= 'z'))
    {
        return bad_escape(parser, start);
    }

    *code = octet;
    return true;
}


static bool
emit_range(cn_re2_parser_t *parser, uint32_t low, uint32_t high)
{
    if (low > high) {
        return true;
    }

    parser->class_codes += high - low + 1;

    return cn_re2_emit_code(parser, low)
           && (low == high || (cn_re2_emit_str(parser, "-") && cn_re2_emit_code(parser, high)));
}


/* The part of low..high that lies within from..to, moved by 32 up or down. */
static bool
emit_other_case(cn_re2_parser_t *parser, uint32_t low, uint32_t high, uint32_t from, uint32_t to)
{
    low = low > from ? low : from;
    high = high < to ? high : to;

    return low > high || emit_range(parser, low ^ 0x20, high ^ 0x20);
}


static bool
holds(uint32_t low, uint32_t high, uint32_t code)
{
    return low <= code && code <= high;
}


static bool
emit_folded(cn_re2_parser_t *parser, uint32_t low, uint32_t high, bool fold)
{
    if (!emit_range(parser, low, high) || !fold) {
        return parser->status == CN_OK;
    }

    if (high >= 0x80) {
        parser->class_folds = true;
        return true;
    }

    return emit_other_case(parser, low, high, 'A', 'Z')
           && emit_other_case(parser, low, high, 'a', 'z')
           && (!(holds(low, high, 'k') || holds(low, high, 'K'))
               || emit_range(parser, 0x212a, 0x212a))
           && (!(holds(low, high, 's') || holds(low, high, 'S'))
               || emit_range(parser, 0x17f, 0x17f));
}


/* low..high without the characters that fold into ASCII, if it must be so. */
static bool
emit_outside(cn_re2_parser_t *parser, uint32_t low, uint32_t high, bool unfolded)
{
    if (!unfolded || high < 0x80) {
        return emit_range(parser, low, high);
    }

    return emit_range(parser, low, 0x17e) && emit_range(parser, 0x180, 0x2129)
           && emit_range(parser, 0x212b, high);
}


static bool
has_letter(const set_t *set, uint32_t letter)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (letter >= set->ranges[i].low && letter <= set->ranges[i].high) {
            return true;
        }
    }

    return false;
}


static bool
emit_set(cn_re2_parser_t *parser, const set_t *set, bool negated, bool fold)
{
    bool      unfolded = fold && (has_letter(set, 'k') || has_letter(set, 'K'));
    uint32_t  next = 0;

    for (uint32_t i = 0; i < set->count; i++) {
        const range_t  *range = &set->ranges[i];

        if (!negated && !emit_folded(parser, range->low, range->high, fold)) {
            return false;
        }

        if (negated && range->low > next && !emit_range(parser, next, range->low - 1)) {
            return false;
        }

        next = range->high + 1;
    }

    return !negated || emit_outside(parser, next, CODE_MAX, unfolded);
}


/*
 * One case's letters alone are not closed under folding: their complement under (?i) is that of
 * both cases.
 */
static const set_t *
closed_set(const set_t *set, bool fold)
{
    static const set_t  alpha = { "alpha", { { 'A', 'Z' }, { 'a', 'z' } }, 2 };

    return fold && has_letter(set, 'k') != has_letter(set, 'K') ? &alpha : set;
}


static bool
emit_perl(cn_re2_parser_t *parser, uint8_t letter, bool fold)
{
    for (size_t i = 0; i < CN_COUNT_OF(perl_sets); i++) {
        if ((uint8_t) perl_sets[i].name[0] == cn_lower(letter)) {
            parser->at += 2;
            return emit_set(parser, &perl_sets[i], letter < 'a', fold);
        }
    }

    return bad_escape(parser, parser->at);
}


/* [:name:] or [:^name:] within a class, from its '[' to end. */
static bool
emit_posix(cn_re2_parser_t *parser, size_t end, bool fold)
{
    size_t      from = parser->at + 2;
    bool        negated = octet_at(parser, from) == '^';
    cn_bytes_t  name = cn_bytes(parser->pattern.ptr + from + negated, end - from - negated);

    for (size_t i = 0; i < CN_COUNT_OF(posix_sets); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(posix_sets[i].name))) {
            parser->at = end + 2;
            return emit_set(parser, closed_set(&posix_sets[i], fold), negated, fold);
        }
    }

    return cn_re2_fail(parser, CN_ERR_SYNTAX, parser->at, "not the name of a class");
}


static bool
is_one_of(cn_bytes_t name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cn_bytes_equal(name, cn_bytes_str(names[i]))) {
            return true;
        }
    }

    return false;
}


/* Which scripts there are, PCRE2 knows; that it is spelled as one must be is seen to here. */
static bool
looks_like_script(cn_bytes_t name)
{
    if (name.len < 2 || name.len > 40 || name.ptr[0] < 'A' || name.ptr[0] > 'Z') {
        return false;
    }

    for (size_t i = 1; i < name.len; i++) {
        uint8_t  lower = cn_lower(name.ptr[i]);

        if ((lower < 'a' || lower > 'z') && lower != '_') {
            return false;
        }
    }

    return name.len != 4 || is_one_of(name, short_scripts, CN_COUNT_OF(short_scripts));
}


/* A property that PCRE2 has by this name too. */
static bool
emit_named(cn_re2_parser_t *parser, size_t at, cn_bytes_t name, bool negated, bool fold)
{
    bool  category = is_one_of(name, categories, CN_COUNT_OF(categories));

    if (!category && !looks_like_script(name)) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, at, "not a category or script");
    }

    if (fold && (!category || name.ptr[0] == 'L' || name.ptr[0] == 'M')) {
        return cn_re2_fail(parser, CN_ERR_UNSUPPORTED, at,
                           "a class of letters or a script under (?i) is not supported");
    }

    return cn_re2_emit_str(parser, negated ? "\\P{" : "\\p{")
           && (category || cn_re2_emit_str(parser, "sc:"))
           && cn_re2_emit(parser, (const char *) name.ptr, name.len)
           && cn_re2_emit_str(parser, "}");
}


/*
 * "C" is for RE2 what is assigned; PCRE2 has unassigned code points in it.  "Any" is all, or with
 * negated nothing.
 */
static bool
emit_property(cn_re2_parser_t *parser, size_t at, cn_bytes_t name, bool negated, bool fold)
{
    if (cn_bytes_equal(name, CN_BYTES("Any"))) {
        return negated || emit_range(parser, 0, CODE_MAX);
    }

    if (!cn_bytes_equal(name, CN_BYTES("C"))) {
        return emit_named(parser, at, name, negated, fold);
    }

    return cn_re2_emit_str(parser, negated ? "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{Cn}"
                                           : "\\p{Cc}\\p{Cf}\\p{Co}\\p{Cs}");
}


/* \pL, \p{Greek}, \p{^Greek}, \P...; the parser stands at the backslash. */
static bool
parse_property(cn_re2_parser_t *parser, bool fold)
{
    const cn_bytes_t  *pattern = &parser->pattern;
    size_t             start = parser->at;
    bool               negated = octet_at(parser, start + 1) == 'P';
    cn_bytes_t         name = cn_bytes_from(*pattern, start + 2);

    if (name.len == 0) {
        return bad_escape(parser, start);
    }

    if (name.ptr[0] != '{') {
        parser->at += 3;
        return emit_property(parser, start, cn_bytes(name.ptr, 1), negated, fold);
    }

    size_t  end = cn_bytes_find_octet(name, '}');

    if (end == SIZE_MAX) {
        return bad_escape(parser, start);
    }

    parser->at = start + 2 + end + 1;
    name = cn_bytes(name.ptr + 1, end - 1);

    if (name.len > 0 && name.ptr[0] == '^') {
        negated = !negated;
        name = cn_bytes_from(name, 1);
    }

    return emit_property(parser, start, name, negated, fold);
}


/* One end of a range. */
static bool
class_character(cn_re2_parser_t *parser, uint32_t *code)
{
    if (octet_at(parser, parser->at) == '\\') {
        return cn_re2_escape(parser, code);
    }

    return cn_utf8_next(parser->pattern, &parser->at, code)
           || cn_re2_fail(parser, CN_ERR_SYNTAX, parser->at,
                          parser->at < parser->pattern.len ? "not UTF-8" : "a class is not closed");
}


static bool
class_range(cn_re2_parser_t *parser, bool fold)
{
    size_t    start = parser->at;
    uint32_t  low, high;

    if (!class_character(parser, &low)) {
        return false;
    }

    high = low;

    if (octet_at(parser, parser->at) == '-' && parser->at + 1 < parser->pattern.len
        && octet_at(parser, parser->at + 1) != ']')
    {
        parser->at++;

        if (!class_character(parser, &high)) {
            return false;
        }
    }

    if (high < low) {
        return cn_re2_fail(parser, CN_ERR_SYNTAX, start, "a range that ends before it begins");
    }

    return emit_folded(parser, low, high, fold);
}


static bool
class_item(cn_re2_parser_t *parser, bool fold)
{
    uint8_t  octet = octet_at(parser, parser->at);
    uint8_t  next = octet_at(parser, parser->at + 1);

    if (octet == '[' && next == ':') {
        size_t  end = cn_bytes_find(cn_bytes_from(parser->pattern, parser->at + 2), CN_BYTES(":]"));

        if (end != SIZE_MAX) {
            return emit_posix(parser, parser->at + 2 + end, fold);
        }
    }

    if (octet == '\\' && (next == 'p' || next == 'P')) {
        return parse_property(parser, fold);
    }

    if (octet == '\\' && next != 0 && strchr("dDsSwW", next) != NULL) {
        return emit_perl(parser, next, fold);
    }

    return class_range(parser, fold);
}


static void
open_class(cn_re2_parser_t *parser)
{
    parser->class_folds = false;
    parser->class_codes = 0;
}


/*
 * A class in which nothing stands (\P{Any}) matches nothing; its complement everything.  Whether
 * PCRE2 is to fold is known only now.
 */
static bool
close_class(cn_re2_parser_t *parser, size_t opened, size_t start, size_t begun, bool negated)
{
    if (parser->len == begun) {
        parser->len = start;
        return cn_re2_emit_str(parser, negated ? "." : "(?:(?!))");
    }

    if (parser->class_folds) {
        parser->folded_codes += parser->class_codes;

        if (parser->folded_codes > FOLDED_MAX) {
            return cn_re2_fail(parser, CN_ERR_LIMIT, opened,
                               "too many characters in classes under (?i)");
        }
    }

    if (parser->folding != parser->class_folds) {
        parser->folding = parser->class_folds;

        if (!cn_re2_insert(parser, start, parser->class_folds ? "(?i)" : "(?-i)")) {
            return false;
        }
    }

    return cn_re2_emit_str(parser, "]");
}


bool
cn_re2_class(cn_re2_parser_t *parser, bool fold)
{
    size_t  opened = parser->at;
    size_t  start = parser->len;
    bool    negated = octet_at(parser, opened + 1) == '^';

    open_class(parser);

    if (!cn_re2_emit_str(parser, negated ? "[^" : "[")) {
        return false;
    }

    size_t  begun = parser->len;
    parser->at += 1 + negated;

    for (size_t first = parser->at;
         parser->at == first || octet_at(parser, parser->at) != ']'; )
    {
        if (parser->at >= parser->pattern.len) {
            return cn_re2_fail(parser, CN_ERR_SYNTAX, opened, "a class is not closed");
        }

        if (!class_item(parser, fold)) {
            return false;
        }
    }

    parser->at++;
    return close_class(parser, opened, start, begun, negated);
}


bool
cn_re2_class_escape(cn_re2_parser_t *parser, bool fold)
{
    size_t   opened = parser->at;
    size_t   start = parser->len;
    uint8_t  letter = octet_at(parser, opened + 1);

    open_class(parser);

    if (!cn_re2_emit_str(parser, "[")) {
        return false;
    }

    size_t  begun = parser->len;
    bool    fine = cn_lower(letter) == 'p' ? parse_property(parser, fold)
                                           : emit_perl(parser, letter, fold);

    return fine && close_class(parser, opened, start, begun, false);
}
