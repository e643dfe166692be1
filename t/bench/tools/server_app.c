/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The application inside hboneserver, in HTTP/1.1 and HTTP/2: /size/N answers N body bytes,
 * /status/N that status, anything else 200 and the body of -b bytes.  A request with content-type
 * application/grpc is answered with a grpc-status trailer.
 *
 * In HTTP/1.1 only: /delay/MS waits before its answer (--delay MS has all wait); /tick/MS/COUNT
 * answers at once, and then so many chunks of 64 bytes come, one each MS; /hold answers when the
 * program gets SIGUSR1.
 */

#include "server.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_BODY            (4U << 20)
#define KEPT_LINE           256
#define INNER_STREAM_WINDOW (1 << 20)
#define INNER_CONN_WINDOW   (16 << 20)
#define MAX_STREAMS         1000

#define TICK_SIZE           64
#define HOLD_NS             (UINT64_MAX / 2) /* past every time that will be */

typedef struct {
    size_t size;
    int status;
    uint64_t delay_ns; /* before the answer, or between two chunks */
    uint64_t ticks;
} plan_t;

/* An inner HTTP/2 request; it lives as long as its stream. */
typedef struct request_s {
    plan_t plan;
    size_t sent;
    bool grpc;
} request_t;

static const char *app_name;
static size_t default_size;
static uint64_t default_delay_ns;
static uint64_t request_count;
static server_pipe_t *waiting;
static uint8_t *filler;
static hb_buf_t default_answer; /* HTTP/1.1: the head and body of most answers */
static nghttp2_session_callbacks *callbacks;

static uint64_t
digits(const uint8_t *at, const uint8_t *end)
{
    uint64_t value = 0;

    for (; at < end && *at >= '0' && *at <= '9' && value <= MAX_BODY; at++) {
        value = value * 10 + (uint64_t) (*at - '0');
    }
    return value;
}

static plan_t
default_plan(void)
{
    return (plan_t) { .size = default_size, .status = 200, .delay_ns = default_delay_ns };
}

static void
plan_ticks(plan_t *plan, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *slash = memchr(at, '/', (size_t) (end - at));

    plan->delay_ns = digits(at, end) * 1000000;
    plan->ticks = slash != NULL ? digits(slash + 1, end) : 0;
}

static plan_t
plan_for(const uint8_t *path, size_t len)
{
    plan_t plan = default_plan();

    if (len > 6 && memcmp(path, "/size/", 6) == 0) {
        plan.size = digits(path + 6, path + len);
        if (plan.size > MAX_BODY) {
            plan.size = MAX_BODY;
        }
    } else if (len > 8 && memcmp(path, "/status/", 8) == 0) {
        uint64_t status = digits(path + 8, path + len);

        plan.status = status >= 200 && status <= 599 ? (int) status : 200;
    } else if (len > 7 && memcmp(path, "/delay/", 7) == 0) {
        plan.delay_ns = digits(path + 7, path + len) * 1000000;
    } else if (len >= 5 && memcmp(path, "/hold", 5) == 0) {
        plan.delay_ns = HOLD_NS;
    } else if (len > 6 && memcmp(path, "/tick/", 6) == 0) {
        plan_ticks(&plan, path + 6, path + len);
    }
    return plan;
}

static void
add_h1_head(hb_buf_t *out, plan_t plan)
{
    char head[512];
    int len = snprintf(head, sizeof(head),
                       "HTTP/1.1 %d OK\r\nserver: hboneserver\r\ncontent-type: text/plain\r\n"
                       "x-upstream: %s\r\ncontent-length: %zu\r\n\r\n",
                       plan.status, app_name, plan.size);

    if (len < 0 || (size_t) len >= sizeof(head)) {
        hb_die("the name is too long");
    }
    hb_buf_add(out, head, (size_t) len);
}

static void
stop_waiting(server_pipe_t *pipe)
{
    if (pipe->due == 0) {
        return;
    }
    pipe->due = 0;
    *(pipe->prev_waiting != NULL ? &pipe->prev_waiting->next_waiting : &waiting)
        = pipe->next_waiting;

    if (pipe->next_waiting != NULL) {
        pipe->next_waiting->prev_waiting = pipe->prev_waiting;
    }
}

static void
wait_until(server_pipe_t *pipe, uint64_t due)
{
    if (pipe->due == 0) {
        pipe->prev_waiting = NULL;
        pipe->next_waiting = waiting;
        if (waiting != NULL) {
            waiting->prev_waiting = pipe;
        }
        waiting = pipe;
    }
    pipe->due = due;
}

static plan_t
plan_of_line(const uint8_t *line, size_t len)
{
    const uint8_t *space = memchr(line, ' ', len);

    return space != NULL ? plan_for(space + 1, len - (size_t) (space + 1 - line)) : default_plan();
}

static void
begin_ticks(server_pipe_t *pipe, plan_t plan)
{
    char head[512];
    int len = snprintf(head, sizeof(head),
                       "HTTP/1.1 200 OK\r\nserver: hboneserver\r\nx-upstream: %s\r\n"
                       "transfer-encoding: chunked\r\n\r\n",
                       app_name);

    if (len < 0 || (size_t) len >= sizeof(head)) {
        hb_die("the name is too long");
    }
    hb_buf_add(pipe->out, head, (size_t) len);
    pipe->tick_ns = plan.delay_ns;
    pipe->ticks_left = plan.ticks;
    wait_until(pipe, hb_now_ns() + plan.delay_ns);
    server_pipe_mark(pipe);
}

/* A chunk, and the end after the last. */
static void
tick(server_pipe_t *pipe)
{
    hb_buf_add(pipe->out, "40\r\n", 4);
    hb_buf_add(pipe->out, filler, TICK_SIZE);
    hb_buf_add(pipe->out, "\r\n", 2);

    if (--pipe->ticks_left > 0) {
        wait_until(pipe, pipe->due + pipe->tick_ns);
    } else {
        stop_waiting(pipe);
        hb_buf_add(pipe->out, "0\r\n\r\n", 5);
    }
    server_pipe_mark(pipe);
}

static void
answer_now(server_pipe_t *pipe, plan_t plan)
{
    if (plan.size == default_size && plan.status == 200) {
        hb_buf_add(pipe->out, hb_buf_data(&default_answer), hb_buf_len(&default_answer));
    } else {
        add_h1_head(pipe->out, plan);
        hb_buf_add(pipe->out, filler, plan.size);
    }
    server_pipe_mark(pipe);
}

/* line: of the request, and no longer needed afterwards. */
static void
answer_h1(server_pipe_t *pipe, const uint8_t *line, size_t len)
{
    plan_t plan = plan_of_line(line, len);

    request_count++;

    if (plan.ticks > 0) {
        begin_ticks(pipe, plan);
    } else if (plan.delay_ns == 0) {
        answer_now(pipe, plan);
    } else {
        if (hb_buf_len(&pipe->request_line) == 0) {
            hb_buf_add(&pipe->request_line, line, len < KEPT_LINE ? len : KEPT_LINE);
        }
        wait_until(pipe, hb_now_ns() + plan.delay_ns);
    }
}

static void
wake(server_pipe_t *pipe)
{
    if (pipe->ticks_left > 0) {
        tick(pipe);
        return;
    }
    stop_waiting(pipe);
    answer_now(pipe,
               plan_of_line(hb_buf_data(&pipe->request_line), hb_buf_len(&pipe->request_line)));
    hb_buf_clear(&pipe->request_line);
}

void
server_app_release(void)
{
    for (server_pipe_t *pipe = waiting, *after; pipe != NULL; pipe = after) {
        after = pipe->next_waiting;

        if (pipe->due >= HOLD_NS) {
            wake(pipe);
        }
    }
}

int
server_app_wake(void)
{
    uint64_t now = hb_now_ns();
    uint64_t next = UINT64_MAX;

    for (server_pipe_t *pipe = waiting, *after; pipe != NULL; pipe = after) {
        after = pipe->next_waiting;

        if (pipe->due <= now) {
            wake(pipe);
        }
        if (pipe->due != 0 && pipe->due < next) {
            next = pipe->due;
        }
    }
    if (next >= HOLD_NS) {
        return -1;
    }
    return next <= now ? 0 : (int) ((next - now + 999999) / 1000000);
}

uint64_t
server_app_requests(void)
{
    return request_count;
}

/* Swallows a request's body; returns how many bytes of data were it. */
static size_t
skip_body(server_pipe_t *pipe, const uint8_t *data, size_t len)
{
    uint64_t body = 0;
    bool end;
    size_t used;

    if (pipe->chunked) {
        used = hb_chunks_feed(&pipe->chunks, data, len, &body, &end);
        pipe->chunked = !end;
    } else {
        used = len < pipe->body_left ? len : (size_t) pipe->body_left;
        pipe->body_left -= used;
        end = pipe->body_left == 0;
    }

    if (end) {
        answer_h1(pipe, hb_buf_data(&pipe->request_line), hb_buf_len(&pipe->request_line));
        if (pipe->due == 0 || pipe->ticks_left > 0) {
            hb_buf_clear(&pipe->request_line);
        }
    }
    return used;
}

static void
take_head(server_pipe_t *pipe, const uint8_t *at, const hb_head_t *head)
{
    if (head->chunked || head->content_len != 0) {
        pipe->chunked = head->chunked;
        pipe->body_left = head->chunked ? 0 : head->content_len;
        pipe->chunks = (hb_chunks_t) { 0 };
        hb_buf_add(&pipe->request_line, at, head->size < KEPT_LINE ? head->size : KEPT_LINE);
    } else {
        answer_h1(pipe, at, head->size);
    }
    if (head->close) {
        pipe->ended = true;
    }
}

/* An answer goes out when its request is complete. */
static bool
feed_h1(server_pipe_t *pipe, const uint8_t *data, size_t len)
{
    while (len != 0) {
        size_t used;

        if (pipe->chunked || pipe->body_left != 0) {
            used = skip_body(pipe, data, len);
        } else {
            hb_head_t head;
            const uint8_t *at;

            switch (hb_head_collect(&pipe->head, data, len, &head, &at, &used)) {
            case HB_HEAD_BAD:
                return false;
            case HB_HEAD_PARTIAL:
                return true;
            default:
                take_head(pipe, at, &head);
                break;
            }
        }
        data += used;
        len -= used;
    }
    return true;
}

static int
on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void) user;

    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        request_t *request = hb_alloc(1, sizeof(*request));

        request->plan = default_plan();
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, request);
    }
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    request_t *request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void) flags;
    (void) user;

    if (request == NULL) {
        return 0;
    }
    if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        request->plan = plan_for(value, value_len);
    } else if (name_len == 12 && memcmp(name, "content-type", 12) == 0) {
        request->grpc = value_len >= 16 && memcmp(value, "application/grpc", 16) == 0;
    }
    return 0;
}

static nghttp2_nv
header(const char *name, const char *value)
{
    return (nghttp2_nv) {
        .name = (uint8_t *) (uintptr_t) name,
        .value = (uint8_t *) (uintptr_t) value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
    };
}

static ssize_t
read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *data, size_t size,
            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    request_t *request = source->ptr;
    size_t left = request->plan.size - request->sent;
    size_t part = left < size ? left : size;

    (void) user;

    memcpy(data, filler, part);
    request->sent += part;

    if (request->sent == request->plan.size) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;

        if (request->grpc) {
            nghttp2_nv trailer = header("grpc-status", "0");

            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, stream_id, &trailer, 1);
        }
    }
    return (ssize_t) part;
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void) user;

    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
    {
        return 0;
    }

    request_t *request = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (request == NULL) {
        return 0;
    }

    char status[16];
    char size[24];

    request_count++;
    snprintf(status, sizeof(status), "%d", request->plan.status);
    snprintf(size, sizeof(size), "%zu", request->plan.size);

    nghttp2_nv headers[] = {
        header(":status", status),
        header("content-type", request->grpc ? "application/grpc" : "text/plain"),
        header("server", "hboneserver"),
        header("x-upstream", app_name),
        header("content-length", size),
    };
    nghttp2_data_provider provider = { .source.ptr = request, .read_callback = read_answer };
    int rc = nghttp2_submit_response(session, frame->hd.stream_id, headers, request->grpc ? 4 : 5,
                                     &provider);

    return rc < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int
on_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    (void) code;
    (void) user;

    free(nghttp2_session_get_stream_user_data(session, stream_id));
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    return 0;
}

static void
begin_h2(server_pipe_t *pipe)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INNER_STREAM_WINDOW },
    };

    nghttp2_session_server_new2(&pipe->inner, callbacks, pipe, server_h2_options());
    nghttp2_submit_settings(pipe->inner, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(pipe->inner, NGHTTP2_FLAG_NONE, 0, INNER_CONN_WINDOW);
}

bool
server_app_feed(server_pipe_t *pipe, const uint8_t *data, size_t len)
{
    if (pipe->conn->kind == SERVER_ECHO) {
        hb_buf_add(pipe->out, data, len);
        server_pipe_mark(pipe);
        return true;
    }
    if (pipe->protocol == SERVER_UNKNOWN) {
        /* no client of a benchmark cuts the preface inside its first three bytes */
        if (len >= 3 && memcmp(data, "PRI", 3) == 0) {
            pipe->protocol = SERVER_H2;
            begin_h2(pipe);
        } else {
            pipe->protocol = SERVER_H1;
        }
    }
    if (pipe->protocol == SERVER_H1) {
        return feed_h1(pipe, data, len);
    }
    server_pipe_mark(pipe);
    return nghttp2_session_mem_recv(pipe->inner, data, len) >= 0;
}

void
server_app_close(server_pipe_t *pipe)
{
    nghttp2_session_del(pipe->inner); /* requests still open lose their few bytes: fine here */
    pipe->inner = NULL;
    stop_waiting(pipe);
    hb_buf_free(&pipe->tunnel_out);
    hb_buf_free(&pipe->head);
    hb_buf_free(&pipe->request_line);
}

void
server_app_init(const char *name, size_t body_size, uint64_t delay_ms)
{
    app_name = name;
    default_delay_ns = delay_ms * 1000000;
    default_size = body_size < MAX_BODY ? body_size : MAX_BODY;
    filler = hb_alloc(MAX_BODY, 1);
    memset(filler, 'y', MAX_BODY);
    add_h1_head(&default_answer, (plan_t) { .size = default_size, .status = 200 });
    hb_buf_add(&default_answer, filler, default_size);

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}
