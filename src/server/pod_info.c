/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pod_info - lines key="value", values as Go's strconv.Quote writes them.
 *
 * A value never grows when it is unquoted: the shortest escape of n octets of UTF-8 is longer than
 * n.  What is no UTF-8 afterwards (\x and octal escapes) is no JSON string: such a line is bad.
 */

#include "server/pod_info.h"

typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
    uint8_t        *out;
} unquote_t;


static int
digit(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }

    octet = cn_lower(octet);

    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : 16;
}


/* count digits of that base.  False: fewer, or others. */
static bool
take_digits(unquote_t *unquote, unsigned count, unsigned base, uint32_t *value)
{
    *value = 0;

    if ((size_t) (unquote->end - unquote->pos) < count) {
        return false;
    }

    for (unsigned i = 0; i < count; i++) {
        int  number = digit(*unquote->pos++);

        if (number >= (int) base) {
            return false;
        }

        *value = *value * base + (uint32_t) number;
    }

    return true;
}


/* A code point as UTF-8.  False: it is none. */
static bool
put_rune(unquote_t *unquote, uint32_t rune)
{
    if (rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff)) {
        return false;
    }

    if (rune < 0x80) {
        *unquote->out++ = (uint8_t) rune;
        return true;
    }

    unsigned  more = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;

    *unquote->out++ = (uint8_t) (0xff00u >> (more + 1) | rune >> (6 * more));

    while (more-- > 0) {
        *unquote->out++ = (uint8_t) (0x80 | ((rune >> (6 * more)) & 0x3f));
    }

    return true;
}


/* An octet by its number: \x41, \101. */
static bool
put_octet(unquote_t *unquote, unsigned digits, unsigned base)
{
    uint32_t  value;

    if (!take_digits(unquote, digits, base, &value) || value > 0xff) {
        return false;
    }

    *unquote->out++ = (uint8_t) value;

    return true;
}


/* What stands behind a backslash. */
static bool
take_escape(unquote_t *unquote)
{
    static const char  names[] = "abfnrtv\\\"";
    static const char  octets[] = "\a\b\f\n\r\t\v\\\"";
    uint8_t            kind;
    uint32_t           rune;

    if (unquote->pos == unquote->end) {
        return false;
    }

    kind = *unquote->pos++;

    switch (kind) {
    case 'x':
        return put_octet(unquote, 2, 16);
    case 'u':
        return take_digits(unquote, 4, 16, &rune) && put_rune(unquote, rune);
    case 'U':
        return take_digits(unquote, 8, 16, &rune) && put_rune(unquote, rune);
    default:
        break;
    }

    if (kind >= '0' && kind <= '7') {
        unquote->pos--;
        return put_octet(unquote, 3, 8);
    }

    const char  *found = kind == '\0' ? NULL : strchr(names, kind);

    if (found == NULL) {
        return false;
    }

    *unquote->out++ = (uint8_t) octets[found - names];

    return true;
}


cn_status_t
cn_pod_info_unquote(cn_bytes_t quoted, cn_pool_t *pool, cn_bytes_t *value)
{
    if (quoted.len < 2 || quoted.ptr[0] != '"' || quoted.ptr[quoted.len - 1] != '"') {
        return CN_ERR_SYNTAX;
    }

    uint8_t    *start = cn_pool_octets(pool, quoted.len);
    unquote_t   unquote = { quoted.ptr + 1, quoted.ptr + quoted.len - 1, start };

    if (start == NULL) {
        return CN_ERR_MEMORY;
    }

    while (unquote.pos < unquote.end) {
        uint8_t  octet = *unquote.pos++;

        if (octet == '"' || octet == '\n') {
            return CN_ERR_SYNTAX;
        }

        if (octet != '\\') {
            *unquote.out++ = octet;

        } else if (!take_escape(&unquote)) {
            return CN_ERR_SYNTAX;
        }
    }

    *value = cn_bytes(start, (size_t) (unquote.out - start));

    return CN_OK;
}


/* False: the line is none. */
static bool
add_line(json_t *object, cn_bytes_t line, cn_pool_t *pool)
{
    cn_bytes_t  key, quoted, value;

    if (!cn_bytes_split(line, '=', &key, &quoted) || key.len == 0
        || cn_pod_info_unquote(quoted, pool, &value) != CN_OK)
    {
        return false;
    }

    /* checks that both are UTF-8, and takes the string in any case */
    return json_object_setn_new(object, (const char *) key.ptr, key.len,
                                json_stringn(value.len == 0 ? "" : (const char *) value.ptr,
                                             value.len)) == 0;
}


json_t *
cn_pod_info_read(cn_bytes_t text, cn_pool_t *pool, size_t *bad)
{
    json_t  *object = json_object();
    size_t   lines = 0;

    *bad = 0;

    if (object == NULL) {
        return NULL;
    }

    while (text.len > 0) {
        cn_bytes_t  line, rest;

        (void) cn_bytes_split(text, '\n', &line, &rest);
        text = rest;

        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }

        if (line.len == 0) {
            continue;
        }

        if (++lines > CN_POD_INFO_LINES_MAX || !add_line(object, line, pool)) {
            (*bad)++;
        }
    }

    return object;
}
