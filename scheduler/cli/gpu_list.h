/*
 * gpu_list.h - which accelerators, as people type them: "0-3,6" of one machine, "node1:0-3,node2:0-3" of several,
 * "4+4,8" only how many for each pod. 0; -EINVAL: err names what was found and what was expected. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define GPU_LIST_BYTES_MAX 65536
#define GPU_PLACES_MAX 1024
#define GPU_PLACE_NAME_MAX 254 /* a node's name and its NUL */

/* Numbers below 32, each named once. `option` begins the messages: "--gpus". */
int gpu_list_parse(const char *option, const char *text, size_t len, uint32_t *ret_mask, struct err *err);

struct gpu_place { /* a pod: on a node, or so many on a host */
    char node[GPU_PLACE_NAME_MAX];
    uint32_t mask; /* of a shape: 0 */
    uint32_t count, host;
};

/* A number without a node belongs to the node before it; a node may be named once. */
int gpu_places_parse(const char *option, const char *text, size_t len, struct gpu_place *ret,
                     size_t *ret_n, struct err *err);
/* Pods that '+' joins share a host. */
int gpu_shape_parse(const char *option, const char *text, size_t len, struct gpu_place *ret,
                    size_t *ret_n, struct err *err);
