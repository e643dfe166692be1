/* SPDX-License-Identifier: Apache-2.0 */

/*
 * development - a certificate authority in a directory.
 *
 * root.pem holds certificate and key together, so that it appears whole or not at all: it is
 * written under another name and linked to its own, which fails when another process was first;
 * then theirs is read.
 */

#include "source/identity/identity_internal.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/random.h"
#include "stream/spiffe.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROOT_NAME     "root.pem"
#define CERT_NAME     "root-cert.pem"
#define SUBJECT       "cairn development CA"
#define HOUR_S        3600
#define ROOT_LIFE_S   (10ll * 365 * 24 * HOUR_S)
#define LEAF_LIFE_S   (24ll * HOUR_S)
#define SKEW_S        60                /* a peer's clock may be that much behind */
#define SERIAL_LEN    16
#define DRAFT_MAX     (PATH_MAX + 48)

struct cn_identity_ca_s {
    X509       *cert;
    EVP_PKEY   *key;
    cn_bytes_t  root_pem;
};

/* What a kind of certificate says; NULL: that extension is not there. */
typedef struct {
    const char  *basic_constraints;
    const char  *key_usage;
    const char  *extended_usage;
    int64_t      life_s;
} profile_t;

static const profile_t  root_profile = {
    .basic_constraints = "critical,CA:TRUE",
    .key_usage         = "critical,keyCertSign,cRLSign",
    .life_s            = ROOT_LIFE_S,
};

static const profile_t  leaf_profile = {
    .basic_constraints = "critical,CA:FALSE",
    .key_usage         = "critical,digitalSignature",
    .extended_usage    = "serverAuth,clientAuth",
    .life_s            = LEAF_LIFE_S,
};


/* ---- certificates ---- */

static bool
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX       context;
    X509_EXTENSION  *extension;
    bool             good;

    if (value == NULL) {
        return true;
    }

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    good = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);

    return good;
}


static bool
add_uri(X509 *cert, cn_bytes_t uri)
{
    GENERAL_NAMES  *names = cn_identity_uri_names(uri);
    /* RFC 5280 4.2.1.6: critical, because the subject is empty */
    bool            good = names != NULL
        && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1;

    GENERAL_NAMES_free(names);

    return good;
}


static bool
set_serial(X509 *cert)
{
    uint8_t  octets[SERIAL_LEN];
    BIGNUM  *number;
    bool     good;

    cn_random_secret(octets, sizeof(octets));
    octets[0] = (uint8_t) ((octets[0] & 0x7f) | 0x40);      /* positive, and of one length */
    number = BN_bin2bn(octets, sizeof(octets), NULL);
    good = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);

    return good;
}


static bool
set_validity(X509 *cert, int64_t life_s)
{
    time_t  now = (time_t) (cn_clock_wall_ms() / 1000);

    return ASN1_TIME_adj(X509_getm_notBefore(cert), now, 0, -SKEW_S) != NULL
           && ASN1_TIME_adj(X509_getm_notAfter(cert), now, (int) (life_s / (24 * HOUR_S)),
                            0) != NULL;
}


static bool
set_root_name(X509 *cert)
{
    X509_NAME  *name = X509_get_subject_name(cert);

    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) SUBJECT,
                                      -1, -1, 0) == 1;
}


static bool
set_extensions(X509 *cert, X509 *signer, const profile_t *profile, cn_bytes_t uri)
{
    return extend(cert, signer, NID_basic_constraints, profile->basic_constraints)
           && extend(cert, signer, NID_key_usage, profile->key_usage)
           && extend(cert, signer, NID_ext_key_usage, profile->extended_usage)
           && extend(cert, signer, NID_subject_key_identifier, "hash")
           && extend(cert, signer, NID_authority_key_identifier, "keyid")
           && (uri.len == 0 || add_uri(cert, uri));
}


/* A signed certificate for key.  issuer NULL: by itself, a root.  NULL: memory. */
static X509 *
make_cert(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const profile_t *profile,
    cn_bytes_t uri)
{
    X509  *cert = X509_new();
    X509  *signer = issuer == NULL ? cert : issuer;

    if (cert != NULL
        && X509_set_version(cert, X509_VERSION_3) == 1
        && set_serial(cert)
        && set_validity(cert, profile->life_s)
        && X509_set_pubkey(cert, key) == 1
        && (issuer != NULL || set_root_name(cert))
        && X509_set_issuer_name(cert, X509_get_subject_name(signer)) == 1
        && set_extensions(cert, signer, profile, uri)
        && X509_sign(cert, issuer_key, EVP_sha256()) > 0)
    {
        return cert;
    }

    X509_free(cert);

    return NULL;
}


/* ---- the directory ---- */

/* mkdir -p. */
static bool
make_directory(const char *path)
{
    char  part[PATH_MAX];

    if (strlen(path) >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return false;
    }

    for (size_t i = 1; path[i] != '\0'; i++) {
        if (path[i] == '/') {
            memcpy(part, path, i);
            part[i] = '\0';

            if (mkdir(part, 0755) != 0 && errno != EEXIST) {
                return false;
            }
        }
    }

    return mkdir(path, 0700) == 0 || errno == EEXIST;
}


static bool
write_file(const char *path, mode_t mode, cn_bytes_t bytes)
{
    int      fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    ssize_t  part = 1;
    bool     good;

    if (fd < 0) {
        return false;
    }

    while (bytes.len > 0 && part > 0) {
        part = write(fd, bytes.ptr, bytes.len);
        bytes = part > 0 ? cn_bytes_from(bytes, (size_t) part) : bytes;
    }

    good = bytes.len == 0 && fsync(fd) == 0;

    return close(fd) == 0 && good;
}


static void
name_draft(const char *path, char draft[DRAFT_MAX])
{
    (void) snprintf(draft, DRAFT_MAX, "%s.%ld.%llx", path, (long) getpid(),
                    (unsigned long long) cn_random());
}


/* A file that appears whole; one that is there already is left, and that is success too. */
static bool
write_once(const char *path, mode_t mode, cn_bytes_t bytes)
{
    char  draft[DRAFT_MAX];
    bool  good;
    int   kept;

    name_draft(path, draft);
    good = write_file(draft, mode, bytes) && (link(draft, path) == 0 || errno == EEXIST);
    kept = errno;
    (void) unlink(draft);
    errno = kept;

    return good;
}


/* A file that is replaced whole. */
static bool
write_over(const char *path, mode_t mode, cn_bytes_t bytes)
{
    char  draft[DRAFT_MAX];
    int   kept;

    name_draft(path, draft);

    if (write_file(draft, mode, bytes) && rename(draft, path) == 0) {
        return true;
    }

    kept = errno;
    (void) unlink(draft);
    errno = kept;

    return false;
}


static const char *
make_root(const char *path)
{
    EVP_PKEY    *key = EVP_EC_gen("P-256");
    X509        *cert = key == NULL ? NULL
        : make_cert(key, NULL, key, &root_profile, CN_BYTES_NONE);
    cn_bytes_t   pem = cert == NULL ? CN_BYTES_NONE : cn_identity_print_pem(cert, key);
    const char  *wrong = NULL;

    if (pem.len == 0) {
        wrong = "out of memory";
    } else if (!write_once(path, 0600, pem)) {
        wrong = strerror(errno);
    }

    cn_identity_free_pem(&pem);
    X509_free(cert);
    EVP_PKEY_free(key);

    return wrong;
}


static const char *
check_root(cn_identity_ca_t *ca)
{
    uint64_t  begins, expires;

    if (ca->cert == NULL || ca->key == NULL) {
        return "it must hold a certificate and its key";
    }

    if (X509_check_private_key(ca->cert, ca->key) != 1) {
        return "its key is not its certificate's";
    }

    if (X509_check_ca(ca->cert) != 1) {
        return "its certificate is no CA's";
    }

    cn_identity_validity(ca->cert, &begins, &expires);

    if (expires <= cn_clock_wall_ms() / 1000 + LEAF_LIFE_S) {
        return "it ends within a day: remove it, and another will be made";
    }

    return NULL;
}


static cn_identity_ca_t *
load_root(const char *path, cn_bytes_t pem, char error[CN_IDENTITY_ERROR_MAX])
{
    cn_identity_ca_t  *ca = cn_alloc_zero(sizeof(*ca));
    const char        *wrong = "out of memory";

    if (ca != NULL) {
        ca->cert = cn_identity_parse_cert(pem);
        ca->key = cn_identity_parse_key(pem);
        wrong = check_root(ca);
    }

    if (wrong == NULL) {
        ca->root_pem = cn_identity_print_pem(ca->cert, NULL);
        wrong = ca->root_pem.len == 0 ? "out of memory" : NULL;
    }

    if (wrong != NULL) {
        cn_identity_error(error, path, wrong);
        cn_identity_ca_close(ca);
        return NULL;
    }

    return ca;
}


static cn_identity_ca_t *
open_root(const char *path, char error[CN_IDENTITY_ERROR_MAX])
{
    cn_bytes_t         pem;
    cn_status_t        status = cn_identity_read_pem(path, true, &pem, error);
    const char        *wrong;
    cn_identity_ca_t  *ca;

    if (status == CN_ERR_NOT_FOUND) {
        wrong = make_root(path);

        if (wrong != NULL) {
            cn_identity_error(error, path, wrong);
            return NULL;
        }

        status = cn_identity_read_pem(path, true, &pem, error);
    }

    if (status != CN_OK) {
        return NULL;
    }

    ca = load_root(path, pem, error);
    cn_identity_free_pem(&pem);

    return ca;
}


cn_identity_ca_t *
cn_identity_ca_open(const char *directory, char error[CN_IDENTITY_ERROR_MAX])
{
    char               path[PATH_MAX];
    cn_identity_ca_t  *ca;

    ERR_clear_error();

    if (strlen(directory) + sizeof("/" CERT_NAME) > sizeof(path)) {
        cn_identity_error(error, directory, strerror(ENAMETOOLONG));
        return NULL;
    }

    if (!make_directory(directory)) {
        cn_identity_error(error, directory, strerror(errno));
        return NULL;
    }

    (void) snprintf(path, sizeof(path), "%s/" ROOT_NAME, directory);
    ca = open_root(path, error);

    if (ca == NULL) {
        return NULL;
    }

    (void) snprintf(path, sizeof(path), "%s/" CERT_NAME, directory);

    if (!write_over(path, 0644, ca->root_pem)) {
        cn_identity_error(error, path, strerror(errno));
        cn_identity_ca_close(ca);
        return NULL;
    }

    return ca;
}


void
cn_identity_ca_close(cn_identity_ca_t *ca)
{
    if (ca == NULL) {
        return;
    }

    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    cn_identity_free_pem(&ca->root_pem);
    cn_free(ca);
}


cn_bytes_t
cn_identity_ca_root(const cn_identity_ca_t *ca)
{
    return ca->root_pem;
}


static cn_status_t
fill_identity(const cn_identity_ca_t *ca, X509 *cert, EVP_PKEY *key, cn_identity_t *identity)
{
    uint8_t  *roots = cn_alloc(ca->root_pem.len);

    identity->chain_pem = cn_identity_print_pem(cert, NULL);
    identity->key_pem = cn_identity_print_pem(NULL, key);

    if (roots != NULL) {
        memcpy(roots, ca->root_pem.ptr, ca->root_pem.len);
        identity->roots_pem = cn_bytes(roots, ca->root_pem.len);
    }

    if (roots == NULL || identity->chain_pem.len == 0 || identity->key_pem.len == 0) {
        cn_identity_wipe(identity);
        return CN_ERR_MEMORY;
    }

    cn_identity_validity(cert, &identity->begins, &identity->expires);

    return CN_OK;
}


cn_status_t
cn_identity_ca_issue(const cn_identity_ca_t *ca, cn_bytes_t spiffe_id, cn_identity_t *identity,
    char error[CN_IDENTITY_ERROR_MAX])
{
    cn_spiffe_t   parts;
    EVP_PKEY     *key;
    X509         *cert;
    cn_status_t   status = CN_ERR_MEMORY;

    *identity = (cn_identity_t) { .begins = 0 };

    if (cn_spiffe_parse(spiffe_id, &parts) != CN_OK) {
        char  escaped[256];

        (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "%s: it is no workload's SPIFFE id",
                        cn_bytes_escape(spiffe_id, escaped, sizeof(escaped)));
        return CN_ERR_SYNTAX;
    }

    key = EVP_EC_gen("P-256");
    cert = key == NULL ? NULL : make_cert(key, ca->cert, ca->key, &leaf_profile, spiffe_id);

    if (cert != NULL) {
        status = fill_identity(ca, cert, key, identity);
    }

    if (status != CN_OK) {
        cn_identity_error(error, "development CA", "the certificate cannot be made");
    }

    X509_free(cert);
    EVP_PKEY_free(key);

    return status;
}
