/* test_cuda_jit.c - compiling kernels without a GPU and the cache of them on disk: many processes
 * at once, damaged entries, places that cannot be written. Each look at the cache is a process of
 * its own, this program again with "child" as its argument, because a process compiles a
 * configuration once. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "cuda.h"
#include "test.h"

static char self[4096], folder[64];

/* ---- the child ------------------------------------------------------------------ */

/* Compiles one configuration and prints how it was come by and its registers. */
static int child(void)
{
    fasc_compile_report report = {.size = sizeof report};
    int32_t count;
    if (fasc_precompile("sm_80", 0, &report, &count) != FASC_OK) {
        printf("failed: %s\n", fasc_last_error());
        return 1;
    }
    printf("%s|%d|%s\n", report.cache, (int)report.function[0].registers, report.source);
    return report.failed;
}

/* ---- running it ------------------------------------------------------------------ */

typedef struct process {
    FILE *out;
    char line[512];
} process;

static process start(const char *cache_home, const char *limits)
{
    char command[8192];
    process p;
    snprintf(command, sizeof command, "%s XDG_CACHE_HOME='%s' '%s' child", limits, cache_home,
             self);
    p.out = popen(command, "r");
    return p;
}

static void finish(process *p)
{
    if (!fgets(p->line, sizeof p->line, p->out)) {
        p->line[0] = 0;
    }
    int status = pclose(p->out);
    CHECK(status == 0, "the child ended with status %d after printing '%s'", status, p->line);
}

/* The child compiled the first configuration, and its cache note begins with `expected`. */
static void check_note(process *p, const char *expected)
{
    finish(p);
    CHECK(strncmp(p->line, expected, strlen(expected)) == 0, "'%s' does not begin with '%s'",
          p->line, expected);
    const char *registers = strchr(p->line, '|');
    CHECK(registers && atoi(registers + 1) > 0, "no registers in '%s'", p->line);
}

static void expect(const char *cache_home, const char *note)
{
    process p = start(cache_home, "");
    check_note(&p, note);
}

/* Entries of the cache; their names must all be entries' names. The last one's path is kept. */
static int count_entries(char *path, size_t room)
{
    char place[128];
    snprintf(place, sizeof place, "%s/fasc", folder);
    DIR *dir = opendir(place);
    int entries = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        CHECK(strlen(e->d_name) == 64 + 6 && strcmp(e->d_name + 64, ".cubin") == 0,
              "'%s' was left in the cache", e->d_name);
        snprintf(path, room, "%s/%s", place, e->d_name);
        entries++;
    }
    if (dir) {
        closedir(dir);
    }
    return entries;
}

static void new_folder(void)
{
    strcpy(folder, "/tmp/fasc-jit-XXXXXX");
    CHECK(mkdtemp(folder) != NULL, "%s", strerror(errno));
}

static void remove_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w %s && rm -r %s", folder, folder);
    CHECK(system(command) == 0, "%s", command);
}

/* ---- tests ------------------------------------------------------------------------ */

static void an_entry_is_stored_and_found_again(void)
{
    char path[512];
    new_folder();
    expect(folder, "stored|");
    CHECK(count_entries(path, sizeof path) == 1, "one configuration, one entry");
    expect(folder, "hit|");
    remove_folder();
}

static void many_processes_share_a_cache(void)
{
    enum { PROCESSES = 6 };
    process p[PROCESSES];
    char path[512];
    new_folder();
    for (int i = 0; i < PROCESSES; i++) {
        p[i] = start(folder, "");
    }
    for (int i = 0; i < PROCESSES; i++) {
        finish(&p[i]);
        bool right = strncmp(p[i].line, "stored|", 7) == 0 || strncmp(p[i].line, "hit|", 4) == 0;
        CHECK(right, "'%s'", p[i].line);
    }
    CHECK(count_entries(path, sizeof path) == 1, "one configuration, one entry");
    expect(folder, "hit|");
    remove_folder();
}

static void flip_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL, "%s", path);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    int c = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(c ^ 0x10, file);
    fclose(file);
}

static void damaged_entries_are_rebuilt(void)
{
    char path[512];
    new_folder();
    expect(folder, "stored|");
    CHECK(count_entries(path, sizeof path) == 1, "one configuration, one entry");
    const long flipped[] = {0, 9, 20, 300, -1}; /* magic, size, checksum, report, cubin */
    for (size_t i = 0; i < sizeof flipped / sizeof *flipped; i++) {
        flip_byte(path, flipped[i]);
        expect(folder, "stored; the old entry was damaged|");
    }
    const long kept[] = {0, 10, 48, 1000};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        CHECK(truncate(path, kept[i]) == 0, "%s", strerror(errno));
        expect(folder, "stored; the old entry was damaged|");
    }
    expect(folder, "hit|");
    remove_folder();
}

static void without_a_place_to_write_it_compiles_in_memory(void)
{
    char file[128];
    new_folder();
    snprintf(file, sizeof file, "%s/file", folder);
    fclose(fopen(file, "w"));
    expect(file, "not stored: ");              /* a file where the folder should be */
    expect("/proc", "not stored: /proc/fasc"); /* where nobody can make one */
    expect("relative", "");                    /* no absolute path: XDG says to ignore it */
    remove_folder();
}

/* A file may not grow past 4 KB: as on a full disk, the write ends in the middle. */
static void a_full_disk_leaves_nothing_behind(void)
{
    char path[512];
    new_folder();
    process p = start(folder, "trap '' XFSZ; ulimit -f 4; ");
    check_note(&p, "not stored: ");
    CHECK(strstr(p.line, strerror(EFBIG)) != NULL, "'%s'", p.line);
    CHECK(count_entries(path, sizeof path) == 0, "nothing is left");
    remove_folder();
}

static void arguments_are_checked(void)
{
    fasc_compile_report report = {.size = sizeof report};
    int32_t count = -1;
    CHECK_FAIL(fasc_precompile("sm_80", 0, &report, NULL), FASC_EINVAL, "count");
    CHECK_FAIL(fasc_precompile("", 0, NULL, &count), FASC_EINVAL, "archs");
    CHECK_FAIL(fasc_precompile("sm_80,,sm_90a", 0, NULL, &count), FASC_EINVAL, "archs");
    CHECK_FAIL(fasc_precompile("ampere", 0, NULL, &count), FASC_EINVAL, "'ampere'");
    CHECK_FAIL(fasc_precompile("sm_75", 0, NULL, &count), FASC_EINVAL, "need sm_80 or newer");
    CHECK_FAIL(fasc_precompile("sm_80,sm_999", 0, NULL, &count), FASC_EINVAL, "knows no sm_999");
    CHECK_OK(fasc_precompile("sm_80", 0, NULL, &count));
    CHECK(count > 50, "%d configurations", (int)count);
    CHECK_FAIL(fasc_precompile("sm_80", count, &report, &count), FASC_EINVAL, "index");
    CHECK_FAIL(fasc_precompile("sm_80", -1, &report, &count), FASC_EINVAL, "index");
    report.size = 1;
    CHECK_FAIL(fasc_precompile("sm_80", 0, &report, &count), FASC_EINVAL, "report");
    int32_t both = 0, all = 0, sample = 0;
    CHECK_OK(fasc_precompile("sm_80,sm_90a", 0, NULL, &both));
    CHECK_OK(fasc_precompile(NULL, 0, NULL, &all));
    CHECK_OK(fasc_precompile("sample", 0, NULL, &sample));
    CHECK(both > count, "%d on two architectures, %d on one", (int)both, (int)count);
    CHECK(all > both, "%d on all architectures, %d on two", (int)all, (int)both);
    CHECK(sample > count && sample < both, "%d in the sample, %d on sm_80", (int)sample,
          (int)count);
}

int main(int argc, char **argv)
{
    find_plugin();
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        return child();
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    an_entry_is_stored_and_found_again();
    many_processes_share_a_cache();
    damaged_entries_are_rebuilt();
    without_a_place_to_write_it_compiles_in_memory();
    a_full_disk_leaves_nothing_behind();
    arguments_are_checked();
    (void)argv;
    return test_failures ? 1 : 0;
}
