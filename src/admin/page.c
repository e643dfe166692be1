/* SPDX-License-Identifier: Apache-2.0 */

/* page - how an answer is written and a question read. */

#include "admin/pages.h"

#include <stdarg.h>
#include <stdio.h>

#define PRINTF_MAX  2048


void
cn_page_write(cn_page_t *page, cn_bytes_t text)
{
    if (!page->failed && cn_chain_append(&page->text, text) != CN_OK) {
        page->failed = true;
    }
}


void
cn_page_printf(cn_page_t *page, const char *format, ...)
{
    char     text[PRINTF_MAX];
    va_list  args;

    va_start(args, format);
    int  len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    if (len < 0 || (size_t) len >= sizeof(text)) {
        page->failed = true;
        return;
    }

    cn_page_write(page, cn_bytes(text, (size_t) len));
}


static int
write_json(const char *buffer, size_t size, void *data)
{
    cn_page_t  *page = data;

    cn_page_write(page, cn_bytes(buffer, size));

    return page->failed ? -1 : 0;
}


void
cn_page_json(cn_page_t *page, json_t *object)
{
    page->content_type = CN_BYTES("application/json");

    if (object == NULL
        || json_dump_callback(object, write_json, page, JSON_INDENT(2) | JSON_ENSURE_ASCII) != 0)
    {
        page->failed = true;
    }

    json_decref(object);
    cn_page_write(page, CN_BYTES("\n"));
}


/* ---- parameters ------------------------------------------------------------------------------ */

static int
hex_digit(uint8_t octet)
{
    uint8_t  low = cn_lower(octet);

    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }

    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}


/* application/x-www-form-urlencoded; none: not that. */
static cn_bytes_t
decode(cn_pool_t *pool, cn_bytes_t text)
{
    uint8_t  *out = cn_pool_octets(pool, text.len);
    size_t    len = 0;

    if (out == NULL) {
        return CN_BYTES_NONE;
    }

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '%') {
            out[len++] = text.ptr[i] == '+' ? ' ' : text.ptr[i];
            continue;
        }

        int  high = text.len - i > 2 ? hex_digit(text.ptr[i + 1]) : -1;
        int  low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;

        if (low < 0) {
            return CN_BYTES_NONE;
        }

        out[len++] = (uint8_t) (high << 4 | low);
        i += 2;
    }

    return cn_bytes(out, len);
}


cn_bytes_t
cn_page_parameter(cn_page_t *page, const char *name, unsigned at)
{
    cn_bytes_t  rest = page->query;

    while (rest.len > 0) {
        cn_bytes_t  pair, key, value;

        if (!cn_bytes_split(rest, '&', &pair, &rest)) {
            rest = CN_BYTES_NONE;
        }

        cn_bytes_split(pair, '=', &key, &value);

        if (cn_bytes_equal(key, cn_bytes_str(name)) && at-- == 0) {
            return decode(page->pool, value);
        }
    }

    return CN_BYTES_NONE;
}


bool
cn_page_has_worker(const cn_admin_view_t *view, uint32_t slot)
{
    return slot - view->first_slot < view->workers || cn_slab_worker(view->slab, slot)->pid != 0;
}
