/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ca_response_fuzz - any octets as a CA's response: {length of the key(2), key, response}.  There
 * is an identity that workers can use, or a reason and nothing else.
 */

#include "base/log.h"
#include "source/identity/ca_response.h"
#include "stream/tls.h"

#define ID  CN_BYTES_INIT("spiffe://cluster.local/ns/default/sa/waypoint")

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_use(const cn_identity_t *identity)
{
    static const cn_bytes_t   domain = CN_BYTES_INIT("cluster.local");
    cn_tls_identity_t         tls = {
        .chain_pem = identity->chain_pem, .key_pem = identity->key_pem,
        .roots_pem = identity->roots_pem, .trust_domains = &domain, .trust_domain_count = 1,
    };
    const char               *why;
    cn_tls_context_t         *context = cn_tls_context_create(&tls, &why);

    CN_BUG_ON(context == NULL);
    CN_BUG_ON(cn_tls_context_expires(context) != identity->expires);
    cn_tls_context_unref(context);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            error[CN_IDENTITY_ERROR_MAX] = "";
    cn_chain_asked_t   asked = { .spiffe_id = ID };
    cn_identity_t   identity;
    size_t          key_len;

    if (size < 2) {
        return 0;
    }

    cn_log_set_level(CN_LOG_ERROR);
    key_len = (size_t) data[0] << 8 | data[1];
    key_len = key_len < size - 2 ? key_len : size - 2;
    asked.key_pem = cn_bytes(data + 2, key_len);

    if (cn_ca_response_read(cn_bytes(data + 2 + key_len, size - 2 - key_len), &asked, &identity,
                            error) == CN_OK)
    {
        check_use(&identity);
        cn_identity_wipe(&identity);

    } else {
        CN_BUG_ON(error[0] == '\0');
        CN_BUG_ON(identity.chain_pem.ptr != NULL || identity.key_pem.ptr != NULL
                  || identity.roots_pem.ptr != NULL);
    }

    return 0;
}
