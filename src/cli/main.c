/* SPDX-License-Identifier: Apache-2.0 */

/*
 * main - the command line.
 */

#include "base/version.h"

#include <stdio.h>
#include <string.h>


int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-v") == 0) {
        printf("cairn version: cairn/%s\n", CN_VERSION);
        return 0;
    }

    fprintf(stderr, "usage: cairn -v\n");
    return 2;
}
