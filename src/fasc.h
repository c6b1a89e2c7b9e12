/* fasc.h - flash attention with scores: the public C interface of libfasc.
 *
 * Conventions
 *   - Every call that can fail returns a fasc_status; FASC_OK is 0. On failure
 *     fasc_last_error() says, for this thread, which call, which argument, what
 *     was given and which rule it breaks. What can be refused is refused before
 *     any output is touched; FASC_ECANCELED and errors of a device while it
 *     computes leave outputs partly written.
 *   - Nothing here exits, aborts or prints.
 *   - Structs that callers fill begin with `size`: set it to sizeof(the struct),
 *     zero the rest, then set what you need. Zero means "the default".
 *   - Shapes count elements, strides are in elements, sizes are in bytes unless
 *     the name says otherwise. Indices are 64-bit.
 *   - Any function may be called from any thread on different tensors.
 *
 * The region between the two markers is plain C that LuaJIT's ffi.cdef reads as
 * it stands: no preprocessor lines, no 64-bit constants.
 */
#ifndef FASC_H
#define FASC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define _Bool bool
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* --- ffi: begin --- */

/* ---- status --------------------------------------------------------------- */

typedef enum fasc_status {
    FASC_OK = 0,
    FASC_EINVAL = 1,       /* an argument breaks a rule; the message names both */
    FASC_EUNSUPPORTED = 2, /* legal, but this kernel, dtype or device cannot do it */
    FASC_ENOMEM = 3,       /* out of memory; the message says asked and free bytes */
    FASC_EPRESSURE = 4,    /* past the soft limit of fasc_memory_set_soft_limit */
    FASC_EIO = 5,          /* the system refused a read or a write */
    FASC_EFORMAT = 6,      /* a file is not what it claims; the message says where */
    FASC_ECANCELED = 7,    /* fasc_cancel() was called */
    FASC_ENODEVICE = 8,    /* no such device, or its backend is not usable */
    FASC_EDEVICE = 9,      /* the device's runtime reported an error */
    FASC_EINTERNAL = 10    /* a defect in fasc itself */
} fasc_status;

/* "FASC_EINVAL" and so on; "unknown status" for any other number. */
const char *fasc_status_name(fasc_status status);

/* This thread's last failure as one line, "" if there was none. Valid until this
 * thread's next failing call. */
const char *fasc_last_error(void);

/* ---- library -------------------------------------------------------------- */

/* The interface's version: raised when a struct or a signature changes. */
uint32_t fasc_abi_version(void);

/* "0.1.0" */
const char *fasc_version(void);

/* One line of JSON: version, commit, dirty, compiler, build type, libraries. */
const char *fasc_build_info(void);

/* sizeof the named public struct ("fasc_attention_args"), 0 for an unknown name:
 * lets a binding check its own declarations. */
size_t fasc_struct_size(const char *name);

/* Asks every running CPU loop and sampling loop of this process to return
 * FASC_ECANCELED soon. Safe in a signal handler. Stays set until cleared. */
void fasc_cancel(void);
void fasc_cancel_clear(void);
_Bool fasc_cancel_requested(void);

/* Threads that CPU kernels use; 0 = one per usable core (the default). */
fasc_status fasc_set_num_threads(int32_t n);
int32_t fasc_num_threads(void);

/* ---- dtypes --------------------------------------------------------------- */

typedef enum fasc_dtype {
    FASC_F16 = 1,
    FASC_BF16 = 2,
    FASC_F32 = 3,
    FASC_F64 = 4,
    FASC_I32 = 5,
    FASC_I64 = 6,
    FASC_U8 = 7
} fasc_dtype;

/* "f16"; NULL for a number that is no dtype. */
const char *fasc_dtype_name(fasc_dtype dtype);

/* Bytes of one element; 0 for a number that is no dtype. */
size_t fasc_dtype_size(fasc_dtype dtype);

/* From "f16 bf16 f32 f64 i32 i64 u8", and the spellings float16, bfloat16, float32,
 * float64, half, float, double, int32, int64, uint8. */
fasc_status fasc_dtype_parse(const char *name, fasc_dtype *dtype);

/* ---- devices -------------------------------------------------------------- */

typedef struct fasc_device fasc_device; /* lives as long as the process */

typedef struct fasc_device_info {
    uint32_t size;
    int32_t index;          /* 0 for cpu and cuda:0 */
    char name[32];          /* "cpu", "cuda:0" */
    char model[128];        /* "NVIDIA H200", "AMD EPYC 9454" */
    char arch[32];          /* "sm_90", "avx512": the instruction set kernels use */
    char driver[64];        /* "580.159.04", "" for cpu */
    char runtime[64];       /* "CUDA 13.0", "OpenBLAS 0.3.21" */
    int32_t units;          /* multiprocessors, or threads in use on a CPU */
    int64_t memory_total;   /* bytes */
    int64_t memory_free;    /* bytes, now */
    int64_t l2_bytes;       /* L2 of a GPU, last-level cache of a CPU; 0 = unknown */
    int64_t smem_per_block; /* most shared memory a block can ask for; 0 on a CPU */
} fasc_device_info;

/* Opens a device by name: "cpu", "cuda" (= "cuda:0"), "cuda:1", ... NULL or "auto" =
 * the best one present (cuda:0 when usable, else cpu). The same handle every time.
 * No GPU is touched before the first call that names one, or "auto".
 * FASC_EINVAL: no such name. FASC_ENODEVICE: not usable here, with the reason. */
fasc_status fasc_device_open(const char *name, fasc_device **device);

fasc_status fasc_device_get_info(fasc_device *device, fasc_device_info *info);

/* "cuda:0"; never NULL for an open device. */
const char *fasc_device_name(const fasc_device *device);

/* Usable devices of a backend ("cpu", "cuda"); 0 devices comes with FASC_ENODEVICE and
 * the reason as the message ("cuda: no driver ..."). */
fasc_status fasc_device_count(const char *backend, int32_t *count);

/* Waits for all work queued on the device. */
fasc_status fasc_device_synchronize(fasc_device *device);

/* Why a device holds its clock down, apart from having nothing to do. */
typedef enum fasc_throttle {
    FASC_THROTTLE_POWER = 1,    /* at its power limit */
    FASC_THROTTLE_THERMAL = 2,  /* too hot */
    FASC_THROTTLE_HARDWARE = 4, /* a slowdown or a power brake from outside of the chip */
    FASC_THROTTLE_SYNC = 8      /* keeps step with slower GPUs */
} fasc_throttle;

/* How a device runs at this moment; 0 = the device does not tell. */
typedef struct fasc_device_state {
    uint32_t size;
    int32_t throttle;                    /* sum of fasc_throttle; 0 = not held down */
    double clock_mhz, clock_max_mhz;     /* of its multiprocessors, and the most it can be */
    double memory_clock_mhz;             /* of its memory */
    double power_watts, power_max_watts; /* drawn, and the limit */
    double temperature;                  /* degrees Celsius */
} fasc_device_state;

/* FASC_EUNSUPPORTED: this device tells nothing of itself, and why. */
fasc_status fasc_device_get_state(fasc_device *device, fasc_device_state *state);

typedef struct fasc_memory_stats {
    uint32_t size;
    int64_t live;       /* bytes held by tensors */
    int64_t peak;       /* the most `live` has been since the last reset */
    int64_t cached;     /* bytes the pool keeps for reuse */
    int64_t soft_limit; /* 0 = none */
    int64_t free;       /* bytes the device says are free */
    int64_t total;      /* bytes of the device */
    int64_t count;      /* tensors' storages alive */
} fasc_memory_stats;

fasc_status fasc_memory_get(fasc_device *device, fasc_memory_stats *stats);
fasc_status fasc_memory_reset_peak(fasc_device *device);

/* Gives cached blocks back to the system. */
fasc_status fasc_memory_trim(fasc_device *device);

/* Past this many live bytes an allocation returns FASC_EPRESSURE, so that a caller with
 * a garbage collector can collect, raise the limit if what lives needs it, and retry.
 * 0 turns it off (the default). */
fasc_status fasc_memory_set_soft_limit(fasc_device *device, int64_t bytes);

/* ---- tensors -------------------------------------------------------------- */

typedef struct fasc_tensor fasc_tensor;

/* A new tensor with unspecified contents, contiguous in row-major order. rank is 0 to 8;
 * zero-size dimensions are legal. */
fasc_status fasc_tensor_empty(fasc_device *device, fasc_dtype dtype, int32_t rank,
                              const int64_t *shape, fasc_tensor **tensor);

/* The same with given strides (>= 0, in elements); storage covers the last element. */
fasc_status fasc_tensor_empty_strided(fasc_device *device, fasc_dtype dtype, int32_t rank,
                                      const int64_t *shape, const int64_t *stride,
                                      fasc_tensor **tensor);

/* A tensor over the caller's memory, which must outlive it (a PyTorch tensor's data_ptr,
 * say). stride NULL = contiguous. data is a device pointer for a GPU device. */
fasc_status fasc_tensor_wrap(fasc_device *device, fasc_dtype dtype, int32_t rank,
                             const int64_t *shape, const int64_t *stride, void *data,
                             fasc_tensor **tensor);

/* A view that starts `offset` elements into base. It shares base's storage and keeps it
 * alive; FASC_EINVAL if any element would lie outside of it. */
fasc_status fasc_tensor_view(const fasc_tensor *base, int64_t offset, int32_t rank,
                             const int64_t *shape, const int64_t *stride, fasc_tensor **tensor);

/* A view with another shape of as many elements, where the strides allow it without a
 * copy; FASC_EINVAL where they do not. */
fasc_status fasc_tensor_reshape(const fasc_tensor *base, int32_t rank, const int64_t *shape,
                                fasc_tensor **tensor);

/* Ends the handle; the storage goes with its last handle. NULL is allowed. Safe while
 * work that uses it is queued. */
void fasc_tensor_free(fasc_tensor *tensor);

int32_t fasc_tensor_rank(const fasc_tensor *tensor);
const int64_t *fasc_tensor_shape(const fasc_tensor *tensor);
const int64_t *fasc_tensor_stride(const fasc_tensor *tensor);
fasc_dtype fasc_tensor_dtype(const fasc_tensor *tensor);
fasc_device *fasc_tensor_device(const fasc_tensor *tensor);
int64_t fasc_tensor_numel(const fasc_tensor *tensor);
_Bool fasc_tensor_is_contiguous(const fasc_tensor *tensor);

/* The address of element (0, 0, ...): a device pointer on a GPU; NULL if empty. */
void *fasc_tensor_data(const fasc_tensor *tensor);

/* ---- filling, moving, looking --------------------------------------------- */

/* Sets every element, rounded to the dtype (integers: truncated, saturated). */
fasc_status fasc_tensor_fill(fasc_tensor *tensor, double value);

/* Element n (row-major order) = start + n * step, computed in float64. */
fasc_status fasc_tensor_arange(fasc_tensor *tensor, double start, double step);

/* Random numbers: element n (row-major order) takes word n % 4 of Philox4x32-10 with key
 * `seed` (low word, high word) and counter (lo(n / 4), hi(n / 4), lo(stream), hi(stream)),
 * so values depend on nothing but seed, stream and n: not on strides, threads or device.
 * uniform: (word >> 8) * 2^-24 in [0, 1), then fma(x, hi - lo, lo), in float32.
 * normal: Box-Muller on words (0, 1) and (2, 3), in float32 with fixed polynomials (see
 * src/philox.h), then fma(x, std, mean). Floating dtypes only. */
fasc_status fasc_tensor_rand(fasc_tensor *tensor, uint64_t seed, uint64_t stream, double lo,
                             double hi);
fasc_status fasc_tensor_randn(fasc_tensor *tensor, uint64_t seed, uint64_t stream, double mean,
                              double std);

/* dst = src, converted to dst's dtype with round-to-nearest-even; shapes must be equal,
 * strides, dtypes and devices may differ. Between a GPU and the CPU it returns when the
 * data has arrived. */
fasc_status fasc_tensor_copy(const fasc_tensor *src, fasc_tensor *dst);

/* One element as a float64, by its indices (rank of them). */
fasc_status fasc_tensor_get(const fasc_tensor *tensor, const int64_t *index, double *value);

typedef struct fasc_summary {
    uint32_t size;
    int64_t count; /* elements */
    int64_t nan_count;
    int64_t inf_count; /* of either sign */
    double min, max;   /* over all that are not NaN; NaN when there is none */
    double sum, mean;  /* over the finite elements, in float64 */
} fasc_summary;

fasc_status fasc_tensor_summarize(const fasc_tensor *tensor, fasc_summary *summary);

typedef struct fasc_difference {
    uint32_t size;
    int64_t count;         /* elements compared */
    int64_t mismatch;      /* pairs of which just one is NaN, or infinite otherwise than
                              the other (place or sign) */
    double max_abs;        /* over the pairs where both are finite */
    double max_rel;        /* |a - b| / |b| where b is finite and not 0 */
    int64_t max_abs_index; /* row-major number of the worst pair; -1 if count is 0 */
} fasc_difference;

/* Compares two tensors of equal shape element by element in float64. */
fasc_status fasc_tensor_compare(const fasc_tensor *a, const fasc_tensor *b,
                                fasc_difference *difference);

/* ---- matrix product ------------------------------------------------------- */

typedef struct fasc_matmul_args {
    uint32_t size;
    const fasc_tensor *a; /* (..., M, K) */
    const fasc_tensor *b; /* (..., K, N); batch dimensions equal a's, or 1, or absent */
    fasc_tensor *out;     /* (..., M, N), same dtype as a and b, or f32 */
    double alpha;         /* out = alpha * a b; 0 = 1.0 */
    void *stream;         /* NULL = the device's own */
} fasc_matmul_args;

/* out = alpha * a b, float32 accumulation (float64 for f64). Any strides. */
fasc_status fasc_matmul(const fasc_matmul_args *args);

/* ---- attention ------------------------------------------------------------ */

typedef enum fasc_align {
    FASC_ALIGN_BOTTOM_RIGHT = 0, /* query i stands at i' = i + (Nk - Nq) */
    FASC_ALIGN_TOP_LEFT = 1      /* query i stands at i' = i */
} fasc_align;

/* A kernel's configuration; 0 or NULL leaves a choice to the library. */
typedef struct fasc_kernel_config {
    const char *name; /* "reference", "naive", "blas", "flash"; NULL = the best that can */
    const char *arch; /* "sm_80", "sm_90a", "avx2", ...; NULL = the device's best */
    int32_t block_m;  /* query rows of a tile */
    int32_t block_n;  /* keys of a tile */
    int32_t stages;   /* K/V tiles in flight */
    int32_t warps;    /* warps, or consumer warpgroups, of a block */
    int32_t splits;   /* parts that the keys are split into, worked on side by side, no more than
                         there are tiles of keys; 1 = no split */
} fasc_kernel_config;

/* S = sm_scale * Q K^T (+ mask), P = softmax(S) over the visible keys, O = P V.
 *
 * Query i, standing at i' (see align), sees key j iff
 *     0 <= j < Nk,   causal: j <= i',   window: i' - window_left <= j <= i' + window_right
 * and the mask lets it. A row that sees no key has O = 0, LSE = -inf, row_max = -inf and
 * P = 0; its entry is never NaN. NaN and infinities in the inputs propagate to the rows and
 * columns that they touch, and to no others.
 *
 * f16, bf16 and f32 inputs accumulate in float32 or better; f64 runs on "reference" only.
 * FASC_EINVAL: shapes, dtypes or options break a rule. FASC_EUNSUPPORTED: the kernel asked
 * for cannot serve this problem (the message says why, and which can). */
typedef struct fasc_attention_args {
    uint32_t size;
    int32_t causal;     /* 0 or 1 */
    int32_t align;      /* fasc_align: where the causal line and the window lie */
    int32_t has_scale;  /* 0: the scale is 1/sqrt(D); 1: it is sm_scale */
    double sm_scale;    /* finite */
    int32_t has_window; /* 1: window_left and window_right hold; -1 there = unlimited */
    int32_t reserved;   /* 0 */
    int64_t window_left;
    int64_t window_right;
    const fasc_tensor *q;    /* (B, Hq, Nq, D) */
    const fasc_tensor *k;    /* (B, Hk, Nk, D); Hq is a multiple of Hk */
    const fasc_tensor *v;    /* (B, Hk, Nk, D); may be NULL when out is not wanted */
    const fasc_tensor *mask; /* NULL, or broadcastable to (B, Hq, Nq, Nk): u8 (0 = hidden), or a
                                floating dtype that is added to S (-inf = hidden) */
    fasc_kernel_config kernel;

    /* Column sums, diagonals and (by its keys) row_sum cover queries [query_begin, query_end) and
     * keys [key_begin, key_end); an end of 0 is Nq or Nk. The softmax is over all visible keys
     * whatever the ranges. A range that no wanted output looks at is an error. */
    int64_t query_begin, query_end;
    int64_t key_begin, key_end;
    int32_t per_kv_head; /* 1: col_* have Hk heads, each the sum (the maximum, for col_max_probs)
                            over the query heads that read it */
    int32_t tile;        /* edge t of the tiles of pooled_max and pooled_mass */

    /* Dropout: out_i = sum_j keep_ij p_ij v_j / (1 - dropout_p), nothing else changes. keep_ij iff
     * word >= floor(dropout_p * 2^32) as integers, the word being number 2 ((i >> 3) & 1) + (j & 1)
     * of Philox4x32-10 with key `seed` (low word, high word) and counter
     * (j >> 1, (i >> 4) * 8 + (i & 7), b * Hq + h, dropout_offset). */
    double dropout_p; /* 0 <= p < 1; above 0 only if out is wanted */
    uint64_t seed;
    uint32_t dropout_offset;

    /* What is wanted: NULL = not computed. At least one. */
    fasc_tensor *out;     /* (B, Hq, Nq, D), q's dtype or f32 */
    fasc_tensor *lse;     /* (B, Hq, Nq) f32 (f64 on reference): ln sum_j exp(S_ij) */
    fasc_tensor *row_max; /* (B, Hq, Nq) f32 (f64 on reference): max_j S_ij, visible keys */
    fasc_tensor *logits;  /* (B, Hq, Nq, Nk) sm_scale * Q K^T, the whole matrix, no mask */
    fasc_tensor *masked;  /* (B, Hq, Nq, Nk) S, -inf where a key is not visible */
    fasc_tensor *probs;   /* (B, Hq, Nq, Nk) P, 0 where a key is not visible */
                          /* scores: q's dtype or f32 (f64 on reference); any strides */

    /* Statistics of S and P, over visible pairs (i, j) only: f32 (f64 on reference) or i32, any
     * strides, the same bits every time. Dropout does not touch them. i' = i + Nk - Nq, whatever
     * `align` is.
     * Of each row, (B, Hq, Nq); for an empty row 0, 0, 0, -1: */
    fasc_tensor *entropy;       /* nats: -sum_j p ln p = LSE - sum_j p S */
    fasc_tensor *mean_distance; /* sum_j p (i' - j) */
    fasc_tensor *row_sum;       /* sum of S over the key range */
    fasc_tensor *row_argmax;    /* i32: the lowest j with the largest S */
    /* (B, Hq, Nq, k), 1 <= k <= 64: the k largest S and their keys, largest first, ties by the
     * lower key; where fewer keys are visible, -inf and -1. Either or both. */
    fasc_tensor *topk_values;
    fasc_tensor *topk_indices; /* i32 */
    /* Of each key of the key range over the query range, (B, Hq or Hk, key_end - key_begin). Sums
     * of P are the accumulated attention of H2O (arXiv:2306.14048); over the last queries, of
     * SnapKV (arXiv:2404.14469). */
    fasc_tensor *col_sum_probs;
    fasc_tensor *col_sum_logits; /* of S */
    fasc_tensor *col_max_probs;  /* 0 where no query of the range sees the key */
    /* Of each diagonal, (B, Hq, Nq + Nk - 1): entry delta + Nq - 1 sums the pairs of both ranges
     * with i' - j = delta (the slashes of MInference, arXiv:2407.02490). */
    fasc_tensor *diag_sum_probs;
    fasc_tensor *diag_sum_logits;
    /* Of each t x t tile of P, (B, Hq, ceil(Nq / t), ceil(Nk / t)); the ranges do not apply: */
    fasc_tensor *pooled_max;
    fasc_tensor *pooled_mass; /* summed over the tile's keys, averaged over its queries */
    /* (Hq): the largest S over the batch and all visible pairs, -inf without any (QK-clip,
     * arXiv:2507.20534). */
    fasc_tensor *max_logit;

    void *stream;    /* GPU: the caller's stream; NULL = the device's own */
    void *workspace; /* NULL = from the library's pool */
    int64_t workspace_bytes;
} fasc_attention_args;

/* What will run, or has run, and why. */
typedef struct fasc_attention_plan {
    uint32_t size;
    int32_t block_m, block_n, stages, warps; /* 0 where the kernel has no such thing */
    int32_t threads;                         /* CPU threads, or threads of a GPU block */
    int32_t splits;                          /* parts that the keys are split into; 1 = no split */
    char kernel[32];                         /* "flash" */
    char arch[32];                           /* "avx512", "sm_90a" */
    char config[240];        /* the configuration and its passes in words: "avx512 64x256, 2
                                threads + key-stationary pass" */
    char reason[320];        /* why this kernel and this path */
    int64_t workspace_bytes; /* what args.workspace must hold, beyond the outputs */
    double flops;            /* what the outputs need: 2 D per visible pair and product */
    double bytes;            /* each input read once, each output written once */
} fasc_attention_plan;

/* Runs attention. plan may be NULL. On a GPU the work is queued, not waited for. */
fasc_status fasc_attention(const fasc_attention_args *args, fasc_attention_plan *plan);

/* Validates and plans without running. */
fasc_status fasc_attention_query(const fasc_attention_args *args, fasc_attention_plan *plan);

/* The kernels of a device, best first: index 0, 1, ...; FASC_EINVAL past the last. */
typedef struct fasc_kernel_info {
    uint32_t size;
    char name[32];
    char arch[32];
    char summary[160];  /* one line: what it is and when it is right */
    char supports[240]; /* one line: dtypes, head_dim, outputs */
} fasc_kernel_info;

fasc_status fasc_kernel_describe(fasc_device *device, int32_t index, fasc_kernel_info *info);

/* ---- kernels compiled at run time ------------------------------------------- */

/* What the compiler says of one GPU function. */
typedef struct fasc_function_report {
    char name[48];
    int32_t registers;       /* of a thread */
    int32_t spill_bytes;     /* stored plus loaded */
    int32_t stack_bytes;     /* of a thread */
    int32_t smem_static;     /* bytes of shared memory fixed at compile time */
    int32_t smem_dynamic;    /* bytes asked for at launch; 0 where no launch is known */
    int32_t threads;         /* of a block; 0 where no launch is known */
    int32_t blocks_per_unit; /* blocks a multiprocessor holds at once; 0 without a device */
    double occupancy;        /* warps it then holds / warps it could hold */
} fasc_function_report;

/* One configuration: a source file compiled with its macros for one architecture. */
typedef struct fasc_compile_report {
    uint32_t size;
    int32_t failed;         /* 1: it does not compile, or breaks a rule that it ships under */
    char source[64];        /* "kernels/naive.cu" */
    char macros[192];       /* "ELEMENT=f16 THREADS=256" */
    char arch[16];          /* "sm_90a" */
    char cache[192];        /* "hit", "stored", or why it was not stored */
    double seconds;         /* that compiling took, now or when it was stored */
    int32_t function_count; /* entries of function[] */
    int32_t warning_count;
    fasc_function_report function[8];
    char message[1024]; /* why it failed, then the warnings, a line each; "" = none */
} fasc_compile_report;

/* Compiles shipped GPU configurations; needs no GPU. archs: "sm_90a,sm_80" = all that run there;
 * NULL = all for sm_80, sm_89, sm_90a and sm_120; "sample" = each for one of these, in turns.
 * *count: how many there are; report, if not NULL, receives number `index` of them, compiled (or
 * from the cache). FASC_OK means that the report holds; look at report->failed. FASC_EUNSUPPORTED:
 * no CUDA backend here. FASC_EINVAL: index or an architecture is unknown. */
fasc_status fasc_precompile(const char *archs, int32_t index, fasc_compile_report *report,
                            int32_t *count);

/* The same for the configurations that would serve a problem on its device, with the launches'
 * shapes and occupancy; nothing runs. FASC_EUNSUPPORTED on a device whose kernels are not compiled
 * at run time. */
fasc_status fasc_attention_inspect(const fasc_attention_args *args, int32_t index,
                                   fasc_compile_report *report, int32_t *count);

/* ---- checking ------------------------------------------------------------- */

/* One output's agreement with the float64 reference, element by element:
 *   logits   |x - ref| <= ulp(ref)/2 + 2^-19 a         a = |sm_scale| sum_d |q_d k_d| (+ |mask|)
 *   lse, row_max       <= 2^-19 (1 + A)                A = the largest a of the row
 *   probs              <= ulp(ref)/2 + ref 2^-19 (1 + A)
 *   out                <= ulp(ref)/2 + (u + 2^-19 (1 + A)) sum_j p_j |v_j|
 *                         + 2^-24 sum_j |v_j| when q is f16; with dropout over the kept keys,
 *                         times 1 / (1 - p)
 *   row_sum, col_sum_logits, diag_sum_logits
 *                      <= ulp(ref)/2 + 2^-19 (the sum of a)
 *   col_sum_probs, diag_sum_probs, pooled_mass
 *                      <= ulp(ref)/2 + 2^-19 (the sum of p (1 + A)); pooled_mass its mean
 *                         (a p below 2^-126 may count as 0 there and here)
 *   col_max_probs, pooled_max
 *                      <= ulp(ref)/2 + 2^-19 (the largest p (1 + A))
 *   entropy            <= 2^-19 (1 + A) (1 + ref)
 *   mean_distance      <= ulp(ref)/2 + 2^-19 (1 + A) sum_j p |i' - j|
 *   topk_values        <= 2^-19 (1 + A); max_logit the same, A over the head
 *   row_argmax, topk_indices: the score of the key named, in float64, is no further from that of
 *                      the reference's key than 2^-18 (1 + A); no key twice; compared as scores
 * with u = 2^-11 (f16), 2^-8 (bf16), 2^-24 (f32) and ulp that of the output's dtype.
 * Infinities must match in place and sign; a NaN where the reference has none fails. Sums of S
 * with an infinite or NaN term may be any infinity or NaN; a term of -inf may be left out. */
typedef struct fasc_check_entry {
    char name[32];    /* "out", "lse", ... */
    int64_t count;    /* elements compared */
    int64_t failed;   /* elements outside the bound */
    double max_abs;   /* largest |x - ref| over finite pairs */
    double max_share; /* largest |x - ref| / bound: at most 1 means correct */
    int64_t worst[4]; /* (b, h, i, j or d) of max_share; -1 where it has no such index */
    double worst_value, worst_reference;
} fasc_check_entry;

typedef struct fasc_check_result {
    uint32_t size;
    int32_t entry_count;
    int64_t rows; /* (b, h, i) rows compared */
    fasc_check_entry entry[24];
} fasc_check_result;

/* Compares every output tensor that args names, as it is now, with float64 attention on the
 * same inputs (copied to the CPU where needed). rows: the query indices to check, NULL =
 * all; what sums over queries (col_*, diag_*, pooled_*, max_logit) is compared only with all, else
 * its entry's count is 0. FASC_OK means the comparison ran; look at entry[].failed for its outcome.
 */
fasc_status fasc_attention_check(const fasc_attention_args *args, const int64_t *rows,
                                 int64_t row_count, fasc_check_result *result);

/* ---- measuring ------------------------------------------------------------ */

typedef enum fasc_op_kind {
    FASC_OP_ATTENTION = 1, /* args: fasc_attention_args */
    FASC_OP_MATMUL = 2,    /* args: fasc_matmul_args */
    FASC_OP_COPY = 3,      /* args: fasc_copy_args */
    FASC_OP_FILL = 4       /* args: fasc_copy_args with src NULL: dst becomes value */
} fasc_op_kind;

typedef struct fasc_copy_args {
    uint32_t size;
    const fasc_tensor *src;
    fasc_tensor *dst;
    double value; /* of FASC_OP_FILL */
} fasc_copy_args;

typedef struct fasc_timing_options {
    uint32_t size;
    int32_t min_samples;   /* 0 = 5 */
    int32_t max_samples;   /* 0 = 200 */
    int32_t cold;          /* 1: empty the caches before each sample, by reading */
    int32_t rotate;        /* args is an array of so many structs, called in turn; 0 = 1. With
                              tensors of their own, past the caches' size in all, no call finds
                              its data there. Excludes cold */
    int32_t graph;         /* 1, GPU: the calls of a sample are captured as a CUDA graph, once, and
                              replayed, which spares the host's part of each */
    double warmup_seconds; /* 0 = 0.05 */
    double max_seconds;    /* stop sampling after this long; 0 = 2 */
    double target_rse;     /* stop when the median's relative standard error is below; 0 = 0.005 */
    double rest_seconds;   /* a device that tells its clock and power (a GPU) rests this long before
                              the first sample and after each 20 ms of sampling, so that it never
                              meets its power limit; and when it says that it holds its clock down,
                              where the samples since it was last asked are taken again. 0 = no
                              rests, they are kept */
    uint8_t *marks;        /* NULL, or room for capacity: each sample's sum of fasc_throttle */
} fasc_timing_options;

typedef struct fasc_timing {
    uint32_t size;
    int32_t samples;                        /* how many were taken */
    int32_t batch;                          /* calls in each sample */
    int32_t converged;                      /* 1: stopped because target_rse was reached */
    int32_t throttled;                      /* samples taken while the clock was held down */
    int32_t discarded;                      /* such samples that were taken again, after a rest */
    int32_t throttle;                       /* why: sum of fasc_throttle, the discarded's too */
    double min, median, mean, p5, p95, max; /* seconds of one call */
    double rse;                             /* relative standard error of the median */
    double host_overhead; /* seconds the host spends in one call of a GPU operation */
    double clock_mhz, power_watts, temperature; /* medians of readings while sampling; 0 = the
                                                   device tells none: see fasc_device_state */
} fasc_timing;

/* Times an operation on the device that its tensors live on: warm-up, then samples, each of
 * enough calls to stand well above the timer's resolution. samples, if not NULL, receives up
 * to `capacity` seconds-per-call. FASC_ECANCELED after fasc_cancel(). */
fasc_status fasc_time(int32_t op, const void *args, const fasc_timing_options *options,
                      fasc_timing *timing, double *samples, int32_t capacity);

/* Statistics of n numbers, the same that fasc_time reports (linear interpolation between
 * order statistics; rse from the spread of the middle order statistics). */
fasc_status fasc_timing_from_samples(const double *samples, int32_t n, fasc_timing *timing);

/* ---- files ---------------------------------------------------------------- */

typedef struct fasc_file fasc_file; /* an open .safetensors, .npy or .npz */

/* Opens by content, not by name: a safetensors header, the npy magic, or a zip archive. The headers
 * are checked whole before anything else; a bad file is FASC_EFORMAT with the byte offset. */
fasc_status fasc_file_open(const char *path, fasc_file **file);
void fasc_file_close(fasc_file *file);

/* "safetensors", "npy" or "npz". */
const char *fasc_file_format(const fasc_file *file);
int32_t fasc_file_tensor_count(const fasc_file *file);

typedef struct fasc_file_tensor {
    uint32_t size;
    int32_t rank;
    int64_t shape[8];
    int32_t dtype;       /* fasc_dtype that it is read as: the file's own, or where fasc lacks that,
                            a wider one that holds every value; 0 = none */
    char dtype_name[16]; /* as the file spells it: "BF16", "<f4" */
    const char *name;    /* "" in an npy; may hold any UTF-8; valid until close */
    int64_t offset;      /* of the data: bytes from the start of the file, or of an npz's member */
    int64_t bytes;
} fasc_file_tensor;

/* The tensors in file order. */
fasc_status fasc_file_tensor_info(const fasc_file *file, int32_t index, fasc_file_tensor *info);

/* Reads one tensor into a new CPU tensor; index from 0. Row-major, but column-major data of an
 * npy stays as it is, seen through strides. I8, I16 and U16 become i32, U32 and U64 i64, 8-bit
 * floats f16, all exactly. FASC_EUNSUPPORTED: fasc has no such dtype, or a U64 does not fit. */
fasc_status fasc_file_read(fasc_file *file, int32_t index, fasc_tensor **tensor);

/* The same, but the elements' bits are taken for another dtype of their size: bf16 in an npy, say,
 * which has no name for it ("|V2", "<u2"). */
fasc_status fasc_file_read_as(fasc_file *file, int32_t index, fasc_dtype dtype,
                              fasc_tensor **tensor);

/* A CPU tensor that looks into the file's pages instead of holding a copy: its memory is what is
 * touched, and the system takes it back. Writing to it changes the tensor, not the file, which must
 * not become shorter while the tensor lives; the fasc_file may be closed. FASC_EUNSUPPORTED where
 * the file's bytes are no tensor's (npz, another byte order, widened, not aligned). */
fasc_status fasc_file_map(fasc_file *file, int32_t index, fasc_tensor **tensor);

/* The file's string-to-string metadata; FASC_EINVAL past the last entry. */
fasc_status fasc_file_metadata(const fasc_file *file, int32_t index, const char **key,
                               const char **value);

/* Writes named tensors (CPU or GPU, any strides) and metadata pairs (key, value, key, ...;
 * may be NULL with 0). Written beside the path and renamed, so a failure leaves the old file. */
fasc_status fasc_save_safetensors(const char *path, int32_t count, const char *const *names,
                                  const fasc_tensor *const *tensors, int32_t pairs,
                                  const char *const *metadata);
fasc_status fasc_save_npy(const char *path, const fasc_tensor *tensor);

/* Named tensors, in their order, as an npz; deflate: 0 = stored, 1 = compressed. */
fasc_status fasc_save_npz(const char *path, int32_t count, const char *const *names,
                          const fasc_tensor *const *tensors, int32_t deflate);

/* ---- pictures ------------------------------------------------------------- */

/* Writes an RGB picture: pixels is height rows of width * 3 bytes. text: pairs of PNG tEXt
 * keyword and value (NULL with 0). The same input gives the same bytes. */
fasc_status fasc_save_png(const char *path, int32_t width, int32_t height, const uint8_t *pixels,
                          int32_t pairs, const char *const *text);

typedef struct fasc_png fasc_png; /* a PNG that is written row by row, of any size */

/* Begins one. palette: FASC_PALETTE times r, g, b, and each pixel is a byte, a colour's number;
 * NULL: each pixel is r, g, b. */
fasc_status fasc_png_open(const char *path, int32_t width, int32_t height, const uint8_t *palette,
                          int32_t pairs, const char *const *text, fasc_png **png);

/* The next rows. */
fasc_status fasc_png_rows(fasc_png *png, int32_t rows, const uint8_t *pixels);

/* Ends it: the file takes its place when every row has come; otherwise the path stays as it was and
 * FASC_EINVAL says how many are missing. NULL is allowed. */
fasc_status fasc_png_close(fasc_png *png);

/* ---- heatmaps ------------------------------------------------------------- */

typedef enum fasc_pool {
    FASC_POOL_MAX = 1,
    FASC_POOL_MASS = 2,   /* sum over the keys, mean over the queries */
    FASC_POOL_MEAN = 3,   /* of what is visible */
    FASC_POOL_EXTREME = 4 /* what is farthest from 0, with its sign */
} fasc_pool;

typedef enum fasc_color_scale { FASC_SCALE_LOG = 1, FASC_SCALE_LINEAR = 2 } fasc_color_scale;

typedef enum fasc_colormap {
    FASC_MAP_VIRIDIS = 1,
    FASC_MAP_DIVERGING = 2, /* blue - white - red, centred on 0 */
    FASC_MAP_MAGMA = 3,
    FASC_MAP_CIVIDIS = 4
} fasc_colormap;

/* The numbers of a palette's colours. */
enum {
    FASC_COLORS = 253,       /* 0 to 252: the colour map from low to high */
    FASC_COLOR_MASKED = 253, /* grey */
    FASC_COLOR_NAN = 254,    /* magenta */
    FASC_PALETTE = 255       /* how many there are */
};

/* Fills FASC_PALETTE times r, g, b. */
fasc_status fasc_colormap_palette(int32_t colormap, uint8_t *rgb);

/* A map brought down to cells, each of which stands for a rectangle of it. Nothing is skipped. */
typedef struct fasc_pool_args {
    uint32_t size;
    int32_t pool;                 /* fasc_pool; 0 = max */
    int32_t pool_rows, pool_cols; /* elements in a cell, fewer at the far edges; 0 = 1 */
    int32_t causal;               /* 1: element (i, j) is masked where j > i + diagonal */
    int32_t reserved;             /* 0 */
    int64_t diagonal;
    const fasc_tensor *map;   /* (Nq, Nk), any dtype, any strides, any device; -inf = masked */
    const fasc_tensor *minus; /* NULL, or a map of that shape that is subtracted; what is masked in
                                 both stays masked */
    fasc_tensor *cells;       /* (ceil(Nq / pool_rows), ceil(Nk / pool_cols)), f32 on the CPU,
                                 contiguous: -inf = all masked, NaN = a NaN among them */
    fasc_tensor *col_sum;     /* NULL, or (Nk) f64 on the CPU, contiguous: each key's sum over the
                                 visible finite elements is added */
    fasc_tensor *entropy;     /* NULL, or (Nq) f32 on the CPU, contiguous: -sum p ln p of each row,
                                 over its elements above 0 */
} fasc_pool_args;

typedef struct fasc_pool_info {
    uint32_t size;
    int32_t reserved;
    int64_t nan_count;    /* elements of the map */
    int64_t masked_count; /* elements */
    double lowest;        /* of the elements that are neither masked nor NaN; +inf without any */
} fasc_pool_info;

/* info may be NULL. */
fasc_status fasc_map_pool(const fasc_pool_args *args, fasc_pool_info *info);

/* What the finite elements of a contiguous f32 tensor on the CPU span, leaving out `cut` of them
 * (0 to 0.5) at either end; low = +inf and high = -inf where there is none. */
fasc_status fasc_map_range(const fasc_tensor *cells, double cut, double *low, double *high);

/* The colours' numbers of cells (f32, CPU, contiguous): 0 at `low`, FASC_COLORS - 1 at `high`.
 * Where low == high, a cell of that value has the middle colour. */
fasc_status fasc_map_paint(const fasc_tensor *cells, int32_t scale, double low, double high,
                           uint8_t *colors);

/* One picture of a 2-D map, queries down and keys across. */
typedef struct fasc_heatmap_args {
    uint32_t size;
    int32_t pool;           /* fasc_pool; 0 = max */
    int32_t scale;          /* fasc_color_scale; 0 = linear */
    int32_t colormap;       /* fasc_colormap; 0 = viridis */
    int32_t max_size;       /* longest side in cells; larger maps are pooled, both sides by one
                               factor, but no side to fewer than 64 cells; 0 = 1024 */
    int32_t cell;           /* pixels per cell and side; 0 = 1 */
    int32_t has_range;      /* 1: low and high hold; 0: taken from the data */
    int32_t causal;         /* 1: cells above the diagonal are masked (grey) */
    int32_t align;          /* fasc_align of that diagonal */
    double low, high;       /* the colour range; for a log scale low > 0 */
    double floor;           /* log scale without a range: the lowest value shown; 0 = 1e-4 */
    const fasc_tensor *map; /* (Nq, Nk), any dtype, any strides, any device; -inf = masked */
} fasc_heatmap_args;

typedef struct fasc_heatmap_info {
    uint32_t size;
    int32_t width, height;        /* pixels */
    int32_t pool_rows, pool_cols; /* how many map cells one picture cell holds */
    int64_t nan_count;            /* NaN elements of the map; their cells are magenta */
    int64_t masked_count;         /* masked elements; cells of nothing else are grey */
    double low, high;             /* the colour range that was used */
} fasc_heatmap_info;

/* Draws the map, whatever its size, and writes it as a PNG with a palette. */
fasc_status fasc_heatmap_png(const fasc_heatmap_args *args, const char *path, int32_t pairs,
                             const char *const *text, fasc_heatmap_info *info);

/* --- ffi: end --- */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#undef _Bool
#endif

#define FASC_ABI_VERSION 2u

#endif
