/* SPDX-License-Identifier: Apache-2.0 */

/*
 * connection - the life of a raw connection: of TCP, or of a protocol that is none of ours.  To
 * modules it is a request without a head.
 *
 *   waiting -> dialling -> open -> over
 *        ^________| could not be opened, and another endpoint may be tried
 *
 * It may dial before anybody knows what the client speaks: it then takes the client's stream only
 * when it is told to (cn_connection_splice()), and until then nothing is logged or counted.
 */

#ifndef CN_FILTER_CONNECTION_H
#define CN_FILTER_CONNECTION_H

#include "filter/chain.h"

typedef struct cn_connection_s cn_connection_t;

typedef struct {
    /* Whose it is, in the tables of the moment. */
    cn_target_t  (*target)(void *owner);
    /* The upstream spoke before the client did: the owner splices within the event. */
    void         (*on_spoken)(void *owner);
    /* The last event: both streams are closed and all is logged.  It frees itself. */
    void         (*on_over)(void *owner);
} cn_connection_events_t;

/* info is the client's and copied.  Nothing is dialled yet.  NULL: memory. */
cn_connection_t *cn_connection_create(cn_worker_env_t *env, const cn_stream_info_t *info,
    const cn_connection_events_t *events, void *owner) CN_MUST_USE;

/* Dials, where policy admits the client; otherwise it waits, as it does when nobody answers. */
void cn_connection_dial(cn_connection_t *connection);

/*
 * Takes the client's stream and what it has said so far, and goes on until both are at their ends.
 * A client that policy refuses has its stream reset.
 */
void cn_connection_splice(cn_connection_t *connection, cn_stream_t *stream, cn_slice_t octets);

/* Ends it now; no event follows. */
void cn_connection_close(cn_connection_t *connection, cn_close_reason_t reason);

#endif
