/* SPDX-License-Identifier: Apache-2.0 */

/* Lines go from one process to another in order and whole, whoever is killed meanwhile. */

#include "stats/ring.h"

#include "base/clock.h"
#include "base/pool.h"
#include "stats/slab_layout.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define OUT_SIZE  16384u

static const cn_slab_config_t  small = { .workers = 1, .cells = 8, .ring_size = 32768, .series_size = 65536 };


static int
setup(void **state)
{
    const char  *error;
    int          fd;

    assert_int_equal(cn_slab_create(&small, &fd), CN_OK);
    *state = cn_slab_map(fd, &error);
    assert_non_null(*state);
    close(fd);

    return 0;
}


static int
teardown(void **state)
{
    cn_slab_unmap(*state);

    return 0;
}


static void
lines_come_out_as_they_went_in_round_after_round(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    uint8_t           *line = malloc(OUT_SIZE);
    uint8_t           *out = malloc(OUT_SIZE);      /* exact, for ASan */
    cn_ring_stream_t   stream;
    size_t             len;

    for (size_t i = 0; i < 5000; i++) {
        size_t            want = i * 37 % (OUT_SIZE + 1);
        cn_ring_stream_t  kind = i % 2 ? CN_RING_ACCESS_LOG : CN_RING_ERROR_LOG;

        memset(line, (int) i & 0xff, want);
        assert_int_equal(cn_ring_write(ring, kind, cn_bytes(line, want)), CN_OK);
        assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_OK);
        assert_int_equal(len, want);
        assert_int_equal(stream, kind);
        assert_memory_equal(out, line, want);
        assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_AGAIN);
    }

    assert_int_equal(cn_ring_dropped(ring), 0);
    free(line);
    free(out);
}


static void
a_full_ring_drops_and_counts_and_works_again_when_read(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    uint8_t            line[1000] = { 1 };
    uint8_t           *out = malloc(OUT_SIZE);
    cn_ring_stream_t   stream;
    size_t             len;
    size_t             count = 0;

    while (cn_ring_write(ring, CN_RING_ERROR_LOG, cn_bytes(line, sizeof(line))) == CN_OK) {
        count++;
    }

    assert_int_equal(count, 32768 / 1008);
    assert_int_equal(cn_ring_write(ring, CN_RING_ERROR_LOG, cn_bytes(line, sizeof(line))), CN_AGAIN);
    assert_int_equal(cn_ring_dropped(ring), 2);

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_OK);
        assert_int_equal(len, sizeof(line));
    }

    assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_AGAIN);
    assert_int_equal(cn_ring_write(ring, CN_RING_ERROR_LOG, CN_BYTES_NONE), CN_OK);
    assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_OK);
    assert_int_equal(len, 0);
    free(out);
}


static void
a_long_line_is_cut_and_stays_a_line(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    uint8_t           *line = malloc(20000);
    uint8_t           *out = malloc(OUT_SIZE);
    cn_ring_stream_t   stream;
    size_t             len;

    memset(line, 'x', 20000);
    line[19999] = '\n';
    assert_int_equal(cn_ring_write(ring, CN_RING_ACCESS_LOG, cn_bytes(line, 20000)), CN_OK);
    assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_OK);
    assert_int_equal(len, OUT_SIZE);
    assert_int_equal(out[OUT_SIZE - 2], 'x');
    assert_int_equal(out[OUT_SIZE - 1], '\n');
    free(line);
    free(out);
}


static void
rubbish_skips_to_the_writers_mark(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    cn_ring_shared_t  *shared = ring->shared;
    uint8_t           *out = malloc(OUT_SIZE);
    cn_ring_stream_t   stream;
    size_t             len;

    srand(1);

    for (int i = 0; i < 20000; i++) {
        uint64_t  tail = shared->tail;

        switch (i % 4) {
        case 0: shared->head = tail + (uint64_t) rand() % 100; break;
        case 1: shared->head = tail - 8; break;
        case 2: shared->tail = UINT64_MAX - (uint64_t) rand(); break;
        case 3: shared->head = (uint64_t) rand() << 33; break;
        }

        for (int j = 0; j < 64; j++) {
            shared->data[rand() % 32768] = (uint8_t) rand();
        }

        while (cn_ring_read(ring, &stream, out, &len) == CN_OK) {
            assert_true(len <= OUT_SIZE);
        }

        assert_int_equal(cn_ring_write(ring, CN_RING_ERROR_LOG, CN_BYTES("after")), CN_OK);
        assert_int_equal(cn_ring_read(ring, &stream, out, &len), CN_OK);
        assert_int_equal(len, 5);
        assert_memory_equal(out, "after", 5);
    }

    assert_true(cn_ring_dropped(ring) > 1000);
    free(out);
}


static void *
wait_for_bell(void *arg)
{
    cn_ring_wait(arg, 0, 10000);

    return NULL;
}


static void
the_bell_rings_once_when_a_ring_becomes_half_full(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    cn_ring_t         *other = cn_slab_ring(*state, 1);
    uint8_t            line[992] = { 'x' }, out[OUT_SIZE];
    cn_ring_stream_t   stream;
    size_t             len;
    pthread_t          reader;
    uint64_t           before;

    assert_int_equal(cn_ring_bell(other), 0);
    assert_int_equal(pthread_create(&reader, NULL, wait_for_bell, other), 0);

    /* 1,000 octets each in the ring: the 17th is the one that passes 16,384 */
    for (int i = 0; i < 16; i++) {
        assert_int_equal(cn_ring_write(ring, CN_RING_ACCESS_LOG, cn_bytes(line, sizeof(line))), CN_OK);
    }

    assert_int_equal(cn_ring_bell(other), 0);
    assert_int_equal(cn_ring_write(ring, CN_RING_ACCESS_LOG, cn_bytes(line, sizeof(line))), CN_OK);
    assert_int_equal(cn_ring_bell(other), 1);
    assert_int_equal(cn_ring_write(ring, CN_RING_ACCESS_LOG, cn_bytes(line, sizeof(line))), CN_OK);
    assert_int_equal(cn_ring_bell(other), 1);
    assert_int_equal(pthread_join(reader, NULL), 0);

    /* who has seen another count does not wait at all */
    before = cn_clock_us_now();
    cn_ring_wait(ring, 0, 10000);
    assert_true(cn_clock_us_now() - before < 5000000);

    while (cn_ring_read(ring, &stream, out, &len) == CN_OK) {
        assert_int_equal(len, sizeof(line));
    }
}


/* Lines that carry their number and a length that follows from it. */
static size_t
numbered(uint32_t number, uint8_t line[512])
{
    size_t  len = 8 + number * 31 % 400;

    memset(line, (int) (number & 0xff), len);
    memcpy(line, &number, sizeof(number));

    return len;
}


static _Noreturn void
write_for_ever(cn_ring_t *ring, uint32_t number)
{
    uint8_t  line[512];

    for (;; number++) {
        size_t  len = numbered(number, line);

        while (cn_ring_write(ring, CN_RING_ACCESS_LOG, cn_bytes(line, len)) != CN_OK) {
            sched_yield();
        }
    }
}


static void
a_killed_writer_leaves_whole_lines_and_its_successor_goes_on(void **state)
{
    cn_ring_t         *ring = cn_slab_ring(*state, 0);
    uint8_t           *out = malloc(OUT_SIZE);
    cn_ring_stream_t   stream;
    size_t             len;
    uint32_t           next = 0;

    for (uint32_t round = 0; round < 60; round++) {
        uint32_t  until = next + 500 + round * 7;
        bool      killed = false;
        pid_t     child = fork();

        assert_true(child >= 0);

        if (child == 0) {
            write_for_ever(ring, next);
        }

        for (;;) {
            uint8_t      line[512];
            uint32_t     number;
            cn_status_t  status = cn_ring_read(ring, &stream, out, &len);

            if (status == CN_AGAIN) {
                if (killed) {
                    break;
                }

                sched_yield();
                continue;
            }

            memcpy(&number, out, sizeof(number));
            assert_int_equal(number, next);
            assert_int_equal(len, numbered(number, line));
            assert_memory_equal(out, line, len);
            next++;

            if (next == until) {
                assert_int_equal(kill(child, SIGKILL), 0);
                assert_int_equal(waitpid(child, NULL, 0), child);
                killed = true;
            }
        }
    }

    free(out);
}


int
main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        CASE(lines_come_out_as_they_went_in_round_after_round),
        CASE(a_full_ring_drops_and_counts_and_works_again_when_read),
        CASE(a_long_line_is_cut_and_stays_a_line),
        CASE(rubbish_skips_to_the_writers_mark),
        CASE(the_bell_rings_once_when_a_ring_becomes_half_full),
        CASE(a_killed_writer_leaves_whole_lines_and_its_successor_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
