/* http_routes.h - what both servers behind http_server.h share: routes, refusals in words, limits. */
#pragma once

#include "base/http_server.h"

#define HTTP_REPLY_MAX ((size_t)64 << 20) /* bytes of one answer */

/* The route; NULL with *ret_status 405 (the path has other methods) or 404. */
const struct http_route *http_find_route(const struct http_route *routes, const char *method,
                                         const char *path, int *ret_status);
/* The reply becomes that status and line of text; text NULL: the usual words for that status. */
void http_set_text(struct http_reply *reply, int status, const char *text);
