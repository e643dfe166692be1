/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls_record - between slices and OpenSSL's records.
 *
 * The BIO keeps no bytes of its own: it reads from the slices that the stream below delivered and
 * writes into a buffer that goes down as one slice.  Nothing here ever blocks OpenSSL's writing;
 * its reading stops where the ciphertext does, or where the owner's credit does.
 */

#include "stream/tls_internal.h"

#include <openssl/err.h>

#define RECORD_OVERHEAD  32             /* at least a record's header, type, tag and a little */
#define OUT_SIZE_MAX     (4 * (CN_TLS_RECORD_SIZE + RECORD_OVERHEAD))
#define OUT_SIZE_MIN     512
#define KEY_RECORDS_MAX  (1u << 23)     /* of one key: RFC 8446 5.5 allows AES-GCM 2^24.5 */

/* One thread a process: all connections share them. */
static uint8_t      stage[CN_TLS_RECORD_SIZE];
static BIO_METHOD  *bio_method;


void
cn_tls_flush(cn_tls_t *tls)
{
    cn_slice_t  slice = { tls->out, NULL, tls->out_len };

    if (tls->out == NULL) {
        return;
    }

    slice.ptr = tls->out->data;
    tls->out = NULL;
    tls->out_len = 0;

    if (tls->below == NULL) {
        cn_slice_release(&slice);
        return;
    }

    tls->cipher_flight += slice.len;
    cn_stream_write(tls->below, slice);
}


static int
bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    cn_tls_t   *tls = BIO_get_data(bio);
    size_t   size = tls->out_hint > OUT_SIZE_MIN ? tls->out_hint : OUT_SIZE_MIN;

    if (tls->out != NULL && tls->out->capacity - tls->out_len < len) {
        cn_tls_flush(tls);
    }

    if (tls->out == NULL) {
        tls->out = cn_buf_create(len > size ? len : size, tls->stream.account);
        if (tls->out == NULL) {
            return 0;
        }
    }

    memcpy(tls->out->data + tls->out_len, data, len);
    tls->out_len += len;
    tls->out_hint = tls->out_hint > len ? tls->out_hint - len : 0;
    *written = len;

    if (tls->encrypting) {
        tls->key_records++;
    } else if (tls->state == CN_TLS_OPEN) {
        tls->control_bytes += (uint32_t) len;
    }

    return 1;
}


static int
bio_read(BIO *bio, char *data, size_t size, size_t *len)
{
    cn_tls_t  *tls = BIO_get_data(bio);

    *len = 0;
    BIO_clear_retry_flags(bio);

    while (*len < size && tls->in.len > 0) {
        cn_slice_t  first = cn_chain_first(&tls->in);
        size_t      part = first.len < size - *len ? first.len : size - *len;

        memcpy(data + *len, first.ptr, part);
        cn_chain_drop(&tls->in, part);
        *len += part;
    }

    tls->taken += *len;

    if (*len == 0) {
        BIO_set_retry_read(bio);
    }

    return *len > 0;
}


static long
bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void) bio;
    (void) number;
    (void) ptr;

    return command == BIO_CTRL_FLUSH;
}


BIO *
cn_tls_bio(cn_tls_t *tls)
{
    BIO  *bio;

    if (bio_method == NULL) {
        bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cairn stream");

        if (bio_method == NULL) {
            return NULL;
        }

        (void) BIO_meth_set_write_ex(bio_method, bio_write);
        (void) BIO_meth_set_read_ex(bio_method, bio_read);
        (void) BIO_meth_set_ctrl(bio_method, bio_ctrl);
    }

    bio = BIO_new(bio_method);

    if (bio != NULL) {
        BIO_set_data(bio, tls);
        BIO_set_init(bio, 1);
    }

    return bio;
}


/* A record's worth of the queue's beginning; small slices are copied together. */
static cn_bytes_t
next_plain(const cn_tls_t *tls)
{
    cn_slice_t  first = cn_chain_first(&tls->queue);
    size_t      len = 0;

    if (first.len >= CN_TLS_RECORD_SIZE) {
        return cn_bytes(first.ptr, first.len - first.len % CN_TLS_RECORD_SIZE);
    }

    if (tls->queue.count == 1) {
        return cn_slice_bytes(&first);
    }

    for (uint32_t i = 0; i < tls->queue.count && len < CN_TLS_RECORD_SIZE; i++) {
        cn_slice_t  slice = cn_chain_at(&tls->queue, i);
        size_t      part = slice.len < CN_TLS_RECORD_SIZE - len ? slice.len
            : CN_TLS_RECORD_SIZE - len;

        memcpy(stage + len, slice.ptr, part);
        len += part;
    }

    return cn_bytes(stage, len);
}


/* CN_ERR_MEMORY: the connection cannot go on. */
cn_status_t
cn_tls_encrypt(cn_tls_t *tls)
{
    size_t  hint = tls->queue.len + (tls->queue.len / CN_TLS_RECORD_SIZE + 1) * RECORD_OVERHEAD;
    int     done = 1;

    tls->out_hint = hint < OUT_SIZE_MAX ? hint : OUT_SIZE_MAX;
    tls->encrypting = true;
    ERR_clear_error();

    while (done == 1 && tls->queue.len > 0) {
        cn_bytes_t  plain = next_plain(tls);
        size_t      written = 0;

        done = SSL_write_ex(tls->ssl, plain.ptr, plain.len, &written) == 1 && written == plain.len;

        if (done == 1) {
            cn_chain_drop(&tls->queue, plain.len);
            tls->plain_flight += plain.len;
        }

        if (tls->key_records >= KEY_RECORDS_MAX) {
            tls->key_records = 0;
            done = done == 1 && SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1;
        }
    }

    tls->encrypting = false;
    tls->out_hint = 0;

    return done == 1 ? CN_OK : CN_ERR_MEMORY;
}


cn_tls_read_t
cn_tls_decrypt(cn_tls_t *tls, uint8_t *to, size_t room, size_t *len)
{
    size_t  part;

    *len = 0;
    ERR_clear_error();

    while (*len < room) {
        if (SSL_read_ex(tls->ssl, to + *len, room - *len, &part) != 1) {
            switch (SSL_get_error(tls->ssl, 0)) {
            case SSL_ERROR_WANT_READ:
                return CN_TLS_READ_DRY;
            case SSL_ERROR_ZERO_RETURN:
                return CN_TLS_READ_ENDED;
            default:
                return CN_TLS_READ_FAILED;
            }
        }

        *len += part;

        if (tls->in.len == 0 && SSL_has_pending(tls->ssl) == 0) {
            return CN_TLS_READ_DRY;
        }
    }

    return CN_TLS_READ_MORE;
}
