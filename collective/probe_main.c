/* lockstep-probe: a rank of the collective (`--child`), in a process of its own. */
#include <stdio.h>
#include <string.h>

#include "collective/rank.h"

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return rank_main_of(argv[2]);
    fprintf(stderr, "usage: lockstep-probe --child PARENT\n");
    return 2;
}
