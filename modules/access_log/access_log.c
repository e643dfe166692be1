/* SPDX-License-Identifier: Apache-2.0 */

/*
 * access_log - one line a request, or raw connection, in Istio's default text format, into the
 * worker's ring; the master's writer thread brings it to its file.  A full ring drops the line and
 * counts it.
 */

#include "access_log/access_log_table.h"

#include "base/clock.h"
#include "filter/module.h"

#define LINE_MAX_OCTETS  8192

/* A line being written; what does not fit is cut, the newline always fits. */
typedef struct {
    uint8_t  octets[LINE_MAX_OCTETS];
    size_t   len;
} line_t;


static void
put(line_t *line, cn_bytes_t bytes)
{
    size_t  room = sizeof(line->octets) - 1 - line->len;
    size_t  len = bytes.len < room ? bytes.len : room;

    if (len > 0) {
        memcpy(line->octets + line->len, bytes.ptr, len);
        line->len += len;
    }
}


static void
put_str(line_t *line, const char *str)
{
    put(line, cn_bytes_str(str));
}


static void
put_u64(line_t *line, uint64_t value)
{
    char  digits[20];

    put(line, cn_bytes(digits, cn_u64_print(value, digits)));
}


/*
 * A value that came from a peer: control octets would forge lines, so they are written as '?'.
 * Envoy writes quotes as they are, and so do we.  Absent is "-".
 */
static void
put_value(line_t *line, bool present, cn_bytes_t value)
{
    size_t  from = line->len;

    if (!present) {
        put_str(line, "-");
        return;
    }

    put(line, value);

    for (size_t i = from; i < line->len; i++) {
        if (line->octets[i] < 0x20 || line->octets[i] == 0x7f) {
            line->octets[i] = '?';
        }
    }
}


static void
put_header(line_t *line, const cn_request_t *request, cn_header_id_t id)
{
    const cn_header_t  *header = request->head == NULL
                                     ? NULL : cn_headers_find_id(&request->head->headers, id);

    put_str(line, " \"");
    put_value(line, header != NULL, header != NULL ? header->value : CN_BYTES_NONE);
    put_str(line, "\"");
}


static const char *
protocol_name(cn_http_version_t version)
{
    switch (version) {
    case CN_HTTP_10:
        return "HTTP/1.0";
    case CN_HTTP_2:
        return "HTTP/2";
    default:
        return "HTTP/1.1";
    }
}


static void
put_request_line(line_t *line, const cn_request_t *request)
{
    const cn_message_t  *head = request->head;
    const cn_header_t   *original;
    cn_bytes_t           path;

    if (head == NULL) {
        put_str(line, "\"- - ");
        put_str(line, request->raw ? "-" : protocol_name(request->version));
        put_str(line, "\"");
        return;
    }

    original = cn_headers_find_id(&head->headers, CN_HEADER_X_ENVOY_ORIGINAL_PATH);
    path = original != NULL ? original->value : request->original_path;

    put_str(line, "\"");
    put_value(line, head->method.len > 0, head->method);
    put_str(line, " ");
    put_value(line, path.len > 0, path);
    put_str(line, " ");
    put_str(line, protocol_name(head->version));
    put_str(line, "\"");
}


static void
put_address(line_t *line, const cn_address_t *address)
{
    char  text[CN_ADDRESS_TEXT_MAX];

    put(line, cn_bytes(text, cn_address_print(address, text)));
}


static void
put_upstream(line_t *line, const cn_request_t *request)
{
    const cn_host_t  *host = request->host;

    put_str(line, " \"");

    if (host == NULL) {
        put_str(line, "-");

    } else {
        put_str(line, host->hbone_port != 0 ? "envoy://connect_originate/" : "");
        put_address(line, &host->address);
    }

    put_str(line, "\" ");
    put_value(line, request->upstream_cluster.len > 0, request->upstream_cluster);
    put_str(line, (host != NULL && host->hbone_port != 0 && request->transport_failure == NULL)
                      ? " envoy://internal_client_address/ " : " - ");
}


/*
 * The client's address: the last X-Forwarded-For entry where one stands (Envoy's use_remote_address
 * false).
 */
static void
put_remote(line_t *line, const cn_request_t *request)
{
    cn_address_t  address = request->connection->peer;

    if (cn_match_remote_ip(request->head, request->connection, address.ip, NULL)) {
        address.port = 0;
        address.scope = 0;
    }

    put_address(line, &address);
}


static void
put_outcome(line_t *line, const cn_request_t *request)
{
    const char  *details = request->details;
    char         flags[128];

    put_str(line, " ");
    put_u64(line, request->response != NULL ? request->response->status : 0);
    put_str(line, " ");
    put(line, cn_bytes(flags, cn_flags_print(request->flags, flags, sizeof(flags))));
    put_str(line, " ");

    if (details == NULL) {
        details = request->response != NULL ? "via_upstream" : "-";
    }

    /* RESPONSE_CODE_DETAILS, CONNECTION_TERMINATION_DETAILS */
    put_str(line, request->raw ? "-" : details);
    put_str(line, " ");
    put_str(line, request->raw ? details : "-");
    put_str(line, " \"");
    put_str(line, request->transport_failure != NULL ? request->transport_failure : "-");
    put_str(line, "\" ");
    put_u64(line, request->body_received);
    put_str(line, " ");
    put_u64(line, request->body_sent);
    put_str(line, " ");
    put_u64(line, (request->end_us - request->start_us) / 1000);
    put_str(line, " ");

    if (request->upstream_ms >= 0) {
        put_u64(line, (uint64_t) request->upstream_ms);

    } else {
        put_str(line, "-");
    }
}


static bool
enabled(const cn_request_t *request)
{
    const cn_block_t  *block = cn_tables_global(request->env->tables, NULL);

    return block != NULL && ((const cn_table_global_t *) cn_block_root(block))->access_log != 0;
}


static void
access_log_log(cn_request_t *request, const void *config)
{
    line_t      line;
    char        time[24];
    cn_bytes_t  route = CN_BYTES_NONE;

    (void) config;

    if (!enabled(request)) {
        return;
    }

    line.len = 0;
    cn_clock_print_rfc3339(request->start_wall_ms, time);
    put_str(&line, "[");
    put(&line, cn_bytes(time, sizeof(time)));
    put_str(&line, "] ");
    put_request_line(&line, request);
    put_outcome(&line, request);
    put_header(&line, request, CN_HEADER_X_FORWARDED_FOR);
    put_header(&line, request, CN_HEADER_USER_AGENT);
    put_header(&line, request, CN_HEADER_X_REQUEST_ID);
    put_str(&line, " \"");
    put_value(&line, request->head != NULL && request->head->authority.len > 0,
              request->head != NULL ? request->head->authority : CN_BYTES_NONE);
    put_str(&line, "\"");
    put_upstream(&line, request);
    put_address(&line, &request->connection->local);
    put_str(&line, " ");
    put_remote(&line, request);
    put_str(&line, " ");
    put_value(&line, request->connection->sni.len > 0, request->connection->sni);
    put_str(&line, " ");

    if (request->route != NULL) {
        route = cn_block_bytes(request->service_block, request->route->name);
    }

    put_value(&line, route.len > 0, route);
    line.octets[line.len++] = '\n';

    if (cn_ring_write(request->env->ring, CN_RING_ACCESS_LOG, cn_bytes(line.octets, line.len))
        != CN_OK)
    {
        return;                 /* full: the ring has counted it */
    }
}


static cn_status_t
access_log_verify(const cn_block_t *block, uint32_t config, const char **what)
{
    (void) block;
    *what = "access_log: a configuration where none belongs";

    return config == 0 ? CN_OK : CN_ERR_SYNTAX;
}


const cn_module_t  cn_access_log_module = {
    .name = "access_log",
    .verify = access_log_verify,
    .on_log = access_log_log,
};
