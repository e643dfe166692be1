/* SPDX-License-Identifier: Apache-2.0 */

/*
 * main - the command line.  One program is everything: the guard without a command, master and
 * worker when the guard starts it with --process, a client with a command.
 */

#include "base/version.h"
#include "cli/cli.h"
#include "server/guard.h"
#include "server/master.h"
#include "server/worker.h"
#include "stats/slab.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX  64                 /* the guard's, with their values, and the end */

typedef struct {
    cn_cli_options_t  common;
    bool              test;
    bool              print_model;
    bool              print_bootstrap;
    bool              help;
    bool              version;
    const char       *signal;
} arguments_t;

static const char  usage[] =
    "usage: cairn [-c FILE] [-p PREFIX] [-r DIR] [-w N]      run the waypoint\n"
    "       cairn -t                                       check the configuration\n"
    "       cairn -T [--xds DIR]                           print it as JSON; of recorded xDS\n"
    "       cairn -s reload|reopen|drain|quit|stop|upgrade    signal the running cairn\n"
    "       cairn show status|routes|clusters|config|traffic [-o text|yaml|json]\n"
    "                                                      ask the running cairn\n"
    "       cairn explain [--from SPIFFE] [-H K:V] METHOD URL    what becomes of a request, why\n"
    "       cairn call [--as NAME] [--via ADDR] [-H K:V] METHOD URL    one request through HBONE\n"
    "       cairn request GET PATH                         read the admin endpoint\n"
    "       cairn demo                                     Bookinfo on this machine\n"
    "       cairn [-t] [-r DIR] proxy waypoint [--print] [FLAG...]\n"
    "                                                      in Istio's container, for its proxy\n"
    "\n"
    "  -c FILE     the bootstrap file; PREFIX/conf/cairn.yaml if it is there\n"
    "  -p PREFIX   where relative paths of the bootstrap file begin\n"
    "  -r DIR      Istio and Gateway API YAML; needs no bootstrap file\n"
    "  -w N        workers\n"
    "  -v, -h      the version; this text\n";

static const struct option  long_options[] = {
    { "xds",     required_argument, NULL, 'x' },
    { "help",    no_argument,       NULL, 'h' },
    { "version", no_argument,       NULL, 'v' },
    { NULL, 0, NULL, 0 },
};


static bool
take_workers(const char *text, uint32_t *workers)
{
    uint64_t  value;

    if (cn_bytes_to_u64(cn_bytes_str(text), CN_WORKERS_MAX, &value) != CN_OK || value == 0) {
        fprintf(stderr, "cairn: -w %s: not a number of 1..%d\n", text, CN_WORKERS_MAX);
        return false;
    }

    *workers = (uint32_t) value;

    return true;
}


static bool
take_option(arguments_t *arguments, int option)
{
    cn_bootstrap_options_t  *bootstrap = &arguments->common.bootstrap;

    switch (option) {
    case 'c':
        bootstrap->file = optarg;
        return true;
    case 'p':
        bootstrap->prefix = optarg;
        return true;
    case 'r':
        bootstrap->resources = optarg;
        return true;
    case 'w':
        return take_workers(optarg, &bootstrap->workers);
    case 's':
        arguments->signal = optarg;
        return true;
    case 'x':
        arguments->common.xds = optarg;
        return true;
    case 't':
        arguments->test = true;
        return true;
    case 'T':
        arguments->print_model = true;
        return true;
    case 'v':
        arguments->version = true;
        return true;
    case 'h':
        arguments->help = true;
        return true;
    default:
        return false;
    }
}


/* Stops at the first word that is no option: the command. */
static bool
take_options(arguments_t *arguments, int argc, char **argv)
{
    int  option;

    while ((option = getopt_long(argc, argv, "+c:p:r:w:s:tTvh", long_options, NULL)) != -1) {
        if (!take_option(arguments, option)) {
            return false;
        }
    }

    return true;
}


/* "proxy ROLE ..." behind the options: they are the bootstrap.  False: it does not stand there. */
static bool
take_proxy(arguments_t *arguments, int argc, char **argv)
{
    if (optind >= argc || strcmp(argv[optind], "proxy") != 0) {
        return false;
    }

    arguments->common.bootstrap.proxy = argv + optind + 1;

    for (char **word = argv + optind + 1; *word != NULL; word++) {
        arguments->print_bootstrap |= strcmp(*word, "--print") == 0;
    }

    return true;
}


/*
 * Masters get the same options, so that they read the same files; the number of workers is what the
 * guard has slots and sockets for, whatever the file says by then.
 */
static int
run_guard(const cn_cli_options_t *options)
{
    char            *given[OPTIONS_MAX + 1] = { NULL };
    char             workers[16];
    size_t           count = 0;
    cn_cli_setup_t   setup;
    char *const     *words = options->bootstrap.proxy;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    snprintf(workers, sizeof(workers), "%u", setup.bootstrap.workers);

    const struct {
        char        *name;
        const char  *value;
    } all[] = {
        { "-c", options->bootstrap.file },
        { "-p", options->bootstrap.prefix },
        { "-r", options->bootstrap.resources },
        { "-w", workers },
    };

    for (size_t i = 0; i < CN_COUNT_OF(all); i++) {
        if (all[i].value != NULL) {
            given[count++] = all[i].name;
            given[count++] = (char *) all[i].value;
        }
    }

    if (words != NULL) {
        given[count++] = "proxy";
    }

    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        if (count == OPTIONS_MAX) {
            fprintf(stderr, "cairn: more than %d words after proxy\n", OPTIONS_MAX - 9);
            cn_cli_setup_end(&setup);
            return 2;
        }

        given[count++] = words[i];
    }

    int  code = cn_cli_may_start(options, &setup) ? cn_guard_main(&setup.bootstrap, given) : 1;

    cn_cli_setup_end(&setup);

    return code;
}


static int
run_master(const cn_cli_options_t *options, uint32_t first_slot, uint32_t number)
{
    cn_cli_setup_t  setup;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    int  code = cn_master_main(&setup.bootstrap, first_slot, number);

    cn_cli_setup_end(&setup);

    return code;
}


/* cairn --process worker SLOT LEVEL | --process master SLOT NUMBER [options] | --process probe */
static int
run_process(int argc, char **argv)
{
    arguments_t  arguments = { 0 };
    uint64_t     slot, number;

    if (argc == 3 && strcmp(argv[2], "probe") == 0) {
        return cn_probe_main();
    }

    if (argc < 5
        || cn_bytes_to_u64(cn_bytes_str(argv[3]), CN_SLOTS_MAX - 1, &slot) != CN_OK
        || cn_bytes_to_u64(cn_bytes_str(argv[4]), UINT32_MAX, &number) != CN_OK)
    {
        return 2;
    }

    if (argc == 5 && strcmp(argv[2], "worker") == 0) {
        return number <= CN_LOG_DEBUG ? cn_worker_main((uint32_t) slot, (cn_log_level_t) number)
                                      : 2;
    }

    if (strcmp(argv[2], "master") == 0) {
        optind = 5;

        if (!take_options(&arguments, argc, argv)) {
            return 2;
        }

        take_proxy(&arguments, argc, argv);

        return run_master(&arguments.common, (uint32_t) slot, (uint32_t) number);
    }

    return 2;
}


static void
print_version(void)
{
    printf("cairn version: cairn/%s\n", CN_VERSION);

    for (size_t i = 0; cn_module_configs[i] != NULL; i++) {
        if (cn_module_configs[i]->left_out) {
            printf("without module: %s\n", cn_module_configs[i]->name);
        }
    }
}


static int
run_mode(const arguments_t *arguments)
{
    if (arguments->help) {
        fputs(usage, stdout);
        return 0;
    }

    if (arguments->version) {
        print_version();
        return 0;
    }

    if (arguments->signal != NULL) {
        return cn_cli_send_signal(&arguments->common, arguments->signal);
    }

    if (arguments->test) {
        return cn_cli_test(&arguments->common);
    }

    if (arguments->print_bootstrap) {
        return cn_cli_print_bootstrap(&arguments->common);
    }

    if (arguments->print_model) {
        return cn_cli_print_model(&arguments->common);
    }

    if (arguments->common.xds != NULL) {
        fprintf(stderr, "cairn: --xds is for -t and -T\n");
        return 2;
    }

    return run_guard(&arguments->common);
}


static int
run_command(const cn_cli_options_t *options, int argc, char **argv)
{
    static const struct {
        const char  *name;
        int        (*run)(const cn_cli_options_t *options, int argc, char **argv);
    } commands[] = {
        { "request", cn_cli_request },
        { "show",    cn_cli_show },
        { "explain", cn_cli_explain },
        { "call",    cn_cli_call },
        { "demo",    cn_cli_demo },
    };

    for (size_t i = 0; i < CN_COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, argv[0]) == 0) {
            return commands[i].run(options, argc, argv);
        }
    }

    fprintf(stderr, "cairn: %s: no such command\n", argv[0]);

    return 2;
}


int
main(int argc, char **argv)
{
    arguments_t  arguments = { 0 };

    if (argc >= 2 && strcmp(argv[1], "--process") == 0) {
        return run_process(argc, argv);
    }

    if (!take_options(&arguments, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }

    if (optind < argc && !take_proxy(&arguments, argc, argv)) {
        return run_command(&arguments.common, argc - optind, argv + optind);
    }

    return run_mode(&arguments);
}
