/* SPDX-License-Identifier: Apache-2.0 */

/* Files are read when asked, and when they have changed, also as Kubernetes changes them. */

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/loop.h"
#include "source/identity/files.h"
#include "stream/certs.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_US  10000000u

static cn_loop_t            *loop;
static cn_identity_files_t  *files;
static char                  top[64];
static test_ca_t             root, other_root;
static test_cert_t           first, second;
static unsigned              made, failures;
static cn_identity_t         identity;
static char                  why[CN_IDENTITY_ERROR_MAX];


static const char *
in_top(const char *name)
{
    static char      paths[4][256];
    static unsigned  next;
    char            *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", top, name);

    return path;
}


static void
put(const char *name, const char *text)
{
    FILE  *file = fopen(in_top(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}


static void
hear_made(void *owner, cn_identity_t *what)
{
    assert_ptr_equal(owner, top);
    cn_identity_wipe(&identity);
    identity = *what;
    *what = (cn_identity_t) { .begins = 0 };
    made++;
}


static void
hear_failed(void *owner, bool transient, const char *text)
{
    assert_ptr_equal(owner, top);
    assert_false(transient);
    snprintf(why, sizeof(why), "%s", text);
    failures++;
}


static const cn_maker_events_t  events = { .on_made = hear_made, .on_failed = hear_failed };


static void
turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t  until = cn_clock_us_now() + DEADLINE_US;

    while (*count < wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }

    assert_true(*count >= wanted);
}


static void
turn_for(uint64_t ms)
{
    uint64_t  until = cn_clock_us_now() + ms * 1000;

    while (cn_clock_us_now() < until) {
        cn_loop_turn(loop, 10);
    }
}


static void
open_files(bool roots_alone, const char *folder)
{
    char                 certificate[128], key[128], roots[128];
    cn_identity_paths_t  paths = {
        .certificate = roots_alone ? NULL : certificate,
        .key = roots_alone ? NULL : key,
        .roots = roots,
    };

    snprintf(certificate, sizeof(certificate), "%s%s/cert-chain.pem", top, folder);
    snprintf(key, sizeof(key), "%s%s/key.pem", top, folder);
    snprintf(roots, sizeof(roots), "%s%s/root-cert.pem", top, folder);
    files = cn_identity_files_open(loop, &paths, &events, top);
    assert_non_null(files);
}


static int
setup(void **state)
{
    static const test_leaf_t  leaf = {
        .uris = { CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/waypoint") },
    };

    (void) state;
    snprintf(top, sizeof(top), "/tmp/cairn-files-XXXXXX");
    loop = cn_loop_create();
    root = test_ca_create("root");
    other_root = test_ca_create("other root");
    first = test_issue(&root, &leaf);
    second = test_issue(&root, &leaf);
    made = failures = 0;
    files = NULL;

    return loop == NULL || mkdtemp(top) == NULL;
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
    cn_identity_files_close(files);
    cn_loop_turn(loop, 0);
    cn_loop_destroy(loop);
    cn_identity_wipe(&identity);
    test_ca_free(&root);
    test_ca_free(&other_root);
    test_cert_free(&first);
    test_cert_free(&second);

    return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}


static void
put_all(const char *folder, const test_cert_t *cert, const char *roots)
{
    char  name[64];

    snprintf(name, sizeof(name), "%scert-chain.pem", folder);
    put(name, cert->chain);
    snprintf(name, sizeof(name), "%skey.pem", folder);
    put(name, cert->key);
    snprintf(name, sizeof(name), "%sroot-cert.pem", folder);
    put(name, roots);
}


static void
they_are_read_when_asked(void **state)
{
    (void) state;
    put_all("", &first, root.pem);
    open_files(false, "");
    turn_for(100);
    assert_int_equal(made, 0);
    cn_identity_files_maker.ask(files);
    assert_int_equal(made, 0);
    turn_until(&made, 1);
    assert_true(cn_bytes_equal(identity.chain_pem, cn_bytes_str(first.chain)));
    assert_true(cn_bytes_equal(identity.key_pem, cn_bytes_str(first.key)));
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(root.pem)));
    assert_int_equal(identity.expires - identity.begins, 7200);

    cn_identity_files_maker.ask(files);     /* asked is answered, also with the same */
    turn_until(&made, 2);
    cn_identity_files_maker.ask(files);
    cn_identity_files_maker.cancel(files);
    turn_for(100);
    assert_int_equal(made, 2);
}


static void
what_has_changed_is_told_unasked(void **state)
{
    (void) state;
    put_all("", &first, root.pem);
    open_files(false, "");
    cn_identity_files_maker.ask(files);
    turn_until(&made, 1);

    put_all("", &second, root.pem);
    turn_until(&made, 2);
    assert_true(cn_bytes_equal(identity.chain_pem, cn_bytes_str(second.chain)));
    assert_true(cn_bytes_equal(identity.key_pem, cn_bytes_str(second.key)));

    put("root-cert.pem", other_root.pem);
    turn_until(&made, 3);
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(other_root.pem)));

    /* written again as it was, it is not told */
    put("root-cert.pem", other_root.pem);
    turn_for(800);
    assert_int_equal(made, 3);
    assert_int_equal(failures, 0);
}


static void
a_mounted_secret_that_is_turned_is_told(void **state)
{
    (void) state;
    assert_int_equal(mkdir(in_top("..v1"), 0755), 0);
    assert_int_equal(mkdir(in_top("..v2"), 0755), 0);
    put_all("..v1/", &first, root.pem);
    put_all("..v2/", &second, other_root.pem);
    assert_int_equal(symlink("..v1", in_top("..data")), 0);
    assert_int_equal(symlink("..data/cert-chain.pem", in_top("cert-chain.pem")), 0);
    assert_int_equal(symlink("..data/key.pem", in_top("key.pem")), 0);
    assert_int_equal(symlink("..data/root-cert.pem", in_top("root-cert.pem")), 0);
    open_files(false, "");
    cn_identity_files_maker.ask(files);
    turn_until(&made, 1);

    assert_int_equal(symlink("..v2", in_top("..data_tmp")), 0);
    assert_int_equal(rename(in_top("..data_tmp"), in_top("..data")), 0);
    turn_until(&made, 2);
    assert_true(cn_bytes_equal(identity.key_pem, cn_bytes_str(second.key)));
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(other_root.pem)));
    turn_for(400);
    assert_int_equal(made, 2);
    assert_int_equal(failures, 0);
}


static void
what_is_wrong_names_the_file(void **state)
{
    (void) state;
    put_all("", &first, root.pem);
    open_files(false, "");
    put("key.pem", second.key);
    turn_until(&failures, 1);
    assert_non_null(strstr(why, "key.pem: it is not the key of "));
    put("key.pem", first.key);
    turn_until(&made, 1);
    put("root-cert.pem", "nothing");
    turn_until(&failures, 2);
    assert_non_null(strstr(why, "root-cert.pem: it holds no certificate"));
    assert_int_equal(made, 1);
}


static void
roots_alone_are_watched_from_before_they_are_there(void **state)
{
    (void) state;
    open_files(true, "/istio");
    cn_identity_files_maker.ask(files);
    turn_until(&failures, 1);
    assert_non_null(strstr(why, "root-cert.pem: No such file"));

    assert_int_equal(mkdir(in_top("istio"), 0755), 0);
    put("istio/root-cert.pem", root.pem);
    turn_until(&made, 1);
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(root.pem)));
    assert_int_equal(identity.key_pem.len, 0);
    assert_int_equal(identity.chain_pem.len, 0);

    put("istio/root-cert.pem", other_root.pem);
    turn_until(&made, 2);
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(other_root.pem)));
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(they_are_read_when_asked),
        CASE(what_has_changed_is_told_unasked),
        CASE(a_mounted_secret_that_is_turned_is_told),
        CASE(what_is_wrong_names_the_file),
        CASE(roots_alone_are_watched_from_before_they_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
