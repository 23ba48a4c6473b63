/*
 * nccl_api.h - what is used of NCCL's binary interface, declared here and loaded at run time.
 *
 * The declarations follow the documented interface (docs.nvidia.com/deeplearning/nccl, "API");
 * tests/unit/test_nccl_abi.c compares them with the real header of NCCL 2.18 and of the newest when
 * compiled against it (tests/checks/nccl_abi.sh).
 *
 * nccl_config is the layout of 2.18 with its size and version in it: the library takes what it knows
 * of it and fills newer fields with its defaults, so it is good for older and newer ones alike, and
 * for RCCL 2.21. NCCL from 2.14 on (non-blocking communicators).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "collective/nccl_library.h"

#define NCCL_API_ID_BYTES 128
#define NCCL_API_CONFIG_MAGIC 0xcafebeefu
#define NCCL_API_CONFIG_VERSION 21800u
#define NCCL_API_UNSET INT32_MIN /* an int of the config that is left to the library */

enum nccl_api_result {
    NCCL_API_OK = 0,
    NCCL_API_CUDA_ERROR = 1,
    NCCL_API_SYSTEM_ERROR = 2,
    NCCL_API_INTERNAL_ERROR = 3,
    NCCL_API_INVALID_ARGUMENT = 4,
    NCCL_API_INVALID_USAGE = 5, /* ranks that do not fit together, too */
    NCCL_API_REMOTE_ERROR = 6, /* another rank is gone */
    NCCL_API_IN_PROGRESS = 7,
    NCCL_API_TIMEOUT = 8, /* of newer ones; in 2.18 no result */
};

enum nccl_api_type { NCCL_API_UINT8 = 1, NCCL_API_UINT32 = 3, NCCL_API_FLOAT64 = 8 };
enum nccl_api_reduction { NCCL_API_SUM = 0, NCCL_API_MAX = 2 };

struct nccl_api_id { /* passed by value */
    char bytes[NCCL_API_ID_BYTES];
};

struct nccl_api_config {
    size_t size;
    unsigned magic, version;
    int blocking;
    int cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
};

struct nccl_comm; /* the library's */
struct cuda_stream; /* the driver's */

struct nccl_api {
    enum nccl_api_result (*get_version)(int *ret_version);
    enum nccl_api_result (*get_unique_id)(struct nccl_api_id *ret_id);
    enum nccl_api_result (*comm_init_rank_config)(struct nccl_comm **ret_comm, int ranks, struct nccl_api_id id,
                                                  int rank, struct nccl_api_config *config);
    enum nccl_api_result (*comm_get_async_error)(struct nccl_comm *comm, enum nccl_api_result *ret_result);
    enum nccl_api_result (*comm_finalize)(struct nccl_comm *comm);
    enum nccl_api_result (*comm_destroy)(struct nccl_comm *comm);
    enum nccl_api_result (*comm_abort)(struct nccl_comm *comm);
    enum nccl_api_result (*group_start)(void);
    enum nccl_api_result (*group_end)(void);
    enum nccl_api_result (*all_reduce)(const void *from, void *to, size_t count, enum nccl_api_type type,
                                       enum nccl_api_reduction reduction, struct nccl_comm *comm,
                                       struct cuda_stream *stream);
    enum nccl_api_result (*all_gather)(const void *from, void *to, size_t count_each, enum nccl_api_type type,
                                       struct nccl_comm *comm, struct cuda_stream *stream);
    enum nccl_api_result (*reduce_scatter)(const void *from, void *to, size_t count_each,
                                           enum nccl_api_type type, enum nccl_api_reduction reduction,
                                           struct nccl_comm *comm, struct cuda_stream *stream);
    enum nccl_api_result (*send)(const void *from, size_t count, enum nccl_api_type type, int peer,
                                 struct nccl_comm *comm, struct cuda_stream *stream);
    enum nccl_api_result (*recv)(void *to, size_t count, enum nccl_api_type type, int peer,
                                 struct nccl_comm *comm, struct cuda_stream *stream);
    const char *(*get_error_string)(enum nccl_api_result result);
    const char *(*get_last_error)(struct nccl_comm *comm); /* NULL: not in this library */

    int version; /* 21803, 23203; before 2.9 2804 */
    char path[LIBRARY_PATH_MAX];
};

/*
 * library: a path, or NULL: LOCKSTEP_NCCL_LIBRARY, one that is loaded already, the workload's Python
 * (nvidia/nccl/lib in site-packages), then the system's search for libnccl.so.2; library_kind says
 * why. -ENODEV as of library_open(). Sets no environment: NCCL reads its variables when it is first
 * used.
 */
int nccl_api_load(const char *library, struct nccl_api *ret_api, struct err *err);

/* "2.18.3" of 21803. */
void nccl_api_version_text(int version, char *text, size_t size);
