/* SPDX-License-Identifier: Apache-2.0 */

/*
 * listener - which service is this?  Takes accepted connections, of the HBONE port or a plain one,
 * and carries each up its ladder to the filter chain.  HBONE: tcp > tls > h2 > tunnel > h1 or h2;
 * the CONNECT authority picks the service.  Plain: tcp > h1 or h2; the Host picks it, request by
 * request.  Which of the two is spoken is told by the first octets, or by TLS (ALPN).
 */

#ifndef CN_FILTER_LISTENER_H
#define CN_FILTER_LISTENER_H

#include "filter/module.h"

typedef struct cn_listeners_s cn_listeners_t;

/* env outlives it.  NULL: memory.  Destroying closes every connection. */
cn_listeners_t *cn_listeners_create(cn_worker_env_t *env) CN_MUST_USE;
void cn_listeners_destroy(cn_listeners_t *listeners);

/* The identity for new handshakes (takes a reference); NULL: new connections are closed. */
void cn_listeners_set_identity(cn_listeners_t *listeners, cn_tls_context_t *context);

/* A freshly accepted socket; local is where it was accepted.  Takes fd. */
void cn_listeners_accept_hbone(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local);
void cn_listeners_accept_plain(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local);

/* Likewise, of a plain listener with TLS; certificate is its server's (a reference is taken). */
void cn_listeners_accept_tls(cn_listeners_t *listeners, int fd, const cn_address_t *peer,
    const cn_address_t *local, cn_tls_context_t *certificate);

/*
 * Draining, of which elapsed_ms of time_ms are over: in the course of three quarters of that time
 * every connection is told to go, each at a moment of its own, and those that come meanwhile at the
 * end.  HTTP/2 gets a notice (nothing is refused yet), then the last GOAWAY and the end when
 * nothing is open on it; HTTP/1 answers `connection: close` from that moment, and closes only after
 * such an answer.  Called again it changes nothing.
 */
void cn_listeners_drain(cn_listeners_t *listeners, uint64_t elapsed_ms, uint64_t time_ms);

/* The end is near: whoever is not told is told, idle connections close. */
void cn_listeners_drain_final(cn_listeners_t *listeners);

/* Downstream connections now; 0: a draining worker may exit. */
uint32_t cn_listeners_connections(const cn_listeners_t *listeners);

#endif
