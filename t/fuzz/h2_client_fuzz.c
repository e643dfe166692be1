/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The HTTP/2 client on any frames: a request that is complete, one whose body follows, and a tunnel; the first octet says in
 * which pieces they come and what its owner does meanwhile.
 */

#include "http_peers.h"
#include "http/wire.h"

#define CALLS  2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    cn_exchange_t  *exchange;       /* NULL: reset, or over */
    bool            head;
    bool            ended;          /* the response is complete */
    bool            sent;           /* and so is the request */
    bool            gives_up;       /* with the response's head */
} call_t;


static void
call_head(void *owner, cn_message_t *head, bool end)
{
    call_t  *call = owner;

    CN_BUG_ON(call->head || call->ended || head->status < 200 || head->status > 999);

    for (uint32_t i = 0; i < head->headers.count; i++) {
        CN_BUG_ON(!cn_http_name_valid(head->headers.items[i].name));
        CN_BUG_ON(!cn_http_value_valid(head->headers.items[i].value));
    }

    call->head = true;
    call->ended = end;

    if (call->gives_up) {
        cn_exchange_reset(call->exchange, CN_RESET_LOCAL);
        call->exchange = NULL;
    }
}


static void
call_informational(void *owner, cn_message_t *head)
{
    CN_BUG_ON(((call_t *) owner)->head || head->status < 100 || head->status > 199);
}


static void
call_body(void *owner, cn_slice_t *data)
{
    call_t  *call = owner;

    CN_BUG_ON(!call->head || call->ended || data->len == 0);
    cn_exchange_consumed(call->exchange, data->len);
}


static void
call_end(void *owner, cn_headers_t *trailers)
{
    call_t  *call = owner;

    CN_BUG_ON(!call->head || call->ended);
    call->ended = true;

    for (uint32_t i = 0; trailers != NULL && i < trailers->count; i++) {
        CN_BUG_ON(trailers->items[i].name.ptr[0] == ':');
    }
}


static void
call_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    call_t  *call = owner;

    CN_BUG_ON(reason == CN_RESET_NONE || detail == NULL || call->exchange == NULL);
    CN_BUG_ON(call->ended && call->sent);
    call->exchange = NULL;
}


static const cn_exchange_events_t  call_events = {
    .on_head = call_head, .on_informational = call_informational, .on_body = call_body, .on_end = call_end,
    .on_reset = call_reset,
};


static void
ask(cn_session_t *session, cn_pool_t *pool, bool whole, call_t *call)
{
    cn_message_t  head;

    cn_message_init(&head, pool);
    head.method = whole ? CN_BYTES("GET") : CN_BYTES("POST");
    head.authority = CN_BYTES("a");
    head.path = CN_BYTES("/");
    call->sent = whole;
    call->exchange = cn_client_request(session, &head, whole, pool, &call_events, call);
    CN_BUG_ON(call->exchange == NULL);
}


/* The second request's body and end, unless it is over. */
static void
go_on(call_t *call)
{
    if (call->exchange != NULL) {
        cn_exchange_send_body(call->exchange, cn_slice_static(CN_BYTES("abc")));
        cn_exchange_send_end(call->exchange, NULL);
        call->sent = true;
    }
}


/* Both directions have ended: the exchange frees itself. */
static void
drop(call_t *call)
{
    if (call->exchange != NULL && !(call->ended && call->sent)) {
        cn_exchange_reset(call->exchange, CN_RESET_LOCAL);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_stream_t   *raw, *end, *tunnel;
    cn_session_t  *session;
    cn_pool_t     *pool = cn_pool_create(1024, NULL);
    call_t         calls[CALLS] = { { .exchange = NULL } };

    if (size < 1) {
        cn_pool_destroy(pool);
        return 0;
    }

    http_pair(data[0] & 0x3f, &raw, &end);
    session = cn_h2_client(end, NULL, &http_app_events, &session);
    CN_BUG_ON(session == NULL);
    calls[0].gives_up = (data[0] & 0x80) != 0;
    ask(session, pool, true, &calls[0]);
    ask(session, pool, false, &calls[1]);
    tunnel = cn_tunnel_open(session, CN_BYTES("10.0.0.1:80"), NULL, NULL);
    CN_BUG_ON(tunnel == NULL);
    cn_stream_set_owner(tunnel, &http_raw_events, &tunnel);
    cn_stream_write(tunnel, cn_slice_static(CN_BYTES("hello")));
    http_feed(raw, NULL, 0);
    http_feed(raw, data + 1, size / 2);

    if ((data[0] & 0x40) != 0) {
        go_on(&calls[1]);
    }

    http_feed(raw, data + 1 + size / 2, size - 1 - size / 2);
    drop(&calls[0]);
    drop(&calls[1]);

    if (tunnel != NULL) {
        cn_stream_close(tunnel, CN_CLOSE_RESET);
    }

    http_feed(raw, NULL, 0);

    if (session != NULL) {
        cn_session_close(session, CN_CLOSE_LOCAL);
    }

    http_finish(&raw);
    cn_pool_destroy(pool);

    return 0;
}
