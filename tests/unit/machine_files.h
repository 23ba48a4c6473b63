/* machine_files.h - the fixtures of tests/data/machines, for the tests of readers. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "topology/machine_read.h"

#define FIXTURES SOURCE_DIR "/tests/data/machines/"

static const char *const fixtures[] = {
    "hwloc-2gpu-pcie.xml", "hwloc-8gpu-nvswitch.xml", "nccl-4h100-vm.xml",   "nccl-4mi100-xgmi.xml",
    "topo-4gpu-pcie.txt",  "topo-8a100-nics.txt",     "topo-8v100-mesh.txt",
};

#define NFIXTURES (sizeof(fixtures) / sizeof(fixtures[0]))

/* The caller releases it. */
static inline struct strbuf fixture_text(const char *name, const char *suffix)
{
    struct strbuf text = STRBUF_INIT(MACHINE_BYTES_MAX);
    char path[512];

    snprintf(path, sizeof(path), "%s%s%s", FIXTURES, name, suffix);
    if (strbuf_read_file(&text, path) < 0)
        fail_msg("cannot read %s", path);
    return text;
}

static inline void read_fixture(const char *name, struct machine *ret)
{
    struct err err = ERR_INIT;
    char path[512];

    snprintf(path, sizeof(path), "%s%s", FIXTURES, name);
    if (machine_read_file(path, ret, &err) < 0)
        fail_msg("%s", err.text);
}
