/* test_cuda_stream.c - the caller's own streams: order with fasc's, calls captured in CUDA graphs,
 * the caller's workspace, and the caller's current device. */
#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "cuda.h"
#include "test.h"

enum { HEADS = 4, KEY_HEADS = 2, QUERIES = 200, KEYS = 330, DIM = 64 };

static fasc_device *device;

#define CHECK_CUDA(call)                                                                           \
    do {                                                                                           \
        cudaError_t error_ = (call);                                                               \
        CHECK(error_ == cudaSuccess, "%s", cudaGetErrorString(error_));                            \
    } while (0)

/* ---- a problem -------------------------------------------------------------------- */

typedef struct problem {
    fasc_tensor *q, *k, *v, *out, *lse, *logits;
    fasc_attention_args args;
} problem;

static fasc_tensor *make(fasc_dtype dtype, int32_t rank, int64_t heads, int64_t rows, int64_t width)
{
    const int64_t shape[] = {1, heads, rows, width};
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(device, dtype, rank, shape, &t));
    return t;
}

static problem new_problem(const char *kernel)
{
    problem p = {
        .q = make(FASC_F16, 4, HEADS, QUERIES, DIM),
        .k = make(FASC_F16, 4, KEY_HEADS, KEYS, DIM),
        .v = make(FASC_F16, 4, KEY_HEADS, KEYS, DIM),
        .out = make(FASC_F16, 4, HEADS, QUERIES, DIM),
        .lse = make(FASC_F32, 3, HEADS, QUERIES, 0),
        .logits = make(FASC_F16, 4, HEADS, QUERIES, KEYS),
    };
    p.args = (fasc_attention_args){.size = sizeof p.args,
                                   .causal = 1,
                                   .q = p.q,
                                   .k = p.k,
                                   .v = p.v,
                                   .out = p.out,
                                   .lse = p.lse,
                                   .logits = p.logits,
                                   .kernel = {.name = kernel}};
    return p;
}

static void free_problem(problem *p)
{
    fasc_tensor *t[] = {p->q, p->k, p->v, p->out, p->lse, p->logits};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        fasc_tensor_free(t[i]);
    }
}

static void set_inputs(problem *p, uint64_t seed)
{
    CHECK_OK(fasc_tensor_randn(p->q, seed, 0, 0, 1));
    CHECK_OK(fasc_tensor_randn(p->k, seed + 1, 0, 0, 1));
    CHECK_OK(fasc_tensor_randn(p->v, seed + 2, 0, 0, 1));
}

static void spoil_outputs(problem *p)
{
    CHECK_OK(fasc_tensor_fill(p->out, 77));
    CHECK_OK(fasc_tensor_fill(p->lse, 77));
    CHECK_OK(fasc_tensor_fill(p->logits, 77));
}

/* Both problems' outputs hold the same bits. */
static void check_same(const problem *a, const problem *b, const char *what)
{
    const fasc_tensor *of_a[] = {a->out, a->lse, a->logits}, *of_b[] = {b->out, b->lse, b->logits};
    for (int i = 0; i < 3; i++) {
        fasc_difference d = {.size = sizeof d};
        CHECK_OK(fasc_tensor_compare(of_a[i], of_b[i], &d));
        CHECK(d.mismatch == 0 && d.max_abs == 0, "%s with %s: output %d differs by %g", what,
              a->args.kernel.name, i, d.max_abs);
    }
}

/* The same call on the device's own stream, into outputs of its own. */
static problem expected_of(const problem *p)
{
    problem e = new_problem(p->args.kernel.name);
    e.args.q = p->q;
    e.args.k = p->k;
    e.args.v = p->v;
    CHECK_OK(fasc_attention(&e.args, NULL));
    return e;
}

static void each_kernel(void (*test)(const char *kernel))
{
    fasc_kernel_info info = {.size = sizeof info};
    for (int32_t i = 0; fasc_kernel_describe(device, i, &info) == FASC_OK; i++) {
        test(info.name);
    }
}

/* ---- graphs ------------------------------------------------------------------------- */

static cudaStream_t new_stream(void)
{
    cudaStream_t stream = NULL;
    CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

/* What `call` queues on the stream, as a graph. */
static cudaGraphExec_t capture(cudaStream_t stream, fasc_status (*call)(void *), void *args)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t made = NULL;
    CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK_OK(call(args));
    CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
    CHECK_CUDA(cudaGraphInstantiate(&made, graph, 0));
    CHECK_CUDA(cudaGraphDestroy(graph));
    return made;
}

static void replay_and_wait(cudaGraphExec_t graph, cudaStream_t stream)
{
    CHECK_OK(fasc_device_synchronize(device));
    CHECK_CUDA(cudaGraphLaunch(graph, stream));
    CHECK_CUDA(cudaStreamSynchronize(stream));
}

static fasc_status attend(void *args)
{
    return fasc_attention(args, NULL);
}

static fasc_status multiply(void *args)
{
    return fasc_matmul(args);
}

/* With a workspace of the caller's, or with memory that is the graph's. */
static void replay(const char *kernel, bool own_workspace)
{
    problem p = new_problem(kernel);
    fasc_attention_plan plan = {.size = sizeof plan};
    cudaStream_t stream = new_stream();
    void *workspace = NULL;
    p.args.stream = stream;
    CHECK_OK(fasc_attention_query(&p.args, &plan));
    if (own_workspace) {
        CHECK_CUDA(cudaMalloc(&workspace, (size_t)plan.workspace_bytes + 1));
        p.args.workspace = workspace;
        p.args.workspace_bytes = plan.workspace_bytes;
    }
    set_inputs(&p, 10);
    CHECK_OK(fasc_attention(&p.args, NULL)); /* compiles and loads, which a capture cannot hold */
    CHECK_OK(fasc_device_synchronize(device));
    cudaGraphExec_t graph = capture(stream, attend, &p.args);
    for (uint64_t seed = 100; seed < 103; seed++) {
        set_inputs(&p, seed);
        spoil_outputs(&p);
        replay_and_wait(graph, stream);
        problem e = expected_of(&p);
        check_same(&p, &e, "a replayed graph");
        free_problem(&e);
    }
    CHECK_CUDA(cudaGraphExecDestroy(graph));
    CHECK_CUDA(cudaStreamDestroy(stream));
    CHECK_CUDA(cudaFree(workspace));
    free_problem(&p);
}

static void replay_in_own_workspace(const char *kernel)
{
    replay(kernel, true);
}

static void replay_in_memory_of_the_graph(const char *kernel)
{
    replay(kernel, false);
}

static void captured_calls_replay_on_new_inputs(void)
{
    each_kernel(replay_in_own_workspace);
    each_kernel(replay_in_memory_of_the_graph);
}

/* K^T lies as cuBLAS reads it; Q with its columns apart does not, and is copied at each replay. */
static void a_captured_product_replays_on_new_inputs(void)
{
    problem p = new_problem("naive");
    cudaStream_t stream = new_stream();
    const int64_t shape[] = {1, HEADS, QUERIES, DIM / 2},
                  stride[] = {HEADS * QUERIES * DIM, QUERIES * DIM, DIM, 2};
    const int64_t k_shape[] = {1, 1, DIM / 2, KEYS}, k_stride[] = {0, 0, 1, DIM};
    fasc_tensor *apart = NULL, *keys = NULL;
    CHECK_OK(fasc_tensor_view(p.q, 0, 4, shape, stride, &apart));
    CHECK_OK(fasc_tensor_view(p.k, 0, 4, k_shape, k_stride, &keys));
    fasc_tensor *here = make(FASC_F16, 4, HEADS, QUERIES, KEYS);
    fasc_tensor *there = make(FASC_F16, 4, HEADS, QUERIES, KEYS);
    fasc_matmul_args args = {
        .size = sizeof args, .a = apart, .b = keys, .out = here, .stream = stream};
    set_inputs(&p, 20);
    CHECK_OK(fasc_matmul(&args));
    CHECK_OK(fasc_device_synchronize(device));
    cudaGraphExec_t graph = capture(stream, multiply, &args);
    args.out = there;
    args.stream = NULL;
    for (uint64_t seed = 200; seed < 203; seed++) {
        fasc_difference d = {.size = sizeof d};
        set_inputs(&p, seed);
        CHECK_OK(fasc_tensor_fill(here, 77));
        replay_and_wait(graph, stream);
        CHECK_OK(fasc_matmul(&args));
        CHECK_OK(fasc_tensor_compare(here, there, &d));
        CHECK(d.mismatch == 0 && d.max_abs == 0, "a replayed product differs by %g", d.max_abs);
    }
    CHECK_CUDA(cudaGraphExecDestroy(graph));
    CHECK_CUDA(cudaStreamDestroy(stream));
    fasc_tensor *made[] = {apart, keys, here, there};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        fasc_tensor_free(made[i]);
    }
    free_problem(&p);
}

static void a_small_workspace_is_refused(void)
{
    problem p = new_problem("blas");
    char one;
    p.args.workspace = &one;
    p.args.workspace_bytes = 1;
    CHECK_FAIL(fasc_attention(&p.args, NULL), FASC_EINVAL, "workspace: has 1 bytes, blas needs ");
    free_problem(&p);
}

/* ---- order ---------------------------------------------------------------------------- */

/* Inputs are made and outputs read on the device's own stream, attention runs on the caller's, and
 * nobody waits in between. */
static void interleave(const char *kernel)
{
    problem p = new_problem(kernel);
    cudaStream_t stream = new_stream();
    for (uint64_t seed = 0; seed < 20; seed++) {
        set_inputs(&p, seed);
        spoil_outputs(&p);
        p.args.stream = stream;
        CHECK_OK(fasc_attention(&p.args, NULL));
        problem e = expected_of(&p);
        check_same(&p, &e, "a call on another stream");
        free_problem(&e); /* at once: the blocks are used again while the streams run */
    }
    CHECK_CUDA(cudaStreamSynchronize(stream));
    CHECK_CUDA(cudaStreamDestroy(stream));
    free_problem(&p);
}

static void streams_wait_for_one_another_where_fasc_owns_the_memory(void)
{
    each_kernel(interleave);
}

static void a_product_runs_on_the_callers_stream(void)
{
    problem p = new_problem("naive");
    cudaStream_t stream = new_stream();
    fasc_tensor *keys = NULL;
    const int64_t shape[] = {1, HEADS, DIM, KEYS};
    const int64_t stride[] = {KEY_HEADS * KEYS * DIM, 0, 1, DIM}; /* all heads see the first */
    set_inputs(&p, 3);
    CHECK_OK(fasc_tensor_view(p.k, 0, 4, shape, stride, &keys));
    fasc_tensor *here = make(FASC_F16, 4, HEADS, QUERIES, KEYS);
    fasc_tensor *there = make(FASC_F16, 4, HEADS, QUERIES, KEYS);
    fasc_matmul_args args = {.size = sizeof args, .a = p.q, .b = keys, .out = here};
    CHECK_OK(fasc_matmul(&args));
    args.out = there;
    args.stream = stream;
    CHECK_OK(fasc_matmul(&args));
    fasc_difference d = {.size = sizeof d};
    CHECK_OK(fasc_tensor_compare(here, there, &d));
    CHECK(d.mismatch == 0 && d.max_abs == 0, "differs by %g", d.max_abs);
    CHECK_CUDA(cudaStreamDestroy(stream));
    fasc_tensor_free(keys);
    fasc_tensor_free(here);
    fasc_tensor_free(there);
    free_problem(&p);
}

static void the_callers_current_device_stays(void)
{
    int count = 0, current = -1;
    CHECK_CUDA(cudaGetDeviceCount(&count));
    CHECK_CUDA(cudaSetDevice(count - 1));
    problem p = new_problem("naive");
    set_inputs(&p, 5);
    CHECK_OK(fasc_attention(&p.args, NULL));
    CHECK_OK(fasc_device_synchronize(device));
    CHECK_CUDA(cudaGetDevice(&current));
    CHECK(current == count - 1, "device %d became %d", count - 1, current);
    free_problem(&p);
    CHECK_CUDA(cudaSetDevice(0));
}

int main(void)
{
    const test_function tests[] = {
        captured_calls_replay_on_new_inputs,
        a_captured_product_replays_on_new_inputs,
        a_small_workspace_is_refused,
        streams_wait_for_one_another_where_fasc_owns_the_memory,
        a_product_runs_on_the_callers_stream,
        the_callers_current_device_stays,
    };
    device = gpu_or_skip();
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tests[i]();
    }
    return test_failures ? 1 : 0;
}
