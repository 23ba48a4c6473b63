/* Any bytes as a kubeconfig: a configuration with a server, or an error that says why. */
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/kube/kube_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_config config;
    struct err err = ERR_INIT;

    if (kube_config_parse("dir/fuzz", (const char *)data, size, &config, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (!config.url[0])
        abort();
    kube_config_release(&config);
    return 0;
}
