/* What must not be left behind. */
#include <dirent.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/probe_faults/probe_faults.h"

#define TCP_TIME_WAIT 6 /* in /proc/net/tcp: the kernel's own, for a minute */
#define TCP_CLOSE 7

bool left_own_network(void)
{
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd, r;

    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return false;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    r = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &loopback);
    if (fd >= 0)
        close(fd);
    if (r < 0) {
        perror("a network of its own has no loopback");
        exit(EXIT_FAILURE);
    }
    return true;
}

unsigned left_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned n = 0;

    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        char to[64];
        ssize_t len = readlinkat(dirfd(folder), entry->d_name, to, sizeof(to) - 1);

        n += len > 7 && memcmp(to, "socket:", 7) == 0;
    }
    if (folder)
        closedir(folder);
    return n;
}

static unsigned sockets_in(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[512];
    unsigned n = 0, state;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, " %*u: %*s %*s %x", &state) == 1 && state != TCP_TIME_WAIT &&
            state != TCP_CLOSE) {
            fputs(line, stderr);
            n++;
        }
    if (file)
        (void)fclose(file);
    return n;
}

unsigned left_sockets(void)
{
    return sockets_in("/proc/self/net/tcp") + sockets_in("/proc/self/net/tcp6");
}
