#include "scheduler/extender/unseen.h"

#include <string.h>

static bool find(const struct unseen *unseen, const char *uid)
{
    for (unsigned i = 0; i < UNSEEN_MAX; i++)
        if (strcmp(unseen->uids[i], uid) == 0)
            return true;
    return false;
}

bool unseen_has(struct unseen *unseen, const char *uid)
{
    bool found;

    pthread_mutex_lock(&unseen->lock);
    found = *uid && find(unseen, uid);
    pthread_mutex_unlock(&unseen->lock);
    return found;
}

void unseen_add(struct unseen *unseen, const char *uid)
{
    size_t len = strlen(uid);

    if (len == 0 || len >= UNSEEN_UID_TEXT)
        return;
    pthread_mutex_lock(&unseen->lock);
    if (!find(unseen, uid)) {
        memcpy(unseen->uids[unseen->next], uid, len + 1);
        unseen->next = (unseen->next + 1) % UNSEEN_MAX;
    }
    pthread_mutex_unlock(&unseen->lock);
}
