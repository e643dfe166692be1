/* SPDX-License-Identifier: Apache-2.0 */

/* demo - what the files of the demo share: the mesh around the waypoint. */

#ifndef CN_CLI_DEMO_H
#define CN_CLI_DEMO_H

#include "cli/mesh_client.h"
#include "model/model.h"

typedef struct cn_demo_s cn_demo_t;

/* Counted where the applications answer. */
typedef struct {
    uint64_t  pages;                    /* productpage */
    uint64_t  reviews[4];               /* by version: 1..3 */
} cn_demo_counts_t;

/*
 * A pod: an HBONE server on its address, the application behind it, and its own way to the
 * waypoint.
 */
typedef struct {
    cn_demo_t         *demo;
    const char        *app;             /* "productpage", "details", "reviews", "ratings" */
    unsigned           version;
    cn_watch_t         watch;           /* listening */
    cn_tls_context_t  *identity;
    cn_mesh_client_t  *client;
} cn_demo_pod_t;

#define CN_DEMO_PODS_MAX  32

struct cn_demo_s {
    cn_loop_t         *loop;
    cn_demo_pod_t      pods[CN_DEMO_PODS_MAX];
    size_t             pod_count;
    cn_demo_counts_t   counts;
};

/*
 * Starts the pods of a model that have an application (demo_apps.c).  False: told on standard
 * error.
 */
bool cn_demo_start_pods(cn_demo_t *demo, const cn_model_t *model, const char *ca_directory,
    const cn_address_t *waypoint);
void cn_demo_stop_pods(cn_demo_t *demo);

/* A request to an application, by the codec's session of its pod: takes the exchange. */
void cn_demo_serve(cn_demo_pod_t *pod, cn_exchange_t *exchange, cn_message_t *head, bool end);

#endif
