/* SPDX-License-Identifier: Apache-2.0 */

/*
 * app - what stands on both sides of the codecs in these tests: an application that answers by the request's path, a caller that
 * notes what came back, a raw peer that writes and reads octets.  Each writes what it hears into a text.
 */

#ifndef CN_T_HTTP_APP_H
#define CN_T_HTTP_APP_H

#include "http/tunnel.h"
#include "pipe_stream.h"

#include "unit.h"

#define TEXT_MAX  (512 * 1024)

typedef struct {
    char    at[TEXT_MAX];
    size_t  len;
} text_t;

void text_clear(text_t *text);
void text_add(text_t *text, const char *format, ...) CN_PRINTF(2, 3);
void text_bytes(text_t *text, cn_bytes_t bytes);

/* Is it there? */
bool text_has(const text_t *text, const char *needle);

/*
 * Answers: "/" 200 "ok" with a length when the request is complete; "/early" the same at once; "/chunked" "hello" in two parts
 * without a length; "/echo" the body as it comes; "/head" 304; "/empty" 204; "/big" 300 KiB; "/100" 100 first;
 * "/reset" a reset at once; "/cut" a part, then a reset; "/leave" closes the session within the event; "/hang" nothing;
 * "/trailers" a body and trailers; "/upgrade" 101 and an echoing stream; CONNECT: an echoing tunnel.
 */
typedef struct {
    cn_session_t  *session;         /* NULL: it has closed */
    text_t        *text;            /* what was heard; may be shared */
    unsigned       open;            /* exchanges that are neither over nor reset */
    unsigned       started;
    unsigned       refused;
    bool           inner_http;      /* CONNECT: an HTTP/1 server in the tunnel, of the same app */
    bool           keep_credit;     /* bodies are not consumed */
} app_t;

extern const cn_session_events_t  app_events;

/* A client's call: a request and what became of it. */
typedef struct {
    cn_exchange_t  *exchange;       /* NULL: over */
    cn_pool_t      *pool;
    text_t         *body;
    uint16_t        status;
    unsigned        informational;
    size_t          sent;
    bool            head_end;
    bool            ended;
    bool            was_reset;
    bool            keep_credit;
    cn_reset_reason_t  reason;
    char            headers[2048];
    char            trailers[256];
} call_t;

extern const cn_exchange_events_t  call_events;

/* Sends method and path with a body (none: no body at all; chunked: without a length). */
void call_start(call_t *call, cn_session_t *session, const char *method, const char *path, cn_bytes_t body,
    bool chunked);
void call_clear(call_t *call);

typedef struct {
    cn_session_t       *session;    /* NULL: closed */
    cn_close_reason_t   reason;
    unsigned            rooms;
    bool                opened;
} caller_t;

extern const cn_session_events_t  caller_events;

/* Octets out, octets in. */
typedef struct {
    cn_stream_t        *stream;     /* NULL: closed */
    text_t             *text;
    bool                ended;
    bool                closed;
    bool                opened;
    bool                keep_credit;
    size_t              sent;
    cn_close_reason_t   reason;
} raw_t;

extern const cn_stream_events_t  raw_events;

void raw_own(raw_t *raw, cn_stream_t *stream, text_t *text);
void raw_write(raw_t *raw, cn_bytes_t bytes);

/* Turns until nothing moves. */
void run_turns(cn_loop_t *loop, unsigned turns);

/* Turns for so many ms of real time. */
void run_ms(cn_loop_t *loop, uint64_t ms);

#endif
