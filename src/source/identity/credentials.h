/* SPDX-License-Identifier: Apache-2.0 */

/*
 * credentials - what a call to istiod, or to its CA, says of who calls: the token by which a pod
 * proves its service account (RFC 6750), its cluster, and whatever headers were configured.
 */

#ifndef CN_SOURCE_IDENTITY_CREDENTIALS_H
#define CN_SOURCE_IDENTITY_CREDENTIALS_H

#include "http/grpc_client.h"

/* All is referred to. */
typedef struct {
    const char                *token_path;  /* NULL: none is sent */
    cn_bytes_t                 cluster_id;  /* none: it is not sent */
    const cn_grpc_metadata_t  *headers;     /* to be sent besides */
    size_t                     header_count;
} cn_credentials_t;

/* The metadata of one call, on the heap; refers to the credentials. */
typedef struct {
    cn_grpc_metadata_t  *items;
    size_t               count;
    cn_bytes_t           bearer;            /* "Bearer TOKEN"; none: there is no token */
} cn_call_metadata_t;

/*
 * The token's file is read anew each time, as the kubelet replaces it.  One that is not there is
 * not sent; what else keeps it from being sent is logged.  CN_ERR_MEMORY: *metadata is none.
 */
cn_status_t cn_credentials_read(const cn_credentials_t *credentials,
    cn_call_metadata_t *metadata) CN_MUST_USE;

/* Overwrites the token and frees all. */
void cn_call_metadata_wipe(cn_call_metadata_t *metadata);

#endif
