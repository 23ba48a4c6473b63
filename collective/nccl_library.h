/*
 * nccl_library.h - shared libraries of others, opened while the program runs: the same program
 * starts where they are not. What is taken from one is a table of names and places, so that another
 * library of the same kind needs no code.
 *
 * A library stays open to the end of the process: NCCL and the driver run threads of their own,
 * which would run on in unmapped memory. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define LIBRARY_PATH_MAX 512
#define LIBRARY_LOOKED_MAX 384 /* of the list of places that is shown */

struct library_function {
    const char *name, *other; /* other: its name in older or newer ones, or NULL */
    size_t offset; /* of its pointer in the table's struct */
    bool needed;
};

/*
 * Where a library of one kind is looked for; lists end with NULL. The order is: what the variable names, what is loaded
 * already (LD_PRELOAD), Python's packages, the system's search (LD_LIBRARY_PATH, the loader's cache).
 *
 * It has to be the one that the workload will load. PyTorch's wheels find NCCL by DT_RPATH in Python's packages
 * (nvidia/nccl/lib), which goes before LD_LIBRARY_PATH and all else but what is loaded already (pytorch/builder#1150;
 * ld.so(8)); where PyTorch was built against the system's NCCL, as in NVIDIA's own images, the package is not installed. So
 * Python's goes first. A workload of another kind beside such a package names its library (lockstep-probe --library).
 */
struct library_kind {
    const char *title; /* "NCCL", for messages */
    const char *variable; /* of the environment: a path, and then nowhere else */
    const char *const *sonames; /* as already loaded, and last by the system's search */
    const char *const *in_python; /* below site-packages of the usual places; NULL: not looked for there */
};

/*
 * path: only this one; NULL: where the kind says. -ENODEV: there is none, and err lists where it was
 * looked for, or why the one named or found does not load. ret_path is where it was found.
 */
int library_open(const struct library_kind *kind, const char *path, void **ret_handle,
                 char ret_path[LIBRARY_PATH_MAX], struct err *err);

/* Fills the pointers at `table`; those that are not there and not needed are NULL. -ENODEV: err names the first that
 * is needed and missing. */
int library_functions(void *handle, const struct library_function *functions, size_t n, void *table,
                      const char *title, struct err *err);
