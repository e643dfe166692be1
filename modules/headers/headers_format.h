/* SPDX-License-Identifier: Apache-2.0 */

/* headers_format - what a header's value with commands comes to for a request. */

#ifndef CN_HEADERS_FORMAT_H
#define CN_HEADERS_FORMAT_H

#include "filter/request.h"

/*
 * The value in the request's pool; what is not known is empty.  CN_ERR_LIMIT: over 8 KiB;
 * CN_ERR_SYNTAX: not a format, which the table's maker must not have let through.
 */
cn_status_t headers_format(const cn_request_t *request, cn_bytes_t format, cn_bytes_t *value)
    CN_MUST_USE;

#endif
