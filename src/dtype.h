/* dtype.h - element conversions. All round to nearest even; subnormals, infinities and NaN are
 * kept (a NaN stays a NaN, its payload may change). */
#ifndef FASC_DTYPE_H
#define FASC_DTYPE_H

#include "backend.h"

static inline bool fasc_dtype_is_float(fasc_dtype dtype)
{
    return dtype >= FASC_F16 && dtype <= FASC_F64;
}

/* Scalars. */
float fasc_f16_to_f32(uint16_t bits);
uint16_t fasc_f32_to_f16(float x);
uint16_t fasc_f64_to_f16(double x); /* one rounding, not two */
float fasc_bf16_to_f32(uint16_t bits);
uint16_t fasc_f32_to_bf16(float x);
uint16_t fasc_f64_to_bf16(double x);

/* One element at p, as float64 and back (integers: truncated and saturated, NaN gives 0). */
double fasc_load_element(const void *p, fasc_dtype dtype);
void fasc_store_element(void *p, fasc_dtype dtype, double x);

/* n elements `stride` elements apart, to and from contiguous float32 or float64; vectorised
 * where stride is 1 (F16C, AVX2, AVX-512, chosen at run time). */
void fasc_load_f32(float *dst, const void *src, fasc_dtype dtype, int64_t stride, int64_t n);
void fasc_store_f32(void *dst, fasc_dtype dtype, int64_t stride, const float *src, int64_t n);
void fasc_load_f64(double *dst, const void *src, fasc_dtype dtype, int64_t stride, int64_t n);
void fasc_store_f64(void *dst, fasc_dtype dtype, int64_t stride, const double *src, int64_t n);

#endif
