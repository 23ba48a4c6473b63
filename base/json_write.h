/* json_write.h - appends JSON texts to a strbuf. Input must be UTF-8 (checked where it came in). */
#pragma once

#include "base/strbuf.h"

void json_write_string(struct strbuf *out, const char *text, size_t len); /* with quotes, escaped */
