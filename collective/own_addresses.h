/* own_addresses.h - the IPv4 addresses of this machine's interfaces that are up. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Writes at most `most` of them, as numbers: 10.0.0.1 is 0x0a000001. How many there are, which may
 * be more; 0 also when the system does not say. loopback: those of lo too.
 */
unsigned own_addresses(bool loopback, uint32_t *ret, unsigned most);
