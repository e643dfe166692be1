/* SPDX-License-Identifier: Apache-2.0 */

/*
 * explain_page - /explain?method=GET&url=http://reviews:9080/x&from=SPIFFE&h=name:value: what the
 * waypoint would do to that request, from the tables that the workers have.
 */

#include "admin/pages.h"
#include "filter/explain.h"

#define HEADERS_MAX  64


static void
refuse(cn_page_t *page, const char *why)
{
    page->status = 400;
    cn_page_printf(page, "%s\n", why);
}


/* "name: value", the name in lower case. */
static cn_status_t
add_header(cn_page_t *page, cn_headers_t *headers, cn_bytes_t text)
{
    cn_bytes_t   name, value;
    uint8_t     *lower;

    if (!cn_bytes_split(text, ':', &name, &value) || name.len == 0) {
        return CN_ERR_SYNTAX;
    }

    lower = cn_pool_octets(page->pool, name.len);

    if (lower == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; i < name.len; i++) {
        lower[i] = cn_lower(name.ptr[i]);
    }

    return cn_headers_add(headers, cn_bytes(lower, name.len), cn_bytes_trim(value));
}


static cn_status_t
read_request(cn_page_t *page, cn_explain_request_t *request)
{
    cn_bytes_t  url = cn_page_parameter(page, "url", 0);
    cn_bytes_t  header;
    size_t      slash;

    if (cn_bytes_starts_with_nocase(url, CN_BYTES("http://"))) {
        url = cn_bytes_from(url, sizeof("http://") - 1);
    }

    slash = cn_bytes_find_octet(url, '/');
    request->authority = slash == SIZE_MAX ? url : cn_bytes(url.ptr, slash);
    request->path = slash == SIZE_MAX ? CN_BYTES("/") : cn_bytes_from(url, slash);
    request->method = cn_page_parameter(page, "method", 0);
    request->principal = cn_page_parameter(page, "from", 0);
    request->headers = (cn_headers_t) { .pool = page->pool };

    if (request->method.len == 0) {
        request->method = CN_BYTES("GET");
    }

    for (unsigned i = 0; i < HEADERS_MAX; i++) {
        header = cn_page_parameter(page, "h", i);

        if (header.len == 0) {
            break;
        }

        cn_status_t  status = add_header(page, &request->headers, header);

        if (status != CN_OK) {
            return status;
        }
    }

    return request->authority.len > 0 ? CN_OK : CN_ERR_SYNTAX;
}


void
cn_page_explain(cn_page_t *page)
{
    cn_explain_request_t  request = { .method = CN_BYTES_NONE };
    cn_explain_t          explain = { .pool = page->pool };
    cn_status_t           status = read_request(page, &request);

    if (status == CN_ERR_SYNTAX) {
        refuse(page, "explain?method=GET&url=http://HOST:PORT/PATH&from=SPIFFE&h=NAME:VALUE");
        return;
    }

    if (status != CN_OK || cn_explain_run(page->view->tables, &request, &explain) != CN_OK) {
        page->failed = true;
        return;
    }

    CN_ARRAY_EACH(&explain.lines, const cn_bytes_t, line) {
        cn_page_write(page, *line);
        cn_page_write(page, CN_BYTES("\n"));
    }
}
