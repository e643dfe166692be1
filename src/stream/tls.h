/* SPDX-License-Identifier: Apache-2.0 */

/*
 * tls - TLS 1.3 over a stream, and the identities it proves (1.2 too, to servers outside the mesh).
 * The only header through which the data path meets OpenSSL; no OpenSSL type stands in it.
 *
 * A context holds one identity (key, chain) and one trust bundle; it is immutable and
 * reference-counted: a rotation makes a new one for new handshakes and leaves live connections
 * alone.  No tickets, no resumption: they would skip the chain check after a trust change.
 */

#ifndef CN_STREAM_TLS_H
#define CN_STREAM_TLS_H

#include "stream/stream.h"

typedef struct cn_tls_context_s cn_tls_context_t;

typedef struct {
    cn_bytes_t         chain_pem;       /* leaf first, then intermediates */
    cn_bytes_t         key_pem;         /* the caller wipes its copy */
    cn_bytes_t         roots_pem;       /* one or more */
    /* "cluster.local" and aliases; the peer's SPIFFE id must be of one */
    const cn_bytes_t  *trust_domains;
    size_t             trust_domain_count;
    /* offered and accepted, the preferred first: "h2" or "h2,http/1.1"; NULL: none */
    const char        *alpn;
    bool               require_peer;    /* server: a client certificate is required */
    /*
     * server for clients outside the mesh: the certificate may have any names, no client
     * certificate is asked for; roots and trust domains are not looked at
     */
    bool               outside;
    /*
     * client of servers outside the mesh, for cn_tls_connect_to_server() alone: the peer is known
     * by its name, TLS 1.2 will do, trust domains are not looked at.  chain and key may both be
     * empty; a chain may have any names.
     */
    bool               by_name;
} cn_tls_identity_t;

/*
 * NULL: *error (static or owned by the context's thread until the next call) says what is wrong
 * with which part: chain, key, key does not match, roots, no or several URI SANs.
 */
cn_tls_context_t *cn_tls_context_create(const cn_tls_identity_t *identity,
    const char **error) CN_MUST_USE;
cn_tls_context_t *cn_tls_context_ref(cn_tls_context_t *context);
void cn_tls_context_unref(cn_tls_context_t *context);

/* The identity's own SPIFFE id, and when its leaf ends (seconds since 1970). */
cn_bytes_t cn_tls_context_principal(const cn_tls_context_t *context);
uint64_t cn_tls_context_expires(const cn_tls_context_t *context);

/*
 * Server and client sides.  They take the stream below and become its owner; opened comes after the
 * handshake and the peer's identity check.  timeout_ms bounds the handshake.  A refused peer is
 * alerted and closed with CN_CLOSE_TLS.  expected_principal (client; may be none) is the exact
 * SPIFFE id wanted.  NULL: memory; below stays the caller's.
 */
cn_stream_t *cn_tls_accept(cn_stream_t *below, cn_tls_context_t *context,
    uint64_t timeout_ms) CN_MUST_USE;
cn_stream_t *cn_tls_connect(cn_stream_t *below, cn_tls_context_t *context,
    cn_bytes_t expected_principal,
    uint64_t timeout_ms) CN_MUST_USE;

/*
 * Client side, to a server that is no workload of the mesh; context is one by_name.  server_name is
 * what a DNS name of its certificate must match (a wildcard for a whole label may), and is sent as
 * SNI; or an IP address that the certificate must have, and no SNI is sent.  The subject is never
 * looked at (RFC 9525).  The rest as above, but that the stream's info has no peer_principal.
 * NULL: memory, a context not by_name, or no such name.
 */
cn_stream_t *cn_tls_connect_to_server(cn_stream_t *below, cn_tls_context_t *context,
    cn_bytes_t server_name, uint64_t timeout_ms) CN_MUST_USE;

/*
 * Why the last handshake of this stream failed, for the log ("certificate verify failed: ..."); ""
 * when it did not.
 */
const char *cn_tls_failure(const cn_stream_t *stream);

#endif
