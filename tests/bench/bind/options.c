#include "tests/bench/bind/options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

static const char *const contender_names[] = {"stock", "gang", "null", "lockstep"};

static uint32_t number(struct argp_state *state, const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end || value < 1 || value > 50000)
        argp_error(state, "'%s': expected a number from 1 to 50000", text);
    return (uint32_t)value;
}

static enum contender contender(struct argp_state *state, const char *text)
{
    for (unsigned i = 0; i < sizeof(contender_names) / sizeof(*contender_names); i++)
        if (strcmp(contender_names[i], text) == 0)
            return (enum contender)i;
    argp_error(state, "--for '%s': expected stock, gang, null or lockstep", text);
    return FOR_STOCK;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'k':
        options->kubeconfig = argument;
        return 0;
    case 'f':
        options->contender = contender(state, argument);
        return 0;
    case 'p':
        options->pods = number(state, argument);
        return 0;
    case 'n':
        options->nodes = number(state, argument);
        return 0;
    case 'l':
        options->limit_s = number(state, argument);
        return 0;
    case 't':
        options->topology = argument;
        return 0;
    case 'u':
        options->until_refused = strcmp(argument, "refused") == 0;
        return 0;
    case ARGP_KEY_ARG:
        if (options->verb || (strcmp(argument, "load") != 0 && strcmp(argument, "nodes") != 0 &&
                               strcmp(argument, "fill") != 0))
            argp_error(state, "'%s': expected one verb, load, nodes or fill", argument);
        options->verb = argument;
        return 0;
    case ARGP_KEY_END:
        if (!options->verb || !options->kubeconfig || !(options->pods || options->nodes))
            argp_error(state, "a verb, --kubeconfig, and --pods or --nodes are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_list[] = {
    {"kubeconfig", 'k', "FILE", 0, "how to reach the API server, as its administrator", 0},
    {"for", 'f', "WHO", 0, "stock, gang, null or lockstep", 0},
    {"pods", 'p', "N", 0, "how many", 0},
    {"nodes", 'n', "N", 0, "how many (nodes, fill)", 0},
    {"limit", 'l', "SECONDS", 0, "how long all of it may take (default 120)", 0},
    {"topology", 't', "TEXT", 0, "annotation lockstep.dev/topology of the pods", 0},
    {"until", 'u', "bound|refused", 0, "what is waited for", 0},
    {0}};
static const struct argp parser = {option_list, parse_option, "load|nodes|fill",
                                   "The load of tests/bench/bind.sh.", NULL, NULL, NULL};

void options_parse(int argc, char **argv, struct options *ret)
{
    *ret = (struct options){.topology = "", .limit_s = 120, .contender = FOR_LOCKSTEP};
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, ret);
}
