/* SPDX-License-Identifier: Apache-2.0 */

/* secret - see secret.h. */

#include "source/identity/secret.h"
#include "model/decode.h"
#include "model/read.h"
#include "source/identity/chain.h"
#include "source/identity/identity_internal.h"

#include "secret.pb-c.h"

#include <openssl/crypto.h>

#include <stdio.h>

#define CRL  "-----BEGIN X509 CRL-----"


/* None: there is none, and it is reported; a file's name and a variable were before. */
static cn_bytes_t
inline_text(cn_read_t *read, const Cairn__DataSource *source, const char *field)
{
    cn_bytes_t  text = CN_BYTES_NONE;

    if (source != NULL && source->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_BYTES) {
        text = cn_decoded(source->inline_bytes);

    } else if (source != NULL
               && source->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_STRING)
    {
        text = cn_decoded(source->inline_string);
    }

    if (text.len == 0) {
        cn_read_error(read, NULL, field, "is needed, as inline_bytes or inline_string");
    }

    return text;
}


static void
copy_text(cn_read_t *read, cn_bytes_t text, cn_bytes_t *copy)
{
    *copy = cn_identity_copy_pem(text);

    if (text.len > 0 && copy->len == 0) {
        cn_read_no_memory(read);
    }
}


static void
read_certificate(cn_read_t *read, const Cairn__TlsCertificate *message, cn_secret_t *secret)
{
    cn_bytes_t  key = inline_text(read, message->private_key, "tls_certificate.private_key");

    secret->kind = CN_SECRET_CERTIFICATE;
    copy_text(read, inline_text(read, message->certificate_chain,
                                "tls_certificate.certificate_chain"), &secret->chain_pem);
    copy_text(read, key, &secret->key_pem);
}


static void
read_roots(cn_read_t *read, const Cairn__TrustBundle *message, cn_secret_t *secret)
{
    cn_bytes_t  roots = inline_text(read, message->trusted_ca, "validation_context.trusted_ca");

    secret->kind = CN_SECRET_ROOTS;
    copy_text(read, roots, &secret->roots_pem);

    if (cn_bytes_find(roots, CN_BYTES(CRL)) != SIZE_MAX) {
        cn_read_error(read, NULL, "validation_context.trusted_ca",
                      "has a revocation list, which is not implemented");
    }
}


static void
wipe_key(const Cairn__Secret *message)
{
    const Cairn__DataSource  *key = NULL;

    if (message->type_case == CAIRN__SECRET__TYPE_TLS_CERTIFICATE) {
        key = message->tls_certificate->private_key;
    }

    /* both texts are the same member of a union */
    if (key != NULL && (key->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_BYTES
                        || key->specifier_case == CAIRN__DATA_SOURCE__SPECIFIER_INLINE_STRING))
    {
        OPENSSL_cleanse(key->inline_bytes.data, key->inline_bytes.len);
    }
}


bool
cn_secret_read(cn_read_t *read, cn_bytes_t value, cn_secret_t *secret)
{
    size_t                before = read->errors;
    const Cairn__Secret  *message = cn_decode(read, &cairn__secret__descriptor, value, "");

    *secret = (cn_secret_t) { .name = CN_BYTES_NONE };

    if (message == NULL) {
        return false;
    }

    copy_text(read, cn_decoded(message->name), &secret->name);

    switch (message->type_case) {
    case CAIRN__SECRET__TYPE_TLS_CERTIFICATE:
        read_certificate(read, message->tls_certificate, secret);
        break;
    case CAIRN__SECRET__TYPE_VALIDATION_CONTEXT:
        read_roots(read, message->validation_context, secret);
        break;
    default:
        cn_read_error(read, NULL, "", "has neither tls_certificate nor validation_context");
    }

    wipe_key(message);

    if (read->errors > before) {
        cn_secret_wipe(secret);
        return false;
    }

    return true;
}


void
cn_secret_wipe(cn_secret_t *secret)
{
    cn_identity_free_pem(&secret->name);
    cn_identity_free_pem(&secret->chain_pem);
    cn_identity_free_pem(&secret->key_pem);
    cn_identity_free_pem(&secret->roots_pem);
}


cn_status_t
cn_secret_identity(const cn_secret_t *certificate, const cn_secret_t *roots, cn_bytes_t spiffe_id,
    cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX])
{
    cn_bytes_t        elements[] = { certificate->chain_pem, roots->roots_pem };
    cn_chain_asked_t  asked = { .spiffe_id = spiffe_id, .key_pem = certificate->key_pem };

    *identity = (cn_identity_t) { .begins = 0 };

    if (certificate->kind != CN_SECRET_CERTIFICATE || roots->kind != CN_SECRET_ROOTS) {
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX,
                        "a certificate and roots are needed, and these are of other kinds");
        return CN_ERR_REFUSED;
    }

    return cn_chain_judge(elements, CN_COUNT_OF(elements), &asked, identity, error);
}
