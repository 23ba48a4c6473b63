/* bandwidth_show.h - a bandwidth for people and for programs; and what `predict` and `subset` share. */
#pragma once

#include <jansson.h>

#include "topology/bandwidth.h"

/* {"busbw_gb_s":477.6,"limited_by":"nvls"}; null where there is none, and "why" where it is not known. */
json_t *bandwidth_json(const struct bandwidth *bandwidth);
/* "478 GB/s, limited by nvls", and a bar that is full at `whole_gb_s` (0: no bar). */
void bandwidth_text(const struct bandwidth *bandwidth, double whole_gb_s);
json_t *gpus_json(uint32_t mask);
void print_gpus(uint32_t mask); /* "0-3,6" */
