/*
 * catalogue.h - known machines by name, from the YAML files of configs/machines. The files are compiled in, so that a program needs
 * none beside it; a directory of further ones can be named, whose entries stand before those. Strict: a wrong key is
 * an error with file, line and the nearest right one, and each entry names its source. Pure but for that directory.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "topology/machine.h"

#define CATALOGUE_SOURCE_MAX 512

struct catalogue_entry {
    char name[MACHINE_TEXT_MAX], source[CATALOGUE_SOURCE_MAX];
    char product[MACHINE_TEXT_MAX]; /* as node label nvidia.com/gpu.product has it; "" none */
    struct machine machine;
};

/* By name. -ENOENT: message names the nearest. */
int catalogue_find(const char *name, struct machine *ret, struct err *err);
/* By the labels nvidia.com/gpu.product and .count of a node. -ENOENT: no machine has that many of it, or several have. */
int catalogue_find_product(const char *product, uint32_t gpus, struct machine *ret, struct err *err);

int catalogue_machine(const char *product, uint32_t gpus, struct machine *ret); /* the same without a message */

/* One file's text. -EINVAL. */
int catalogue_parse(const char *name, const char *text, size_t len, struct catalogue_entry *ret,
                    struct err *err);

/* The YAML files of a directory stand before the compiled-in ones from now on; NULL: no more. Borrowed. */
void catalogue_use_directory(const char *directory);

/* The compiled-in files, by name: for tests and for listing. */
struct catalogue_file {
    const char *name, *text;
    size_t len;
};
extern const struct catalogue_file catalogue_files[];
extern const size_t catalogue_nfiles;
