/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls_verify - is the peer a workload of the mesh, and which?
 *
 *   chain to one of the roots, times, purpose  >  not a CA itself  >  exactly one URI SAN  >  a
 *   SPIFFE id
 *   of a trust domain  >  the expected id, if one is
 *
 * The chain is the dear part.  A leaf that was found good stays good for the same roots and purpose
 * until the first certificate of its chain ends, so it is remembered by the SHA-256 of its octets;
 * that the peer holds the leaf's key is proved in every handshake anew.  The memory belongs to the
 * context: another trust bundle is another context, which remembers nothing.  What depends on the
 * handshake (the expected id) is never remembered.
 *
 * A server outside the mesh (a context by_name) is judged by its chain and a DNS or IP name
 * instead, each time anew.
 */

#include "stream/tls_internal.h"
#include "stream/spiffe.h"
#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <stdio.h>

#define KEY_LEN  (32 + 1)               /* SHA-256 of the leaf, then the purpose */

typedef struct {
    cn_list_t  link;                    /* in recent */
    uint64_t   expires;                 /* s since 1970: the earliest end in the chain */
    uint8_t    key[KEY_LEN];
    size_t     principal_len;
    char       principal[];
} verified_t;


const char *
cn_tls_uri_name(X509 *cert, GENERAL_NAMES **names, cn_bytes_t *uri)
{
    int  critical;

    *uri = CN_BYTES_NONE;
    *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);

    if (*names == NULL) {
        return critical == -2 ? "it has several subject alternative name extensions"
                              : "it has no readable subject alternative name";
    }

    for (int i = 0; i < sk_GENERAL_NAME_num(*names); i++) {
        const GENERAL_NAME  *name = sk_GENERAL_NAME_value(*names, i);

        if (name->type != GEN_URI) {
            continue;
        }

        if (uri->ptr != NULL) {
            return "it has more than one URI name";
        }

        *uri = cn_bytes(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                        (size_t) ASN1_STRING_length(name->d.uniformResourceIdentifier));
    }

    return uri->ptr == NULL || uri->len == 0 ? "it has no URI name" : NULL;
}


uint64_t
cn_tls_not_after(const X509 *cert)
{
    struct tm  tm;
    time_t     end;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1) {
        return 0;
    }

    end = timegm(&tm);

    return end < 0 ? 0 : (uint64_t) end;
}


cn_status_t
cn_tls_verified_init(cn_tls_verified_t *verified)
{
    cn_list_init(&verified->recent);
    verified->by_leaf = cn_map_create();

    return verified->by_leaf == NULL ? CN_ERR_MEMORY : CN_OK;
}


static void
verified_forget(cn_tls_verified_t *verified, verified_t *entry)
{
    (void) cn_map_remove(verified->by_leaf, cn_bytes(entry->key, KEY_LEN));
    cn_list_remove(&entry->link);
    cn_free(entry);
}


void
cn_tls_verified_clear(cn_tls_verified_t *verified)
{
    if (verified->by_leaf == NULL) {
        return;
    }

    while (!cn_list_empty(&verified->recent)) {
        verified_forget(verified, CN_LIST_ITEM(verified->recent.next, verified_t, link));
    }

    cn_map_destroy(verified->by_leaf);
}


static const verified_t *
verified_find(cn_tls_verified_t *verified, const uint8_t key[KEY_LEN])
{
    verified_t  *entry = cn_map_get(verified->by_leaf, cn_bytes(key, KEY_LEN));

    if (entry != NULL && entry->expires <= cn_clock_wall_ms() / 1000) {
        verified_forget(verified, entry);
        entry = NULL;
    }

    if (entry == NULL) {
        verified->misses++;
        return NULL;
    }

    verified->hits++;
    cn_list_remove(&entry->link);
    cn_list_prepend(&verified->recent, &entry->link);

    return entry;
}


/* Without memory the peer is not remembered, and nothing else. */
static void
verified_add(cn_tls_verified_t *verified, const uint8_t key[KEY_LEN], cn_bytes_t principal,
    uint64_t expires)
{
    verified_t  *entry;

    if (expires <= cn_clock_wall_ms() / 1000) {
        return;
    }

    if (cn_map_count(verified->by_leaf) >= CN_TLS_VERIFIED_MAX) {
        verified_forget(verified, CN_LIST_ITEM(verified->recent.prev, verified_t, link));
    }

    entry = cn_alloc_zero(sizeof(verified_t) + principal.len);
    if (entry == NULL) {
        return;
    }

    entry->expires = expires;
    entry->principal_len = principal.len;
    memcpy(entry->key, key, KEY_LEN);
    memcpy(entry->principal, principal.ptr, principal.len);

    if (cn_map_set(verified->by_leaf, cn_bytes(key, KEY_LEN), entry) != CN_OK) {
        cn_free(entry);
        return;
    }

    cn_list_prepend(&verified->recent, &entry->link);
}


static int
refuse(X509_STORE_CTX *store, cn_tls_peer_t *peer, const char *why, cn_bytes_t name)
{
    char  escaped[160];

    if (name.len == 0) {
        (void) snprintf(peer->refusal, sizeof(peer->refusal), "certificate refused: %s", why);
    } else {
        (void) snprintf(peer->refusal, sizeof(peer->refusal), "certificate refused: %s: %s", why,
                        cn_bytes_escape(name, escaped, sizeof(escaped)));
    }

    if (X509_STORE_CTX_get_error(store) == X509_V_OK) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    }

    return 0;
}


static int
accept_peer(X509_STORE_CTX *store, cn_tls_peer_t *peer, cn_bytes_t principal)
{
    if (peer->expected_len > 0 && !cn_bytes_equal(principal,
                                                  cn_bytes(peer->expected, peer->expected_len))) {
        return refuse(store, peer, "it is not the expected peer", principal);
    }

    peer->principal = cn_alloc(principal.len);
    if (peer->principal == NULL) {
        return refuse(store, peer, "out of memory", CN_BYTES_NONE);
    }

    memcpy(peer->principal, principal.ptr, principal.len);
    peer->principal_len = principal.len;
    peer->accepted = true;
    X509_STORE_CTX_set_error(store, X509_V_OK);

    return 1;
}


/* NULL, or what is wrong with a leaf whose chain is good. */
static const char *
check_identity(const cn_tls_context_t *context, X509 *leaf, cn_bytes_t uri)
{
    cn_spiffe_t  id;

    if (X509_check_ca(leaf) == 1) {
        return "it is a CA's and no workload's";
    }

    if (cn_spiffe_parse(uri, &id) != CN_OK) {
        return "its URI name is no workload's SPIFFE id";
    }

    for (size_t i = 0; i < context->trust_domain_count; i++) {
        if (cn_bytes_equal(id.trust_domain, context->trust_domains[i])) {
            return NULL;
        }
    }

    return "it is of no trusted domain";
}


/* The earliest end among the certificates of the chain that was built. */
static uint64_t
chain_expires(X509_STORE_CTX *store)
{
    STACK_OF(X509)  *chain = X509_STORE_CTX_get0_chain(store);
    uint64_t         earliest = UINT64_MAX;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        uint64_t  end = cn_tls_not_after(sk_X509_value(chain, i));

        earliest = end < earliest ? end : earliest;
    }

    return sk_X509_num(chain) > 0 ? earliest : 0;
}


static int
verify_anew(X509_STORE_CTX *store, cn_tls_context_t *context, cn_tls_peer_t *peer, X509 *leaf,
    const uint8_t key[KEY_LEN])
{
    GENERAL_NAMES  *names = NULL;
    cn_bytes_t      uri;
    const char     *wrong;
    int             good;

    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store),
                               (time_t) (cn_clock_wall_ms() / 1000));

    if (X509_verify_cert(store) != 1) {
        return refuse(store, peer, X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
                      CN_BYTES_NONE);
    }

    wrong = cn_tls_uri_name(leaf, &names, &uri);

    if (wrong == NULL) {
        wrong = check_identity(context, leaf, uri);
    }

    if (wrong != NULL) {
        good = refuse(store, peer, wrong, uri);
    } else {
        verified_add(&context->verified, key, uri, chain_expires(store));
        good = accept_peer(store, peer, uri);
    }

    GENERAL_NAMES_free(names);

    return good;
}


/* OpenSSL compares the names that cn_tls_connect_to_server() has set within the same check. */
static int
verify_by_name(X509_STORE_CTX *store, cn_tls_peer_t *peer)
{
    /* a handshake begun with cn_tls_connect() would accept any server of these roots */
    if (!peer->named) {
        return refuse(store, peer, "there is no name to compare it with", CN_BYTES_NONE);
    }

    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store),
                               (time_t) (cn_clock_wall_ms() / 1000));

    if (X509_verify_cert(store) != 1) {
        return refuse(store, peer, X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
                      CN_BYTES_NONE);
    }

    peer->accepted = true;

    return 1;
}


int
cn_tls_verify_peer(X509_STORE_CTX *store, void *arg)
{
    cn_tls_context_t  *context = arg;
    SSL               *ssl = X509_STORE_CTX_get_ex_data(store,
                                                        SSL_get_ex_data_X509_STORE_CTX_idx());
    cn_tls_peer_t     *peer = SSL_get_app_data(ssl);
    X509              *leaf = X509_STORE_CTX_get0_cert(store);
    const verified_t  *known;
    uint8_t            key[EVP_MAX_MD_SIZE];
    unsigned           len = 0;

    if (peer == NULL || peer->accepted) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
        return 0;                       /* no second certificate on one connection */
    }

    if (leaf == NULL || X509_digest(leaf, context->sha256, key, &len) != 1 || len != KEY_LEN - 1) {
        return refuse(store, peer, "it cannot be read", CN_BYTES_NONE);
    }

    if (context->by_name) {
        return verify_by_name(store, peer);
    }

    key[KEY_LEN - 1] = (uint8_t) SSL_is_server(ssl);
    known = verified_find(&context->verified, key);

    if (known != NULL) {
        return accept_peer(store, peer, cn_bytes(known->principal, known->principal_len));
    }

    return verify_anew(store, context, peer, leaf, key);
}
