/* A trace line by line: bounded, and with an eye for lines that a killed process left torn. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/trace/trace.h"

struct trace_reader {
    FILE *file;
    char *name;
    struct strbuf text; /* of the last line */
    uint64_t line, torn;
};

struct trace_reader *trace_reader_new(FILE *file, const char *name)
{
    struct trace_reader *reader = calloc(1, sizeof(*reader));

    if (reader) {
        reader->file = file;
        reader->name = strdup(name);
        reader->text = (struct strbuf)STRBUF_INIT(TRACE_LINE_MAX);
    }
    if (reader && reader->name)
        return reader;
    free(reader);
    fclose(file);
    return NULL;
}

void trace_reader_free(struct trace_reader *reader)
{
    if (!reader)
        return;
    fclose(reader->file);
    strbuf_release(&reader->text);
    free(reader->name);
    free(reader);
}

uint64_t trace_reader_line(const struct trace_reader *reader)
{
    return reader->line;
}

uint64_t trace_reader_torn(const struct trace_reader *reader)
{
    return reader->torn;
}

static int fault(const struct trace_reader *reader, uint64_t line, int code, struct err *err)
{
    return err_prefix(err, code, "%s:%llu", reader->name, (unsigned long long)line);
}

/* 1: a line stands in text; 0: the file has ended. */
static int read_text(struct trace_reader *reader, struct err *err)
{
    struct strbuf *text = &reader->text;
    int c;

    strbuf_clear(text);
    while ((c = getc_unlocked(reader->file)) != EOF && c != '\n')
        if (strbuf_addc(text, (char)c) < 0)
            return fault(reader, reader->line + 1,
                         err_set(err, -E2BIG, "found a line of more than %zu MiB, which nobody "
                                              "records", TRACE_LINE_MAX >> 20), err);
    if (ferror(reader->file))
        return fault(reader, reader->line + 1, err_set(err, -EIO, "cannot be read"), err);
    if (c == EOF && text->len == 0)
        return 0;
    reader->line++;
    return 1;
}

static int read_line(struct trace_reader *reader, struct trace_line *ret, struct err *err)
{
    return trace_line_read(reader->text.data ? reader->text.data : "", reader->text.len, ret, err);
}

/* The line was torn if nothing follows, or a process that began anew. */
static int pass_torn(struct trace_reader *reader, struct trace_line *ret, struct err *err)
{
    struct err unused = ERR_INIT;
    uint64_t torn = reader->line;
    int r = read_text(reader, &unused);

    if (r > 0 && read_line(reader, ret, &unused) == 0) {
        if (ret->kind == TRACE_HEADER) {
            reader->torn++;
            return 1;
        }
        trace_line_release(ret);
    }
    if (r != 0)
        return fault(reader, torn, -EINVAL, err);
    reader->torn++;
    return 0;
}

int trace_reader_next(struct trace_reader *reader, struct trace_line *ret, struct err *err)
{
    int r = read_text(reader, err);

    if (r <= 0)
        return r;
    r = read_line(reader, ret, err);
    if (r == -EBADMSG)
        return pass_torn(reader, ret, err);
    return r < 0 ? fault(reader, reader->line, r, err) : 1;
}
