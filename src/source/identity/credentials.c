/* SPDX-License-Identifier: Apache-2.0 */

/* credentials - see credentials.h. */

#include "source/identity/credentials.h"

#include "base/log.h"
#include "base/pool.h"
#include "source/identity/identity_internal.h"

#define TOKEN_LEN_MAX  ((size_t) 16 * 1024)
#define SCHEME         "Bearer "
#define OWN_HEADERS    2                /* authorization, clusterid */


static bool
is_printable(cn_bytes_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= 0x20 || text.ptr[i] > 0x7e) {
            return false;
        }
    }

    return true;
}


static cn_bytes_t
trim(cn_bytes_t text)
{
    while (text.len > 0 && text.ptr[0] <= 0x20) {
        text = cn_bytes_from(text, 1);
    }

    while (text.len > 0 && text.ptr[text.len - 1] <= 0x20) {
        text.len--;
    }

    return text;
}


static cn_bytes_t
make_bearer(cn_bytes_t token)
{
    size_t    len = sizeof(SCHEME) - 1 + token.len;
    uint8_t  *to = token.len == 0 || token.len > TOKEN_LEN_MAX || !is_printable(token) ? NULL
        : cn_alloc(len);

    if (to == NULL) {
        return CN_BYTES_NONE;
    }

    memcpy(to, SCHEME, sizeof(SCHEME) - 1);
    memcpy(to + sizeof(SCHEME) - 1, token.ptr, token.len);

    return cn_bytes(to, len);
}


/* None: there is no token. */
static cn_bytes_t
read_bearer(const char *path)
{
    cn_bytes_t    file, bearer;
    char          error[CN_IDENTITY_ERROR_MAX];
    cn_status_t   status;

    if (path == NULL) {
        return CN_BYTES_NONE;
    }

    status = cn_identity_read_pem(path, false, &file, error);

    if (status != CN_OK) {
        if (status != CN_ERR_NOT_FOUND) {
            cn_log(CN_LOG_WARN, "identity", "ask without a token: reason=\"%s\"", error);
        }

        return CN_BYTES_NONE;
    }

    bearer = make_bearer(trim(file));
    cn_identity_free_pem(&file);

    if (bearer.len == 0) {
        cn_log(CN_LOG_WARN, "identity", "ask without a token: reason=\"%s: it holds none\"", path);
    }

    return bearer;
}


cn_status_t
cn_credentials_read(const cn_credentials_t *credentials, cn_call_metadata_t *metadata)
{
    cn_grpc_metadata_t  *items;
    size_t               size;

    *metadata = (cn_call_metadata_t) { .count = 0 };

    if (cn_size_mul(OWN_HEADERS + credentials->header_count, sizeof(*items), &size) != CN_OK) {
        return CN_ERR_MEMORY;
    }

    items = cn_alloc(size);

    if (items == NULL) {
        return CN_ERR_MEMORY;
    }

    metadata->items = items;
    metadata->bearer = read_bearer(credentials->token_path);

    if (metadata->bearer.len > 0) {
        items[metadata->count++] = (cn_grpc_metadata_t) { CN_BYTES("authorization"),
                                                          metadata->bearer };
    }

    if (credentials->cluster_id.len > 0) {
        items[metadata->count++] = (cn_grpc_metadata_t) { CN_BYTES("clusterid"),
                                                          credentials->cluster_id };
    }

    for (size_t i = 0; i < credentials->header_count; i++) {
        items[metadata->count++] = credentials->headers[i];
    }

    return CN_OK;
}


void
cn_call_metadata_wipe(cn_call_metadata_t *metadata)
{
    cn_identity_free_pem(&metadata->bearer);
    cn_free(metadata->items);
    *metadata = (cn_call_metadata_t) { .count = 0 };
}
