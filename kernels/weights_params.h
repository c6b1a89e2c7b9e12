/* weights_params.h - the shape of a block of weights.cu, for the host and the device. */
#ifndef FASC_WEIGHTS_PARAMS_H
#define FASC_WEIGHTS_PARAMS_H

#define FASC_WEIGHTS_ROWS    64
#define FASC_WEIGHTS_KEYS    64
#define FASC_WEIGHTS_THREADS 128

#endif
