/* Options that several commands have. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/cli/cli.h"
#include "scheduler/model/config.h"

bool cli_wants_json(const char *text, struct argp_state *state)
{
    bool json = strcmp(text, "json") == 0;

    if (!json && strcmp(text, "text") != 0)
        argp_error(state, "-o '%s': expected text or json", text);
    return json;
}

int cli_set_levels(struct config *config, const char *text, struct err *err)
{
    char **levels = calloc(CONFIG_LEVELS_MAX + 1, sizeof(char *));
    size_t n = 0;

    while (levels && *text) {
        size_t len = strcspn(text, ",");

        if (len == 0 || n == CONFIG_LEVELS_MAX) {
            for (size_t i = 0; i < n; i++)
                free(levels[i]);
            free(levels);
            return err_set(err, -EINVAL, "--levels: expected 1 to %d keys, comma-joined",
                           CONFIG_LEVELS_MAX);
        }
        levels[n++] = strndup(text, len);
        text += len + (text[len] == ',');
    }
    for (size_t i = 0; i < config->nlevels; i++)
        free(config->levels[i]);
    free(config->levels);
    config->levels = levels;
    config->nlevels = n;
    return levels ? 0 : -ENOMEM;
}

void config_what_if(struct config *config)
{
    config->lease[0] = '\0';
    config->preemption = false;
    config->early_plan_deadline_ns = 0;
}
