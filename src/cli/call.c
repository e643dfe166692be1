/* SPDX-License-Identifier: Apache-2.0 */

/* call - `cairn call`: one request through HBONE, as a workload of the development mesh. */

#include "cli/cli.h"

#include "base/clock.h"
#include "cli/mesh_client.h"
#include "filter/chain.h"

#include <getopt.h>
#include <string.h>

#define DEADLINE_MS    30000
#define LAST_WORDS_MS  2000     /* more than a closed connection waits for its peer's end */

typedef struct {
    cn_loop_t         *loop;
    cn_mesh_client_t  *client;
    cn_timer_t         deadline;
    bool               done;
    int                code;
} call_run_t;


static void
on_head(void *owner, cn_message_t *head, bool end)
{
    call_run_t  *run = owner;

    printf("HTTP/1.1 %u\n", head->status);

    for (uint32_t i = 0; i < head->headers.count; i++) {
        const cn_header_t  *header = &head->headers.items[i];

        printf("%.*s: %.*s\n", CN_BYTES_ARG(header->name), CN_BYTES_ARG(header->value));
    }

    printf("\n");
    run->done |= end;
    run->code = head->status < 400 ? 0 : 1;
}


static void
on_body(void *owner, cn_slice_t *data)
{
    (void) owner;
    fwrite(data->ptr, 1, data->len, stdout);
}


static void
on_end(void *owner, cn_headers_t *trailers)
{
    call_run_t  *run = owner;

    (void) trailers;
    printf("\n");
    run->done = true;
}


static void
on_reset(void *owner, cn_reset_reason_t reason, const char *detail)
{
    call_run_t  *run = owner;

    (void) detail;
    fprintf(stderr, "cairn: no answer: %s (%s)\n", cn_reset_reason_name(reason),
            cn_mesh_client_failure(run->client));
    run->done = true;
    run->code = 1;
}


static const cn_exchange_events_t  events = {
    .on_head = on_head,
    .on_body = on_body,
    .on_end = on_end,
    .on_reset = on_reset,
};


static void
deadline_over(cn_timer_t *timer)
{
    call_run_t  *run = CN_CONTAINER_OF(timer, call_run_t, deadline);

    fprintf(stderr, "cairn: no answer within %d s\n", DEADLINE_MS / 1000);
    run->done = true;
    run->code = 1;
}


typedef struct {
    const char    *as;                  /* "sleep", "ns/sa" or a SPIFFE id */
    const char    *via;                 /* the waypoint's HBONE address, or NULL: the bootstrap's */
    const char    *method;
    const char    *url;
    const char    *headers[32];
    size_t         header_count;
} words_t;


static const char *
spiffe_of(const words_t *words, const char *trust_domain, cn_pool_t *pool)
{
    const char  *slash = strchr(words->as, '/');

    if (strncmp(words->as, "spiffe://", 9) == 0) {
        return words->as;
    }

    if (slash == NULL) {
        return cn_pool_printf(pool, "spiffe://%s/ns/default/sa/%s", trust_domain, words->as);
    }

    return cn_pool_printf(pool, "spiffe://%s/ns/%.*s/sa/%s", trust_domain,
                          (int) (slash - words->as), words->as, slash + 1);
}


/* "reviews:9080" to "reviews.default.svc.cluster.local:9080", the CONNECT's authority. */
static const char *
full_authority(cn_bytes_t authority, cn_pool_t *pool)
{
    cn_bytes_t  host;
    uint16_t    port;
    size_t      dots = 0;

    if (!cn_target_split(authority, 80, &host, &port)) {
        return NULL;
    }

    for (size_t i = 0; i < host.len; i++) {
        dots += host.ptr[i] == '.';
    }

    return cn_pool_printf(pool, "%.*s%s:%u", CN_BYTES_ARG(host),
                          dots == 0 ? ".default.svc.cluster.local"
                          : dots == 1 ? ".svc.cluster.local"
                          : dots == 2 ? ".cluster.local" : "", port);
}


static cn_status_t
make_head(const words_t *words, cn_pool_t *pool, cn_message_t *head)
{
    cn_bytes_t  url = cn_bytes_str(words->url);
    size_t      slash;

    if (cn_bytes_starts_with_nocase(url, CN_BYTES("http://"))) {
        url = cn_bytes_from(url, 7);
    }

    slash = cn_bytes_find_octet(url, '/');
    cn_message_init(head, pool);
    head->version = CN_HTTP_11;
    head->method = cn_bytes_str(words->method);
    head->scheme = CN_BYTES("http");
    head->authority = slash == SIZE_MAX ? url : cn_bytes(url.ptr, slash);
    head->path = slash == SIZE_MAX ? CN_BYTES("/") : cn_bytes_from(url, slash);

    for (size_t i = 0; i < words->header_count; i++) {
        char        *lower = cn_pool_str(pool, cn_bytes_str(words->headers[i]));
        char        *colon = lower != NULL ? strchr(lower, ':') : NULL;
        cn_status_t  status;

        if (colon == NULL) {
            fprintf(stderr, "cairn: -H %s: expected NAME:VALUE\n", words->headers[i]);
            return CN_ERR_SYNTAX;
        }

        for (char *at = lower; at < colon; at++) {
            *at = (char) cn_lower((uint8_t) *at);
        }

        status = cn_headers_add(&head->headers, cn_bytes(lower, (size_t) (colon - lower)),
                                cn_bytes_trim(cn_bytes_str(colon + 1)));

        if (status != CN_OK) {
            return status;
        }
    }

    return cn_headers_add_id(&head->headers, CN_HEADER_USER_AGENT, CN_BYTES("cairn"));
}


static int
run_call(call_run_t *run, const words_t *words, cn_pool_t *pool)
{
    cn_message_t  head;
    const char   *authority;

    if (make_head(words, pool, &head) != CN_OK) {
        return 2;
    }

    authority = full_authority(head.authority, pool);

    if (authority == NULL
        || cn_mesh_request(run->client, cn_bytes_str(authority), &head, true, pool, &events, run)
           == NULL)
    {
        fprintf(stderr, "cairn: %s: the request cannot be sent\n", words->url);
        return 1;
    }

    run->deadline.run = deadline_over;
    cn_timer_set(run->loop, &run->deadline, DEADLINE_MS);

    while (!run->done) {
        cn_loop_turn(run->loop, 1000);
    }

    cn_timer_cancel(&run->deadline);

    return run->code;
}


/*
 * Where the workload with this identity lives, when its pod is on this machine.  A configuration
 * that cannot be read is the waypoint's matter: the call is then made from anywhere.
 */
static bool
find_source(const cn_cli_options_t *options, cn_cli_setup_t *setup, const char *id,
    cn_address_t *source)
{
    cn_istio_state_t  *state = NULL;
    cn_model_t        *model = NULL;
    bool               found = false;

    if (setup->bootstrap.source_files != NULL
        && cn_cli_read_model(options, setup, &state, &model) == CN_OK)
    {
        found = cn_mesh_source(model, cn_bytes_str(id), source);
        cn_model_destroy(model);
    }

    if (state != NULL) {
        cn_istio_state_destroy(state);
    }

    return found;
}


static int
call_with(const cn_cli_options_t *options, cn_cli_setup_t *setup, const words_t *words)
{
    const cn_bootstrap_t  *bootstrap = &setup->bootstrap;
    cn_pool_t             *pool = setup->pool;
    const char            *id = spiffe_of(words, bootstrap->trust_domain, pool);
    cn_tls_context_t      *identity;
    cn_address_t           waypoint, source;
    call_run_t             run = { .code = 1 };

    if (words->via != NULL) {
        if (cn_address_parse(cn_bytes_str(words->via), &waypoint) != CN_OK) {
            fprintf(stderr, "cairn: --via %s: expected IP:PORT\n", words->via);
            return 2;
        }

    } else if (bootstrap->hbone.count > 0) {
        waypoint = *CN_ARRAY_AT(&bootstrap->hbone, cn_address_t, 0);

    } else {
        fprintf(stderr, "cairn: the bootstrap file has no listen.hbone: say --via IP:PORT\n");
        return 2;
    }

    identity = cn_mesh_identity(bootstrap->ca_directory, bootstrap->trust_domain, id);
    run.loop = cn_loop_create();

    if (identity == NULL || run.loop == NULL) {
        return 1;
    }

    run.client = cn_mesh_client_create(run.loop, &waypoint,
                                       find_source(options, setup, id, &source) ? &source : NULL,
                                       identity);
    cn_tls_context_unref(identity);

    if (run.client == NULL) {
        return 1;
    }

    run.code = run_call(&run, words, pool);
    cn_mesh_client_destroy(run.client);
    (void) cn_loop_finish(run.loop, LAST_WORDS_MS);
    cn_loop_destroy(run.loop);

    return run.code;
}


int
cn_cli_call(const cn_cli_options_t *options, int argc, char **argv)
{
    static const struct option  names[] = {
        { "as", required_argument, NULL, 'a' },
        { "via", required_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    words_t          words = { .as = "sleep" };
    cn_cli_setup_t   setup;
    int              option, code;

    optind = 1;

    while ((option = getopt_long(argc, argv, "H:", names, NULL)) != -1) {
        if (option == 'a') {
            words.as = optarg;

        } else if (option == 'v') {
            words.via = optarg;

        } else if (option == 'H' && words.header_count < CN_COUNT_OF(words.headers)) {
            words.headers[words.header_count++] = optarg;

        } else {
            return 2;
        }
    }

    if (argc - optind != 2) {
        fprintf(stderr, "usage: cairn [-c FILE] call [--as NAME] [--via IP:PORT] "
                        "[-H NAME:VALUE]... METHOD URL\n");
        return 2;
    }

    words.method = argv[optind];
    words.url = argv[optind + 1];

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    code = call_with(options, &setup, &words);
    cn_cli_setup_end(&setup);

    return code;
}
