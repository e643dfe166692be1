/* SPDX-License-Identifier: Apache-2.0 */

/* stream - names of the reasons for which a stream ends. */

#include "stream/stream.h"

static const char *const reason_names[] = {
    [CN_CLOSE_NONE]            = "none",
    [CN_CLOSE_END]             = "ended",
    [CN_CLOSE_LOCAL]           = "closed here",
    [CN_CLOSE_RESET]           = "reset by peer",
    [CN_CLOSE_CONNECT_REFUSED] = "connect refused",
    [CN_CLOSE_CONNECT_TIMEOUT] = "connect timeout",
    [CN_CLOSE_TLS]             = "TLS failure",
    [CN_CLOSE_TUNNEL_REFUSED]  = "tunnel refused",
    [CN_CLOSE_UNPROCESSED]     = "not processed by peer",
    [CN_CLOSE_TIMEOUT]         = "timeout",
    [CN_CLOSE_PROTOCOL]        = "protocol error",
    [CN_CLOSE_LIMIT]           = "limit reached",
    [CN_CLOSE_DRAIN]           = "draining",
};

_Static_assert(CN_COUNT_OF(reason_names) == CN_CLOSE_REASON_COUNT, "each reason has a name");


const char *
cn_close_reason_name(cn_close_reason_t reason)
{
    size_t  i = (size_t) reason;

    return i < CN_COUNT_OF(reason_names) ? reason_names[i] : "unknown";
}
