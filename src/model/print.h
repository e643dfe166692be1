/* SPDX-License-Identifier: Apache-2.0 */

/* print - pieces of the model as JSON, for whoever prints a part of it. */

#ifndef CN_MODEL_PRINT_H
#define CN_MODEL_PRINT_H

#include "model/module_config.h"

/* Octets as a JSON string; what is not UTF-8 is printed as Latin-1.  NULL: memory. */
json_t *cn_print_bytes(cn_bytes_t bytes);

/* An address as people write it: "10.96.1.1", "fd00::1". */
json_t *cn_print_ip(const uint8_t ip[16]);

/*
 * Sets key, unless value is NULL (memory): then *object is dropped and becomes NULL, and so stays.
 */
void cn_print_set(json_t **object, const char *key, json_t *value);
void cn_print_append(json_t **array, json_t *value);

/* As above, and what is nothing (no octets, 0, false, an empty array) is left out. */
void cn_print_set_bytes(json_t **object, const char *key, cn_bytes_t value);
void cn_print_set_u64(json_t **object, const char *key, uint64_t value);
void cn_print_set_bool(json_t **object, const char *key, bool value);
void cn_print_set_list(json_t **object, const char *key, json_t *value);

#endif
