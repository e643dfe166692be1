/* SPDX-License-Identifier: Apache-2.0 */

/*
 * istio_ca - see istio_ca.h.
 *
 *   idle --ask--> asking --status--> idle, on_made or on_failed
 *                        --cancel--> idle
 *                 (the call cannot be started) --task--> idle, on_failed
 *
 * A response is judged when it comes and handed on with the status, which has the last word.
 */

#include "source/identity/istio_ca.h"
#include "base/log.h"
#include "base/pool.h"
#include "source/identity/ca_response.h"
#include "source/identity/identity_internal.h"

#include "ca.pb-c.h"

#include <stdio.h>

#define PATH           "/istio.v1.auth.IstioCertificateService/CreateCertificate"
#define LIFETIME_S     86400
#define DEADLINE_MS    10000

struct cn_istio_ca_s {
    cn_pool_t                *pool;             /* this struct and the configuration */
    cn_loop_t                *loop;
    cn_istio_ca_config_t      config;
    const cn_maker_events_t  *events;
    void                     *owner;
    cn_bytes_t                roots_pem;
    cn_grpc_call_t           *call;             /* NULL: none */
    cn_task_t                 not_started;
    cn_csr_t                  csr;              /* of the call */
    unsigned                  responses;
    cn_identity_t             identity;         /* what the response says, if it is good */
    char                      error[CN_IDENTITY_ERROR_MAX];     /* .. and if it is not */
};


/* Nothing of an asking is left. */
static void
clear(cn_istio_ca_t *ca)
{
    cn_task_cancel(&ca->not_started);
    cn_csr_wipe(&ca->csr);
    cn_identity_wipe(&ca->identity);
    ca->call = NULL;
    ca->responses = 0;
    ca->error[0] = '\0';
}


/* ---- the answer ---- */

static bool
is_transient(cn_grpc_status_t status)
{
    switch (status) {
    case CN_GRPC_CANCELLED:
    case CN_GRPC_DEADLINE_EXCEEDED:
    case CN_GRPC_RESOURCE_EXHAUSTED:
    case CN_GRPC_ABORTED:
    case CN_GRPC_INTERNAL:
    case CN_GRPC_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}


static void
call_message(void *owner, cn_bytes_t message)
{
    cn_istio_ca_t  *ca = owner;
    cn_chain_asked_t   asked = {
        .spiffe_id = ca->config.spiffe_id,
        .key_pem = ca->csr.key_pem,
        .extra_roots_pem = ca->roots_pem,
    };

    if (++ca->responses > 1) {
        cn_identity_wipe(&ca->identity);
        (void) snprintf(ca->error, sizeof(ca->error), "there are several");
        return;
    }

    (void) !cn_ca_response_read(message, &asked, &ca->identity, ca->error);
}


static void
tell_failure(cn_istio_ca_t *ca, bool transient, const char *why)
{
    clear(ca);
    ca->events->on_failed(ca->owner, transient, why);
}


static void
call_status(void *owner, cn_grpc_status_t status, cn_bytes_t message)
{
    cn_istio_ca_t  *ca = owner;
    cn_identity_t   identity = ca->identity;
    char            text[256], why[CN_IDENTITY_ERROR_MAX + 64];

    ca->call = NULL;                        /* it is over */

    if (status != CN_GRPC_OK) {
        (void) snprintf(why, sizeof(why), "the call ended: status=%d message=\"%s\"", (int) status,
                        cn_bytes_escape(message, text, sizeof(text)));
        tell_failure(ca, is_transient(status), why);
        return;
    }

    if (ca->responses == 0) {
        tell_failure(ca, true, "the CA sent no response");
        return;
    }

    if (identity.key_pem.len == 0) {
        (void) snprintf(why, sizeof(why), "the CA's response is refused: %s", ca->error);
        tell_failure(ca, false, why);
        return;
    }

    ca->identity = (cn_identity_t) { .begins = 0 };
    clear(ca);
    ca->events->on_made(ca->owner, &identity);
}


static const cn_grpc_call_events_t  call_events = {
    .on_message = call_message,
    .on_status  = call_status,
};


/* ---- the request ---- */

static ProtobufCBinaryData
binary(cn_bytes_t bytes)
{
    return (ProtobufCBinaryData) { .len = bytes.len, .data = (uint8_t *) (uintptr_t) bytes.ptr };
}


/* On the heap.  None: memory. */
static cn_bytes_t
pack_request(const cn_istio_ca_t *ca)
{
    Cairn__Value                    signer = CAIRN__VALUE__INIT;
    Cairn__Struct__Field            field = CAIRN__STRUCT__FIELD__INIT;
    Cairn__Struct__Field           *fields[] = { &field };
    Cairn__Struct                   metadata = CAIRN__STRUCT__INIT;
    Cairn__IstioCertificateRequest  request = CAIRN__ISTIO_CERTIFICATE_REQUEST__INIT;
    size_t                          size;
    uint8_t                        *to;

    signer.kind_case = CAIRN__VALUE__KIND_STRING_VALUE;
    signer.string_value = binary(ca->config.signer);
    field.has_key = true;
    field.key = binary(CN_BYTES("CertSigner"));
    field.value = &signer;
    metadata.n_fields = 1;
    metadata.fields = fields;
    request.has_csr = true;
    request.csr = binary(ca->csr.csr_pem);
    request.has_validity_duration = true;
    request.validity_duration = (int64_t) ca->config.lifetime_s;
    request.metadata = &metadata;

    size = cairn__istio_certificate_request__get_packed_size(&request);
    to = cn_alloc(size);

    return to == NULL ? CN_BYTES_NONE
        : cn_bytes(to, cairn__istio_certificate_request__pack(&request, to));
}


static cn_grpc_call_t *
start_call(cn_istio_ca_t *ca)
{
    const cn_istio_ca_config_t  *config = &ca->config;
    cn_call_metadata_t           metadata;
    cn_grpc_call_t              *call;

    if (cn_credentials_read(&config->credentials, &metadata) != CN_OK) {
        return NULL;
    }

    call = config->transport->start(config->channel, PATH, metadata.items, metadata.count,
                                    config->deadline_ms, &call_events, ca);
    cn_call_metadata_wipe(&metadata);

    return call;
}


static cn_status_t
start(cn_istio_ca_t *ca, char error[CN_IDENTITY_ERROR_MAX])
{
    const cn_istio_ca_transport_t  *transport = ca->config.transport;
    cn_bytes_t                      request;
    cn_status_t                     status = cn_csr_create(ca->config.key, ca->config.spiffe_id,
                                                           &ca->csr, error);

    if (status != CN_OK) {
        return status;
    }

    (void) snprintf(error, CN_IDENTITY_ERROR_MAX, "out of memory");
    request = pack_request(ca);

    if (request.len == 0) {
        return CN_ERR_MEMORY;
    }

    ca->call = start_call(ca);
    status = ca->call == NULL ? CN_ERR_MEMORY : transport->send(ca->call, request);
    cn_free((void *) (uintptr_t) request.ptr);

    if (status == CN_OK) {
        transport->end(ca->call);

    } else if (ca->call != NULL) {
        transport->cancel(ca->call);
        ca->call = NULL;
    }

    return status;
}


static void
not_started(cn_task_t *task)
{
    cn_istio_ca_t  *ca = CN_CONTAINER_OF(task, cn_istio_ca_t, not_started);
    char            why[CN_IDENTITY_ERROR_MAX];

    (void) snprintf(why, sizeof(why), "%s", ca->error);
    tell_failure(ca, false, why);
}


static void
cancel(void *maker)
{
    cn_istio_ca_t  *ca = maker;

    if (ca->call != NULL) {
        ca->config.transport->cancel(ca->call);
    }

    clear(ca);
}


static void
ask(void *maker)
{
    cn_istio_ca_t  *ca = maker;
    char            error[CN_IDENTITY_ERROR_MAX];

    cancel(ca);

    if (start(ca, error) != CN_OK) {
        (void) snprintf(ca->error, sizeof(ca->error), "%s", error);
        cn_loop_post(ca->loop, CN_PHASE_READY, &ca->not_started);
    }
}


const cn_maker_t  cn_istio_ca_maker = {
    .ask    = ask,
    .cancel = cancel,
};


/* ---- the client ---- */

static cn_status_t
copy_config(cn_istio_ca_t *ca, const cn_istio_ca_config_t *config)
{
    cn_istio_ca_config_t  *own = &ca->config;

    *own = *config;
    own->lifetime_s = config->lifetime_s == 0 ? LIFETIME_S : config->lifetime_s;
    own->deadline_ms = config->deadline_ms == 0 ? DEADLINE_MS : config->deadline_ms;

    if (cn_pool_copy(ca->pool, config->spiffe_id, &own->spiffe_id) != CN_OK
        || cn_pool_copy(ca->pool, config->signer, &own->signer) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    return CN_OK;
}


cn_istio_ca_t *
cn_istio_ca_create(cn_loop_t *loop, const cn_istio_ca_config_t *config,
    const cn_maker_events_t *events, void *owner)
{
    cn_pool_t      *pool = cn_pool_create(2048, NULL);
    cn_istio_ca_t  *ca = pool == NULL ? NULL : cn_pool_alloc_zero(pool, sizeof(*ca));

    if (ca == NULL) {
        cn_pool_destroy(pool);
        return NULL;
    }

    ca->pool = pool;
    ca->loop = loop;
    ca->events = events;
    ca->owner = owner;
    ca->not_started.run = not_started;

    if (copy_config(ca, config) != CN_OK) {
        cn_pool_destroy(pool);
        return NULL;
    }

    return ca;
}


void
cn_istio_ca_close(cn_istio_ca_t *ca)
{
    if (ca != NULL) {
        cancel(ca);
        cn_identity_free_pem(&ca->roots_pem);
        cn_pool_destroy(ca->pool);
    }
}


cn_status_t
cn_istio_ca_set_roots(cn_istio_ca_t *ca, cn_bytes_t roots_pem)
{
    cn_bytes_t  copy = cn_identity_copy_pem(roots_pem);

    if (roots_pem.len > 0 && copy.len == 0) {
        return CN_ERR_MEMORY;
    }

    cn_identity_free_pem(&ca->roots_pem);
    ca->roots_pem = copy;

    return CN_OK;
}
