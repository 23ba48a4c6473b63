#include "topology/catalogue.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/nearest.h"
#include "base/strbuf.h"

#define NAMES_MAX 256
#define FILE_BYTES_MAX (256 << 10)

static const char *directory; /* set once, before the first question */

void catalogue_use_directory(const char *path)
{
    directory = path;
}

/* What is asked of each entry; a positive answer ends the walk. */
struct question {
    int (*ask)(struct question *question, const struct catalogue_entry *entry);
    const char *name;
    uint32_t gpus, matches;
    struct machine *found;
    char names[NAMES_MAX][MACHINE_TEXT_MAX]; /* those that were no answer */
    size_t nnames;
};

static int ask_text(struct question *question, const char *file, const char *text, size_t len,
                    struct catalogue_entry *entry, struct err *err)
{
    int r = catalogue_parse(file, text, len, entry, err);

    return r < 0 ? r : question->ask(question, entry);
}

/* ---- the operator's directory --------------------------------------------------------------------------- */

static int is_yaml(const struct dirent *file)
{
    size_t len = strlen(file->d_name);

    return len > 5 && strcmp(file->d_name + len - 5, ".yaml") == 0;
}

static int ask_file(struct question *question, const char *file, struct catalogue_entry *entry,
                    struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf path = STRBUF_INIT(4096);
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(FILE_BYTES_MAX);
    int r = strbuf_addf(&path, "%s/%s", directory, file);

    if (r == 0)
        r = strbuf_read_file(&text, path.data);
    if (r < 0)
        return err_set(err, r, "cannot read '%s/%s': %s", directory, file, strerror(-r));
    return ask_text(question, path.data, text.data ? text.data : "", text.len, entry, err);
}

static int ask_directory(struct question *question, struct catalogue_entry *entry, struct err *err)
{
    struct dirent **files = NULL;
    int n = scandir(directory, &files, is_yaml, alphasort), r = 0;

    if (n < 0)
        return err_set(err, -errno, "cannot read the machine catalogue '%s': %s", directory,
                       strerror(errno));
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = ask_file(question, files[i]->d_name, entry, err);
        free(files[i]);
    }
    free(files);
    return r;
}

/* ---- the walk ------------------------------------------------------------------------------------------- */

static int ask_all(struct question *question, struct err *err)
{
    CLEANUP_FREE struct catalogue_entry *entry = cleanup_alloc(sizeof(*entry));
    int r = 0;

    if (!entry)
        return err_set(err, -ENOMEM, "out of memory");
    if (directory)
        r = ask_directory(question, entry, err);
    for (size_t i = 0; i < catalogue_nfiles && r == 0; i++)
        r = ask_text(question, catalogue_files[i].name, catalogue_files[i].text, catalogue_files[i].len,
                     entry, err);
    return r;
}

static int is_named(struct question *question, const struct catalogue_entry *entry)
{
    if (strcmp(entry->name, question->name) == 0) {
        *question->found = entry->machine;
        return 1;
    }
    if (question->nnames < NAMES_MAX)
        memcpy(question->names[question->nnames++], entry->name, sizeof(entry->name));
    return 0;
}

static const char *nearest(const struct question *question)
{
    const char *names[NAMES_MAX];

    for (size_t i = 0; i < question->nnames; i++)
        names[i] = question->names[i];
    return nearest_name(question->name, names, question->nnames);
}

int catalogue_find(const char *name, struct machine *ret, struct err *err)
{
    CLEANUP_FREE struct question *question = cleanup_alloc(sizeof(*question));
    const char *near;
    int r;

    if (!question)
        return err_set(err, -ENOMEM, "out of memory");
    question->ask = is_named;
    question->name = name;
    question->found = ret;
    r = ask_all(question, err);
    if (r != 0)
        return r < 0 ? r : 0;
    near = nearest(question);
    return err_set(err, -ENOENT, "no machine '%.100s' in the catalogue%s%s%s", name,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int has_product(struct question *question, const struct catalogue_entry *entry)
{
    if (strcmp(entry->product, question->name) == 0 && entry->machine.ngpus == question->gpus &&
        question->matches++ == 0)
        *question->found = entry->machine;
    return 0;
}

int catalogue_find_product(const char *product, uint32_t gpus, struct machine *ret, struct err *err)
{
    CLEANUP_FREE struct question *question = cleanup_alloc(sizeof(*question));
    CLEANUP_FREE struct machine *found = cleanup_alloc(sizeof(*found));
    int r;

    if (!question || !found)
        return err_set(err, -ENOMEM, "out of memory");
    question->ask = has_product;
    question->name = product;
    question->gpus = gpus;
    question->found = found;
    r = ask_all(question, err);
    if (r < 0)
        return r;
    if (question->matches != 1)
        return err_set(err, -ENOENT, "found %u machines with %u x '%.63s' in the catalogue, expected one",
                       question->matches, gpus, product);
    *ret = *found;
    return 0;
}

int catalogue_machine(const char *product, uint32_t gpus, struct machine *ret)
{
    return catalogue_find_product(product, gpus, ret, NULL);
}
