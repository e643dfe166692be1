/* SPDX-License-Identifier: Apache-2.0 */

/*
 * request - one request on its way through the filter chain: what modules see and may call.  It
 * lives in the pool of its downstream exchange.  A raw connection (connection.h) is one without
 * head, response, exchange and route; input then has only what is known of connections.
 * The chain (chain.c) owns it; modules borrow it within a callback, and between CN_PAUSE and
 * cn_request_resume().
 */

#ifndef CN_FILTER_REQUEST_H
#define CN_FILTER_REQUEST_H

#include "filter/flags.h"
#include "filter/phases.h"
#include "http/exchange.h"
#include "route/match.h"
#include "stats/ring.h"
#include "stats/series.h"
#include "upstream/upstream.h"

/* What the data path has in this worker.  One per process, made by server/worker. */
typedef struct {
    cn_loop_t      *loop;
    cn_tables_t    *tables;
    cn_upstream_t  *upstream;
    cn_slab_t      *slab;
    cn_slab_worker_t *slot;
    cn_series_t    *series;
    cn_ring_t      *ring;
    uint32_t        worker;
    cn_account_t    account;            /* the worker's budget */
    void           *module_states[64];  /* by module index: cn_worker_state() */
} cn_worker_env_t;

typedef enum {
    CN_NEXT,                            /* go on with the next filter */
    /* wait: the module will call cn_request_resume() or _reply() */
    CN_PAUSE,
    CN_REPLIED,                         /* the module answered */
} cn_verdict_t;

typedef struct cn_request_s cn_request_t;

struct cn_request_s {
    cn_worker_env_t              *env;
    cn_pool_t                    *pool;
    cn_exchange_t                *downstream;
    /* the tunnel's for HBONE: identity and addresses */
    const cn_stream_info_t       *connection;
    cn_request_phase_t            phase;

    /* the request, canonical; modules may change headers */
    cn_message_t                 *head;
    cn_http_version_t             version;          /* as received, also of what has no head */
    cn_message_t                 *response;         /* NULL until there is one */
    cn_match_input_t              input;
    cn_bytes_t                    original_path;    /* as logged: before a rewrite */

    /* the decision; pinned until the request is over */
    cn_segment_t                 *segment;
    const cn_block_t             *service_block;
    const cn_table_service_t     *service;
    const cn_table_chain_t       *chain;
    const cn_table_route_t       *route;            /* NULL: none matched */
    const cn_table_destination_t *destination;      /* NULL: none */

    /* what became of it: log and metrics */
    uint32_t                      flags;            /* CN_FLAG() bits */
    /* response code details; the pool's or static; NULL: "via_upstream" when there is a response */
    const char                   *details;
    const char                   *transport_failure;
    uint64_t                      start_us;         /* monotonic */
    uint64_t                      start_wall_ms;
    uint64_t                      end_us;
    int64_t                       upstream_ms;      /* x-envoy-upstream-service-time; -1: none */
    uint64_t                      body_received;    /* bytes, from downstream */
    uint64_t                      body_sent;
    cn_bytes_t                    upstream_cluster; /* name; none: none chosen */
    cn_host_t                    *host;             /* the last try's; NULL: none */
    uint32_t                      tries;

    cn_headers_t                  reply_headers;    /* that modules add to their local reply */
    cn_bytes_t                    reply_grpc_status;    /* instead of what the status stands for */
    bool                          reply_last;       /* no other request on an HTTP/1 connection */
    bool                          suppress_decorator;   /* the client sent one */
    bool                          request_ended;    /* the downstream's message is complete */
    bool                          local_reply;
    bool                          raw;              /* a connection: there is no head */
    void                        **contexts;         /* by module index */
    /* the chain's own: where it stands, what is held */
    struct cn_chain_state_s      *chain_state;
};

/* The module's context, zeroed at first use (module->ctx_size bytes); NULL: memory. */
struct cn_module_s;
void *cn_request_context(cn_request_t *request, const struct cn_module_s *module);

/* The packed per-destination or else per-route configuration of the module; NULL: none. */
const void *cn_request_route_config(const cn_request_t *request, const struct cn_module_s *module);

/*
 * The body bytes that are held while the request is paused, oldest first; at most the exchange's
 * window.
 */
const cn_chain_t *cn_request_held(const cn_request_t *request);

/*
 * For a filter that waits for the body before anything went upstream: a client that waits for a 100
 * (Continue) is told to send, and the upstream is not asked for another.
 */
void cn_request_want_body(cn_request_t *request);

/* Goes on behind the filter that paused.  Safe from any event; takes effect in the ready queue. */
void cn_request_resume(cn_request_t *request);

/*
 * Answers by ourselves, as Envoy's local reply: content-type text/plain when there is a body; gRPC
 * requests get 200 trailers-only. flags are added; details is static or the pool's.  Response
 * headers added here: cn_request_reply_header() before.
 */
cn_verdict_t cn_request_reply(cn_request_t *request, uint16_t status, cn_bytes_t body,
    uint32_t flags, const char *details);
cn_status_t cn_request_reply_header(cn_request_t *request, cn_bytes_t name,
    cn_bytes_t value) CN_MUST_USE;

/*
 * Says why on_connection answers CN_REPLIED: the connection is reset.  details is static or the
 * pool's.
 */
void cn_request_refuse(cn_request_t *request, uint32_t flags, const char *details);

/*
 * For the filter that sends the request: the route's redirect or fixed answer (CN_REPLIED), else
 * the authority and path that it wants upstream are put into the head (CN_NEXT).  Once a request;
 * it has a route.
 */
cn_verdict_t cn_request_route_action(cn_request_t *request);

/* ---- the terminal filter's side: modules/router ---------------------------------------------- */

/* The upstream's answer goes back through the filters.  The head is the request pool's. */
void cn_request_respond_informational(cn_request_t *request, cn_message_t *head);
void cn_request_respond(cn_request_t *request, cn_message_t *head, bool end);
void cn_request_respond_body(cn_request_t *request, cn_slice_t data);
void cn_request_respond_end(cn_request_t *request, cn_headers_t *trailers);

/* The upstream broke off after the response had begun: the downstream is reset. */
void cn_request_respond_reset(cn_request_t *request, uint32_t flags, const char *details);

/* The router took len bytes of the request's body that have left: credit goes back downstream. */
void cn_request_body_sent(cn_request_t *request, size_t len);

/* Bytes of the response that wait to leave downstream. */
size_t cn_request_response_pending(const cn_request_t *request);

/* Prints flags as Envoy does, "UF,URX" or "-"; returns the length. */
size_t cn_flags_print(uint32_t flags, char *out, size_t size);

#endif
