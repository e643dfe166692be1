/* SPDX-License-Identifier: Apache-2.0 */

/* The HTTP/1 client on any octets for a response; the first says to which request and in which pieces. */

#include "http_peers.h"
#include "http/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    cn_exchange_t  *exchange;
    int64_t         length;         /* of the response's body; unknown: not said, or none is to come */
    uint64_t        got;
    bool            head;
    bool            ended;
} call_t;


static void
call_head(void *owner, cn_message_t *head, bool end)
{
    call_t  *call = owner;

    CN_BUG_ON(call->head || call->ended || head->status < 101);

    for (uint32_t i = 0; i < head->headers.count; i++) {
        CN_BUG_ON(!cn_http_name_valid(head->headers.items[i].name));
        CN_BUG_ON(!cn_http_value_valid(head->headers.items[i].value));
    }

    call->head = true;
    call->ended = end;
    call->length = end ? CN_LENGTH_UNKNOWN : head->content_length;
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

    CN_BUG_ON(!call->head || call->ended);
    call->got += data->len;
    cn_exchange_consumed(call->exchange, data->len);
}


static void
call_end(void *owner, cn_headers_t *trailers)
{
    call_t  *call = owner;

    (void) trailers;
    CN_BUG_ON(!call->head || call->ended);
    CN_BUG_ON(call->length >= 0 && (uint64_t) call->length != call->got);
    call->ended = true;
}


static void
call_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) detail;
    CN_BUG_ON(reason == CN_RESET_NONE);
    ((call_t *) owner)->exchange = NULL;
}


static const cn_exchange_events_t  call_events = {
    .on_head = call_head, .on_informational = call_informational, .on_body = call_body, .on_end = call_end,
    .on_reset = call_reset,
};


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_stream_t   *raw, *end;
    cn_session_t  *session;
    cn_pool_t     *pool = cn_pool_create(1024, NULL);
    cn_message_t   head;
    call_t         call = { .length = CN_LENGTH_UNKNOWN };

    if (size < 1) {
        cn_pool_destroy(pool);
        return 0;
    }

    http_pair(data[0] & 0x3f, &raw, &end);
    session = cn_h1_client(end, NULL, &http_app_events, &session);
    CN_BUG_ON(session == NULL);
    cn_message_init(&head, pool);
    head.method = (data[0] & 0x80) != 0 ? CN_BYTES("HEAD") : CN_BYTES("GET");
    head.authority = CN_BYTES("a");
    head.path = CN_BYTES("/");
    call.exchange = cn_client_request(session, &head, true, pool, &call_events, &call);
    CN_BUG_ON(call.exchange == NULL);
    http_feed(raw, NULL, 0);
    http_feed(raw, data + 1, size - 1);

    if (raw != NULL && (data[0] & 0x40) != 0) {
        cn_stream_end(raw);
        http_feed(raw, NULL, 0);
    }

    if (session != NULL) {
        cn_session_close(session, CN_CLOSE_LOCAL);
    }

    http_finish(&raw);
    cn_pool_destroy(pool);

    return 0;
}
