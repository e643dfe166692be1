/* SPDX-License-Identifier: Apache-2.0 */

/*
 * header_format - the commands that may stand in the value of a header: "%REQ(x-a?x-b):8%" and the
 * like, as Envoy has them.  "%%" is a percent sign.  The master checks a value with the very reader
 * that a worker walks it with.
 */

#ifndef CN_BASE_HEADER_FORMAT_H
#define CN_BASE_HEADER_FORMAT_H

#include "base/bytes.h"

/* X(identifier, its name, whether it takes an argument) */
#define CN_FORMAT_COMMANDS(X)                                                            \
    X(REQ,                        "REQ",                                         true)   \
    X(RESP,                       "RESP",                                        true)   \
    X(PROTOCOL,                   "PROTOCOL",                                    false)  \
    X(REMOTE,                     "DOWNSTREAM_REMOTE_ADDRESS",                   false)  \
    X(REMOTE_IP,                  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",      false)  \
    X(DIRECT_REMOTE,              "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",            false)  \
    X(DIRECT_REMOTE_IP,           "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", false) \
    X(LOCAL,                      "DOWNSTREAM_LOCAL_ADDRESS",                    false)  \
    X(LOCAL_IP,                   "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",       false)  \
    X(LOCAL_PORT,                 "DOWNSTREAM_LOCAL_PORT",                       false)  \
    X(PEER_URI_SAN,               "DOWNSTREAM_PEER_URI_SAN",                     false)  \
    X(SERVER_NAME,                "REQUESTED_SERVER_NAME",                       false)  \
    X(ROUTE_NAME,                 "ROUTE_NAME",                                  false)  \
    X(UPSTREAM_CLUSTER,           "UPSTREAM_CLUSTER",                            false)  \
    X(UPSTREAM_HOST,              "UPSTREAM_HOST",                               false)  \
    X(RESPONSE_CODE,              "RESPONSE_CODE",                               false)  \
    X(RESPONSE_FLAGS,             "RESPONSE_FLAGS",                              false)  \
    X(STREAM_ID,                  "STREAM_ID",                                   false)  \
    X(START_TIME,                 "START_TIME",                                  false)

typedef enum {
    CN_FORMAT_LITERAL,
#define X(id, name, argument)  CN_FORMAT_##id,
    CN_FORMAT_COMMANDS(X)
#undef X
} cn_format_command_t;

/* One piece of a value, borrowed from it. */
typedef struct {
    cn_format_command_t  command;
    cn_bytes_t           text;          /* of a literal */
    cn_bytes_t           name;          /* of REQ and RESP: the header, any case */
    cn_bytes_t           other;         /* the one after '?'; none */
    size_t               max;           /* octets of what it gives; SIZE_MAX: all */
} cn_format_piece_t;

/*
 * The next piece from *at on, which moves behind it.  CN_AGAIN: the end.  CN_ERR_SYNTAX: a percent
 * sign alone or a command that is not closed; CN_ERR_UNSUPPORTED: no command of ours, *piece->text
 * is its name.
 */
cn_status_t cn_format_next(cn_bytes_t value, size_t *at, cn_format_piece_t *piece) CN_MUST_USE;

/*
 * Whether value has commands at all (*format), and what it is without: plain points into out (at
 * least value.len octets) where "%%" had to go.  Statuses as above; *command is what is unknown.
 */
cn_status_t cn_format_check(cn_bytes_t value, uint8_t *out, cn_bytes_t *plain, bool *format,
    cn_bytes_t *command) CN_MUST_USE;

#endif
