/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls_internal - what the files of TLS share.  Nobody else includes it: it shows OpenSSL's types.
 */

#ifndef CN_STREAM_TLS_INTERNAL_H
#define CN_STREAM_TLS_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "stream/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define CN_TLS_RECORD_SIZE   16384      /* plaintext of a full record */
#define CN_TLS_FAILURE_MAX   256        /* octets of a failure's text, NUL included */
#define CN_TLS_VERIFIED_MAX  1024       /* remembered peers of a context */

/* Peers whose chain was verified with this context, newest first; see tls_verify.c. */
typedef struct {
    cn_map_t   *by_leaf;
    cn_list_t   recent;
    uint64_t    hits;
    uint64_t    misses;
} cn_tls_verified_t;

struct cn_tls_context_s {
    uint32_t            refs;
    SSL_CTX            *ssl_ctx;
    EVP_MD             *sha256;
    cn_pool_t          *pool;           /* the context itself and all its strings */
    cn_bytes_t          principal;
    uint64_t            expires;        /* s since 1970 */
    cn_bytes_t         *trust_domains;
    size_t              trust_domain_count;
    unsigned char       alpn[256];      /* each a length octet and the name, as on the wire */
    unsigned            alpn_len;       /* 0: none */
    bool                require_peer;
    bool                outside;
    bool                by_name;
    cn_tls_verified_t   verified;
};

/* What verification needs of a handshake and tells it; hangs at the SSL as its application data. */
typedef struct {
    char     *principal;                /* out: the peer's verified id, owned by the stream */
    size_t    principal_len;
    bool      accepted;                 /* its certificate, which may be shown once */
    bool      named;                    /* the SSL knows the server's name to compare with */
    char      refusal[CN_TLS_FAILURE_MAX];
    size_t    expected_len;             /* 0: any id of the trust domains */
    uint8_t   expected[];               /* the SPIFFE id wanted */
} cn_tls_peer_t;

typedef enum {
    CN_TLS_HANDSHAKE,
    CN_TLS_OPEN,
    CN_TLS_CLOSED                          /* freed at the end of the turn */
} cn_tls_state_t;

typedef struct {
    cn_stream_t        stream;          /* first: a cn_stream_t is cast to this */
    cn_stream_t       *below;           /* NULL once it is closed */
    cn_tls_context_t  *context;
    SSL               *ssl;
    cn_tls_peer_t     *peer;            /* until the handshake is done, and after one that failed */
    char              *principal;
    char              *sni;
    cn_timer_t         timer;           /* of the handshake */
    cn_task_t          ready;
    cn_task_t          gather;
    cn_task_t          free;

    cn_chain_t         in;              /* ciphertext not yet taken by OpenSSL */
    size_t             taken;           /* taken, its credit not yet given back */
    size_t             unconsumed;      /* plaintext delivered and not given back */

    cn_chain_t         queue;           /* plaintext to encrypt */
    cn_buf_t          *out;             /* ciphertext of this turn */
    size_t             out_len;
    size_t             out_hint;        /* how large the next out should be */
    size_t             plain_flight;    /* encrypted and not yet told as sent */
    size_t             cipher_flight;   /* given to the stream below and not yet told by it */
    uint32_t           key_records;
    uint32_t           control_bytes;

    cn_close_reason_t  failure;         /* to be raised from the ready queue */
    cn_tls_state_t     state;
    bool               paused;          /* the owner's credit is spent */
    bool               below_ended;
    bool               end_wanted;
    bool               close_sent;      /* close_notify, ours */
    bool               close_seen;      /* and the peer's */
    bool               encrypting;      /* what the BIO gets is the owner's data */
} cn_tls_t;

/* How an attempt to read plaintext ended. */
typedef enum {
    CN_TLS_READ_DRY,                    /* all that came is read */
    CN_TLS_READ_MORE,                   /* the room is full */
    CN_TLS_READ_ENDED,                  /* close_notify */
    CN_TLS_READ_FAILED
} cn_tls_read_t;

/* A BIO over tls->in and tls->out; NULL: memory. */
BIO *cn_tls_bio(cn_tls_t *tls) CN_MUST_USE;

/* Hands tls->out to the stream below. */
void cn_tls_flush(cn_tls_t *tls);

/* Makes records of all of tls->queue.  CN_ERR_MEMORY: the connection cannot go on. */
cn_status_t cn_tls_encrypt(cn_tls_t *tls) CN_MUST_USE;

/*
 * Reads plaintext until room is full or the ciphertext ends; *len tells how much, however it ended.
 */
cn_tls_read_t cn_tls_decrypt(cn_tls_t *tls, uint8_t *to, size_t room, size_t *len) CN_MUST_USE;

/*
 * Of the URI SANs of a certificate: the only one, as a view into *names (freed by the caller).
 * NULL or what is wrong.
 */
const char *cn_tls_uri_name(X509 *cert, GENERAL_NAMES **names, cn_bytes_t *uri);

/* When a certificate ends, s since 1970; 0 when that cannot be told. */
uint64_t cn_tls_not_after(const X509 *cert);

/* The cache of verified chains of one context: empty, and emptied. */
cn_status_t cn_tls_verified_init(cn_tls_verified_t *verified) CN_MUST_USE;
void cn_tls_verified_clear(cn_tls_verified_t *verified);

/*
 * SSL_CTX_set_cert_verify_callback(); arg is the context.  1: the peer is who it says; 0: refused,
 * and why is told.
 */
int cn_tls_verify_peer(X509_STORE_CTX *store, void *arg);

#endif
