#include "base/json_write.h"

void json_write_string(struct strbuf *out, const char *text, size_t len)
{
    size_t from = 0;

    strbuf_addc(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        strbuf_add(out, text + from, i - from);
        from = i + 1;
        if (c < 0x20)
            strbuf_addf(out, "\\u%04x", c);
        else
            strbuf_addf(out, "\\%c", c);
    }
    strbuf_add(out, text + from, len - from);
    strbuf_addc(out, '"');
}
