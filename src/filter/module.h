/* SPDX-License-Identifier: Apache-2.0 */

/*
 * module - the run part of a feature: a constant, last in modules/NAME/NAME.c.  Its policy comes
 * packed in the table (NAME_table.h) and was verified; nothing is parsed here.  No module writes a
 * global after start.
 *
 * Callbacks run in chain order on the way in, in reverse on the way out.  config is the filter's
 * own, or NULL; per-route configuration comes from cn_request_route_config().
 */

#ifndef CN_FILTER_MODULE_H
#define CN_FILTER_MODULE_H

#include "filter/request.h"

typedef struct cn_module_s cn_module_t;
typedef struct cn_explain_s cn_explain_t;      /* filter/explain.h: collects lines of reasons */

struct cn_module_s {
    const char  *name;
    size_t       ctx_size;              /* bytes a request, zeroed; 0: none */
    bool         on_route;              /* packs per-route configurations too */
    /* on_response_headers also of answers that a filter before it gave */
    bool         on_all_responses;

    /*
     * Whether everything that config refers to lies in the block and is in range.  on_route as
     * packed.  *what says what is wrong.
     */
    cn_status_t   (*verify)(const cn_block_t *block, uint32_t config, const char **what);

    /* end: no body follows. */
    cn_verdict_t  (*on_request_headers)(cn_request_t *request, const void *config, bool end);

    /*
     * Body bytes as they come, also while this very filter has paused the request: what it leaves
     * is then held by the chain (cn_request_held()) and goes on after the resume.  Taking the data
     * (clearing it) ends its way.
     */
    void          (*on_request_body)(cn_request_t *request, const void *config, cn_slice_t *data);

    /* The request is complete; trailers may be NULL. */
    void          (*on_request_end)(cn_request_t *request, const void *config,
                                    cn_headers_t *trailers);

    /* request->response may be changed. */
    void          (*on_response_headers)(cn_request_t *request, const void *config, bool end);
    void          (*on_response_body)(cn_request_t *request, const void *config, cn_slice_t *data);

    /*
     * The downstream went away or the request was answered: drop timers and calls.  Called once for
     * each request whose on_request_headers ran.
     */
    void          (*on_destroy)(cn_request_t *request, const void *config);

    /* Once, when all is over. */
    void          (*on_log)(cn_request_t *request, const void *config);

    /* Response bytes left downstream: the terminal filter gives upstream credit back. */
    void          (*on_response_sent)(cn_request_t *request, const void *config, size_t len);

    /*
     * A raw connection begins, on a port of TCP or where the client speaks none of our protocols:
     * before anything is sent to anybody, in chain order.  CN_NEXT, or CN_REPLIED after
     * cn_request_refuse().  What depends on a request is not known: it must not let one pass.
     */
    cn_verdict_t  (*on_connection)(cn_request_t *connection, const void *config);

    /*
     * How a raw connection goes: when its upstream stands, every 5 s, and at its end, before
     * on_log.
     */
    void          (*on_connection_report)(cn_request_t *connection, const void *config, bool over);

    /* What it would do to this request, and why. */
    void          (*explain)(cn_explain_t *explain, const cn_block_t *block, const void *config,
                             const void *route_config,
                             const cn_match_input_t *input);
};

/* All that are compiled in, in chain order, ended by NULL (made by configure). */
extern const cn_module_t *const  cn_modules[];

/*
 * What a module keeps for the whole worker (a cache, say): size bytes, zeroed at first use, freed
 * never.  NULL: memory.  Modules have no writable globals, so that this is all there is.
 */
void *cn_worker_state(cn_worker_env_t *env, const cn_module_t *module, size_t size);

/*
 * The verifier that table/verify.h asks for: the module's own.  CN_ERR_RANGE: there is no such
 * module.
 */
cn_status_t cn_module_verify_config(uint16_t module, const cn_block_t *block, uint32_t config);

/* Hash of their names in order: a table made by another build is refused. */
uint64_t cn_modules_hash(void);

#endif
