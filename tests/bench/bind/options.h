/* options.h - the command line of tests/bench/bench_bind.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum contender { FOR_STOCK, FOR_GANG, FOR_NULL, FOR_LOCKSTEP };

struct options {
    const char *verb, *kubeconfig, *topology;
    enum contender contender;
    uint32_t pods, nodes, limit_s;
    bool until_refused;
};

void options_parse(int argc, char **argv, struct options *ret); /* ends the program on bad usage */
