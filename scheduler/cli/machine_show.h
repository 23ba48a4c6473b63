/* machine_show.h - the forms in which `lockstep machine` shows a machine. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/strbuf.h"
#include "topology/machine.h"

json_t *machine_json(const struct machine *machine); /* keys: README, "Using it"; unknown is null */
/* Matrix, tree and a line of summary; colour: with a terminal's escapes. */
void machine_text(const struct machine *machine, bool colour, struct strbuf *out);
void machine_svg(const struct machine *machine, struct strbuf *out); /* a whole document */

/* "NV18", "XGMI1", "PIX", "?". */
#define LINK_LABEL_MAX 16
void link_label(const struct machine_link *link, char ret[LINK_LABEL_MAX]);
