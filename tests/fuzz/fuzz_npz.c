/* fuzz_npz.c - the reader of .npz under libFuzzer (see readers.h). Built by clang with
 * -DFASC_FUZZ=ON; scripts/fuzz builds and runs it. */
#include "readers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_npz(data, size);
    return 0;
}
