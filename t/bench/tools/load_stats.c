/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of hboneload: a latency histogram, CPU time and memory of processes, and the JSON. */

#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* 64 linear steps in every power of two of nanoseconds: an error below 1.6 %. */
#define STEPS     64
#define STEP_BITS 6

static uint64_t histogram[64 * STEPS];
static uint64_t latency_count;
static uint64_t latency_max;
static double latency_sum;

static uint64_t last_answer;
static uint64_t longest_gap;
static uint64_t back_count;
static uint64_t back_max;
static uint64_t back_sum;

load_counts_t load_counts;

static size_t
bucket_of(uint64_t ns)
{
    if (ns < STEPS) {
        return ns;
    }

    unsigned shift = 63U - (unsigned) __builtin_clzll(ns) - STEP_BITS;

    return (shift + 1) * STEPS + (size_t) ((ns >> shift) - STEPS);
}

/* The middle of a bucket, in nanoseconds. */
static double
bucket_value(size_t bucket)
{
    if (bucket < STEPS) {
        return (double) bucket;
    }

    size_t shift = bucket / STEPS - 1;
    double width = (double) (1ULL << shift);

    return (double) (bucket % STEPS + STEPS) * width + width / 2;
}

void
load_stats_latency(uint64_t ns)
{
    histogram[bucket_of(ns)]++;
    latency_count++;
    latency_sum += (double) ns;

    if (ns > latency_max) {
        latency_max = ns;
    }
}

void
load_stats_answer(void)
{
    if (last_answer != 0 && load_run.now - last_answer > longest_gap) {
        longest_gap = load_run.now - last_answer;
    }
    last_answer = load_run.now;
}

void
load_stats_back(uint64_t ns)
{
    back_count++;
    back_sum += ns;

    if (ns > back_max) {
        back_max = ns;
    }
}

static double
percentile_us(double percent)
{
    uint64_t want = (uint64_t) (percent / 100 * (double) latency_count + 0.5);
    uint64_t seen = 0;

    for (size_t i = 0; i < 64 * STEPS; i++) {
        seen += histogram[i];
        if (seen != 0 && seen >= want) {
            return bucket_value(i) / 1000;
        }
    }
    return 0;
}

/* Calls visit for every pid of "1,2,3" and returns the sum; NULL is an empty list. */
static double
sum_over(const char *list, double (*visit)(long pid))
{
    double sum = 0;

    while (list != NULL && *list != '\0') {
        char *end;
        long pid = strtol(list, &end, 10);

        if (end == list || (*end != '\0' && *end != ',')) {
            hb_die("'%s' is no list of process ids", list);
        }
        sum += visit(pid);
        list = *end == ',' ? end + 1 : end;
    }
    return sum;
}

static double
cpu_seconds(long pid)
{
    char path[64];
    char line[1024];
    unsigned long user = 0;
    unsigned long kernel = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);

    FILE *file = fopen(path, "r");

    if (file == NULL) {
        return 0;
    }
    if (fgets(line, sizeof(line), file) != NULL) {
        const char *after_name = strrchr(line, ')');

        if (after_name == NULL
            || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                      &kernel) != 2)
        {
            user = kernel = 0;
        }
    }
    fclose(file);
    return (double) (user + kernel) / (double) sysconf(_SC_CLK_TCK);
}

static double
rss_kb(long pid)
{
    char path[64];
    char line[256];
    long value = 0;

    snprintf(path, sizeof(path), "/proc/%ld/status", pid);

    FILE *file = fopen(path, "r");

    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "VmRSS: %ld", &value) != 1) {
    }
    fclose(file);
    return (double) value;
}

static double
own_cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

load_edge_t
load_stats_edge(void)
{
    return (load_edge_t) {
        .target_cpu = sum_over(load_options.pids, cpu_seconds),
        .other_cpu = sum_over(load_options.others, cpu_seconds),
        .own_cpu = own_cpu_seconds(),
        .at_ns = hb_now_ns(),
        .handshakes = load_counts.handshakes,
        .tunnels = load_counts.tunnels,
    };
}

static void
print_status(void)
{
    const char *comma = "";

    printf("\"status\":{");
    for (int i = 0; i < 600; i++) {
        if (load_counts.status[i] != 0) {
            printf("%s\"%d\":%" PRIu64, comma, i, load_counts.status[i]);
            comma = ",";
        }
    }
    printf("},");
}

static void
print_errors(void)
{
    const load_counts_t *c = &load_counts;

    printf("\"errors\":{\"connect\":%" PRIu64 ",\"tls\":%" PRIu64 ",\"tunnel\":%" PRIu64
           ",\"stream\":%" PRIu64 ",\"protocol\":%" PRIu64 ",\"bad_status\":%" PRIu64
           ",\"bad_size\":%" PRIu64 "},",
           c->connect, c->tls, c->tunnel, c->stream, c->protocol, c->bad_status, c->bad_size);
}

static void
print_lost(void)
{
    const load_counts_t *c = &load_counts;

    printf("\"told\":%" PRIu64 ",\"lost\":{\"conns\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"tunnels\":%" PRIu64
           ",\"back\":%" PRIu64 ",\"back_ms_mean\":%.2f,\"back_ms_max\":%.2f},",
           c->told_conns, c->lost_conns, c->lost_requests, c->lost_tunnels, back_count,
           back_count != 0 ? (double) back_sum / (double) back_count / 1e6 : 0,
           (double) back_max / 1e6);
}

static void
print_latency(void)
{
    double mean = latency_count != 0 ? latency_sum / (double) latency_count / 1000 : 0;

    printf("\"latency_us\":{\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,"
           "\"max\":%.1f},",
           mean, percentile_us(50), percentile_us(90), percentile_us(99), percentile_us(99.9),
           (double) latency_max / 1000);
}

void
load_stats_print(const load_edge_t *from, const load_edge_t *to, double setup_seconds)
{
    const load_counts_t *c = &load_counts;
    double seconds = (double) (to->at_ns - from->at_ns) / 1e9;
    double cpu = to->target_cpu - from->target_cpu;

    printf("{\"requests\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"seconds\":%.3f,\"rps\":%.1f,"
           "\"mb_per_s\":%.2f,",
           c->done, c->ok, seconds, (double) c->done / seconds,
           (double) c->body_bytes / seconds / 1e6);
    print_status();
    print_errors();
    print_latency();
    print_lost();
    printf("\"longest_gap_ms\":%.2f,", (double) longest_gap / 1e6);
    printf("\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"tunnels\":%" PRIu64
           ",\"setup_s\":%.3f,",
           to->handshakes - from->handshakes, c->resumed, to->tunnels - from->tunnels,
           setup_seconds);

    if (load_options.pids != NULL) {
        printf("\"proxy_cpu_s\":%.2f,\"proxy_cpu_us_per_req\":%.3f,\"proxy_cores\":%.3f,"
               "\"other_cpu_us_per_req\":%.3f,\"proxy_rss_kb\":%.0f,",
               cpu, c->done != 0 ? cpu * 1e6 / (double) c->done : 0, cpu / seconds,
               c->done != 0 ? (to->other_cpu - from->other_cpu) * 1e6 / (double) c->done : 0,
               sum_over(load_options.pids, rss_kb));
    }
    printf("\"loadgen_cores\":%.3f}\n", (to->own_cpu - from->own_cpu) / seconds);
}

void
load_stats_print_held(double setup_seconds)
{
    printf("{\"held_conns\":%zu,\"held_tunnels\":%zu,\"primed\":%zu,\"failed\":%" PRIu64
           ",\"setup_s\":%.3f}\n",
           load_options.conns, load_run.open_count, load_run.primed_count,
           load_counts.connect + load_counts.tls + load_counts.tunnel + load_counts.stream,
           setup_seconds);
    fflush(stdout);
}
