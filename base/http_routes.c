#include "base/http_routes.h"

#include <string.h>

const struct http_route *http_find_route(const struct http_route *routes, const char *method,
                                         const char *path, int *ret_status)
{
    *ret_status = 404;
    for (const struct http_route *route = routes; route->path; route++) {
        if (strcmp(route->path, path) != 0)
            continue;
        *ret_status = 405;
        if (strcmp(route->method, method) == 0)
            return route;
    }
    return NULL;
}

static const char *usual_words(int status)
{
    switch (status) {
    case 403:
        return "a client certificate of this listener's CA and an allowed name are needed";
    case 404:
        return "no such path";
    case 405:
        return "wrong method";
    case 413:
        return "the body is too large";
    default:
        return "too much at once: try again";
    }
}

void http_set_text(struct http_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->type = "text/plain";
    strbuf_clear(&reply->body);
    strbuf_addf(&reply->body, "%s\n", text ? text : usual_words(status));
}
