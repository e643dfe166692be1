/* SPDX-License-Identifier: Apache-2.0 */

/*
 * first_octets - what a client speaks, by what it says first.  Pure functions over the octets that
 * have come so far; any answer but MORE is final.
 */

#ifndef CN_HTTP_FIRST_OCTETS_H
#define CN_HTTP_FIRST_OCTETS_H

#include "base/bytes.h"

/* Nobody is asked to keep more octets than these while it cannot be told. */
#define CN_FIRST_MAX  8192u

typedef enum {
    CN_FIRST_MORE,                      /* it cannot be told yet */
    CN_FIRST_HTTP1,
    CN_FIRST_HTTP2,                     /* prior knowledge: the connection preface */
    CN_FIRST_OTHER,
} cn_first_t;

/* Where HTTP is spoken: what is not the preface is HTTP/1's to judge.  Never OTHER. */
cn_first_t cn_first_codec(cn_bytes_t octets);

/*
 * Where anything may be spoken: HTTP/1 is a whole request line with its version, or more octets of
 * one than CN_FIRST_MAX; HTTP/2 the whole preface (RFC 9113 3.4).
 */
cn_first_t cn_first_protocol(cn_bytes_t octets);

#endif
