/* SPDX-License-Identifier: Apache-2.0 */

/*
 * demo - `cairn demo`: Bookinfo on this machine.  This process is the mesh around the waypoint: the
 * pods, the ingress and a visitor that asks for a page four times a second; the waypoint is a cairn
 * of its own, started as a child.
 *
 *   browser > ingress 127.0.0.1:8080 > waypoint > productpage > waypoint > details, reviews >
 *   waypoint > ratings
 */

#include "cli/cli.h"

#include "auto_config.h"
#include "base/clock.h"
#include "cli/demo.h"
#include "event/signal.h"
#include "stream/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VISIT_MS        250
#define TELL_MS         1000
#define START_MS        30000
#define INGRESS_PORT    8080
#define INGRESS_ID      "spiffe://cluster.local/ns/istio-system/sa/bookinfo-gateway"
#define PAGE_AUTHORITY  "productpage.default.svc.cluster.local:9080"

typedef struct {
    cn_demo_t          mesh;
    cn_signals_t      *signals;
    char               program[PATH_MAX];       /* as commands are printed */
    char               directory[PATH_MAX];     /* of the state */
    char               resources[PATH_MAX];
    char               ca[PATH_MAX + 16];
    char               bootstrap[PATH_MAX + 16];
    char               error_log[PATH_MAX + 16];
    cn_address_t       ingress;
    cn_address_t       ingress_pod;     /* where it calls the waypoint from, if it is a workload */
    bool               ingress_is_pod;
    cn_address_t       hbone;
    cn_address_t       admin;
    cn_address_t       status;
    cn_address_t       metrics;
    pid_t              waypoint;
    cn_tls_context_t  *identity;            /* the ingress's */
    cn_mesh_client_t  *client;
    cn_watch_t         listening;
    cn_timer_t         visit;
    cn_timer_t         tell;
    uint64_t           started_ms;
    uint64_t           last_seconds;        /* 0: until Ctrl-C */
    bool               up;
    uint64_t           requests, allowed, denied, failed;
    cn_demo_counts_t   told;
    uint64_t           told_requests;
    int                code;
} demo_t;


/* ---- the ingress ----------------------------------------------------------------------------- */

/* A request on its way through: both exchanges, either NULL when it is over. */
typedef struct {
    demo_t         *demo;
    cn_exchange_t  *down;                   /* NULL for the visitor's own */
    cn_exchange_t  *up;
    cn_pool_t      *own_pool;               /* the visitor's */
    cn_timer_t      free;
    bool            up_ended;
} passage_t;


static void
count_answer(demo_t *demo, unsigned status)
{
    demo->requests++;
    demo->allowed += status >= 200 && status < 400;
    demo->denied += status == 403;
    demo->failed += status == 0 || status >= 500;
}


static void say_hello(demo_t *demo);


static void
passage_free(cn_timer_t *timer)
{
    passage_t  *passage = CN_CONTAINER_OF(timer, passage_t, free);

    cn_pool_destroy(passage->own_pool);
}


/*
 * The upstream side is over.  The visitor's pool goes in a later turn: the exchange still lies in
 * it.
 */
static void
passage_up_over(passage_t *passage)
{
    passage->up = NULL;

    if (passage->own_pool != NULL) {
        passage->free.run = passage_free;
        cn_timer_set(passage->demo->mesh.loop, &passage->free, 1);
    }
}


static void
up_head(void *owner, cn_message_t *head, bool end)
{
    passage_t  *passage = owner;
    demo_t     *demo = passage->demo;

    count_answer(demo, head->status);

    if (!demo->up && head->status == 200) {
        demo->up = true;
        say_hello(demo);
    }

    if (passage->down != NULL) {
        cn_exchange_send_head(passage->down, head, end);
    }

    if (end) {
        passage_up_over(passage);
    }
}


static void
up_body(void *owner, cn_slice_t *data)
{
    passage_t  *passage = owner;

    if (passage->down == NULL) {
        cn_exchange_consumed(passage->up, data->len);
        return;
    }

    cn_exchange_send_body(passage->down, *data);
    *data = (cn_slice_t) { NULL, NULL, 0 };
}


static void
up_end(void *owner, cn_headers_t *trailers)
{
    passage_t  *passage = owner;

    if (passage->down != NULL) {
        cn_exchange_send_end(passage->down, trailers);
    }

    passage_up_over(passage);
}


static void
up_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    passage_t  *passage = owner;

    (void) reason;
    (void) detail;

    if (passage->demo->up) {
        count_answer(passage->demo, 0);
    }

    if (passage->down != NULL) {
        cn_exchange_reset(passage->down, CN_RESET_LOCAL);
        passage->down = NULL;
    }

    passage_up_over(passage);
}


static const cn_exchange_events_t  up_events = {
    .on_head = up_head,
    .on_body = up_body,
    .on_end = up_end,
    .on_reset = up_reset,
};


static void
down_body(void *owner, cn_slice_t *data)
{
    passage_t  *passage = owner;

    if (passage->up == NULL) {
        cn_exchange_consumed(passage->down, data->len);
        return;
    }

    cn_exchange_send_body(passage->up, *data);
    cn_exchange_consumed(passage->down, data->len);
    *data = (cn_slice_t) { NULL, NULL, 0 };
}


static void
down_end(void *owner, cn_headers_t *trailers)
{
    passage_t  *passage = owner;

    if (passage->up != NULL && !passage->up_ended) {
        passage->up_ended = true;
        cn_exchange_send_end(passage->up, trailers);
    }
}


static void
down_sent(void *owner, size_t len)
{
    passage_t  *passage = owner;

    if (passage->up != NULL) {
        cn_exchange_consumed(passage->up, len);
    }
}


static void
down_gone(passage_t *passage)
{
    passage->down = NULL;

    if (passage->up != NULL) {
        cn_exchange_reset(passage->up, CN_RESET_LOCAL);
        passage->up = NULL;
    }
}


static void
down_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    (void) reason;
    (void) detail;
    down_gone(owner);
}


static void
down_over(void *owner)
{
    down_gone(owner);
}


static const cn_exchange_events_t  down_events = {
    .on_body = down_body,
    .on_end = down_end,
    .on_sent = down_sent,
    .on_reset = down_reset,
    .on_over = down_over,
};


static void
ingress_exchange(void *owner, cn_exchange_t *exchange, cn_message_t *head, bool end)
{
    demo_t     *demo = owner;
    passage_t  *passage = cn_pool_alloc_zero(exchange->pool, sizeof(passage_t));

    if (passage == NULL) {
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
        return;
    }

    passage->demo = demo;
    passage->down = exchange;
    passage->up_ended = end;
    cn_exchange_set_owner(exchange, &down_events, passage);
    head->authority = CN_BYTES("productpage:9080");

    if (cn_bytes_equal(head->path, CN_BYTES("/"))) {
        head->path = CN_BYTES("/productpage");
    }

    passage->up = cn_mesh_request(demo->client, CN_BYTES(PAGE_AUTHORITY), head, end,
                                  exchange->pool, &up_events, passage);

    if (passage->up == NULL) {
        passage->down = NULL;
        cn_exchange_reset(exchange, CN_RESET_LOCAL);
    }
}


static void
ingress_closed(void *owner, cn_close_reason_t reason)
{
    (void) owner;
    (void) reason;
}


static const cn_session_events_t  ingress_events = {
    .on_exchange = ingress_exchange,
    .on_closed = ingress_closed,
};


static void
ingress_ready(cn_watch_t *watch, unsigned events)
{
    demo_t        *demo = CN_CONTAINER_OF(watch, demo_t, listening);
    cn_address_t   peer;
    int            fd;

    (void) events;

    while (cn_socket_accept(watch->fd, &fd, &peer) == CN_OK) {
        cn_stream_t  *tcp = cn_tcp_accept(demo->mesh.loop, fd, &peer, NULL);

        if (tcp == NULL) {
            close(fd);
            continue;
        }

        if (cn_h1_server(tcp, NULL, &ingress_events, demo) == NULL) {
            cn_stream_close(tcp, CN_CLOSE_LIMIT);
        }
    }
}


/* ---- the visitor ----------------------------------------------------------------------------- */

static void
visit(cn_timer_t *timer)
{
    demo_t        *demo = CN_CONTAINER_OF(timer, demo_t, visit);
    cn_pool_t     *pool = cn_pool_create(4096, NULL);
    passage_t     *passage = pool != NULL ? cn_pool_alloc_zero(pool, sizeof(passage_t)) : NULL;
    cn_message_t   head;

    cn_timer_set(demo->mesh.loop, timer, VISIT_MS);

    if (passage == NULL) {
        cn_pool_destroy(pool);
        return;
    }

    passage->demo = demo;
    passage->own_pool = pool;
    cn_message_init(&head, pool);
    head.version = CN_HTTP_11;
    head.method = CN_BYTES("GET");
    head.scheme = CN_BYTES("http");
    head.authority = CN_BYTES("productpage:9080");
    head.path = CN_BYTES("/productpage");
    passage->up = cn_mesh_request(demo->client, CN_BYTES(PAGE_AUTHORITY), &head, true, pool,
                                  &up_events, passage);

    if (passage->up == NULL) {
        cn_pool_destroy(pool);
    }
}


/* ---- what is told ---------------------------------------------------------------------------- */

static const char *
port_text(const cn_address_t *address)
{
    static char      texts[8][CN_ADDRESS_TEXT_MAX];
    static unsigned  next;
    char            *text = texts[next++ % 8];

    cn_address_print(address, text);

    return text;
}


static void
say_hello(demo_t *demo)
{
    const char  *program = demo->program;
    const char  *file = demo->bootstrap;

    printf("\nBookinfo is up (%llu ms).  Open http://%s/productpage, or in another terminal:\n\n",
           (unsigned long long) (cn_clock_ms() - demo->started_ms), port_text(&demo->ingress));
    printf("  curl http://%s/productpage\n", port_text(&demo->ingress));
    printf("  curl -N http://%s/stream                  # an open stream: no change ends it\n",
           port_text(&demo->ingress));
    printf("  %s -c %s call --as sleep GET http://productpage:9080/productpage\n", program, file);
    printf("  %s -c %s call --as notsleep GET http://productpage:9080/productpage      # 403\n",
           program, file);
    printf("  %s -c %s explain --from spiffe://cluster.local/ns/default/sa/notsleep "
           "GET http://productpage:9080/productpage   # why\n", program, file);
    printf("  %s -c %s call --as sleep -H end-user:jason GET http://ratings:9080/ratings/0   "
           "# 2 s later\n", program, file);
    printf("  %s -c %s show routes\n", program, file);
    printf("\n  live     http://%s/\n", port_text(&demo->admin));
    printf("  metrics  http://%s/stats/prometheus\n  logs     %s and %s/access.log\n",
           port_text(&demo->metrics), demo->error_log, demo->directory);
    printf("\nNow change the weights in %s/reviews.yaml and watch the share move.  Ctrl-C ends all "
           "of it.\n\n", demo->resources);
    fflush(stdout);
}


/* How many "reload done" the waypoint has logged. */
static unsigned
count_reloads(const demo_t *demo)
{
    FILE      *file = fopen(demo->error_log, "re");
    char       line[4096];
    unsigned   count = 0;

    if (file == NULL) {
        return 0;
    }

    while (fgets(line, sizeof(line), file) != NULL) {
        count += strstr(line, "reload done") != NULL;
    }

    fclose(file);

    return count > 0 ? count - 1 : 0;       /* the first is the start */
}


static void
tell_line(demo_t *demo)
{
    const cn_demo_counts_t  *now = &demo->mesh.counts;
    uint64_t                 v1 = now->reviews[1] - demo->told.reviews[1];
    uint64_t                 v2 = now->reviews[2] - demo->told.reviews[2];
    uint64_t                 v3 = now->reviews[3] - demo->told.reviews[3];
    uint64_t                 all_v1 = now->reviews[1], all
        = all_v1 + now->reviews[2] + now->reviews[3];

    printf("requests %4llu (+%llu)   reviews v1 %llu v2 %llu v3 %llu, v1 so far %5.1f %%   "
           "allowed %llu   denied %llu   failed %llu   reloads %u\n",
           (unsigned long long) demo->requests,
           (unsigned long long) (demo->requests - demo->told_requests), (unsigned long long) v1,
           (unsigned long long) v2, (unsigned long long) v3,
           all > 0 ? 100.0 * (double) all_v1 / (double) all : 0.0,
           (unsigned long long) demo->allowed, (unsigned long long) demo->denied,
           (unsigned long long) demo->failed, count_reloads(demo));
    fflush(stdout);
    demo->told = *now;
    demo->told_requests = demo->requests;
}


static void
end_demo(demo_t *demo, int code)
{
    demo->code = code;
    cn_loop_stop(demo->mesh.loop);
}


static void
tell(cn_timer_t *timer)
{
    demo_t    *demo = CN_CONTAINER_OF(timer, demo_t, tell);
    uint64_t   age_ms = cn_clock_ms() - demo->started_ms;

    cn_timer_set(demo->mesh.loop, timer, TELL_MS);

    if (demo->up) {
        tell_line(demo);

    } else if (age_ms > START_MS) {
        fprintf(stderr, "cairn: demo: no page after %d s; the waypoint's log is %s\n",
                START_MS / 1000, demo->error_log);
        end_demo(demo, 1);
    }

    if (demo->last_seconds > 0 && age_ms > demo->last_seconds * 1000) {
        end_demo(demo, demo->up ? 0 : 1);
    }
}


/* ---- start and end --------------------------------------------------------------------------- */

/* A free port of 127.0.0.1, the wanted one where it is free. */
static bool
find_port(uint16_t wanted, const char *what, cn_address_t *address)
{
    int  fd;

    *address = (cn_address_t) { .port = wanted };
    address->ip[10] = address->ip[11] = 0xff;
    address->ip[12] = 127;
    address->ip[15] = 1;

    if (cn_socket_listen(address, false, 1, &fd) == CN_OK) {
        close(fd);
        return true;
    }

    address->port = 0;

    if (cn_socket_listen(address, false, 1, &fd) != CN_OK
        || cn_socket_local(fd, address) != CN_OK) {
        fprintf(stderr, "cairn: demo: no port for %s: %s\n", what, strerror(errno));
        return false;
    }

    close(fd);
    printf("port %u is taken: %s is on %u\n", wanted, what, address->port);

    return true;
}


static bool
find_ports(demo_t *demo)
{
    return find_port(INGRESS_PORT, "the ingress", &demo->ingress)
           && find_port(15008, "the waypoint (HBONE)", &demo->hbone)
           && find_port(15000, "the admin endpoint", &demo->admin)
           && find_port(15021, "the status endpoint", &demo->status)
           && find_port(15020, "metrics", &demo->metrics);
}


static bool
write_bootstrap(const demo_t *demo)
{
    FILE  *file = fopen(demo->bootstrap, "we");

    if (file == NULL) {
        fprintf(stderr, "cairn: demo: %s: %s\n", demo->bootstrap, strerror(errno));
        return false;
    }

    fprintf(file, "# The demo's waypoint; written anew at each start.\n"
                  "workers: 2\nlog: {path: \"%s\", level: info}\n"
                  "access_log: {path: \"%s/access.log\"}\npid: \"%s/cairn.pid\"\ndrain_time: 1s\n"
                  "source: {files: \"%s\"}\n"
                  "identity: {development: {trust_domain: cluster.local, directory: \"%s\"}}\n"
                  "listen: {hbone: \"%s\"}\n", demo->error_log, demo->directory, demo->directory,
            demo->resources, demo->ca, port_text(&demo->hbone));
    fprintf(file, "admin: {address: \"%s\", status: \"%s\", metrics: [\"%s\"]}\n",
            port_text(&demo->admin), port_text(&demo->status), port_text(&demo->metrics));

    return fclose(file) == 0;
}


static bool
start_waypoint(demo_t *demo)
{
    char  *argv[] = { (char *) "cairn", (char *) "-c", demo->bootstrap, NULL };

    demo->waypoint = fork();

    if (demo->waypoint < 0) {
        fprintf(stderr, "cairn: demo: %s\n", strerror(errno));
        return false;
    }

    if (demo->waypoint == 0) {
        sigset_t  none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);          /* Ctrl-C is ours to pass on */
        execv("/proc/self/exe", argv);
        _exit(127);
    }

    return true;
}


static void
on_signal(void *owner, int number)
{
    demo_t  *demo = owner;

    if (number != SIGCHLD) {
        end_demo(demo, 0);
        return;
    }

    if (waitpid(demo->waypoint, NULL, WNOHANG) == demo->waypoint) {
        fprintf(stderr, "cairn: demo: the waypoint has ended; its log is %s\n", demo->error_log);
        demo->waypoint = 0;
        end_demo(demo, 1);
    }
}


/* How this very program is called from where we are: printed commands are there to be pasted. */
static void
name_program(demo_t *demo)
{
    struct stat  self, built;
    ssize_t      len;

    if (stat("/proc/self/exe", &self) == 0 && stat("objs/cairn", &built) == 0
        && self.st_dev == built.st_dev && self.st_ino == built.st_ino)
    {
        snprintf(demo->program, sizeof(demo->program), "objs/cairn");
        return;
    }

    len = readlink("/proc/self/exe", demo->program, sizeof(demo->program) - 1);

    if (len > 0) {
        demo->program[len] = '\0';

    } else {
        snprintf(demo->program, sizeof(demo->program), "cairn");
    }
}


static bool
find_places(demo_t *demo, const cn_cli_options_t *options)
{
    const char  *resources = options->bootstrap.resources;
    char         made[1024];

    if (resources == NULL) {
        resources = access("conf/bookinfo", R_OK) == 0 ? "conf/bookinfo"
                                                       : CN_PREFIX "/conf/bookinfo";
    }

    snprintf(made, sizeof(made), "%s", access("objs", W_OK) == 0 ? "objs/demo" : "cairn-demo");

    if ((mkdir(made, 0755) != 0 && errno != EEXIST) || realpath(made, demo->directory) == NULL
        || realpath(resources, demo->resources) == NULL)
    {
        fprintf(stderr, "cairn: demo: %s or %s: %s\n", made, resources, strerror(errno));
        return false;
    }

    snprintf(demo->ca, sizeof(demo->ca), "%s/ca", demo->directory);
    snprintf(demo->bootstrap, sizeof(demo->bootstrap), "%s/cairn.yaml", demo->directory);
    snprintf(demo->error_log, sizeof(demo->error_log), "%s/error.log", demo->directory);
    unlink(demo->error_log);

    return true;
}


static bool
start_pods(demo_t *demo)
{
    cn_cli_options_t   options = { .bootstrap = { .file = demo->bootstrap } };
    cn_cli_setup_t     setup;
    cn_istio_state_t  *state = NULL;
    cn_model_t        *model = NULL;
    bool               started;

    if (!cn_cli_setup(&options, &setup)) {
        return false;
    }

    started = cn_cli_read_model(&options, &setup, &state, &model) == CN_OK;

    if (!started) {
        cn_cli_print_report(setup.report, stderr);

    } else {
        demo->ingress_is_pod = cn_mesh_source(model, CN_BYTES(INGRESS_ID), &demo->ingress_pod);
        started = cn_demo_start_pods(&demo->mesh, model, demo->ca, &demo->hbone);
        cn_model_destroy(model);
    }

    if (state != NULL) {
        cn_istio_state_destroy(state);
    }

    cn_cli_setup_end(&setup);

    return started;
}


static bool
start_ingress(demo_t *demo)
{
    demo->identity = cn_mesh_identity(demo->ca, "cluster.local", INGRESS_ID);

    if (demo->identity == NULL) {
        return false;
    }

    demo->client = cn_mesh_client_create(demo->mesh.loop, &demo->hbone,
                                         demo->ingress_is_pod ? &demo->ingress_pod : NULL,
                                         demo->identity);
    demo->listening.ready = ingress_ready;

    return demo->client != NULL
           && cn_socket_listen(&demo->ingress, false, 128, &demo->listening.fd) == CN_OK
           && cn_watch_set(demo->mesh.loop, &demo->listening, CN_READABLE) == CN_OK;
}


static void
end_waypoint(demo_t *demo)
{
    if (demo->waypoint > 0) {
        kill(demo->waypoint, SIGINT);
        waitpid(demo->waypoint, NULL, 0);
    }
}


static int
run_demo(demo_t *demo)
{
    static const int  numbers[] = { SIGINT, SIGTERM, SIGCHLD, 0 };

    demo->mesh.loop = cn_loop_create();
    demo->signals = demo->mesh.loop != NULL
                        ? cn_signals_open(demo->mesh.loop, numbers, on_signal, demo) : NULL;

    if (demo->signals == NULL) {
        return 1;
    }

    demo->started_ms = cn_clock_ms();

    if (!find_ports(demo) || !write_bootstrap(demo) || !start_pods(demo) || !start_waypoint(demo)
        || !start_ingress(demo))
    {
        end_waypoint(demo);
        return 1;
    }

    demo->visit.run = visit;
    demo->tell.run = tell;
    cn_timer_set(demo->mesh.loop, &demo->visit, VISIT_MS);
    cn_timer_set(demo->mesh.loop, &demo->tell, TELL_MS);
    cn_loop_run(demo->mesh.loop, NULL, NULL);
    end_waypoint(demo);
    printf("ended\n");

    return demo->code;
}


int
cn_cli_demo(const cn_cli_options_t *options, int argc, char **argv)
{
    static demo_t               demo;       /* large, and the process's one */
    static const struct option  names[] = {
        { "seconds", required_argument, NULL, 's' },
        { NULL, 0, NULL, 0 },
    };
    int                         option;

    optind = 1;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option != 's'
            || cn_bytes_to_u64(cn_bytes_str(optarg), 86400, &demo.last_seconds) != CN_OK)
        {
            fprintf(stderr, "usage: cairn demo [--seconds N]\n");
            return 2;
        }
    }

    name_program(&demo);

    return find_places(&demo, options) ? run_demo(&demo) : 1;
}
