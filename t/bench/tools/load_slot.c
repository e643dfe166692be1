/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of hboneload: when the next one starts, and what becomes of it.
 *
 * Closed loop: a slot sends its next request when the last is answered.  Open loop (-r): request k
 * is due at start + k / rate whatever the answers do, and its latency counts from then, so that a
 * stalled proxy cannot hide its stalls.
 */

#include "load.h"

#include <stdio.h>

#define PIECE_SIZE 256

static hb_buf_t h1_request;
static size_t h1_head_len;
static uint8_t *body;
static nghttp2_nv h2_headers[LOAD_MAX_HEADERS + 4];
static size_t h2_header_count;

static void
add_h2_header(const char *name, const char *value)
{
    h2_headers[h2_header_count++] = (nghttp2_nv) {
        .name = (uint8_t *) (uintptr_t) name,
        .value = (uint8_t *) (uintptr_t) value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

static void
add_text(const char *text)
{
    hb_buf_add(&h1_request, text, strlen(text));
}

static void
add_h1_header(const char *name, const char *value)
{
    add_text(name);
    add_text(": ");
    add_text(value);
    add_text("\r\n");
}

void
load_request_build(void)
{
    const load_options_t *o = &load_options;
    char len[24];

    add_text(o->method);
    add_text(" ");
    add_text(o->path);
    add_text(" HTTP/1.1\r\n");
    add_h1_header("host", o->host);

    add_h2_header(":method", o->method);
    add_h2_header(":scheme", "http");
    add_h2_header(":authority", o->host);
    add_h2_header(":path", o->path);

    for (size_t i = 0; i < o->header_count; i++) {
        add_h1_header(o->headers[i].name, o->headers[i].value);
        add_h2_header(o->headers[i].name, o->headers[i].value);
    }

    body = hb_alloc(o->body_len, 1);
    memset(body, 'x', o->body_len);

    if (o->body_len != 0) {
        snprintf(len, sizeof(len), "%zu", o->body_len);
        add_h1_header("content-length", len);
    }
    add_text("\r\n");
    h1_head_len = hb_buf_len(&h1_request);
    hb_buf_add(&h1_request, body, o->body_len);
}

static ssize_t
read_body(nghttp2_session *session, int32_t stream_id, uint8_t *data, size_t size, uint32_t *flags,
          nghttp2_data_source *source, void *user)
{
    load_slot_t *slot = source->ptr;
    size_t left = load_options.body_len - slot->sent;
    size_t part = left < size ? left : size;

    (void) session;
    (void) stream_id;
    (void) user;

    memcpy(data, body + slot->sent, part);
    slot->sent += part;

    if (slot->sent == load_options.body_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t) part;
}

void
load_slot_send(load_slot_t *slot)
{
    load_pipe_t *pipe = slot->pipe;

    slot->got = 0;
    slot->sent = 0;
    slot->status = 0;
    slot->bad = false;

    if (load_options.h2) {
        nghttp2_data_provider provider = { .source.ptr = slot, .read_callback = read_body };
        int32_t id = nghttp2_submit_request(pipe->inner, NULL, h2_headers, h2_header_count,
                                            load_options.body_len != 0 ? &provider : NULL, slot);

        if (id < 0) {
            load_counts.protocol++;
            return;
        }
    } else {
        hb_buf_add(pipe->out, hb_buf_data(&h1_request),
                   load_options.body_tick_ns != 0 ? h1_head_len : hb_buf_len(&h1_request));
    }
    load_pipe_mark(pipe);
}

void
load_slot_issue(load_slot_t *slot, uint64_t began)
{
    slot->began = began;
    slot->busy = true;

    if (slot->pipe->state == LOAD_PIPE_OPEN) {
        load_slot_send(slot);
    } else if (slot->pipe->state == LOAD_PIPE_CLOSED) {
        load_pipe_open(slot->pipe);
    }
}

static uint64_t
next_due(void)
{
    uint64_t due = (uint64_t) load_run.due;

    load_run.due += load_run.step;
    return due;
}

static void
queue_idle(load_slot_t *slot)
{
    slot->queued = true;
    slot->next_idle = NULL;

    if (load_run.idle_last != NULL) {
        load_run.idle_last->next_idle = slot;
    } else {
        load_run.idle_first = slot;
    }
    load_run.idle_last = slot;
}

void
load_slot_idle(load_slot_t *slot)
{
    slot->busy = false;

    if (load_run.phase != LOAD_WARM && load_run.phase != LOAD_RUN) {
        return;
    }
    if (load_options.rate <= 0) {
        load_slot_issue(slot, load_run.now);
    } else if (load_run.due <= (double) load_run.now) {
        load_slot_issue(slot, next_due());
    } else {
        queue_idle(slot);
    }
}

static void
send_piece(load_slot_t *slot)
{
    size_t left = load_options.body_len - slot->sent;
    size_t part = left < PIECE_SIZE ? left : PIECE_SIZE;

    if (slot->busy && part != 0 && slot->pipe->state == LOAD_PIPE_OPEN) {
        hb_buf_add(slot->pipe->out, body + slot->sent, part);
        slot->sent += part;
        load_pipe_mark(slot->pipe);
    }
}

static void
send_pieces(void)
{
    if (load_options.body_tick_ns == 0 || load_run.next_piece > load_run.now) {
        return;
    }
    load_run.next_piece = load_run.now + load_options.body_tick_ns;

    for (size_t i = 0; i < load_options.conns; i++) {
        for (size_t j = 0; j < load_options.tunnels; j++) {
            send_piece(load_run.conns[i].pipes[j].slots);
        }
    }
}

void
load_slots_wake(void)
{
    send_pieces();

    while (load_options.rate > 0 && load_run.idle_first != NULL
           && load_run.due <= (double) load_run.now
           && (load_run.phase == LOAD_RUN || load_run.phase == LOAD_WARM))
    {
        load_slot_t *slot = load_run.idle_first;

        load_run.idle_first = slot->next_idle;
        if (load_run.idle_first == NULL) {
            load_run.idle_last = NULL;
        }
        slot->queued = false;
        load_slot_issue(slot, next_due());
    }
}

static void
count_answer(const load_slot_t *slot)
{
    load_counts.status[slot->status > 0 && slot->status < 600 ? slot->status : 0]++;

    if (slot->status != load_options.expect_status || slot->bad) {
        load_counts.bad_status++;
    } else if (load_options.sized && slot->got != load_options.expect_size) {
        load_counts.bad_size++;
    } else {
        load_counts.ok++;
    }
    load_stats_latency(load_run.now > slot->began ? load_run.now - slot->began : 0);
}

static void
count_request(const load_slot_t *slot, bool failed)
{
    load_counts.done++;
    load_counts.body_bytes += slot->got;
    load_stats_answer();

    if (failed) {
        load_counts.stream++;
    } else {
        count_answer(slot);
    }
    if (load_options.requests != 0 && load_counts.done >= load_options.requests) {
        load_run.phase = LOAD_END;
    }
}

void
load_slot_done(load_slot_t *slot, bool failed)
{
    if (!slot->busy) {
        return;
    }
    slot->busy = false;

    if (load_run.phase == LOAD_PRIME) {
        load_run.primed_count++;
        return;
    }
    if (load_run.phase == LOAD_RUN) {
        count_request(slot, failed);
    }

    switch (load_options.churn) {
    case LOAD_CHURN_TUNNEL:
        load_pipe_end(slot->pipe); /* the slot is idle once the tunnel has gone */
        break;
    case LOAD_CHURN_CONN:
        slot->pipe->conn->failed = true; /* closed after this event, then idle */
        load_conn_mark(slot->pipe->conn);
        break;
    default:
        if (slot->pipe->told_close) {
            load_pipe_end(slot->pipe); /* what is due meanwhile waits for the next tunnel */
            load_slot_idle(slot);
        } else if (slot->pipe->state == LOAD_PIPE_OPEN) {
            load_slot_idle(slot);
        }
        break;
    }
}
