/* SPDX-License-Identifier: Apache-2.0 */

/* exchange - the words for why one was reset. */

#include "http/exchange.h"


const char *
cn_reset_reason_name(cn_reset_reason_t reason)
{
    switch (reason) {
    case CN_RESET_NONE:            return "none";
    case CN_RESET_REMOTE:          return "remote reset";
    case CN_RESET_REMOTE_REFUSED:  return "remote refused stream reset";
    case CN_RESET_UNPROCESSED:     return "connection termination";
    case CN_RESET_CONNECT_FAILED:  return "remote connection failure";
    case CN_RESET_CONNECT_TIMEOUT: return "connection timeout";
    case CN_RESET_TERMINATED:      return "connection termination";
    case CN_RESET_PROTOCOL:        return "protocol error";
    case CN_RESET_LIMIT:           return "protocol error";
    case CN_RESET_OVERFLOW:        return "overflow";
    case CN_RESET_LOCAL:           return "local reset";
    }

    return "unknown";
}


/* ---- nobody hears it ---- */

static void
quiet_head(void *owner, cn_message_t *head, bool end)
{
    (void) owner, (void) head, (void) end;
}


static void
quiet_body(void *owner, cn_slice_t *data)
{
    (void) owner, (void) data;
}


static void
quiet_end(void *owner, cn_headers_t *trailers)
{
    (void) owner, (void) trailers;
}


static void
quiet_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) owner, (void) reason, (void) detail;
}


void
cn_exchange_quiet(cn_exchange_t *exchange)
{
    static const cn_exchange_events_t  events = {
        .on_head = quiet_head,
        .on_body = quiet_body,
        .on_end = quiet_end,
        .on_reset = quiet_reset,
    };

    cn_exchange_set_owner(exchange, &events, NULL);
}
