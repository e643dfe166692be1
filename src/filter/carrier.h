/* SPDX-License-Identifier: Apache-2.0 */

/*
 * carrier - what stands between an accepted connection, or a tunnel within one, and the requests on
 * it.  Shared by the files of this room.
 *
 *   looking --first octets--> session (HTTP/1 or HTTP/2), or a raw connection --> over
 */

#ifndef CN_FILTER_CARRIER_H
#define CN_FILTER_CARRIER_H

#include "filter/connection.h"
#include "filter/drain.h"
#include "filter/listener.h"

typedef enum { CN_CARRIER_HBONE, CN_CARRIER_PLAIN, CN_CARRIER_TUNNEL } cn_carrier_kind_t;

/* An accepted connection or a tunnel within one. */
typedef struct {
    cn_list_t          link;
    cn_listeners_t    *listeners;
    cn_session_t      *session;         /* NULL: its first octets are looked at */
    cn_stream_t       *stream;          /* the session's; also to say why a handshake failed */
    cn_chain_t         held;            /* octets by which nothing could be told yet */
    cn_connection_t   *connection;      /* a raw one; beside no session, or dialled in advance */
    cn_timer_t         silence;         /* nothing was said: whoever is asked may speak first */
    bool               any;             /* its port's protocol is not known */
    bool               raw;             /* the connection has the stream */
    cn_carrier_kind_t  kind;
    cn_drain_ticket_t  ticket;          /* when it is told to go; a tunnel has its connection's */
    cn_drain_stage_t   told;
    bool               http2;
    uint16_t           port;            /* tunnel: of the authority; plain: of the listener */
    cn_address_t       local;
    bool               by_host;         /* tunnel: host, else local's address, is the key */
    cn_bytes_t         host;            /* lower case, in this allocation */
    uint8_t            host_octets[];
} cn_carrier_t;

struct cn_listeners_s {
    cn_worker_env_t   *env;
    cn_tls_context_t  *identity;
    cn_list_t          connections;     /* HBONE and plain */
    cn_list_t          tunnels;
    uint32_t           connection_count;
    cn_drain_t         drain;
    cn_timer_t         drain_step;
};

/* host is copied.  NULL: memory. */
cn_carrier_t *cn_carrier_create(cn_listeners_t *listeners, cn_carrier_kind_t kind,
    cn_bytes_t host) CN_MUST_USE;
void cn_carrier_free(cn_carrier_t *carrier);

/* Takes stream: what its client says first decides what is spoken on it.  For a tunnel or plain. */
void cn_carrier_look(cn_carrier_t *carrier, cn_stream_t *stream);

/* For any carrier's session. */
void cn_carrier_refused(void *owner, const cn_refused_t *refused);
void cn_carrier_closed(void *owner, cn_close_reason_t reason);

/* Brings it to a stage of the drain, step by step.  It may be freed. */
void cn_carrier_drain(cn_carrier_t *carrier, cn_drain_stage_t stage);

/* Closes what it has and frees it. */
void cn_carrier_close(cn_carrier_t *carrier, cn_close_reason_t reason);

#endif
