/* SPDX-License-Identifier: Apache-2.0 */

/* http_peers - what the HTTP targets share: see http_peers.h. */

#include "http_peers.h"
#include "http/wire.h"

#include "http/pipe_stream.c"

#define TURNS  12

typedef struct {
    cn_exchange_t  *exchange;
    int64_t         length;
    uint64_t        got;
} visit_t;

cn_loop_t  *http_loop;


/* --- an application ------------------------------------------------------------------------------- */

static void
visit_body(void *owner, cn_slice_t *data)
{
    visit_t  *visit = owner;

    visit->got += data->len;
    cn_exchange_consumed(visit->exchange, data->len);
    cn_exchange_send_body(visit->exchange, *data);
    *data = (cn_slice_t) { NULL, NULL, 0 };
}


static void
visit_end(void *owner, cn_headers_t *trailers)
{
    visit_t  *visit = owner;

    /* one reading of the length: what was said is what came */
    CN_BUG_ON(visit->length >= 0 && (uint64_t) visit->length != visit->got);
    cn_exchange_send_end(visit->exchange, trailers);
}


static void
visit_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    visit_t  *visit = owner;

    CN_BUG_ON(reason == CN_RESET_NONE || detail == NULL);
    visit->exchange = NULL;
}


static void
visit_over(void *owner)
{
    ((visit_t *) owner)->exchange = NULL;
}


static const cn_exchange_events_t  visit_events = {
    .on_body = visit_body, .on_end = visit_end, .on_reset = visit_reset, .on_over = visit_over,
};


static void
check_head(const cn_message_t *head)
{
    CN_BUG_ON(!cn_http_authority_valid(head->authority));
    CN_BUG_ON(head->path.len > 0 && !cn_http_path_valid(head->path));
    CN_BUG_ON(head->method.len == 0 || head->headers.count > 100);

    for (uint32_t i = 0; i < head->headers.count; i++) {
        const cn_header_t  *header = &head->headers.items[i];

        CN_BUG_ON(!cn_http_name_valid(header->name) || !cn_http_value_valid(header->value));
        CN_BUG_ON(header->id != cn_header_id(header->name));
        CN_BUG_ON(header->id == CN_HEADER_HOST || header->id == CN_HEADER_CONTENT_LENGTH
                  || header->id == CN_HEADER_TRANSFER_ENCODING || header->id == CN_HEADER_CONNECTION
                  || header->id == CN_HEADER_UPGRADE);
    }
}


static void
echo_data(void *owner, cn_slice_t *data)
{
    cn_stream_t  *stream = *(cn_stream_t **) owner;

    cn_stream_consumed(stream, data->len);
    cn_stream_write(stream, *data);
    *data = (cn_slice_t) { NULL, NULL, 0 };
}


static void
echo_ended(void *owner)
{
    cn_stream_end(*(cn_stream_t **) owner);
}


static void
echo_closed(void *owner, cn_close_reason_t reason)
{
    CN_BUG_ON(reason == CN_CLOSE_NONE);
    cn_free(owner);
}


static const cn_stream_events_t  echo_events = {
    .on_data = echo_data, .on_ended = echo_ended, .on_closed = echo_closed,
};


static void
echo(cn_stream_t *stream)
{
    cn_stream_t  **owner = cn_alloc(sizeof(cn_stream_t *));

    CN_BUG_ON(owner == NULL);
    *owner = stream;
    cn_stream_set_owner(stream, &echo_events, owner);
}


static void
app_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    visit_t       *visit = cn_pool_alloc_zero(exchange->pool, sizeof(visit_t));
    cn_message_t   answer;
    cn_stream_t   *stream;

    (void) owner;
    CN_BUG_ON(visit == NULL);
    check_head(head);

    if (cn_bytes_equal(head->method, CN_BYTES("CONNECT")) && head->version == CN_HTTP_2) {
        stream = cn_tunnel_accept(exchange, head);

        if (stream != NULL) {
            echo(stream);
        }

        return;
    }

    *visit = (visit_t) { exchange, head->content_length, 0 };
    cn_exchange_set_owner(exchange, &visit_events, visit);
    cn_message_init(&answer, exchange->pool);
    answer.status = head->protocol.len > 0 ? 101 : 200;
    answer.protocol = head->protocol;

    if (cn_headers_copy(&answer.headers, &head->headers) != CN_OK) {
        cn_exchange_reset(exchange, CN_RESET_LIMIT);
        return;
    }

    cn_exchange_send_head(exchange, &answer, end && head->protocol.len == 0);

    if (head->protocol.len > 0) {
        stream = cn_exchange_to_stream(exchange);
        CN_BUG_ON(stream == NULL);
        echo(stream);
    }
}


static void
app_closed(void *owner, cn_close_reason_t reason)
{
    CN_BUG_ON(reason == CN_CLOSE_NONE);
    *(cn_session_t **) owner = NULL;
}


const cn_session_events_t  http_app_events = {
    .on_exchange = app_exchange, .on_closed = app_closed,
};


/* --- the raw peer ----------------------------------------------------------------------------------- */

static void
raw_data(void *owner, cn_slice_t *data)
{
    cn_stream_consumed(*(cn_stream_t **) owner, data->len);
}


static void
raw_closed(void *owner, cn_close_reason_t reason)
{
    CN_BUG_ON(reason == CN_CLOSE_NONE);
    *(cn_stream_t **) owner = NULL;
}


const cn_stream_events_t  http_raw_events = {
    .on_data = raw_data, .on_closed = raw_closed,
};


static void
settle(void)
{
    for (int i = 0; i < TURNS; i++) {
        cn_loop_turn(http_loop, 0);
    }
}


void
http_pair(size_t piece, cn_stream_t **raw, cn_stream_t **end)
{
    const pipe_stream_options_t  options = { .piece = piece };
    cn_stream_t                 *ends[2];

    if (http_loop == NULL) {
        http_loop = cn_loop_create();
        CN_BUG_ON(http_loop == NULL);
    }

    pipe_stream_create(http_loop, &options, ends);
    *raw = ends[0];
    *end = ends[1];
    cn_stream_set_owner(ends[0], &http_raw_events, raw);
}


void
http_feed(cn_stream_t *raw, const uint8_t *data, size_t len)
{
    cn_slice_t  slice;

    if (raw != NULL && len > 0) {
        CN_BUG_ON(cn_slice_copy(cn_bytes(data, len), NULL, &slice) != CN_OK);
        cn_stream_write(raw, slice);
    }

    settle();
}


void
http_finish(cn_stream_t **raw)
{
    if (*raw != NULL) {
        cn_stream_close(*raw, CN_CLOSE_RESET);
        *raw = NULL;
    }

    settle();
    CN_BUG_ON(pipe_stream_alive() != 0);
}
