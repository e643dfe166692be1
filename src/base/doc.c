/* SPDX-License-Identifier: Apache-2.0 */

/* doc - reading the tree of a parsed document.  Its depth is bounded by whoever builds it. */

#include "base/doc.h"

#include <math.h>
#include <stdlib.h>

#define NUMBER_MAX  64              /* octets of a number's text */


static cn_doc_t *
get(cn_doc_t *node, cn_bytes_t key)
{
    if (node == NULL || node->kind != CN_DOC_MAPPING) {
        return NULL;
    }

    CN_DOC_EACH(node, item) {
        if (cn_bytes_equal(item->key, key)) {
            item->used = true;          /* a null is known too */
            return item->kind == CN_DOC_NULL ? NULL : item;
        }
    }

    return NULL;
}


cn_doc_t *
cn_doc_get(cn_doc_t *node, const char *key)
{
    return get(node, cn_bytes_str(key));
}


cn_doc_t *
cn_doc_path(cn_doc_t *node, const char *path)
{
    cn_bytes_t  step, rest = cn_bytes_str(path);

    while (node != NULL && rest.len > 0) {
        (void) cn_bytes_split(rest, '.', &step, &rest);
        node = get(node, step);
    }

    return node;
}


static bool
is_one_of(cn_bytes_t text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cn_bytes_equal(text, cn_bytes_str(names[i]))) {
            return true;
        }
    }

    return false;
}


static bool
is_true(cn_bytes_t text)
{
    static const char *const  names[] = {
        "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y",
    };

    return is_one_of(text, names, CN_COUNT_OF(names));
}


static bool
is_false(cn_bytes_t text)
{
    static const char *const  names[] = {
        "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N",
    };

    return is_one_of(text, names, CN_COUNT_OF(names));
}


/* How many octets from at on are digits of the base, or '_', which YAML 1.1 skips. */
static size_t
digits_len(cn_bytes_t text, size_t at, unsigned base)
{
    size_t  len = 0;

    while (at + len < text.len) {
        uint8_t   octet = cn_lower(text.ptr[at + len]);
        unsigned  digit = 99;

        if (octet >= '0' && octet <= '9') {
            digit = octet - (unsigned) '0';

        } else if (octet >= 'a' && octet <= 'f') {
            digit = octet - (unsigned) 'a' + 10;
        }

        if (digit >= base && octet != '_') {
            break;
        }

        len++;
    }

    return len;
}


/* 0x1f, 0o17, 0b1: whole numbers to YAML readers. */
static bool
is_prefixed_number(cn_bytes_t text)
{
    unsigned  base;

    if (text.len < 3 || text.ptr[0] != '0') {
        return false;
    }

    switch (text.ptr[1]) {
    case 'x':
    case 'X':
        base = 16;
        break;
    case 'o':
        base = 8;
        break;
    case 'b':
        base = 2;
        break;
    default:
        return false;
    }

    return digits_len(text, 2, base) == text.len - 2;
}


/* 1, 1.5, .5, 1., 1e3. */
static bool
is_decimal_number(cn_bytes_t text)
{
    size_t  at, whole, fraction = 0;

    at = whole = digits_len(text, 0, 10);

    if (at < text.len && text.ptr[at] == '.') {
        fraction = digits_len(text, at + 1, 10);
        at += 1 + fraction;
    }

    /* '_' may stand within a number and not begin one */
    if (whole + fraction == 0 || text.ptr[0] == '_') {
        return false;
    }

    if (at < text.len && cn_lower(text.ptr[at]) == 'e') {
        size_t  sign = at + 1 < text.len && (text.ptr[at + 1] == '+' || text.ptr[at + 1] == '-');
        size_t  len = digits_len(text, at + 1 + sign, 10);

        at += len == 0 ? 0 : 1 + sign + len;
    }

    return at == text.len;
}


static bool
is_number(cn_bytes_t text)
{
    static const char *const  names[] = {
        ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN",
    };

    if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        text = cn_bytes_from(text, 1);
    }

    return is_decimal_number(text) || is_prefixed_number(text)
           || is_one_of(text, names, CN_COUNT_OF(names));
}


static bool
is_plain_scalar(const cn_doc_t *node)
{
    return node != NULL && node->kind == CN_DOC_SCALAR && !node->quoted;
}


cn_status_t
cn_doc_bool(const cn_doc_t *node, bool *value)
{
    if (!is_plain_scalar(node)) {
        return CN_ERR_SYNTAX;
    }

    if (is_true(node->text)) {
        *value = true;
        return CN_OK;
    }

    if (is_false(node->text)) {
        *value = false;
        return CN_OK;
    }

    return CN_ERR_SYNTAX;
}


cn_status_t
cn_doc_u64(const cn_doc_t *node, uint64_t min, uint64_t max, uint64_t *value)
{
    cn_bytes_t   digits;
    uint64_t     number;
    cn_status_t  status;

    if (!is_plain_scalar(node) || node->text.len == 0) {
        return CN_ERR_SYNTAX;
    }

    digits = node->text.ptr[0] == '-' ? cn_bytes_from(node->text, 1) : node->text;

    if (digits.len > 1 && digits.ptr[0] == '0') {
        return CN_ERR_SYNTAX;
    }

    status = cn_bytes_to_u64(digits, max, &number);
    if (status != CN_OK) {
        return status;
    }

    if (number < min || (digits.len < node->text.len && number != 0)) {
        return CN_ERR_RANGE;
    }

    *value = number;

    return CN_OK;
}


/* 010 and 0x10: what they are depends on who reads them. */
static bool
has_leading_zero(cn_bytes_t text)
{
    return text.len > 1 && text.ptr[0] == '0' && text.ptr[1] != '.' && cn_lower(text.ptr[1]) != 'e';
}


cn_status_t
cn_doc_double(const cn_doc_t *node, double *value)
{
    char        text[NUMBER_MAX];
    cn_bytes_t  digits;
    double      number;
    char       *end;

    if (!is_plain_scalar(node) || node->text.len == 0 || node->text.len >= sizeof(text)) {
        return CN_ERR_SYNTAX;
    }

    digits = node->text.ptr[0] == '-' ? cn_bytes_from(node->text, 1) : node->text;

    if (!is_decimal_number(digits) || has_leading_zero(digits)) {
        return CN_ERR_SYNTAX;
    }

    memcpy(text, node->text.ptr, node->text.len);
    text[node->text.len] = '\0';

    number = strtod(text, &end);

    if (end != text + node->text.len) {
        return CN_ERR_SYNTAX;           /* 1_000 */
    }

    if (!isfinite(number)) {
        return CN_ERR_RANGE;
    }

    *value = number;

    return CN_OK;
}


cn_status_t
cn_doc_string(const cn_doc_t *node, cn_bytes_t *value)
{
    if (node == NULL || node->kind != CN_DOC_SCALAR) {
        return CN_ERR_SYNTAX;
    }

    if (!node->quoted && (is_true(node->text) || is_false(node->text) || is_number(node->text))) {
        return CN_ERR_SYNTAX;
    }

    *value = node->text;

    return CN_OK;
}


void
cn_doc_use_all(cn_doc_t *node)
{
    if (node == NULL) {
        return;
    }

    node->used = true;

    CN_DOC_EACH(node, item) {
        cn_doc_use_all(item);
    }
}


cn_doc_t *
cn_doc_unused(cn_doc_t *root)
{
    bool  named = root != NULL && root->kind == CN_DOC_MAPPING;

    CN_DOC_EACH(root, item) {
        cn_doc_t  *unused = named && !item->used ? item : cn_doc_unused(item);

        if (unused != NULL) {
            return unused;
        }
    }

    return NULL;
}


const char *
cn_doc_kind_name(cn_doc_kind_t kind)
{
    switch (kind) {
    case CN_DOC_NULL:
        return "null";
    case CN_DOC_SCALAR:
        return "a scalar";
    case CN_DOC_SEQUENCE:
        return "a sequence";
    case CN_DOC_MAPPING:
        return "a mapping";
    }

    return "unknown";
}
