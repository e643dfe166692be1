/* SPDX-License-Identifier: Apache-2.0 */

/*
 * demo_apps - Bookinfo's four applications, small: details and ratings answer, reviews asks ratings
 * (from version 2 on), productpage asks details and reviews.  Each asks through the waypoint, with
 * its own identity.
 */

#include "cli/demo.h"

#include <stdio.h>

#define PARTS_MAX   2
#define PART_MAX    16384               /* octets of an answer that is asked for */
#define STREAM_MS   1000

typedef struct app_request_s app_request_t;

/* An answer that is asked for. */
typedef struct {
    app_request_t  *request;
    cn_exchange_t  *exchange;           /* NULL: over */
    unsigned        status;             /* 0: none came */
    size_t          len;
    uint8_t         body[PART_MAX];
} part_t;

struct app_request_s {
    cn_demo_pod_t  *pod;
    cn_exchange_t  *exchange;           /* NULL: gone */
    cn_pool_t      *pool;
    bool            head_only;
    bool            streaming;
    unsigned        waiting;
    unsigned        beats;
    cn_timer_t      beat;
    part_t         *parts[PARTS_MAX];
    cn_headers_t    passed_on;          /* x-request-id, end-user */
};


/* ---- answering ------------------------------------------------------------------------------- */

static void
answer(app_request_t *request, unsigned status, const char *type, const char *body)
{
    cn_message_t  head;
    cn_slice_t    slice;
    size_t        len = body != NULL ? strlen(body) : 0;

    if (request->exchange == NULL) {
        return;
    }

    cn_message_init(&head, request->pool);
    head.version = CN_HTTP_11;
    head.keep_alive = true;
    head.status = (uint16_t) status;
    head.content_length = (int64_t) len;

    if (body == NULL
        || cn_headers_add_id(&head.headers, CN_HEADER_CONTENT_TYPE, cn_bytes_str(type)) != CN_OK
        || cn_slice_copy(cn_bytes_str(body), NULL, &slice) != CN_OK)
    {
        cn_exchange_reset(request->exchange, CN_RESET_LOCAL);
        request->exchange = NULL;
        return;
    }

    cn_exchange_send_head(request->exchange, &head, request->head_only || len == 0);

    if (request->head_only || len == 0) {
        cn_slice_release(&slice);
        return;
    }

    cn_exchange_send_body(request->exchange, slice);
    cn_exchange_send_end(request->exchange, NULL);
}


static cn_bytes_t
part_text(const app_request_t *request, unsigned i)
{
    const part_t  *part = request->parts[i];

    return part != NULL && part->status == 200 ? cn_bytes(part->body, part->len) : CN_BYTES_NONE;
}


static void
answer_reviews(app_request_t *request)
{
    unsigned     version = request->pod->version;
    cn_bytes_t   ratings = part_text(request, 0);
    const char  *colour = version == 3 ? "red" : "black";
    const char  *body;

    if (version < 2) {
        body = cn_pool_printf(request->pool,
            "{\"id\": \"0\", \"version\": \"v1\", \"reviews\": [\"An evening well spent.\", "
            "\"Better read aloud.\"]}");

    } else if (ratings.len == 0) {
        body = cn_pool_printf(request->pool,
            "{\"id\": \"0\", \"version\": \"v%u\", \"reviews\": [\"An evening well spent.\", "
            "\"Better read aloud.\"], \"error\": \"ratings cannot be had now\"}", version);

    } else {
        body = cn_pool_printf(request->pool,
            "{\"id\": \"0\", \"version\": \"v%u\", \"colour\": \"%s\", \"reviews\": "
            "[\"An evening well spent.\", \"Better read aloud.\"], \"ratings\": %.*s}", version,
            colour, CN_BYTES_ARG(ratings));
    }

    answer(request, 200, "application/json", body);
}


static void
answer_page(app_request_t *request)
{
    cn_bytes_t   details = part_text(request, 0);
    cn_bytes_t   reviews = part_text(request, 1);
    const char  *body = cn_pool_printf(request->pool,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Simple Bookstore"
        "</title></head>\n<body><h1>The Comedy of Errors</h1>\n"
        "<h2>Book details</h2><pre>%.*s</pre>\n<h2>Book reviews</h2><pre>%.*s</pre>\n"
        "</body></html>\n",
        CN_BYTES_ARG(details.len > 0 ? details : CN_BYTES("not to be had now")),
        CN_BYTES_ARG(reviews.len > 0 ? reviews : CN_BYTES("not to be had now")));

    answer(request, 200, "text/html; charset=utf-8", body);
}


static void
answer_when_complete(app_request_t *request)
{
    if (request->waiting > 0 || request->exchange == NULL) {
        return;
    }

    if (strcmp(request->pod->app, "reviews") == 0) {
        answer_reviews(request);

    } else {
        answer_page(request);
    }
}


/* ---- asking ---------------------------------------------------------------------------------- */

static void
part_over(part_t *part)
{
    part->exchange = NULL;
    part->request->waiting--;
    answer_when_complete(part->request);
}


static void
part_head(void *owner, cn_message_t *head, bool end)
{
    part_t  *part = owner;

    part->status = head->status;

    if (end) {
        part_over(part);
    }
}


static void
part_body(void *owner, cn_slice_t *data)
{
    part_t  *part = owner;
    size_t   len = data->len < sizeof(part->body) - part->len ? data->len
                                                              : sizeof(part->body) - part->len;

    memcpy(part->body + part->len, data->ptr, len);
    part->len += len;
    cn_exchange_consumed(part->exchange, data->len);
}


static void
part_end(void *owner, cn_headers_t *trailers)
{
    (void) trailers;
    part_over(owner);
}


static void
part_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    part_t  *part = owner;

    (void) reason;
    (void) detail;
    part->status = 0;
    part_over(part);
}


static const cn_exchange_events_t  part_events = {
    .on_head = part_head,
    .on_body = part_body,
    .on_end = part_end,
    .on_reset = part_reset,
};


static void
ask_for(app_request_t *request, unsigned i, const char *service, const char *path)
{
    part_t        *part = cn_pool_alloc_zero(request->pool, sizeof(part_t));
    const char    *authority = cn_pool_printf(request->pool, "%s.default.svc.cluster.local:9080",
                                              service);
    const char    *host = cn_pool_printf(request->pool, "%s:9080", service);
    cn_message_t   head;

    if (part == NULL || authority == NULL || host == NULL) {
        return;
    }

    part->request = request;
    request->parts[i] = part;
    cn_message_init(&head, request->pool);
    head.version = CN_HTTP_11;
    head.method = CN_BYTES("GET");
    head.scheme = CN_BYTES("http");
    head.authority = cn_bytes_str(host);
    head.path = cn_bytes_str(path);

    if (cn_headers_copy(&head.headers, &request->passed_on) != CN_OK) {
        return;
    }

    part->exchange = cn_mesh_request(request->pod->client, cn_bytes_str(authority), &head, true,
                                     request->pool, &part_events, part);
    request->waiting += part->exchange != NULL;
}


/* ---- the open stream ------------------------------------------------------------------------- */

static void
stream_beat(cn_timer_t *timer)
{
    app_request_t  *request = CN_CONTAINER_OF(timer, app_request_t, beat);
    char            line[64];
    cn_slice_t      slice;
    int             len = snprintf(line, sizeof(line), "still here after %u s\n",
                                   ++request->beats);

    if (cn_slice_copy(cn_bytes(line, (size_t) len), NULL, &slice) == CN_OK) {
        cn_exchange_send_body(request->exchange, slice);
    }

    cn_timer_set(request->pod->demo->loop, timer, STREAM_MS);
}


static void
start_stream(app_request_t *request)
{
    cn_message_t  head;

    cn_message_init(&head, request->pool);
    head.version = CN_HTTP_11;
    head.keep_alive = true;
    head.status = 200;

    if (cn_headers_add_id(&head.headers, CN_HEADER_CONTENT_TYPE, CN_BYTES("text/plain")) != CN_OK) {
        cn_exchange_reset(request->exchange, CN_RESET_LOCAL);
        request->exchange = NULL;
        return;
    }

    request->streaming = true;
    cn_exchange_send_head(request->exchange, &head, false);
    request->beat.run = stream_beat;
    cn_timer_set(request->pod->demo->loop, &request->beat, STREAM_MS);
}


/* ---- the application's side of a request ----------------------------------------------------- */

static void
request_gone(app_request_t *request)
{
    request->exchange = NULL;
    cn_timer_cancel(&request->beat);

    for (unsigned i = 0; i < PARTS_MAX; i++) {
        part_t  *part = request->parts[i];

        if (part != NULL && part->exchange != NULL) {
            cn_exchange_reset(part->exchange, CN_RESET_LOCAL);
            part->exchange = NULL;
        }
    }
}


static void
request_body(void *owner, cn_slice_t *data)
{
    app_request_t  *request = owner;

    cn_exchange_consumed(request->exchange, data->len);
}


static void
request_end(void *owner, cn_headers_t *trailers)
{
    (void) owner;
    (void) trailers;
}


static void
request_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) reason;
    (void) detail;
    request_gone(owner);
}


static void
request_over(void *owner)
{
    request_gone(owner);
}


static const cn_exchange_events_t  request_events = {
    .on_body = request_body,
    .on_end = request_end,
    .on_reset = request_reset,
    .on_over = request_over,
};


static cn_status_t
keep_passed_on(app_request_t *request, const cn_message_t *head)
{
    static const cn_bytes_t  names[] = {
        CN_BYTES_INIT("x-request-id"), CN_BYTES_INIT("end-user"),
    };

    request->passed_on.pool = request->pool;

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        const cn_header_t  *header = cn_headers_find(&head->headers, names[i]);

        if (header != NULL
            && cn_headers_add(&request->passed_on, header->name, header->value) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static void
serve_page(app_request_t *request, cn_bytes_t path)
{
    if (cn_bytes_starts_with(path, CN_BYTES("/stream"))) {
        start_stream(request);
        return;
    }

    if (!cn_bytes_starts_with(path, CN_BYTES("/productpage"))) {
        answer(request, 404, "text/plain", "no such page\n");
        return;
    }

    request->pod->demo->counts.pages++;
    ask_for(request, 0, "details", "/details/0");
    ask_for(request, 1, "reviews", "/reviews/0");
    answer_when_complete(request);
}


void
cn_demo_serve(cn_demo_pod_t *pod, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    app_request_t  *request = cn_pool_alloc_zero(exchange->pool, sizeof(app_request_t));

    (void) end;

    if (request == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    request->pod = pod;
    request->exchange = exchange;
    request->pool = exchange->pool;
    request->head_only = cn_bytes_equal(head->method, CN_BYTES("HEAD"));
    cn_exchange_set_owner(exchange, &request_events, request);

    if (keep_passed_on(request, head) != CN_OK) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    if (strcmp(pod->app, "productpage") == 0) {
        serve_page(request, head->path);

    } else if (strcmp(pod->app, "details") == 0) {
        answer(request, 200, "application/json",
               "{\"id\": 0, \"author\": \"William Shakespeare\", \"year\": 1595, \"type\": "
               "\"paperback\", \"pages\": 200}");

    } else if (strcmp(pod->app, "ratings") == 0) {
        answer(request, 200, "application/json", "{\"first\": 5, \"second\": 4}");

    } else {
        pod->demo->counts.reviews[pod->version & 3]++;

        if (pod->version >= 2) {
            ask_for(request, 0, "ratings", "/ratings/0");
        }

        answer_when_complete(request);
    }
}
