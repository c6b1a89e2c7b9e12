/* What the fuzzers kept, read again: each input once reached code that no other did. */
#include <dirent.h>

#include "readers.h"
#include "test.h"

/* Runs all inputs of a format; how many there were. */
static int replay(const char *format, void (*run)(const uint8_t *data, size_t size))
{
    static uint8_t data[1 << 16];
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", FASC_FUZZ_CORPUS, format);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "%s/%s/%.255s", FASC_FUZZ_CORPUS, format, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f) {
            run(data, fread(data, 1, sizeof data, f));
            fclose(f);
            count++;
        }
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

static void the_corpora_are_refused_or_read(void)
{
    static const struct {
        const char *format;
        void (*run)(const uint8_t *data, size_t size);
    } READERS[] = {{"safetensors", fuzz_safetensors}, {"npy", fuzz_npy}, {"npz", fuzz_npz}};
    for (size_t i = 0; i < sizeof READERS / sizeof *READERS; i++) {
        int count = replay(READERS[i].format, READERS[i].run);
        CHECK(count >= 20, "%s: only %d inputs", READERS[i].format, count);
    }
}

TEST_MAIN(the_corpora_are_refused_or_read)
