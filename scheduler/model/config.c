#include "scheduler/model/config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "base/yaml.h"
#include "scheduler/model/config_read.h"

#define CONFIG_BYTES_MAX (256 * 1024)
#define SECOND INT64_C(1000000000)
#define DAY (86400 * SECOND)

#define AT(member) offsetof(struct config, member)
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the keys of the file, and where their values go -------------------------------------------- */

static const struct config_key listen_keys[] = {
    {.name = "verbs", .read = config__address, .at = AT(listen_verbs)},
    {.name = "metrics", .read = config__address, .at = AT(listen_health)},
    {.name = "agents", .read = config__unbuilt, .what = "the service for agents"},
    {.name = "probes", .read = config__address_or_off, .at = AT(listen_probes)},
};

static const struct config_key tls_verbs_keys[] = {
    {.name = "cert", .read = config__text, .at = AT(verbs.cert)},
    {.name = "key", .read = config__text, .at = AT(verbs.key)},
    {.name = "clients", .read = config__texts, .at = AT(verbs.clients), .min = 1,
     .max = CONFIG_CLIENTS_MAX},
};

static const struct config_key tls_metrics_keys[] = {
    {.name = "cert", .read = config__text, .at = AT(health.cert)},
    {.name = "key", .read = config__text, .at = AT(health.key)},
};

static const struct config_key tls_probes_keys[] = {
    {.name = "cert", .read = config__text, .at = AT(probes.cert)},
    {.name = "key", .read = config__text, .at = AT(probes.key)},
};

static const struct config_key tls_keys[] = {
    {.name = "ca", .read = config__text, .at = AT(verbs.ca)},
    {.name = "verbs", .read = config__block, .inner = tls_verbs_keys, .ninner = N(tls_verbs_keys)},
    {.name = "metrics", .read = config__block, .inner = tls_metrics_keys,
     .ninner = N(tls_metrics_keys)},
    {.name = "probes", .read = config__block, .inner = tls_probes_keys, .ninner = N(tls_probes_keys)},
};

static const struct config_key top_keys[] = {
    {.name = "schedulerName", .read = config__name, .at = AT(scheduler_name)},
    {.name = "levels", .read = config__label_keys, .at = AT(levels), .count_at = AT(nlevels),
     .max = CONFIG_LEVELS_MAX, .what = "node label keys"},
    {.name = "acceleratorResources", .read = config__label_keys, .at = AT(accelerators),
     .count_at = AT(naccelerators), .min = 1, .max = CONFIG_ACCELERATORS_MAX,
     .what = "resource names"},
    {.name = "nodeSelector", .read = config__labels, .at = AT(node_selector),
     .max = CONFIG_SELECTOR_MAX},
    {.name = "holdDeadline", .read = config__duration, .at = AT(hold_deadline_ns), .min = SECOND,
     .max = 3600 * SECOND, .what = "1s to 1h"},
    {.name = "earlyPlanDeadline", .read = config__duration, .at = AT(early_plan_deadline_ns),
     .min = 0, .max = 600 * SECOND, .what = "0s (never plan early) to 10m"},
    {.name = "headOfLineAfter", .read = config__duration, .at = AT(head_of_line_ns), .min = SECOND,
     .max = 30 * DAY, .what = "1s to 720h"},
    {.name = "giveUpAfter", .read = config__duration, .at = AT(give_up_ns), .min = SECOND,
     .max = 365 * DAY, .what = "1s to 8760h"},
    {.name = "preemption", .read = config__switch, .at = AT(preemption)},
    {.name = "oversubscription", .read = config__ratios, .at = AT(oversubscription),
     .count_at = AT(noversubscription), .max = 1000},
    {.name = "nvlinkBetweenNodes", .read = config__switch, .at = AT(nvlink_between_nodes)},
    {.name = "lease", .read = config__object, .at = AT(lease)},
    {.name = "probe", .read = config__probe, .at = AT(probe)},
    {.name = "probeDeadline", .read = config__duration, .at = AT(probe_deadline_ns), .min = SECOND,
     .max = 86400 * SECOND, .what = "1s to 24h"},
    {.name = "listen", .read = config__block, .inner = listen_keys, .ninner = N(listen_keys)},
    {.name = "tls", .read = config__block, .inner = tls_keys, .ninner = N(tls_keys)},
};

/* ---- the value ---------------------------------------------------------------------------------- */

int config_init(struct config *config)
{
    char **texts[] = {&config->scheduler_name, &config->listen_verbs, &config->listen_health,
                      &config->verbs.ca,       &config->verbs.cert,   &config->verbs.key,
                      &config->health.ca,      &config->health.cert,  &config->health.key,
                      &config->probes.ca,      &config->probes.cert,  &config->probes.key,
                      &config->listen_probes,
                      &config->lease};
    static const char *const values[N(texts)] = {"lockstep", "127.0.0.1:9443", ":9440",
                                                 [N(texts) - 1] = CONFIG_LEASE};
    bool whole;

    *config = (struct config){.hold_deadline_ns = 50 * SECOND,
                              .early_plan_deadline_ns = 5 * SECOND,
                              .head_of_line_ns = 600 * SECOND,
                              .probe = PROBE_OFF,
                              .probe_deadline_ns = 600 * SECOND};
    config->accelerators = calloc(2, sizeof(char *));
    whole = config->accelerators;
    if (whole) {
        config->accelerators[0] = strdup("nvidia.com/gpu");
        config->naccelerators = 1;
        whole = config->accelerators[0];
    }
    for (size_t i = 0; i < N(texts); i++) {
        *texts[i] = strdup(values[i] ? values[i] : "");
        whole = whole && *texts[i];
    }
    if (whole)
        return 0;
    config_release(config);
    return -ENOMEM;
}

static void release_tls(struct config_tls *tls)
{
    free(tls->ca);
    free(tls->cert);
    free(tls->key);
    config__free_texts(tls->clients);
}

void config_release(struct config *config)
{
    if (!config)
        return;
    free(config->scheduler_name);
    config__free_texts(config->levels);
    config__free_texts(config->accelerators);
    labels_free(&config->node_selector);
    config__free_ratios(config->oversubscription, config->noversubscription);
    free(config->listen_verbs);
    free(config->listen_health);
    free(config->lease);
    release_tls(&config->verbs);
    release_tls(&config->health);
    release_tls(&config->probes);
    free(config->listen_probes);
    *config = (struct config){0};
}

/* ---- whole --------------------------------------------------------------------------------------- */

/* A half-filled block would silently mean "no TLS": name what is missing instead. */
static int check_tls(const char *name, const struct config *config, struct err *err)
{
    const struct {
        bool wrong;
        const char *what;
    } rules[] = {
        {config->verbs.cert[0] && !config->verbs.key[0], "tls.verbs: cert without key"},
        {config->verbs.key[0] && !config->verbs.cert[0], "tls.verbs: key without cert"},
        {config->verbs.cert[0] && !config->verbs.ca[0],
         "tls.verbs: cert without tls.ca: nobody could be told apart"},
        {config->verbs.clients && !config->verbs.cert[0], "tls.verbs: clients without cert"},
        {config->health.cert[0] && !config->health.key[0], "tls.metrics: cert without key"},
        {config->health.key[0] && !config->health.cert[0], "tls.metrics: key without cert"},
        {config->probes.cert[0] && !config->probes.key[0], "tls.probes: cert without key"},
        {config->probes.key[0] && !config->probes.cert[0], "tls.probes: key without cert"},
    };

    for (size_t i = 0; i < N(rules); i++)
        if (rules[i].wrong)
            return err_set(err, -EINVAL, "%s: %s", name, rules[i].what);
    return 0;
}

int config_parse(const char *name, const char *text, size_t len, struct config *ret_config,
                 struct err *err)
{
    CLEANUP(yaml_docs_release) struct yaml_docs docs = {0};
    struct config config;
    int r = yaml_load(name, text, len, 1, &docs, err);

    if (r < 0)
        return r;
    if (config_init(&config) < 0)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    if (docs.n == 1) {
        const struct config_key whole = {.name = "", .inner = top_keys, .ninner = N(top_keys)};
        struct config_field root = {.docs = &docs, .file = name, .key = &whole,
                                    .value = docs.items[0], .err = err};

        r = config__block(&root, &config);
    }
    if (r == 0)
        r = check_tls(name, &config, err);
    if (r < 0)
        config_release(&config);
    else
        *ret_config = config;
    return r;
}

int config_load(const char *path, struct config *ret_config, struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf text = STRBUF_INIT(CONFIG_BYTES_MAX);
    int r = strbuf_read_file(&text, path);

    if (r < 0)
        return err_set(err, r, "cannot read configuration '%s': %s", path, strerror(-r));
    return config_parse(path, text.data ? text.data : "", text.len, ret_config, err);
}
