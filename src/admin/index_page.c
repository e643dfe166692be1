/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index_page - / is html/index.html of the prefix, else the one beside the program's own folder: an
 * installed sbin/cairn and a built objs/cairn both have it at ../html.
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
open_beside_program(void)
{
    char     path[4096];
    ssize_t  len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char    *slash;

    if (len <= 0) {
        return NULL;
    }

    path[len] = '\0';
    slash = strrchr(path, '/');

    if (slash == NULL || (size_t) (path + sizeof(path) - slash) < sizeof("/../html/index.html")) {
        return NULL;
    }

    memcpy(slash, "/../html/index.html", sizeof("/../html/index.html"));

    return fopen(path, "re");
}


static FILE *
open_page(cn_page_t *page)
{
    const char  *path = cn_pool_printf(page->pool, "%s/html/index.html",
                                       page->view->bootstrap_prefix);
    FILE        *file = path != NULL ? fopen(path, "re") : NULL;

    return file != NULL ? file : open_beside_program();
}


void
cn_page_index(cn_page_t *page)
{
    char    text[8192];
    size_t  len;
    size_t  sum = 0;
    FILE   *file = open_page(page);

    if (file == NULL) {
        cn_page_write(page, cn_bytes_str(missing));
        return;
    }

    page->content_type = CN_BYTES("text/html; charset=utf-8");

    while ((len = fread(text, 1, sizeof(text), file)) > 0 && (sum += len) <= PAGE_MAX) {
        cn_page_write(page, cn_bytes(text, len));
    }

    fclose(file);
}
