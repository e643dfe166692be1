/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The client of Istio's CA, over a transport in memory: what it asks, what it makes of the answers,
 * and under a rotation.
 */

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/loop.h"
#include "source/identity/answers.h"
#include "source/identity/istio_ca.h"
#include "stream/tls.h"

#include <stdio.h>
#include <unistd.h>

#define ID           "spiffe://cluster.local/ns/default/sa/waypoint"
#define DEADLINE_US  10000000u
#define HEADERS_MAX  8

/* What the CA at the other end does with the next call. */
typedef enum { ISSUE, SAY_STATUS, SAY_NOTHING, SAY_TWICE, SAY_AND_FAIL, STRANGE_KEY, HANG } deed_t;

struct cn_grpc_call_s {
    const cn_grpc_call_events_t  *events;
    void                         *owner;
    cn_task_t                     answer;
    Cairn__IstioCertificateRequest  *request;
    bool                          running;
    bool                          ended;
};

static cn_loop_t            *loop;
static cn_istio_ca_t        *ca;
static test_ca_t             root;
static deed_t                deed;
static cn_grpc_status_t      status_said;
static struct cn_grpc_call_s call;
static bool                  no_memory;
static unsigned              calls, cancelled;
static char                  headers[1024];         /* of the last call: "NAME: VALUE\n" each */
static uint64_t              deadline_ms;
static char                  token_path[64];
static char                  log_text[8192];

/* What the maker told. */
static unsigned              made, failures;
static cn_identity_t         identity;
static bool                  was_transient;
static char                  why[1024];


/* ---- the other end ---- */

static void
send_chain(cn_bytes_t csr_pem)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES(ID) } };
    char              *chain = answer_sign(&root, csr_pem, &leaf);
    const char        *elements[] = { chain, root.pem, NULL };
    cn_bytes_t         message = answer_pack(elements);

    call.events->on_message(call.owner, message);
    unit_free(message);
    free(chain);
}


static void
send_strange_key(void)
{
    const test_leaf_t  leaf = { .uris = { CN_BYTES(ID) } };
    test_cert_t        cert = test_issue(&root, &leaf);
    const char        *elements[] = { cert.chain, root.pem, NULL };
    cn_bytes_t         message = answer_pack(elements);

    call.events->on_message(call.owner, message);
    unit_free(message);
    test_cert_free(&cert);
}


static void
end_call(cn_grpc_status_t status, const char *message)
{
    cairn__istio_certificate_request__free_unpacked(call.request, NULL);
    call.request = NULL;
    call.running = false;
    call.events->on_status(call.owner, status, cn_bytes_str(message));
}


static void
give_answer(cn_task_t *task)
{
    cn_bytes_t  csr = cn_bytes(call.request->csr.data, call.request->csr.len);

    (void) task;
    assert_true(call.ended);

    switch (deed) {
    case ISSUE:
        send_chain(csr);
        end_call(CN_GRPC_OK, "");
        return;
    case SAY_STATUS:
        end_call(status_said, "request authenticate failure\x1b[1m");
        return;
    case SAY_NOTHING:
        end_call(CN_GRPC_OK, "");
        return;
    case SAY_TWICE:
        send_chain(csr);
        send_chain(csr);
        end_call(CN_GRPC_OK, "");
        return;
    case SAY_AND_FAIL:
        send_chain(csr);
        end_call(CN_GRPC_INTERNAL, "after all");
        return;
    case STRANGE_KEY:
        send_strange_key();
        end_call(CN_GRPC_OK, "");
        return;
    case HANG:
        return;
    }
}


static cn_grpc_call_t *
fake_start(cn_grpc_channel_t *channel, const char *path, const cn_grpc_metadata_t *metadata,
    size_t count, uint64_t deadline, const cn_grpc_call_events_t *events, void *owner)
{
    size_t  len = 0;

    assert_ptr_equal(channel, &loop);
    assert_string_equal(path, "/istio.v1.auth.IstioCertificateService/CreateCertificate");
    assert_true(count <= HEADERS_MAX);
    assert_false(call.running);

    if (no_memory) {
        return NULL;
    }

    headers[0] = '\0';

    for (size_t i = 0; i < count; i++) {
        len += (size_t) snprintf(headers + len, sizeof(headers) - len, "%.*s: %.*s\n",
                                 CN_BYTES_ARG(metadata[i].name), CN_BYTES_ARG(metadata[i].value));
    }

    deadline_ms = deadline;
    call = (struct cn_grpc_call_s) { .events = events, .owner = owner, .running = true,
                                     .answer = { .run = give_answer } };
    calls++;

    return &call;
}


static cn_status_t
fake_send(cn_grpc_call_t *to, cn_bytes_t message)
{
    assert_ptr_equal(to, &call);
    assert_null(call.request);
    call.request = cairn__istio_certificate_request__unpack(NULL, message.len, message.ptr);
    assert_non_null(call.request);

    return CN_OK;
}


static void
fake_end(cn_grpc_call_t *to)
{
    assert_ptr_equal(to, &call);
    call.ended = true;
    cn_loop_post(loop, CN_PHASE_READY, &call.answer);
}


static void
fake_cancel(cn_grpc_call_t *to)
{
    assert_ptr_equal(to, &call);
    assert_true(call.running);
    cn_task_cancel(&call.answer);
    cairn__istio_certificate_request__free_unpacked(call.request, NULL);
    call.request = NULL;
    call.running = false;
    cancelled++;
}


static const cn_istio_ca_transport_t  fake = {
    .start = fake_start, .send = fake_send, .end = fake_end, .cancel = fake_cancel,
};


/* ---- our end ---- */

static void
hear_made(void *owner, cn_identity_t *what)
{
    assert_ptr_equal(owner, why);
    cn_identity_wipe(&identity);
    identity = *what;
    *what = (cn_identity_t) { .begins = 0 };
    made++;
}


static void
hear_failed(void *owner, bool transient, const char *text)
{
    assert_ptr_equal(owner, why);
    failures++;
    was_transient = transient;
    snprintf(why, sizeof(why), "%s", text);
}


static const cn_maker_events_t  maker_events = { .on_made = hear_made, .on_failed = hear_failed };


static void
hear_log(void *context, cn_bytes_t line)
{
    size_t  len = strlen(log_text);

    (void) context;
    snprintf(log_text + len, sizeof(log_text) - len, "%.*s", CN_BYTES_ARG(line));
}


static cn_istio_ca_config_t
config_of(cn_key_kind_t kind)
{
    static const cn_grpc_metadata_t  more[] = {
        { CN_BYTES_INIT("x-tenant"), CN_BYTES_INIT("blue") },
    };

    return (cn_istio_ca_config_t) {
        .transport = &fake,
        .channel = (cn_grpc_channel_t *) (void *) &loop,
        .spiffe_id = CN_BYTES(ID),
        .key = { .kind = kind },
        .credentials = {
            .token_path = token_path,
            .cluster_id = CN_BYTES("Kubernetes"),
            .headers = more,
            .header_count = CN_COUNT_OF(more),
        },
    };
}


static void
open_ca(const cn_istio_ca_config_t *config)
{
    cn_istio_ca_close(ca);
    ca = cn_istio_ca_create(loop, config, &maker_events, why);
    assert_non_null(ca);
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
turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t  until = cn_clock_us_now() + DEADLINE_US;

    while (*count < wanted && cn_clock_us_now() < until) {
        cn_loop_turn(loop, 20);
    }

    assert_int_equal(*count, wanted);
}


/* One asking, of which nothing is told within the call. */
static void
ask(const unsigned *count)
{
    unsigned  before = *count;

    cn_istio_ca_maker.ask(ca);
    assert_int_equal(*count, before);
    turn_until(count, before + 1);
}


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();
    snprintf(token_path, sizeof(token_path), "/tmp/cairn-token-%ld", (long) getpid());
    root = test_ca_create("root");
    deed = ISSUE;
    no_memory = false;
    calls = cancelled = made = failures = 0;
    ca = NULL;
    log_text[0] = '\0';
    cn_log_open("test", hear_log, NULL);

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_istio_ca_close(ca);
    cn_identity_wipe(&identity);
    test_ca_free(&root);
    (void) unlink(token_path);
    cn_loop_destroy(loop);
    cn_log_open("test", NULL, NULL);

    return 0;
}


static void
a_ca_makes_an_identity(void **state)
{
    static const cn_key_kind_t  kinds[] = { CN_KEY_P256, CN_KEY_P384, CN_KEY_RSA };
    cn_bytes_t                  domain = CN_BYTES("cluster.local");

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(kinds); i++) {
        cn_istio_ca_config_t   config = config_of(kinds[i]);
        cn_tls_identity_t      tls = { .trust_domains = &domain, .trust_domain_count = 1 };
        cn_tls_context_t      *context;
        const char            *wrong = NULL;

        open_ca(&config);
        ask(&made);
        tls.chain_pem = identity.chain_pem;
        tls.key_pem = identity.key_pem;
        tls.roots_pem = identity.roots_pem;
        context = cn_tls_context_create(&tls, &wrong);
        assert_null(wrong);
        assert_bytes(cn_tls_context_principal(context), ID);
        assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(root.pem)));
        cn_tls_context_unref(context);
    }

    assert_int_equal(failures, 0);
}


static void
the_request_says_what_istiod_reads(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);

    (void) state;
    deed = HANG;
    open_ca(&config);
    cn_istio_ca_maker.ask(ca);
    assert_int_equal(calls, 1);
    assert_int_equal(deadline_ms, 10000);
    assert_true(call.request->has_validity_duration);
    assert_int_equal(call.request->validity_duration, 86400);
    assert_int_equal(call.request->metadata->n_fields, 1);
    assert_bytes(cn_bytes(call.request->metadata->fields[0]->key.data,
                          call.request->metadata->fields[0]->key.len), "CertSigner");
    assert_int_equal(call.request->metadata->fields[0]->value->kind_case,
                     CAIRN__VALUE__KIND_STRING_VALUE);
    assert_int_equal(call.request->metadata->fields[0]->value->string_value.len, 0);
    assert_true(cn_bytes_starts_with(cn_bytes(call.request->csr.data, call.request->csr.len),
                                     CN_BYTES("-----BEGIN CERTIFICATE REQUEST-----\n")));

    config.signer = CN_BYTES("signers.example/mesh");
    config.lifetime_s = 3600;
    config.deadline_ms = 500;
    open_ca(&config);
    assert_int_equal(cancelled, 1);         /* by the closing of the one before */
    cn_istio_ca_maker.ask(ca);
    assert_int_equal(deadline_ms, 500);
    assert_int_equal(call.request->validity_duration, 3600);
    assert_bytes(cn_bytes(call.request->metadata->fields[0]->value->string_value.data,
                          call.request->metadata->fields[0]->value->string_value.len),
                 "signers.example/mesh");
}


static void
the_token_is_read_anew_for_each_call(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);
    static char           long_token[17000];

    (void) state;
    open_ca(&config);
    put_token("first.token");
    ask(&made);
    assert_string_equal(headers, "authorization: Bearer first.token\nclusterid: Kubernetes\n"
                        "x-tenant: blue\n");
    put_token(" second.token\r\n\n");
    ask(&made);
    assert_string_equal(headers, "authorization: Bearer second.token\nclusterid: Kubernetes\n"
                        "x-tenant: blue\n");
    assert_string_equal(log_text, "");

    /* without a file there is no header, and the CA is asked nevertheless */
    assert_int_equal(unlink(token_path), 0);
    ask(&made);
    assert_string_equal(headers, "clusterid: Kubernetes\nx-tenant: blue\n");
    assert_string_equal(log_text, "");

    /* what is no token is not sent either */
    put_token("\n");
    ask(&made);
    assert_string_equal(headers, "clusterid: Kubernetes\nx-tenant: blue\n");
    assert_non_null(strstr(log_text, "ask without a token: reason=\""));
    put_token("a\nx-injected: b");
    ask(&made);
    assert_string_equal(headers, "clusterid: Kubernetes\nx-tenant: blue\n");
    memset(long_token, 'a', sizeof(long_token) - 1);
    put_token(long_token);
    ask(&made);
    assert_string_equal(headers, "clusterid: Kubernetes\nx-tenant: blue\n");
    assert_null(strstr(log_text, "x-injected"));

    put_token("third.token");
    ask(&made);
    assert_non_null(strstr(headers, "authorization: Bearer third.token\n"));

    config.credentials.token_path = NULL;
    config.credentials.cluster_id = CN_BYTES_NONE;
    config.credentials.header_count = 0;
    open_ca(&config);
    ask(&made);
    assert_string_equal(headers, "");
}


static void
each_call_has_a_key_of_its_own(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);
    cn_bytes_t            first;

    (void) state;
    open_ca(&config);
    ask(&made);
    first = unit_copy(identity.key_pem);
    ask(&made);
    assert_false(cn_bytes_equal(first, identity.key_pem));
    unit_free(first);
}


static void
other_roots_are_trusted_besides(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);
    test_ca_t             other = test_ca_create("other");

    (void) state;
    open_ca(&config);
    assert_int_equal(cn_istio_ca_set_roots(ca, cn_bytes_str(other.pem)), CN_OK);
    ask(&made);
    assert_true(cn_bytes_starts_with(identity.roots_pem, cn_bytes_str(root.pem)));
    assert_true(cn_bytes_ends_with(identity.roots_pem, cn_bytes_str(other.pem)));
    assert_int_equal(cn_istio_ca_set_roots(ca, CN_BYTES_NONE), CN_OK);
    ask(&made);
    assert_true(cn_bytes_equal(identity.roots_pem, cn_bytes_str(root.pem)));
    test_ca_free(&other);
}


static void
what_the_ca_says_is_told(void **state)
{
    static const struct {
        cn_grpc_status_t  status;
        bool              transient;
    } cases[] = {
        { CN_GRPC_CANCELLED, true },
        { CN_GRPC_DEADLINE_EXCEEDED, true },
        { CN_GRPC_RESOURCE_EXHAUSTED, true },
        { CN_GRPC_ABORTED, true },
        { CN_GRPC_INTERNAL, true },
        { CN_GRPC_UNAVAILABLE, true },
        { CN_GRPC_UNKNOWN, false },
        { CN_GRPC_INVALID_ARGUMENT, false },
        { CN_GRPC_PERMISSION_DENIED, false },
        { CN_GRPC_UNIMPLEMENTED, false },
        { CN_GRPC_UNAUTHENTICATED, false },
        { (cn_grpc_status_t) 99, false },
    };
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);
    char                  text[128];

    (void) state;
    deed = SAY_STATUS;
    open_ca(&config);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        status_said = cases[i].status;
        ask(&failures);
        snprintf(text, sizeof(text),
                 "the call ended: status=%d message=\"request authenticate failure\\x1b[1m\"",
                 (int) cases[i].status);
        assert_string_equal(why, text);
        assert_int_equal(was_transient, cases[i].transient);
    }

    assert_int_equal(made, 0);
}


static void
what_cannot_be_used_is_refused(void **state)
{
    static const struct {
        deed_t       deed;
        const char  *text;
        bool         transient;
    } cases[] = {
        { SAY_NOTHING, "the CA sent no response", true },
        { SAY_TWICE, "the CA's response is refused: there are several", false },
        { SAY_AND_FAIL, "the call ended: status=13 message=\"after all\"", true },
        { STRANGE_KEY, "the CA's response is refused: key: it does not match", false },
    };
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);

    (void) state;
    open_ca(&config);

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        deed = cases[i].deed;
        ask(&failures);
        assert_non_null(strstr(why, cases[i].text));
        assert_int_equal(was_transient, cases[i].transient);
    }

    assert_int_equal(made, 0);
    deed = ISSUE;
    ask(&made);                             /* nothing of them is left */
}


static void
a_call_that_cannot_be_started_is_told(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);

    (void) state;
    no_memory = true;
    open_ca(&config);
    ask(&failures);
    assert_string_equal(why, "out of memory");
    no_memory = false;

    config.spiffe_id = CN_BYTES("waypoint");
    open_ca(&config);
    ask(&failures);
    assert_string_equal(why, "waypoint: it is no workload's SPIFFE id");
    assert_int_equal(calls, 0);
}


static void
nothing_follows_a_cancel(void **state)
{
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);

    (void) state;
    open_ca(&config);
    cn_istio_ca_maker.ask(ca);
    cn_istio_ca_maker.cancel(ca);
    assert_int_equal(cancelled, 1);
    cn_istio_ca_maker.cancel(ca);           /* there is none */
    no_memory = true;
    cn_istio_ca_maker.ask(ca);
    cn_istio_ca_maker.cancel(ca);
    cn_loop_turn(loop, 20);
    cn_loop_turn(loop, 20);
    assert_int_equal(made + failures, 0);
    assert_int_equal(cancelled, 1);
}


/* ---- under a rotation ---- */

static unsigned       identities, told_failures;
static cn_rotation_t *rotation;


static void
hear_identity(void *owner, const cn_identity_t *what)
{
    (void) owner;
    assert_true(what->key_pem.len > 0);
    identities++;
}


static void
hear_failure(void *owner, const char *text)
{
    (void) owner;
    snprintf(why, sizeof(why), "%s", text);
    told_failures++;
}


static void
a_rotation_gets_what_the_ca_gives_at_last(void **state)
{
    static const cn_rotation_events_t  events = {
        .on_identity = hear_identity, .on_failed = hear_failure,
    };
    cn_rotation_config_t  timing = cn_rotation_defaults();
    cn_istio_ca_config_t  config = config_of(CN_KEY_P256);

    (void) state;
    identities = told_failures = 0;
    timing.quick_ms = 5;
    timing.slow_min_ms = timing.slow_max_ms = 10;
    timing.attempt_ms = 100;
    rotation = cn_rotation_create(loop, &timing, &events, NULL);
    assert_non_null(rotation);
    ca = cn_istio_ca_create(loop, &config, &cn_rotation_maker_events, rotation);
    assert_non_null(ca);

    deed = SAY_STATUS;
    status_said = CN_GRPC_UNAVAILABLE;
    cn_rotation_start(rotation, &cn_istio_ca_maker, ca);
    turn_until(&told_failures, 2);
    assert_non_null(strstr(why, "status=14"));

    deed = HANG;
    turn_until(&told_failures, 3);
    assert_string_equal(why, "no answer within 100 ms");
    assert_int_equal(cancelled, 1);

    put_token("fresh");
    deed = ISSUE;
    turn_until(&identities, 1);
    assert_non_null(strstr(headers, "Bearer fresh\n"));
    assert_null(strstr(log_text, "fresh"));
    cn_rotation_hurry(rotation);
    turn_until(&identities, 2);

    deed = HANG;
    cn_rotation_hurry(rotation);
    cn_loop_turn(loop, 0);
    cn_rotation_close(rotation);
    assert_int_equal(cancelled, 2);
}


#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        CASE(a_ca_makes_an_identity),
        CASE(the_request_says_what_istiod_reads),
        CASE(the_token_is_read_anew_for_each_call),
        CASE(each_call_has_a_key_of_its_own),
        CASE(other_roots_are_trusted_besides),
        CASE(what_the_ca_says_is_told),
        CASE(what_cannot_be_used_is_refused),
        CASE(a_call_that_cannot_be_started_is_told),
        CASE(nothing_follows_a_cancel),
        CASE(a_rotation_gets_what_the_ca_gives_at_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
