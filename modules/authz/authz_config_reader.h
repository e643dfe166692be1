/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_config_reader - what the readers of an AuthorizationPolicy share: conditions and the values
 * that they are asked with.  For authz_config_values.c and authz_config_policy.c only.
 */

#ifndef CN_AUTHZ_CONFIG_READER_H
#define CN_AUTHZ_CONFIG_READER_H

#include "authz/authz_config.h"

#include "model/read.h"

typedef struct {
    cn_read_t              *read;
    const cn_resource_t    *resource;
    size_t                  rule;
    cn_bytes_t              header;     /* of the condition that is read: request.headers[...] */
} authz_reader_t;

/* Makes the condition for one value; NULL: reported. */
typedef authz_node_t *(*authz_value_fn)(const authz_reader_t *reader, cn_bytes_t value,
    const cn_doc_t *item, const char *field);

typedef struct {
    const char      *name;
    const char      *not_name;
    authz_value_fn   make;
} authz_condition_t;

/* A key of `when`: some are asked of the request's side, the others of who asks. */
typedef struct {
    const char      *key;
    authz_value_fn   make;
    bool             of_permission;
} authz_attribute_t;

/* In istiod's order, ended by .name NULL. */
extern const authz_condition_t  cn_authz_source_conditions[];
extern const authz_condition_t  cn_authz_operation_conditions[];

/* The attribute that key names, or NULL; a header's name, lower case, goes to reader->header. */
const authz_attribute_t *cn_authz_attribute(authz_reader_t *reader, cn_bytes_t key);

/* As cn_authz_node() and _add_child(); that there is no memory is reported. */
authz_node_t *cn_authz_read_node(const authz_reader_t *reader, cn_authz_kind_t kind,
    uint32_t line);
void cn_authz_read_child(const authz_reader_t *reader, authz_node_t *parent, authz_node_t *child);

#endif
