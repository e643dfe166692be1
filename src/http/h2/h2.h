/* SPDX-License-Identifier: Apache-2.0 */

/*
 * h2 - HTTP/2 between its own files: one session struct for both sides, its streams, what peers may
 * spend.
 */

#ifndef CN_HTTP_H2_H
#define CN_HTTP_H2_H

#include "http/wire.h"

#include <nghttp2/nghttp2.h>

#define H2_OUT_FIRST   4096             /* octets of a turn's first output buffer */
#define H2_OUT_NEXT    16384            /* of those that follow: a TLS record */
#define H2_PENDING_MAX (256u * 1024)    /* octets below us not left: frames wait from here on */

typedef struct h2_s h2_t;

/* A bucket of tokens: holds at most cap, wins rate a second, starts full. */
typedef struct {
    uint32_t  cap;
    uint32_t  rate;
    uint32_t  tokens;
    uint64_t  filled_ms;
} h2_budget_t;

/*
 * An exchange.  Lives as long as nghttp2's stream and not as long as its owner's interest: after a
 * reset the events are NULL, and nothing in the request's pool is touched.
 */
typedef struct {
    cn_exchange_t   base;
    h2_t           *h2;             /* NULL: its stream is closed, every call does nothing */
    cn_list_t       link;           /* in the session's live or done */
    cn_list_t       sent_link;      /* in the session's sent, while there is something to report */
    cn_task_t       free;
    cn_pool_t      *own_pool;       /* server: the request's, freed with the stream */
    int32_t         id;
    cn_message_t   *head;           /* the head that is being read, or trailers */
    cn_headers_t   *trailers;       /* to send after the body, in the pool */
    cn_chain_t      out;            /* body that is not framed yet */
    size_t          owed;           /* delivered and not given back */
    size_t          framed;         /* of the body, handed down and not reported as sent */
    uint32_t        line_count;     /* of the head that is being read */
    size_t          line_octets;
    uint32_t        cookies;
    uint32_t        error_code;     /* with which nghttp2 closed it */
    const char     *refused;        /* why its head was not taken */
    const char     *refused_flag;
    bool            head_told;      /* the head went up */
    bool            head_sent;
    bool            to_head;        /* server: the request was HEAD */
    bool            no_body;        /* the response has none, whatever its owner sends */
    bool            read_done;      /* the peer's END_STREAM has come */
    bool            end_told;
    bool            write_done;     /* the owner ended its direction */
    bool            end_sent;       /* our END_STREAM was framed */
    bool            deferred;       /* nghttp2 waits for body */
    bool            rst_received;
    bool            owner_reset;
    bool            as_stream;      /* raw bytes: a tunnel */
} h2_stream_t;

typedef enum {
    H2_OPEN,
    H2_CLOSING,                     /* ends when the ready task runs */
    H2_CLOSED,
} h2_state_t;

struct h2_s {
    cn_session_t        session;    /* first: a session is its codec */
    nghttp2_session    *ng;
    h2_state_t          state;
    cn_close_reason_t   reason;     /* of H2_CLOSING, or why GOAWAY was sent */
    bool                server;
    bool                silent;     /* on_closed does not follow */
    bool                opened;
    bool                draining;   /* ends when its streams have */
    bool                peer_leaves;    /* GOAWAY has come */
    bool                room_changed;
    bool                settings_seen;  /* the peer's */
    bool                ping_sent;
    bool                blocked;    /* frames wait until the stream below has less to send */
    cn_list_t           live;
    cn_list_t           done;       /* closed by nghttp2, their owners not told yet */
    cn_list_t           sent;
    uint32_t            active;     /* streams in live */
    const cn_slice_t   *input;      /* what is being read */
    cn_buf_t           *out;        /* frames of this turn */
    size_t              out_len;
    cn_task_t           ready;
    cn_task_t           gather;
    cn_task_t           free;
    cn_timer_t          keepalive;
    cn_timer_t          idle;
    cn_timer_t          head;       /* a head, or the preface, must be complete */
    uint64_t            heard_ms;   /* when the peer was last heard */
    bool                in_head;
    int32_t             last_id;    /* server: the newest stream that the peer opened */
    int32_t             skipped_first;  /* and what it left out last, which it may not open */
    int32_t             skipped_last;
    h2_budget_t         resets;
    h2_budget_t         glitches;
};

static inline h2_t *
h2_of(cn_session_t *session)
{
    return (h2_t *) (void *) session;
}

static inline h2_stream_t *
h2_stream_of(cn_exchange_t *exchange)
{
    return (h2_stream_t *) (void *) exchange;
}

/*
 * --- budget.c ----------------------------------------------------------------------------------
 */

/* Full. */
void h2_budget_init(h2_budget_t *budget, uint32_t cap, uint32_t rate);

/* False: it is spent. */
bool h2_budget_take(h2_budget_t *budget, uint32_t tokens) CN_MUST_USE;
void h2_budget_give(h2_budget_t *budget, uint32_t tokens);

/*
 * --- head.c: heads to and from nghttp2 ---------------------------------------------------------
 */

typedef struct {
    nghttp2_nv  *items;
    size_t       count;
    nghttp2_nv   first[40];
    nghttp2_nv  *more;              /* NULL: first was enough */
    char         length[20];
    char         status[20];
} h2_fields_t;

/*
 * The views in fields live as long as head and fields.  CN_ERR_MEMORY; CN_ERR_SYNTAX: cannot be
 * sent.
 */
cn_status_t h2_fields_request(h2_fields_t *fields, const cn_message_t *head) CN_MUST_USE;
cn_status_t h2_fields_response(h2_fields_t *fields, const cn_message_t *head) CN_MUST_USE;
cn_status_t h2_fields_trailers(h2_fields_t *fields, const cn_headers_t *headers) CN_MUST_USE;
void h2_fields_free(h2_fields_t *fields);

/* Begins a head or trailers in the exchange's pool. */
cn_status_t h2_head_begin(h2_stream_t *stream) CN_MUST_USE;

/* One field, copied.  CN_ERR_LIMIT, CN_ERR_SYNTAX: stream->refused says why; CN_ERR_MEMORY. */
cn_status_t h2_head_field(h2_stream_t *stream, cn_bytes_t name, cn_bytes_t value) CN_MUST_USE;

/* All fields are here: cookies are joined, Host and the rest checked.  As above. */
cn_status_t h2_head_complete(h2_stream_t *stream) CN_MUST_USE;

/*
 * --- stream.c: exchanges -----------------------------------------------------------------------
 */

/* A server's new exchange, with a pool of its own; NULL: memory. */
h2_stream_t *h2_stream_accept(h2_t *h2, int32_t id) CN_MUST_USE;

/* A client's; NULL: memory, or no room. */
cn_exchange_t *h2_stream_request(cn_session_t *session, const cn_message_t *head, bool end,
    cn_pool_t *pool,
    const cn_exchange_events_t *events, void *owner);

/* Body octets of the input, to the owner or dropped.  CN_ERR_MEMORY. */
cn_status_t h2_stream_deliver(h2_stream_t *stream, const uint8_t *at, size_t len) CN_MUST_USE;

/* The peer's message is complete; trailers may be NULL. */
void h2_stream_read_done(h2_stream_t *stream, cn_headers_t *trailers);

/* nghttp2 has closed it: its owner is told, then it is freed at the turn's end. */
void h2_stream_finish(h2_stream_t *stream, cn_reset_reason_t reason, const char *detail);

/* nghttp2's data source. */
ssize_t h2_stream_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length,
    uint32_t *flags,
    nghttp2_data_source *source, void *user_data);
int h2_stream_send(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *header, size_t length,
    nghttp2_data_source *source, void *user_data);

/*
 * --- session.c ---------------------------------------------------------------------------------
 */

/* Ask for what the names say, in this turn. */
void h2_post_ready(h2_t *h2);
void h2_post_gather(h2_t *h2);

/* Appends to the turn's output; CN_ERR_MEMORY. */
cn_status_t h2_out(h2_t *h2, cn_bytes_t bytes) CN_MUST_USE;

/* Hands the turn's output down. */
void h2_out_flush(h2_t *h2);

/* GOAWAY with code, then the end; the peer spent what it may or broke the rules. */
void h2_terminate(h2_t *h2, uint32_t code, cn_close_reason_t reason);

/*
 * --- callbacks.c -------------------------------------------------------------------------------
 */

/* The session's nghttp2 object; NULL: memory. */
nghttp2_session *h2_nghttp2_create(h2_t *h2) CN_MUST_USE;

#endif
