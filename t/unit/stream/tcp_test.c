/* SPDX-License-Identifier: Apache-2.0 */

/* TCP streams over loopback, with a plain socket at the other end. */

#include "stream/tcp.h"

#include "recorder.h"

#include <dirent.h>
#include <fcntl.h>

#define BIG  (10u * 1024 * 1024)

static cn_loop_t  *loop;


static int
setup(void **state)
{
    (void) state;
    loop = cn_loop_create();

    return loop == NULL;
}


static int
teardown(void **state)
{
    (void) state;
    cn_loop_turn(loop, 0);
    cn_loop_destroy(loop);

    return 0;
}


/* A stream owned by recorder; returns the plain socket at its other end. */
static int
stream_pair(recorder_t *recorder)
{
    int           fds[2];
    cn_address_t  peer;

    loopback_pair(fds);
    assert_int_equal(cn_socket_peer(fds[0], &peer), CN_OK);
    recorder_own(recorder, cn_tcp_accept(loop, fds[0], &peer, NULL));

    return fds[1];
}


static size_t
open_descriptors(void)
{
    DIR     *directory = opendir("/proc/self/fd");
    size_t   count = 0;

    assert_non_null(directory);

    while (readdir(directory) != NULL) {
        count++;
    }

    closedir(directory);

    return count;
}


static void
reset_socket(int fd)
{
    const struct linger  now = { 1, 0 };

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    (void) close(fd);
}


/* Reads what fd has now; -1 at an error, with errno; *ended at the end. */
static ssize_t
drain(int fd, uint8_t *to, size_t size, bool *ended)
{
    size_t  len = 0;

    while (len < size) {
        ssize_t  part = recv(fd, to + len, size - len, 0);

        if (part < 0 && errno == EAGAIN) {
            break;
        }

        if (part < 0) {
            return -1;
        }

        if (part == 0) {
            *ended = true;
            break;
        }

        len += (size_t) part;
    }

    return (ssize_t) len;
}


static void
it_delivers_what_the_peer_sends_and_its_end(void **state)
{
    recorder_t  recorder = { .len = 0 };
    int         fd = stream_pair(&recorder);

    (void) state;

    assert_int_equal(cn_stream_info(recorder.stream)->kind, CN_STREAM_TCP);
    assert_true(cn_stream_info(recorder.stream)->peer.port > 0);
    assert_true(cn_stream_info(recorder.stream)->local.port > 0);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    WAIT_FOR(loop, recorder.len == 5);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(loop, strcmp(recorder.log, "DE") == 0);
    assert_memory_equal(recorder.bytes, "hello", 5);
    recorder_clear(loop, &recorder);
    (void) close(fd);
}


static void
each_direction_ends_on_its_own(void **state)
{
    recorder_t  recorder = { .len = 0 };
    int         fd = stream_pair(&recorder);
    uint8_t     got[16];
    bool        ended = false;

    (void) state;

    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(loop, strcmp(recorder.log, "E") == 0);
    settle(loop);

    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("late")));
    cn_stream_end(recorder.stream);
    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("dropped")));
    WAIT_FOR(loop, recorder.closed);

    assert_string_equal(recorder.log, "ESC");
    assert_int_equal(recorder.reason, CN_CLOSE_END);
    assert_int_equal(drain(fd, got, sizeof(got), &ended), 4);
    assert_true(ended);
    recorder_clear(loop, &recorder);
    (void) close(fd);
}


static void
our_end_leaves_the_other_direction_open(void **state)
{
    recorder_t  recorder = { .len = 0 };
    int         fd = stream_pair(&recorder);
    uint8_t     got[16];
    bool        ended = false;

    (void) state;

    cn_stream_end(recorder.stream);
    WAIT_FOR(loop, drain(fd, got, sizeof(got), &ended) == 0 && ended);
    assert_int_equal(send(fd, "still here", 10, 0), 10);
    WAIT_FOR(loop, recorder.len == 10);
    (void) close(fd);
    WAIT_FOR(loop, recorder.closed);
    assert_string_equal(recorder.log, "DEC");
    assert_int_equal(recorder.reason, CN_CLOSE_END);
    recorder_clear(loop, &recorder);
}


static void
a_call_raises_no_event_before_it_returns(void **state)
{
    recorder_t  recorder = { .keep_credit = true };
    int         fd = stream_pair(&recorder);

    (void) state;

    assert_int_equal(send(fd, "x", 1, 0), 1);
    WAIT_FOR(loop, recorder.len == 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(loop, strcmp(recorder.log, "DE") == 0);

    recorder.in_call = true;
    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("y")));
    cn_stream_consumed(recorder.stream, 1);
    cn_stream_end(recorder.stream);
    recorder.in_call = false;

    assert_string_equal(recorder.log, "DE");
    WAIT_FOR(loop, recorder.closed);
    assert_string_equal(recorder.log, "DESC");
    recorder_clear(loop, &recorder);
    (void) close(fd);
}


static void
it_delivers_no_more_than_its_credit(void **state)
{
    recorder_t   recorder = { .keep_credit = true };
    int          fd = stream_pair(&recorder);
    uint8_t     *bytes = pattern(60000, 1);

    (void) state;

    cn_tcp_set_window(recorder.stream, 10000);
    assert_int_equal(send(fd, bytes, 60000, 0), 60000);
    WAIT_FOR(loop, recorder.len == 10000);
    settle(loop);
    assert_int_equal(recorder.len, 10000);

    cn_stream_consumed(recorder.stream, 5000);
    WAIT_FOR(loop, recorder.len == 15000);
    settle(loop);
    assert_int_equal(recorder.len, 15000);

    recorder.keep_credit = false;
    cn_stream_consumed(recorder.stream, 10000);
    WAIT_FOR(loop, recorder.len == 60000);
    assert_memory_equal(recorder.bytes, bytes, 60000);
    recorder_clear(loop, &recorder);
    (void) close(fd);
    free(bytes);
}


/* Writes len octets of bytes as slices of a few sizes. */
static void
write_all(cn_stream_t *stream, const uint8_t *bytes, size_t len)
{
    static const size_t  sizes[] = { 1, 300, 2047, 2048, 16384, 40000 };
    size_t               at = 0;

    for (size_t i = 0; at < len; i++) {
        size_t      part = sizes[i % CN_COUNT_OF(sizes)];
        cn_slice_t  slice;

        part = part < len - at ? part : len - at;
        assert_int_equal(cn_slice_copy(cn_bytes(bytes + at, part), NULL, &slice), CN_OK);
        cn_stream_write(stream, slice);
        at += part;
    }
}


static void
ten_megabytes_pass_both_ways_under_back_pressure(void **state)
{
    recorder_t   recorder = { .len = 0 };
    int          fd = stream_pair(&recorder);
    uint8_t     *down = pattern(BIG, 2), *up = pattern(BIG, 3), *got = malloc(BIG);
    size_t       received = 0, given = 0;
    bool         ended = false;
    uint64_t     deadline_us = cn_clock_us_now() + WAIT_MS * 1000;

    (void) state;

    write_all(recorder.stream, down, BIG);
    assert_int_equal(cn_stream_pending(recorder.stream), BIG);
    settle(loop);
    assert_true(cn_stream_pending(recorder.stream) > 0);
    assert_int_equal(cn_stream_pending(recorder.stream) + recorder.sent, BIG);

    while (received < BIG || recorder.len < BIG) {
        size_t   want = BIG - received < 70000 ? BIG - received : 70000;
        ssize_t  part = drain(fd, got + received, want, &ended);

        assert_true(part >= 0);
        received += (size_t) part;
        part = send(fd, up + given, BIG - given < 50000 ? BIG - given : 50000, MSG_NOSIGNAL);
        given += part > 0 ? (size_t) part : 0;
        assert_true(cn_clock_us_now() < deadline_us);
        cn_loop_turn(loop, 0);
    }

    WAIT_FOR(loop, recorder.sent == BIG);
    assert_memory_equal(got, down, BIG);
    assert_memory_equal(recorder.bytes, up, BIG);
    assert_int_equal(cn_stream_pending(recorder.stream), 0);
    recorder_clear(loop, &recorder);
    (void) close(fd);
    free(down);
    free(up);
    free(got);
}


static void
an_ordinary_close_lets_queued_bytes_leave_even_with_unread_input(void **state)
{
    recorder_t   recorder = { .len = 0 };
    int          fd = stream_pair(&recorder);
    uint8_t     *bytes = pattern(1000000, 4), *got = malloc(1000001);
    size_t       received = 0;
    bool         ended = false;
    size_t       before;

    (void) state;

    assert_int_equal(send(fd, "unread", 6, 0), 6);
    write_all(recorder.stream, bytes, 1000000);
    before = open_descriptors();
    recorder_close(&recorder, CN_CLOSE_LOCAL);

    while (!ended) {
        ssize_t  part = drain(fd, got + received, 1000001 - received, &ended);

        assert_true(part >= 0);
        received += (size_t) part;
        cn_loop_turn(loop, 1);
    }

    assert_int_equal(received, 1000000);
    assert_memory_equal(got, bytes, 1000000);
    (void) close(fd);
    WAIT_FOR(loop, open_descriptors() == before - 2);
    assert_string_equal(recorder.log, "");
    recorder_clear(loop, &recorder);
    free(bytes);
    free(got);
}


static void
lingering_ends_after_a_second(void **state)
{
    recorder_t   recorder = { .len = 0 };
    int          fd = stream_pair(&recorder);
    uint8_t     *bytes = pattern(BIG, 5);
    size_t       before = open_descriptors();
    uint64_t     start_us = cn_clock_us_now();

    (void) state;

    write_all(recorder.stream, bytes, BIG);
    recorder_close(&recorder, CN_CLOSE_DRAIN);
    WAIT_FOR(loop, open_descriptors() == before - 1);
    /* the timer is set by the time of the last turn, which may be a while ago on a busy machine */
    assert_in_range(cn_clock_us_now() - start_us, 500000, 3000000);
    (void) close(fd);
    recorder_clear(loop, &recorder);
    free(bytes);
}


static void
any_other_close_resets(void **state)
{
    recorder_t  recorder = { .len = 0 };
    int         fd = stream_pair(&recorder);
    uint8_t     got[16];
    bool        ended = false;

    (void) state;

    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("dropped")));
    recorder_close(&recorder, CN_CLOSE_PROTOCOL);
    cn_loop_turn(loop, 0);
    assert_int_equal(drain(fd, got, sizeof(got), &ended), -1);
    assert_int_equal(errno, ECONNRESET);
    recorder_clear(loop, &recorder);
    (void) close(fd);
}


static void
a_reset_of_the_peer_is_told_once(void **state)
{
    recorder_t  recorder = { .len = 0 };
    int         fd = stream_pair(&recorder);

    (void) state;

    reset_socket(fd);
    WAIT_FOR(loop, recorder.closed);
    settle(loop);
    assert_string_equal(recorder.log, "C");
    assert_int_equal(recorder.reason, CN_CLOSE_RESET);
    recorder_clear(loop, &recorder);
}


static void
what_the_peer_said_before_it_went_is_delivered(void **state)
{
    recorder_t   recorder = { .len = 0 };
    int          fd = stream_pair(&recorder);
    uint8_t     *bytes = pattern(100000, 6);

    (void) state;

    /* unread input makes the peer's close a reset, with the answer before it */
    cn_tcp_set_window(recorder.stream, 0);
    write_all(recorder.stream, bytes, 100000);
    settle(loop);
    assert_int_equal(send(fd, "413", 3, 0), 3);
    (void) close(fd);
    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("more")));
    cn_tcp_set_window(recorder.stream, 1000);
    WAIT_FOR(loop, recorder.closed);
    assert_int_equal(recorder.reason, CN_CLOSE_RESET);
    assert_int_equal(recorder.len, 3);
    assert_memory_equal(recorder.bytes, "413", 3);
    recorder_clear(loop, &recorder);
    free(bytes);
}


static void
a_failed_write_without_credit_closes_at_once(void **state)
{
    recorder_t  recorder = { .keep_credit = true };
    int         fd = stream_pair(&recorder);

    (void) state;

    cn_tcp_set_window(recorder.stream, 4);
    assert_int_equal(send(fd, "12345678", 8, 0), 8);
    WAIT_FOR(loop, recorder.len == 4);
    settle(loop);
    reset_socket(fd);
    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("into the void")));
    WAIT_FOR(loop, recorder.closed);
    assert_int_equal(recorder.reason, CN_CLOSE_RESET);
    recorder_clear(loop, &recorder);
}


/* A listening socket on loopback and its address. */
static int
listener_open(int backlog, cn_address_t *address)
{
    int  fd;

    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), address), CN_OK);
    assert_int_equal(cn_socket_listen(address, false, backlog, &fd), CN_OK);
    assert_int_equal(cn_socket_local(fd, address), CN_OK);

    return fd;
}


static void
connecting_tells_opened_and_then_sends_what_was_written_before(void **state)
{
    recorder_t    recorder = { .len = 0 };
    cn_address_t  address;
    int           listener = listener_open(8, &address);
    int           fd;
    uint8_t       got[16];
    bool          ended = false;

    (void) state;

    recorder_own(&recorder, cn_tcp_connect(loop, &address, NULL, 1000, NULL));
    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("early")));
    assert_string_equal(recorder.log, "");
    WAIT_FOR(loop, recorder.sent == 5);
    assert_string_equal(recorder.log, "OS");
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    assert_int_equal(drain(fd, got, sizeof(got), &ended), 5);
    recorder_clear(loop, &recorder);
    (void) close(fd);
    (void) close(listener);
}


static void
a_refused_connect_is_a_closed_event(void **state)
{
    recorder_t    recorder = { .len = 0 };
    cn_address_t  address;

    (void) state;

    (void) close(listener_open(1, &address));
    recorder.in_call = true;
    recorder_own(&recorder, cn_tcp_connect(loop, &address, NULL, 1000, NULL));
    recorder.in_call = false;
    WAIT_FOR(loop, recorder.closed);
    assert_string_equal(recorder.log, "C");
    assert_int_equal(recorder.reason, CN_CLOSE_CONNECT_REFUSED);
    recorder_clear(loop, &recorder);
}


static void
a_connect_that_takes_too_long_is_a_closed_event(void **state)
{
    recorder_t    fillers[8] = { { .len = 0 } };
    recorder_t    recorder = { .len = 0 };
    cn_address_t  address;
    int           listener = listener_open(0, &address);    /* nobody accepts */

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(fillers); i++) {
        recorder_own(&fillers[i], cn_tcp_connect(loop, &address, NULL, 60000, NULL));
        settle(loop);
    }

    recorder_own(&recorder, cn_tcp_connect(loop, &address, NULL, 50, NULL));
    WAIT_FOR(loop, recorder.closed);
    assert_string_equal(recorder.log, "C");
    assert_int_equal(recorder.reason, CN_CLOSE_CONNECT_TIMEOUT);

    for (size_t i = 0; i < CN_COUNT_OF(fillers); i++) {
        recorder_clear(loop, &fillers[i]);
    }

    recorder_clear(loop, &recorder);
    (void) close(listener);
}


static void
no_event_follows_a_close_within_an_event(void **state)
{
    recorder_t    recorder = { .close_on_data = true };
    recorder_t    opening = { .close_on_opened = true };
    cn_address_t  address;
    int           listener = listener_open(8, &address);
    int           fd = stream_pair(&recorder);

    (void) state;

    cn_stream_write(recorder.stream, cn_slice_static(CN_BYTES("abc")));
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    WAIT_FOR(loop, recorder.closed);
    settle(loop);
    assert_int_equal(recorder.log[strlen(recorder.log) - 1], 'D');

    recorder_own(&opening, cn_tcp_connect(loop, &address, NULL, 1000, NULL));
    cn_stream_end(opening.stream);
    WAIT_FOR(loop, opening.closed);
    settle(loop);
    assert_string_equal(opening.log, "O");

    recorder_clear(loop, &recorder);
    recorder_clear(loop, &opening);
    (void) close(fd);
    (void) close(listener);
}


static void
a_held_slice_stays_as_it_is_while_others_read(void **state)
{
    recorder_t   holder = { .hold = true };
    recorder_t   other = { .len = 0 };
    int          fd = stream_pair(&holder), other_fd = stream_pair(&other);
    uint8_t     *bytes = pattern(40000, 7);

    (void) state;

    assert_int_equal(send(fd, bytes, 5000, 0), 5000);
    WAIT_FOR(loop, holder.held.len == 5000);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(send(other_fd, bytes, 40000, 0), 40000);
        WAIT_FOR(loop, other.len == (size_t) (i + 1) * 40000);
    }

    assert_memory_equal(holder.held.ptr, bytes, 5000);
    recorder_clear(loop, &holder);
    recorder_clear(loop, &other);
    (void) close(fd);
    (void) close(other_fd);
    free(bytes);
}


static void
a_waiting_stream_costs_no_turns(void **state)
{
    recorder_t   recorder = { .keep_credit = true };
    int          fd = stream_pair(&recorder);
    uint64_t     turns;

    (void) state;

    /* out of credit with input waiting, and then half closed by the peer */
    cn_tcp_set_window(recorder.stream, 4);
    assert_int_equal(send(fd, "12345678", 8, 0), 8);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    settle(loop);
    turns = cn_loop_stats(loop)->turns;
    cn_loop_turn(loop, 50);
    assert_true(cn_loop_stats(loop)->turns == turns + 1);
    assert_true(cn_loop_stats(loop)->longest_turn_us < 1000000);

    uint64_t  start_us = cn_clock_us_now();

    cn_loop_turn(loop, 50);
    assert_true(cn_clock_us_now() - start_us > 40000);

    recorder.keep_credit = false;
    cn_stream_consumed(recorder.stream, 4);
    WAIT_FOR(loop, strcmp(recorder.log, "DE") == 0);
    start_us = cn_clock_us_now();
    cn_loop_turn(loop, 50);
    assert_true(cn_clock_us_now() - start_us > 40000);
    recorder_clear(loop, &recorder);
    (void) close(fd);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(it_delivers_what_the_peer_sends_and_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(each_direction_ends_on_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(our_end_leaves_the_other_direction_open, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_raises_no_event_before_it_returns, setup, teardown),
        cmocka_unit_test_setup_teardown(it_delivers_no_more_than_its_credit, setup, teardown),
        cmocka_unit_test_setup_teardown(ten_megabytes_pass_both_ways_under_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ordinary_close_lets_queued_bytes_leave_even_with_unread_input, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lingering_ends_after_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(any_other_close_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reset_of_the_peer_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_peer_said_before_it_went_is_delivered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_without_credit_closes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(connecting_tells_opened_and_then_sends_what_was_written_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refused_connect_is_a_closed_event, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connect_that_takes_too_long_is_a_closed_event, setup, teardown),
        cmocka_unit_test_setup_teardown(no_event_follows_a_close_within_an_event, setup, teardown),
        cmocka_unit_test_setup_teardown(a_held_slice_stays_as_it_is_while_others_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_waiting_stream_costs_no_turns, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
