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
