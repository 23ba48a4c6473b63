/*
 * bandwidth_constants.h - the figures behind bandwidth.h. Each is from the sources of NCCL or RCCL (version and
 * file named), or fitted on named rows of tests/bench/predict/measurements.c; `tests/bench/run.sh predict` fits
 * them anew, fails where one here has drifted from its rows, and shows what each class of rows is foretold as
 * without itself.
 */
#pragma once

/* Factors on NCCL's own link rates; 1 is NCCL's model as it is. */
enum bandwidth_factor {
    FACTOR_NONE, /* a row that no factor was fitted on */
    FACTOR_RING_SM80, /* ring through NVSwitch: Ampere */
    FACTOR_RING_SM90, /* Hopper */
    FACTOR_RING_SM100, /* Blackwell */
    FACTOR_NVLS_SM90, /* reduction in the switch: Hopper */
    FACTOR_NVLS_SM100, /* Blackwell */
    FACTOR_DOMAIN, /* an NVLink domain of several machines, of what one machine of as many would reach */
    FACTOR_BRIDGE, /* two cards joined by NVLink bridges */
    FACTOR_PCIE, /* PCIe, directly and through host memory */
    FACTOR_SOCKET, /* between sockets: Intel Sapphire Rapids */
    FACTORS
};

struct bandwidth_constants {
    double factor[FACTORS];
};

extern const struct bandwidth_constants bandwidth_constants;
