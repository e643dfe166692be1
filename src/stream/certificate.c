/* SPDX-License-Identifier: Apache-2.0 */

/* certificate - see certificate.h. */

#include "stream/certificate.h"

#include "base/pool.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <time.h>


static uint64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm  tm;
    time_t     seconds;

    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1) {
        return 0;
    }

    seconds = timegm(&tm);

    return seconds < 0 ? 0 : (uint64_t) seconds;
}


static cn_status_t
copy_serial(X509 *cert, cn_pool_t *pool, cn_bytes_t *serial)
{
    BIGNUM       *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char         *text = number == NULL ? NULL : BN_bn2hex(number);
    cn_status_t   status = text == NULL ? CN_ERR_MEMORY
        : cn_pool_copy(pool, cn_bytes_str(text), serial);

    for (size_t i = 0; status == CN_OK && i < serial->len; i++) {
        ((uint8_t *) (uintptr_t) serial->ptr)[i] = cn_lower(serial->ptr[i]);
    }

    OPENSSL_free(text);
    BN_free(number);

    return status;
}


static cn_status_t
copy_names(X509 *cert, cn_pool_t *pool, cn_certificate_t *to)
{
    GENERAL_NAMES  *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    cn_status_t     status = CN_OK;

    for (int i = 0; status == CN_OK && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME     *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_IA5STRING   *text = name->d.ia5;
        cn_bytes_t             *slot;

        if (name->type != GEN_URI && name->type != GEN_DNS) {
            continue;
        }

        slot = cn_array_add(name->type == GEN_URI ? &to->uris : &to->hosts);
        status = slot == NULL ? CN_ERR_MEMORY
            : cn_pool_copy(pool, cn_bytes(ASN1_STRING_get0_data(text),
                                          (size_t) ASN1_STRING_length(text)), slot);
    }

    GENERAL_NAMES_free(names);

    return status;
}


static cn_status_t
add_certificate(X509 *cert, cn_pool_t *pool, cn_array_t *list)
{
    cn_certificate_t  *to = cn_array_add(list);
    cn_status_t        status;

    if (to == NULL) {
        return CN_ERR_MEMORY;
    }

    *to = (cn_certificate_t) {
        .begins = seconds_of(X509_get0_notBefore(cert)),
        .expires = seconds_of(X509_get0_notAfter(cert)),
        .uris = CN_ARRAY_INIT(pool, cn_bytes_t),
        .hosts = CN_ARRAY_INIT(pool, cn_bytes_t),
    };
    status = copy_serial(cert, pool, &to->serial);

    return status != CN_OK ? status : copy_names(cert, pool, to);
}


int
cn_no_password(char *out, int size, int writing, void *arg)
{
    (void) out;
    (void) size;
    (void) writing;
    (void) arg;

    return -1;
}


cn_status_t
cn_certificates_describe(cn_bytes_t pem, cn_pool_t *pool, cn_array_t *list)
{
    BIO          *bio;
    cn_status_t   status = CN_OK;

    if (pem.len == 0 || pem.len > INT_MAX) {
        return CN_OK;
    }

    bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);

    if (bio == NULL) {
        return CN_ERR_MEMORY;
    }

    for (size_t i = 0; status == CN_OK && i < CN_CERTIFICATES_MAX; i++) {
        X509  *cert = PEM_read_bio_X509(bio, NULL, cn_no_password, NULL);

        if (cert == NULL) {
            break;
        }

        status = add_certificate(cert, pool, list);
        X509_free(cert);
    }

    ERR_clear_error();
    BIO_free(bio);

    return status;
}
