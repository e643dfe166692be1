/* SPDX-License-Identifier: Apache-2.0 */

/* send - `cairn -s SIGNAL`: to the guard whose number stands in the pid file. */

#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* 0: there is no such. */
static int
number_of(const char *name)
{
    const struct {
        const char  *name;
        int          number;            /* SIGRTMIN is no constant: so no table of the file */
    } signals[] = {
        { "reload", SIGHUP },
        { "reopen", SIGUSR1 },
        { "drain",  SIGRTMIN },
        { "quit",   SIGQUIT },
        { "stop",   SIGTERM },
        { "upgrade", SIGUSR2 },
    };

    for (size_t i = 0; i < CN_COUNT_OF(signals); i++) {
        if (strcmp(signals[i].name, name) == 0) {
            return signals[i].number;
        }
    }

    return 0;
}


/* 0: said what is wrong with the file. */
static pid_t
read_pid(const char *path)
{
    char      line[32];
    uint64_t  pid;
    FILE     *file = path != NULL ? fopen(path, "re") : NULL;

    if (path == NULL) {
        fprintf(stderr, "cairn: no pid file is written (pid: off)\n");
        return 0;
    }

    if (file == NULL) {
        fprintf(stderr, "cairn: %s: %s\n", path, strerror(errno));
        return 0;
    }

    bool  there = fgets(line, sizeof(line), file) != NULL;

    fclose(file);

    if (there) {
        line[strcspn(line, "\n")] = '\0';
    }

    if (!there || cn_bytes_to_u64(cn_bytes_str(line), INT32_MAX, &pid) != CN_OK || pid == 0) {
        fprintf(stderr, "cairn: %s: no process number in it\n", path);
        return 0;
    }

    return (pid_t) pid;
}


int
cn_cli_send_signal(const cn_cli_options_t *options, const char *name)
{
    cn_cli_setup_t  setup;
    int             number = number_of(name);

    if (number == 0) {
        fprintf(stderr, "cairn: -s %s: this version knows reload, reopen, drain, quit, stop, "
                        "upgrade\n", name);
        return 2;
    }

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    pid_t  pid = read_pid(setup.bootstrap.pid_path);
    int    code = 0;

    if (pid == 0) {
        code = 1;

    } else if (kill(pid, number) != 0) {
        fprintf(stderr, "cairn: process %ld: %s\n", (long) pid, strerror(errno));
        code = 1;
    }

    cn_cli_setup_end(&setup);

    return code;
}
