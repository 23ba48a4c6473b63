/* Any bytes as lockstep.yaml: taken whole or refused with a message, nothing leaked. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct err err = ERR_INIT;

    if (config_parse("fuzz", (const char *)data, size, &config, &err) == 0)
        config_release(&config);
    else if (!err.text[0])
        abort(); /* a refusal without a word */
    return 0;
}
