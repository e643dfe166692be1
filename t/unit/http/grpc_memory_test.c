/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each allocation of a channel and a call fails once: the call ends with some status or was never begun, nothing leaks or breaks,
 * and the next call is answered.  The peer is a few frames of text, so that it is not its memory that fails.
 */

#define CN_FAIL_ALLOC

/* own copies, with the fault injection in them; the archive's stay out of the link */
#include "base/block.c"
#include "base/pool.c"

#include "grpc_peer.h"

#include "base/clock.h"

#include <unistd.h>

#define ROUNDS_MAX  2000

static cn_loop_t  *loop;

/* The peer: reads frames and answers each request. */
static int         listener, peer = -1;
static uint8_t     input[65536];
static size_t      input_len;
static bool        preface_seen;


static const uint8_t  settings[] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };

/* :status 200, content-type: application/grpc; a message of two octets in two frames; grpc-status: 0 */
static const uint8_t  answer[] =
    "\0\0\x14\1\4\0\0\0\0" "\x88\x0f\x10\x10" "application/grpc"
    "\0\0\6\0\0\0\0\0\0" "\0\0\0\0\2a"
    "\0\0\1\0\0\0\0\0\0" "b"
    "\0\0\x0f\1\5\0\0\0\0" "\0\x0bgrpc-status\1" "0";

/* where its frames begin */
static const size_t   frames[] = { 0, 29, 44, 54 };


static void
peer_close(void)
{
    if (peer >= 0) {
        (void) close(peer);
    }

    peer = -1;
    input_len = 0;
    preface_seen = false;
}


static void
peer_answer(const uint8_t *stream_id)
{
    uint8_t  copy[sizeof(answer) - 1];

    memcpy(copy, answer, sizeof(copy));

    for (size_t i = 0; i < CN_COUNT_OF(frames); i++) {
        memcpy(copy + frames[i] + 5, stream_id, 4);
    }

    (void) !write(peer, copy, sizeof(copy));
}


static void
peer_read(void)
{
    ssize_t  got = read(peer, input + input_len, sizeof(input) - input_len);
    size_t   at = 0;

    if (got == 0) {
        peer_close();
        return;
    }

    input_len += got > 0 ? (size_t) got : 0;

    if (!preface_seen) {
        if (input_len < 24) {
            return;
        }

        preface_seen = true;
        at = 24;
    }

    while (input_len - at >= 9) {
        size_t  len = 9 + ((size_t) input[at] << 16 | (size_t) input[at + 1] << 8 | input[at + 2]);

        if (input_len - at < len) {
            break;
        }

        if (input[at + 3] == 1) {
            peer_answer(input + at + 5);
        }

        at += len;
    }

    memmove(input, input + at, input_len - at);
    input_len -= at;
}


static void
turn(void)
{
    cn_address_t  from;
    int           fd;

    cn_loop_turn(loop, 1);

    if (cn_socket_accept(listener, &fd, &from) == CN_OK) {
        peer_close();
        peer = fd;
        (void) !write(peer, settings, sizeof(settings));
    }

    if (peer >= 0) {
        peer_read();
    }
}


typedef struct {
    bool           over;
    bool           answered;            /* "ab", and status 0 */
    unsigned       messages;
} attempt_t;


static cn_address_t  address;


static void
on_resolve(void *arg)
{
    cn_grpc_channel_resolved(*(cn_grpc_channel_t **) arg, &address, 1, NULL);
}


static void
on_message(void *arg, cn_bytes_t message)
{
    ((attempt_t *) arg)->messages += cn_bytes_equal(message, CN_BYTES("ab"));
}


static void
on_status(void *arg, cn_grpc_status_t status, cn_bytes_t message)
{
    attempt_t  *attempt = arg;

    (void) message;
    assert_false(attempt->over);
    attempt->over = true;
    attempt->answered = status == CN_GRPC_OK && attempt->messages == 1;
}


static const cn_grpc_channel_events_t  channel_events = { .on_resolve = on_resolve };
static const cn_grpc_call_events_t     call_events = { .on_message = on_message, .on_status = on_status };


/* One call to its end; false: it could not be begun. */
static bool
call_once(cn_grpc_channel_t *channel, attempt_t *attempt)
{
    const cn_grpc_metadata_t   metadata = { CN_BYTES("authorization"), CN_BYTES("Bearer abc") };
    cn_grpc_call_t            *call;
    uint64_t                   until_us = cn_clock_us_now() + GRPC_WAIT_MS * 1000;

    *attempt = (attempt_t) { .over = false };
    call = cn_grpc_call_start(channel, "/t/Any", &metadata, 1, 10000, &call_events, attempt);

    if (call == NULL) {
        return false;
    }

    if (cn_grpc_call_send(call, CN_BYTES("ask")) != CN_OK) {
        cn_grpc_call_cancel(call);
        return false;
    }

    cn_grpc_call_end(call);

    while (!attempt->over) {
        assert_true(cn_clock_us_now() < until_us);
        turn();
    }

    return true;
}


/* All of it, the at-th allocation failing.  True: nothing failed any more. */
static bool
round_at(size_t at, unsigned *answered)
{
    const cn_grpc_config_t   config = { .authority = "a:1", .backoff_min_ms = 1, .connect_timeout_ms = 2000 };
    static cn_grpc_channel_t  *channel;
    attempt_t                attempt = { .over = false };
    bool                     spared;

    cn_alloc_fail_at(at);
    channel = cn_grpc_channel_create(loop, &config, &channel_events, &channel);

    if (channel == NULL) {
        cn_alloc_fail_at(0);
        return false;
    }

    (void) call_once(channel, &attempt);
    spared = fail_at != 0;              /* the fault is still to come */
    cn_alloc_fail_at(0);
    *answered += attempt.answered;
    assert_true(!spared || attempt.answered);

    /* memory is back, and so is the call */
    assert_true(call_once(channel, &attempt));
    assert_true(attempt.answered);
    cn_grpc_channel_close(channel);
    turn();
    peer_close();

    return spared;
}


static void
a_call_survives_the_want_of_memory(void **state)
{
    size_t    at = 1;
    unsigned  answered = 0;

    (void) state;
    loop = cn_loop_create();
    assert_non_null(loop);
    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &address), CN_OK);
    assert_int_equal(cn_socket_listen(&address, false, 16, &listener), CN_OK);
    assert_int_equal(cn_socket_local(listener, &address), CN_OK);

    while (!round_at(at, &answered)) {
        assert_true(++at < ROUNDS_MAX);
    }

    print_message("    %zu allocations, %u calls answered all the same\n", at - 1, answered);
    assert_true(at > 20);
    (void) close(listener);
    assert_true(cn_loop_finish(loop, 5000));
    cn_loop_destroy(loop);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_call_survives_the_want_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
