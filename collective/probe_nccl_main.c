/*
 * lockstep-probe-nccl: a rank over NCCL, in a process of its own. Linked dynamically, as NCCL and
 * the driver are opened while it runs, and by itself, so that lockstep-probe can stay static.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collective/rank.h"

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--child") == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* where NCCL writes its warnings, unless told otherwise */
        return rank_main_of(argv[2]);
    }
    fprintf(stderr, "usage: lockstep-probe-nccl --child PARENT\n");
    return 2;
}
