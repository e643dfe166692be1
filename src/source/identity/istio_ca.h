/* SPDX-License-Identifier: Apache-2.0 */

/*
 * istio_ca - a workload's identity from Istio's CA, or any that speaks its protocol:
 * istio.v1.auth.IstioCertificateService/CreateCertificate.  Each asking makes a new key, which
 * leaves the process for no one but the workers.
 */

#ifndef CN_SOURCE_IDENTITY_ISTIO_CA_H
#define CN_SOURCE_IDENTITY_ISTIO_CA_H

#include "source/identity/credentials.h"
#include "source/identity/csr.h"
#include "source/identity/rotation.h"

/* The calls of http/grpc_client.h that are needed; a test has its own. */
typedef struct {
    cn_grpc_call_t  *(*start)(cn_grpc_channel_t *channel, const char *path,
                              const cn_grpc_metadata_t *metadata, size_t count,
                              uint64_t deadline_ms, const cn_grpc_call_events_t *events,
                              void *owner);
    cn_status_t      (*send)(cn_grpc_call_t *call, cn_bytes_t message);
    void             (*end)(cn_grpc_call_t *call);
    void             (*cancel)(cn_grpc_call_t *call);
} cn_istio_ca_transport_t;

/* Over a gRPC channel.  (istio_ca_grpc.c) */
extern const cn_istio_ca_transport_t  cn_istio_ca_grpc;

/* Copied, texts included, but for the transport, the channel and what the credentials refer to. */
typedef struct {
    const cn_istio_ca_transport_t  *transport;      /* &cn_istio_ca_grpc */
    cn_grpc_channel_t              *channel;
    cn_bytes_t                      spiffe_id;
    cn_key_config_t                 key;
    cn_credentials_t                credentials;
    cn_bytes_t                      signer;         /* a Kubernetes signer's name; may be none */
    uint64_t                        lifetime_s;     /* wanted; 0: 24 hours.  The CA decides */
    uint64_t                        deadline_ms;    /* told to the CA; 0: 10,000 */
} cn_istio_ca_config_t;

typedef struct cn_istio_ca_s cn_istio_ca_t;

/* events are referred to: cn_rotation_maker_events, with the rotation as owner.  NULL: memory. */
cn_istio_ca_t *cn_istio_ca_create(cn_loop_t *loop, const cn_istio_ca_config_t *config,
    const cn_maker_events_t *events, void *owner) CN_MUST_USE;

/* An asking is cancelled.  NULL does nothing. */
void cn_istio_ca_close(cn_istio_ca_t *ca);

/*
 * Roots to be trusted besides the CA's own, from the next identity on (copied; none: no others).
 * CN_ERR_MEMORY: they are as before.
 */
cn_status_t cn_istio_ca_set_roots(cn_istio_ca_t *ca, cn_bytes_t roots_pem) CN_MUST_USE;

/*
 * The client as a maker.  Each asking reads the token's file again, as the kubelet replaces it; one
 * that is not there is not sent, and the CA says what it thinks of that.  Transient are the gRPC
 * statuses CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL and UNAVAILABLE.
 */
extern const cn_maker_t  cn_istio_ca_maker;

#endif
