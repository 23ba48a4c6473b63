#include "collective/own_addresses.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

unsigned own_addresses(bool loopback, uint32_t *ret, unsigned most)
{
    struct ifaddrs *all = NULL;
    struct sockaddr_in address;
    unsigned n = 0;

    if (getifaddrs(&all) < 0)
        return 0;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || !(at->ifa_flags & IFF_UP) ||
            (!loopback && at->ifa_flags & IFF_LOOPBACK))
            continue;
        memcpy(&address, at->ifa_addr, sizeof(address));
        if (n < most)
            ret[n] = ntohl(address.sin_addr.s_addr);
        n++;
    }
    freeifaddrs(all);
    return n;
}
