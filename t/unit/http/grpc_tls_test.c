/* SPDX-License-Identifier: Apache-2.0 */

/* gRPC channels over TLS: whom they take for their server. */

#include "stream/certs.h"

#include "grpc_peer.h"

#include "base/clock.h"

#define NAME  "istiod.istio-system.svc"

static cn_loop_t      *loop;
static grpc_server_t   server;
static grpc_owner_t    owner;
static test_ca_t       ca, other_ca;


static cn_tls_context_t *
create_context(const cn_tls_identity_t *identity)
{
    const char        *error = NULL;
    cn_tls_context_t  *context = cn_tls_context_create(identity, &error);

    if (context == NULL) {
        fail_msg("no context: %s", error);
    }

    return context;
}


static cn_tls_context_t *
server_context(const test_leaf_t *leaf, const char *alpn)
{
    test_cert_t        cert = test_issue(&ca, leaf);
    cn_tls_context_t  *context = create_context(&(cn_tls_identity_t) {
        .chain_pem = cn_bytes_str(cert.chain), .key_pem = cn_bytes_str(cert.key), .alpn = alpn, .outside = true,
    });

    test_cert_free(&cert);

    return context;
}


static cn_tls_context_t *
client_context(const test_ca_t *trusted)
{
    return create_context(&(cn_tls_identity_t) {
        .roots_pem = cn_bytes_str(trusted->pem), .alpn = "h2", .by_name = true,
    });
}


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    memset(&server, 0, sizeof(server));
    memset(&owner, 0, sizeof(owner));
    ca = test_ca_create("root");
    other_ca = test_ca_create("root");

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_grpc_channel_close(owner.channel);
    grpc_server_stop(&server);
    assert_true(cn_loop_finish(loop, 5000));
    cn_loop_destroy(loop);
    cn_tls_context_unref(server.tls);
    test_ca_free(&ca);
    test_ca_free(&other_ca);

    return 0;
}


/* A channel to a server with such a certificate. */
static void
start(const test_leaf_t *leaf, const char *alpn, const test_ca_t *trusted, const cn_grpc_config_t *config)
{
    cn_grpc_config_t  with = *config;

    grpc_server_start(&server, loop, server_context(leaf, alpn));
    owner.addresses[0] = server.address;
    owner.count = 1;
    with.tls = client_context(trusted);
    with.backoff_min_ms = 10;
    grpc_owner_start(&owner, loop, &with);
    cn_tls_context_unref(with.tls);             /* the channel keeps it */
}


static void
call_once(grpc_caller_t *caller)
{
    memset(caller, 0, sizeof(*caller));
    grpc_caller_start(caller, &owner, "/t/Echo", 0);
    grpc_caller_say(caller, CN_BYTES("hello"));
    grpc_caller_end(caller);
    GRPC_WAIT_FOR(loop, caller->over);
}


static void
a_call_goes_over_tls(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME };
    grpc_caller_t      caller;

    (void) state;
    start(&leaf, "h2", &ca, &(cn_grpc_config_t) { .authority = NAME ":15012" });
    call_once(&caller);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_string_equal(caller.last, "hello");
    assert_non_null(strstr(server.head, "POST https " NAME ":15012 /t/Echo\n"));
    assert_bytes(cn_session_info(server.session)->sni, NAME);
}


static void
the_name_may_be_another_than_the_authority(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME };
    grpc_caller_t      caller;

    (void) state;
    start(&leaf, "h2", &ca, &(cn_grpc_config_t) { .authority = "localhost:1", .server_name = NAME });
    call_once(&caller);
    assert_int_equal(caller.status, CN_GRPC_OK);
}


static void
an_address_is_a_name_too(void **state)
{
    const test_leaf_t  leaf = { .ip = "::1" };
    grpc_caller_t      caller;

    (void) state;
    start(&leaf, "h2", &ca, &(cn_grpc_config_t) { .authority = "[::1]:15012" });
    call_once(&caller);
    assert_int_equal(caller.status, CN_GRPC_OK);
}


/* The failure that a call and the channel's owner learn. */
static void
fails(const char *why)
{
    grpc_caller_t  caller;

    call_once(&caller);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    print_message("    %s\n", caller.text);
    assert_non_null(strstr(caller.text, why));
    assert_string_equal(owner.why, caller.text);
    assert_int_equal(owner.connected, 0);
    assert_int_equal(server.started, 0);
}


static void
a_server_of_another_name_is_refused(void **state)
{
    const test_leaf_t  leaf = { .dns = "istiod.other.svc" };

    (void) state;
    start(&leaf, "h2", &ca, &(cn_grpc_config_t) { .authority = NAME ":15012" });
    fails("certificate refused: hostname mismatch");
}


static void
a_server_of_other_roots_is_refused_until_they_are_ours(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME };
    cn_tls_context_t  *context;
    grpc_caller_t      caller;

    (void) state;
    start(&leaf, "h2", &other_ca, &(cn_grpc_config_t) { .authority = NAME ":15012" });
    fails("certificate refused: ");
    context = client_context(&ca);
    cn_grpc_channel_set_tls(owner.channel, context);
    cn_tls_context_unref(context);
    call_once(&caller);
    assert_int_equal(caller.status, CN_GRPC_OK);
}


static void
a_server_without_http_2_is_refused(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME };

    (void) state;
    start(&leaf, "http/1.1", &ca, &(cn_grpc_config_t) { .authority = NAME ":15012" });
    fails("did not choose HTTP/2");
}


static void
a_plaintext_server_is_refused(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME };
    cn_tls_context_t  *kept;

    (void) state;
    start(&leaf, "h2", &ca, &(cn_grpc_config_t) { .authority = NAME ":15012" });
    kept = server.tls;
    server.tls = NULL;
    fails("TLS");
    server.tls = kept;
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_call_goes_over_tls),
        CASE(the_name_may_be_another_than_the_authority),
        CASE(an_address_is_a_name_too),
        CASE(a_server_of_another_name_is_refused),
        CASE(a_server_of_other_roots_is_refused_until_they_are_ours),
        CASE(a_server_without_http_2_is_refused),
        CASE(a_plaintext_server_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
