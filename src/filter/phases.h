/* SPDX-License-Identifier: Apache-2.0 */

/*
 * phases - the life of a request, in order.  From this list come the enum, the names in logs and
 * the drawing in the README.  X(ID, "name", "what happens")
 */

#ifndef CN_FILTER_PHASES_H
#define CN_FILTER_PHASES_H

#define CN_REQUEST_PHASES(X)                                                                      \
    X(RECEIVED,         "received",         "the head is complete: checks, one canonical path")   \
    X(ROUTED,           "routed",           "service, chain, route and destination are known")    \
    X(REQUEST_HEADERS,  "request_headers",  "filters in chain order; the router starts a try")    \
    X(REQUEST_BODY,     "request_body",     "body and trailers stream to the try")                \
    X(RESPONSE_HEADERS, "response_headers", "an answer or a local reply; filters in reverse")     \
    X(RESPONSE_BODY,    "response_body",    "body and trailers stream back")                      \
    X(OVER,             "over",             "nothing more can come or leave; log and metrics")

typedef enum {
#define X(id, name, what) CN_REQUEST_##id,
    CN_REQUEST_PHASES(X)
#undef X
    CN_REQUEST_PHASE_COUNT
} cn_request_phase_t;

#endif
