#include "scheduler/cli/bandwidth_show.h"

#include <math.h>
#include <stdio.h>

#include "scheduler/cli/cli.h"

#define BAR 40

json_t *bandwidth_json(const struct bandwidth *bandwidth)
{
    json_t *object = json_object();
    double busbw = bandwidth->busbw_gb_s;

    json_object_set_new(object, "busbw_gb_s", busbw > 0 ? json_real(round(busbw * 100) / 100) : json_null());
    json_object_set_new(object, "limited_by", json_string(bandwidth_limit_word(bandwidth->limit)));
    if (bandwidth->why)
        json_object_set_new(object, "why", json_string(bandwidth->why));
    return object;
}

void bandwidth_text(const struct bandwidth *bandwidth, double whole_gb_s)
{
    int filled;

    if (bandwidth->limit == LIMIT_UNKNOWN || bandwidth->limit == LIMIT_SINGLE) {
        printf("bus bandwidth: %s\n", bandwidth->why ? bandwidth->why : "none, one GPU has nothing to reduce");
        return;
    }
    printf("bus bandwidth: %.*f GB/s of a large all-reduce, limited by %s\n", bandwidth->busbw_gb_s < 100,
           bandwidth->busbw_gb_s, bandwidth_limit_word(bandwidth->limit));
    if (whole_gb_s <= 0)
        return;
    filled = (int)lround(fmin(1, bandwidth->busbw_gb_s / whole_gb_s) * BAR);
    printf("  %s", paint("32"));
    for (int i = 0; i < BAR; i++)
        putchar(i < filled ? '#' : '.');
    printf("%s of %.0f by one whole machine\n", paint("0"), whole_gb_s);
}

json_t *gpus_json(uint32_t mask)
{
    json_t *list = json_array();

    for (; mask; mask &= mask - 1)
        json_array_append_new(list, json_integer(__builtin_ctz(mask)));
    return list;
}

void print_gpus(uint32_t mask)
{
    const char *comma = "";

    while (mask) {
        int from = __builtin_ctz(mask), to = from;

        while (to < MACHINE_GPUS_MAX - 1 && mask >> (to + 1) & 1)
            to++;
        printf(to > from ? "%s%d-%d" : "%s%d", comma, from, to);
        mask &= to == MACHINE_GPUS_MAX - 1 ? 0 : UINT32_MAX << (to + 1);
        comma = ",";
    }
}
