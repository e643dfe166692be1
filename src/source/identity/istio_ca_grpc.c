/* SPDX-License-Identifier: Apache-2.0 */

/* istio_ca_grpc - the transport that is not a test's. */

#include "source/identity/istio_ca.h"

const cn_istio_ca_transport_t  cn_istio_ca_grpc = {
    .start  = cn_grpc_call_start,
    .send   = cn_grpc_call_send,
    .end    = cn_grpc_call_end,
    .cancel = cn_grpc_call_cancel,
};
