/*
 * Makes lockstep-probe-nccl run on glibc from 2.28 on, although it is built with a newer one: it is
 * copied into images of any age. A linker takes the newest version of each function that there is;
 * the few that this program uses and that got a new version since are wrapped here (-Wl,--wrap) and
 * passed on to their first version, which every glibc still has. tests/checks/probe_runs_anywhere.sh
 * sees to it that no other comes in.
 *
 * Sources: glibc's NEWS of 2.27 (glob), 2.29 (log), 2.34 (libdl and program start merged into libc).
 */
#include <dlfcn.h>
#include <glob.h>
#include <math.h>

#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#define FIRST_DLINFO "GLIBC_2.3.3"
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#define FIRST_DLINFO "GLIBC_2.17"
#else
#error "which version is the first one here?"
#endif

#define OLD(name, version) __asm__(".symver old_" #name "," #name "@" version)

typedef int main_function(int, char **, char **);
typedef void init_function(int, char **, char **);

void *old_dlopen(const char *path, int flags);
void *old_dlsym(void *handle, const char *name);
char *old_dlerror(void);
int old_dlinfo(void *handle, int request, void *to);
double old_log(double x);
int old_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found);
int old___libc_start_main(main_function *program, int argc, char **argv, init_function *init, void (*fini)(void),
                          void (*loader_fini)(void), void *stack_end);
OLD(dlopen, FIRST);
OLD(dlsym, FIRST);
OLD(dlerror, FIRST);
OLD(dlinfo, FIRST_DLINFO);
OLD(log, FIRST);
OLD(glob, FIRST);
OLD(__libc_start_main, FIRST);

void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *handle, const char *name);
char *__wrap_dlerror(void);
int __wrap_dlinfo(void *handle, int request, void *to);
double __wrap_log(double x);
int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found);
int __wrap___libc_start_main(main_function *program, int argc, char **argv, init_function *init, void (*fini)(void),
                             void (*loader_fini)(void), void *stack_end);

void *__wrap_dlopen(const char *path, int flags)
{
    return old_dlopen(path, flags);
}

void *__wrap_dlsym(void *handle, const char *name)
{
    return old_dlsym(handle, name);
}

char *__wrap_dlerror(void)
{
    return old_dlerror();
}

int __wrap_dlinfo(void *handle, int request, void *to)
{
    return old_dlinfo(handle, request, to);
}

double __wrap_log(double x)
{
    return old_log(x);
}

int __wrap_glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found)
{
    return old_glob(pattern, flags, failed, found);
}

extern init_function *__init_array_start[] __attribute__((visibility("hidden")));
extern init_function *__init_array_end[] __attribute__((visibility("hidden")));

/* Before 2.34 a program brought this along itself. */
static void run_constructors(int argc, char **argv, char **environment)
{
    for (init_function **each = __init_array_start; each < __init_array_end; each++)
        (*each)(argc, argv, environment);
}

int __wrap___libc_start_main(main_function *program, int argc, char **argv, init_function *init, void (*fini)(void),
                             void (*loader_fini)(void), void *stack_end)
{
    return old___libc_start_main(program, argc, argv, init ? init : run_constructors, fini, loader_fini, stack_end);
}
