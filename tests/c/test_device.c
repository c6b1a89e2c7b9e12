/* test_device.c - the registry: names, the plugin and what can be wrong with it, one handle for
 * each device, copies between devices, and messages that belong to their threads. */
#include <dlfcn.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "dtype.h"
#include "plugin.h"

static fasc_device *open_device(const char *name)
{
    fasc_device *device = NULL;
    CHECK_OK(fasc_device_open(name, &device));
    return device;
}

/* ---- the CPU ----------------------------------------------------------------- */

static void the_cpu_says_what_it_is(void)
{
    fasc_device *cpu = open_device("cpu");
    fasc_device_info info = {.size = sizeof info};
    int32_t count = 0;
    CHECK(open_device("cpu") == cpu, "another handle");
    CHECK(strcmp(fasc_device_name(cpu), "cpu") == 0, "%s", fasc_device_name(cpu));
    CHECK_OK(fasc_device_count("cpu", &count));
    CHECK(count == 1, "%d", count);
    CHECK_OK(fasc_device_synchronize(cpu));
    CHECK_OK(fasc_device_get_info(cpu, &info));
    CHECK(strcmp(info.name, "cpu") == 0 && info.index == 0, "%s %d", info.name, info.index);
    CHECK(info.model[0] && info.arch[0] && !info.driver[0], "%s %s", info.model, info.arch);
    CHECK(strncmp(info.runtime, "OpenBLAS ", 9) == 0, "%s", info.runtime);
    CHECK(info.units == fasc_num_threads(), "%d units", info.units);
    CHECK(info.memory_free > 0 && info.memory_free <= info.memory_total, "%lld of %lld",
          (long long)info.memory_free, (long long)info.memory_total);
    info.size = 4;
    CHECK_FAIL(fasc_device_get_info(cpu, &info), FASC_EINVAL,
               "device_get_info: info: size is 4, must be ");
    CHECK_FAIL(fasc_device_get_info(cpu, NULL), FASC_EINVAL, "info: is NULL");
    CHECK_FAIL(fasc_device_get_info(NULL, &info), FASC_EINVAL, "device: is NULL");
}

static void wrong_names_are_refused(void)
{
    static const char *const NAME[] = {
        "gpu",     "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:+1",
        "cuda: 1", "CPU",   "cpu:0",  "",        "cuda0",   "cuda:12345678901234567890"};
    fasc_device *device = NULL;
    int32_t count = 7;
    for (size_t i = 0; i < sizeof NAME / sizeof *NAME; i++) {
        char text[96];
        snprintf(text, sizeof text, "device_open: name: '%s' is not one of auto, cpu, cuda, cuda:N",
                 NAME[i]);
        CHECK_FAIL(fasc_device_open(NAME[i], &device), FASC_EINVAL, text);
    }
    CHECK_FAIL(fasc_device_open("cpu", NULL), FASC_EINVAL, "device_open: device: is NULL");
    CHECK_FAIL(fasc_device_count("tpu", &count), FASC_EINVAL, "'tpu' is not one of cpu, cuda");
    CHECK_FAIL(fasc_device_count(NULL, &count), FASC_EINVAL, "device_count: backend: is NULL");
    CHECK(device == NULL && count == 7, "touched by a failure");
}

static void thread_counts(void)
{
    CHECK(fasc_num_threads() >= 1, "%d", fasc_num_threads());
    int32_t usual = fasc_num_threads();
    CHECK_OK(fasc_set_num_threads(3));
    CHECK(fasc_num_threads() == 3, "%d", fasc_num_threads());
    CHECK_FAIL(fasc_set_num_threads(-1), FASC_EINVAL, "set_num_threads: n: -1 is not in 0 to");
    CHECK(fasc_num_threads() == 3, "%d", fasc_num_threads());
    CHECK_OK(fasc_set_num_threads(0));
    CHECK(fasc_num_threads() == usual, "%d", fasc_num_threads());
}

/* ---- what can be wrong with the plugin ---------------------------------------- */

/* cuda cannot be had, for this reason; auto is the CPU then. */
static void check_absent(const char *reason)
{
    fasc_device *device = NULL;
    int32_t count = 7;
    CHECK_FAIL(fasc_device_open("cuda", &device), FASC_ENODEVICE, reason);
    CHECK(strchr(fasc_last_error(), '\n') == NULL, "more than a line: %s", fasc_last_error());
    CHECK(strncmp(fasc_last_error(), "cuda: ", 6) == 0, "%s", fasc_last_error());
    CHECK_FAIL(fasc_device_open("cuda:3", &device), FASC_ENODEVICE, reason);
    CHECK_FAIL(fasc_device_count("cuda", &count), FASC_ENODEVICE, reason);
    CHECK(device == NULL && count == 0, "%d devices", count);
    CHECK(open_device("auto") == open_device("cpu"), "auto is not the CPU");
    CHECK(open_device(NULL) == open_device("cpu"), "NULL is not the CPU");
}

static void no_plugin(void)
{
    CHECK(setenv("FASC_CUDA_PLUGIN", "/nonexistent/libfasc_cuda.so", 1) == 0, "setenv");
    check_absent("/nonexistent/libfasc_cuda.so not found (built without the CUDA Toolkit?)");
}

static void a_plugin_that_is_no_library(void)
{
    char path[] = "/tmp/fasc_test_XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, "no library\n", 11) == 11, "%s", path);
    close(file);
    CHECK(setenv("FASC_CUDA_PLUGIN", path, 1) == 0, "setenv");
    check_absent(path);
    unlink(path);
}

static void a_library_that_is_no_plugin(void)
{
    Dl_info jansson;
    union {
        const char *(*function)(void);
        void *object;
    } inside = {.function = jansson_version_str};
    CHECK(dladdr(inside.object, &jansson) != 0, "dladdr");
    CHECK(setenv("FASC_CUDA_PLUGIN", jansson.dli_fname, 1) == 0, "setenv");
    check_absent("is no fasc backend: it has no symbol fasc_backend_entry_v1");
}

static void a_plugin_that_does_not_fit(void)
{
    use_test_plugin();
    CHECK(setenv("FASC_TEST_PLUGIN", "version", 1) == 0, "setenv");
    check_absent("has backend version 99, this library needs 2");
    CHECK(setenv("FASC_TEST_PLUGIN", "refuse", 1) == 0, "setenv");
    check_absent("refused this library's version 2");
}

static void a_plugin_without_devices(void)
{
    CHECK(setenv("FASC_TEST_PLUGIN", "empty", 1) == 0, "setenv");
    check_absent("cuda: no driver (a test)");
    CHECK(unsetenv("FASC_TEST_PLUGIN") == 0, "unsetenv");
}

/* ---- two more devices ---------------------------------------------------------- */

static void plugin_devices_open(void)
{
    fasc_device *first = open_device("cuda"), *second = open_device("cuda:1"), *none = NULL;
    fasc_device_info info = {.size = sizeof info};
    int32_t count = 0;
    CHECK_OK(fasc_device_count("cuda", &count));
    CHECK(count == 2, "%d", count);
    CHECK(open_device("cuda:0") == first && open_device("auto") == first, "another handle");
    CHECK(open_device("cuda:1") == second && second != first, "another handle");
    CHECK_OK(fasc_device_get_info(second, &info));
    CHECK(info.index == 1 && info.units == 101, "%d, %d units", info.index, info.units);
    CHECK(strcmp(info.name, "cuda:1") == 0, "%s", info.name);
    CHECK_FAIL(fasc_device_open("cuda:2", &none), FASC_ENODEVICE,
               "cuda:2: no such device, there are 2");
    CHECK_FAIL(fasc_device_open("cuda:99999", &none), FASC_ENODEVICE, "cuda:99999: no such device");
}

/* Any dtypes, strides and pair of devices: as if the source had been converted in place. */
static void copies_between_devices(void)
{
    static const char *const DEVICE[] = {"cpu", "cuda:0", "cuda:1"};
    static const fasc_dtype DTYPE[] = {FASC_F16, FASC_F32, FASC_I64};
    const int64_t shape[] = {7, 5}, dense[] = {5, 1}, turned[] = {1, 9};
    fasc_device *cpu = open_device("cpu");
    fasc_memory_stats before = {.size = sizeof before}, after = before;
    CHECK_OK(fasc_memory_get(cpu, &before));
    for (int c = 0; c < 3 * 3 * 3 * 3 * 4; c++) {
        fasc_device *from = open_device(DEVICE[c % 3]), *to = open_device(DEVICE[c / 3 % 3]);
        fasc_dtype from_dtype = DTYPE[c / 9 % 3], to_dtype = DTYPE[c / 27 % 3];
        fasc_tensor *src = NULL, *dst = NULL, *back = NULL;
        fasc_difference d = {.size = sizeof d};
        double value = 0;
        const int64_t last[] = {6, 4};
        CHECK_OK(fasc_tensor_empty_strided(from, from_dtype, 2, shape, c / 81 % 2 ? turned : dense,
                                           &src));
        CHECK_OK(fasc_tensor_empty_strided(to, to_dtype, 2, shape, c / 162 ? turned : dense, &dst));
        CHECK_OK(fasc_tensor_arange(src, -10, 1));
        CHECK_OK(fasc_tensor_copy(src, dst));
        CHECK_OK(fasc_tensor_compare(src, dst, &d));
        CHECK(d.count == 35 && d.max_abs == 0 && d.mismatch == 0, "case %d differs by %g", c,
              d.max_abs);
        CHECK_OK(fasc_tensor_get(dst, last, &value));
        CHECK(value == 24, "case %d: %g", c, value);
        CHECK_OK(fasc_tensor_empty(cpu, to_dtype, 2, shape, &back));
        CHECK_OK(fasc_tensor_copy(dst, back));
        CHECK_OK(fasc_tensor_get(back, last, &value));
        CHECK(value == 24, "case %d: %g on the CPU", c, value);
        fasc_tensor_free(src);
        fasc_tensor_free(dst);
        fasc_tensor_free(back);
    }
    CHECK_OK(fasc_memory_get(cpu, &after));
    CHECK(after.live == before.live && after.count == before.count, "%lld bytes more",
          (long long)(after.live - before.live));
}

static void each_device_counts_its_own_memory(void)
{
    const int64_t shape[] = {1000};
    fasc_memory_stats s = {.size = sizeof s};
    fasc_device *first = open_device("cuda:0"), *second = open_device("cuda:1");
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(second, FASC_F64, 1, shape, &t));
    CHECK_OK(fasc_memory_get(second, &s));
    CHECK(s.live == 8000 && s.count == 1, "%lld", (long long)s.live);
    CHECK_OK(fasc_memory_get(first, &s));
    CHECK(s.live == 0 && s.count == 0, "%lld", (long long)s.live);
    fasc_tensor_free(t);
}

/* ---- threads -------------------------------------------------------------------- */

static pthread_barrier_t barrier;

static void *fail_in_a_thread(void *argument)
{
    int me = *(int *)argument;
    static const int64_t shape[] = {1};
    fasc_tensor *t = NULL;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "tensor_empty: rank: %d is not in 0 to 8", 100 + me);
    for (int round = 0; round < 50; round++) {
        CHECK(fasc_tensor_empty(open_device("cpu"), FASC_F32, 100 + me, shape, &t) == FASC_EINVAL,
              "no failure");
        pthread_barrier_wait(&barrier);
        CHECK(strcmp(fasc_last_error(), wanted) == 0, "thread %d: %s", me, fasc_last_error());
        pthread_barrier_wait(&barrier);
    }
    return open_device("cuda:1");
}

static void messages_belong_to_their_threads(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    int number[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        number[i] = i;
        CHECK(pthread_create(&thread[i], NULL, fail_in_a_thread, &number[i]) == 0, "thread %d", i);
    }
    for (int i = 0; i < THREADS; i++) {
        void *device = NULL;
        pthread_join(thread[i], &device);
        CHECK(device == open_device("cuda:1"), "thread %d has another handle", i);
    }
    pthread_barrier_destroy(&barrier);
}

/* ---- the library ----------------------------------------------------------------- */

static void the_build_is_described_in_json(void)
{
    json_error_t error;
    json_t *info = json_loads(fasc_build_info(), JSON_REJECT_DUPLICATES, &error);
    CHECK(info, "%s: %s", error.text, fasc_build_info());
    const char *const key[] = {"version", "commit", "compiler", "build_type"};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        CHECK(json_string_length(json_object_get(info, key[i])) > 0, "%s", key[i]);
    }
    CHECK(json_is_boolean(json_object_get(info, "dirty")), "dirty");
    CHECK(json_object_size(json_object_get(info, "libraries")) == 3, "libraries");
    CHECK(strchr(fasc_build_info(), '\n') == NULL, "more than a line");
    CHECK(strcmp(json_string_value(json_object_get(info, "version")), fasc_version()) == 0, "%s",
          fasc_version());
    json_decref(info);
    CHECK(fasc_abi_version() == FASC_ABI_VERSION, "%u", fasc_abi_version());
    CHECK(fasc_struct_size("fasc_attention_args") == sizeof(fasc_attention_args), "attention_args");
    CHECK(fasc_struct_size("fasc_tensor") == 0 && fasc_struct_size(NULL) == 0, "unknown names");
}

TEST_MAIN(the_cpu_says_what_it_is, wrong_names_are_refused, thread_counts, no_plugin,
          a_plugin_that_is_no_library, a_library_that_is_no_plugin, a_plugin_that_does_not_fit,
          a_plugin_without_devices, plugin_devices_open, copies_between_devices,
          each_device_counts_its_own_memory, messages_belong_to_their_threads,
          the_build_is_described_in_json)
