/* SPDX-License-Identifier: Apache-2.0 */

/* app - the application, the caller and the raw peer of the HTTP tests: see app.h. */

#include "app.h"
#include "base/clock.h"

#define BIG  (300u * 1024)

typedef struct {
    app_t          *app;
    cn_exchange_t  *exchange;
    const char     *path;           /* NUL-ended, in the exchange's pool */
    size_t          got;
    size_t          to_send;
    bool            answered;
} visit_t;

typedef struct {
    cn_stream_t  *stream;
} echo_t;


void
text_clear(text_t *text)
{
    text->len = 0;
    text->at[0] = '\0';
}


void
text_bytes(text_t *text, cn_bytes_t bytes)
{
    assert_true(bytes.len < sizeof(text->at) - text->len);

    if (bytes.len > 0) {
        memcpy(text->at + text->len, bytes.ptr, bytes.len);
    }

    text->len += bytes.len;
    text->at[text->len] = '\0';
}


void
text_add(text_t *text, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    text->len += (size_t) vsnprintf(text->at + text->len, sizeof(text->at) - text->len, format, args);
    va_end(args);
    assert_true(text->len < sizeof(text->at));
}


bool
text_has(const text_t *text, const char *needle)
{
    return cn_bytes_find(cn_bytes(text->at, text->len), cn_bytes_str(needle)) != SIZE_MAX;
}


/* --- an echoing stream ------------------------------------------------------------------------------ */

static void
echo_data(void *owner, cn_slice_t *data)
{
    echo_t  *echo = owner;

    cn_stream_write(echo->stream, *data);
    *data = (cn_slice_t) { NULL, NULL, 0 };
}


static void
echo_sent(void *owner, size_t len)
{
    cn_stream_consumed(((echo_t *) owner)->stream, len);
}


static void
echo_ended(void *owner)
{
    cn_stream_end(((echo_t *) owner)->stream);
}


static void
echo_closed(void *owner, cn_close_reason_t reason)
{
    (void) reason;
    free(owner);
}


static const cn_stream_events_t  echo_events = {
    .on_data = echo_data, .on_sent = echo_sent, .on_ended = echo_ended, .on_closed = echo_closed,
};


static void
echo_start(cn_stream_t *stream)
{
    echo_t  *echo = malloc(sizeof(echo_t));

    assert_non_null(echo);
    echo->stream = stream;
    cn_stream_set_owner(stream, &echo_events, echo);
}


/* --- the application ---------------------------------------------------------------------------------- */

static bool
path_is(const visit_t *visit, const char *path)
{
    return strcmp(visit->path, path) == 0;
}


static void
send(visit_t *visit, const char *bytes)
{
    cn_slice_t  slice;

    assert_int_equal(cn_slice_copy(cn_bytes_str(bytes), NULL, &slice), CN_OK);
    cn_exchange_send_body(visit->exchange, slice);
}


static void
send_big(visit_t *visit)
{
    while (visit->to_send > 0 && cn_exchange_pending(visit->exchange) < 64 * 1024) {
        size_t     len = visit->to_send < 10000 ? visit->to_send : 10000;
        cn_buf_t  *buf = cn_buf_create(len, NULL);

        assert_non_null(buf);
        memset(buf->data, 'b', len);
        visit->to_send -= len;
        cn_exchange_send_body(visit->exchange, (cn_slice_t) { buf, buf->data, len });

        if (visit->to_send == 0) {
            cn_exchange_send_end(visit->exchange, NULL);
        }
    }
}


static void
send_head(visit_t *visit, uint16_t status, int64_t length, bool end)
{
    cn_message_t  head;

    cn_message_init(&head, visit->exchange->pool);
    head.status = status;
    head.content_length = length;
    assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("x-app"), CN_BYTES("yes")), CN_OK);

    if (path_is(visit, "/upgrade")) {
        head.protocol = CN_BYTES("websocket");
    }

    cn_exchange_send_head(visit->exchange, &head, end);
}


static void
send_with_trailers(visit_t *visit)
{
    cn_headers_t  trailers = { .pool = visit->exchange->pool };

    send_head(visit, 200, CN_LENGTH_UNKNOWN, false);
    send(visit, "body");
    assert_int_equal(cn_headers_add(&trailers, CN_BYTES("grpc-status"), CN_BYTES("0")), CN_OK);
    cn_exchange_send_end(visit->exchange, &trailers);
}


static void
answer(visit_t *visit)
{
    if (visit->answered) {
        return;
    }

    visit->answered = true;

    if (path_is(visit, "/chunked")) {
        send_head(visit, 200, CN_LENGTH_UNKNOWN, false);
        send(visit, "hel");
        send(visit, "lo");
        cn_exchange_send_end(visit->exchange, NULL);

    } else if (path_is(visit, "/head")) {
        send_head(visit, 304, CN_LENGTH_UNKNOWN, true);

    } else if (path_is(visit, "/empty")) {
        send_head(visit, 204, CN_LENGTH_UNKNOWN, true);

    } else if (path_is(visit, "/big")) {
        send_head(visit, 200, BIG, false);
        visit->to_send = BIG;
        send_big(visit);

    } else if (path_is(visit, "/trailers")) {
        send_with_trailers(visit);

    } else {
        send_head(visit, 200, 2, false);
        send(visit, "ok");
        cn_exchange_send_end(visit->exchange, NULL);
    }
}


static void
visit_body(void *owner, cn_slice_t *data)
{
    visit_t  *visit = owner;

    visit->got += data->len;

    if (visit->got <= 4096) {
        text_add(visit->app->text, "body %.*s\n", CN_BYTES_ARG(*data));
    }

    if (path_is(visit, "/echo")) {
        cn_exchange_send_body(visit->exchange, *data);
        *data = (cn_slice_t) { NULL, NULL, 0 };

    } else if (!visit->app->keep_credit) {
        cn_exchange_consumed(visit->exchange, data->len);
    }
}


static void
visit_end(void *owner, cn_headers_t *trailers)
{
    visit_t  *visit = owner;

    text_add(visit->app->text, "end %zu\n", visit->got);

    for (uint32_t i = 0; trailers != NULL && i < trailers->count; i++) {
        text_add(visit->app->text, "trailer %.*s: %.*s\n", CN_BYTES_ARG(trailers->items[i].name),
                 CN_BYTES_ARG(trailers->items[i].value));
    }

    if (path_is(visit, "/echo")) {
        cn_exchange_send_end(visit->exchange, NULL);
    } else if (!path_is(visit, "/hang")) {
        answer(visit);
    }
}


static void
visit_sent(void *owner, size_t len)
{
    visit_t  *visit = owner;

    if (path_is(visit, "/echo")) {
        cn_exchange_consumed(visit->exchange, len);
    } else if (path_is(visit, "/big")) {
        send_big(visit);
    }
}


static void
visit_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    visit_t  *visit = owner;

    text_add(visit->app->text, "reset %s %s\n", cn_reset_reason_name(reason), detail);
    visit->app->open--;
}


static void
visit_over(void *owner)
{
    visit_t  *visit = owner;

    text_add(visit->app->text, "over\n");
    visit->app->open--;
}


static const cn_exchange_events_t  visit_events = {
    .on_body = visit_body, .on_end = visit_end, .on_sent = visit_sent, .on_reset = visit_reset,
    .on_over = visit_over,
};


static void
log_request(app_t *app, const cn_message_t *head, bool end)
{
    text_add(app->text, "%.*s %.*s host=%.*s%s", CN_BYTES_ARG(head->method), CN_BYTES_ARG(head->path),
             CN_BYTES_ARG(head->authority), head->authority.ptr == NULL ? "(none)" : "");

    if (head->content_length >= 0) {
        text_add(app->text, " length=%lld", (long long) head->content_length);
    }

    text_add(app->text, "%s%s%s%s", head->chunked ? " chunked" : "", head->keep_alive ? "" : " close",
             head->expect_continue ? " expect" : "", end ? " end" : "");

    if (head->protocol.len > 0) {
        text_add(app->text, " protocol=%.*s", CN_BYTES_ARG(head->protocol));
    }

    for (uint32_t i = 0; i < head->headers.count; i++) {
        const cn_header_t  *header = &head->headers.items[i];

        if (header->value.len <= 256) {
            text_add(app->text, " [%.*s: %.*s]", CN_BYTES_ARG(header->name), CN_BYTES_ARG(header->value));
        }
    }

    text_add(app->text, "\n");
}


/* Does at once what some paths ask for; true: nothing is left to do. */
static bool
answer_at_once(visit_t *visit)
{
    app_t          *app = visit->app;
    cn_exchange_t  *exchange = visit->exchange;

    if (path_is(visit, "/reset")) {
        app->open--;
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return true;
    }

    if (path_is(visit, "/cut")) {
        send_head(visit, 200, CN_LENGTH_UNKNOWN, false);
        send(visit, "part");
        app->open--;
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return true;
    }

    if (path_is(visit, "/leave")) {
        cn_session_close(app->session, CN_CLOSE_LOCAL);
        app->session = NULL;
        return true;
    }

    if (path_is(visit, "/upgrade")) {
        send_head(visit, 101, CN_LENGTH_UNKNOWN, false);
        echo_start(cn_exchange_to_stream(exchange));
        app->open--;
        return true;
    }

    return false;
}


static void
app_connect(app_t *app, cn_exchange_t *exchange, const cn_message_t *head)
{
    cn_stream_t  *stream = cn_tunnel_accept(exchange, head);

    app->open--;
    assert_non_null(stream);

    if (app->inner_http) {
        assert_non_null(cn_h1_server(stream, NULL, &app_events, app));
    } else {
        echo_start(stream);
    }
}


static void
app_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    app_t    *app = owner;
    visit_t  *visit = cn_pool_alloc_zero(exchange->pool, sizeof(visit_t));

    assert_non_null(visit);
    log_request(app, head, end);
    app->open++;
    app->started++;
    visit->app = app;
    visit->exchange = exchange;
    visit->path = cn_pool_str(exchange->pool, head->path);
    cn_exchange_set_owner(exchange, &visit_events, visit);

    if (cn_bytes_equal(head->method, CN_BYTES("CONNECT")) && head->protocol.len == 0) {
        app_connect(app, exchange, head);
        return;
    }

    if (answer_at_once(visit)) {
        return;
    }

    if (path_is(visit, "/100")) {
        cn_message_t  interim;

        cn_message_init(&interim, exchange->pool);
        interim.status = 100;
        cn_exchange_send_informational(exchange, &interim);
    }

    if (path_is(visit, "/echo")) {
        send_head(visit, 200, head->content_length, false);
    }

    if (path_is(visit, "/early")) {
        answer(visit);
    } else if (end) {
        visit_end(visit, NULL);
    }
}


static void
app_refused(void *owner, const cn_refused_t *refused)
{
    app_t  *app = owner;

    app->refused++;
    text_add(app->text, "refused %u %s %s\n", refused->status, refused->detail, refused->flag);
}


static void
app_closed(void *owner, cn_close_reason_t reason)
{
    app_t  *app = owner;

    text_add(app->text, "closed %d\n", (int) reason);

    if (!app->inner_http) {
        app->session = NULL;
    }
}


const cn_session_events_t  app_events = {
    .on_exchange = app_exchange, .on_refused = app_refused, .on_closed = app_closed,
};


/* --- the caller ------------------------------------------------------------------------------------------- */

static void
call_head(void *owner, cn_message_t *head, bool end)
{
    call_t  *call = owner;
    size_t   len = 0;

    call->status = head->status;
    call->head_end = end;

    for (uint32_t i = 0; i < head->headers.count && len < sizeof(call->headers); i++) {
        len += (size_t) snprintf(call->headers + len, sizeof(call->headers) - len, "[%.*s: %.*s]",
                                 CN_BYTES_ARG(head->headers.items[i].name),
                                 CN_BYTES_ARG(head->headers.items[i].value));
    }

    if (end) {
        call->ended = true;
    }
}


static void
call_informational(void *owner, cn_message_t *head)
{
    (void) head;
    ((call_t *) owner)->informational++;
}


static void
call_body(void *owner, cn_slice_t *data)
{
    call_t  *call = owner;

    text_bytes(call->body, cn_slice_bytes(data));

    if (!call->keep_credit) {
        cn_exchange_consumed(call->exchange, data->len);
    }
}


static void
call_end(void *owner, cn_headers_t *trailers)
{
    call_t  *call = owner;

    assert_false(call->ended);
    call->ended = true;

    if (trailers != NULL && trailers->count > 0) {
        (void) snprintf(call->trailers, sizeof(call->trailers), "%.*s: %.*s",
                        CN_BYTES_ARG(trailers->items[0].name), CN_BYTES_ARG(trailers->items[0].value));
    }
}


static void
call_sent(void *owner, size_t len)
{
    ((call_t *) owner)->sent += len;
}


static void
call_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    call_t  *call = owner;

    (void) detail;
    assert_false(call->was_reset);
    call->was_reset = true;
    call->reason = reason;
    call->exchange = NULL;
}


const cn_exchange_events_t  call_events = {
    .on_head = call_head, .on_informational = call_informational, .on_body = call_body, .on_end = call_end,
    .on_sent = call_sent, .on_reset = call_reset,
};


void
call_start(call_t *call, cn_session_t *session, const char *method, const char *path, cn_bytes_t body, bool chunked)
{
    cn_message_t  head;
    text_t       *text = calloc(1, sizeof(text_t));

    assert_non_null(text);
    *call = (call_t) { .pool = cn_pool_create(2048, NULL), .body = text };
    assert_non_null(call->pool);
    cn_message_init(&head, call->pool);
    head.method = cn_bytes_str(method);
    head.scheme = CN_BYTES("http");
    head.authority = CN_BYTES("reviews:9080");
    head.path = cn_bytes_str(path);

    if (body.ptr != NULL && !chunked) {
        head.content_length = (int64_t) body.len;
    }

    if (strcmp(path, "/upgrade") == 0) {
        head.protocol = CN_BYTES("websocket");
    }

    assert_int_equal(cn_headers_add(&head.headers, CN_BYTES("x-call"), CN_BYTES("1")), CN_OK);
    call->exchange = cn_client_request(session, &head, body.ptr == NULL, call->pool, &call_events, call);

    if (call->exchange == NULL || body.ptr == NULL) {
        return;
    }

    cn_slice_t  slice;

    assert_int_equal(cn_slice_copy(body, NULL, &slice), CN_OK);
    cn_exchange_send_body(call->exchange, slice);
    cn_exchange_send_end(call->exchange, NULL);
}


void
call_clear(call_t *call)
{
    cn_pool_destroy(call->pool);
    free(call->body);
    *call = (call_t) { .pool = NULL };
}


static void
caller_opened(void *owner)
{
    ((caller_t *) owner)->opened = true;
}


static void
caller_room(void *owner)
{
    ((caller_t *) owner)->rooms++;
}


static void
caller_closed(void *owner, cn_close_reason_t reason)
{
    caller_t  *caller = owner;

    caller->session = NULL;
    caller->reason = reason;
}


const cn_session_events_t  caller_events = {
    .on_opened = caller_opened, .on_room = caller_room, .on_closed = caller_closed,
};


/* --- the raw peer ------------------------------------------------------------------------------------------- */

static void
raw_opened(void *owner)
{
    ((raw_t *) owner)->opened = true;
}


static void
raw_data(void *owner, cn_slice_t *data)
{
    raw_t  *raw = owner;

    text_bytes(raw->text, cn_slice_bytes(data));

    if (!raw->keep_credit) {
        cn_stream_consumed(raw->stream, data->len);
    }
}


static void
raw_ended(void *owner)
{
    ((raw_t *) owner)->ended = true;
}


static void
raw_sent(void *owner, size_t len)
{
    ((raw_t *) owner)->sent += len;
}


static void
raw_closed(void *owner, cn_close_reason_t reason)
{
    raw_t  *raw = owner;

    raw->closed = true;
    raw->reason = reason;
    raw->stream = NULL;
}


const cn_stream_events_t  raw_events = {
    .on_opened = raw_opened, .on_data = raw_data, .on_ended = raw_ended, .on_sent = raw_sent,
    .on_closed = raw_closed,
};


void
raw_own(raw_t *raw, cn_stream_t *stream, text_t *text)
{
    *raw = (raw_t) { .stream = stream, .text = text };
    text_clear(text);
    cn_stream_set_owner(stream, &raw_events, raw);
}


void
raw_write(raw_t *raw, cn_bytes_t bytes)
{
    cn_slice_t  slice;

    if (raw->stream == NULL || bytes.len == 0) {
        return;
    }

    assert_int_equal(cn_slice_copy(bytes, NULL, &slice), CN_OK);
    cn_stream_write(raw->stream, slice);
}


void
run_turns(cn_loop_t *loop, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        cn_loop_turn(loop, 0);
    }
}


void
run_ms(cn_loop_t *loop, uint64_t ms)
{
    uint64_t  until = cn_clock_us_now() + ms * 1000;

    while (cn_clock_us_now() < until) {
        cn_loop_turn(loop, 5);
    }
}
