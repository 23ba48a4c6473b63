/* config_read.h - module-internal: readers of single values of lockstep.yaml, named by key tables. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/yaml.h"
#include "scheduler/model/config.h"

struct config_field;
typedef int config_read_fn(const struct config_field *field, struct config *config);

struct config_key {
    const char *name;
    config_read_fn *read;
    size_t at; /* offset of the value in struct config */
    size_t count_at; /* lists: offset of the size_t that counts, 0: NULL-terminated only */
    int64_t min, max; /* durations: nanoseconds; lists and maps: entries */
    const char *what; /* bounds in words, or what the entries or the unbuilt part are */
    const struct config_key *inner; /* blocks */
    size_t ninner;
};

/* One value under its key; `parent` leads to the blocks around it, for messages. */
struct config_field {
    const struct yaml_docs *docs;
    const char *file;
    const struct config_field *parent;
    const struct config_key *key;
    const json_t *value;
    struct err *err;
};

config_read_fn config__block; /* a mapping whose keys are key->inner; others are refused */
config_read_fn config__text; /* any text but "" */
config_read_fn config__name; /* a DNS subdomain */
config_read_fn config__texts; /* a list of different texts */
config_read_fn config__label_keys; /* a list of different [prefix/]names */
config_read_fn config__labels; /* a mapping of label keys to values */
config_read_fn config__ratios; /* a mapping of label keys to numbers from 1 to key->max */
config_read_fn config__duration;
config_read_fn config__address; /* "ip:port", "[ip6]:port", ":port" */
config_read_fn config__address_or_off; /* off: "" */
config_read_fn config__switch; /* on or off, into a bool */
config_read_fn config__probe; /* off, warn or gate */
config_read_fn config__object; /* "namespace/name", or off: "" */
config_read_fn config__unbuilt; /* takes only off: names the part that is not there yet */

void config__free_ratios(struct config_ratio *ratios, size_t n); /* takes NULL */
void config__free_texts(char **texts); /* NULL-terminated, both it and its texts; takes NULL */
