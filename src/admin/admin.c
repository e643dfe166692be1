/* SPDX-License-Identifier: Apache-2.0 */

/*
 * admin - serves the pages.  Each answer is written whole before its head goes out, so that its
 * length is known and a page never stops half way.  No page changes the waypoint: only GET and HEAD
 * are answered, and a request's body is dropped.  A command is taken by POST, from this host only,
 * and from no browser: a page of another site could send it there.
 */

#include "admin/admin.h"

#include "admin/pages.h"
#include "base/log.h"
#include "http/codec.h"
#include "route/match.h"
#include "stream/tcp.h"

#include <unistd.h>

#define CONNECTIONS_MAX   256
#define IDLE_TIMEOUT_MS   60000
#define HEAD_TIMEOUT_MS   10000
#define REQUEST_BODY_MAX  65536u        /* octets that are read and dropped */

struct cn_admin_s {
    cn_loop_t              *loop;
    const cn_admin_view_t  *view;
    uint32_t                connections;
};

typedef struct {
    cn_admin_t       *admin;
    cn_admin_kind_t   kind;
    bool              local;            /* the peer is on this host */
} connection_t;

typedef struct {
    const char    *path;
    unsigned       kinds;               /* bit cn_admin_kind_t */
    cn_page_fn_t   page;
} endpoint_t;

typedef struct {
    const char          *path;
    cn_admin_command_t   command;
} command_t;

/* A request being answered; in its exchange's pool. */
typedef struct {
    cn_exchange_t    *exchange;
    cn_admin_t       *admin;
    const command_t  *command;          /* to be given once the answer has left; NULL: none */
    size_t            body;             /* octets dropped so far */
} answer_t;

#define FULL     (1u << CN_ADMIN_FULL)
#define STATUS   (1u << CN_ADMIN_STATUS)
#define METRICS  (1u << CN_ADMIN_METRICS)

static const endpoint_t  endpoints[] = {
    { "/healthz/ready", FULL | STATUS | METRICS, cn_page_ready },
    { "/ready", FULL | STATUS, cn_page_ready },
    { "/healthz/live", FULL | STATUS | METRICS, cn_page_live },
    { "/stats/prometheus", FULL | METRICS, cn_page_prometheus },
    { "/metrics", FULL | METRICS, cn_page_prometheus },
    { "/stats", FULL, cn_page_stats },
    { "/config_dump", FULL, cn_page_config_dump },
    { "/certs", FULL, cn_page_certs },
    { "/status.json", FULL, cn_page_status },
    { "/routes.json", FULL, cn_page_routes },
    { "/clusters.json", FULL, cn_page_clusters },
    { "/traffic.json", FULL, cn_page_traffic },
    { "/errors.json", FULL, cn_page_errors },
    { "/explain", FULL, cn_page_explain },
    { "/", FULL, cn_page_index },
    { "/page.css", FULL, cn_page_style },
    { "/page.js", FULL, cn_page_script },
};


static const command_t  commands[] = {
    { "/drain", CN_ADMIN_DRAIN },
    { "/quitquitquit", CN_ADMIN_QUIT },
};


/* ---- answers --------------------------------------------------------------------------------- */

static void
on_body(void *owner, cn_slice_t *data)
{
    answer_t  *answer = owner;

    answer->body += data->len;

    if (answer->body > REQUEST_BODY_MAX) {
        cn_exchange_reset(answer->exchange, CN_RESET_LIMIT);
        return;
    }

    cn_exchange_consumed(answer->exchange, data->len);
}


static void
on_end(void *owner, cn_headers_t *trailers)
{
    (void) owner;
    (void) trailers;
}


/* The answer has left, or nobody waits for it: now the process may end. */
static void
on_over(void *owner)
{
    const answer_t         *answer = owner;
    const cn_admin_view_t  *view = answer->admin->view;

    if (answer->command != NULL) {
        view->command(view->owner, answer->command->command);
    }
}


static void
on_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) reason;
    (void) detail;
    on_over(owner);
}


static const cn_exchange_events_t  answer_events = {
    .on_body = on_body,
    .on_end = on_end,
    .on_reset = on_reset,
    .on_over = on_over,
};


/* What every answer says.  The page is our own files and nothing else, in nobody's frame. */
static const struct { const char *name, *value; }  constant_headers[] = {
    { "cache-control", "no-store" },
    { "x-content-type-options", "nosniff" },
    { "referrer-policy", "no-referrer" },
    { "content-security-policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'" },
};


static cn_status_t
fill_head(const cn_page_t *page, cn_message_t *head)
{
    cn_status_t  status = CN_OK;

    cn_message_init(head, page->pool);
    head->version = CN_HTTP_11;
    head->status = page->status;
    head->content_length = (int64_t) page->text.len;

    if (page->text.len > 0) {
        status = cn_headers_add_id(&head->headers, CN_HEADER_CONTENT_TYPE, page->content_type);
    }

    for (size_t i = 0; i < CN_COUNT_OF(constant_headers) && status == CN_OK; i++) {
        status = cn_headers_add(&head->headers, cn_bytes_str(constant_headers[i].name),
                                cn_bytes_str(constant_headers[i].value));
    }

    if (status == CN_OK && page->status == 405) {
        status = cn_headers_add(&head->headers, CN_BYTES("allow"),
                                page->is_command ? CN_BYTES("POST") : CN_BYTES("GET, HEAD"));
    }

    return status;
}


/* Sends what the page says; empties it. */
static void
send_page(cn_exchange_t *exchange, cn_page_t *page, bool head_only)
{
    cn_message_t  head;

    if (page->failed) {
        cn_chain_clear(&page->text);
        page->status = 500;
    }

    if (fill_head(page, &head) != CN_OK) {
        cn_chain_clear(&page->text);
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    if (head_only || page->text.len == 0) {
        cn_exchange_send_head(exchange, &head, true);
        cn_chain_clear(&page->text);
        return;
    }

    cn_exchange_send_head(exchange, &head, false);

    while (page->text.len > 0) {
        cn_exchange_send_body(exchange, cn_chain_pop(&page->text, SIZE_MAX));
    }

    cn_exchange_send_end(exchange, NULL);
    cn_chain_clear(&page->text);
}


static const endpoint_t *
find_endpoint(cn_bytes_t path, cn_admin_kind_t kind)
{
    for (size_t i = 0; i < CN_COUNT_OF(endpoints); i++) {
        if (cn_bytes_equal(path, cn_bytes_str(endpoints[i].path))
            && (endpoints[i].kinds & (1u << kind)))
        {
            return &endpoints[i];
        }
    }

    return NULL;
}


/*
 * Whether a browser may have been sent here by a page of somebody else, under a name of theirs that
 * leads to this address: ours are localhost and addresses.
 */
static bool
is_foreign(const cn_message_t *head)
{
    cn_bytes_t    host = head->authority;
    cn_address_t  address;
    size_t        colon = cn_bytes_find_last_octet(host, ':');

    if (host.len == 0 || cn_address_parse(host, &address) == CN_OK
        || cn_address_parse_ip(host, &address) == CN_OK)
    {
        return false;
    }

    return !cn_bytes_equal_nocase(colon == SIZE_MAX ? host : cn_bytes(host.ptr, colon),
                                  CN_BYTES("localhost"));
}


static const command_t *
find_command(cn_bytes_t path, cn_admin_kind_t kind)
{
    for (size_t i = 0; kind == CN_ADMIN_METRICS && i < CN_COUNT_OF(commands); i++) {
        if (cn_bytes_equal(path, cn_bytes_str(commands[i].path))) {
            return &commands[i];
        }
    }

    return NULL;
}


/* True: the command is to be given. */
static bool
answer_command(const connection_t *connection, const cn_message_t *head, cn_page_t *page)
{
    page->is_command = true;

    if (!connection->local || is_foreign(head)
        || cn_headers_find(&head->headers, CN_BYTES("origin")) != NULL)
    {
        page->status = 403;
        cn_page_printf(page, "only requests from localhost are allowed\n");

    } else if (!cn_bytes_equal(head->method, CN_BYTES("POST"))) {
        page->status = 405;

    } else {
        cn_page_printf(page, "OK\n");
    }

    return page->status == 200;
}


static void
answer_page(const connection_t *connection, cn_bytes_t path, const cn_message_t *head,
    cn_page_t *page)
{
    const endpoint_t  *endpoint = find_endpoint(path, connection->kind);

    if (!cn_bytes_equal(head->method, CN_BYTES("HEAD"))
        && !cn_bytes_equal(head->method, CN_BYTES("GET")))
    {
        page->status = 405;

    } else if (connection->kind == CN_ADMIN_FULL && is_foreign(head)) {
        page->status = 403;
        cn_page_printf(page, "ask for localhost or an address\n");

    } else if (endpoint == NULL) {
        page->status = 404;
        cn_page_printf(page, "not found\n");

    } else {
        endpoint->page(page);
    }
}


static void
on_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    connection_t      *connection = owner;
    answer_t          *answer = cn_pool_alloc_zero(exchange->pool, sizeof(answer_t));
    const command_t   *command;
    cn_match_input_t   input;
    bool               head_only = cn_bytes_equal(head->method, CN_BYTES("HEAD"));

    cn_page_t  page = {
        .view = connection->admin->view,
        .pool = exchange->pool,
        .status = 200,
        .content_type = CN_BYTES("text/plain; charset=utf-8"),
    };

    (void) end;

    if (answer == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    answer->exchange = exchange;
    answer->admin = connection->admin;
    cn_exchange_set_owner(exchange, &answer_events, answer);
    cn_match_input_init(&input, head, exchange->connection, 0);
    page.query = input.query;
    command = find_command(input.path, connection->kind);

    if (command != NULL) {
        answer->command = answer_command(connection, head, &page) ? command : NULL;
    } else {
        answer_page(connection, input.path, head, &page);
    }

    send_page(exchange, &page, head_only);
}


/* ---- connections ----------------------------------------------------------------------------- */

static void
on_closed(void *owner, cn_close_reason_t reason)
{
    connection_t  *connection = owner;

    (void) reason;
    connection->admin->connections--;
    cn_free(connection);
}


static const cn_session_events_t  session_events = {
    .on_exchange = on_exchange,
    .on_closed = on_closed,
};


cn_admin_t *
cn_admin_create(cn_loop_t *loop, const cn_admin_view_t *view)
{
    cn_admin_t  *admin = cn_alloc_zero(sizeof(cn_admin_t));

    if (admin == NULL) {
        return NULL;
    }

    admin->loop = loop;
    admin->view = view;

    return admin;
}


static bool
serve(cn_stream_t *stream, connection_t *connection)
{
    cn_session_limits_t  limits = cn_session_limits_default;

    limits.idle_timeout_ms = IDLE_TIMEOUT_MS;
    limits.head_timeout_ms = HEAD_TIMEOUT_MS;
    limits.allow_http_10 = true;

    return cn_h1_server(stream, &limits, &session_events, connection) != NULL;
}


static bool
is_loopback(const cn_address_t *address)
{
    static const uint8_t  v6[16] = { [15] = 1 };

    return cn_address_is_v4(address) ? address->ip[12] == 127
                                     : memcmp(address->ip, v6, sizeof(v6)) == 0;
}


void
cn_admin_accept(cn_admin_t *admin, int fd, const cn_address_t *peer, cn_admin_kind_t kind)
{
    connection_t  *connection = NULL;
    cn_stream_t   *stream = NULL;

    if (admin->connections < CONNECTIONS_MAX) {
        connection = cn_alloc_zero(sizeof(connection_t));
    }

    if (connection != NULL) {
        *connection = (connection_t) {
            .admin = admin,
            .kind = kind,
            .local = is_loopback(peer),
        };
        stream = cn_tcp_accept(admin->loop, fd, peer, NULL);
    }

    if (stream == NULL) {
        cn_free(connection);
        close(fd);
        return;
    }

    if (!serve(stream, connection)) {
        cn_stream_close(stream, CN_CLOSE_LIMIT);
        cn_free(connection);
        return;
    }

    admin->connections++;
}
