#include "base/tls_files.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"

#define FILE_MAX ((size_t)1 << 20)
#define CHAIN_MAX 16
#define CHECK_EVERY_NS INT64_C(1000000000)

struct pair {
    struct pair *older;
    gnutls_pcert_st certs[CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
};

struct tls_files {
    pthread_mutex_t lock;
    char *cert_file, *key_file;
    struct timespec cert_time, key_time;
    int64_t checked_ns;
    struct pair *newest;
};

static void pair_free(struct pair *pair)
{
    for (unsigned i = 0; i < pair->n; i++)
        gnutls_pcert_deinit(&pair->certs[i]);
    if (pair->key)
        gnutls_privkey_deinit(pair->key);
    free(pair);
}

static int load(const char *path, struct strbuf *text, struct err *err)
{
    int r = strbuf_read_file(text, path);

    return r < 0 ? err_set(err, r, "cannot read '%s': %s", path, strerror(-r)) : 0;
}

static int read_pair(const char *cert_file, const char *key_file, struct pair **ret,
                     struct err *err)
{
    CLEANUP(strbuf_release) struct strbuf cert = STRBUF_INIT(FILE_MAX);
    CLEANUP(strbuf_release) struct strbuf key = STRBUF_INIT(FILE_MAX);
    struct pair *pair;
    gnutls_datum_t datum;
    int r = load(cert_file, &cert, err);

    if (r == 0)
        r = load(key_file, &key, err);
    if (r < 0)
        return r;
    pair = calloc(1, sizeof(*pair));
    if (!pair)
        return -ENOMEM;
    datum = (gnutls_datum_t){(unsigned char *)cert.data, (unsigned)cert.len};
    pair->n = CHAIN_MAX;
    r = gnutls_pcert_list_import_x509_raw(pair->certs, &pair->n, &datum, GNUTLS_X509_FMT_PEM, 0);
    if (r < 0) {
        free(pair);
        return err_set(err, -EINVAL, "'%s' is not a certificate in PEM: %s", cert_file,
                       gnutls_strerror(r));
    }
    datum = (gnutls_datum_t){(unsigned char *)key.data, (unsigned)key.len};
    r = gnutls_privkey_init(&pair->key);
    if (r == 0)
        r = gnutls_privkey_import_x509_raw(pair->key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r < 0) {
        pair_free(pair);
        return err_set(err, -EINVAL, "'%s' is not a private key in PEM: %s", key_file,
                       gnutls_strerror(r));
    }
    *ret = pair;
    return 0;
}

static struct timespec changed_at(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* A pair that cannot be read (half written) leaves the old one in use; the next look tries again. */
static int refresh(struct tls_files *files, struct err *err)
{
    struct timespec cert_time = changed_at(files->cert_file), key_time = changed_at(files->key_file);
    struct pair *pair = NULL;
    int r;

    if (files->newest && same_time(cert_time, files->cert_time) &&
        same_time(key_time, files->key_time))
        return 0;
    r = read_pair(files->cert_file, files->key_file, &pair, err);
    if (r < 0 || !pair)
        return r;
    pair->older = files->newest;
    files->newest = pair;
    files->cert_time = cert_time;
    files->key_time = key_time;
    return 0;
}

int tls_files_open(const char *cert_file, const char *key_file, struct tls_files **ret,
                   struct err *err)
{
    struct tls_files *files = calloc(1, sizeof(*files));
    int r = -ENOMEM;

    if (!files)
        return r;
    pthread_mutex_init(&files->lock, NULL);
    files->cert_file = strdup(cert_file);
    files->key_file = strdup(key_file);
    if (files->cert_file && files->key_file)
        r = refresh(files, err);
    if (r < 0)
        tls_files_close(files);
    else
        *ret = files;
    return r;
}

void tls_files_close(struct tls_files *files)
{
    if (!files)
        return;
    while (files->newest) {
        struct pair *older = files->newest->older;

        pair_free(files->newest);
        files->newest = older;
    }
    pthread_mutex_destroy(&files->lock);
    free(files->cert_file);
    free(files->key_file);
    free(files);
}

void tls_files_get(struct tls_files *files, gnutls_pcert_st **ret_certs, unsigned *ret_n,
                   gnutls_privkey_t *ret_key)
{
    int64_t now = clock_boot_ns();

    pthread_mutex_lock(&files->lock);
    if (now - files->checked_ns >= CHECK_EVERY_NS) {
        files->checked_ns = now;
        refresh(files, NULL);
    }
    *ret_certs = files->newest->certs;
    *ret_n = files->newest->n;
    *ret_key = files->newest->key;
    pthread_mutex_unlock(&files->lock);
}
