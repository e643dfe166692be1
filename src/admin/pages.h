/* SPDX-License-Identifier: Apache-2.0 */

/* pages - what the admin endpoints say.  The room's own: admin.c serves, the others here write. */

#ifndef CN_ADMIN_PAGES_H
#define CN_ADMIN_PAGES_H

#include "base/slice.h"
#include "admin/admin.h"

#include <jansson.h>

/* A question, and its answer being written. */
typedef struct {
    const cn_admin_view_t  *view;
    cn_pool_t              *pool;           /* of the request */
    cn_bytes_t              query;          /* raw, without '?' */
    uint16_t                status;         /* 200 unless the page says otherwise */
    cn_bytes_t              content_type;   /* text/plain unless the page says otherwise */
    cn_chain_t              text;
    bool                    failed;         /* memory was spent: the text is not whole */
    bool                    is_command;     /* POST, not GET */
} cn_page_t;

typedef void (*cn_page_fn_t)(cn_page_t *page);

/* Append to the answer. */
void cn_page_write(cn_page_t *page, cn_bytes_t text);
void cn_page_printf(cn_page_t *page, const char *format, ...) CN_PRINTF(2, 3);

/* The answer is this object (taken; NULL: memory). */
void cn_page_json(cn_page_t *page, json_t *object);

/*
 * The at-th (0 is the first) parameter of that name, decoded; no bytes when it is absent, cut off
 * or not decodable.
 */
cn_bytes_t cn_page_parameter(cn_page_t *page, const char *name, unsigned at);

/* Who the waypoint is.  False: there is no certificate.  (certs_page.c) */
bool cn_page_identity(const cn_page_t *page, cn_admin_identity_t *identity);

/* Of its certificate's life; less than 0 behind its end. */
int64_t cn_page_seconds_left(const cn_admin_identity_t *identity);

/* The same for /status.json, a new value; NULL: memory. */
json_t *cn_page_describe_identity(const cn_page_t *page) CN_MUST_USE;

/* One function a page. */
void cn_page_ready(cn_page_t *page);
void cn_page_live(cn_page_t *page);
void cn_page_prometheus(cn_page_t *page);
void cn_page_stats(cn_page_t *page);
void cn_page_config_dump(cn_page_t *page);
void cn_page_certs(cn_page_t *page);
void cn_page_status(cn_page_t *page);
void cn_page_routes(cn_page_t *page);
void cn_page_clusters(cn_page_t *page);
void cn_page_traffic(cn_page_t *page);
void cn_page_errors(cn_page_t *page);
void cn_page_explain(cn_page_t *page);
void cn_page_index(cn_page_t *page);
void cn_page_style(cn_page_t *page);
void cn_page_script(cn_page_t *page);

/*
 * Whether a slot of the slab is worth a line: those of the workers that serve, dead or alive, and
 * of those that an upgrade has replaced and that still drain.
 */
bool cn_page_has_worker(const cn_admin_view_t *view, uint32_t slot);

#endif
