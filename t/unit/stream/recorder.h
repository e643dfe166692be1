/* SPDX-License-Identifier: Apache-2.0 */

/* recorder - an owner of a stream that writes down what it hears, for the tests of streams. */

#ifndef CN_T_STREAM_RECORDER_H
#define CN_T_STREAM_RECORDER_H

#include "base/clock.h"
#include "stream/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS  20000      /* the longest that any state is waited for */

typedef struct recorder_s recorder_t;

struct recorder_s {
    cn_stream_t        *stream;
    char                log[64];        /* O opened, D data, E ended, S sent, C closed; repeats once */
    uint8_t            *bytes;          /* all that was delivered */
    size_t              len;
    size_t              capacity;
    size_t              sent;
    cn_close_reason_t   reason;
    bool                closed;
    bool                keep_credit;    /* does not give credit back */
    bool                close_on_data;
    bool                close_on_opened;
    bool                in_call;        /* set around calls: no event may come then */
    cn_slice_t          held;           /* takes the first slice when hold is set */
    bool                hold;
    cn_bytes_t          say_on_opened;
    char                failure[256];
    char                principal[256];
    void              (*on_data)(recorder_t *recorder, size_t len);
};

static inline void
recorder_note(recorder_t *recorder, char event)
{
    size_t  len = strlen(recorder->log);

    assert_false(recorder->in_call);
    assert_false(recorder->closed);

    if (len + 1 < sizeof(recorder->log) && (len == 0 || recorder->log[len - 1] != event)) {
        recorder->log[len] = event;
    }
}

static inline void
recorder_close(recorder_t *recorder, cn_close_reason_t reason)
{
    cn_stream_t  *stream = recorder->stream;

    recorder->stream = NULL;
    recorder->closed = true;
    recorder->reason = reason;
    cn_stream_close(stream, reason);
}

static inline void
recorder_opened(void *owner)
{
    recorder_t  *recorder = owner;

    recorder_note(recorder, 'O');

    if (recorder->close_on_opened) {
        recorder_close(recorder, CN_CLOSE_LOCAL);
        return;
    }

    if (recorder->say_on_opened.len > 0) {
        cn_stream_write(recorder->stream, cn_slice_static(recorder->say_on_opened));
    }
}

static inline void
recorder_data(void *owner, cn_slice_t *data)
{
    recorder_t  *recorder = owner;
    size_t       len = data->len;

    recorder_note(recorder, 'D');
    assert_true(len > 0);

    if (recorder->len + len > recorder->capacity) {
        recorder->capacity = 2 * (recorder->len + len);
        recorder->bytes = realloc(recorder->bytes, recorder->capacity);
        assert_non_null(recorder->bytes);
    }

    memcpy(recorder->bytes + recorder->len, data->ptr, len);
    recorder->len += len;

    if (recorder->hold && recorder->held.buf == NULL) {
        recorder->held = *data;
        *data = (cn_slice_t) { NULL, NULL, 0 };
    }

    if (recorder->close_on_data) {
        recorder_close(recorder, CN_CLOSE_LOCAL);
        return;
    }

    if (recorder->on_data != NULL) {
        recorder->on_data(recorder, len);
    }

    if (!recorder->keep_credit && recorder->stream != NULL) {
        cn_stream_consumed(recorder->stream, len);
    }
}

static inline void
recorder_ended(void *owner)
{
    recorder_note(owner, 'E');
}

static inline void
recorder_sent(void *owner, size_t len)
{
    recorder_note(owner, 'S');
    ((recorder_t *) owner)->sent += len;
}

const char *cn_tls_failure(const cn_stream_t *stream);

static inline void
recorder_closed(void *owner, cn_close_reason_t reason)
{
    recorder_t  *recorder = owner;

    recorder_note(recorder, 'C');
    recorder->closed = true;
    recorder->reason = reason;
    (void) snprintf(recorder->failure, sizeof(recorder->failure), "%s", cn_tls_failure(recorder->stream));
    recorder->stream = NULL;
}

static const cn_stream_events_t  recorder_events = {
    recorder_opened, recorder_data, recorder_ended, recorder_sent, recorder_closed
};

static inline void
recorder_own(recorder_t *recorder, cn_stream_t *stream)
{
    assert_non_null(stream);
    recorder->stream = stream;
    cn_stream_set_owner(stream, &recorder_events, recorder);
}

static inline void
recorder_clear(cn_loop_t *loop, recorder_t *recorder)
{
    if (recorder->stream != NULL) {
        recorder_close(recorder, CN_CLOSE_RESET);
    }

    cn_slice_release(&recorder->held);
    free(recorder->bytes);
    memset(recorder, 0, sizeof(*recorder));
    cn_loop_turn(loop, 0);
}

/* Turns the loop until the condition holds; fails the test when it does not in time. */
#define WAIT_FOR(loop, condition)                                              \
    do {                                                                       \
        uint64_t  until_us = cn_clock_us_now() + WAIT_MS * 1000;               \
                                                                               \
        while (!(condition)) {                                                 \
            if (cn_clock_us_now() > until_us) {                                \
                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition);  \
            }                                                                  \
                                                                               \
            cn_loop_turn((loop), 5);                                           \
        }                                                                      \
    } while (0)

/* A few turns, in which something must not happen. */
static inline void
settle(cn_loop_t *loop)
{
    for (int i = 0; i < 10; i++) {
        cn_loop_turn(loop, 1);
    }
}

/* A connected loopback pair of TCP sockets, both non-blocking. */
static inline void
loopback_pair(int fds[2])
{
    struct sockaddr_in  address = { .sin_family = AF_INET };
    socklen_t           len = sizeof(address);
    int                 listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *) &address, &len), 0);

    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(connect(fds[1], (struct sockaddr *) &address, sizeof(address)) == 0 || errno == EINPROGRESS);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[0] >= 0);
    (void) close(listener);
}

/* len octets that repeat nowhere near. */
static inline uint8_t *
pattern(size_t len, uint32_t seed)
{
    uint8_t  *bytes = malloc(len + (len == 0));

    assert_non_null(bytes);

    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t) (seed >> 24);
    }

    return bytes;
}

#endif
