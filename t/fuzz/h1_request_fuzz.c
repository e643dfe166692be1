/* SPDX-License-Identifier: Apache-2.0 */

/* The HTTP/1 server on any octets; the first says in which pieces they come. */

#include "http_peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *raw, *end;
    cn_session_t         *session;

    if (size < 1) {
        return 0;
    }

    limits.allow_http_10 = (data[0] & 0x80) != 0;
    http_pair(data[0] & 0x3f, &raw, &end);
    session = cn_h1_server(end, &limits, &http_app_events, &session);
    CN_BUG_ON(session == NULL);
    http_feed(raw, data + 1, size - 1);

    if (raw != NULL && (data[0] & 0x40) != 0) {
        cn_stream_end(raw);
        http_feed(raw, NULL, 0);
    }

    http_finish(&raw);
    CN_BUG_ON(session != NULL);

    return 0;
}
