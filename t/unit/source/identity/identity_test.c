/* SPDX-License-Identifier: Apache-2.0 */

/* Identities from files and from the development CA, in a directory of their own. */

#include "source/identity/identity.h"
#include "stream/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ID  "spiffe://cluster.local/ns/default/sa/reviews"

static char  top[64];
static char  error[CN_IDENTITY_ERROR_MAX];


static int
setup(void **state)
{
    (void) state;
    (void) snprintf(top, sizeof(top), "/tmp/cairn-identity-XXXXXX");
    error[0] = '\0';

    return mkdtemp(top) == NULL;
}


static int
remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void) info;
    (void) type;
    (void) at;

    return remove(path);
}


static int
teardown(void **state)
{
    (void) state;

    return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}


/* A path below the test's directory; good until the fourth call after it. */
static const char *
in_top(const char *name)
{
    static char      paths[4][256];
    static unsigned  next;
    char            *path = paths[next++ % 4];

    (void) snprintf(path, sizeof(paths[0]), "%s/%s", top, name);

    return path;
}


static const char *
put_file(const char *name, cn_bytes_t bytes)
{
    const char  *path = in_top(name);
    FILE        *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);

    return path;
}


static X509 *
cert_of(cn_bytes_t pem)
{
    BIO   *bio = BIO_new_mem_buf(pem.ptr, (int) pem.len);
    X509  *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    assert_non_null(cert);
    BIO_free(bio);

    return cert;
}


static cn_identity_ca_t *
open_ca(const char *name)
{
    cn_identity_ca_t  *ca = cn_identity_ca_open(in_top(name), error);

    if (ca == NULL) {
        fail_msg("%s", error);
    }

    return ca;
}


static mode_t
mode_of(const char *name)
{
    struct stat  info;

    assert_int_equal(stat(in_top(name), &info), 0);

    return info.st_mode & 07777;
}


static void
a_root_is_made_once_and_used_again(void **state)
{
    cn_identity_ca_t  *first, *second;
    X509              *root;
    int                days, seconds;

    (void) state;

    (void) umask(022);
    first = open_ca("deep/er/ca");
    assert_int_equal(mode_of("deep/er/ca"), 0700);
    assert_int_equal(mode_of("deep/er/ca/root.pem"), 0600);
    assert_int_equal(mode_of("deep/er/ca/root-cert.pem"), 0644);

    second = open_ca("deep/er/ca");
    assert_true(cn_bytes_equal(cn_identity_ca_root(first), cn_identity_ca_root(second)));

    root = cert_of(cn_identity_ca_root(first));
    assert_int_equal(X509_check_ca(root), 1);
    assert_int_equal(X509_verify(root, X509_get0_pubkey(root)), 1);
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(root)), 1);
    assert_in_range(days, 3648, 3650);
    X509_free(root);
    cn_identity_ca_close(first);
    cn_identity_ca_close(second);
}


static void
processes_that_make_it_at_once_agree(void **state)
{
    cn_identity_ca_t  *ca;
    int                ends[2];
    char               seen[8192] = { 0 };

    (void) state;

    assert_int_equal(pipe(ends), 0);

    for (int i = 0; i < 6; i++) {
        pid_t  pid = fork();

        assert_true(pid >= 0);

        if (pid == 0) {
            ca = cn_identity_ca_open(in_top("ca"), error);

            if (ca == NULL || write(ends[1], cn_identity_ca_root(ca).ptr, 200) != 200) {
                _exit(1);
            }

            _exit(0);
        }
    }

    for (int i = 0; i < 6; i++) {
        int  status;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }

    assert_int_equal(read(ends[0], seen, sizeof(seen)), 6 * 200);
    ca = open_ca("ca");

    for (int i = 0; i < 6; i++) {
        assert_memory_equal(seen + i * 200, cn_identity_ca_root(ca).ptr, 200);
    }

    cn_identity_ca_close(ca);
    (void) close(ends[0]);
    (void) close(ends[1]);
}


static void
a_leaf_is_what_a_mesh_peer_expects(void **state)
{
    cn_identity_ca_t  *ca = open_ca("ca");
    cn_identity_t      identity;
    X509              *leaf, *root;
    GENERAL_NAMES     *names;
    int                critical = 0;
    cn_bytes_t         uri;

    (void) state;

    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &identity, error), CN_OK);
    leaf = cert_of(identity.chain_pem);
    root = cert_of(identity.roots_pem);
    assert_int_equal(X509_verify(leaf, X509_get0_pubkey(root)), 1);
    assert_int_equal(X509_check_issued(root, leaf), X509_V_OK);

    names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
    assert_int_equal(critical, 1);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    assert_int_equal(sk_GENERAL_NAME_value(names, 0)->type, GEN_URI);
    uri = cn_bytes(ASN1_STRING_get0_data(sk_GENERAL_NAME_value(names, 0)->d.ia5),
                   (size_t) ASN1_STRING_length(sk_GENERAL_NAME_value(names, 0)->d.ia5));
    assert_true(cn_bytes_equal(uri, CN_BYTES(ID)));
    GENERAL_NAMES_free(names);

    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
    assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    assert_int_equal(X509_check_ca(leaf), 0);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(leaf)), 256);
    assert_int_equal(identity.expires - identity.begins, 24 * 3600 + 60);
    assert_in_range(identity.expires, (uint64_t) time(NULL) + 24 * 3600 - 60, (uint64_t) time(NULL) + 24 * 3600 + 60);

    X509_free(leaf);
    X509_free(root);
    cn_identity_wipe(&identity);
    assert_null(identity.key_pem.ptr);
    cn_identity_wipe(&identity);
    cn_identity_ca_close(ca);
}


static void
a_context_can_be_made_of_it(void **state)
{
    static const cn_bytes_t  domain = CN_BYTES_INIT("cluster.local");
    cn_identity_ca_t        *ca = open_ca("ca");
    cn_identity_t            made;
    const char              *why = NULL;
    cn_tls_identity_t        identity = { .trust_domains = &domain, .trust_domain_count = 1, .alpn = "h2" };
    cn_tls_context_t        *context;

    (void) state;

    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &made, error), CN_OK);
    identity.chain_pem = made.chain_pem;
    identity.key_pem = made.key_pem;
    identity.roots_pem = made.roots_pem;
    context = cn_tls_context_create(&identity, &why);
    assert_non_null(context);
    assert_true(cn_bytes_equal(cn_tls_context_principal(context), CN_BYTES(ID)));
    assert_int_equal(cn_tls_context_expires(context), made.expires);
    cn_tls_context_unref(context);
    cn_identity_wipe(&made);
    cn_identity_ca_close(ca);
}


static void
what_is_no_workloads_id_is_not_certified(void **state)
{
    static const cn_bytes_t  ids[] = {
        CN_BYTES_INIT(""),
        CN_BYTES_INIT("reviews"),
        CN_BYTES_INIT("spiffe://cluster.local"),
        CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/"),
        CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/a\0b"),
        CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/a,DNS:istiod"),
        CN_BYTES_INIT("https://cluster.local/ns/default/sa/a"),
    };
    cn_identity_ca_t        *ca = open_ca("ca");
    cn_identity_t            identity;

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(ids); i++) {
        error[0] = '\0';
        assert_int_equal(cn_identity_ca_issue(ca, ids[i], &identity, error), CN_ERR_SYNTAX);
        assert_null(identity.key_pem.ptr);
        assert_non_null(strstr(error, "it is no workload's SPIFFE id"));
    }

    cn_identity_ca_close(ca);
}


static void
refuses_root(const char *what)
{
    error[0] = '\0';
    assert_null(cn_identity_ca_open(in_top("ca"), error));
    assert_non_null(strstr(error, "ca/root.pem: "));
    assert_non_null(strstr(error, what));
}


static void
a_root_that_is_not_fit_is_refused_and_left(void **state)
{
    cn_identity_ca_t  *ca = open_ca("ca");
    cn_identity_t      leaf;

    (void) state;

    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &leaf, error), CN_OK);

    assert_int_equal(chmod(in_top("ca/root.pem"), 0640), 0);
    refuses_root("others than its owner may read it");
    assert_int_equal(chmod(in_top("ca/root.pem"), 0600), 0);

    (void) put_file("ca/root.pem", CN_BYTES("nonsense"));
    refuses_root("it must hold a certificate and its key");
    assert_int_equal(mode_of("ca/root.pem"), 0600);

    (void) put_file("ca/root.pem", CN_BYTES(""));
    refuses_root("it is empty");

    (void) put_file("ca/root.pem", cn_identity_ca_root(ca));
    refuses_root("it must hold a certificate and its key");

    char        both[16384];
    cn_bytes_t  root = cn_identity_ca_root(ca);

    memcpy(both, root.ptr, root.len);
    memcpy(both + root.len, leaf.key_pem.ptr, leaf.key_pem.len);
    (void) put_file("ca/root.pem", cn_bytes(both, root.len + leaf.key_pem.len));
    refuses_root("its key is not its certificate's");

    memcpy(both, leaf.chain_pem.ptr, leaf.chain_pem.len);
    memcpy(both + leaf.chain_pem.len, leaf.key_pem.ptr, leaf.key_pem.len);
    (void) put_file("ca/root.pem", cn_bytes(both, leaf.chain_pem.len + leaf.key_pem.len));
    refuses_root("its certificate is no CA's");

    cn_identity_wipe(&leaf);
    cn_identity_ca_close(ca);
}


static void
the_roots_certificate_follows_a_new_root(void **state)
{
    cn_identity_ca_t  *ca = open_ca("ca");
    cn_bytes_t         root;
    char               read_back[8192];
    FILE              *file;

    (void) state;

    cn_identity_ca_close(ca);
    assert_int_equal(unlink(in_top("ca/root.pem")), 0);
    ca = open_ca("ca");
    root = cn_identity_ca_root(ca);
    file = fopen(in_top("ca/root-cert.pem"), "r");
    assert_non_null(file);
    assert_int_equal(fread(read_back, 1, sizeof(read_back), file), root.len);
    assert_memory_equal(read_back, root.ptr, root.len);
    (void) fclose(file);
    cn_identity_ca_close(ca);
}


static void
files_are_read_and_belong_together(void **state)
{
    cn_identity_ca_t  *ca = open_ca("ca");
    cn_identity_t      made, read;

    (void) state;

    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &made, error), CN_OK);
    assert_int_equal(cn_identity_read_files(put_file("cert.pem", made.chain_pem), put_file("key.pem", made.key_pem),
                                            put_file("root.pem", made.roots_pem), &read, error), CN_OK);
    assert_true(cn_bytes_equal(read.chain_pem, made.chain_pem));
    assert_true(cn_bytes_equal(read.key_pem, made.key_pem));
    assert_true(cn_bytes_equal(read.roots_pem, made.roots_pem));
    assert_int_equal(read.expires, made.expires);
    assert_int_equal(read.begins, made.begins);
    cn_identity_wipe(&read);
    cn_identity_wipe(&made);
    cn_identity_ca_close(ca);
}


static void
an_error_names_the_file(void **state)
{
    static const struct {
        const char  *cert, *key, *root;
        const char  *text;
    } cases[] = {
        { "none.pem", "key.pem", "root.pem", "none.pem: No such file" },
        { "cert.pem", "none.pem", "root.pem", "none.pem: No such file" },
        { "cert.pem", "key.pem", "none.pem", "none.pem: No such file" },
        { "empty.pem", "key.pem", "root.pem", "empty.pem: it is empty" },
        { "cert.pem", "folder", "root.pem", "folder: it is not a file" },
        { "large.pem", "key.pem", "root.pem", "large.pem: it is larger than 1 MiB" },
        { "key.pem", "key.pem", "root.pem", "key.pem: it holds no certificate" },
        { "cert.pem", "cert.pem", "root.pem", "cert.pem: it holds no private key that can be read" },
        { "cert.pem", "locked.pem", "root.pem", "locked.pem: it holds no private key that can be read" },
        { "cert.pem", "other.pem", "root.pem", "other.pem: it is not the key of " },
        { "cert.pem", "key.pem", "key.pem", "key.pem: it holds no certificate" },
    };
    cn_identity_ca_t  *ca = open_ca("ca");
    cn_identity_t      made, other, read;
    char              *large = calloc(1, 1024 * 1024 + 1);
    EVP_PKEY          *key = EVP_EC_gen("P-256");
    FILE              *locked = fopen(in_top("locked.pem"), "w");

    (void) state;

    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &made, error), CN_OK);
    assert_int_equal(cn_identity_ca_issue(ca, CN_BYTES(ID), &other, error), CN_OK);
    assert_int_equal(mkdir(in_top("folder"), 0700), 0);
    assert_true(PEM_write_PrivateKey(locked, key, EVP_aes_128_cbc(), (const unsigned char *) "pw", 2, NULL, NULL));
    (void) fclose(locked);
    (void) put_file("cert.pem", made.chain_pem);
    (void) put_file("key.pem", made.key_pem);
    (void) put_file("other.pem", other.key_pem);
    (void) put_file("root.pem", made.roots_pem);
    (void) put_file("empty.pem", CN_BYTES(""));
    (void) put_file("large.pem", cn_bytes(large, 1024 * 1024 + 1));

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        error[0] = '\0';
        assert_int_not_equal(cn_identity_read_files(in_top(cases[i].cert), in_top(cases[i].key), in_top(cases[i].root),
                                                    &read, error), CN_OK);
        assert_null(read.key_pem.ptr);

        if (strstr(error, cases[i].text) == NULL) {
            fail_msg("said \"%s\" and not \"%s\"", error, cases[i].text);
        }

        assert_int_equal(ERR_peek_error(), 0);
    }

    cn_identity_wipe(&made);
    cn_identity_wipe(&other);
    cn_identity_ca_close(ca);
    EVP_PKEY_free(key);
    free(large);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_root_is_made_once_and_used_again),
        CASE(processes_that_make_it_at_once_agree),
        CASE(a_leaf_is_what_a_mesh_peer_expects),
        CASE(a_context_can_be_made_of_it),
        CASE(what_is_no_workloads_id_is_not_certified),
        CASE(a_root_that_is_not_fit_is_refused_and_left),
        CASE(the_roots_certificate_follows_a_new_root),
        CASE(files_are_read_and_belong_together),
        CASE(an_error_names_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
