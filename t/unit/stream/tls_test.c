/* SPDX-License-Identifier: Apache-2.0 */

/*
 * TLS streams against each other over a pipe in memory and over loopback, and against a plain OpenSSL client
 * where a peer must do what ours never does.
 */

#include "stream/tcp.h"
#include "stream/tls_internal.h"

#include "certs.h"
#include "pipe.h"
#include "recorder.h"

#include <openssl/err.h>

#include <malloc.h>

#define BIG      (10u * 1024 * 1024)
#define SERVER   "spiffe://cluster.local/ns/default/sa/waypoint"
#define CLIENT   "spiffe://cluster.local/ns/default/sa/sleep"
#define FOREIGN  "spiffe://other.example/ns/default/sa/sleep"
#define TIMEOUT  20000

#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN  1
#else
#define UNDER_ASAN  0
#endif

static cn_loop_t         *loop;
static test_ca_t          mesh_ca, other_ca;
static cn_tls_context_t  *server_context, *client_context;


static cn_tls_context_t *
context_of(const test_ca_t *issuer, const test_leaf_t *leaf, const test_ca_t *trusted, const char *alpn)
{
    static const cn_bytes_t  domains[] = { CN_BYTES_INIT("cluster.local"), CN_BYTES_INIT("td.alias") };
    test_cert_t              cert = test_issue(issuer, leaf);
    const char              *error = NULL;
    cn_tls_identity_t        identity = {
        .chain_pem = cn_bytes_str(cert.chain),
        .key_pem = cn_bytes_str(cert.key),
        .roots_pem = cn_bytes_str(trusted->pem),
        .trust_domains = domains,
        .trust_domain_count = 2,
        .alpn = alpn,
        .require_peer = true,
    };
    cn_tls_context_t        *context = cn_tls_context_create(&identity, &error);

    if (context == NULL) {
        fail_msg("no context: %s", error);
    }

    test_cert_free(&cert);

    return context;
}


static cn_tls_context_t *
context_named(const char *id)
{
    const test_leaf_t  leaf = { .uris = { cn_bytes_str(id) } };

    return context_of(&mesh_ca, &leaf, &mesh_ca, "h2");
}


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    mesh_ca = test_ca_create("mesh");
    other_ca = test_ca_create("mesh");
    server_context = context_named(SERVER);
    client_context = context_named(CLIENT);

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_loop_turn(loop, 0);
    cn_tls_context_unref(server_context);
    cn_tls_context_unref(client_context);
    test_ca_free(&mesh_ca);
    test_ca_free(&other_ca);
    cn_loop_destroy(loop);

    return 0;
}


/* Both ends of one connection. */
typedef struct {
    pipe_end_t  pipe[2];
    recorder_t  server;
    recorder_t  client;
} pair_t;


static void
pair_open_as(pair_t *pair, cn_tls_context_t *server, cn_tls_context_t *client, cn_bytes_t expected)
{
    memset(pair, 0, sizeof(*pair));
    pipe_create(loop, pair->pipe);
    recorder_own(&pair->server, cn_tls_accept(&pair->pipe[0].stream, server, TIMEOUT));
    recorder_own(&pair->client, cn_tls_connect(&pair->pipe[1].stream, client, expected, TIMEOUT));
}


static void
pair_open(pair_t *pair)
{
    pair_open_as(pair, server_context, client_context, CN_BYTES_NONE);
    WAIT_FOR(loop, pair->server.log[0] == 'O' && pair->client.log[0] == 'O');
}


static void
pair_clear(pair_t *pair)
{
    recorder_clear(loop, &pair->server);
    recorder_clear(loop, &pair->client);
    pipe_clear(pair->pipe);
}


static void
say(recorder_t *recorder, const char *text)
{
    cn_stream_write(recorder->stream, cn_slice_static(cn_bytes_str(text)));
}


/* Reads like an assertion: the bytes are this text. */
static void
heard(const recorder_t *recorder, const char *text)
{
    assert_int_equal(recorder->len, strlen(text));
    assert_memory_equal(recorder->bytes, text, recorder->len);
}


static void
equal_text(cn_bytes_t bytes, const char *text)
{
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.ptr, text, bytes.len);
}


static void
both_sides_learn_who_the_other_is(void **state)
{
    pair_t                   pair;
    const cn_stream_info_t  *info;

    (void) state;

    pair_open(&pair);
    info = cn_stream_info(pair.server.stream);
    assert_int_equal(info->kind, CN_STREAM_TLS);
    equal_text(info->peer_principal, CLIENT);
    equal_text(info->local_principal, SERVER);
    equal_text(info->alpn, "h2");
    assert_int_equal(info->sni.len, 0);
    assert_ptr_equal(info->trust_generation, server_context);

    info = cn_stream_info(pair.client.stream);
    equal_text(info->peer_principal, SERVER);
    equal_text(info->local_principal, CLIENT);
    equal_text(info->alpn, "h2");
    assert_string_equal(cn_tls_failure(pair.client.stream), "");

    say(&pair.client, "ping");
    WAIT_FOR(loop, pair.server.len == 4);
    say(&pair.server, "pong");
    WAIT_FOR(loop, pair.client.len == 4);
    heard(&pair.server, "ping");
    heard(&pair.client, "pong");
    WAIT_FOR(loop, pair.server.sent == 4 && pair.client.sent == 4);
    pair_clear(&pair);
}


static void
the_context_tells_its_own_identity(void **state)
{
    (void) state;

    equal_text(cn_tls_context_principal(server_context), SERVER);
    assert_in_range(cn_tls_context_expires(server_context), cn_clock_wall_ms() / 1000 + 3500,
                    cn_clock_wall_ms() / 1000 + 3700);
}


static void
it_works_in_pieces_of_one_byte(void **state)
{
    pair_t  pair;

    (void) state;

    pair_open_as(&pair, server_context, client_context, CN_BYTES_NONE);
    pair.pipe[0].piece = 1;
    pair.pipe[1].piece = 1;
    say(&pair.client, "written before the handshake");
    WAIT_FOR(loop, pair.server.len == 28);
    say(&pair.server, "answer");
    WAIT_FOR(loop, pair.client.len == 6);
    heard(&pair.server, "written before the handshake");
    heard(&pair.client, "answer");
    pair_clear(&pair);
}


/* Peers that a server must refuse, and a client too when it is the server that is so. */
static const struct {
    const char   *name;
    test_leaf_t   leaf;
    bool          other_issuer;
    const char   *failure;              /* part of what is told */
} bad_peers[] = {
    { "of a foreign trust domain", { .uris = { CN_BYTES_INIT(FOREIGN) } }, false, "it is of no trusted domain: " FOREIGN },
    { "with two URI names", { .uris = { CN_BYTES_INIT(CLIENT), CN_BYTES_INIT(FOREIGN) } }, false, "more than one URI name" },
    { "with the same URI name twice", { .uris = { CN_BYTES_INIT(CLIENT), CN_BYTES_INIT(CLIENT) } }, false,
      "more than one URI name" },
    { "with two extensions of names", { .uris = { CN_BYTES_INIT(CLIENT) }, .two_extensions = true }, false,
      "certificate refused: " },
    { "without a name", { .dns = NULL }, false, "no readable subject alternative name" },
    { "with a DNS name only", { .dns = "sleep.default.svc" }, false, "no URI name" },
    { "with a NUL in its name", { .uris = { CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/sleep\0.x") } }, false,
      "no workload's SPIFFE id" },
    { "of another path", { .uris = { CN_BYTES_INIT("spiffe://cluster.local/workload/sleep") } }, false,
      "no workload's SPIFFE id" },
    { "of another scheme", { .uris = { CN_BYTES_INIT("https://cluster.local/ns/default/sa/sleep") } }, false,
      "no workload's SPIFFE id" },
    { "of a domain that only begins like ours", { .uris = { CN_BYTES_INIT("spiffe://cluster.local.x/ns/a/sa/b") } }, false,
      "it is of no trusted domain" },
    { "whose time is over", { .uris = { CN_BYTES_INIT(CLIENT) }, .ends_s = -60 }, false, "expired" },
    { "whose time has not begun", { .uris = { CN_BYTES_INIT(CLIENT) }, .begins_s = 600 }, false, "not yet valid" },
    { "of another CA of the same name", { .uris = { CN_BYTES_INIT(CLIENT) } }, true, "certificate refused: " },
    { "that is for code signing", { .uris = { CN_BYTES_INIT(CLIENT) }, .usage = "codeSigning" }, false, "purpose" },
    { "that is a CA", { .uris = { CN_BYTES_INIT(CLIENT) }, .is_ca = true }, false, "it is a CA's" },
};


/* A context whose certificate is bad; it cannot be made of one that no context would take. */
static cn_tls_context_t *
bad_context(size_t i)
{
    test_leaf_t        own = { .uris = { CN_BYTES_INIT(CLIENT) } };
    cn_tls_context_t  *context = context_of(&mesh_ca, &own, &mesh_ca, "h2");
    test_cert_t        cert = test_issue(bad_peers[i].other_issuer ? &other_ca : &mesh_ca, &bad_peers[i].leaf);
    BIO               *bio = BIO_new_mem_buf(cert.chain, -1);
    X509              *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    EVP_PKEY          *key;

    BIO_free(bio);
    bio = BIO_new_mem_buf(cert.key, -1);
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_int_equal(SSL_CTX_use_cert_and_key(context->ssl_ctx, leaf, key, NULL, 1), 1);
    X509_free(leaf);
    EVP_PKEY_free(key);
    BIO_free(bio);
    test_cert_free(&cert);

    return context;
}


static void
a_server_refuses_each_bad_client(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bad_peers); i++) {
        cn_tls_context_t  *bad = bad_context(i);
        pair_t             pair;

        print_message("    a client %s\n", bad_peers[i].name);
        pair_open_as(&pair, server_context, bad, CN_BYTES_NONE);
        say(&pair.client, "let me in");
        WAIT_FOR(loop, pair.server.closed && pair.client.closed);
        assert_string_equal(pair.server.log, "C");
        assert_int_equal(pair.server.reason, CN_CLOSE_TLS);
        assert_non_null(strstr(pair.server.failure, bad_peers[i].failure));
        assert_int_equal(pair.server.len, 0);

        /* the client has an alert to tell why */
        assert_int_equal(pair.client.reason, CN_CLOSE_TLS);
        assert_non_null(strstr(pair.client.failure, "alert"));
        pair_clear(&pair);
        cn_tls_context_unref(bad);
    }
}


static void
a_client_refuses_each_bad_server(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(bad_peers); i++) {
        cn_tls_context_t  *bad = bad_context(i);
        pair_t             pair;

        print_message("    a server %s\n", bad_peers[i].name);
        pair_open_as(&pair, bad, client_context, CN_BYTES_NONE);
        say(&pair.client, "secret");
        WAIT_FOR(loop, pair.server.closed && pair.client.closed);
        assert_string_equal(pair.client.log, "C");
        assert_int_equal(pair.client.reason, CN_CLOSE_TLS);
        assert_non_null(strstr(pair.client.failure, bad_peers[i].failure));
        assert_int_equal(pair.server.len, 0);
        pair_clear(&pair);
        cn_tls_context_unref(bad);
    }
}


static void
a_client_may_ask_for_one_peer_alone(void **state)
{
    pair_t  pair;

    (void) state;

    /* twice each: the second time the chain is known already */
    for (int i = 0; i < 2; i++) {
        pair_open_as(&pair, server_context, client_context, CN_BYTES(SERVER));
        WAIT_FOR(loop, pair.client.log[0] == 'O');
        pair_clear(&pair);

        pair_open_as(&pair, server_context, client_context, CN_BYTES(SERVER "2"));
        WAIT_FOR(loop, pair.client.closed);
        assert_int_equal(pair.client.reason, CN_CLOSE_TLS);
        assert_non_null(strstr(pair.client.failure, "it is not the expected peer: " SERVER));
        pair_clear(&pair);
    }
}


static void
aliases_of_the_trust_domain_are_accepted(void **state)
{
    cn_tls_context_t  *alias = context_named("spiffe://td.alias/ns/a/sa/b");
    pair_t             pair;

    (void) state;

    pair_open_as(&pair, server_context, alias, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    pair_clear(&pair);
    cn_tls_context_unref(alias);
}


static void
application_protocols_must_meet(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(CLIENT) } };
    cn_tls_context_t  *other = context_of(&mesh_ca, &leaf, &mesh_ca, "istio");
    cn_tls_context_t  *none = context_of(&mesh_ca, &leaf, &mesh_ca, NULL);
    pair_t             pair;

    (void) state;

    pair_open_as(&pair, server_context, other, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    assert_int_equal(pair.server.reason, CN_CLOSE_TLS);
    assert_non_null(strstr(pair.client.failure, "no application protocol"));
    pair_clear(&pair);

    pair_open_as(&pair, server_context, none, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    assert_int_equal(cn_stream_info(pair.server.stream)->alpn.len, 0);
    pair_clear(&pair);
    cn_tls_context_unref(other);
    cn_tls_context_unref(none);
}


/* ---- a plain OpenSSL client over loopback ---- */

typedef struct {
    recorder_t   server;
    SSL_CTX     *ctx;
    SSL         *ssl;
    int          fd;
} plain_t;


static void
plain_open(plain_t *plain, int max_version, cn_tls_context_t *context, uint64_t timeout_ms)
{
    int           fds[2];
    cn_address_t  peer = { .port = 1 };

    memset(plain, 0, sizeof(*plain));
    loopback_pair(fds);
    recorder_own(&plain->server, cn_tls_accept(cn_tcp_accept(loop, fds[0], &peer, NULL), context, timeout_ms));
    plain->fd = fds[1];
    plain->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(plain->ctx, max_version);
    plain->ssl = SSL_new(plain->ctx);
    SSL_set_fd(plain->ssl, plain->fd);
    SSL_set_tlsext_host_name(plain->ssl, "waypoint.default");
    SSL_set_connect_state(plain->ssl);
}


/* One attempt, then a turn.  True when it is done or has failed. */
static bool
plain_handshake(plain_t *plain)
{
    int  result, error;

    ERR_clear_error();
    result = SSL_do_handshake(plain->ssl);
    error = SSL_get_error(plain->ssl, result);
    cn_loop_turn(loop, 1);

    return result == 1 || (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE);
}


static void
plain_use_identity(plain_t *plain)
{
    SSL_use_certificate(plain->ssl, SSL_CTX_get0_certificate(client_context->ssl_ctx));
    SSL_use_PrivateKey(plain->ssl, SSL_CTX_get0_privatekey(client_context->ssl_ctx));
}


static void
plain_clear(plain_t *plain)
{
    recorder_clear(loop, &plain->server);
    SSL_free(plain->ssl);
    SSL_CTX_free(plain->ctx);
    (void) close(plain->fd);
    ERR_clear_error();
}


static void
a_client_without_certificate_is_refused(void **state)
{
    plain_t  plain;
    char     got[8];

    (void) state;

    plain_open(&plain, TLS1_3_VERSION, server_context, TIMEOUT);
    WAIT_FOR(loop, plain_handshake(&plain));
    WAIT_FOR(loop, plain.server.closed);
    assert_int_equal(plain.server.reason, CN_CLOSE_TLS);
    assert_non_null(strstr(plain.server.failure, "did not return a certificate"));

    /* the alert is there although the connection was closed behind it */
    WAIT_FOR(loop, SSL_read(plain.ssl, got, sizeof(got)) <= 0 && ERR_peek_error() != 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
    plain_clear(&plain);
}


static void
an_older_version_is_refused(void **state)
{
    plain_t  plain;

    (void) state;

    plain_open(&plain, TLS1_2_VERSION, server_context, TIMEOUT);
    WAIT_FOR(loop, plain_handshake(&plain));
    WAIT_FOR(loop, plain.server.closed);
    assert_int_equal(plain.server.reason, CN_CLOSE_TLS);
    assert_int_equal(plain.server.len, 0);
    plain_clear(&plain);
}


static void
a_plain_peer_is_understood_and_gets_no_ticket(void **state)
{
    plain_t  plain;
    char     got[16];

    (void) state;

    plain_open(&plain, TLS1_3_VERSION, server_context, TIMEOUT);
    plain_use_identity(&plain);
    WAIT_FOR(loop, plain_handshake(&plain));
    WAIT_FOR(loop, plain.server.log[0] == 'O');
    equal_text(cn_stream_info(plain.server.stream)->sni, "waypoint.default");
    equal_text(cn_stream_info(plain.server.stream)->peer_principal, CLIENT);
    assert_string_equal(SSL_get_cipher(plain.ssl), "TLS_AES_128_GCM_SHA256");
    assert_int_equal(SSL_write(plain.ssl, "hi", 2), 2);
    say(&plain.server, "hello");
    WAIT_FOR(loop, SSL_read(plain.ssl, got, sizeof(got)) == 5);
    WAIT_FOR(loop, plain.server.len == 2);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(plain.ssl)), 0);
    plain_clear(&plain);
}


static void
a_silent_peer_is_given_up(void **state)
{
    plain_t   plain;
    uint64_t  start_us;

    (void) state;

    cn_loop_turn(loop, 0);              /* a timeout counts from the turn's own time */
    start_us = cn_clock_us();
    plain_open(&plain, TLS1_3_VERSION, server_context, 50);
    WAIT_FOR(loop, plain.server.closed);
    assert_int_equal(plain.server.reason, CN_CLOSE_TIMEOUT);
    assert_string_equal(plain.server.failure, "handshake failed: timeout");
    assert_true(cn_clock_us_now() - start_us >= 50000);
    plain_clear(&plain);
}


static void
a_flood_of_key_updates_is_a_limit(void **state)
{
    plain_t  plain;

    (void) state;

    plain_open(&plain, TLS1_3_VERSION, server_context, TIMEOUT);
    plain_use_identity(&plain);
    WAIT_FOR(loop, plain_handshake(&plain));

    /* a few are served */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(SSL_key_update(plain.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(plain.ssl, "x", 1), 1);
        WAIT_FOR(loop, plain.server.len == (size_t) i + 1);
    }

    for (int i = 0; i < 20000 && !plain.server.closed; i++) {
        (void) SSL_key_update(plain.ssl, SSL_KEY_UPDATE_REQUESTED);
        (void) SSL_write(plain.ssl, "x", 1);
        cn_loop_turn(loop, 0);
    }

    assert_true(plain.server.closed);
    assert_int_equal(plain.server.reason, CN_CLOSE_LIMIT);
    assert_string_equal(plain.server.failure, "limit reached: too many key updates");
    plain_clear(&plain);
}


static void
rubbish_is_refused(void **state)
{
    static const char  request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    plain_t            plain;

    (void) state;

    plain_open(&plain, TLS1_3_VERSION, server_context, TIMEOUT);
    assert_int_equal(send(plain.fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
    WAIT_FOR(loop, plain.server.closed);
    assert_int_equal(plain.server.reason, CN_CLOSE_TLS);
    plain_clear(&plain);
}


/* ---- ends ---- */

static void
each_direction_ends_on_its_own(void **state)
{
    pair_t  pair;

    (void) state;

    pair_open(&pair);
    say(&pair.client, "question");
    cn_stream_end(pair.client.stream);
    WAIT_FOR(loop, strcmp(pair.server.log, "ODE") == 0);
    settle(loop);
    assert_false(pair.server.closed || pair.client.closed);

    say(&pair.server, "answer");
    cn_stream_end(pair.server.stream);
    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    heard(&pair.server, "question");
    heard(&pair.client, "answer");
    assert_string_equal(pair.client.log, "OSDEC");
    assert_int_equal(pair.client.reason, CN_CLOSE_END);
    assert_int_equal(pair.server.reason, CN_CLOSE_END);
    pair_clear(&pair);
}


static void
an_ordinary_close_sends_what_is_queued_and_ends(void **state)
{
    pair_t    pair;
    uint8_t  *bytes = pattern(200000, 1);

    (void) state;

    pair_open(&pair);
    cn_stream_write(pair.server.stream, cn_slice_static(cn_bytes(bytes, 200000)));
    recorder_close(&pair.server, CN_CLOSE_LOCAL);
    WAIT_FOR(loop, strcmp(pair.client.log, "ODE") == 0);
    assert_int_equal(pair.client.len, 200000);
    assert_memory_equal(pair.client.bytes, bytes, 200000);
    pair_clear(&pair);
    free(bytes);
}


static void
an_end_without_close_notify_is_a_reset(void **state)
{
    pair_t  pair;

    (void) state;

    pair_open(&pair);
    say(&pair.client, "part of");
    WAIT_FOR(loop, pair.server.len == 7);
    pipe_end_op(&pair.pipe[1].stream);
    WAIT_FOR(loop, pair.server.closed);
    assert_string_equal(pair.server.log, "ODC");
    assert_int_equal(pair.server.reason, CN_CLOSE_RESET);
    pair_clear(&pair);
}


static void
a_spoilt_record_closes_and_delivers_nothing_of_it(void **state)
{
    pair_t       pair;
    cn_slice_t   slice;

    (void) state;

    pair_open(&pair);
    say(&pair.client, "good");
    WAIT_FOR(loop, pair.server.len == 4);

    pair.pipe[0].stalled = true;
    say(&pair.client, "spoilt");
    cn_loop_turn(loop, 0);
    cn_loop_turn(loop, 0);
    slice = cn_chain_first(&pair.pipe[0].in);
    assert_true(slice.len > 10);
    ((uint8_t *) (uintptr_t) slice.ptr)[8] ^= 1;
    pair.pipe[0].stalled = false;
    cn_loop_post(loop, CN_PHASE_READY, &pair.pipe[0].ready);

    WAIT_FOR(loop, pair.server.closed && pair.client.closed);
    heard(&pair.server, "good");
    assert_int_equal(pair.server.reason, CN_CLOSE_TLS);
    assert_non_null(strstr(pair.server.failure, "record failed: "));
    assert_non_null(strstr(pair.client.failure, "alert bad record mac"));
    pair_clear(&pair);
}


static void
no_event_follows_a_close_within_an_event(void **state)
{
    pair_t  pair;

    (void) state;

    pair_open_as(&pair, server_context, client_context, CN_BYTES_NONE);
    pair.server.close_on_opened = true;
    WAIT_FOR(loop, pair.server.closed);
    settle(loop);
    assert_string_equal(pair.server.log, "O");
    pair_clear(&pair);

    pair_open(&pair);
    pair.server.close_on_data = true;
    say(&pair.server, "queued");
    say(&pair.client, "data");
    WAIT_FOR(loop, pair.server.closed);
    settle(loop);
    assert_int_equal(pair.server.log[strlen(pair.server.log) - 1], 'D');
    assert_int_equal(pair.client.len, 6);
    pair_clear(&pair);
}


static void
a_call_raises_no_event_before_it_returns(void **state)
{
    pair_t  pair;

    (void) state;

    pair_open(&pair);
    pair.server.keep_credit = true;
    say(&pair.client, "x");
    cn_stream_end(pair.client.stream);
    WAIT_FOR(loop, strcmp(pair.server.log, "ODE") == 0);

    pair.server.in_call = true;
    say(&pair.server, "y");
    cn_stream_consumed(pair.server.stream, 1);
    cn_stream_end(pair.server.stream);
    pair.server.in_call = false;
    WAIT_FOR(loop, pair.server.closed);
    assert_string_equal(pair.server.log, "ODESC");
    pair_clear(&pair);
}


static void
a_handshake_cut_at_any_byte_closes_both_sides(void **state)
{
    size_t  total[2];
    pair_t  pair;

    (void) state;

    pair_open(&pair);
    settle(loop);
    total[0] = pair.pipe[0].delivered;
    total[1] = pair.pipe[1].delivered;
    pair_clear(&pair);

    for (int side = 0; side < 2; side++) {
        /* signatures differ in length by a few octets: another handshake may be that much shorter */
        for (size_t at = 0; at + 16 < total[side]; at++) {
            pair_open_as(&pair, server_context, client_context, CN_BYTES_NONE);
            pair.pipe[side].cut_at = at;
            WAIT_FOR(loop, pair.server.closed && pair.client.closed);
            assert_int_equal(pair.server.reason, CN_CLOSE_RESET);
            assert_int_equal(pair.client.reason, CN_CLOSE_RESET);
            assert_int_equal(pair.server.len + pair.client.len, 0);
            pair_clear(&pair);
        }
    }
}


/* ---- bytes ---- */

static void
small_writes_of_a_turn_share_a_record(void **state)
{
    pair_t  pair;
    size_t  before;

    (void) state;

    pair_open(&pair);
    settle(loop);
    before = pair.pipe[0].delivered;

    for (int i = 0; i < 100; i++) {
        say(&pair.client, "0123456789");
    }

    assert_int_equal(cn_stream_pending(pair.client.stream), 1000);
    WAIT_FOR(loop, pair.server.len == 1000);
    assert_int_equal(pair.pipe[0].delivered - before, 1000 + 22);
    WAIT_FOR(loop, pair.client.sent == 1000);
    assert_int_equal(cn_stream_pending(pair.client.stream), 0);
    pair_clear(&pair);
}


static void
records_are_filled(void **state)
{
    pair_t       pair;
    uint8_t     *bytes = pattern(160000, 2);
    size_t       before;

    (void) state;

    pair_open(&pair);
    settle(loop);
    before = pair.pipe[0].delivered;

    for (size_t at = 0; at < 160000; at += 1000) {
        cn_stream_write(pair.client.stream, cn_slice_static(cn_bytes(bytes + at, 1000)));
    }

    WAIT_FOR(loop, pair.server.len == 160000);
    assert_int_equal(pair.pipe[0].delivered - before, 160000 + 10 * 22);
    assert_memory_equal(pair.server.bytes, bytes, 160000);
    pair_clear(&pair);
    free(bytes);
}


static void
it_delivers_no_more_than_its_credit(void **state)
{
    pair_t    pair;
    uint8_t  *bytes = pattern(3 * CN_STREAM_WINDOW, 3);

    (void) state;

    pair_open(&pair);
    pair.server.keep_credit = true;
    cn_stream_write(pair.client.stream, cn_slice_static(cn_bytes(bytes, 3 * CN_STREAM_WINDOW)));
    cn_stream_end(pair.client.stream);
    WAIT_FOR(loop, pair.server.len == CN_STREAM_WINDOW);
    settle(loop);
    assert_int_equal(pair.server.len, CN_STREAM_WINDOW);
    cn_stream_consumed(pair.server.stream, 100);
    WAIT_FOR(loop, pair.server.len == CN_STREAM_WINDOW + 100);
    settle(loop);
    assert_int_equal(pair.server.len, CN_STREAM_WINDOW + 100);

    /* all has come and the client has gone; what waits is still delivered, and only then the end */
    recorder_close(&pair.client, CN_CLOSE_LOCAL);
    cn_stream_end(pair.server.stream);
    settle(loop);
    assert_string_equal(pair.server.log, "OD");
    pair.server.keep_credit = false;
    cn_stream_consumed(pair.server.stream, CN_STREAM_WINDOW);
    WAIT_FOR(loop, pair.server.closed);
    assert_string_equal(pair.server.log, "ODEC");
    assert_int_equal(pair.server.reason, CN_CLOSE_END);
    assert_int_equal(pair.server.len, 3 * CN_STREAM_WINDOW);
    assert_memory_equal(pair.server.bytes, bytes, 3 * CN_STREAM_WINDOW);
    pair_clear(&pair);
    free(bytes);
}


/* Over loopback both ways at once; each side gives credit back in its own time. */
static size_t  withheld;

static void
withhold(recorder_t *recorder, size_t len)
{
    (void) recorder;
    withheld += len;
}


static void
ten_megabytes_pass_both_ways_under_back_pressure(void **state)
{
    recorder_t     server = { .keep_credit = true, .on_data = withhold };
    recorder_t     client = { .len = 0 };
    int            fds[2];
    cn_address_t   peer = { .port = 1 };
    uint8_t       *up = pattern(BIG, 4), *down = pattern(BIG, 5);
    size_t         at = 0;

    (void) state;

    withheld = 0;
    loopback_pair(fds);
    recorder_own(&server, cn_tls_accept(cn_tcp_accept(loop, fds[0], &peer, NULL), server_context, TIMEOUT));
    recorder_own(&client, cn_tls_connect(cn_tcp_accept(loop, fds[1], &peer, NULL), client_context, CN_BYTES_NONE,
                                         TIMEOUT));

    for (size_t part = 1; at < BIG; at += part) {
        part = part * 3 % 70001;
        part = part < BIG - at ? part : BIG - at;
        cn_stream_write(client.stream, cn_slice_static(cn_bytes(up + at, part)));
        cn_stream_write(server.stream, cn_slice_static(cn_bytes(down + at, part)));
    }

    cn_stream_end(client.stream);
    cn_stream_end(server.stream);

    WAIT_FOR(loop, withheld == CN_STREAM_WINDOW);
    settle(loop);
    assert_int_equal(server.len, CN_STREAM_WINDOW);
    assert_true(cn_stream_pending(client.stream) > 0);

    while (!server.closed) {
        size_t  back = withheld < 50000 ? withheld : 50000;

        withheld -= back;

        if (back > 0) {
            cn_stream_consumed(server.stream, back);
        }

        cn_loop_turn(loop, 1);
    }

    WAIT_FOR(loop, client.closed);
    assert_int_equal(server.reason, CN_CLOSE_END);
    assert_int_equal(client.reason, CN_CLOSE_END);
    assert_int_equal(server.len, BIG);
    assert_int_equal(client.len, BIG);
    assert_memory_equal(server.bytes, up, BIG);
    assert_memory_equal(client.bytes, down, BIG);
    assert_int_equal(client.sent, BIG);
    assert_int_equal(server.sent, BIG);
    recorder_clear(loop, &server);
    recorder_clear(loop, &client);
    free(up);
    free(down);
}


/* ---- verified chains ---- */

static void
a_known_chain_is_not_verified_again(void **state)
{
    pair_t  pair;

    (void) state;

    for (size_t i = 0; i < 5; i++) {
        pair_open(&pair);
        equal_text(cn_stream_info(pair.server.stream)->peer_principal, CLIENT);
        equal_text(cn_stream_info(pair.client.stream)->peer_principal, SERVER);
        pair_clear(&pair);
        assert_int_equal(server_context->verified.misses, 1);
        assert_int_equal(server_context->verified.hits, i);
    }
}


static void
a_known_chain_is_refused_when_its_time_is_over(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(CLIENT) }, .ends_s = 3 };
    cn_tls_context_t  *brief = context_of(&mesh_ca, &leaf, &mesh_ca, "h2");
    pair_t             pair;
    bool               refused = false;
    size_t             good = 0;

    (void) state;

    for (uint64_t end_us = cn_clock_us_now() + WAIT_MS * 1000; !refused; ) {
        assert_true(cn_clock_us_now() < end_us);
        pair_open_as(&pair, server_context, brief, CN_BYTES_NONE);
        WAIT_FOR(loop, pair.server.log[0] != '\0');
        refused = pair.server.closed;
        good += !refused;

        if (refused) {
            assert_non_null(strstr(pair.server.failure, "expired"));
        }

        pair_clear(&pair);
        cn_loop_turn(loop, 20);
    }

    assert_true(good > 1);
    assert_true(server_context->verified.hits == good - 1);
    cn_tls_context_unref(brief);
}


static void
a_chain_known_as_a_clients_is_not_so_as_a_servers(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(CLIENT) }, .usage = "clientAuth" };
    cn_tls_context_t  *one_sided = context_of(&mesh_ca, &leaf, &mesh_ca, "h2");
    pair_t             pair;

    (void) state;

    pair_open_as(&pair, server_context, one_sided, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.server.log[0] == 'O');
    pair_clear(&pair);

    pair_open_as(&pair, one_sided, server_context, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.client.closed);
    assert_non_null(strstr(pair.client.failure, "purpose"));
    pair_clear(&pair);
    cn_tls_context_unref(one_sided);
}


static void
another_context_knows_nothing(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT(SERVER) } };
    cn_tls_context_t  *rotated;
    pair_t             pair;

    (void) state;

    pair_open(&pair);
    pair_clear(&pair);

    /* the trust bundle is now another CA's: the same client is not known any more */
    rotated = context_of(&mesh_ca, &leaf, &other_ca, "h2");
    pair_open_as(&pair, rotated, client_context, CN_BYTES_NONE);
    WAIT_FOR(loop, pair.server.closed);
    assert_int_equal(pair.server.reason, CN_CLOSE_TLS);
    pair_clear(&pair);
    cn_tls_context_unref(rotated);
}


/* ---- contexts ---- */

static const char *
create_error(const char *chain, const char *key, const char *roots, size_t domains)
{
    static const cn_bytes_t  domain = CN_BYTES_INIT("cluster.local");
    const char              *error = NULL;
    cn_tls_identity_t        identity = {
        .chain_pem = cn_bytes_str(chain), .key_pem = cn_bytes_str(key), .roots_pem = cn_bytes_str(roots),
        .trust_domains = &domain, .trust_domain_count = domains, .alpn = "h2",
    };

    assert_null(cn_tls_context_create(&identity, &error));
    assert_non_null(error);

    return error;
}


static void
a_context_says_which_part_is_wrong(void **state)
{
    const test_leaf_t  good_leaf = { .uris = { CN_BYTES_INIT(CLIENT) } };
    const test_leaf_t  two = { .uris = { CN_BYTES_INIT(CLIENT), CN_BYTES_INIT(FOREIGN) } };
    test_cert_t        good = test_issue(&mesh_ca, &good_leaf), other = test_issue(&mesh_ca, &good_leaf);
    test_cert_t        twice = test_issue(&mesh_ca, &two);
    char               broken[4096];

    (void) state;

    assert_non_null(strstr(create_error("", good.key, mesh_ca.pem, 1), "chain: "));
    assert_non_null(strstr(create_error(twice.chain, twice.key, mesh_ca.pem, 1), "chain: it has more than one URI name"));
    assert_non_null(strstr(create_error(mesh_ca.pem, good.key, mesh_ca.pem, 1), "chain: it has no readable"));
    assert_non_null(strstr(create_error(good.chain, "nonsense", mesh_ca.pem, 1), "key: it cannot be read"));
    assert_non_null(strstr(create_error(good.chain, other.key, mesh_ca.pem, 1), "key: it does not match"));
    assert_non_null(strstr(create_error(good.chain, good.key, "", 1), "roots: there is no certificate"));
    assert_non_null(strstr(create_error(good.chain, good.key, mesh_ca.pem, 0), "trust domains: "));

    (void) snprintf(broken, sizeof(broken), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                    mesh_ca.pem);
    assert_non_null(strstr(create_error(good.chain, good.key, broken, 1), "roots: cannot be read"));
    (void) snprintf(broken, sizeof(broken), "%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                    good.chain);
    assert_non_null(strstr(create_error(broken, good.key, mesh_ca.pem, 1), "chain: an intermediate"));
    assert_int_equal(ERR_peek_error(), 0);
    test_cert_free(&good);
    test_cert_free(&other);
    test_cert_free(&twice);
}


static void
an_idle_connection_is_small(void **state)
{
    enum { COUNT = 100 };
    pair_t  *pairs = calloc(COUNT, sizeof(pair_t));
    size_t   before, each;

    (void) state;

    assert_non_null(pairs);
    pair_open(&pairs[0]);
    before = mallinfo2().uordblks;

    for (size_t i = 1; i < COUNT; i++) {
        pair_open(&pairs[i]);
        say(&pairs[i].client, "x");
        WAIT_FOR(loop, pairs[i].server.len == 1);
    }

    each = (mallinfo2().uordblks - before) / (2 * (COUNT - 1));
    print_message("    %zu bytes of heap an idle connection\n", each);
    assert_true(UNDER_ASAN || (each > 1000 && each < 60000));

    for (size_t i = 0; i < COUNT; i++) {
        pair_clear(&pairs[i]);
    }

    free(pairs);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(both_sides_learn_who_the_other_is),
        CASE(the_context_tells_its_own_identity),
        CASE(it_works_in_pieces_of_one_byte),
        CASE(a_server_refuses_each_bad_client),
        CASE(a_client_refuses_each_bad_server),
        CASE(a_client_may_ask_for_one_peer_alone),
        CASE(aliases_of_the_trust_domain_are_accepted),
        CASE(application_protocols_must_meet),
        CASE(a_client_without_certificate_is_refused),
        CASE(an_older_version_is_refused),
        CASE(a_plain_peer_is_understood_and_gets_no_ticket),
        CASE(a_silent_peer_is_given_up),
        CASE(a_flood_of_key_updates_is_a_limit),
        CASE(rubbish_is_refused),
        CASE(each_direction_ends_on_its_own),
        CASE(an_ordinary_close_sends_what_is_queued_and_ends),
        CASE(an_end_without_close_notify_is_a_reset),
        CASE(a_spoilt_record_closes_and_delivers_nothing_of_it),
        CASE(no_event_follows_a_close_within_an_event),
        CASE(a_call_raises_no_event_before_it_returns),
        CASE(a_handshake_cut_at_any_byte_closes_both_sides),
        CASE(small_writes_of_a_turn_share_a_record),
        CASE(records_are_filled),
        CASE(it_delivers_no_more_than_its_credit),
        CASE(ten_megabytes_pass_both_ways_under_back_pressure),
        CASE(a_known_chain_is_not_verified_again),
        CASE(a_known_chain_is_refused_when_its_time_is_over),
        CASE(a_chain_known_as_a_clients_is_not_so_as_a_servers),
        CASE(another_context_knows_nothing),
        CASE(a_context_says_which_part_is_wrong),
        CASE(an_idle_connection_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
