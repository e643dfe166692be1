/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ask - commands that ask the running cairn's admin endpoint: request, show, explain.  explain
 * works without one too, with -r: it builds the tables here and walks them.
 */

#include "cli/cli.h"

#include "base/clock.h"
#include "cli/render.h"
#include "filter/explain.h"
#include "model/compile.h"
#include "table/verify.h"

#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX   (64u * 1024 * 1024)
#define WAIT_MS      10000
#define HEADERS_MAX  64


/* ---- one GET, waiting ------------------------------------------------------------------------ */

static int
connect_to(const cn_address_t *address)
{
    struct pollfd  wait = { .events = POLLOUT };
    char           text[CN_ADDRESS_TEXT_MAX];
    cn_status_t    status = cn_socket_connect(address, NULL, &wait.fd);

    if (status == CN_AGAIN && poll(&wait, 1, WAIT_MS) == 1 && cn_socket_error(wait.fd) == 0) {
        status = CN_OK;
    }

    if (status != CN_OK) {
        cn_address_print(address, text);
        fprintf(stderr, "cairn: nobody answers at the admin address %s: is it running?\n", text);
        return -1;
    }

    return wait.fd;
}


/* Appends what the peer says until it closes.  False: it stopped talking, or said too much. */
static bool
read_all(int fd, cn_array_t *answer)
{
    for ( ;; ) {
        struct pollfd  wait = { .fd = fd, .events = POLLIN };
        char           part[16384];
        ssize_t        len;

        if (poll(&wait, 1, WAIT_MS) != 1) {
            return false;
        }

        len = read(fd, part, sizeof(part));

        if (len <= 0) {
            return len == 0;
        }

        for (ssize_t i = 0; i < len; i++) {
            char  *octet = cn_array_add(answer);

            if (octet == NULL || answer->count > ANSWER_MAX) {
                return false;
            }

            *octet = part[i];
        }
    }
}


/* GET path from address; *body lives in pool.  The status, 0 when there was no answer. */
static unsigned
http_get(const cn_address_t *address, const char *method, const char *path, cn_pool_t *pool,
    cn_bytes_t *body)
{
    int          fd = connect_to(address);
    const char  *request;
    cn_array_t   answer = CN_ARRAY_INIT(pool, char);
    cn_bytes_t   text;
    size_t       head;
    uint64_t     status = 0;

    if (fd < 0) {
        return 0;
    }

    request = cn_pool_printf(pool, "%s %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
                             method, path);

    if (request == NULL
        || write(fd, request, strlen(request)) != (ssize_t) strlen(request)
        || !read_all(fd, &answer))
    {
        fprintf(stderr, "cairn: the admin endpoint gave no whole answer\n");
        close(fd);
        return 0;
    }

    close(fd);
    text = cn_bytes(answer.items, answer.count);
    head = cn_bytes_find(text, CN_BYTES("\r\n\r\n"));

    if (head == SIZE_MAX || text.len < 12
        || cn_bytes_to_u64(cn_bytes(text.ptr + 9, 3), 999, &status) != CN_OK)
    {
        return 0;
    }

    *body = cn_bytes_from(text, head + 4);

    return (unsigned) status;
}


static int
ask(const cn_cli_options_t *options, const char *method, const char *path, cn_render_t how)
{
    cn_cli_setup_t  setup;
    cn_bytes_t      body = CN_BYTES_NONE;
    unsigned        status = 0;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    if (setup.bootstrap.admin.count == 0) {
        fprintf(stderr, "cairn: the bootstrap file has no admin.address\n");

    } else {
        status = http_get(CN_ARRAY_AT(&setup.bootstrap.admin, cn_address_t, 0), method, path,
                          setup.pool, &body);

        /* what is no JSON is an answer too: it says what went wrong */
        if (body.len > 0 && !cn_render(body, how, stdout)) {
            fwrite(body.ptr, 1, body.len, stdout);
        }
    }

    cn_cli_setup_end(&setup);

    return status >= 200 && status < 300 ? 0 : 1;
}


int
cn_cli_request(const cn_cli_options_t *options, int argc, char **argv)
{
    const char  *path;

    if (argc != 3) {
        fprintf(stderr, "usage: cairn [-c FILE] request GET PATH\n");
        return 2;
    }

    path = argv[2][0] == '/' ? argv[2] : NULL;

    if (path == NULL) {
        char  with_slash[2048];

        snprintf(with_slash, sizeof(with_slash), "/%s", argv[2]);
        return ask(options, argv[1], with_slash, CN_RENDER_JSON);
    }

    return ask(options, argv[1], path, CN_RENDER_JSON);
}


int
cn_cli_show(const cn_cli_options_t *options, int argc, char **argv)
{
    static const struct {
        const char  *name;
        const char  *path;
    } pages[] = {
        { "status", "/status.json" },
        { "routes", "/routes.json" },
        { "clusters", "/clusters.json" },
        { "config", "/config_dump" },
        { "traffic", "/traffic.json" },
    };

    /* people read text; what reads a pipe is most likely a program */
    cn_render_t  how = isatty(STDOUT_FILENO) ? CN_RENDER_TEXT : CN_RENDER_JSON;
    bool         good = true;
    int          option;

    optind = 0;                         /* options may stand before the page or behind it */

    while ((option = getopt(argc, argv, "o:")) != -1) {
        good = good && option == 'o' && cn_render_parse(optarg, &how);
    }

    for (size_t i = 0; good && argc - optind == 1 && i < CN_COUNT_OF(pages); i++) {
        if (strcmp(argv[optind], pages[i].name) == 0) {
            return ask(options, "GET", pages[i].path, how);
        }
    }

    fprintf(stderr, "usage: cairn [-c FILE] show status|routes|clusters|config|traffic "
                    "[-o text|yaml|json]\n");

    return 2;
}


/* ---- explain --------------------------------------------------------------------------------- */

typedef struct {
    const char  *from;                  /* SPIFFE id, or "" */
    const char  *method;
    const char  *url;
    const char  *headers[HEADERS_MAX];
    size_t       header_count;
} question_t;


static const char *
percent_encode(cn_pool_t *pool, const char *text)
{
    static const char  digits[] = "0123456789ABCDEF";
    size_t             len = strlen(text);
    char              *out = (char *) cn_pool_octets(pool, len * 3 + 1);
    char              *to = out;

    if (out == NULL) {
        return "";
    }

    for (size_t i = 0; i < len; i++) {
        unsigned char  octet = (unsigned char) text[i];

        if ((octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z')
            || (octet >= '0' && octet <= '9') || strchr("-._~/:", octet) != NULL)
        {
            *to++ = text[i];
            continue;
        }

        *to++ = '%';
        *to++ = digits[octet >> 4];
        *to++ = digits[octet & 15];
    }

    *to = '\0';

    return out;
}


static int
explain_running(const cn_cli_options_t *options, const question_t *question)
{
    cn_pool_t   *pool = cn_pool_create(8192, NULL);
    const char  *path;
    int          code;

    if (pool == NULL) {
        return 1;
    }

    path = cn_pool_printf(pool, "/explain?method=%s&url=%s&from=%s",
                          percent_encode(pool, question->method),
                          percent_encode(pool, question->url),
                          percent_encode(pool, question->from));

    for (size_t i = 0; path != NULL && i < question->header_count; i++) {
        path = cn_pool_printf(pool, "%s&h=%s", path,
                              percent_encode(pool, question->headers[i]));
    }

    code = path != NULL ? ask(options, "GET", path, CN_RENDER_JSON) : 1;
    cn_pool_destroy(pool);

    return code;
}


/* The tables that a master would publish, adopted here. */
static cn_status_t
adopt_offline(const cn_model_t *model, cn_report_t *report, cn_publisher_t *publisher,
    cn_tables_t *tables)
{
    static _Atomic uint64_t   last_id;
    cn_publication_t          publication;
    const char               *what = "";
    cn_ids_t                 *ids = cn_ids_create(&last_id);
    cn_compilation_t         *compilation;
    cn_status_t               status;

    if (ids == NULL) {
        return CN_ERR_MEMORY;
    }

    compilation = cn_compile_start(model, ids, NULL, publisher, report);

    if (compilation == NULL) {
        cn_ids_destroy(ids);
        return CN_ERR_MEMORY;
    }

    do {
        status = cn_compile_step(compilation, 1000000);
    } while (status == CN_AGAIN);

    cn_compile_end(compilation);
    cn_ids_destroy(ids);

    if (status != CN_OK) {
        return status;
    }

    status = cn_publisher_commit(publisher, &publication);

    if (status != CN_OK) {
        return status;
    }

    publication.directory = dup(publication.directory);

    for (size_t i = 0; i < publication.segment_count; i++) {
        publication.segments[i] = dup(publication.segments[i]);
    }

    status = cn_tables_offer(tables, &publication);

    while (status == CN_OK && cn_tables_generation(tables) == 0) {
        status = cn_tables_adopt(tables, 1000000, &what);

        if (status == CN_AGAIN) {
            status = CN_OK;
        }
    }

    return status;
}


static cn_status_t
read_url(const question_t *question, cn_pool_t *pool, cn_explain_request_t *request)
{
    cn_bytes_t  url = cn_bytes_str(question->url);
    size_t      slash;

    if (cn_bytes_starts_with_nocase(url, CN_BYTES("http://"))) {
        url = cn_bytes_from(url, 7);
    }

    slash = cn_bytes_find_octet(url, '/');
    request->authority = slash == SIZE_MAX ? url : cn_bytes(url.ptr, slash);
    request->path = slash == SIZE_MAX ? CN_BYTES("/") : cn_bytes_from(url, slash);
    request->method = cn_bytes_str(question->method);
    request->principal = cn_bytes_str(question->from);
    request->headers = (cn_headers_t) { .pool = pool };

    for (size_t i = 0; i < question->header_count; i++) {
        char       *lower = cn_pool_str(pool, cn_bytes_str(question->headers[i]));
        char       *colon = lower != NULL ? strchr(lower, ':') : NULL;

        if (colon == NULL) {
            return CN_ERR_SYNTAX;
        }

        for (char *at = lower; at < colon; at++) {
            *at = (char) cn_lower((uint8_t) *at);
        }

        if (cn_headers_add(&request->headers, cn_bytes(lower, (size_t) (colon - lower)),
                           cn_bytes_trim(cn_bytes_str(colon + 1))) != CN_OK)
        {
            return CN_ERR_MEMORY;
        }
    }

    return CN_OK;
}


static int
explain_tables(const cn_tables_t *tables, const question_t *question, cn_pool_t *pool)
{
    cn_explain_t          explain = { .pool = pool, .lines = CN_ARRAY_INIT(pool, cn_bytes_t) };
    cn_explain_request_t  request;

    if (read_url(question, pool, &request) != CN_OK
        || cn_explain_run(tables, &request, &explain) != CN_OK)
    {
        fprintf(stderr, "cairn: the request cannot be read\n");
        return 1;
    }

    CN_ARRAY_EACH(&explain.lines, const cn_bytes_t, line) {
        printf("%.*s\n", CN_BYTES_ARG(*line));
    }

    return 0;
}


static int
explain_offline(const cn_cli_options_t *options, const question_t *question)
{
    cn_cli_setup_t     setup;
    cn_istio_state_t  *state = NULL;
    cn_model_t        *model = NULL;
    cn_publisher_t    *publisher = cn_publisher_create(0);
    cn_tables_t       *tables = cn_tables_create(cn_table_verify);
    int                code = 1;

    if (publisher == NULL || tables == NULL || !cn_cli_setup(options, &setup)) {
        return 1;
    }

    cn_table_set_module_verify(cn_module_verify_config);

    if (cn_cli_read_model(options, &setup, &state, &model) == CN_OK
        && adopt_offline(model, setup.report, publisher, tables) == CN_OK)
    {
        code = explain_tables(tables, question, setup.pool);

    } else {
        cn_cli_print_report(setup.report, stderr);
    }

    cn_tables_destroy(tables);
    cn_publisher_destroy(publisher);

    if (model != NULL) {
        cn_model_destroy(model);
    }

    if (state != NULL) {
        cn_istio_state_destroy(state);
    }

    cn_cli_setup_end(&setup);

    return code;
}


int
cn_cli_explain(const cn_cli_options_t *options, int argc, char **argv)
{
    static const struct option  names[] = {
        { "from", required_argument, NULL, 'f' },
        { NULL, 0, NULL, 0 },
    };
    question_t  question = { .from = "" };
    int         option;

    optind = 1;

    while ((option = getopt_long(argc, argv, "H:f:", names, NULL)) != -1) {
        if (option == 'f') {
            question.from = optarg;

        } else if (option == 'H' && question.header_count < HEADERS_MAX) {
            question.headers[question.header_count++] = optarg;

        } else {
            return 2;
        }
    }

    if (argc - optind != 2) {
        fprintf(stderr, "usage: cairn [-c FILE | -r DIR] explain [--from SPIFFE] "
                        "[-H NAME:VALUE]... METHOD URL\n");
        return 2;
    }

    question.method = argv[optind];
    question.url = argv[optind + 1];

    return options->bootstrap.resources != NULL && options->bootstrap.file == NULL
               ? explain_offline(options, &question) : explain_running(options, &question);
}
