/* report.h - reading what NVRTC and ptxas say. */
#ifndef FASC_CUDA_REPORT_H
#define FASC_CUDA_REPORT_H

#include "backend.h"

/* Reads a log into report->function[], warning_count, message and failed. `compiled`: there is a
 * cubin. A configuration fails when it does not compile, when a function spills registers, and when
 * ptxas serializes wgmma or ignores setmaxnreg: each makes a kernel slow without making it wrong.
 */
void fasc_report_read(const char *log, bool compiled, fasc_compile_report *report);

#endif
