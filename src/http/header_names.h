/* SPDX-License-Identifier: Apache-2.0 */

/*
 * header_names - the header fields that cairn itself looks at, each once.  From this list come the
 * ids, their text and the lookup.  X(ID, "lower-case name")
 */

#ifndef CN_HTTP_HEADER_NAMES_H
#define CN_HTTP_HEADER_NAMES_H

#define CN_HEADER_NAMES(X)                                               \
    X(ACCEPT,                   "accept")                                \
    X(AUTHORIZATION,            "authorization")                         \
    X(BAGGAGE,                  "baggage")                               \
    X(CONNECTION,               "connection")                            \
    X(CONTENT_LENGTH,           "content-length")                        \
    X(CONTENT_TYPE,             "content-type")                          \
    X(COOKIE,                   "cookie")                                \
    X(DATE,                     "date")                                  \
    X(EXPECT,                   "expect")                                \
    X(GRPC_MESSAGE,             "grpc-message")                          \
    X(GRPC_STATUS,              "grpc-status")                           \
    X(GRPC_TIMEOUT,             "grpc-timeout")                          \
    X(HOST,                     "host")                                  \
    X(KEEP_ALIVE,               "keep-alive")                            \
    X(LOCATION,                 "location")                              \
    X(PROXY_CONNECTION,         "proxy-connection")                      \
    X(SERVER,                   "server")                                \
    X(TE,                       "te")                                    \
    X(TRAILER,                  "trailer")                               \
    X(TRANSFER_ENCODING,        "transfer-encoding")                     \
    X(UPGRADE,                  "upgrade")                               \
    X(USER_AGENT,               "user-agent")                            \
    X(X_ENVOY_DECORATOR_OPERATION,    "x-envoy-decorator-operation")     \
    X(X_ENVOY_EXPECTED_RQ_TIMEOUT_MS, "x-envoy-expected-rq-timeout-ms")  \
    X(X_ENVOY_ORIGINAL_HOST,    "x-envoy-original-host")                 \
    X(X_ENVOY_ORIGINAL_PATH,    "x-envoy-original-path")                 \
    X(X_ENVOY_OVERLOADED,       "x-envoy-overloaded")                    \
    X(X_ENVOY_UPSTREAM_SERVICE_TIME,  "x-envoy-upstream-service-time")   \
    X(X_FORWARDED_CLIENT_CERT,  "x-forwarded-client-cert")               \
    X(X_FORWARDED_FOR,          "x-forwarded-for")                       \
    X(X_FORWARDED_PROTO,        "x-forwarded-proto")                     \
    X(X_REQUEST_ID,             "x-request-id")

#endif
