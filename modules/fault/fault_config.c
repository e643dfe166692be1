/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fault - reads `fault` of a VirtualService's http route: a share of requests delayed, a share
 * aborted.  The filter stands in every chain, as istiod puts it; what it does is said per route.
 */

#include "fault/fault_claims.h"
#include "fault/fault_table.h"

#include "model/decode.h"
#include "model/print.h"
#include "model/read.h"

#include "fault.pb-c.h"

#define PPM          1000000.0
#define DELAY_MAX    (60u * 60 * 1000)      /* ms: beyond an hour it is a mistake */

typedef struct {
    uint32_t          delay_ppm;
    uint32_t          delay_ms;
    uint32_t          abort_ppm;
    cn_fault_abort_t  abort_kind;
    uint16_t          abort_status;
    cn_origin_t       origin;
} fault_config_t;


/* Absent: all requests.  The old `percent` is whole numbers. */
static uint32_t
read_share(cn_read_t *read, cn_doc_t *node, const char *field)
{
    cn_doc_t  *percentage = cn_read_mapping(read, node, "percentage", field);
    uint64_t   whole = 100;
    double     value = 0;

    if (percentage == NULL) {
        (void) cn_read_u64(read, node, "percent", field, 0, 100, &whole);
        return (uint32_t) (whole * 10000);
    }

    (void) cn_read_double(read, percentage, "value", cn_read_path(read, "%s.percentage", field), 0,
                          100, &value);

    return (uint32_t) (value * PPM / 100 + 0.5);
}


static void
read_delay(cn_read_t *read, cn_doc_t *node, const char *field, fault_config_t *fault)
{
    static const char *const  unsupported[] = { "exponentialDelay", NULL };
    cn_doc_t                 *delay = cn_read_mapping(read, node, "delay", field);
    const char               *path = cn_read_path(read, "%s.delay", field);

    if (delay == NULL) {
        return;
    }

    fault->delay_ppm = read_share(read, delay, path);
    cn_read_unsupported(read, delay, path, unsupported);

    if (!cn_read_duration_ms(read, delay, "fixedDelay", path, &fault->delay_ms)) {
        if (cn_doc_get(delay, "fixedDelay") == NULL) {
            cn_read_error(read, delay, cn_read_path(read, "%s.fixedDelay", path), "is missing");
        }
        return;
    }

    if (fault->delay_ms == 0 || fault->delay_ms > DELAY_MAX) {
        cn_read_error(read, cn_doc_get(delay, "fixedDelay"),
                      cn_read_path(read, "%s.fixedDelay", path), "is not in 1ms..1h");
    }
}


static bool
grpc_status(cn_bytes_t name, uint16_t *status)
{
    static const char *const  names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
            "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
            "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    };
    uint64_t                  number;

    for (uint16_t i = 0; i < CN_COUNT_OF(names); i++) {
        if (cn_bytes_equal(name, cn_bytes_str(names[i]))) {
            *status = i;
            return true;
        }
    }

    if (cn_bytes_to_u64(name, 16, &number) == CN_OK) {
        *status = (uint16_t) number;
        return true;
    }

    return false;
}


static void
read_abort(cn_read_t *read, cn_doc_t *node, const char *field, fault_config_t *fault)
{
    static const char *const  unsupported[] = { "http2Error", NULL };
    cn_doc_t                 *abort = cn_read_mapping(read, node, "abort", field);
    const char               *path = cn_read_path(read, "%s.abort", field);
    cn_bytes_t                name;
    uint64_t                  status = 0;

    if (abort == NULL) {
        return;
    }

    fault->abort_ppm = read_share(read, abort, path);
    cn_read_unsupported(read, abort, path, unsupported);

    if (cn_read_u64(read, abort, "httpStatus", path, 200, 599, &status)) {
        fault->abort_kind = CN_FAULT_ABORT_HTTP;
        fault->abort_status = (uint16_t) status;
    }

    if (cn_read_string(read, abort, "grpcStatus", path, &name)) {
        if (fault->abort_kind != CN_FAULT_ABORT_NONE) {
            cn_read_error(read, abort, path, "has both httpStatus and grpcStatus");
        }

        if (!grpc_status(name, &fault->abort_status)) {
            cn_read_error(read, cn_doc_get(abort, "grpcStatus"),
                          cn_read_path(read, "%s.grpcStatus", path), "\"%.*s\" is no gRPC status",
                          CN_BYTES_ARG(name));
        }

        fault->abort_kind = CN_FAULT_ABORT_GRPC;
    }

    if (fault->abort_kind == CN_FAULT_ABORT_NONE && cn_doc_get(abort, "httpStatus") == NULL
        && cn_doc_get(abort, "grpcStatus") == NULL) {
        cn_read_error(read, abort, path, "needs one of httpStatus, grpcStatus");
    }
}


static cn_status_t
read_route(cn_read_t *read, const char *name, cn_doc_t *node, const char *field, void **config)
{
    fault_config_t  *fault = cn_pool_alloc_zero(read->pool, sizeof(*fault));

    (void) name;

    if (fault == NULL) {
        return CN_ERR_MEMORY;
    }

    if (!cn_read_is_mapping(read, node, field)) {
        return CN_OK;
    }

    fault->origin = (cn_origin_t) { .file = node->file, .line = node->line,
        .resource = read->resource->label };
    read_delay(read, node, field, fault);
    read_abort(read, node, field, fault);

    if (cn_doc_get(node, "delay") == NULL && cn_doc_get(node, "abort") == NULL) {
        cn_read_error(read, node, field, "needs one of delay, abort");
    }

    *config = fault;

    return CN_OK;
}


/* ---- xDS ---- */

static uint32_t
xds_share(cn_read_t *read, const Cairn__FractionalPercent *percent, const char *field)
{
    static const uint32_t  per_million[] = { 10000, 100, 1 };
    uint32_t               numerator;
    int32_t                denominator;

    if (percent == NULL) {
        return 0;                           /* Envoy: none of them */
    }

    numerator = percent->has_numerator ? percent->numerator : 0;
    denominator = percent->has_denominator ? percent->denominator : 0;

    if (denominator < 0 || denominator > 2) {
        cn_read_error(read, NULL, field, "has an unknown denominator");
        return 0;
    }

    return numerator > PPM / per_million[denominator]
           ? (uint32_t) PPM : numerator * per_million[denominator];
}


static void
xds_delay(cn_read_t *read, const Cairn__FaultDelay *delay, fault_config_t *fault)
{
    const Cairn__Duration  *fixed = NULL;
    int64_t                 seconds, nanos;

    if (delay == NULL) {
        return;
    }

    if (delay->fault_delay_secifier_case
        == CAIRN__FAULT_DELAY__FAULT_DELAY_SECIFIER_FIXED_DELAY)
    {
        fixed = delay->fixed_delay;
    }

    seconds = fixed != NULL && fixed->has_seconds ? fixed->seconds : 0;
    nanos = fixed != NULL && fixed->has_nanos ? fixed->nanos : 0;

    if (seconds < 0 || nanos < 0 || nanos > 999999999 || seconds > DELAY_MAX / 1000
        || (seconds == 0 && nanos == 0))
    {
        cn_read_error(read, NULL, "fault.delay.fixed_delay", "is not in 1ns..1h");
        return;
    }

    fault->delay_ppm = xds_share(read, delay->percentage, "fault.delay.percentage");
    fault->delay_ms = (uint32_t) (seconds * 1000 + nanos / 1000000);
    fault->delay_ms = fault->delay_ms == 0 ? 1 : fault->delay_ms;
}


static void
xds_abort(cn_read_t *read, const Cairn__FaultAbort *abort, fault_config_t *fault)
{
    uint32_t  status = 0;

    if (abort == NULL) {
        return;
    }

    if (abort->error_type_case == CAIRN__FAULT_ABORT__ERROR_TYPE_HTTP_STATUS) {
        fault->abort_kind = CN_FAULT_ABORT_HTTP;
        status = abort->http_status;

    } else if (abort->error_type_case == CAIRN__FAULT_ABORT__ERROR_TYPE_GRPC_STATUS) {
        fault->abort_kind = CN_FAULT_ABORT_GRPC;
        status = abort->grpc_status;
    }

    if (fault->abort_kind == CN_FAULT_ABORT_NONE
        || (fault->abort_kind == CN_FAULT_ABORT_HTTP && (status < 200 || status > 599))
        || (fault->abort_kind == CN_FAULT_ABORT_GRPC && status > 16))
    {
        cn_read_error(read, NULL, "fault.abort", "has no status of a response");
        return;
    }

    fault->abort_status = (uint16_t) status;
    fault->abort_ppm = xds_share(read, abort->percentage, "fault.abort.percentage");
}


/* The filter's own configuration is empty: faults are said per route. */
static cn_status_t
read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route, void **config)
{
    const Cairn__HttpFault  *message;
    fault_config_t          *fault = cn_pool_alloc_zero(read->pool, sizeof(*fault));
    size_t                   errors = read->errors;

    (void) type_url;

    if (fault == NULL) {
        return CN_ERR_MEMORY;
    }

    message = cn_decode(read, &cairn__http_fault__descriptor, value, "fault");

    if (message == NULL) {
        return CN_ERR_UNSUPPORTED;
    }

    if (!on_route && (message->delay != NULL || message->abort != NULL)) {
        cn_read_error(read, NULL, "fault", "a fault of a whole chain is not implemented");
    }

    fault->origin = (cn_origin_t) { .file = "", .resource = "" };
    xds_delay(read, message->delay, fault);
    xds_abort(read, message->abort, fault);
    *config = on_route ? fault : NULL;

    return read->errors == errors ? CN_OK : CN_ERR_UNSUPPORTED;
}


static json_t *
print(const void *config)
{
    const fault_config_t  *fault = config;
    json_t                *object = json_object();

    if (fault->delay_ms > 0) {
        cn_print_set(&object, "delay_ppm", json_integer(fault->delay_ppm));
        cn_print_set(&object, "delay_ms", json_integer(fault->delay_ms));
    }

    if (fault->abort_kind != CN_FAULT_ABORT_NONE) {
        cn_print_set(&object, "abort_ppm", json_integer(fault->abort_ppm));
        cn_print_set(&object, fault->abort_kind == CN_FAULT_ABORT_HTTP ? "abort_status"
                     : "abort_grpc_status",
                     json_integer(fault->abort_status));
    }

    return object;
}


static cn_status_t
pack(const void *config, bool on_route, cn_block_builder_t *builder, uint32_t *at)
{
    const fault_config_t  *fault = config;
    cn_table_origin_t      origin = cn_pack_origin(&fault->origin, builder);
    cn_table_fault_t      *out;

    (void) on_route;
    *at = cn_block_add(builder, 1, sizeof(*out), _Alignof(cn_table_fault_t));
    out = cn_block_builder_at(builder, *at);

    if (*at == 0 || out == NULL) {
        return CN_ERR_MEMORY;
    }

    *out = (cn_table_fault_t) {
        .delay_ppm = fault->delay_ppm,
        .delay_ms = fault->delay_ms,
        .abort_ppm = fault->abort_ppm,
        .abort_status = fault->abort_status,
        .abort_kind = (uint8_t) fault->abort_kind,
        .origin = origin,
    };

    return CN_OK;
}


const cn_module_config_t  cn_fault_module_config = {
    FAULT_CLAIMS,
    .always = true,
    .read_route = read_route,
    .read_xds = read_xds,
    .print = print,
    .pack = pack,
};
