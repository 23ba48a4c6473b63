/*
 * machines_of.h - the machines of a cluster's nodes, from files: a NodeTopology tells them, else the labels
 * nvidia.com/gpu.product and nvidia.com/gpu.count by the catalogue; else a node's machine is not known.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "topology/machine.h"

struct node_machine {
    const char *name; /* asked for; borrowed */
    bool found; /* such a node is there */
    bool known; /* and so is its machine */
    struct machine machine;
    char clique[MACHINE_TEXT_MAX + 1]; /* label nvidia.com/gpu.clique: its NVLink domain; "" */
};

/* Fills in the nodes that are asked for. -EINVAL, -ENOMEM. */
int machines_of(const char *path, struct node_machine *nodes, size_t n, struct err *err);
