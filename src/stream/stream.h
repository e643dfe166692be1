/* SPDX-License-Identifier: Apache-2.0 */

/*
 * stream - a bidirectional byte stream.  One of the two interfaces that carry everything; made by a
 * TCP socket, TLS over a stream, a CONNECT tunnel.
 *
 *        owner (a codec, TLS, a relay)
 *          |  calls: write, end, consumed, close        events: opened, data, ended, sent, closed
 *          ^
 *          v
 *          |
 *        stream
 *
 * Rules
 *  - Calls go down, events go up.  A call never raises an event before it returns: what it causes
 *    comes from the loop's ready queue of the same turn.  Within an event the owner may make any
 *    call.
 *  - Order of events: opened, then data* and ended, sent* anywhere between, closed last.  No event
 *    follows closed, nor a call of cn_stream_close().
 *  - close detaches at once (no more events) and frees at the end of the turn.  After the closed
 *    event the stream frees itself at the end of the turn too: the owner only forgets it.
 *  - The two directions end on their own: ended says the peer will send no more; cn_stream_end()
 *    says we will not.  A stream whose both directions have ended raises closed(CN_CLOSE_END).
 *  - Credit.  A stream delivers at most `window` bytes that were not given back by
 *    cn_stream_consumed(); then it stops reading what lies below it.  A relay gives credit back
 *    when the other side's sent event says that the bytes have left.
 *  - write never fails and never blocks: bytes are queued and leave in the turn's write phase.  The
 *    owner bounds the queue: it stops reading its source while cn_stream_pending() is over its
 *    mark.
 */

#ifndef CN_STREAM_STREAM_H
#define CN_STREAM_STREAM_H

#include "base/slice.h"
#include "event/loop.h"
#include "event/socket.h"

#define CN_STREAM_WINDOW  (256u * 1024)     /* bytes; the default credit of a stream */

/* Why a stream ended.  Names of the access log and of response flags come from these. */
typedef enum {
    CN_CLOSE_NONE = 0,
    CN_CLOSE_END,               /* both directions ended */
    CN_CLOSE_LOCAL,             /* we closed it in the ordinary course */
    CN_CLOSE_RESET,             /* the peer reset it (RST, RST_STREAM) or vanished mid-way */
    CN_CLOSE_CONNECT_REFUSED,   /* nothing listens, no route, tunnel refused at TCP level */
    CN_CLOSE_CONNECT_TIMEOUT,
    CN_CLOSE_TLS,               /* handshake or record failure, certificate or identity refused */
    CN_CLOSE_TUNNEL_REFUSED,    /* CONNECT answered with other than 2xx */
    CN_CLOSE_UNPROCESSED,       /* the peer said it has processed nothing: GOAWAY, REFUSED_STREAM */
    CN_CLOSE_TIMEOUT,           /* idle or keepalive */
    CN_CLOSE_PROTOCOL,          /* the peer broke the protocol */
    CN_CLOSE_LIMIT,             /* one of our limits */
    CN_CLOSE_DRAIN,             /* we are going away */
    CN_CLOSE_REASON_COUNT
} cn_close_reason_t;

typedef enum {
    CN_STREAM_TCP,
    CN_STREAM_TLS,
    CN_STREAM_TUNNEL,
} cn_stream_kind_t;

/* Who is at the other end.  Strings live as long as the stream. */
typedef struct {
    cn_stream_kind_t  kind;
    /* of a tunnel: the address its CONNECT came from, or the target's */
    cn_address_t      peer;
    /* of an accepted tunnel: the CONNECT authority when it is IP:port */
    cn_address_t      local;
    cn_bytes_t        authority;        /* of a tunnel: the CONNECT :authority as sent */
    cn_bytes_t        peer_principal;   /* "spiffe://td/ns/x/sa/y", verified by TLS; none without */
    cn_bytes_t        local_principal;
    cn_bytes_t        alpn;             /* "h2", or none */
    cn_bytes_t        sni;
    uint64_t          opened_ms;        /* monotonic */
    /* unique in this process: the connection's number in logs */
    uint64_t          id;
    const void       *trust_generation; /* opaque: which trust bundle verified the peer */
} cn_stream_info_t;

typedef struct cn_stream_s cn_stream_t;

/* What the owner hears.  A NULL entry is not called, except data and closed, which are required. */
typedef struct {
    /* handshake done, connected; accepted TCP is born open */
    void  (*on_opened)(void *owner);
    /* takes the slice by clearing it; what it leaves is released */
    void  (*on_data)(void *owner, cn_slice_t *data);
    void  (*on_ended)(void *owner);
    /* len of the written bytes have left this machine's user space */
    void  (*on_sent)(void *owner, size_t len);
    void  (*on_closed)(void *owner, cn_close_reason_t reason);
} cn_stream_events_t;

/* How a stream kind does it.  Called only through the functions below. */
typedef struct {
    void    (*write)(cn_stream_t *stream, cn_slice_t data);
    void    (*end)(cn_stream_t *stream);
    void    (*consumed)(cn_stream_t *stream, size_t len);
    void    (*close)(cn_stream_t *stream, cn_close_reason_t reason);
    size_t  (*pending)(const cn_stream_t *stream);
} cn_stream_ops_t;

/* The head of every stream kind's own struct. */
struct cn_stream_s {
    const cn_stream_ops_t     *ops;
    const cn_stream_events_t  *events;
    void                      *owner;
    cn_loop_t                 *loop;
    cn_account_t              *account;     /* what its buffers are charged to; may be NULL */
    cn_stream_info_t           info;
};

/* Hands the stream to another owner, between two events.  events must outlive the stream. */
static inline void
cn_stream_set_owner(cn_stream_t *stream, const cn_stream_events_t *events, void *owner)
{
    stream->events = events;
    stream->owner = owner;
}

/*
 * Raises again what another owner has heard, for the one that has taken over: within an event of
 * this stream only, octets before the end.
 */
static inline void
cn_stream_replay(cn_stream_t *stream, cn_slice_t *data)
{
    stream->events->on_data(stream->owner, data);
}

static inline void
cn_stream_replay_end(cn_stream_t *stream)
{
    if (stream->events->on_ended != NULL) {
        stream->events->on_ended(stream->owner);
    }
}

/* Takes the slice.  After end or close it is dropped. */
static inline void
cn_stream_write(cn_stream_t *stream, cn_slice_t data)
{
    stream->ops->write(stream, data);
}

/* No more writes: FIN, close_notify or END_STREAM after what is queued. */
static inline void
cn_stream_end(cn_stream_t *stream)
{
    stream->ops->end(stream);
}

/* Gives back credit for len delivered bytes. */
static inline void
cn_stream_consumed(cn_stream_t *stream, size_t len)
{
    stream->ops->consumed(stream, len);
}

/*
 * Detaches and frees at the end of the turn.  CN_CLOSE_LOCAL and CN_CLOSE_DRAIN let queued bytes
 * leave first (bounded by a linger of 1 s); any other reason drops them and resets.
 */
static inline void
cn_stream_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    stream->ops->close(stream, reason);
}

/* Written bytes that have not left yet. */
static inline size_t
cn_stream_pending(const cn_stream_t *stream)
{
    return stream->ops->pending(stream);
}

static inline const cn_stream_info_t *
cn_stream_info(const cn_stream_t *stream)
{
    return &stream->info;
}

/* "connect refused", "reset by peer"; never NULL. */
const char *cn_close_reason_name(cn_close_reason_t reason);

#endif
