/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of hboneload. */

#include "load.h"

#include <getopt.h>
#include <stdlib.h>

enum {
    OPT_CHURN = 256,
    OPT_RESET,
    OPT_RESUME,
    OPT_HOLD,
    OPT_NO_PRIME,
    OPT_EXPECT,
    OPT_EXPECT_SIZE,
    OPT_CA,
    OPT_CERT,
    OPT_KEY,
    OPT_SERVER_NAME,
    OPT_CPU,
    OPT_OTHERS,
    OPT_ANNOUNCE,
    OPT_RECONNECT,
    OPT_BODY_TICK,
    OPT_STALL,
    OPT_WINDOW
};

static const struct option long_options[] = {
    { "churn", required_argument, NULL, OPT_CHURN },
    { "rst", no_argument, NULL, OPT_RESET },
    { "resume", no_argument, NULL, OPT_RESUME },
    { "hold", required_argument, NULL, OPT_HOLD },
    { "no-prime", no_argument, NULL, OPT_NO_PRIME },
    { "expect", required_argument, NULL, OPT_EXPECT },
    { "expect-size", required_argument, NULL, OPT_EXPECT_SIZE },
    { "ca", required_argument, NULL, OPT_CA },
    { "cert", required_argument, NULL, OPT_CERT },
    { "key", required_argument, NULL, OPT_KEY },
    { "sni", required_argument, NULL, OPT_SERVER_NAME },
    { "cpu", required_argument, NULL, OPT_CPU },
    { "others", required_argument, NULL, OPT_OTHERS },
    { "announce", no_argument, NULL, OPT_ANNOUNCE },
    { "reconnect", no_argument, NULL, OPT_RECONNECT },
    { "body-tick", required_argument, NULL, OPT_BODY_TICK },
    { "stall", required_argument, NULL, OPT_STALL },
    { "window", required_argument, NULL, OPT_WINDOW },
    { NULL, 0, NULL, 0 },
};

load_options_t load_options = {
    .proto = LOAD_HBONE,
    .conns = 1,
    .tunnels = 1,
    .streams = 1,
    .seconds = 5,
    .warm_seconds = 1,
    .expect_status = 200,
    .path = "/",
    .host = "svc.default.svc.cluster.local",
};

static void __attribute__((noreturn))
usage(void)
{
    hb_die("hboneload [options] ADDR:PORT\n"
           "  -P hbone|tls|tcp   CONNECT tunnels over mutual TLS (default), TLS, or plain TCP\n"
           "  -m h1|h2           inner protocol;  -s N  streams a pipe (h2)\n"
           "  -c N  connections;  -t N  tunnels a connection (hbone)\n"
           "  -d SEC | -n N      measured time or requests;  -w SEC  warm-up (1)\n"
           "  -r N               open loop at N requests a second\n"
           "  -a VIP:PORT        :authority of the CONNECT; repeated: round robin over tunnels\n"
           "  -p PATH -H k=v -X METHOD -b BODY_BYTES -A HOST   the request\n"
           "  -C k=v             a header of the CONNECT\n"
           "  --churn tunnel|conn  a fresh one for every request;  --rst, --resume\n"
           "  --hold SEC         open all, one request each (--no-prime: none), then stay idle\n"
           "  --announce         a line \"running\" when the measured time begins; TERM ends it\n"
           "  --reconnect        lost connections and tunnels are opened again at once, and what\n"
           "                     was lost is told apart; requests not yet sent wait for it\n"
           "  --body-tick MS     256 bytes of the body each MS (h1)\n"
           "  --stall N          N tunnels of the first connection read nothing;\n"
           "  --window BYTES     the window of a tunnel\n"
           "  --expect STATUS --expect-size N   what counts as ok\n"
           "  --ca FILE --cert FILE --key FILE --sni NAME\n"
           "  --cpu PID[,PID]    processes under test;  --others PID[,PID]  reported apart");
}

/* One of two or three words; the index is the value. */
static int
word(const char *text, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    usage();
}

static void
add_header(load_header_t *headers, size_t *count, char *text)
{
    char *equals = strchr(text, '=');

    if (equals == NULL || *count == LOAD_MAX_HEADERS) {
        usage();
    }
    *equals = '\0';
    headers[(*count)++] = (load_header_t) { .name = text, .value = equals + 1 };
}

static void
add_authority(const char *text)
{
    if (load_options.authority_count == LOAD_MAX_AUTHORITIES) {
        usage();
    }
    load_options.authorities[load_options.authority_count++] = text;
}

static void
read_short(int option, char *value)
{
    static const char *const protos[] = { "hbone", "tls", "tcp" };
    static const char *const inner[] = { "h1", "h2" };
    load_options_t *o = &load_options;

    switch (option) {
    case 'P': o->proto = (load_proto_t) word(value, protos, 3); break;
    case 'm': o->h2 = word(value, inner, 2) == 1; break;
    case 's': o->streams = hb_number(value, "number of streams"); break;
    case 'c': o->conns = hb_number(value, "number of connections"); break;
    case 't': o->tunnels = hb_number(value, "number of tunnels"); break;
    case 'd': o->seconds = hb_decimal(value, "time"); break;
    case 'n': o->requests = hb_number(value, "number of requests"); break;
    case 'w': o->warm_seconds = hb_decimal(value, "time"); break;
    case 'r': o->rate = hb_decimal(value, "rate"); break;
    case 'a': add_authority(value); break;
    case 'p': o->path = value; break;
    case 'H': add_header(o->headers, &o->header_count, value); break;
    case 'C': add_header(o->connect_headers, &o->connect_header_count, value); break;
    case 'X': o->method = value; break;
    case 'b': o->body_len = hb_number(value, "body size"); break;
    case 'A': o->host = value; break;
    default: usage();
    }
}

static void
read_long(int option, char *value)
{
    static const char *const churns[] = { "none", "tunnel", "conn" };
    load_options_t *o = &load_options;

    switch (option) {
    case OPT_CHURN: o->churn = (load_churn_t) word(value, churns, 3); break;
    case OPT_RESET: o->reset = true; break;
    case OPT_RESUME: o->resume = true; break;
    case OPT_HOLD: o->hold_seconds = hb_decimal(value, "time"); break;
    case OPT_NO_PRIME: o->no_prime = true; break;
    case OPT_EXPECT: o->expect_status = (int) (hb_number(value, "status") % 1000); break;
    case OPT_EXPECT_SIZE:
        o->expect_size = hb_number(value, "size");
        o->sized = true;
        break;
    case OPT_CA: o->tls.ca = value; break;
    case OPT_CERT: o->tls.cert = value; break;
    case OPT_KEY: o->tls.key = value; break;
    case OPT_SERVER_NAME: o->server_name = value; break;
    case OPT_CPU: o->pids = value; break;
    case OPT_OTHERS: o->others = value; break;
    case OPT_ANNOUNCE: o->announce = true; break;
    case OPT_RECONNECT: o->reconnect = true; break;
    case OPT_BODY_TICK: o->body_tick_ns = hb_number(value, "time") * 1000000; break;
    case OPT_STALL: o->stalled = hb_number(value, "number of tunnels"); break;
    case OPT_WINDOW: o->window = hb_number(value, "window") & INT32_MAX; break;
    default: usage();
    }
}

static void
check(void)
{
    load_options_t *o = &load_options;

    if (!o->h2) {
        o->streams = 1;
    }
    if (o->proto != LOAD_HBONE) {
        o->tunnels = 1;
    }
    if (o->authority_count == 0) {
        add_authority("10.0.0.1:80");
    }
    if (o->method == NULL) {
        o->method = o->body_len != 0 ? "POST" : "GET";
    }
    if (o->conns == 0 || o->tunnels == 0 || o->streams == 0) {
        usage();
    }
    if ((o->reconnect || o->stalled != 0) && (o->churn != LOAD_KEEP || o->proto != LOAD_HBONE)) {
        hb_die("--reconnect and --stall want -P hbone without --churn");
    }
    if (o->body_tick_ns != 0 && o->h2) {
        hb_die("--body-tick wants -m h1");
    }
    if (o->churn == LOAD_CHURN_TUNNEL && (o->proto != LOAD_HBONE || o->h2)) {
        hb_die("--churn tunnel wants -P hbone -m h1");
    }
    if (o->churn == LOAD_CHURN_CONN && (o->tunnels != 1 || o->streams != 1)) {
        hb_die("--churn conn wants one tunnel and one stream a connection");
    }
}

void
load_options_read(int argc, char **argv)
{
    int option;

    while ((option = getopt_long(argc, argv, "P:m:s:c:t:d:n:w:r:a:p:H:C:X:b:A:h", long_options,
                                 NULL)) != -1)
    {
        if (option < OPT_CHURN) {
            read_short(option, optarg);
        } else {
            read_long(option, optarg);
        }
    }
    if (optind + 1 != argc) {
        usage();
    }
    load_options.target = hb_address(argv[optind]);
    check();
}
