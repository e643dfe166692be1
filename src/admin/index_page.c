/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index_page - the live page: files of html/ of the prefix, else of the one beside the program's
 * own folder: an installed sbin/cairn and a built objs/cairn both have it at ../html.
 */

#include "admin/pages.h"

#include <stdio.h>
#include <unistd.h>

#define PAGE_MAX  (1024 * 1024)     /* octets */

static const char  missing[] =
    "cairn: html/index.html is not there.\n"
    "/status.json /routes.json /clusters.json /traffic.json /errors.json /config_dump\n"
    "/stats /stats/prometheus\n"
    "/explain?method=GET&url=http://HOST:PORT/PATH&from=SPIFFE /healthz/ready\n";


static FILE *
open_beside_program(const char *name)
{
    char     path[4096];
    ssize_t  len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char    *slash;
    size_t   room;

    if (len <= 0) {
        return NULL;
    }

    path[len] = '\0';
    slash = strrchr(path, '/');

    if (slash == NULL) {
        return NULL;
    }

    room = (size_t) (path + sizeof(path) - slash);

    return (size_t) snprintf(slash, room, "/../html/%s", name) < room ? fopen(path, "re") : NULL;
}


static FILE *
open_file(cn_page_t *page, const char *name)
{
    const char  *path = cn_pool_printf(page->pool, "%s/html/%s", page->view->bootstrap_prefix,
                                       name);
    FILE        *file = path != NULL ? fopen(path, "re") : NULL;

    return file != NULL ? file : open_beside_program(name);
}


/* One of our own files: name is no part of the question. */
static void
write_file(cn_page_t *page, const char *name, cn_bytes_t content_type)
{
    char    text[8192];
    size_t  len;
    size_t  sum = 0;
    FILE   *file = open_file(page, name);

    if (file == NULL) {
        page->status = 404;
        cn_page_write(page, cn_bytes_str(missing));
        return;
    }

    page->content_type = content_type;

    while ((len = fread(text, 1, sizeof(text), file)) > 0 && (sum += len) <= PAGE_MAX) {
        cn_page_write(page, cn_bytes(text, len));
    }

    fclose(file);
}


void
cn_page_index(cn_page_t *page)
{
    write_file(page, "index.html", CN_BYTES("text/html; charset=utf-8"));
}


void
cn_page_style(cn_page_t *page)
{
    write_file(page, "page.css", CN_BYTES("text/css; charset=utf-8"));
}


void
cn_page_script(cn_page_t *page)
{
    write_file(page, "page.js", CN_BYTES("text/javascript; charset=utf-8"));
}
