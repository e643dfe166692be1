/* SPDX-License-Identifier: Apache-2.0 */

/* h1 - HTTP/1.1 between its own files: reader, writer, what both sides share. */

#ifndef CN_HTTP_H1_H
#define CN_HTTP_H1_H

#include "http/wire.h"

#include <llhttp.h>

typedef struct h1_s h1_t;
typedef struct h1_reader_s h1_reader_t;

/*
 * --- reader: bytes to messages -----------------------------------------------------------------
 */

typedef enum {
    H1_READ_MORE,               /* all bytes were used */
    /* a message is complete, or a handler said stop: the rest is not read */
    H1_READ_STOPPED,
    H1_READ_ERROR,              /* reader->error says what is wrong */
} h1_read_t;

/* What the peer did wrong; status is what a server answers, 0: memory, nothing. */
typedef struct {
    uint16_t     status;
    const char  *detail;
} h1_error_t;

/*
 * Handlers may let owners make any call; false stops the reader, as an error when reader->error was
 * set.
 */
typedef struct {
    /* The first octet of a message: the pool that it will live in, NULL: memory. */
    cn_pool_t  *(*on_begin)(h1_reader_t *reader);
    /* no_body: set it when no body follows whatever the head says (a response to HEAD). */
    bool        (*on_head)(h1_reader_t *reader, cn_message_t *head, bool end, bool *no_body);
    /* at points into the bytes fed. */
    bool        (*on_body)(h1_reader_t *reader, const uint8_t *at, size_t len);
    void        (*on_complete)(h1_reader_t *reader);
} h1_handlers_t;

struct h1_reader_s {
    llhttp_t             parser;
    const h1_handlers_t *handlers;
    uint32_t             octets_max;
    uint32_t             headers_max;
    bool                 allow_http_10;
    const char          *scheme;

    /* the head that is being read; all NULL or 0 between messages */
    cn_pool_t           *pool;
    cn_message_t        *message;
    uint8_t             *text;          /* one block with all names and values, in pool */
    size_t               text_len;
    size_t               text_capacity;
    size_t               target_at, target_len;
    size_t               name_at, name_len;
    size_t               value_at, value_len;
    size_t               host_at, host_len;
    size_t               upgrade_at, upgrade_len;
    uint32_t             line_count;
    uint32_t             host_count;
    uint32_t             coding_count;
    uint32_t             extension_octets;      /* of the chunk being read */
    bool                 coding_known;          /* "chunked" */
    bool                 length_seen;
    bool                 has_connection;
    bool                 close;
    bool                 head_done;             /* what follows are trailers */
    bool                 complete;

    h1_error_t           error;
};

/* type: HTTP_REQUEST or HTTP_RESPONSE. */
void h1_reader_init(h1_reader_t *reader, llhttp_type_t type, const h1_handlers_t *handlers,
    const cn_session_limits_t *limits);

/* Ready for the next message. */
void h1_reader_restart(h1_reader_t *reader);

/* Reads up to len octets; *used says how many. */
h1_read_t h1_reader_feed(h1_reader_t *reader, const uint8_t *at, size_t len, size_t *used);

/*
 * The peer has ended: completes a message whose body lasts until then.  An error: it was cut short.
 */
h1_read_t h1_reader_finish(h1_reader_t *reader);

/* Has anything of a message been seen since the restart? */
static inline bool
h1_reader_begun(const h1_reader_t *reader)
{
    return reader->message != NULL;
}

/*
 * --- writer: heads to bytes --------------------------------------------------------------------
 */

typedef enum {
    H1_BODY_NONE,               /* none is sent: HEAD, 204, 304, or of no length */
    H1_BODY_LENGTH,
    H1_BODY_CHUNKED,
    H1_BODY_CLOSE,              /* an HTTP/1.0 peer: until we close */
} h1_body_t;

typedef struct {
    bool                end;            /* no body follows */
    bool                to_head;        /* a response to HEAD */
    bool                close;          /* say connection: close */
    cn_http_version_t   version;        /* of the response's request */
} h1_write_t;

/*
 * An empty slice: memory, or a request line that cannot be one.  *body: how the body is to be
 * framed.
 */
cn_slice_t h1_write_request(const cn_message_t *head, bool end, cn_account_t *account,
    h1_body_t *body);
cn_slice_t h1_write_response(const cn_message_t *head, const h1_write_t *how, cn_account_t *account,
    h1_body_t *body);

/* A reply of the codec's own: status, the reason phrase as text, connection: close. */
cn_slice_t h1_write_reply(uint16_t status, cn_account_t *account);

/* "1f\r\n" before a chunk; returns the length.  out has room for 20. */
size_t h1_write_chunk_size(size_t len, char *out);

/*
 * --- exchange and session ----------------------------------------------------------------------
 */

typedef struct {
    cn_exchange_t  base;
    h1_t          *h1;              /* NULL: detached, every call does nothing */
    cn_task_t      free;            /* server: frees the pool with all in it */
    size_t         owed;            /* delivered and not given back */
    size_t         unsent;          /* body octets written and not reported as sent */
    int64_t        write_left;      /* of a stated length; CN_LENGTH_UNKNOWN */
    h1_body_t      body;
    cn_http_version_t  version;
    bool           to_head;
    bool           asks_upgrade;
    bool           read_done;       /* the peer's message is complete */
    bool           end_told;
    bool           informational;   /* client: the head being read is a 1xx */
    uint8_t        informational_count;
    bool           head_sent;
    bool           write_done;
    bool           raw;             /* an upgrade went through */
} h1_exchange_t;

typedef enum {
    H1_IDLE,                    /* between messages */
    H1_HEAD,                    /* some of a request's head is here (server) */
    H1_BUSY,                    /* an exchange is open */
    H1_LINGER,                  /* the last bytes are leaving; what comes is dropped */
    H1_CLOSING,                 /* ends when the ready task runs */
    H1_CLOSED,
} h1_state_t;

struct h1_s {
    cn_session_t        session;        /* first: a session is its codec */
    h1_reader_t         reader;
    h1_state_t          state;
    h1_exchange_t      *exchange;
    cn_pool_t          *head_pool;      /* server: of a head that has no exchange yet */
    /* input that waits for its turn; its credit is not given back */
    cn_chain_t          held;
    const cn_slice_t   *input;          /* the slice being read */
    size_t              delivered;      /* of it, octets whose credit the owner has */
    size_t              head_octets;    /* wire octets of a message that has no exchange yet */
    cn_task_t           ready;
    cn_task_t           free;
    cn_timer_t          timer;          /* idle, head or linger: by state */
    cn_close_reason_t   reason;         /* of H1_CLOSING */
    bool                server;
    bool                silent;         /* on_closed does not follow */
    bool                draining;
    bool                no_more;        /* the connection is not used again after this exchange */
    bool                peer_ended;
    bool                opened;
};

static inline h1_t *
h1_of(cn_session_t *session)
{
    return (h1_t *) (void *) session;
}

static inline h1_exchange_t *
h1_exchange_of(cn_exchange_t *exchange)
{
    return (h1_exchange_t *) (void *) exchange;
}

/* What both sides need of a new session: everything but ops and the reader.  NULL: memory. */
h1_t *h1_create(cn_stream_t *stream, const cn_session_ops_t *ops, const h1_handlers_t *handlers,
    bool server, const cn_session_limits_t *limits, const cn_session_events_t *events,
    void *owner) CN_MUST_USE;

/* Reads what is held as far as the state allows; from an event only. */
void h1_read_held(h1_t *h1);

/* Hands body octets of the input up, or drops them.  False: memory is spent, the session ends. */
bool h1_deliver(h1_t *h1, const uint8_t *at, size_t len);

/* Asks for a pump in this turn. */
void h1_post(h1_t *h1);

/* Ends when the ready task runs: for calls down. */
void h1_close_later(h1_t *h1, cn_close_reason_t reason);

/* Ends now: the exchange is reset, on_closed raised; from an event only. */
void h1_finish(h1_t *h1, cn_close_reason_t reason);

/*
 * Lets what is written leave and drops what comes, for a second; fin: says at once that no more
 * follows.
 */
void h1_linger(h1_t *h1, bool fin);

/* Forgets the exchange: credit goes back, a server's pool is freed at the turn's end. */
void h1_exchange_detach(h1_t *h1);

/* The same, and tells its owner; from an event only. */
void h1_exchange_fail(h1_t *h1, cn_reset_reason_t reason, const char *detail);

/* Tells how much of the body has left since the last time; from an event only. */
void h1_report_sent(h1_t *h1);

/* The peer's message is complete. */
void h1_exchange_read_done(h1_t *h1);

/* Takes data, counts it for exchange (may be NULL) and hands it down. */
void h1_write(h1_t *h1, h1_exchange_t *exchange, cn_slice_t data);

/* The exchange calls that both sides have in common. */
void h1_exchange_send_body(cn_exchange_t *base, cn_slice_t data);
void h1_exchange_send_end(cn_exchange_t *base, const cn_headers_t *trailers);
void h1_exchange_consumed(cn_exchange_t *base, size_t len);
size_t h1_exchange_pending(const cn_exchange_t *base);
cn_stream_t *h1_exchange_to_stream(cn_exchange_t *base);
void h1_session_close(cn_session_t *session, cn_close_reason_t reason);

/* What differs between the sides.  All from events only. */
void h1_server_pump(h1_t *h1);
void h1_server_read_error(h1_t *h1);
void h1_server_peer_ended(h1_t *h1);
void h1_server_timeout(h1_t *h1);
void h1_client_pump(h1_t *h1);
void h1_client_read_error(h1_t *h1);
void h1_client_peer_ended(h1_t *h1);

/* What the stream's end means for a client's exchange. */
cn_reset_reason_t h1_client_reset_reason(const h1_t *h1, cn_close_reason_t reason);

#endif
