// sm90_results.cuh - the end of a tile of flash_sm90: a warp's 16 rows of O, LSE and row maxima to
// memory.
#pragma once

#include "flash_repair.cuh"
#include "sm90_stores.cuh"
#include "softmax.cuh"

// `first` is the warp's first row of the tile; scale that of the logits in `r`.
__device__ __forceinline__ void store_statistics(const fasc_flash_sm90_params &p, const Tile &t,
                                                 int first, const RowState &r,
                                                 const float (&log2_sum)[2], float scale, int lane)
{
    const fasc_flash_params &f = p.flash;
    if ((lane & 3) != 0) {
        return;
    }
    int row = row_at(p, t, first + (lane >> 2));
#pragma unroll
    for (int half = 0; half < 2; half++, row += 8 << row_shift(p)) {
        if (row >= f.seqlen_q) {
            continue;
        }
        if (f.lse) {
            f.lse[t.batch * f.lse_stride[0] + t.head * f.lse_stride[1] + row * f.lse_stride[2]] =
                log2_sum[half] * LN_2;
        }
        if (f.row_max) {
            f.row_max[t.batch * f.row_max_stride[0] + t.head * f.row_max_stride[1] +
                      row * f.row_max_stride[2]] =
                r.max[half] == -INFINITY_F32 ? -INFINITY_F32 : r.max[half] * scale;
        }
    }
}

__device__ __forceinline__ void store_out_f32(const fasc_flash_params &f, int64_t at,
                                              int64_t stride, int rows,
                                              const float (&o)[O_REGISTERS], uint32_t panels,
                                              int lane)
{
#pragma unroll
    for (int n = 0; n < (V_COLUMNS + 31) / 32; n++) {
        const uint32_t panel = panels + n % BATCH * PANEL_BYTES;
        float x[16];
#pragma unroll
        for (int i = 0; i < 16; i++) {
            x[i] = n * 16 + i < O_REGISTERS ? o[n * 16 + i] : 0.0f;
        }
        __syncwarp();
        store_panel<1>(panel, 0, x, lane);
        __syncwarp();
        copy_panel((uint32_t *)f.out + at + n * 32 * f.out_stride[3], stride, f.out_stride[3], rows,
                   f.head_dim - n * 32, panel, lane);
    }
}

__device__ __forceinline__ void store_out_16(const fasc_flash_params &f, int64_t at, int64_t stride,
                                             int rows, const float (&o)[O_REGISTERS],
                                             uint32_t panels, int lane)
{
#pragma unroll
    for (int n = 0; n < PANELS; n++) {
        const uint32_t panel = panels + n % BATCH * PANEL_BYTES;
        uint32_t pairs[16];
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const int from = n * 32 + 2 * i; // past the product's columns: a number nobody stores
            pairs[i] = from < O_REGISTERS ? pack_16(o[from], o[from + 1]) : 0;
        }
        __syncwarp();
        store_panel<1>(panel, 0, pairs, lane);
        __syncwarp();
        uint16_t *to = (uint16_t *)f.out + at + n * 64 * f.out_stride[3];
        if (f.out_store == FASC_STORE_SCALAR) {
            copy_panel(to, stride, f.out_stride[3], rows, f.head_dim - n * 64, panel, lane);
            continue;
        }
        const int chunk = lane & 7;
#pragma unroll
        for (int r = lane >> 3; r < PANEL_ROWS; r += 4) {
            if (r < rows && n * 64 + chunk * 8 < f.head_dim) {
                uint32_t x[4];
                load_shared_16(x, panel_chunk(panel, r, chunk));
                store_global_16(to + r * stride + chunk * 8, x);
            }
        }
    }
}

// O passes through the warp's panels, which must be free. 16-bit rows that start at multiples of 16
// bytes leave in pieces of 16 bytes, all else by element.
__device__ __forceinline__ void store_out(const fasc_flash_sm90_params &p, const Tile &t, int first,
                                          const float (&o)[O_REGISTERS], uint32_t panels, int lane)
{
    const fasc_flash_params &f = p.flash;
    const int64_t at = t.batch * f.out_stride[0] + t.head * f.out_stride[1] +
                       row_at(p, t, first) * f.out_stride[2];
    const int64_t stride = f.out_stride[2] << row_shift(p);
    if (f.out_f32) {
        store_out_f32(f, at, stride, rows_from(p, t, first), o, panels, lane);
    } else {
        store_out_16(f, at, stride, rows_from(p, t, first), o, panels, lane);
    }
    __syncwarp();
}
