/* Opening libraries, and the bounded search for one. */
#include "collective/nccl_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"

#define FOUND_MAX 16 /* files of one pattern that are tried */
#define PYTHON_PATHS_MAX 32 /* of PYTHONPATH that are looked into */

/* Folders that hold Python's packages, in Python's order. "%s": the value of the variable, which must be set. */
static const struct {
    const char *variable, *pattern;
} python_places[] = {
    {"VIRTUAL_ENV", "%s/lib/python3*/site-packages"},
    {"HOME", "%s/.local/lib/python3*/site-packages"},
    {"CONDA_PREFIX", "%s/lib/python3*/site-packages"},
    {NULL, "/usr/local/lib/python3*/dist-packages"},
    {NULL, "/usr/local/lib/python3*/site-packages"},
    {NULL, "/usr/lib/python3/dist-packages"},
    {NULL, "/usr/lib/python3*/site-packages"},
    {NULL, "/usr/lib64/python3*/site-packages"},
    {NULL, "/opt/conda/lib/python3*/site-packages"},
    {NULL, "/opt/venv/lib/python3*/site-packages"},
    {NULL, "/opt/*/lib/python3*/site-packages"},
};

struct search {
    const struct library_kind *kind;
    struct strbuf looked; /* where, for the message */
    char refused[256]; /* what the loader said of a file that is there */
    void *handle;
};

static void note(struct search *search, const char *place)
{
    if (search->looked.len)
        (void)strbuf_adds(&search->looked, ", ");
    if (strbuf_adds(&search->looked, place) < 0) /* full: the rest is left out */
        search->looked.failed = false;
}

static bool try_open(struct search *search, const char *path, int flags)
{
    (void)dlerror();
    search->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | flags);
    if (search->handle)
        return true;
    if (!(flags & RTLD_NOLOAD) && !search->refused[0] && strchr(path, '/')) {
        const char *why = dlerror();

        snprintf(search->refused, sizeof(search->refused), "%s", why ? why : path);
    }
    return false;
}

static bool try_pattern(struct search *search, const char *folder, const char *file)
{
    char pattern[LIBRARY_PATH_MAX];
    glob_t found = {0};
    bool ok = false;

    if ((size_t)snprintf(pattern, sizeof(pattern), "%s/%s", folder, file) >= sizeof(pattern))
        return false;
    note(search, folder);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
        for (size_t i = 0; !ok && i < found.gl_pathc && i < FOUND_MAX; i++)
            ok = try_open(search, found.gl_pathv[i], 0);
    globfree(&found);
    return ok;
}

static bool search_python_path(struct search *search, const char *file)
{
    const char *at = getenv("PYTHONPATH");
    char folder[LIBRARY_PATH_MAX];

    for (unsigned i = 0; at && *at && i < PYTHON_PATHS_MAX; i++) {
        size_t len = strcspn(at, ":");

        if (len && len < sizeof(folder)) {
            memcpy(folder, at, len);
            folder[len] = '\0';
            if (try_pattern(search, folder, file))
                return true;
        }
        at += len + (at[len] == ':');
    }
    return false;
}

static bool search_python(struct search *search)
{
    char folder[LIBRARY_PATH_MAX];

    for (const char *const *file = search->kind->in_python; file && *file; file++) {
        if (search_python_path(search, *file))
            return true;
        for (size_t i = 0; i < sizeof(python_places) / sizeof(python_places[0]); i++) {
            const char *variable = python_places[i].variable;
            const char *value = variable ? getenv(variable) : NULL;
            const char *rest = python_places[i].pattern;

            if (variable && (!value || !*value))
                continue;
            if (variable)
                rest += 2;
            if ((size_t)snprintf(folder, sizeof(folder), "%s%s", value ? value : "", rest) >=
                sizeof(folder))
                continue;
            if (try_pattern(search, folder, *file))
                return true;
        }
    }
    return false;
}

static bool search_all(struct search *search)
{
    const char *const *sonames = search->kind->sonames;

    for (unsigned i = 0; sonames[i]; i++)
        if (try_open(search, sonames[i], RTLD_NOLOAD))
            return true;
    for (unsigned i = 0; sonames[i]; i++)
        note(search, sonames[i]); /* what is shown of the list shall not lack them */
    if (search_python(search))
        return true;
    for (unsigned i = 0; sonames[i]; i++)
        if (try_open(search, sonames[i], 0))
            return true;
    return false;
}

static void path_of(void *handle, const char *fallback, char ret_path[LIBRARY_PATH_MAX])
{
    struct link_map *map = NULL;

    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || !map || !map->l_name || !map->l_name[0])
        snprintf(ret_path, LIBRARY_PATH_MAX, "%s", fallback);
    else
        snprintf(ret_path, LIBRARY_PATH_MAX, "%s", map->l_name);
}

int library_open(const struct library_kind *kind, const char *path, void **ret_handle,
                 char ret_path[LIBRARY_PATH_MAX], struct err *err)
{
    struct search search = {.kind = kind, .looked = STRBUF_INIT(LIBRARY_LOOKED_MAX)};
    const char *named = path && *path ? path : getenv(kind->variable);
    int r = 0;

    if (named && *named) {
        /* A bare name would be searched for: what is named is that file and no other. */
        if (!strchr(named, '/'))
            return err_set(err, -ENODEV, "%s library '%.200s' is not a path", kind->title, named);
        if (!try_open(&search, named, 0))
            return err_set(err, -ENODEV, "%s library %.200s does not load: %.200s", kind->title, named,
                           search.refused);
    } else if (!search_all(&search)) {
        if (search.refused[0])
            r = err_set(err, -ENODEV, "%s library does not load: %s", kind->title, search.refused);
        else
            r = err_set(err, -ENODEV, "no %s library: not in %s; %s may name one", kind->title,
                        search.looked.data ? search.looked.data : "", kind->variable);
    }
    strbuf_release(&search.looked);
    if (r < 0)
        return r;
    path_of(search.handle, named && *named ? named : kind->sonames[0], ret_path);
    *ret_handle = search.handle;
    return 0;
}

int library_functions(void *handle, const struct library_function *functions, size_t n, void *table,
                      const char *title, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        void *found = dlsym(handle, functions[i].name);

        if (!found && functions[i].other)
            found = dlsym(handle, functions[i].other);
        if (!found && functions[i].needed)
            return err_set(err, -ENODEV, "%s library has no function %s", title, functions[i].name);
        /* Bytes of a pointer: ISO C knows no conversion of dlsym's result to a function. */
        memcpy((char *)table + functions[i].offset, &found, sizeof(found));
    }
    return 0;
}
