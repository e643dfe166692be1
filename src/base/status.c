/* SPDX-License-Identifier: Apache-2.0 */

/* status - names of statuses, and the end of a process whose invariant broke. */

#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const status_names[] = {
    [CN_OK]              = "CN_OK",
    [CN_AGAIN]           = "CN_AGAIN",
    [CN_ERR_MEMORY]      = "CN_ERR_MEMORY",
    [CN_ERR_SYNTAX]      = "CN_ERR_SYNTAX",
    [CN_ERR_RANGE]       = "CN_ERR_RANGE",
    [CN_ERR_LIMIT]       = "CN_ERR_LIMIT",
    [CN_ERR_NOT_FOUND]   = "CN_ERR_NOT_FOUND",
    [CN_ERR_EXISTS]      = "CN_ERR_EXISTS",
    [CN_ERR_IO]          = "CN_ERR_IO",
    [CN_ERR_CLOSED]      = "CN_ERR_CLOSED",
    [CN_ERR_REFUSED]     = "CN_ERR_REFUSED",
    [CN_ERR_UNSUPPORTED] = "CN_ERR_UNSUPPORTED",
    [CN_ERR_TIMEOUT]     = "CN_ERR_TIMEOUT",
};

const char *
cn_status_name(cn_status_t status)
{
    size_t  i = (size_t) status;

    return i < CN_COUNT_OF(status_names) ? status_names[i] : "CN_ERR_UNKNOWN";
}


_Noreturn void
cn_bug(const char *condition, const char *file, int line)
{
    char  text[512];
    int   len;

    /* no stdio stream: its buffers may be what broke */
    len = snprintf(text, sizeof(text), "[alert] %d bug: %s at %s:%d\n", (int) getpid(), condition,
                   file, line);
    if (len > 0) {
        size_t  size = (size_t) len < sizeof(text) ? (size_t) len : sizeof(text) - 1;

        if (write(STDERR_FILENO, text, size) < 0) {
            /* nobody to tell; the abort below says enough */
        }
    }

    abort();
}
