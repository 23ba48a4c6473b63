/*
 * intern.h - one copy of a text that many objects have: label keys, names of nodes, "".
 *
 * intern() gives a shared copy that nobody may change; each is given back once by intern_free(), which
 * takes any other text of the heap too (and NULL), so that an owner need not know how its text was made.
 * Texts live while somebody has them. Any thread.
 */
#pragma once

#include <stddef.h>

char *intern(const char *text); /* NULL: no memory */
void intern_free(char *text);
size_t intern_count(void); /* different texts */
