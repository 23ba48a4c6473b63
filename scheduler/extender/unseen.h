/*
 * unseen.h - the last UIDs of pods that filter waited for in vain.
 *
 * A pod that our watch has not brought is mostly some milliseconds late; but one that our readers refuse never
 * comes, and kube-scheduler schedules nothing else while filter waits for it. So each is waited for once.
 * Fixed size, no allocation; any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#define UNSEEN_MAX 64
#define UNSEEN_UID_TEXT 64 /* a UID has 36 characters; longer ones are not remembered */

struct unseen {
    pthread_mutex_t lock;
    char uids[UNSEEN_MAX][UNSEEN_UID_TEXT]; /* "": free */
    unsigned next; /* the place that is overwritten next: the oldest */
};
#define UNSEEN_INIT {.lock = PTHREAD_MUTEX_INITIALIZER}

bool unseen_has(struct unseen *unseen, const char *uid);
void unseen_add(struct unseen *unseen, const char *uid);
