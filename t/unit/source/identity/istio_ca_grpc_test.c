/* SPDX-License-Identifier: Apache-2.0 */

/* The client of Istio's CA over a gRPC channel of ours, to a server on loopback. */

#include "http/grpc_peer.h"

#include "base/clock.h"
#include "base/log.h"
#include "source/identity/answers.h"
#include "source/identity/istio_ca.h"

#include <stdio.h>
#include <unistd.h>

#define ID           "spiffe://cluster.local/ns/default/sa/waypoint"
#define FRAME_HEAD   5                  /* octets before a message */

static cn_loop_t      *loop;
static grpc_server_t   server;
static grpc_owner_t    owner;
static cn_rotation_t  *rotation;
static cn_istio_ca_t  *ca;
static test_ca_t       root;
static char            token_path[64];
static unsigned        identities, failures;
static char            why[CN_IDENTITY_ERROR_MAX];


static void
hear_identity(void *arg, const cn_identity_t *identity)
{
    (void) arg;
    assert_true(cn_bytes_equal(identity->roots_pem, cn_bytes_str(root.pem)));
    identities++;
}


static void
hear_failure(void *arg, const char *text)
{
    (void) arg;
    snprintf(why, sizeof(why), "%s", text);
    failures++;
}


static void
no_log(void *context, cn_bytes_t line)
{
    (void) context;
    (void) line;
}


static int
setup(void **state)
{
    (void) state;
    cn_log_open("test", no_log, NULL);
    loop = cn_loop_create();
    memset(&server, 0, sizeof(server));
    memset(&owner, 0, sizeof(owner));
    server.fd = -1;
    root = test_ca_create("root");
    identities = failures = 0;
    rotation = NULL;
    ca = NULL;
    snprintf(token_path, sizeof(token_path), "/tmp/cairn-ca-token-%ld", (long) getpid());

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_rotation_close(rotation);
    cn_istio_ca_close(ca);
    cn_grpc_channel_close(owner.channel);

    if (server.fd >= 0) {
        grpc_server_stop(&server);
    }

    assert_true(cn_loop_finish(loop, 5000));
    cn_loop_destroy(loop);
    test_ca_free(&root);
    (void) unlink(token_path);
    cn_log_open("test", NULL, NULL);

    return 0;
}


static void
put_token(const char *text)
{
    FILE  *file = fopen(token_path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}


static void
start(uint64_t deadline_ms)
{
    static const cn_rotation_events_t  events = {
        .on_identity = hear_identity, .on_failed = hear_failure,
    };
    cn_rotation_config_t  timing = cn_rotation_defaults();
    cn_istio_ca_config_t  config = {
        .transport = &cn_istio_ca_grpc,
        .spiffe_id = CN_BYTES(ID),
        .credentials = { .token_path = token_path, .cluster_id = CN_BYTES("Kubernetes") },
        .deadline_ms = deadline_ms,
    };

    timing.quick_ms = 10;
    timing.slow_min_ms = timing.slow_max_ms = 20;
    grpc_server_start(&server, loop, NULL);
    owner.addresses[0] = server.address;
    owner.count = 1;
    grpc_owner_start(&owner, loop, &(cn_grpc_config_t) {
        .authority = "istiod.istio-system.svc:15012", .backoff_min_ms = 20, .backoff_max_ms = 20,
    });
    config.channel = owner.channel;
    rotation = cn_rotation_create(loop, &timing, &events, NULL);
    assert_non_null(rotation);
    ca = cn_istio_ca_create(loop, &config, &cn_rotation_maker_events, rotation);
    assert_non_null(ca);
    cn_rotation_start(rotation, &cn_istio_ca_maker, ca);
}


/* What is left of the deadline when the request goes out. */
static unsigned long
told_timeout_ms(void)
{
    const char     *header = strstr(server.head, "\ngrpc-timeout: ");
    char           *end;
    unsigned long   ms;

    assert_non_null(header);
    ms = strtoul(header + sizeof("\ngrpc-timeout: ") - 1, &end, 10);
    assert_int_equal(*end, 'm');

    return ms;
}


/* The whole request is there. */
static void
await_request(unsigned number)
{
    GRPC_WAIT_FOR(loop, server.started == number && server.held != NULL && server.request_ended);
}


/* A certificate for the key that was sent. */
static void
answer(void)
{
    const test_leaf_t               leaf = { .uris = { CN_BYTES(ID) } };
    Cairn__IstioCertificateRequest  *request =
        cairn__istio_certificate_request__unpack(NULL, server.body_len - FRAME_HEAD,
                                                 (const uint8_t *) server.body + FRAME_HEAD);
    char                            *chain;
    cn_bytes_t                       message;
    uint8_t                          head[FRAME_HEAD] = { 0 };

    assert_non_null(request);
    assert_int_equal(request->validity_duration, 86400);
    chain = answer_sign(&root, cn_bytes(request->csr.data, request->csr.len), &leaf);
    message = answer_pack((const char *const []) { chain, root.pem, NULL });
    head[3] = (uint8_t) (message.len >> 8);
    head[4] = (uint8_t) message.len;
    grpc_server_head(&server, 200, "application/grpc");
    grpc_server_octets(&server, cn_bytes(head, sizeof(head)));
    grpc_server_octets(&server, message);
    grpc_server_end(&server, "0", NULL);
    unit_free(message);
    free(chain);
    cairn__istio_certificate_request__free_unpacked(request, NULL);
}


static void
a_certificate_comes_and_the_next_with_another_token(void **state)
{
    (void) state;
    put_token("first\n");
    start(0);
    await_request(1);
    assert_non_null(strstr(server.head, "POST http istiod.istio-system.svc:15012 "
                           "/istio.v1.auth.IstioCertificateService/CreateCertificate\n"));
    assert_non_null(strstr(server.head, "\nauthorization: Bearer first\nclusterid: Kubernetes\n"));
    assert_in_range(told_timeout_ms(), 1, 10000);
    answer();
    GRPC_WAIT_FOR(loop, identities == 1);

    put_token("second\n");
    cn_rotation_hurry(rotation);
    await_request(2);
    assert_non_null(strstr(server.head, "authorization: Bearer second\n"));
    answer();
    GRPC_WAIT_FOR(loop, identities == 2);
    assert_int_equal(failures, 0);
    assert_int_equal(owner.connected, 1);
}


static void
what_the_server_says_is_the_reason(void **state)
{
    (void) state;
    start(0);
    await_request(1);
    assert_null(strstr(server.head, "authorization"));
    grpc_server_head(&server, 200, "application/grpc");
    grpc_server_end(&server, "16", "request authenticate failure");
    GRPC_WAIT_FOR(loop, failures == 1);
    assert_string_equal(why, "the call ended: status=16 message=\"request authenticate failure\"");

    /* .. and asked again, it may do better */
    await_request(2);
    answer();
    GRPC_WAIT_FOR(loop, identities == 1);
}


static void
a_server_that_hangs_is_given_up(void **state)
{
    (void) state;
    start(200);
    await_request(1);
    assert_in_range(told_timeout_ms(), 1, 200);
    GRPC_WAIT_FOR(loop, failures == 1);
    assert_non_null(strstr(why, "the call ended: status=4 "));
    await_request(2);
    answer();
    GRPC_WAIT_FOR(loop, identities == 1);
}


static void
a_server_that_comes_back_is_found(void **state)
{
    (void) state;
    start(0);
    await_request(1);
    answer();
    GRPC_WAIT_FOR(loop, identities == 1);
    owner.count = 0;
    owner.no_address = "no such name";
    cn_session_close(server.session, CN_CLOSE_RESET);
    server.session = NULL;
    GRPC_WAIT_FOR(loop, owner.disconnected == 1);
    cn_rotation_hurry(rotation);
    GRPC_WAIT_FOR(loop, failures == 2);
    assert_non_null(strstr(why, "status=14 "));
    assert_non_null(strstr(why, "no such name"));
    owner.count = 1;
    await_request(2);
    answer();
    GRPC_WAIT_FOR(loop, identities == 2);
}


static void
closing_while_it_asks_leaves_nothing(void **state)
{
    (void) state;
    start(0);
    await_request(1);
    cn_rotation_close(rotation);
    rotation = NULL;
    GRPC_WAIT_FOR(loop, server.resets == 1);
    assert_int_equal(identities + failures, 0);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_certificate_comes_and_the_next_with_another_token),
        CASE(what_the_server_says_is_the_reason),
        CASE(a_server_that_hangs_is_given_up),
        CASE(a_server_that_comes_back_is_found),
        CASE(closing_while_it_asks_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
