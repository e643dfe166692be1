/* SPDX-License-Identifier: Apache-2.0 */

/*
 * gRPC calls on any frames: one that has ended its messages and one that has not.  The first octet says
 * in which pieces the frames come, and whether a call is cancelled by its first message.
 */

#include "http_peers.h"
#include "http/grpc_internal.h"

#define CALLS        2
#define MESSAGE_MAX  4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    cn_grpc_call_t  *call;              /* NULL: over */
    unsigned         opened;
    bool             gives_up;          /* with its first message */
} caller_t;


static void
caller_open(void *owner)
{
    caller_t  *caller = owner;

    CN_BUG_ON(caller->call == NULL || caller->opened++ > 0);
}


static void
caller_message(void *owner, cn_bytes_t message)
{
    caller_t  *caller = owner;

    CN_BUG_ON(caller->call == NULL || caller->opened != 1 || message.len > MESSAGE_MAX);

    if (caller->gives_up) {
        cn_grpc_call_cancel(caller->call);
        caller->call = NULL;
    }
}


static void
caller_status(void *owner, cn_grpc_status_t status, cn_bytes_t message)
{
    caller_t  *caller = owner;

    CN_BUG_ON(caller->call == NULL || status > CN_GRPC_UNAUTHENTICATED);
    CN_BUG_ON(message.len > 0 && message.ptr == NULL);
    caller->call = NULL;
}


static const cn_grpc_call_events_t  caller_events = {
    .on_open = caller_open, .on_message = caller_message, .on_status = caller_status,
};


static void
never_answered(void *owner)
{
    (void) owner;
}


static const cn_grpc_channel_events_t  channel_events = { .on_resolve = never_answered };


static void
ask(caller_t *caller, cn_grpc_channel_t *channel, cn_session_t *session, bool whole)
{
    caller->call = cn_grpc_call_start(channel, "/a/b", NULL, 0, 0, &caller_events, caller);
    CN_BUG_ON(caller->call == NULL);
    CN_BUG_ON(cn_grpc_call_send(caller->call, CN_BYTES("ask")) != CN_OK);

    if (whole) {
        cn_grpc_call_end(caller->call);
    }

    grpc_call_assign(caller->call, session);
    CN_BUG_ON(caller->call == NULL);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const cn_grpc_config_t   config = { .authority = "a", .message_max = MESSAGE_MAX };
    caller_t                 callers[CALLS] = { { .call = NULL } };
    cn_stream_t             *raw, *end;
    cn_session_t            *session;
    cn_grpc_channel_t       *channel;

    if (size < 1) {
        return 0;
    }

    http_pair(data[0] & 0x3f, &raw, &end);
    channel = cn_grpc_channel_create(http_loop, &config, &channel_events, NULL);
    session = cn_h2_client(end, NULL, &http_app_events, &session);
    CN_BUG_ON(channel == NULL || session == NULL);
    callers[0].gives_up = (data[0] & 0x80) != 0;
    ask(&callers[0], channel, session, true);
    ask(&callers[1], channel, session, false);
    http_feed(raw, NULL, 0);
    http_feed(raw, data + 1, size / 2);

    if ((data[0] & 0x40) != 0 && callers[1].call != NULL) {
        cn_grpc_call_end(callers[1].call);
    }

    http_feed(raw, data + 1 + size / 2, size - 1 - size / 2);

    if ((data[0] & 0x40) == 0 && callers[1].call != NULL) {
        cn_grpc_call_cancel(callers[1].call);
    }

    cn_grpc_channel_close(channel);
    http_feed(raw, NULL, 0);

    if (session != NULL) {
        cn_session_close(session, CN_CLOSE_LOCAL);
    }

    http_finish(&raw);

    return 0;
}
