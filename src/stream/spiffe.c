/* SPDX-License-Identifier: Apache-2.0 */

/*
 * spiffe - splitting SPIFFE ids.  An id is compared and logged as the octets that it is, so what
 * could be read in two ways (escapes, dot segments, empty parts) is refused here.
 */

#include "stream/spiffe.h"

#define ID_MAX  2048            /* octets; the SPIFFE standard's own bound */


/* RFC 3986 unreserved: what needs no escape, and so has one spelling. */
static bool
is_unreserved(uint8_t octet)
{
    uint8_t  lower = cn_lower(octet);

    return (lower >= 'a' && lower <= 'z') || (octet >= '0' && octet <= '9') || octet == '-'
           || octet == '.' || octet == '_' || octet == '~';
}


static bool
is_part(cn_bytes_t part)
{
    if (part.len == 0 || cn_bytes_equal(part, CN_BYTES("."))
        || cn_bytes_equal(part, CN_BYTES("..")))
    {
        return false;
    }

    for (size_t i = 0; i < part.len; i++) {
        if (!is_unreserved(part.ptr[i])) {
            return false;
        }
    }

    return true;
}


/* Puts a named part where it belongs.  CN_ERR_SYNTAX: it is there already. */
static cn_status_t
keep_part(cn_bytes_t name, cn_bytes_t value, cn_spiffe_t *parts, bool *known)
{
    cn_bytes_t  *place = NULL;

    if (cn_bytes_equal(name, CN_BYTES("ns"))) {
        place = &parts->name_space;

    } else if (cn_bytes_equal(name, CN_BYTES("sa"))) {
        place = &parts->service_account;
    }

    if (place == NULL) {
        *known = false;
        return CN_OK;
    }

    if (place->len != 0) {
        return CN_ERR_SYNTAX;
    }

    /* the one order that Istio writes */
    if (place == &parts->service_account && parts->name_space.len == 0) {
        *known = false;
    }

    *place = value;

    return CN_OK;
}


cn_status_t
cn_spiffe_parse(cn_bytes_t id, cn_spiffe_t *parts)
{
    cn_spiffe_t  found = { .trust_domain = CN_BYTES_NONE };
    cn_bytes_t   name, value, rest;
    bool         more, known = true;

    if (id.len > ID_MAX || !cn_bytes_starts_with(id, CN_BYTES("spiffe://"))) {
        return CN_ERR_SYNTAX;
    }

    more = cn_bytes_split(cn_bytes_from(id, 9), '/', &found.trust_domain, &rest);

    if (!is_part(found.trust_domain)) {
        return CN_ERR_SYNTAX;
    }

    while (more) {
        more = cn_bytes_split(rest, '/', &name, &rest);

        if (!is_part(name)) {
            return CN_ERR_SYNTAX;
        }

        if (!more) {
            known = false;              /* a name without a value */
            break;
        }

        more = cn_bytes_split(rest, '/', &value, &rest);

        if (!is_part(value) || keep_part(name, value, &found, &known) != CN_OK) {
            return CN_ERR_SYNTAX;
        }
    }

    if (!known || found.name_space.len == 0 || found.service_account.len == 0) {
        return CN_ERR_UNSUPPORTED;
    }

    *parts = found;

    return CN_OK;
}
