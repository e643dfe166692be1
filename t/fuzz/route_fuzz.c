/* SPDX-License-Identifier: Apache-2.0 */

/*
 * route_fuzz - any request against routes of every kind of match: the search by the index finds
 * what a look at all routes in order finds, and what is found can be applied.
 *
 * The input: an octet that says how the path is normalised, then lines: path, authority, and
 * headers as "name: value".  What a reader of HTTP would refuse is left out.
 */

#include "filter/chain.h"
#include "http/normalize.h"
#include "http/wire.h"
#include "model/compile.h"
#include "route/action.h"
#include "source/source.h"
#include "table/verify.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char  resources[] =
    "{apiVersion: v1, kind: Namespace, metadata: {name: default,"
    " labels: {istio.io/use-waypoint: waypoint}}}\n---\n"
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint},"
    " spec: {gatewayClassName: istio-waypoint}}\n---\n"
    "{apiVersion: v1, kind: Service, metadata: {name: web},"
    " spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}], selector: {app: web}}}\n---\n"
    "{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app: web}},"
    " status: {podIP: 10.0.0.1}}\n---\n"
    "apiVersion: networking.istio.io/v1\n"
    "kind: VirtualService\n"
    "metadata: {name: web}\n"
    "spec:\n"
    "  hosts: [web]\n"
    "  http:\n"
    "  - match: [{uri: {exact: /e}}, {uri: {exact: /F}, ignoreUriCase: true}]\n"
    "    rewrite: {uri: /x}\n"
    "    route: [{destination: {host: web}}]\n"
    "  - match: [{uri: {prefix: /P}, ignoreUriCase: true}, {uri: {prefix: /p/}}]\n"
    "    rewrite: {uri: /, authority: other}\n"
    "    route: [{destination: {host: web}}]\n"
    "  - match: [{uri: {regex: \"/r/[a-z]+(/.*)?\"}}]\n"
    "    rewrite: {uriRegexRewrite: {match: \"([a-z])([0-9]*)\", rewrite: \"\\\\2\\\\1\"}}\n"
    "    route: [{destination: {host: web}}]\n"
    "  - match: [{headers: {cookie: {regex: \"^(.*?;)?(user=jason)(;.*)?$\"}}}]\n"
    "    redirect: {uri: /to, scheme: https, derivePort: FROM_REQUEST_PORT}\n"
    "  - match: [{headers: {accept: {prefix: a}, x-b: {}}, withoutHeaders: {x-c: {exact: c}}}]\n"
    "    redirect: {authority: there, port: 81}\n"
    "  - match: [{queryParams: {q: {exact: \"1\"}}}, {queryParams: {r: {regex: \"a+\"}, s: {}}}]\n"
    "    route: [{destination: {host: web}}]\n"
    "  - match: [{authority: {prefix: www.}}, {scheme: {exact: https}}, {method: {regex: P.*}}]\n"
    "    redirect: {uri: /here}\n";

static cn_tables_t  *tables;            /* of the resources */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* ---- the tables, made once ---- */

static cn_model_t *
read_model(cn_report_t *report)
{
    cn_istio_state_t    *state = NULL;
    cn_model_t          *model = NULL;
    char                 path[64];
    int                  fd = memfd_create("resources", MFD_CLOEXEC);
    cn_source_config_t   config = {
        .directory = path, .trust_domain = CN_BYTES("cluster.local"), .modules = cn_module_configs,
    };

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CN_BUG_ON(write(fd, resources, sizeof(resources) - 1) != (ssize_t) sizeof(resources) - 1);
    CN_BUG_ON(cn_istio_read(&config, &state, report, &model) != CN_OK || report->errors > 0);
    cn_istio_state_destroy(state);
    close(fd);

    return model;
}


static void
adopt(cn_publisher_t *publisher)
{
    cn_publication_t  publication;
    const char       *what;
    cn_status_t       status;

    CN_BUG_ON(cn_publisher_commit(publisher, &publication) != CN_OK);
    publication.directory = dup(publication.directory);

    for (size_t i = 0; i < publication.segment_count; i++) {
        publication.segments[i] = dup(publication.segments[i]);
    }

    CN_BUG_ON(cn_tables_offer(tables, &publication) != CN_OK);

    do {
        status = cn_tables_adopt(tables, 1000, &what);
    } while (status == CN_AGAIN);

    CN_BUG_ON(status != CN_OK);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static _Atomic uint64_t   last_id;
    cn_pool_t                *pool = cn_pool_create(4096, NULL);
    cn_report_t              *report = cn_report_create(pool);
    cn_model_t               *model = read_model(report);
    cn_ids_t                 *ids = cn_ids_create(&last_id);
    cn_publisher_t           *publisher = cn_publisher_create(0);
    cn_compilation_t         *compilation;
    cn_status_t               status;

    (void) argc;
    (void) argv;
    cn_table_set_module_verify(cn_module_verify_config);
    cn_table_set_modules_hash(cn_modules_hash());
    tables = cn_tables_create(cn_table_verify);
    compilation = cn_compile_start(model, ids, NULL, publisher, report);

    do {
        status = cn_compile_step(compilation, 1000);
    } while (status == CN_AGAIN);

    CN_BUG_ON(status != CN_OK);
    cn_compile_end(compilation);
    adopt(publisher);
    cn_publisher_destroy(publisher);
    cn_ids_destroy(ids);
    cn_model_destroy(model);
    cn_pool_destroy(pool);

    return 0;
}


/* ---- a request ---- */

static void
read_header(cn_message_t *head, cn_bytes_t line)
{
    cn_bytes_t  name, value;

    if (cn_bytes_split(line, ':', &name, &value)) {
        value = cn_bytes_trim(value);

        if (cn_http_name_valid(name) && cn_http_value_valid(value)) {
            CN_BUG_ON(cn_headers_add(&head->headers, name, value) != CN_OK);
        }
    }
}


/* False: no reader would give this on. */
static bool
read_request(cn_message_t *head, cn_bytes_t text, uint8_t how, cn_pool_t *pool)
{
    static const char *const  methods[] = { "GET", "POST", "PUT", "x" };
    cn_bytes_t                line, rest;
    bool                      more = cn_bytes_split(text, '\n', &line, &rest);

    cn_message_init(head, pool);
    head->method = cn_bytes_str(methods[how >> 4 & 3]);
    head->scheme = (how & 0x40) != 0 ? CN_BYTES("https") : CN_BYTES("http");

    if (!cn_http_path_valid(line)
        || cn_path_normalize(line, (cn_path_level_t) (how % 4), pool, &head->path) != CN_OK)
    {
        return false;
    }

    if (more) {
        more = cn_bytes_split(rest, '\n', &head->authority, &rest);
    }

    while (more) {
        more = cn_bytes_split(rest, '\n', &line, &rest);
        read_header(head, line);
    }

    return head->authority.len == 0 || cn_http_value_valid(head->authority);
}


/* ---- the checks ---- */

static const cn_table_route_t *
look_at_all(const cn_block_t *service, const cn_table_chain_t *chain,
    const cn_match_input_t *input, bool *error)
{
    const cn_table_route_t  *routes = CN_BLOCK_ITEMS(service, chain->routes, cn_table_route_t);
    char                     why[160];

    *error = false;

    for (uint32_t i = 0; i < chain->routes.count; i++) {
        switch (cn_route_matches(service, &routes[i], input, why)) {
        case CN_MATCH_YES:
            return &routes[i];
        case CN_MATCH_ERROR:
            *error = true;
            return NULL;
        case CN_MATCH_NO:
            CN_BUG_ON(strlen(why) == 0 || strlen(why) >= sizeof(why));
            break;
        }
    }

    return NULL;
}


static void
apply(const cn_block_t *service, const cn_table_route_t *route, const cn_match_input_t *input,
    cn_pool_t *pool)
{
    const cn_table_destination_t  *destination = cn_route_destination(service, route, input);
    cn_bytes_t                     out = CN_BYTES_NONE;

    if (route->action == CN_ACTION_REDIRECT) {
        CN_BUG_ON(cn_route_location(service, route, input->head, pool, &out) == CN_OK
                  && !cn_http_value_valid(out));
        return;
    }

    CN_BUG_ON(route->action == CN_ACTION_FORWARD && destination == NULL);

    if (cn_route_rewrite(service, route, input->head->path, pool, &out) == CN_OK && out.len > 0) {
        CN_BUG_ON(out.ptr[0] != '/');
    }

    (void) cn_route_host_rewrite(service, route, destination);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_stream_info_t          connection = { .peer = { .ip = { [15] = 1 } } };
    cn_pool_t                *pool = cn_pool_create(1024, NULL);
    const cn_block_t         *service;
    const cn_table_chain_t   *chain;
    const cn_table_route_t   *route, *expected;
    cn_match_input_t          input;
    cn_message_t              head;
    uint8_t                   ip[16];
    bool                      is_v4, failed = false, expected_failed;

    if (size > 0 && size < 65536
        && read_request(&head, cn_bytes(data + 1, size - 1), data[0], pool))
    {
        (void) cn_target_by_authority(tables, head.authority, 80);
        (void) cn_match_remote_ip(&head, &connection, ip, &is_v4);
        service = cn_tables_service_by_host(tables, CN_BYTES("web.default.svc.cluster.local"), 80,
                                            NULL);
        CN_BUG_ON(service == NULL);
        chain = cn_service_chain(service, 80);
        cn_match_input_init(&input, &head, &connection, 80);
        route = cn_route_find(service, chain, &input, &failed);
        expected = look_at_all(service, chain, &input, &expected_failed);
        CN_BUG_ON(route != expected || (route == NULL && failed != expected_failed));

        if (route != NULL) {
            apply(service, route, &input, pool);
        }
    }

    cn_pool_destroy(pool);

    return 0;
}
