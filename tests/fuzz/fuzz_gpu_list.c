/* Any bytes as --gpus and --shape: taken whole or refused with a message; what is taken is within its bounds. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "scheduler/cli/gpu_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gpu_place places[GPU_PLACES_MAX];

static void check(int r, const struct err *err, size_t n)
{
    if (r < 0 ? !err->text[0] : n == 0 || n > GPU_PLACES_MAX)
        abort();
    for (size_t i = 0; r == 0 && i < n; i++)
        if ((places[i].mask == 0) == (places[i].count == 0) || places[i].count > 32)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err list = ERR_INIT, named = ERR_INIT, shape = ERR_INIT;
    uint32_t mask = 0;
    size_t n = 0;

    if (gpu_list_parse("--gpus", (const char *)data, size, &mask, &list) < 0 ? !list.text[0] : mask == 0)
        abort();
    check(gpu_places_parse("--gpus", (const char *)data, size, places, &n, &named), &named, n);
    check(gpu_shape_parse("--shape", (const char *)data, size, places, &n, &shape), &shape, n);
    return 0;
}
