/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Series are found by their labels, merged over workers, printed as Envoy prints them, and never
 * fall.
 */

#include "stats/series.h"

#include "base/pool.h"
#include "stats/series_record.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const cn_slab_config_t  small = { .workers = 2, .cells = 8, .ring_size = 32768, .series_size = 65536 };

typedef struct {
    char    text[1 << 20];
    size_t  len;
} page_t;


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
collect(void *context, cn_bytes_t text)
{
    page_t  *page = context;

    assert_true(text.len < sizeof(page->text) - page->len);
    memcpy(page->text + page->len, text.ptr, text.len);
    page->len += text.len;
    page->text[page->len] = '\0';
}


static page_t *
printed(cn_slab_t *slab)
{
    page_t  *page = calloc(1, sizeof(*page));

    assert_int_equal(cn_series_print(slab, collect, page), CN_OK);

    return page;
}


static void
the_same_labels_are_the_same_record(void **state)
{
    cn_series_t        *series = cn_series_open(*state, 0);
    cn_series_http_t   *http = cn_series_http(series, CN_BYTES("a=\"1\""));
    _Atomic uint64_t   *value = cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("f"), CN_BYTES("a=\"1\""));

    assert_ptr_equal(cn_series_http(series, CN_BYTES("a=\"1\"")), http);
    assert_ptr_not_equal(cn_series_http(series, CN_BYTES("a=\"2\"")), http);
    assert_ptr_not_equal((void *) cn_series_tcp(series, CN_BYTES("a=\"1\"")), (void *) http);
    assert_ptr_not_equal(cn_series_value(series, CN_SERIES_GAUGE, CN_BYTES("f"), CN_BYTES("a=\"1\"")), value);
    assert_ptr_not_equal(cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("g"), CN_BYTES("a=\"1\"")), value);
    assert_ptr_equal(cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("f"), CN_BYTES("a=\"1\"")), value);
    assert_null(cn_series_open(*state, 3));
    cn_series_close(series);
}


static void
workers_are_merged_and_printed_as_envoy_prints(void **state)
{
    static const char  expected[] =
        "# TYPE cairn_reloads counter\n"
        "cairn_reloads{} 4\n"
        "# TYPE cairn_series_overflowed_total counter\n"
        "cairn_series_overflowed_total{} 0\n"
        "# TYPE istio_requests_total counter\n"
        "istio_requests_total{reporter=\"waypoint\",response_code=\"200\"} 5\n"
        "# TYPE istio_tcp_connections_closed_total counter\n"
        "istio_tcp_connections_closed_total{reporter=\"waypoint\"} 1\n"
        "# TYPE istio_tcp_connections_opened_total counter\n"
        "istio_tcp_connections_opened_total{reporter=\"waypoint\"} 2\n"
        "# TYPE istio_tcp_received_bytes_total counter\n"
        "istio_tcp_received_bytes_total{reporter=\"waypoint\"} 20\n"
        "# TYPE istio_tcp_sent_bytes_total counter\n"
        "istio_tcp_sent_bytes_total{reporter=\"waypoint\"} 10\n"
        "# TYPE cairn_pinned gauge\n"
        "cairn_pinned{worker=\"0\"} 7\n"
        "cairn_pinned{worker=\"1\"} 8\n"
        "# TYPE istio_request_bytes histogram\n";
    static const char  duration[] =
        "# TYPE istio_request_duration_milliseconds histogram\n"
        "istio_request_duration_milliseconds_bucket{reporter=\"waypoint\",response_code=\"200\",le=\"0.5\"} 2\n"
        "istio_request_duration_milliseconds_bucket{reporter=\"waypoint\",response_code=\"200\",le=\"1\"} 3\n"
        "istio_request_duration_milliseconds_bucket{reporter=\"waypoint\",response_code=\"200\",le=\"5\"} 4\n";
    static const char  end[] =
        "istio_request_duration_milliseconds_bucket{reporter=\"waypoint\",response_code=\"200\",le=\"3600000\"} 4\n"
        "istio_request_duration_milliseconds_bucket{reporter=\"waypoint\",response_code=\"200\",le=\"+Inf\"} 5\n"
        "istio_request_duration_milliseconds_sum{reporter=\"waypoint\",response_code=\"200\"} 3600004.602\n"
        "istio_request_duration_milliseconds_count{reporter=\"waypoint\",response_code=\"200\"} 5\n"
        "# TYPE istio_response_bytes histogram\n";
    static const uint64_t  durations[] = { 0, 500, 501, 3600, 3600000000 };

    cn_series_t  *series[3];
    page_t       *page;

    for (uint32_t i = 0; i < 3; i++) {
        series[i] = cn_series_open(*state, i);
        assert_non_null(series[i]);
    }

    for (size_t i = 0; i < CN_COUNT_OF(durations); i++) {
        cn_series_http_t  *http = cn_series_http(series[i % 2], CN_BYTES("reporter=\"waypoint\",response_code=\"200\""));

        http->requests++;
        cn_histogram_add(&http->duration_ms, durations[i] + (i == 4));
        cn_histogram_add(&http->request_bytes, 1000);
    }

    for (uint32_t i = 0; i < 2; i++) {
        cn_series_tcp_t  *tcp = cn_series_tcp(series[i], CN_BYTES("reporter=\"waypoint\""));
        char              label[] = "worker=\"0\"";

        label[8] = (char) ('0' + i);
        tcp->opened++;
        tcp->closed += i;
        tcp->sent_bytes += 5;
        tcp->received_bytes += 10;
        *cn_series_value(series[i], CN_SERIES_GAUGE, CN_BYTES("cairn_pinned"), cn_bytes_str(label)) = 7 + i;
    }

    *cn_series_value(series[2], CN_SERIES_COUNTER, CN_BYTES("cairn_reloads"), CN_BYTES_NONE) = 4;
    page = printed(*state);
    assert_memory_equal(page->text, expected, sizeof(expected) - 1);
    assert_non_null(strstr(page->text, duration));
    assert_non_null(strstr(page->text, end));
    assert_non_null(strstr(page->text, "istio_request_bytes_sum{reporter=\"waypoint\",response_code=\"200\"} 5\n"));

    for (uint32_t i = 0; i < 3; i++) {
        cn_series_close(series[i]);
    }

    free(page);
}


static void
a_replacement_goes_on_where_its_predecessor_was_killed(void **state)
{
    cn_series_t  *series;
    page_t       *page;

    for (uint32_t round = 1; round <= 30; round++) {
        int    ends[2];
        char   byte;
        pid_t  child;

        assert_int_equal(pipe(ends), 0);
        child = fork();

        if (child == 0) {
            char  label[64];

            series = cn_series_open(*state, 0);
            cn_series_http(series, CN_BYTES("a=\"kept\""))->requests++;
            (void) !write(ends[1], "x", 1);

            for (uint32_t i = 0; i < 20; i++) {
                int  len = snprintf(label, sizeof(label), "round=\"%u\",i=\"%u\"", round, i);

                *cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("many"), cn_bytes(label, (size_t) len)) = 1;
            }

            pause();
        }

        assert_int_equal(read(ends[0], &byte, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ends[0]);
        close(ends[1]);
    }

    series = cn_series_open(*state, 0);
    assert_int_equal(cn_series_http(series, CN_BYTES("a=\"kept\""))->requests, 30);
    page = printed(*state);
    assert_non_null(strstr(page->text, "istio_requests_total{a=\"kept\"} 30\n"));
    cn_series_close(series);
    free(page);
}


static void
what_a_killed_writer_left_half_written_is_written_over(void **state)
{
    size_t               size;
    cn_series_region_t  *region = cn_slab_region(*state, 0, &size);
    cn_series_t         *series;

    memset(region->data, 0xaa, size);           /* as if it had died before it moved `used` */
    series = cn_series_open(*state, 0);
    assert_int_equal(cn_series_http(series, CN_BYTES("a=\"1\""))->requests, 0);
    assert_int_equal(*cn_series_value(series, CN_SERIES_GAUGE, CN_BYTES("g"), CN_BYTES_NONE), 0);
    cn_series_close(series);
}


static void
without_room_all_goes_to_one_record_that_is_counted(void **state)
{
    cn_series_t  *series = cn_series_open(*state, 0);
    char          label[100];
    uint64_t      made = 0;
    page_t       *page;

    for (uint32_t i = 0; i < 500; i++) {
        int  len = snprintf(label, sizeof(label), "reporter=\"way\\\"point\",host=\"h%u\"", i);

        cn_series_http(series, cn_bytes(label, (size_t) len))->requests++;
        cn_series_tcp(series, cn_bytes(label, (size_t) len))->opened++;
        (*cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("c"), cn_bytes(label, (size_t) len)))++;
        (*cn_series_value(series, CN_SERIES_GAUGE, CN_BYTES("g"), cn_bytes(label, (size_t) len)))++;
        made += 1;
    }

    page = printed(*state);

    const char  *line = strstr(page->text, "istio_requests_total{reporter=\"__overflow__\",host=\"__overflow__\"} ");
    unsigned     overflowed;

    assert_non_null(line);
    assert_int_equal(sscanf(strchr(line, '}') + 2, "%u", &overflowed), 1);
    assert_true(overflowed > 100 && overflowed < made);
    assert_non_null(strstr(page->text, "istio_tcp_connections_opened_total{reporter=\"__overflow__\",host=\"__overflow__\"} "));
    assert_non_null(strstr(page->text, "cairn_series_overflow{} "));
    assert_null(strstr(page->text, "cairn_series_overflowed_total{} 0\n"));
    free(page);

    /* nothing is lost: the sum of all is what was counted */
    uint64_t  sum = 0;

    page = printed(*state);

    for (line = page->text; (line = strstr(line, "istio_requests_total{")) != NULL; line++) {
        unsigned  value;

        assert_int_equal(sscanf(strchr(line, '}') + 2, "%u", &value), 1);
        sum += value;
    }

    assert_int_equal(sum, made);
    free(page);

    /* a replacement finds the overflow record again */
    cn_series_http_t  *http = cn_series_http(series, CN_BYTES("never=\"seen\""));

    cn_series_close(series);
    series = cn_series_open(*state, 0);
    assert_ptr_equal(cn_series_http(series, CN_BYTES("never=\"seen\"")), http);
    assert_int_equal(http->requests, overflowed);
    cn_series_close(series);
}


static void
labels_of_any_length_have_a_record(void **state)
{
    cn_series_t       *series = cn_series_open(*state, 0);
    uint8_t           *labels = malloc(40000);
    cn_series_http_t  *http;

    memset(labels, 'x', 40000);
    memcpy(labels, "a=\"", 3);
    labels[39999] = '"';
    http = cn_series_http(series, cn_bytes(labels, 40000));
    assert_non_null(http);
    assert_ptr_equal(cn_series_http(series, cn_bytes(labels, 39000)), http);
    cn_series_close(series);
    free(labels);
}


static void
count_view(void *context, const cn_series_view_t *view)
{
    assert_non_null(view->values);
    (*(size_t *) context)++;
}


static void
a_region_full_of_rubbish_is_read_within_its_bounds(void **state)
{
    size_t               size;
    cn_series_region_t  *region = cn_slab_region(*state, 1, &size);

    srand(1);

    for (int round = 0; round < 300; round++) {
        cn_series_t  *series = cn_series_open(*state, 1);
        size_t        count = 0;
        char          label[32];

        for (int i = 0; i < 40; i++) {
            int  len = snprintf(label, sizeof(label), "i=\"%d\"", rand() % 100);

            cn_series_http(series, cn_bytes(label, (size_t) len))->requests++;
        }

        for (int i = 0; i < 50; i++) {
            region->data[rand() % (round % 2 ? 8192 : 64)] = (uint8_t) rand();
        }

        if (round % 3 == 0) {
            region->used = (uint64_t) rand() << 20 | (uint64_t) rand();
        }

        assert_int_equal(cn_series_merge(*state, count_view, &count), CN_OK);
        cn_series_close(series);
        series = cn_series_open(*state, 1);
        cn_series_http(series, CN_BYTES("after=\"all\""))->requests++;
        cn_series_close(series);
        region->used = region->used % 4096;
    }
}


static void
a_newline_in_labels_does_not_break_the_page(void **state)
{
    cn_series_t  *series = cn_series_open(*state, 0);
    page_t       *page;

    cn_series_http(series, CN_BYTES("a=\"\nevil 1\n\""))->requests++;
    (*cn_series_value(series, CN_SERIES_COUNTER, CN_BYTES("no name"), CN_BYTES_NONE))++;
    page = printed(*state);
    assert_null(strstr(page->text, "evil"));
    assert_null(strstr(page->text, "no name"));
    cn_series_close(series);
    free(page);
}


static void
label_values_are_escaped_and_whole(void **state)
{
    static const struct {
        const char  *value;
        size_t       size;
        const char  *escaped;
    } cases[] = {
        { "plain", 100, "plain" },
        { "", 0, "" },
        { "a\"b\\c\nd", 100, "a\\\"b\\\\c\\nd" },
        { "ab\"", 3, "ab" },
        { "ab\"", 4, "ab\\\"" },
        { "gr\xc3\xbc\xc3\x9f", 100, "gr\xc3\xbc\xc3\x9f" },
        { "gr\xc3\xbc", 3, "gr" },
        { "\xff\xc3", 100, "??" },
        { "\xc0\xaf", 100, "??" },                                      /* an overlong slash */
        /* half of a surrogate pair */
        { "\xed\xa0\x80", 100, "???" },
        { "\xf0\x9f\xaa\xa8\xf4\x90\x80\x80", 100, "\xf0\x9f\xaa\xa8????" },
        { "\xe2\x82", 100, "??" },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        char        *out = malloc(cases[i].size + 1);
        uint8_t     *value = malloc(strlen(cases[i].value) + 1);
        cn_bytes_t   input = cn_bytes(value, strlen(cases[i].value));
        size_t       len;

        memcpy(value, cases[i].value, input.len);
        value = realloc(value, input.len + (input.len == 0));           /* exact, for ASan */
        input.ptr = value;
        len = cn_label_escape(input, out, cases[i].size);
        assert_true(len <= cases[i].size);
        out[len] = '\0';
        assert_string_equal(out, cases[i].escaped);
        free(out);
        free(value);
    }
}


int
main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        CASE(the_same_labels_are_the_same_record),
        CASE(workers_are_merged_and_printed_as_envoy_prints),
        CASE(a_replacement_goes_on_where_its_predecessor_was_killed),
        CASE(what_a_killed_writer_left_half_written_is_written_over),
        CASE(without_room_all_goes_to_one_record_that_is_counted),
        CASE(labels_of_any_length_have_a_record),
        CASE(a_region_full_of_rubbish_is_read_within_its_bounds),
        CASE(a_newline_in_labels_does_not_break_the_page),
        CASE(label_values_are_escaped_and_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
