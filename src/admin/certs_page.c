/* SPDX-License-Identifier: Apache-2.0 */

/* certs_page - /certs, in the form of Envoy's, and the certificate in /status.json and metrics. */

#include "admin/pages.h"
#include "base/clock.h"
#include "model/print.h"
#include "stream/certificate.h"

#include <stdio.h>
#include <time.h>

#define DAY_S  (24 * 3600)


bool
cn_page_identity(const cn_page_t *page, cn_admin_identity_t *identity)
{
    const cn_admin_view_t  *view = page->view;

    *identity = (cn_admin_identity_t) { .begins = 0 };

    return view->identity != NULL && view->identity(view->owner, identity);
}


int64_t
cn_page_seconds_left(const cn_admin_identity_t *identity)
{
    return (int64_t) identity->expires - (int64_t) (cn_clock_wall_ms() / 1000);
}


/* "2026-01-02T03:04:05Z", as protobuf's JSON has times. */
static json_t *
print_time(uint64_t seconds)
{
    time_t     time = (time_t) seconds;
    struct tm  tm;
    char       text[32] = "";

    if (gmtime_r(&time, &tm) != NULL) {
        (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    }

    return json_string(text);
}


static void
append_names(json_t **list, const char *key, const cn_array_t *names)
{
    CN_ARRAY_EACH(names, const cn_bytes_t, name) {
        json_t  *object = json_object();

        cn_print_set(&object, key, cn_print_bytes(*name));
        cn_print_append(list, object);
    }
}


/* Numbers of 64 bits are strings in protobuf's JSON. */
static json_t *
print_days(uint64_t expires)
{
    uint64_t  now = cn_clock_wall_ms() / 1000;
    char      text[24];

    snprintf(text, sizeof(text), "%llu",
             (unsigned long long) (expires > now ? (expires - now) / DAY_S : 0));

    return json_string(text);
}


static json_t *
print_certificate(const cn_certificate_t *certificate, const char *path)
{
    json_t  *object = json_object();
    json_t  *names = json_array();

    append_names(&names, "uri", &certificate->uris);
    append_names(&names, "dns", &certificate->hosts);
    cn_print_set(&object, "path", cn_print_bytes(cn_bytes_str(path != NULL ? path : "<inline>")));
    cn_print_set(&object, "serial_number", cn_print_bytes(certificate->serial));
    cn_print_set(&object, "subject_alt_names", names);
    cn_print_set(&object, "days_until_expiration", print_days(certificate->expires));
    cn_print_set(&object, "valid_from", print_time(certificate->begins));
    cn_print_set(&object, "expiration_time", print_time(certificate->expires));

    return object;
}


static json_t *
print_certificates(cn_page_t *page, cn_bytes_t pem, const char *path)
{
    cn_array_t   list = CN_ARRAY_INIT(page->pool, cn_certificate_t);
    json_t      *array = json_array();

    if (cn_certificates_describe(pem, page->pool, &list) != CN_OK) {
        page->failed = true;
    }

    CN_ARRAY_EACH(&list, const cn_certificate_t, certificate) {
        cn_print_append(&array, print_certificate(certificate, path));
    }

    return array;
}


void
cn_page_certs(cn_page_t *page)
{
    cn_admin_identity_t   identity;
    json_t               *object = json_object();
    json_t               *list = json_array();

    if (cn_page_identity(page, &identity)) {
        json_t  *item = json_object();

        cn_print_set(&item, "ca_cert",
                     print_certificates(page, identity.roots_pem, identity.roots_path));
        cn_print_set(&item, "cert_chain",
                     print_certificates(page, identity.chain_pem, identity.chain_path));
        cn_print_append(&list, item);
    }

    cn_print_set(&object, "certificates", list);
    cn_page_json(page, object);
}


json_t *
cn_page_describe_identity(const cn_page_t *page)
{
    cn_admin_identity_t   identity;
    bool                  there = cn_page_identity(page, &identity);
    int64_t               left = cn_page_seconds_left(&identity);
    json_t               *object = json_object();

    cn_print_set(&object, "certificate",
                 json_string(!there ? "none" : left <= 0 ? "expired" : "valid"));

    if (there) {
        cn_print_set(&object, "valid_from", print_time(identity.begins));
        cn_print_set(&object, "expires", print_time(identity.expires));
        cn_print_set(&object, "left_s", json_integer((json_int_t) left));
    }

    cn_print_set(&object, "renewals", json_integer((json_int_t) identity.renewals));
    cn_print_set(&object, "failures", json_integer((json_int_t) identity.failures));
    cn_print_set_bytes(&object, "reason",
                       cn_bytes_str(identity.why != NULL ? identity.why : ""));

    return object;
}
