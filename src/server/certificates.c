/* SPDX-License-Identifier: Apache-2.0 */

/* certificates - see certificates.h. */

#include "server/certificates.h"

#include "base/log.h"
#include "source/identity/identity.h"

typedef struct {
    const cn_plain_listener_t  *listener;
    cn_identity_t               identity;
} certificate_t;

struct cn_certificates_s {
    size_t         count;
    certificate_t  items[];
};


cn_certificates_t *
cn_certificates_create(const cn_bootstrap_t *bootstrap)
{
    size_t              count = bootstrap->plaintext.count;
    cn_certificates_t  *certificates = cn_alloc_zero(sizeof(cn_certificates_t)
                                                     + count * sizeof(certificate_t));

    if (certificates == NULL) {
        return NULL;
    }

    CN_ARRAY_EACH(&bootstrap->plaintext, const cn_plain_listener_t, listener) {
        if (listener->certificate != NULL) {
            certificates->items[certificates->count++].listener = listener;
        }
    }

    return certificates;
}


static void
report_wrong(cn_report_t *report, const char *error)
{
    if (report != NULL) {
        cn_report_add(report, CN_REPORT_ERROR, NULL, "", "listen.tls", "%s", error);
    } else {
        cn_log(CN_LOG_ERROR, "identity", "read certificate: reason=\"%s\"", error);
    }
}


static bool
read_one(certificate_t *item, cn_report_t *report, bool *changed)
{
    char           error[CN_IDENTITY_ERROR_MAX] = "";
    cn_identity_t  fresh;

    if (cn_identity_read_files(item->listener->certificate, item->listener->key, NULL, &fresh,
                               error) != CN_OK)
    {
        report_wrong(report, error);
        return false;
    }

    if (cn_bytes_equal(fresh.chain_pem, item->identity.chain_pem)
        && cn_bytes_equal(fresh.key_pem, item->identity.key_pem))
    {
        cn_identity_wipe(&fresh);
        return true;
    }

    cn_identity_wipe(&item->identity);
    item->identity = fresh;

    if (changed != NULL) {
        *changed = true;
    }

    return true;
}


bool
cn_certificates_read(cn_certificates_t *certificates, cn_report_t *report, bool *changed)
{
    bool  good = true;

    for (size_t i = 0; i < certificates->count; i++) {
        good = read_one(&certificates->items[i], report, changed) && good;
    }

    return good;
}


void
cn_certificates_destroy(cn_certificates_t *certificates)
{
    for (size_t i = 0; certificates != NULL && i < certificates->count; i++) {
        cn_identity_wipe(&certificates->items[i].identity);
    }

    cn_free(certificates);
}


static void
send_one(const certificate_t *item, cn_channel_t *channel)
{
    const cn_identity_t   *identity = &item->identity;
    cn_msg_certificate_t   head = {
        .address = item->listener->address,
        .chain_len = (uint32_t) identity->chain_pem.len,
        .key_len = (uint32_t) identity->key_pem.len,
    };
    size_t                 size = sizeof(head) + head.chain_len + head.key_len;
    uint8_t               *octets = size <= CN_CHANNEL_PAYLOAD_MAX ? cn_alloc(size) : NULL;

    if (octets == NULL) {
        cn_log(CN_LOG_ERROR, "identity", "send certificate: size=%zu", size);
        return;
    }

    memcpy(octets, &head, sizeof(head));
    memcpy(octets + sizeof(head), identity->chain_pem.ptr, head.chain_len);
    memcpy(octets + sizeof(head) + head.chain_len, identity->key_pem.ptr, head.key_len);

    if (cn_channel_send(channel, CN_MSG_CERTIFICATE, cn_bytes(octets, size), NULL, 0) != CN_OK) {
        cn_log(CN_LOG_ERROR, "identity", "send certificate: the worker does not listen");
    }

    explicit_bzero(octets, size);
    cn_free(octets);
}


void
cn_certificates_send(const cn_certificates_t *certificates, cn_channel_t *channel)
{
    for (size_t i = 0; i < certificates->count && channel != NULL; i++) {
        if (certificates->items[i].identity.key_pem.len > 0) {
            send_one(&certificates->items[i], channel);
        }
    }
}
