/* SPDX-License-Identifier: Apache-2.0 */

/*
 * gRPC calls of ours to a server that its own library's authors wrote: grpc_server.py beside this file, under the system's Python,
 * with and without TLS.  Without python3-grpcio (auto/deps installs it) it is skipped and says so.
 */

#include "stream/certs.h"

#include "grpc_peer.h"

#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON  "/usr/bin/python3"
#define SCRIPT  "t/unit/http/grpc_server.py"
#define NAME    "istiod.istio-system.svc"
#define CALL    "/test.Peer/"
#define MIB     (1u << 20)

static cn_loop_t     *loop;
static grpc_owner_t   owner;
static test_ca_t      ca, client_ca;

/* The server's process. */
static pid_t          child;
static int            to_child = -1, from_child = -1;


/* --- the process ----------------------------------------------------------------------------------------------- */

static void
run_child(char *const arguments[])
{
    int  in[2], out[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);

    if (child == 0) {
        (void) dup2(in[0], 0);
        (void) dup2(out[1], 1);
        (void) execv(arguments[0], arguments);
        _exit(127);
    }

    (void) close(in[0]);
    (void) close(out[1]);
    to_child = in[1];
    from_child = out[0];
}


/* The next line of what it writes; false: it has ended. */
static bool
child_line(char *line, size_t size)
{
    size_t  len = 0;

    while (len + 1 < size) {
        struct pollfd  ready = { .fd = from_child, .events = POLLIN };

        if (poll(&ready, 1, GRPC_WAIT_MS) != 1 || read(from_child, line + len, 1) != 1) {
            return false;
        }

        if (line[len++] == '\n') {
            break;
        }
    }

    line[len] = '\0';

    return true;
}


static int
end_child(void)
{
    int  status = -1;

    (void) close(to_child);             /* it ends with its input */

    for (int i = 0; i < 500 && waitpid(child, &status, WNOHANG) == 0; i++) {
        (void) poll(NULL, 0, 10);
    }

    if (status == -1) {
        (void) kill(child, SIGKILL);
        (void) waitpid(child, &status, 0);
    }

    (void) close(from_child);
    to_child = from_child = -1;
    child = 0;

    return status;
}


static bool
have_library(void)
{
    char *const  arguments[] = { PYTHON, "-c", "import grpc", NULL };

    if (access(PYTHON, X_OK) != 0) {
        return false;
    }

    run_child(arguments);

    return end_child() == 0;
}


/* What a file named so has; it is removed with the directory. */
static void
write_file(const char *directory, const char *name, const char *text, char path[256])
{
    FILE  *file;

    (void) snprintf(path, 256, "%s/%s", directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}


static void
start_server(bool tls, bool asks)
{
    const test_leaf_t  leaf = { .dns = NAME };
    test_cert_t        cert = test_issue(&ca, &leaf);
    char               directory[] = "/tmp/cairn-grpc-XXXXXX";
    char               key[256], chain[256], roots[256], line[64];
    char *const        plain[] = { PYTHON, SCRIPT, NULL };
    char *const        secure[] = { PYTHON, SCRIPT, key, chain, asks ? roots : NULL, NULL };
    unsigned           port = 0;
    bool               up;

    assert_non_null(mkdtemp(directory));
    write_file(directory, "key.pem", cert.key, key);
    write_file(directory, "chain.pem", cert.chain, chain);
    write_file(directory, "roots.pem", client_ca.pem, roots);
    test_cert_free(&cert);
    run_child(tls ? secure : plain);
    up = child_line(line, sizeof(line));
    (void) unlink(key);
    (void) unlink(chain);
    (void) unlink(roots);
    (void) rmdir(directory);
    assert_true(up);
    assert_int_equal(sscanf(line, "port %u", &port), 1);
    assert_in_range(port, 1, 65535);
    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &owner.addresses[0]), CN_OK);
    owner.addresses[0].port = (uint16_t) port;
    owner.count = 1;
}


/* --- the tests' frame ------------------------------------------------------------------------------------------ */

static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    memset(&owner, 0, sizeof(owner));
    ca = test_ca_create("server root");
    client_ca = test_ca_create("client root");

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_grpc_channel_close(owner.channel);
    assert_true(cn_loop_finish(loop, 5000));
    cn_loop_destroy(loop);
    test_ca_free(&ca);
    test_ca_free(&client_ca);

    return child == 0 || end_child() == 0 ? 0 : 1;
}


static cn_tls_context_t *
client_context(const test_ca_t *trusted, const test_cert_t *own)
{
    cn_tls_identity_t   identity = {
        .roots_pem = cn_bytes_str(trusted->pem), .alpn = "h2", .by_name = true,
    };
    const char         *error = NULL;
    cn_tls_context_t   *context;

    if (own != NULL) {
        identity.chain_pem = cn_bytes_str(own->chain);
        identity.key_pem = cn_bytes_str(own->key);
    }

    context = cn_tls_context_create(&identity, &error);

    if (context == NULL) {
        fail_msg("no context: %s", error);
    }

    return context;
}


static void
start_channel(const test_ca_t *trusted, const test_cert_t *own)
{
    cn_grpc_config_t  config = {
        .authority = NAME ":15012", .backoff_min_ms = 20, .message_max = 8 * MIB,
        .tls = trusted != NULL ? client_context(trusted, own) : NULL,
    };

    grpc_owner_start(&owner, loop, &config);
    cn_tls_context_unref(config.tls);
}


static void
call_once(grpc_caller_t *caller, const char *path, cn_bytes_t message, uint64_t deadline_ms)
{
    memset(caller, 0, sizeof(*caller));
    grpc_caller_start(caller, &owner, path, deadline_ms);
    grpc_caller_say(caller, message);
    grpc_caller_end(caller);
    GRPC_WAIT_FOR(loop, caller->over);
}


/* --- what is claimed ------------------------------------------------------------------------------------------- */

static void
unary_calls(void)
{
    grpc_caller_t  caller;
    uint8_t       *big = malloc(7 * MIB);

    assert_non_null(big);
    call_once(&caller, CALL "Echo", CN_BYTES("hello"), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.messages, 1);
    assert_string_equal(caller.last, "hello");

    call_once(&caller, CALL "Echo", CN_BYTES_NONE, 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.messages, 1);
    assert_int_equal(caller.octets, 0);

    for (size_t i = 0; i < 7 * MIB; i++) {
        big[i] = (uint8_t) (i * 2654435761u >> 11);
    }

    call_once(&caller, CALL "Echo", cn_bytes(big, 7 * MIB), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.octets, 7 * MIB);
    assert_true(caller.hash == grpc_hash(cn_bytes(big, 7 * MIB)));
    free(big);

    /* one octet over our limit, which is told by its length alone */
    call_once(&caller, CALL "Large", CN_BYTES("8388864"), 0);
    assert_int_equal(caller.status, CN_GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(caller.messages, 0);
    call_once(&caller, CALL "Large", CN_BYTES("8388608"), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.octets, 8 * MIB);
}


static void
statuses(void)
{
    grpc_caller_t  caller;
    char           request[64];

    for (int code = 1; code <= 16; code++) {
        int  len = snprintf(request, sizeof(request), "%d it is 100%% %d", code, code);

        call_once(&caller, CALL "Failing", cn_bytes(request, (size_t) len), 0);
        assert_int_equal(caller.status, code);
        (void) snprintf(request, sizeof(request), "it is 100%% %d", code);
        assert_string_equal(caller.text, request);
        assert_int_equal(caller.messages, 0);
    }

    call_once(&caller, CALL "Raising", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_UNKNOWN);
    assert_non_null(strstr(caller.text, "100% wrong: \xe4\xb8\x96"));
    call_once(&caller, CALL "Nothing", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_UNIMPLEMENTED);
    call_once(&caller, "/other.Service/Method", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_UNIMPLEMENTED);
}


static void
deadlines(void)
{
    grpc_caller_t  caller;

    call_once(&caller, CALL "Slow", CN_BYTES("2"), 100);
    assert_int_equal(caller.status, CN_GRPC_DEADLINE_EXCEEDED);
    call_once(&caller, CALL "Remaining", CN_BYTES("x"), 30000);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_in_range(atoi(caller.last), 20000, 30001);
}


static void
streams(void)
{
    grpc_caller_t  caller = { .call = NULL };

    call_once(&caller, CALL "Counting", CN_BYTES("2000"), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_int_equal(caller.messages, 2000);
    assert_string_equal(caller.last, "1999");

    memset(&caller, 0, sizeof(caller));
    grpc_caller_start(&caller, &owner, CALL "Echoing", 0);

    for (unsigned i = 0; i < 300; i++) {
        char  text[16];
        int   len = snprintf(text, sizeof(text), "%u", i);

        grpc_caller_say(&caller, cn_bytes(text, (size_t) len));
        GRPC_WAIT_FOR(loop, caller.messages == i + 1);
        assert_string_equal(caller.last, text);
    }

    grpc_caller_end(&caller);
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OK);

    /* the server ends one that we have not ended */
    memset(&caller, 0, sizeof(caller));
    grpc_caller_start(&caller, &owner, CALL "Echoing", 0);
    grpc_caller_say(&caller, CN_BYTES("one"));
    grpc_caller_say(&caller, CN_BYTES("enough"));
    GRPC_WAIT_FOR(loop, caller.over);
    assert_int_equal(caller.status, CN_GRPC_OUT_OF_RANGE);
    assert_string_equal(caller.text, "that is enough");
    assert_int_equal(caller.messages, 1);
    assert_int_equal(caller.opened, 1);

    /* we cancel one within its flood */
    memset(&caller, 0, sizeof(caller));
    caller.cancel_on_message = true;
    grpc_caller_start(&caller, &owner, CALL "Counting", 0);
    grpc_caller_say(&caller, CN_BYTES("1000000"));
    grpc_caller_end(&caller);
    GRPC_WAIT_FOR(loop, caller.messages == 1);
    call_once(&caller, CALL "Echo", CN_BYTES("after"), 0);
    assert_string_equal(caller.last, "after");
}


static void
compression_and_metadata(void)
{
    grpc_caller_t  caller;

    /* the library compresses where it is told to, also what nobody offered to read */
    call_once(&caller, CALL "Compressed", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_INTERNAL);
    assert_non_null(strstr(caller.text, "compressed"));
    assert_int_equal(caller.messages, 0);
    call_once(&caller, CALL "Metadata", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    assert_true(caller.hash == grpc_hash(CN_BYTES("user-agent=cairn/0.1.0\nauthorization=Bearer abc\n"
                                                  "clusterid=Kubernetes")));
}


static void
all_calls(void)
{
    unary_calls();
    statuses();
    deadlines();
    streams();
    compression_and_metadata();
    assert_int_equal(owner.connected, 1);
    assert_int_equal(owner.disconnected, 0);
}


static void
calls_in_plaintext(void **state)
{
    (void) state;
    start_server(false, false);
    start_channel(NULL, NULL);
    all_calls();
}


static void
calls_over_tls(void **state)
{
    (void) state;
    start_server(true, false);
    start_channel(&ca, NULL);
    all_calls();
}


static void
a_server_that_asks_for_a_certificate(void **state)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/waypoint") } };
    test_cert_t        own = test_issue(&client_ca, &leaf);
    grpc_caller_t      caller;

    (void) state;
    start_server(true, true);
    start_channel(&ca, NULL);
    call_once(&caller, CALL "Echo", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    cn_grpc_channel_close(owner.channel);
    start_channel(&ca, &own);
    call_once(&caller, CALL "Echo", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_OK);
    test_cert_free(&own);
}


static void
a_server_of_other_roots_is_refused(void **state)
{
    grpc_caller_t  caller;

    (void) state;
    start_server(true, false);
    start_channel(&client_ca, NULL);
    call_once(&caller, CALL "Echo", CN_BYTES("x"), 0);
    assert_int_equal(caller.status, CN_GRPC_UNAVAILABLE);
    assert_non_null(strstr(caller.text, "certificate refused: "));
}


static void
a_server_that_leaves_finishes_its_calls(void **state)
{
    grpc_caller_t  stream = { .call = NULL };
    char           line[64];

    (void) state;
    start_server(true, false);
    start_channel(&ca, NULL);
    grpc_caller_start(&stream, &owner, CALL "Echoing", 0);
    grpc_caller_say(&stream, CN_BYTES("before"));
    GRPC_WAIT_FOR(loop, stream.messages == 1);
    assert_int_equal(write(to_child, "leave\n", 6), 6);
    assert_true(child_line(line, sizeof(line)));
    assert_string_equal(line, "leaving\n");
    GRPC_WAIT_FOR(loop, owner.disconnected == 1);
    assert_non_null(strstr(owner.why, "the server goes away"));
    grpc_caller_say(&stream, CN_BYTES("after"));
    GRPC_WAIT_FOR(loop, stream.messages == 2);
    assert_string_equal(stream.last, "after");
    grpc_caller_end(&stream);
    GRPC_WAIT_FOR(loop, stream.over);
    assert_int_equal(stream.status, CN_GRPC_OK);
}


static void
a_server_that_dies_is_missed(void **state)
{
    grpc_caller_t  stream = { .call = NULL };
    int            status;

    (void) state;
    start_server(true, false);
    start_channel(&ca, NULL);
    grpc_caller_start(&stream, &owner, CALL "Echoing", 0);
    grpc_caller_say(&stream, CN_BYTES("before"));
    GRPC_WAIT_FOR(loop, stream.messages == 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    GRPC_WAIT_FOR(loop, stream.over);
    assert_int_equal(stream.status, CN_GRPC_UNAVAILABLE);
    assert_int_equal(owner.disconnected, 1);
    status = end_child();
    assert_true(WIFSIGNALED(status));

    /* and the next call learns that nobody is there */
    call_once(&stream, CALL "Echo", CN_BYTES("x"), 0);
    assert_int_equal(stream.status, CN_GRPC_UNAVAILABLE);
    assert_non_null(strstr(stream.text, "connect refused"));
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(calls_in_plaintext),
        CASE(calls_over_tls),
        CASE(a_server_that_asks_for_a_certificate),
        CASE(a_server_of_other_roots_is_refused),
        CASE(a_server_that_leaves_finishes_its_calls),
        CASE(a_server_that_dies_is_missed),
    };

    (void) signal(SIGPIPE, SIG_IGN);

    if (!have_library()) {
        printf("1..0 # SKIP " PYTHON " has no grpc: install python3-grpcio (auto/deps does)\n");
        return 0;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
