/* SPDX-License-Identifier: Apache-2.0 */

/* render - a JSON document of the admin endpoint, as people and other programs like it. */

#ifndef CN_CLI_RENDER_H
#define CN_CLI_RENDER_H

#include "base/bytes.h"

#include <stdio.h>

typedef enum { CN_RENDER_JSON, CN_RENDER_YAML, CN_RENDER_TEXT } cn_render_t;

/* "text", "yaml", "json".  False: none of them. */
bool cn_render_parse(const char *name, cn_render_t *how);

/*
 * Writes document, which is JSON, to out.  JSON goes out as it came; YAML has the same tree; in
 * text a list of flat objects is a table.  False: it is no JSON.
 */
bool cn_render(cn_bytes_t document, cn_render_t how, FILE *out);

#endif
