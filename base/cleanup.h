/* cleanup.h - scope-bound release for single owners: CLEANUP(strbuf_release) struct strbuf b = ...; */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close) /* initial value -1 */

static inline void cleanup_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* free() of a text that is a secret: overwritten first. Takes NULL. */
static inline void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* calloc(1, size) for CLEANUP_FREE: clang's analyzer does not know that attribute, and takes its own calloc for lost. */
void *cleanup_alloc(size_t size);

/* Moves a pointer out of its owner: `return TAKE(p);` */
#define TAKE(pointer)                                                                              \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })
