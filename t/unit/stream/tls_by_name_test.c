/* SPDX-License-Identifier: Apache-2.0 */

/* A TLS client of servers outside the mesh: which it takes for whom they say they are. */

#include "stream/tls_internal.h"

#include "certs.h"
#include "pipe.h"
#include "recorder.h"

#define NAME     "istiod.istio-system.svc"
#define MESH_ID  "spiffe://cluster.local/ns/default/sa/waypoint"
#define TIMEOUT  20000

static cn_loop_t         *loop;
static test_ca_t          ca, other_ca;
static cn_tls_context_t  *client_context;


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
server_of(const test_ca_t *issuer, const test_leaf_t *leaf)
{
    test_cert_t        cert = test_issue(issuer, leaf);
    cn_tls_context_t  *context = create_context(&(cn_tls_identity_t) {
        .chain_pem = cn_bytes_str(cert.chain),
        .key_pem = cn_bytes_str(cert.key),
        .alpn = "h2",
        .outside = true,
    });

    test_cert_free(&cert);

    return context;
}


static cn_tls_context_t *
server_named(const char *dns)
{
    return server_of(&ca, &(test_leaf_t) { .dns = dns });
}


/* A workload of the mesh, which asks clients for a certificate of the mesh. */
static cn_tls_context_t *
mesh_context(void)
{
    static const cn_bytes_t  domain = CN_BYTES_INIT("cluster.local");
    const test_leaf_t        leaf = { .uris = { CN_BYTES_INIT(MESH_ID) }, .dns = NAME };
    test_cert_t              cert = test_issue(&ca, &leaf);
    cn_tls_context_t        *context = create_context(&(cn_tls_identity_t) {
        .chain_pem = cn_bytes_str(cert.chain),
        .key_pem = cn_bytes_str(cert.key),
        .roots_pem = cn_bytes_str(ca.pem),
        .trust_domains = &domain,
        .trust_domain_count = 1,
        .alpn = "h2",
        .require_peer = true,
    });

    test_cert_free(&cert);

    return context;
}


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    ca = test_ca_create("root");
    other_ca = test_ca_create("root");
    client_context = create_context(&(cn_tls_identity_t) {
        .roots_pem = cn_bytes_str(ca.pem), .alpn = "h2", .by_name = true,
    });

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_loop_turn(loop, 0);
    cn_tls_context_unref(client_context);
    test_ca_free(&ca);
    test_ca_free(&other_ca);
    cn_loop_destroy(loop);

    return 0;
}


typedef struct {
    pipe_end_t  pipe[2];
    recorder_t  server;
    recorder_t  client;
} pair_t;


static void
pair_open(pair_t *pair, cn_tls_context_t *server, cn_tls_context_t *client, const char *name)
{
    memset(pair, 0, sizeof(*pair));
    pipe_create(loop, pair->pipe);
    recorder_own(&pair->server, cn_tls_accept(&pair->pipe[0].stream, server, TIMEOUT));
    recorder_own(&pair->client, cn_tls_connect_to_server(&pair->pipe[1].stream, client,
                                                         cn_bytes_str(name), TIMEOUT));
}


static void
pair_clear(pair_t *pair)
{
    recorder_clear(loop, &pair->server);
    recorder_clear(loop, &pair->client);
    pipe_clear(pair->pipe);
}


static const struct {
    const char   *name;                 /* that is asked for */
    test_leaf_t   leaf;
    bool          other_issuer;
    const char   *failure;              /* part of what is told; NULL: it is accepted */
} servers[] = {
    { NAME, { .dns = NAME }, false, NULL },
    { NAME ".", { .dns = NAME }, false, NULL },
    { "ISTIOD.istio-system.svc", { .dns = NAME }, false, NULL },
    { NAME, { .dns = "*.istio-system.svc" }, false, NULL },
    { NAME, { .dns = NAME, .uris = { CN_BYTES_INIT(MESH_ID) } }, false, NULL },
    { "127.0.0.1", { .dns = NAME, .ip = "127.0.0.1" }, false, NULL },
    { "::1", { .ip = "::1" }, false, NULL },
    { NAME, { .dns = NAME, .usage = "serverAuth" }, false, NULL },
    { NAME, { .dns = "istiod.other.svc" }, false, "hostname mismatch" },
    { NAME, { .dns = "istiod.istio-system.svc.x" }, false, "hostname mismatch" },
    { NAME, { .dns = "*.svc" }, false, "hostname mismatch" },
    { NAME, { .dns = "istio*.istio-system.svc" }, false, "hostname mismatch" },
    { NAME, { .dns = NULL, .common_name = NAME }, false, "hostname mismatch" },
    { NAME, { .uris = { CN_BYTES_INIT(MESH_ID) } }, false, "hostname mismatch" },
    { "127.0.0.1", { .ip = "127.0.0.2" }, false, "IP address mismatch" },
    { "127.0.0.1", { .dns = "127.0.0.1" }, false, "IP address mismatch" },
    { NAME, { .dns = NAME }, true, "certificate refused: " },
    { NAME, { .dns = NAME, .ends_s = -60 }, false, "expired" },
    { NAME, { .dns = NAME, .begins_s = 600 }, false, "not yet valid" },
    { NAME, { .dns = NAME, .usage = "clientAuth" }, false, "purpose" },
};


static void
a_server_is_who_its_certificate_says(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(servers); i++) {
        cn_tls_context_t  *server = server_of(servers[i].other_issuer ? &other_ca : &ca,
                                              &servers[i].leaf);
        pair_t             pair;

        print_message("    %s, case %zu\n", servers[i].name, i);
        pair_open(&pair, server, client_context, servers[i].name);
        cn_stream_write(pair.client.stream, cn_slice_static(CN_BYTES("secret")));

        if (servers[i].failure == NULL) {
            WAIT_FOR(loop, pair.server.len == 6);
            assert_int_equal(cn_stream_info(pair.client.stream)->peer_principal.len, 0);

        } else {
            WAIT_FOR(loop, pair.server.closed && pair.client.closed);
            assert_string_equal(pair.client.log, "C");
            assert_int_equal(pair.client.reason, CN_CLOSE_TLS);
            assert_non_null(strstr(pair.client.failure, servers[i].failure));
            assert_int_equal(pair.server.len, 0);
        }

        pair_clear(&pair);
        cn_tls_context_unref(server);
    }
}


static void
a_name_is_sent_and_an_address_is_not(void **state)
{
    const test_leaf_t  leaf = { .dns = NAME, .ip = "127.0.0.1" };
    cn_tls_context_t  *server = server_of(&ca, &leaf);
    pair_t             pair;
    cn_bytes_t         sni;

    (void) state;

    pair_open(&pair, server, client_context, NAME ".");
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    sni = cn_stream_info(pair.server.stream)->sni;
    assert_true(cn_bytes_equal(sni, CN_BYTES(NAME)));
    assert_true(cn_bytes_equal(cn_stream_info(pair.client.stream)->alpn, CN_BYTES("h2")));
    pair_clear(&pair);

    pair_open(&pair, server, client_context, "127.0.0.1");
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    assert_int_equal(cn_stream_info(pair.server.stream)->sni.len, 0);
    pair_clear(&pair);
    cn_tls_context_unref(server);
}


/* One that has no TLS but the version. */
static cn_tls_context_t *
server_of_version(int version)
{
    cn_tls_context_t  *server = server_named(NAME);

    assert_int_equal(SSL_CTX_set_min_proto_version(server->ssl_ctx, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(server->ssl_ctx, version), 1);

    return server;
}


static void
tls_1_2_will_do(void **state)
{
    cn_tls_context_t  *server = server_of_version(TLS1_2_VERSION);
    const size_t       size = 300 * 1000;
    uint8_t           *big = pattern(size, 1);
    cn_slice_t         slice;
    pair_t             pair;

    (void) state;

    pair_open(&pair, server, client_context, NAME);
    pair.pipe[0].piece = 999;
    pair.pipe[1].piece = 999;
    WAIT_FOR(loop, pair.client.log[0] == 'O');
    assert_int_equal(SSL_version(((cn_tls_t *) pair.client.stream)->ssl), TLS1_2_VERSION);
    assert_int_equal(cn_slice_copy(cn_bytes(big, size), NULL, &slice), CN_OK);
    cn_stream_write(pair.client.stream, cn_slice_of(slice.buf, slice.ptr, slice.len));
    cn_stream_write(pair.server.stream, slice);
    WAIT_FOR(loop, pair.server.len == size && pair.client.len == size);
    assert_memory_equal(pair.server.bytes, big, size);
    assert_memory_equal(pair.client.bytes, big, size);
    WAIT_FOR(loop, pair.client.sent == size && pair.server.sent == size);
    cn_stream_end(pair.client.stream);
    cn_stream_end(pair.server.stream);
    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    assert_int_equal(pair.client.reason, CN_CLOSE_END);
    pair_clear(&pair);
    free(big);
    cn_tls_context_unref(server);
}


static void
tls_1_1_will_not(void **state)
{
    cn_tls_context_t  *server = server_of_version(TLS1_1_VERSION);
    pair_t             pair;

    (void) state;

    SSL_CTX_set_security_level(server->ssl_ctx, 0);
    pair_open(&pair, server, client_context, NAME);
    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    assert_string_equal(pair.client.log, "C");
    pair_clear(&pair);
    cn_tls_context_unref(server);
}


static void
the_own_certificate_is_shown_to_who_asks(void **state)
{
    const test_leaf_t   own = { .uris = { CN_BYTES_INIT("spiffe://cluster.local/ns/a/sa/b") } };
    cn_tls_context_t   *server = mesh_context();
    test_cert_t         cert = test_issue(&ca, &own);
    cn_tls_context_t   *client = create_context(&(cn_tls_identity_t) {
        .chain_pem = cn_bytes_str(cert.chain),
        .key_pem = cn_bytes_str(cert.key),
        .roots_pem = cn_bytes_str(ca.pem),
        .alpn = "h2",
        .by_name = true,
    });
    pair_t              pair;

    (void) state;

    assert_in_range(cn_tls_context_expires(client), cn_clock_wall_ms() / 1000 + 3500,
                    cn_clock_wall_ms() / 1000 + 3700);
    pair_open(&pair, server, client, NAME);
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    assert_true(cn_bytes_equal(cn_stream_info(pair.server.stream)->peer_principal, own.uris[0]));
    pair_clear(&pair);

    /* and without one it is the server that refuses */
    pair_open(&pair, server, client_context, NAME);
    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    assert_int_equal(pair.server.reason, CN_CLOSE_TLS);
    pair_clear(&pair);
    test_cert_free(&cert);
    cn_tls_context_unref(client);
    cn_tls_context_unref(server);
}


/* What would leave out the check of a name, or put it in the place of the mesh's. */
static void
the_two_kinds_of_client_cannot_be_mixed_up(void **state)
{
    cn_tls_context_t  *mesh = mesh_context();
    pair_t             pair;

    (void) state;

    memset(&pair, 0, sizeof(pair));
    pipe_create(loop, pair.pipe);
    assert_null(cn_tls_connect_to_server(&pair.pipe[1].stream, mesh, CN_BYTES(NAME), TIMEOUT));
    recorder_own(&pair.server, cn_tls_accept(&pair.pipe[0].stream, mesh, TIMEOUT));
    recorder_own(&pair.client, cn_tls_connect(&pair.pipe[1].stream, client_context, CN_BYTES_NONE,
                                              TIMEOUT));
    WAIT_FOR(loop, pair.client.closed);
    assert_int_equal(pair.client.reason, CN_CLOSE_TLS);
    assert_non_null(strstr(pair.client.failure, "no name to compare"));
    pair_clear(&pair);
    cn_tls_context_unref(mesh);
}


static void
what_is_no_name_is_refused(void **state)
{
    static char              long_name[255];
    static const cn_bytes_t  names[] = {
        CN_BYTES_INIT(""), CN_BYTES_INIT("a b"), CN_BYTES_INIT("a\0b"), CN_BYTES_INIT("*.svc"),
        CN_BYTES_INIT("a\n"), { (const uint8_t *) long_name, sizeof(long_name) },
    };
    pipe_end_t               pipe[2];

    (void) state;
    memset(long_name, 'a', sizeof(long_name));
    pipe_create(loop, pipe);

    for (size_t i = 0; i < CN_COUNT_OF(names); i++) {
        assert_null(cn_tls_connect_to_server(&pipe[1].stream, client_context, names[i], TIMEOUT));
    }

    pipe_clear(pipe);
}


static void
a_context_by_name_says_which_part_is_wrong(void **state)
{
    test_cert_t        cert = test_issue(&ca, &(test_leaf_t) { .dns = "a" });
    cn_tls_identity_t  no_roots = { .by_name = true };
    cn_tls_identity_t  no_key = {
        .by_name = true, .roots_pem = cn_bytes_str(ca.pem), .chain_pem = cn_bytes_str(cert.chain),
    };
    cn_tls_identity_t  no_chain = {
        .by_name = true, .roots_pem = cn_bytes_str(ca.pem), .key_pem = cn_bytes_str(cert.key),
    };
    const char        *error;

    (void) state;

    assert_null(cn_tls_context_create(&no_roots, &error));
    assert_non_null(strstr(error, "roots: "));
    assert_null(cn_tls_context_create(&no_key, &error));
    assert_non_null(strstr(error, "key: "));
    assert_null(cn_tls_context_create(&no_chain, &error));
    assert_non_null(strstr(error, "chain: "));
    test_cert_free(&cert);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_server_is_who_its_certificate_says),
        CASE(a_name_is_sent_and_an_address_is_not),
        CASE(tls_1_2_will_do),
        CASE(tls_1_1_will_not),
        CASE(the_own_certificate_is_shown_to_who_asks),
        CASE(the_two_kinds_of_client_cannot_be_mixed_up),
        CASE(what_is_no_name_is_refused),
        CASE(a_context_by_name_says_which_part_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
