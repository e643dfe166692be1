/* SPDX-License-Identifier: Apache-2.0 */

/* identity - PEM texts in memory and in files. */

#include "source/identity/identity_internal.h"
#include "base/pool.h"
#include "stream/certificate.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PEM_LEN_MAX  (1024 * 1024)


void
cn_identity_error(char error[CN_IDENTITY_ERROR_MAX], const char *path, const char *what)
{
    unsigned long  code = ERR_peek_last_error();
    const char    *reason = code == 0 ? NULL : ERR_reason_error_string(code);

    (void) snprintf(error, CN_IDENTITY_ERROR_MAX, reason == NULL ? "%s: %s" : "%s: %s (%s)", path,
                    what, reason);
    ERR_clear_error();
}


void
cn_identity_free_pem(cn_bytes_t *pem)
{
    if (pem->ptr != NULL) {
        OPENSSL_cleanse((void *) (uintptr_t) pem->ptr, pem->len);
        cn_free((void *) (uintptr_t) pem->ptr);
    }

    *pem = CN_BYTES_NONE;
}


void
cn_identity_wipe(cn_identity_t *identity)
{
    cn_identity_free_pem(&identity->chain_pem);
    cn_identity_free_pem(&identity->key_pem);
    cn_identity_free_pem(&identity->roots_pem);
    identity->begins = 0;
    identity->expires = 0;
}


/* What may be read from fd, or why not. */
static const char *
check_file(int fd, bool secret, size_t *size)
{
    struct stat  info;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return "it is not a file";
    }

    if (secret && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return "others than its owner may read it: its mode must be 0600";
    }

    if (info.st_size == 0) {
        return "it is empty";
    }

    if (info.st_size > PEM_LEN_MAX) {
        return "it is larger than 1 MiB";
    }

    *size = (size_t) info.st_size;

    return NULL;
}


static const char *
read_file(int fd, size_t size, cn_bytes_t *pem)
{
    uint8_t  *to = cn_alloc(size);
    size_t    len = 0;
    ssize_t   part = 1;

    if (to == NULL) {
        return "out of memory";
    }

    while (len < size && part > 0) {
        part = read(fd, to + len, size - len);

        if (part < 0 && errno == EINTR) {
            part = 1;
            continue;
        }

        len += part > 0 ? (size_t) part : 0;
    }

    *pem = cn_bytes(to, size);

    /* shorter than it was a moment ago: somebody is writing it */
    if (len < size) {
        cn_identity_free_pem(pem);
        return part < 0 ? strerror(errno) : "it changed while it was read";
    }

    return NULL;
}


cn_status_t
cn_identity_read_pem(const char *path, bool secret, cn_bytes_t *pem,
    char error[CN_IDENTITY_ERROR_MAX])
{
    int          fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    size_t       size = 0;
    const char  *wrong;

    *pem = CN_BYTES_NONE;

    if (fd < 0) {
        cn_status_t  status = errno == ENOENT ? CN_ERR_NOT_FOUND : CN_ERR_IO;

        cn_identity_error(error, path, strerror(errno));
        return status;
    }

    wrong = check_file(fd, secret, &size);

    if (wrong == NULL) {
        wrong = read_file(fd, size, pem);
    }

    (void) close(fd);

    if (wrong == NULL) {
        return CN_OK;
    }

    cn_identity_error(error, path, wrong);

    return CN_ERR_REFUSED;
}

X509 *
cn_identity_parse_cert(cn_bytes_t pem)
{
    BIO   *bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);
    X509  *cert = bio == NULL ? NULL
        : PEM_read_bio_X509(bio, NULL, cn_no_password, NULL);

    BIO_free(bio);

    return cert;
}


EVP_PKEY *
cn_identity_parse_key(cn_bytes_t pem)
{
    BIO       *bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);
    EVP_PKEY  *key = bio == NULL ? NULL
        : PEM_read_bio_PrivateKey(bio, NULL, cn_no_password, NULL);

    BIO_free(bio);

    return key;
}


cn_bytes_t
cn_identity_copy_pem(cn_bytes_t pem)
{
    uint8_t  *copy = pem.len > 0 ? cn_alloc(pem.len) : NULL;

    if (copy == NULL) {
        return CN_BYTES_NONE;
    }

    memcpy(copy, pem.ptr, pem.len);

    return cn_bytes(copy, pem.len);
}


cn_bytes_t
cn_identity_take_bio(BIO *bio)
{
    char        *data = NULL;
    long         len = bio == NULL ? 0 : BIO_get_mem_data(bio, &data);
    cn_bytes_t   copy = cn_identity_copy_pem(cn_bytes(data, len > 0 ? (size_t) len : 0));

    BIO_free(bio);

    return copy;
}


/* The BIO wipes what it held. */
cn_bytes_t
cn_identity_print_pem(X509 *cert, EVP_PKEY *key)
{
    BIO  *bio = BIO_new(BIO_s_secmem());

    if (bio == NULL || (cert != NULL && PEM_write_bio_X509(bio, cert) != 1)
        || (key != NULL && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1))
    {
        BIO_free(bio);
        return CN_BYTES_NONE;
    }

    return cn_identity_take_bio(bio);
}


GENERAL_NAMES *
cn_identity_uri_names(cn_bytes_t uri)
{
    GENERAL_NAMES   *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME    *name = GENERAL_NAME_new();
    ASN1_IA5STRING  *text = ASN1_IA5STRING_new();

    if (names == NULL || name == NULL || text == NULL
        || ASN1_STRING_set(text, uri.ptr, (int) uri.len) != 1
        || sk_GENERAL_NAME_push(names, name) < 1)
    {
        sk_GENERAL_NAME_free(names);
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(text);
        return NULL;
    }

    GENERAL_NAME_set0_value(name, GEN_URI, text);

    return names;
}


static uint64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm  tm;
    time_t     seconds = ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : 0;

    return seconds < 0 ? 0 : (uint64_t) seconds;
}


void
cn_identity_validity(const X509 *cert, uint64_t *begins, uint64_t *expires)
{
    *begins = seconds_of(X509_get0_notBefore(cert));
    *expires = seconds_of(X509_get0_notAfter(cert));
}


static cn_status_t
check_leaf(const char *certificate, const char *key, cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX])
{
    X509      *leaf = cn_identity_parse_cert(identity->chain_pem);
    EVP_PKEY  *pkey = NULL;
    bool       good = false;

    if (leaf == NULL) {
        cn_identity_error(error, certificate, "it holds no certificate");

    } else if ((pkey = cn_identity_parse_key(identity->key_pem)) == NULL) {
        cn_identity_error(error, key, "it holds no private key that can be read");

    } else if (X509_check_private_key(leaf, pkey) != 1) {
        ERR_clear_error();
        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "%s: it is not the key of %s", key,
                        certificate);

    } else {
        cn_identity_validity(leaf, &identity->begins, &identity->expires);
        good = true;
    }

    X509_free(leaf);
    EVP_PKEY_free(pkey);

    return good ? CN_OK : CN_ERR_SYNTAX;
}


static cn_status_t
read_roots(const char *roots, cn_identity_t *identity, char error[CN_IDENTITY_ERROR_MAX])
{
    cn_status_t   status;
    X509         *root;

    if (roots == NULL) {
        return CN_OK;
    }

    status = cn_identity_read_pem(roots, false, &identity->roots_pem, error);

    if (status != CN_OK) {
        return status;
    }

    root = cn_identity_parse_cert(identity->roots_pem);

    if (root == NULL) {
        cn_identity_error(error, roots, "it holds no certificate");
        return CN_ERR_SYNTAX;
    }

    X509_free(root);

    return CN_OK;
}


static cn_status_t
read_own(const char *certificate, const char *key, cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX])
{
    cn_status_t  status = cn_identity_read_pem(certificate, false, &identity->chain_pem, error);

    if (status == CN_OK) {
        status = cn_identity_read_pem(key, false, &identity->key_pem, error);
    }

    return status != CN_OK ? status : check_leaf(certificate, key, identity, error);
}


cn_status_t
cn_identity_read_files(const char *certificate, const char *key, const char *roots,
    cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX])
{
    cn_status_t  status = CN_OK;

    *identity = (cn_identity_t) { .begins = 0 };
    ERR_clear_error();

    if (certificate != NULL) {
        status = read_own(certificate, key, identity, error);
    }

    if (status == CN_OK) {
        status = read_roots(roots, identity, error);
    }

    if (status != CN_OK) {
        cn_identity_wipe(identity);
    }

    return status;
}
