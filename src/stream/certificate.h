/* SPDX-License-Identifier: Apache-2.0 */

/* certificate - what certificates say of themselves, for people: nothing of it is trusted. */

#ifndef CN_STREAM_CERTIFICATE_H
#define CN_STREAM_CERTIFICATE_H

#include "base/array.h"
#include "base/bytes.h"

#define CN_CERTIFICATES_MAX  64         /* of one text; what is behind them is not read */

typedef struct {
    cn_bytes_t  serial;                 /* hexadecimal digits, lower case */
    uint64_t    begins;                 /* s since 1970; 0: cannot be told */
    uint64_t    expires;
    cn_array_t  uris;                   /* cn_bytes_t; the names of both sorts as they are, .. */
    cn_array_t  hosts;                  /* .. whatever octets they have */
} cn_certificate_t;

/*
 * The certificates of a PEM text in its order, all in pool; list is of cn_certificate_t and grows.
 * It ends at the first that cannot be read.  CN_ERR_MEMORY.
 */
cn_status_t cn_certificates_describe(cn_bytes_t pem, cn_pool_t *pool,
    cn_array_t *list) CN_MUST_USE;

/*
 * For all that reads PEM by OpenSSL (a pem_password_cb): what is encrypted is not read, and nobody
 * is asked at a terminal.
 */
int cn_no_password(char *out, int size, int writing, void *arg);

#endif
