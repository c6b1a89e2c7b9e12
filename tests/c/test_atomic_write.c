/* Every file that fasc writes appears whole or not at all: failures leave the old file, no
 * temporary one, and a message with the path and the reason. */
#include <errno.h>

#include "files.h"

/* One of the three calls that write files, with enough data that a full disk is met on the way. */
typedef fasc_status (*writer)(const char *path);

static fasc_tensor *large(void)
{
    static fasc_tensor *t;
    fasc_device *cpu;
    if (!t) {
        CHECK_OK(fasc_device_open("cpu", &cpu));
        CHECK_OK(fasc_tensor_empty(cpu, FASC_F32, 2, (const int64_t[]){256, 256}, &t));
        CHECK_OK(fasc_tensor_rand(t, 1, 0, 0.0, 1.0));
    }
    return t;
}

static fasc_status write_safetensors(const char *path)
{
    const char *name = "x";
    const fasc_tensor *t = large();
    return fasc_save_safetensors(path, 1, &name, &t, 0, NULL);
}

static fasc_status write_npy(const char *path)
{
    return fasc_save_npy(path, large());
}

static fasc_status write_png(const char *path)
{
    return fasc_save_png(path, 256, 256, fasc_tensor_data(large()), 0, NULL);
}

static const struct {
    const char *call;
    writer write;
} WRITERS[] = {
    {"save_safetensors", write_safetensors}, {"save_npy", write_npy}, {"save_png", write_png}};

#define WRITER_COUNT (sizeof WRITERS / sizeof *WRITERS)

static void a_missing_folder_is_named(void)
{
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "%s: /nonexistent/x: No such file", WRITERS[i].call);
        CHECK_FAIL(WRITERS[i].write("/nonexistent/x"), FASC_EIO, expected);
    }
}

static void what_is_no_regular_file_is_not_replaced(void)
{
    const char *pipe = test_path("pipe");
    struct stat st;
    CHECK(mkfifo(pipe, 0600) == 0, "%s", strerror(errno));
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        CHECK_FAIL(WRITERS[i].write("/tmp"), FASC_EIO, "/tmp: is a directory");
        CHECK_FAIL(WRITERS[i].write(pipe), FASC_EIO, "is a device, pipe or socket");
        CHECK_FAIL(WRITERS[i].write(""), FASC_EINVAL, "path: is empty");
    }
    CHECK(stat(pipe, &st) == 0 && S_ISFIFO(st.st_mode), "the pipe is gone");
    remove(pipe);
}

/* Limits from a byte to just under the whole: the write fails at the first flush, in the middle or
 * when the file is closed. */
static void a_full_disk_leaves_the_old_file_and_nothing_else(void)
{
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        const char *path = write_bytes("old", "old contents", 12), *good = test_path("good");
        struct stat st;
        CHECK_OK(WRITERS[i].write(good));
        CHECK(stat(good, &st) == 0, "%s", strerror(errno));
        int before = count_files();
        const rlim_t limits[] = {1, 4096, 100000, (rlim_t)st.st_size - 1};
        for (size_t n = 0; n < sizeof limits / sizeof *limits; n++) {
            limit_file_size(limits[n]);
            fasc_status status = WRITERS[i].write(path);
            limit_file_size(RLIM_INFINITY);
            CHECK(status == FASC_EIO, "%s with room for %llu bytes: %s", WRITERS[i].call,
                  (unsigned long long)limits[n], fasc_status_name(status));
            CHECK(strstr(fasc_last_error(), path) && strstr(fasc_last_error(), "File too large"),
                  "'%s' lacks the path or the reason", fasc_last_error());
            CHECK(same_bytes(path, write_bytes("copy", "old contents", 12)),
                  "%s damaged the old file", WRITERS[i].call);
            remove(test_path("copy"));
            CHECK(count_files() == before, "%s left %d files", WRITERS[i].call,
                  count_files() - before);
        }
        CHECK_OK(WRITERS[i].write(path));
        CHECK(same_bytes(path, good), "%s differs on the second writing", WRITERS[i].call);
    }
}

static void cancelling_leaves_the_old_file(void)
{
    for (size_t i = 0; i < WRITER_COUNT; i++) {
        const char *path = write_bytes("old", "old contents", 12);
        int before = count_files();
        large();
        fasc_cancel();
        CHECK_FAIL(WRITERS[i].write(path), FASC_ECANCELED, "canceled");
        fasc_cancel_clear();
        CHECK(count_files() == before, "%s left a file", WRITERS[i].call);
        CHECK(same_bytes(path, write_bytes("copy", "old contents", 12)), "%s damaged the old file",
              WRITERS[i].call);
        remove(test_path("copy"));
    }
}

static void links_are_followed_and_permissions_kept(void)
{
    const char *target = write_bytes("target", "x", 1), *link = test_path("link");
    struct stat st;
    CHECK(chmod(target, 0640) == 0 && symlink(target, link) == 0, "%s", strerror(errno));
    CHECK_OK(write_npy(link));
    CHECK(lstat(link, &st) == 0 && S_ISLNK(st.st_mode), "the link was replaced");
    CHECK(stat(target, &st) == 0 && st.st_size > 1000, "the target was not written");
    CHECK((st.st_mode & 0777) == 0640, "mode %o", st.st_mode & 0777);
    umask(027);
    CHECK_OK(write_npy(test_path("new")));
    CHECK(stat(test_path("new"), &st) == 0 && (st.st_mode & 0777) == 0640, "mode %o",
          st.st_mode & 0777);
}

TEST_MAIN(a_missing_folder_is_named, what_is_no_regular_file_is_not_replaced,
          a_full_disk_leaves_the_old_file_and_nothing_else, cancelling_leaves_the_old_file,
          links_are_followed_and_permissions_kept)
