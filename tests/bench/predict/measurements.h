/* measurements.h - bus bandwidths that others measured and published, each with its source. */
#pragma once

#include <stdbool.h>

#include "topology/bandwidth_constants.h"
#include "topology/machine.h"

enum known_machine {
    DGX_1V, DGX_1V_ONE_NIC, DGX_2, A100_8, A100_4X200, P4DE, H100_8, H100_8_RING, H800_8, A3_MEGA, P5, B200_8,
    B200_8_RING, B300_8, B300_8_RING, GB200_TRAY, GB200_TRAY_RING, MI300X_8, A100_PAIRS, H100_PAIRS, RTX5090_8,
    KNOWN_MACHINES
};

struct measurement {
    const char *class; /* what is left out together */
    enum known_machine machine;
    const char *shape; /* GPUs of each host: "8"; "8x4" four hosts of 8; "8,1"; "4x18/72": trays in domains of 72 */
    double busbw_gb_s;
    enum bandwidth_factor fit; /* the factor that is fitted on it */
    bool small; /* not a plateau: too small a message for so many ranks; shown, not counted */
    const char *reason; /* why it is not met, where it is not */
    const char *source;
};

extern const struct measurement measurements[];
extern const unsigned nmeasurements;

void known_machine(enum known_machine which, struct machine *ret);
const char *known_machine_name(enum known_machine which);
