/* SPDX-License-Identifier: Apache-2.0 */

/*
 * call - one request of our own to a cluster and its whole answer: what a filter asks a service
 * (external authorization, rate limits, keys).  One timeout stands over all of it; a request that
 * provably was not processed is sent again, any other failure is the caller's to judge.
 *
 *   start -> waiting -> done, once
 *               | cancel: no more is heard of it
 */

#ifndef CN_UPSTREAM_CALL_H
#define CN_UPSTREAM_CALL_H

#include "upstream/upstream.h"

typedef struct cn_call_s cn_call_t;

/* What is asked.  The struct is copied; what it refers to stays until done or cancel. */
typedef struct {
    uint32_t             cluster;       /* id */
    /* content_length and chunked are set from the body */
    const cn_message_t  *head;
    const cn_chain_t    *body;          /* NULL: none.  Its slices are shared, not copied */
    uint32_t             timeout_ms;    /* above 0 */
    size_t               answer_max;    /* bytes of the answer's body; a longer one is a failure */
} cn_call_request_t;

/*
 * Embedded in the caller's struct, zeroed at first.  The fields above the line are the caller's to
 * read, in done and after.
 */
struct cn_call_s {
    /*
     * CN_OK: there is an answer, of whatever status.  CN_ERR_NOT_FOUND: no such cluster, or no
     * healthy host; CN_ERR_LIMIT: a circuit breaker, or the answer is longer than asked for;
     * CN_ERR_TIMEOUT; CN_ERR_CLOSED: no connection, or it broke off; CN_ERR_MEMORY.
     */
    cn_status_t               status;
    const cn_message_t       *answer;   /* in the pool; NULL unless CN_OK */
    cn_headers_t              trailers; /* of the answer, in the pool */
    cn_bytes_t                body;     /* of the answer, in the pool */
    /* ---- */
    cn_upstream_t            *upstream;
    cn_pool_t                *pool;
    void                    (*done)(cn_call_t *call);
    cn_call_request_t         request;
    cn_exchange_t            *exchange; /* NULL: none runs */
    cn_message_t             *head;
    cn_host_t                 host;
    bool                      host_held;
    bool                      running;
    uint32_t                  repeats;
    cn_timer_t                timer;
    cn_chain_t                received;
};

/*
 * Starts it.  pool outlives the call's exchange, as that of cn_client_request(); call lives until
 * done or cancel.  done is raised once, never before this returns.  Not CN_OK: nothing was started,
 * and the status is one of those above.
 */
cn_status_t cn_call_start(cn_call_t *call, cn_upstream_t *upstream,
    const cn_call_request_t *request, cn_pool_t *pool, void (*done)(cn_call_t *call)) CN_MUST_USE;

/* Drops it: done is not raised any more.  One that is over, or was never started, is left alone. */
void cn_call_cancel(cn_call_t *call);

#endif
