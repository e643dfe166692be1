/* SPDX-License-Identifier: Apache-2.0 */

/* grpc_internal - what the channel and its calls share.  Nobody else includes it. */

#ifndef CN_HTTP_GRPC_INTERNAL_H
#define CN_HTTP_GRPC_INTERNAL_H

#include "base/backoff.h"
#include "http/codec.h"
#include "http/grpc_client.h"
#include "http/grpc_message.h"

#define GRPC_WHY_MAX  320               /* octets of a failure's text, NUL included */

typedef enum {
    GRPC_IDLE,                          /* also while back-off lasts: its timer is armed */
    GRPC_RESOLVING,
    GRPC_CONNECTING,
    GRPC_FAILED,                        /* to be told by the work task */
    GRPC_READY,
    GRPC_CLOSED,                        /* freed at the end of the turn */
} grpc_state_t;

typedef struct {
    cn_list_t           link;           /* in the channel's leaving; the current one is in none */
    cn_grpc_channel_t  *channel;
    cn_session_t       *session;
    cn_stream_t        *tls;            /* NULL: plaintext */
    cn_address_t        address;
} grpc_connection_t;

struct cn_grpc_channel_s {
    cn_loop_t                       *loop;
    cn_pool_t                       *pool;      /* itself, and the config's texts */
    cn_grpc_config_t                 config;    /* without defaults */
    const cn_grpc_channel_events_t  *events;
    void                            *owner;
    grpc_state_t                     state;
    grpc_connection_t               *current;   /* of CONNECTING and READY */
    cn_list_t                        leaving;   /* connections that finish their calls */
    cn_list_t                        waiting;   /* calls without an exchange, oldest first */
    cn_list_t                        running;
    cn_address_t                     addresses[CN_GRPC_ADDRESSES_MAX];
    size_t                           address_count;
    size_t                           address_next;
    uint64_t                         attempts;
    uint64_t                         attempt_ms;        /* when the last one began, monotonic */
    uint64_t                         next_attempt_ms;   /* before when none begins */
    cn_backoff_t                     backoff;           /* after the next one that fails */
    cn_timer_t                       timer;     /* of what the state waits for */
    cn_task_t                        work;
    cn_task_t                        free;
    char                             why[GRPC_WHY_MAX]; /* the last failure */
};

struct cn_grpc_call_s {
    cn_list_t                     link;         /* in the channel's waiting or running */
    cn_grpc_channel_t            *channel;
    cn_pool_t                    *pool;
    const cn_grpc_call_events_t  *events;
    void                         *owner;
    cn_exchange_t                *exchange;     /* NULL: not yet, or no more */
    cn_message_t                  head;
    cn_chain_t                    queue;        /* framed messages, until there is an exchange */
    cn_grpc_reader_t              reader;
    cn_timer_t                    timer;
    uint64_t                      deadline_ms;  /* monotonic; 0: none */
    uint64_t                      attempt;      /* how many the channel had made when it began */
    cn_task_t                     refused;
    cn_task_t                     free;
    const char                   *refusal;      /* why it cannot be sent at all */
    bool                          ended;        /* no more messages of ours */
    bool                          over;
};

/*
 * --- grpc_connection.c -------------------------------------------------------------------------
 */

/* Begins one, the owner of its session's events; NULL: memory, descriptors, or a name of no use. */
grpc_connection_t *grpc_connection_open(cn_grpc_channel_t *channel, const cn_address_t *address,
    const cn_session_events_t *events) CN_MUST_USE;

/* Ends and frees it: nothing more is heard of it. */
void grpc_connection_drop(grpc_connection_t *connection, cn_close_reason_t reason);

/*
 * --- grpc_call.c -------------------------------------------------------------------------------
 */

/* Sends a call that waits; the session has room.  From an event only: it may raise the last one. */
void grpc_call_assign(cn_grpc_call_t *call, cn_session_t *session);

/* Its last event; a call that is over hears nothing. */
void grpc_call_finish(cn_grpc_call_t *call, cn_grpc_status_t status, cn_bytes_t message);

/*
 * --- grpc_channel.c ----------------------------------------------------------------------------
 */

/* Asks for a turn of the channel's work: a call waits, or something ended. */
void grpc_channel_post(cn_grpc_channel_t *channel);

#endif
