/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls - TLS over any stream.
 *
 *   handshake --done--> open --both close_notify, all sent--> closed
 *        \--refused, timeout, cut--> closed   \--record failure, cut, reset--> closed
 *
 *   plaintext slices -> queue -gather-> records of 16 KiB -BIO-> out -> stream below
 *   owner <- shared read buffer <-SSL_read- BIO <- in (ciphertext slices) <- stream below
 *
 * What is written in a turn is encrypted once, in its gather phase, so that many small writes share
 * a record.  What is read is delivered at once, as far as the owner's credit goes; ciphertext
 * beyond it waits.
 *
 * How many plaintext bytes have left is worked out from how many ciphertext bytes have: exact
 * whenever nothing is on its way, off by less than a record otherwise.
 */

#include "stream/tls_internal.h"
#include "stream/readbuf.h"
#include "stream/tcp.h"

#include <openssl/err.h>

#include <stdio.h>

#define BELOW_WINDOW       65536        /* ciphertext that waits for the owner's credit */
#define CONTROL_BYTES_MAX  65536        /* of answers to key updates in a connection's life */
#define SERVER_NAME_MAX    253          /* octets of a DNS name in text */

static cn_readbuf_t  shared;            /* all connections of this process */


/* ---- the end ---- */

static void
tls_destroy(cn_tls_t *tls)
{
    if (tls->peer != NULL) {
        cn_free(tls->peer->principal);
        cn_free(tls->peer);
    }

    SSL_free(tls->ssl);
    cn_tls_context_unref(tls->context);
    cn_free(tls->principal);
    cn_free(tls->sni);
    cn_free(tls);
}


static void
tls_free(cn_task_t *task)
{
    tls_destroy(CN_CONTAINER_OF(task, cn_tls_t, free));
}


/*
 * Nothing more is heard or told.  below_reason: how the stream below is closed, if it still is
 * there.
 */
static void
tls_finish(cn_tls_t *tls, cn_close_reason_t below_reason)
{
    cn_tls_flush(tls);
    tls->state = CN_TLS_CLOSED;
    cn_timer_cancel(&tls->timer);
    cn_task_cancel(&tls->ready);
    cn_task_cancel(&tls->gather);
    cn_chain_clear(&tls->in);
    cn_chain_clear(&tls->queue);

    if (tls->below != NULL) {
        cn_stream_close(tls->below, below_reason);
        tls->below = NULL;
    }

    cn_loop_post(tls->stream.loop, CN_PHASE_FREE, &tls->free);
}


static void
tls_raise_closed(cn_tls_t *tls, cn_close_reason_t reason, cn_close_reason_t below_reason)
{
    tls_finish(tls, below_reason);

    if (tls->stream.events != NULL) {
        tls->stream.events->on_closed(tls->stream.owner, reason);
    }
}


static void
tls_describe(cn_tls_t *tls, const char *what, const char *detail)
{
    if (tls->peer == NULL) {
        tls->peer = cn_alloc_zero(sizeof(cn_tls_peer_t));
    }

    /* a refusal of the peer's certificate says more than the error that follows from it */
    if (tls->peer != NULL && tls->peer->refusal[0] == '\0') {
        (void) snprintf(tls->peer->refusal, sizeof(tls->peer->refusal), detail == NULL ? "%s"
                        : "%s: %s", what,
                        detail);
    }
}


/* OpenSSL has failed.  Its alert, if it wrote one, leaves before the stream below is closed. */
static void
tls_broken(cn_tls_t *tls)
{
    unsigned long  error = ERR_peek_error();
    const char    *reason = error == 0 ? NULL : ERR_reason_error_string(error);

    tls_describe(tls, tls->state == CN_TLS_HANDSHAKE ? "handshake failed" : "record failed",
                 reason == NULL ? "out of memory" : reason);
    ERR_clear_error();
    tls_raise_closed(tls, reason == NULL ? CN_CLOSE_LIMIT : CN_CLOSE_TLS, CN_CLOSE_LOCAL);
}


/* The stream below has ended where TLS had not: what came may be a part of what was sent. */
static void
tls_truncated(cn_tls_t *tls)
{
    if (tls->state == CN_TLS_HANDSHAKE) {
        tls_describe(tls, "handshake failed", "the peer closed the connection");
        tls_raise_closed(tls, CN_CLOSE_TLS, CN_CLOSE_RESET);

    } else if (tls->close_sent) {
        tls_raise_closed(tls, CN_CLOSE_END, CN_CLOSE_LOCAL);

    } else {
        tls_describe(tls, "connection cut", "the peer closed it without close_notify");
        tls_raise_closed(tls, CN_CLOSE_RESET, CN_CLOSE_RESET);
    }
}


static void
tls_check_ended(cn_tls_t *tls)
{
    if (tls->state != CN_TLS_OPEN || !tls->close_sent || !tls->close_seen) {
        return;
    }

    /* closing the stream below bounds what it still has to write: not before it has written all */
    if (tls->below == NULL || cn_stream_pending(tls->below) == 0) {
        tls_raise_closed(tls, CN_CLOSE_END, CN_CLOSE_LOCAL);
    }
}


/* ---- writing ---- */

/* The owner's bytes as records, and close_notify behind them when it has ended. */
static cn_status_t
tls_push(cn_tls_t *tls)
{
    cn_status_t  status = cn_tls_encrypt(tls);

    if (status == CN_OK && tls->end_wanted && !tls->close_sent) {
        tls->close_sent = true;
        status = SSL_shutdown(tls->ssl) >= 0 ? CN_OK : CN_ERR_MEMORY;
    }

    cn_tls_flush(tls);

    return status;
}


static void
tls_gather(cn_task_t *task)
{
    cn_tls_t  *tls = CN_CONTAINER_OF(task, cn_tls_t, gather);

    if (tls->state != CN_TLS_OPEN || tls->close_sent || tls->below == NULL) {
        return;
    }

    if (tls_push(tls) != CN_OK) {
        ERR_clear_error();
        tls->failure = CN_CLOSE_LIMIT;
        cn_loop_post(tls->stream.loop, CN_PHASE_READY, &tls->ready);
        return;
    }

    if (tls->close_sent) {
        cn_stream_end(tls->below);
        cn_loop_post(tls->stream.loop, CN_PHASE_READY, &tls->ready);
    }
}


/* ---- reading ---- */

static void
tls_deliver(cn_tls_t *tls, size_t len)
{
    cn_slice_t  slice = cn_readbuf_take(&shared, len);

    tls->unconsumed += len;
    tls->stream.events->on_data(tls->stream.owner, &slice);
    cn_slice_release(&slice);
}


/* One slice for the owner.  True when there may be another. */
static bool
tls_read(cn_tls_t *tls)
{
    size_t    credit = CN_STREAM_WINDOW > tls->unconsumed ? CN_STREAM_WINDOW - tls->unconsumed : 0;
    size_t    room, len;
    uint8_t  *to;
    cn_tls_read_t    result;

    if (credit == 0) {
        tls->paused = true;
        return false;
    }

    to = cn_readbuf_room(&shared, tls->stream.account, &room);
    if (to == NULL) {
        tls_raise_closed(tls, CN_CLOSE_LIMIT, CN_CLOSE_LIMIT);
        return false;
    }

    result = cn_tls_decrypt(tls, to, room < credit ? room : credit, &len);

    if (len > 0) {
        tls_deliver(tls, len);          /* may close this stream */
    }

    if (tls->state != CN_TLS_OPEN) {
        return false;
    }

    if (result == CN_TLS_READ_FAILED) {
        tls_broken(tls);

    } else if (result == CN_TLS_READ_ENDED) {
        tls->close_seen = true;
        tls->taken += tls->in.len;      /* what comes after close_notify is not kept */
        cn_chain_clear(&tls->in);

        if (tls->stream.events->on_ended != NULL) {
            tls->stream.events->on_ended(tls->stream.owner);
        }
    }

    return result == CN_TLS_READ_MORE && tls->state == CN_TLS_OPEN;
}


static void
tls_opened(cn_tls_t *tls)
{
    const unsigned char  *alpn;
    unsigned              alpn_len;
    const char           *sni = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    cn_stream_info_t     *info = &tls->stream.info;

    cn_timer_cancel(&tls->timer);
    tls->state = CN_TLS_OPEN;
    tls->principal = tls->peer->principal;
    info->peer_principal = cn_bytes(tls->principal, tls->peer->principal_len);
    cn_free(tls->peer);
    tls->peer = NULL;
    (void) SSL_set_app_data(tls->ssl, NULL);

    SSL_get0_alpn_selected(tls->ssl, &alpn, &alpn_len);
    info->alpn = cn_bytes(alpn, alpn_len);
    info->local = tls->below->info.local;

    if (sni != NULL && (tls->sni = cn_alloc(strlen(sni) + 1)) != NULL) {
        memcpy(tls->sni, sni, strlen(sni) + 1);
        info->sni = cn_bytes_str(tls->sni);
    }

    if (tls->queue.len > 0 || tls->end_wanted) {
        cn_loop_post(tls->stream.loop, CN_PHASE_GATHER, &tls->gather);
    }

    if (tls->stream.events->on_opened != NULL) {
        tls->stream.events->on_opened(tls->stream.owner);
    }
}


static void
tls_handshake(cn_tls_t *tls)
{
    int  result;

    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    cn_tls_flush(tls);

    if (result == 1) {
        tls_opened(tls);

    } else if (SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ) {
        tls_broken(tls);
    }
}


/* Ciphertext that has to wait for credit must not hold a read buffer for a few bytes. */
static void
tls_compact(cn_tls_t *tls)
{
    cn_slice_t  slice;

    if (tls->in.count == 1 && tls->in.len < CN_SLICE_PIN_MIN) {
        slice = cn_chain_pop(&tls->in, SIZE_MAX);

        if (cn_slice_compact(&slice, tls->stream.account) != CN_OK
            || cn_chain_push(&tls->in, slice) != CN_OK) {
            tls_raise_closed(tls, CN_CLOSE_LIMIT, CN_CLOSE_LIMIT);
        }
    }
}


/*
 * All that can be read now, as the owner's credit allows.  Raises events: never within a call from
 * above.
 */
static void
tls_process(cn_tls_t *tls)
{
    if (tls->state == CN_TLS_HANDSHAKE) {
        tls_handshake(tls);
    }

    if (tls->state == CN_TLS_OPEN && !tls->close_seen && !tls->paused) {
        while (tls_read(tls)) {
            continue;
        }
    }

    if (tls->state == CN_TLS_CLOSED) {
        return;
    }

    if (tls->control_bytes > CONTROL_BYTES_MAX) {
        tls_describe(tls, "limit reached", "too many key updates");
        tls_raise_closed(tls, CN_CLOSE_LIMIT, CN_CLOSE_LIMIT);
        return;
    }

    cn_tls_flush(tls);                     /* an answer to a key update */

    if (tls->taken > 0 && tls->below != NULL) {
        cn_stream_consumed(tls->below, tls->taken);
        tls->taken = 0;
    }

    if (tls->close_seen) {
        tls_check_ended(tls);
    } else if (tls->below_ended && !tls->paused) {
        tls_truncated(tls);
    } else {
        tls_compact(tls);
    }
}


static void
tls_ready(cn_task_t *task)
{
    cn_tls_t  *tls = CN_CONTAINER_OF(task, cn_tls_t, ready);

    if (tls->failure != CN_CLOSE_NONE) {
        tls_raise_closed(tls, tls->failure, tls->failure);
    } else {
        tls_process(tls);
    }
}


static void
tls_timeout(cn_timer_t *timer)
{
    cn_tls_t  *tls = CN_CONTAINER_OF(timer, cn_tls_t, timer);

    tls_describe(tls, "handshake failed", "timeout");
    tls_raise_closed(tls, SSL_is_server(tls->ssl) ? CN_CLOSE_TIMEOUT : CN_CLOSE_CONNECT_TIMEOUT,
                     CN_CLOSE_TIMEOUT);
}


/* ---- events of the stream below ---- */

static void
below_data(void *owner, cn_slice_t *data)
{
    cn_tls_t        *tls = owner;
    cn_status_t   status;

    /* after close_notify nothing is expected, and nothing is kept */
    if (tls->close_seen) {
        cn_stream_consumed(tls->below, data->len);
        return;
    }

    if (tls->in.count > 0 && data->len < CN_SLICE_PIN_MIN) {
        status = cn_chain_append(&tls->in, cn_slice_bytes(data));

    } else {
        status = cn_chain_push(&tls->in, *data);
        *data = (cn_slice_t) { NULL, NULL, 0 };
    }

    if (status != CN_OK) {
        tls_raise_closed(tls, CN_CLOSE_LIMIT, CN_CLOSE_LIMIT);
        return;
    }

    tls_process(tls);
}


static void
below_ended(void *owner)
{
    cn_tls_t  *tls = owner;

    tls->below_ended = true;

    if (!tls->close_seen && !tls->paused) {
        tls_truncated(tls);
    }
}


static void
below_sent(void *owner, size_t len)
{
    cn_tls_t   *tls = owner;
    size_t   plain;

    CN_BUG_ON(len > tls->cipher_flight);

    plain = len == tls->cipher_flight
                ? tls->plain_flight
                : (size_t) ((uint64_t) len * tls->plain_flight / tls->cipher_flight);
    tls->cipher_flight -= len;
    tls->plain_flight -= plain;

    if (plain > 0 && tls->stream.events->on_sent != NULL) {
        tls->stream.events->on_sent(tls->stream.owner, plain);
    }

    tls_check_ended(tls);
}


static void
below_closed(void *owner, cn_close_reason_t reason)
{
    cn_tls_t  *tls = owner;

    tls->below = NULL;

    if (reason == CN_CLOSE_END && tls->state == CN_TLS_OPEN) {
        /* ours was sent, the peer's is read or waits in `in` for credit */
        tls->below_ended = true;
        cn_loop_post(tls->stream.loop, CN_PHASE_READY, &tls->ready);
        return;
    }

    if (tls->state == CN_TLS_HANDSHAKE) {
        tls_describe(tls, "handshake failed", cn_close_reason_name(reason));
        reason = reason == CN_CLOSE_END ? CN_CLOSE_TLS : reason;
    }

    tls_raise_closed(tls, reason, reason);
}


static const cn_stream_events_t  below_events = {
    .on_data   = below_data,
    .on_ended  = below_ended,
    .on_sent   = below_sent,
    .on_closed = below_closed,
};


/* ---- calls of the owner ---- */

static void
tls_op_write(cn_stream_t *stream, cn_slice_t data)
{
    cn_tls_t  *tls = (cn_tls_t *) stream;

    if (data.len == 0 || tls->state == CN_TLS_CLOSED || tls->end_wanted || tls->below == NULL) {
        cn_slice_release(&data);
        return;
    }

    if (cn_chain_push(&tls->queue, data) != CN_OK) {
        tls->failure = CN_CLOSE_LIMIT;
        cn_loop_post(tls->stream.loop, CN_PHASE_READY, &tls->ready);
        return;
    }

    if (tls->state == CN_TLS_OPEN) {
        cn_loop_post(tls->stream.loop, CN_PHASE_GATHER, &tls->gather);
    }
}


static void
tls_op_end(cn_stream_t *stream)
{
    cn_tls_t  *tls = (cn_tls_t *) stream;

    if (tls->state == CN_TLS_CLOSED || tls->end_wanted) {
        return;
    }

    tls->end_wanted = true;

    if (tls->state == CN_TLS_OPEN) {
        cn_loop_post(tls->stream.loop, CN_PHASE_GATHER, &tls->gather);
    }
}


static void
tls_op_consumed(cn_stream_t *stream, size_t len)
{
    cn_tls_t  *tls = (cn_tls_t *) stream;

    if (tls->state == CN_TLS_CLOSED) {
        return;
    }

    CN_BUG_ON(len > tls->unconsumed);
    tls->unconsumed -= len;

    if (tls->paused && tls->unconsumed < CN_STREAM_WINDOW) {
        tls->paused = false;
        cn_loop_post(tls->stream.loop, CN_PHASE_READY, &tls->ready);
    }
}


static void
tls_op_close(cn_stream_t *stream, cn_close_reason_t reason)
{
    cn_tls_t  *tls = (cn_tls_t *) stream;
    bool    graceful = reason == CN_CLOSE_LOCAL || reason == CN_CLOSE_DRAIN
        || reason == CN_CLOSE_END;

    if (tls->state == CN_TLS_CLOSED) {
        return;
    }

    if (graceful && tls->state == CN_TLS_OPEN && tls->below != NULL && !tls->close_sent) {
        tls->end_wanted = true;

        if (tls_push(tls) != CN_OK) {
            ERR_clear_error();
            reason = CN_CLOSE_LIMIT;
        }
    }

    tls_finish(tls, reason);
}


static size_t
tls_op_pending(const cn_stream_t *stream)
{
    const cn_tls_t  *tls = (const cn_tls_t *) stream;

    return tls->queue.len + tls->plain_flight;
}


static const cn_stream_ops_t  tls_ops = {
    .write    = tls_op_write,
    .end      = tls_op_end,
    .consumed = tls_op_consumed,
    .close    = tls_op_close,
    .pending  = tls_op_pending,
};


/* ---- the beginning ---- */

static cn_status_t
tls_create_ssl(cn_tls_t *tls, cn_tls_context_t *context, cn_bytes_t expected)
{
    BIO  *bio;

    tls->ssl = SSL_new(context->ssl_ctx);
    tls->peer = cn_alloc_zero(sizeof(cn_tls_peer_t) + expected.len);
    bio = cn_tls_bio(tls);

    if (tls->ssl == NULL || tls->peer == NULL || bio == NULL) {
        BIO_free(bio);
        ERR_clear_error();
        return CN_ERR_MEMORY;
    }

    SSL_set_bio(tls->ssl, bio, bio);

    if (expected.len > 0) {
        memcpy(tls->peer->expected, expected.ptr, expected.len);
        tls->peer->expected_len = expected.len;
    }

    return SSL_set_app_data(tls->ssl, tls->peer) == 1 ? CN_OK : CN_ERR_MEMORY;
}


/* Where the connection is from and to is the stream's below; who the peer is, is ours to find. */
static void
tls_init_info(cn_stream_info_t *info, const cn_tls_context_t *context)
{
    info->kind = CN_STREAM_TLS;
    info->authority = CN_BYTES_NONE;
    info->peer_principal = CN_BYTES_NONE;
    info->local_principal = context->principal;
    info->alpn = CN_BYTES_NONE;
    info->sni = CN_BYTES_NONE;
    info->trust_generation = context;
}


/* Not yet at work: the stream below is still its owner's. */
static cn_tls_t *
tls_create(const cn_stream_t *below, cn_tls_context_t *context, cn_bytes_t expected)
{
    cn_tls_t  *tls = cn_alloc_zero(sizeof(cn_tls_t));

    if (tls == NULL) {
        return NULL;
    }

    tls->context = cn_tls_context_ref(context);
    tls->stream.ops = &tls_ops;
    tls->stream.loop = below->loop;
    tls->stream.account = below->account;
    tls->stream.info = below->info;
    tls->timer.run = tls_timeout;
    tls->ready.run = tls_ready;
    tls->gather.run = tls_gather;
    tls->free.run = tls_free;
    tls->in.account = below->account;
    tls->queue.account = below->account;
    tls_init_info(&tls->stream.info, context);

    if (tls_create_ssl(tls, context, expected) != CN_OK) {
        tls_destroy(tls);
        return NULL;
    }

    return tls;
}


static void
tls_start(cn_tls_t *tls, cn_stream_t *below, uint64_t timeout_ms)
{
    tls->below = below;
    cn_stream_set_owner(below, &below_events, tls);

    if (below->info.kind == CN_STREAM_TCP) {
        cn_tcp_set_window(below, BELOW_WINDOW);
    }

    cn_timer_set(below->loop, &tls->timer, timeout_ms);
}


cn_stream_t *
cn_tls_accept(cn_stream_t *below, cn_tls_context_t *context, uint64_t timeout_ms)
{
    cn_tls_t  *tls = tls_create(below, context, CN_BYTES_NONE);

    if (tls == NULL) {
        return NULL;
    }

    SSL_set_accept_state(tls->ssl);
    SSL_set_verify(tls->ssl, context->require_peer
                   ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                   : SSL_VERIFY_NONE, NULL);
    tls_start(tls, below, timeout_ms);

    return &tls->stream;
}


static cn_stream_t *
start_client(cn_tls_t *tls, cn_stream_t *below, uint64_t timeout_ms)
{
    SSL_set_connect_state(tls->ssl);
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
    tls_start(tls, below, timeout_ms);
    cn_loop_post(below->loop, CN_PHASE_READY, &tls->ready);

    return &tls->stream;
}


cn_stream_t *
cn_tls_connect(cn_stream_t *below, cn_tls_context_t *context, cn_bytes_t expected_principal,
    uint64_t timeout_ms)
{
    cn_tls_t  *tls = tls_create(below, context, expected_principal);

    return tls == NULL ? NULL : start_client(tls, below, timeout_ms);
}


/* A DNS name or IP address as text; one dot at a name's end says nothing.  Returns its length. */
static size_t
copy_server_name(cn_bytes_t name, char out[SERVER_NAME_MAX + 1])
{
    if (name.len > 1 && name.ptr[name.len - 1] == '.') {
        name.len--;
    }

    if (name.len == 0 || name.len > SERVER_NAME_MAX) {
        return 0;
    }

    for (size_t i = 0; i < name.len; i++) {
        uint8_t  octet = name.ptr[i];

        if (octet <= ' ' || octet > '~' || octet == '*') {
            return 0;
        }

        out[i] = (char) octet;
    }

    out[name.len] = '\0';

    return name.len;
}


/* What the certificate must have: the name, by its SANs alone. */
static bool
expect_name(SSL *ssl, const char *name, size_t len)
{
    X509_VERIFY_PARAM  *param = SSL_get0_param(ssl);
    cn_address_t        address;
    bool                set;

    if (cn_address_parse_ip(cn_bytes(name, len), &address) == CN_OK) {
        set = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;

    } else {
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
                                               | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        set = X509_VERIFY_PARAM_set1_host(param, name, len) == 1
              && SSL_set_tlsext_host_name(ssl, name) == 1;
    }

    ERR_clear_error();

    return set;
}


cn_stream_t *
cn_tls_connect_to_server(cn_stream_t *below, cn_tls_context_t *context, cn_bytes_t server_name,
    uint64_t timeout_ms)
{
    char       name[SERVER_NAME_MAX + 1];
    size_t     len = copy_server_name(server_name, name);
    cn_tls_t  *tls;

    if (len == 0 || !context->by_name) {
        return NULL;
    }

    tls = tls_create(below, context, CN_BYTES_NONE);

    if (tls == NULL) {
        return NULL;
    }

    tls->peer->named = expect_name(tls->ssl, name, len);

    if (!tls->peer->named) {
        tls_destroy(tls);
        return NULL;
    }

    return start_client(tls, below, timeout_ms);
}


const char *
cn_tls_failure(const cn_stream_t *stream)
{
    const cn_tls_t  *tls = (const cn_tls_t *) stream;

    return stream->info.kind == CN_STREAM_TLS && tls->peer != NULL ? tls->peer->refusal : "";
}
