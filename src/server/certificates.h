/* SPDX-License-Identifier: Apache-2.0 */

/*
 * certificates - of TLS listeners for clients outside the mesh: read from their files by the
 * master, handed to the workers, wiped.
 */

#ifndef CN_SERVER_CERTIFICATES_H
#define CN_SERVER_CERTIFICATES_H

#include "server/bootstrap.h"
#include "server/message.h"

typedef struct cn_certificates_s cn_certificates_t;

/* Those of the bootstrap's TLS listeners; nothing is read yet.  NULL: memory. */
cn_certificates_t *cn_certificates_create(const cn_bootstrap_t *bootstrap) CN_MUST_USE;
void cn_certificates_destroy(cn_certificates_t *certificates);

/*
 * Reads all files; what cannot be read is reported (report NULL: logged) and left as it was.
 * False: something was wrong.  changed may be NULL.
 */
bool cn_certificates_read(cn_certificates_t *certificates, cn_report_t *report, bool *changed);

/* Sends all that there are to a worker. */
void cn_certificates_send(const cn_certificates_t *certificates, cn_channel_t *channel);

#endif
