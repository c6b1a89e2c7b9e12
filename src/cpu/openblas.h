/* openblas.h - OpenBLAS's thread count, which is one number for the whole process. */
#ifndef FASC_CPU_OPENBLAS_H
#define FASC_CPU_OPENBLAS_H

/* Between enter and leave OpenBLAS uses `threads` threads, or 1 as soon as several callers are
 * inside at once; the last to leave restores the count that the first found. */
void fasc_openblas_enter(int threads);
void fasc_openblas_leave(void);

#endif
