/* SPDX-License-Identifier: Apache-2.0 */

/*
 * secret_fuzz - any octets as two of SDS's secrets: {length of the first(2), first, second}.  Each
 * is read or reported, and of two that are read there is an identity, or a reason and nothing else.
 */

#include "base/log.h"
#include "base/pool.h"
#include "source/identity/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_secret(const cn_read_t *read, bool good, const cn_secret_t *secret)
{
    if (!good) {
        CN_BUG_ON(read->errors == 0);
        CN_BUG_ON(secret->key_pem.ptr != NULL || secret->chain_pem.ptr != NULL
                  || secret->roots_pem.ptr != NULL || secret->name.ptr != NULL);

    } else if (secret->kind == CN_SECRET_CERTIFICATE) {
        CN_BUG_ON(secret->key_pem.len == 0 || secret->chain_pem.len == 0);

    } else {
        CN_BUG_ON(secret->roots_pem.len == 0);
    }
}


static void
judge(const cn_secret_t *certificate, const cn_secret_t *roots)
{
    char           error[CN_IDENTITY_ERROR_MAX] = "";
    cn_identity_t  identity;

    if (cn_secret_identity(certificate, roots,
                           CN_BYTES("spiffe://cluster.local/ns/default/sa/waypoint"), &identity,
                           error) == CN_OK)
    {
        CN_BUG_ON(identity.chain_pem.len == 0 || identity.key_pem.len == 0
                  || identity.roots_pem.len == 0);
        cn_identity_wipe(&identity);

    } else {
        CN_BUG_ON(error[0] == '\0');
        CN_BUG_ON(identity.chain_pem.ptr != NULL || identity.key_pem.ptr != NULL
                  || identity.roots_pem.ptr != NULL);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_read_t     read = { .pool = pool, .report = cn_report_create(pool) };
    cn_secret_t   first, second;
    bool          first_good, second_good;
    size_t        len;

    if (size < 2 || read.report == NULL) {
        cn_pool_destroy(pool);
        return 0;
    }

    cn_log_set_level(CN_LOG_ERROR);
    len = (size_t) data[0] << 8 | data[1];
    len = len < size - 2 ? len : size - 2;
    first_good = cn_secret_read(&read, cn_bytes(data + 2, len), &first);
    check_secret(&read, first_good, &first);
    second_good = cn_secret_read(&read, cn_bytes(data + 2 + len, size - 2 - len), &second);
    check_secret(&read, second_good, &second);

    if (first_good && second_good) {
        judge(&first, &second);
    }

    cn_secret_wipe(&first);
    cn_secret_wipe(&second);
    cn_pool_destroy(pool);

    return 0;
}
