/* SPDX-License-Identifier: Apache-2.0 */

/* The HTTP/2 server on any frames, with tunnels allowed; the first octet says in which pieces they come and whether the preface is given. */

#include "http_peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t  preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x4\0\0\0\0";   /* and an empty SETTINGS */
    cn_session_limits_t   limits = cn_session_limits_default;
    cn_stream_t          *raw, *end;
    cn_session_t         *session;

    if (size < 1) {
        return 0;
    }

    limits.connect = true;
    http_pair(data[0] & 0x3f, &raw, &end);
    session = cn_h2_server(end, &limits, &http_app_events, &session);
    CN_BUG_ON(session == NULL);

    if ((data[0] & 0x80) == 0) {
        http_feed(raw, preface, sizeof(preface));
    }

    http_feed(raw, data + 1, size - 1);

    if (session != NULL && (data[0] & 0x40) != 0) {
        cn_session_drain(session, false);
        http_feed(raw, NULL, 0);

        if (session != NULL) {
            cn_session_drain(session, true);
            http_feed(raw, NULL, 0);
        }
    }

    http_finish(&raw);
    CN_BUG_ON(session != NULL);

    return 0;
}
