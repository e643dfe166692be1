/* SPDX-License-Identifier: Apache-2.0 */

/*
 * certificate_fuzz - who a peer's certificate says that it is, and what is told of it to people.
 * The first octet: 0, the rest is a
 * certificate in DER; else it is the value of the extension with the names.
 */

#include "stream/certificate.h"
#include "stream/tls_internal.h"
#include "stream/spiffe.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static X509 *
with_names(const uint8_t *data, size_t size, bool critical)
{
    X509               *cert = X509_new();
    ASN1_OCTET_STRING  *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION     *extension = NULL;

    CN_BUG_ON(cert == NULL || value == NULL);
    CN_BUG_ON(ASN1_OCTET_STRING_set(value, data, (int) size) != 1);
    extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, critical, value);
    CN_BUG_ON(extension == NULL || X509_add_ext(cert, extension, -1) != 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);

    return cert;
}


/* As PEM; what cannot be written as that is not described. */
static void
describe(X509 *cert)
{
    cn_pool_t   *pool = cn_pool_create(1024, NULL);
    cn_array_t   list = CN_ARRAY_INIT(pool, cn_certificate_t);
    BIO         *bio = BIO_new(BIO_s_mem());
    char        *text;
    long         len;

    CN_BUG_ON(pool == NULL || bio == NULL);

    if (PEM_write_bio_X509(bio, cert) == 1) {
        len = BIO_get_mem_data(bio, &text);
        CN_BUG_ON(cn_certificates_describe(cn_bytes(text, (size_t) len), pool, &list) != CN_OK);
        CN_BUG_ON(list.count > 1);
    }

    ERR_clear_error();
    BIO_free(bio);
    cn_pool_destroy(pool);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GENERAL_NAMES  *names = NULL;
    const uint8_t  *at = data + 1;
    cn_spiffe_t     parts;
    cn_bytes_t      uri;
    X509           *cert;

    if (size < 1 || size > 65536) {
        return 0;
    }

    cert = data[0] == 0 ? d2i_X509(NULL, &at, (long) size - 1)
           : with_names(data + 1, size - 1, (data[0] & 1) != 0);

    if (cert == NULL) {
        return 0;
    }

    describe(cert);

    if (cn_tls_uri_name(cert, &names, &uri) == NULL) {
        CN_BUG_ON(uri.len == 0);

        if (cn_spiffe_parse(uri, &parts) == CN_OK) {
            CN_BUG_ON(parts.trust_domain.len == 0 || parts.service_account.len == 0);
        }
    }

    (void) cn_tls_not_after(cert);
    GENERAL_NAMES_free(names);
    X509_free(cert);

    return 0;
}
