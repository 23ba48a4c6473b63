/* Addresses of ranks, as bytes for others: version, family, port, IP, cookie. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "collective/tcp_internal.h"

#define VERSION 1
#define HEAD 4 /* version, family, port */

static struct sockaddr_in *as_v4(struct tcp_address *address)
{
    return (struct sockaddr_in *)&address->socket;
}

static struct sockaddr_in6 *as_v6(struct tcp_address *address)
{
    return (struct sockaddr_in6 *)&address->socket;
}

/* Where the IP and the port stand, and how long the IP is. */
static uint8_t *ip_of(struct tcp_address *address, size_t *ret_len, in_port_t **ret_port)
{
    bool v6 = address->socket.ss_family == AF_INET6;

    *ret_len = v6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
    *ret_port = v6 ? &as_v6(address)->sin6_port : &as_v4(address)->sin_port;
    return v6 ? (uint8_t *)&as_v6(address)->sin6_addr : (uint8_t *)&as_v4(address)->sin_addr;
}

static void set_family(struct tcp_address *address, bool v6)
{
    address->socket.ss_family = v6 ? AF_INET6 : AF_INET;
    address->len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

int tcp_address_from_host(const char *host, struct tcp_address *ret, struct err *err)
{
    struct tcp_address address = {0};
    in_port_t *port;
    size_t len;

    if (!host)
        return err_set(err, -EINVAL, "host: expected an IP address at which peers reach this rank");
    set_family(&address, strchr(host, ':') != NULL);
    if (inet_pton(address.socket.ss_family, host, ip_of(&address, &len, &port)) != 1)
        return err_set(err, -EINVAL, "host '%.64s': expected an IP address, v4 or v6", host);
    if (getrandom(address.cookie, TCP_COOKIE, 0) != TCP_COOKIE)
        return err_set(err, -EIO, "no random bytes: %s", strerror(errno));
    *ret = address;
    return 0;
}

void tcp_address_encode(const struct tcp_address *address, struct backend_address *ret)
{
    struct tcp_address copy = *address;
    in_port_t *port;
    size_t len;
    const uint8_t *ip = ip_of(&copy, &len, &port);

    ret->bytes[0] = VERSION;
    ret->bytes[1] = len == sizeof(struct in_addr) ? 4 : 6;
    memcpy(ret->bytes + 2, port, 2);
    memcpy(ret->bytes + HEAD, ip, len);
    memcpy(ret->bytes + HEAD + len, address->cookie, TCP_COOKIE);
    ret->len = HEAD + len + TCP_COOKIE;
}

int tcp_address_decode(const struct backend_address *bytes, struct tcp_address *ret)
{
    struct tcp_address address = {0};
    in_port_t *port;
    uint8_t *ip;
    size_t len;

    if (bytes->len < HEAD || bytes->bytes[0] != VERSION ||
        (bytes->bytes[1] != 4 && bytes->bytes[1] != 6))
        return -EINVAL;
    set_family(&address, bytes->bytes[1] == 6);
    ip = ip_of(&address, &len, &port);
    if (bytes->len != HEAD + len + TCP_COOKIE)
        return -EINVAL;
    memcpy(port, bytes->bytes + 2, 2);
    memcpy(ip, bytes->bytes + HEAD, len);
    memcpy(address.cookie, bytes->bytes + HEAD + len, TCP_COOKIE);
    if (*port == 0)
        return -EINVAL;
    *ret = address;
    return 0;
}

const char *tcp_address_text(const struct tcp_address *address, char ret[TCP_ADDRESS_TEXT])
{
    struct tcp_address copy = *address;
    char text[INET6_ADDRSTRLEN] = "?";
    in_port_t *port;
    size_t len;
    const uint8_t *ip = ip_of(&copy, &len, &port);
    bool v6 = copy.socket.ss_family == AF_INET6;

    inet_ntop(copy.socket.ss_family, ip, text, sizeof(text));
    snprintf(ret, TCP_ADDRESS_TEXT, v6 ? "[%s]:%u" : "%s:%u", text, ntohs(*port));
    return ret;
}

int tcp_peer_failed(const struct tcp_rank *tcp, unsigned peer, int code, const char *what,
                    struct err *err)
{
    char text[TCP_ADDRESS_TEXT];

    return err_set(err, code, "rank %u at %s %s", peer,
                   tcp_address_text(&tcp->addresses[peer], text), what);
}
