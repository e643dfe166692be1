/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls_context - one identity and one trust bundle as an SSL_CTX, for both sides of handshakes.
 *
 * TLS 1.3 alone (1.2 too for a client by name), no resumption, no early data.  Groups, ciphers and
 * signatures are what every mesh peer has, the cheapest first: X25519 (the hybrid groups, on by
 * default since OpenSSL 3.5, cost a third more and are not asked for by the mesh), AES-128-GCM.
 * RSA stays in the list: istiod's own CA signs with it.
 */

#include "stream/tls_internal.h"
#include "stream/certificate.h"
#include "stream/spiffe.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <stdio.h>

#define CIPHERS     "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_12  "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK"     /* of TLS 1.2: AEAD, forward secret */
#define GROUPS      "X25519:P-256:P-384"
#define SIGNATURES  "ECDSA+SHA256:RSA-PSS+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA-PSS+SHA512:"  \
                    "ed25519:RSA+SHA256:RSA+SHA384:RSA+SHA512"

#define CHAIN_DEPTH_MAX  8
#define CHAIN_LEN_MAX    65536          /* bytes of a peer's Certificate message */
#define CERTS_MAX        1024           /* of a trust bundle */

static char  error_text[CN_TLS_FAILURE_MAX];


/* The reason of OpenSSL's last error is added when it has one. */
static const char *
describe(const char *what)
{
    unsigned long  error = ERR_peek_last_error();
    const char    *reason = error == 0 ? NULL : ERR_reason_error_string(error);

    (void) snprintf(error_text, sizeof(error_text), reason == NULL ? "%s" : "%s: %s", what, reason);
    ERR_clear_error();

    return error_text;
}


/* The end of a PEM text is told by an error; any other error is one. */
static bool
pem_at_end(void)
{
    unsigned long  error = ERR_peek_last_error();
    bool           end = ERR_GET_LIB(error) == ERR_LIB_PEM
        && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;

    if (end) {
        ERR_clear_error();
    }

    return end;
}


static const char *
load_roots(SSL_CTX *ssl_ctx, cn_bytes_t pem)
{
    X509_STORE  *store = SSL_CTX_get_cert_store(ssl_ctx);
    BIO         *bio = pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int) pem.len);
    X509        *cert;
    size_t       count = 0;
    bool         good = bio != NULL;

    while (good && (cert = PEM_read_bio_X509(bio, NULL, cn_no_password, NULL)) != NULL) {
        good = ++count <= CERTS_MAX && X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
    }

    BIO_free(bio);

    if (!good || !pem_at_end()) {
        return describe("roots: cannot be read");
    }

    return count == 0 ? describe("roots: there is no certificate") : NULL;
}


static const char *
load_intermediates(SSL_CTX *ssl_ctx, BIO *bio)
{
    X509   *cert;
    size_t  count = 0;

    while ((cert = PEM_read_bio_X509(bio, NULL, cn_no_password, NULL)) != NULL) {
        if (++count > CHAIN_DEPTH_MAX) {
            X509_free(cert);
            return describe("chain: it has too many certificates");
        }

        if (SSL_CTX_add0_chain_cert(ssl_ctx, cert) != 1) {
            X509_free(cert);
            return describe("chain: an intermediate is refused");
        }
    }

    return pem_at_end() ? NULL : describe("chain: an intermediate cannot be read");
}


/* What we say of ourselves must be what peers will accept. */
static const char *
load_principal(cn_tls_context_t *context, X509 *leaf)
{
    GENERAL_NAMES  *names = NULL;
    cn_bytes_t      uri;
    cn_spiffe_t     id;
    const char     *wrong = cn_tls_uri_name(leaf, &names, &uri);

    if (wrong == NULL && cn_spiffe_parse(uri, &id) != CN_OK) {
        wrong = "its URI name is no workload's SPIFFE id";
    }

    if (wrong == NULL && cn_pool_copy(context->pool, uri, &context->principal) != CN_OK) {
        wrong = "out of memory";
    }

    context->expires = cn_tls_not_after(leaf);
    GENERAL_NAMES_free(names);
    ERR_clear_error();

    if (wrong == NULL) {
        return NULL;
    }

    (void) snprintf(error_text, sizeof(error_text), "chain: %s", wrong);

    return error_text;
}


static const char *
load_chain(cn_tls_context_t *context, cn_bytes_t pem)
{
    BIO         *bio = pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int) pem.len);
    X509        *leaf = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, cn_no_password, NULL);
    const char  *wrong;

    if (leaf == NULL) {
        wrong = describe("chain: the first certificate cannot be read");

    } else if (SSL_CTX_use_certificate(context->ssl_ctx, leaf) != 1) {
        wrong = describe("chain: the first certificate is refused");

    } else if (context->outside || context->by_name) {
        context->expires = cn_tls_not_after(leaf);
        wrong = NULL;

    } else {
        wrong = load_principal(context, leaf);
    }

    if (wrong == NULL) {
        wrong = load_intermediates(context->ssl_ctx, bio);
    }

    X509_free(leaf);
    BIO_free(bio);

    return wrong;
}


static const char *
load_key(SSL_CTX *ssl_ctx, cn_bytes_t pem)
{
    BIO         *bio = pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int) pem.len);
    EVP_PKEY    *key = bio == NULL ? NULL
        : PEM_read_bio_PrivateKey(bio, NULL, cn_no_password, NULL);
    const char  *wrong = NULL;

    if (key == NULL) {
        wrong = describe("key: it cannot be read");

    } else if (SSL_CTX_use_PrivateKey(ssl_ctx, key) != 1
               || SSL_CTX_check_private_key(ssl_ctx) != 1) {
        wrong = describe("key: it does not match the certificate");
    }

    EVP_PKEY_free(key);
    BIO_free(bio);

    return wrong;
}


/* Where protocol, a length octet and its name, stands in a list of such; NULL: it does not. */
static const unsigned char *
find_protocol(const unsigned char *list, unsigned list_len, const unsigned char *protocol)
{
    unsigned  len = 1u + protocol[0];

    for (unsigned at = 0; at < list_len; at += 1u + list[at]) {
        if (list_len - at >= len && memcmp(list + at, protocol, len) == 0) {
            return list + at;
        }
    }

    return NULL;
}


/*
 * A peer that offers protocols must offer one of ours (RFC 7301 3.2), of which the first is taken;
 * one that offers none is the owner's to judge.  Clients outside the mesh may offer what they like.
 */
static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *offered,
    unsigned offered_len, void *arg)
{
    const cn_tls_context_t  *context = arg;

    (void) ssl;

    for (unsigned at = 0; at < context->alpn_len; at += 1u + context->alpn[at]) {
        const unsigned char  *found = find_protocol(offered, offered_len, context->alpn + at);

        if (found != NULL) {
            *out = found + 1;
            *out_len = found[0];
            return SSL_TLSEXT_ERR_OK;
        }
    }

    return context->outside ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
}


static const char *
set_alpn(cn_tls_context_t *context, const char *alpn)
{
    cn_bytes_t  rest = cn_bytes_str(alpn);
    cn_bytes_t  name;

    if (rest.len == 0) {
        return NULL;
    }

    if (rest.len >= sizeof(context->alpn)) {
        return "alpn: it is too long";
    }

    while (rest.len > 0) {
        (void) cn_bytes_split(rest, ',', &name, &rest);

        if (name.len == 0) {
            return "alpn: a name is empty";
        }

        context->alpn[context->alpn_len] = (unsigned char) name.len;
        memcpy(context->alpn + context->alpn_len + 1, name.ptr, name.len);
        context->alpn_len += (unsigned) name.len + 1;
    }

    SSL_CTX_set_alpn_select_cb(context->ssl_ctx, select_alpn, context);

    /* the one function of this family that returns 0 for success */
    return SSL_CTX_set_alpn_protos(context->ssl_ctx, context->alpn, context->alpn_len) == 0
               ? NULL : describe("alpn: it is refused");
}


static const char *
set_protocol(cn_tls_context_t *context)
{
    SSL_CTX  *ssl_ctx = context->ssl_ctx;

    SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION
                                 | SSL_OP_CIPHER_SERVER_PREFERENCE);
    /*
     * without NO_AUTO_CHAIN it builds, and verifies, our own chain from the roots in every
     * handshake
     */
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                              | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ssl_ctx, CHAIN_LEN_MAX);
    SSL_CTX_set_verify_depth(ssl_ctx, CHAIN_DEPTH_MAX);
    SSL_CTX_set_cert_verify_callback(ssl_ctx, cn_tls_verify_peer, context);

    if (SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) != 1
        || SSL_CTX_set_num_tickets(ssl_ctx, 0) != 1
        || SSL_CTX_set_ciphersuites(ssl_ctx, CIPHERS) != 1
        || SSL_CTX_set1_groups_list(ssl_ctx, GROUPS) != 1
        || SSL_CTX_set1_sigalgs_list(ssl_ctx, SIGNATURES) != 1)
    {
        return describe("the TLS library lacks what the mesh needs");
    }

    return NULL;
}


/* What every server had for years, where the mesh's rule does not bind. */
static const char *
set_protocol_by_name(SSL_CTX *ssl_ctx)
{
    if (SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION) != 1
        || SSL_CTX_set_cipher_list(ssl_ctx, CIPHERS_12) != 1)
    {
        return describe("the TLS library lacks TLS 1.2");
    }

    return NULL;
}


static const char *
set_trust_domains(cn_tls_context_t *context, const cn_tls_identity_t *identity)
{
    size_t  size;

    if (identity->trust_domain_count == 0) {
        return "trust domains: there is none";
    }

    if (cn_size_mul(identity->trust_domain_count, sizeof(cn_bytes_t), &size) == CN_OK) {
        context->trust_domains = cn_pool_alloc(context->pool, size);
    }

    if (context->trust_domains == NULL) {
        return "out of memory";
    }

    for (size_t i = 0; i < identity->trust_domain_count; i++) {
        if (cn_pool_copy(context->pool, identity->trust_domains[i],
                         &context->trust_domains[i]) != CN_OK) {
            return "out of memory";
        }
    }

    context->trust_domain_count = identity->trust_domain_count;

    return NULL;
}


/* The own certificate, which a client by name may do without. */
static const char *
load_identity(cn_tls_context_t *context, const cn_tls_identity_t *identity)
{
    const char  *wrong;

    if (context->by_name && identity->chain_pem.len == 0 && identity->key_pem.len == 0) {
        return NULL;
    }

    wrong = load_chain(context, identity->chain_pem);

    return wrong != NULL ? wrong : load_key(context->ssl_ctx, identity->key_pem);
}


static const char *
context_fill(cn_tls_context_t *context, const cn_tls_identity_t *identity)
{
    const char  *wrong;

    context->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    context->ssl_ctx = SSL_CTX_new(TLS_method());

    if (context->sha256 == NULL || context->ssl_ctx == NULL
        || cn_tls_verified_init(&context->verified) != CN_OK)
    {
        return describe("out of memory");
    }

    if ((wrong = set_protocol(context)) != NULL
        || (wrong = set_alpn(context, identity->alpn)) != NULL
        || (context->by_name && (wrong = set_protocol_by_name(context->ssl_ctx)) != NULL)
        || (wrong = load_identity(context, identity)) != NULL)
    {
        return wrong;
    }

    if (context->outside) {
        return NULL;
    }

    wrong = context->by_name ? NULL : set_trust_domains(context, identity);

    return wrong != NULL ? wrong : load_roots(context->ssl_ctx, identity->roots_pem);
}


cn_tls_context_t *
cn_tls_context_create(const cn_tls_identity_t *identity, const char **error)
{
    cn_pool_t         *pool = cn_pool_create(2048, NULL);
    cn_tls_context_t  *context = pool == NULL ? NULL
        : cn_pool_alloc_zero(pool, sizeof(cn_tls_context_t));

    *error = "out of memory";

    if (context == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    context->refs = 1;
    context->pool = pool;
    context->by_name = identity->by_name;
    context->outside = identity->outside && !identity->by_name;
    context->require_peer = identity->require_peer && !identity->outside;

    ERR_clear_error();
    *error = context_fill(context, identity);

    if (*error != NULL) {
        cn_tls_context_unref(context);
        return NULL;
    }

    return context;
}


cn_tls_context_t *
cn_tls_context_ref(cn_tls_context_t *context)
{
    context->refs++;

    return context;
}


void
cn_tls_context_unref(cn_tls_context_t *context)
{
    if (context == NULL || --context->refs > 0) {
        return;
    }

    SSL_CTX_free(context->ssl_ctx);
    EVP_MD_free(context->sha256);
    cn_tls_verified_clear(&context->verified);
    cn_pool_destroy(context->pool);
}


cn_bytes_t
cn_tls_context_principal(const cn_tls_context_t *context)
{
    return context->principal;
}


uint64_t
cn_tls_context_expires(const cn_tls_context_t *context)
{
    return context->expires;
}
