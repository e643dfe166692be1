/* SPDX-License-Identifier: Apache-2.0 */

/*
 * chain - see chain.h.
 *
 * What is handed on is printed anew from what was parsed: no octet of the peer's that is no
 * certificate gets further than here.
 */

#include "source/identity/chain.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/identity/identity_internal.h"
#include "stream/certificate.h"
#include "stream/spiffe.h"
#include "stream/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <stdio.h>

#define ELEMENT_MAX  ((size_t) 256 * 1024)

typedef struct {
    STACK_OF(X509)  *chain;             /* leaf first */
    STACK_OF(X509)  *roots;
    size_t           count;             /* of certificates read */
    bool             last_is_root;      /* of these */
    char            *error;             /* CN_IDENTITY_ERROR_MAX */
} answer_t;


static bool
wrong(answer_t *answer, const char *what)
{
    (void) snprintf(answer->error, CN_IDENTITY_ERROR_MAX, "%s", what);
    ERR_clear_error();

    return false;
}


/* ---- elements ---- */

/* Takes the certificate. */
static bool
push(STACK_OF(X509) *certs, X509 *cert)
{
    if (sk_X509_push(certs, cert) > 0) {
        return true;
    }

    X509_free(cert);

    return false;
}


static bool
has_cert(const STACK_OF(X509) *certs, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (X509_cmp(sk_X509_value(certs, i), cert) == 0) {
            return true;
        }
    }

    return false;
}


/* Takes the certificate.  The first is the leaf, whoever signed it. */
static bool
sort_cert(answer_t *answer, X509 *cert)
{
    bool  is_root = answer->count > 1 && X509_self_signed(cert, 1) == 1;

    answer->last_is_root = is_root;

    if (is_root && has_cert(answer->roots, cert)) {
        X509_free(cert);
        return true;
    }

    return push(is_root ? answer->roots : answer->chain, cert)
           || wrong(answer, "out of memory");
}


/* The end of a PEM text is told by an error; any other error is one. */
static bool
pem_at_end(void)
{
    unsigned long  code = ERR_peek_last_error();

    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}


/* name says which text it is, for the error. */
static bool
read_certs(answer_t *answer, cn_bytes_t pem, const char *name)
{
    BIO     *bio = pem.len > INT32_MAX ? NULL
        : BIO_new_mem_buf(pem.len == 0 ? "" : (const char *) pem.ptr, (int) pem.len);
    X509    *cert;
    size_t   before = answer->count;
    bool     good = bio != NULL || wrong(answer, "out of memory");

    ERR_clear_error();

    while (good
           && (cert = PEM_read_bio_X509(bio, NULL, cn_no_password, NULL)) != NULL)
    {
        if (answer->count == CN_CHAIN_CERTS_MAX) {
            X509_free(cert);
            good = wrong(answer, "it has too many certificates");
            break;
        }

        answer->count++;
        good = sort_cert(answer, cert);
    }

    BIO_free(bio);

    if (good && (!pem_at_end() || answer->count == before)) {
        cn_identity_error(answer->error, name, answer->count == before
                          ? "it is no certificate" : "a certificate in it cannot be read");
        return false;
    }

    ERR_clear_error();

    return good;
}


static bool
read_elements(answer_t *answer, const cn_bytes_t *elements, size_t count)
{
    char  name[64];

    if (count < 2) {
        (void) snprintf(answer->error, CN_IDENTITY_ERROR_MAX,
                        "it has %zu elements: a leaf and a root are needed", count);
        return false;
    }

    for (size_t i = 0; i < count; i++) {
        if (elements[i].len > ELEMENT_MAX) {
            return wrong(answer, "an element of it is larger than 256 KiB");
        }

        (void) snprintf(name, sizeof(name), "element %zu of %zu", i + 1, count);

        if (!read_certs(answer, elements[i], name)) {
            return false;
        }
    }

    return answer->last_is_root || wrong(answer, "the last element is no self-signed root");
}


/* ---- what it is worth ---- */

/* Times are not looked at here: our clock may be behind the CA's. */
static bool
check_path(answer_t *answer)
{
    X509_STORE      *store = X509_STORE_new();
    X509_STORE_CTX  *path = X509_STORE_CTX_new();
    bool             good = store != NULL && path != NULL;
    int              code = X509_V_OK;

    for (int i = 0; good && i < sk_X509_num(answer->roots); i++) {
        good = X509_STORE_add_cert(store, sk_X509_value(answer->roots, i)) == 1;
    }

    good = good && X509_STORE_CTX_init(path, store, sk_X509_value(answer->chain, 0),
                                       answer->chain) == 1;

    if (!good) {
        (void) wrong(answer, "out of memory");

    } else {
        X509_STORE_CTX_set_flags(path, X509_V_FLAG_NO_CHECK_TIME);

        if (X509_verify_cert(path) != 1) {
            code = X509_STORE_CTX_get_error(path);
            (void) snprintf(answer->error, CN_IDENTITY_ERROR_MAX,
                            "the chain does not lead to its root: %s",
                            X509_verify_cert_error_string(code));
            good = false;
        }
    }

    X509_STORE_CTX_free(path);
    X509_STORE_free(store);
    ERR_clear_error();

    return good;
}


static void
compare_id(const cn_chain_asked_t *asked, cn_bytes_t principal)
{
    char  got[512], wanted[512];

    if (!cn_bytes_equal(asked->spiffe_id, principal)) {
        cn_log(CN_LOG_WARN, "identity", "take another identity than was asked for: got=\"%s\" "
               "asked=\"%s\"", cn_bytes_escape(principal, got, sizeof(got)),
               cn_bytes_escape(asked->spiffe_id, wanted, sizeof(wanted)));
    }
}


/* Whether workers can use it is asked of what workers use. */
static bool
check_use(answer_t *answer, const cn_chain_asked_t *asked, const cn_identity_t *identity)
{
    cn_spiffe_t         parts;
    cn_tls_identity_t   tls = {
        .chain_pem = identity->chain_pem,
        .key_pem = identity->key_pem,
        .roots_pem = identity->roots_pem,
        .trust_domains = &parts.trust_domain,
        .trust_domain_count = 1,
    };
    cn_tls_context_t   *context;
    const char         *why;

    if (cn_spiffe_parse(asked->spiffe_id, &parts) != CN_OK) {
        return wrong(answer, "what was asked for is no workload's SPIFFE id");
    }

    context = cn_tls_context_create(&tls, &why);

    if (context == NULL) {
        return wrong(answer, why);
    }

    compare_id(asked, cn_tls_context_principal(context));
    cn_tls_context_unref(context);

    return true;
}


/*
 * One that is not valid yet is taken: more often our clock is behind than the CA's ahead, and then
 * peers accept it.
 */
static bool
check_time(answer_t *answer, const cn_identity_t *identity)
{
    uint64_t  now = cn_clock_wall_ms() / 1000;

    if (identity->begins > now) {
        cn_log(CN_LOG_WARN, "identity", "take a certificate that is not valid yet: "
               "begins_in_s=%llu", (unsigned long long) (identity->begins - now));
    }

    if (identity->expires > now) {
        return true;
    }

    (void) snprintf(answer->error, CN_IDENTITY_ERROR_MAX, "the leaf expired %llu s ago",
                    (unsigned long long) (now - identity->expires));

    return false;
}


static cn_bytes_t
print_certs(const STACK_OF(X509) *certs)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    bool   good = bio != NULL;

    for (int i = 0; good && i < sk_X509_num(certs); i++) {
        good = PEM_write_bio_X509(bio, sk_X509_value(certs, i)) == 1;
    }

    if (!good) {
        BIO_free(bio);
        return CN_BYTES_NONE;
    }

    return cn_identity_take_bio(bio);
}


static bool
fill_identity(answer_t *answer, const cn_chain_asked_t *asked, cn_identity_t *identity)
{
    identity->chain_pem = print_certs(answer->chain);
    identity->key_pem = cn_identity_copy_pem(asked->key_pem);
    identity->roots_pem = print_certs(answer->roots);
    cn_identity_validity(sk_X509_value(answer->chain, 0), &identity->begins, &identity->expires);

    return (identity->chain_pem.len > 0 && identity->key_pem.len > 0
            && identity->roots_pem.len > 0)
           || wrong(answer, "out of memory");
}


static bool
judge(answer_t *answer, const cn_bytes_t *elements, size_t count, const cn_chain_asked_t *asked,
    cn_identity_t *identity)
{
    answer->chain = sk_X509_new_null();
    answer->roots = sk_X509_new_null();

    if (answer->chain == NULL || answer->roots == NULL) {
        return wrong(answer, "out of memory");
    }

    return read_elements(answer, elements, count)
           && (asked->extra_roots_pem.len == 0
               || read_certs(answer, asked->extra_roots_pem, "the additional roots"))
           && fill_identity(answer, asked, identity)
           && check_time(answer, identity)
           && check_use(answer, asked, identity)
           && check_path(answer);
}


cn_status_t
cn_chain_judge(const cn_bytes_t *elements, size_t count, const cn_chain_asked_t *asked,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX])
{
    answer_t  answer = { .error = error };
    bool      good;

    *identity = (cn_identity_t) { .begins = 0 };
    ERR_clear_error();
    good = judge(&answer, elements, count, asked, identity);

    if (!good) {
        cn_identity_wipe(identity);
    }

    sk_X509_pop_free(answer.chain, X509_free);
    sk_X509_pop_free(answer.roots, X509_free);
    ERR_clear_error();

    return good ? CN_OK : CN_ERR_SYNTAX;
}
