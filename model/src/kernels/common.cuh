// What the kernels share: conversions, and sums over a block.
#pragma once

#include <cassert>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

using bf16 = __nv_bfloat16;
using f16 = __half;
using u32 = unsigned int;

constexpr u32 LANES = 32;
constexpr u32 PAGE_TOKENS = 16;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(f16 x) { return __half2float(x); }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }

__device__ inline void store(float *to, float x) { *to = x; }
__device__ inline void store(f16 *to, float x) { *to = __float2half_rn(x); }
__device__ inline void store(bf16 *to, float x) { *to = __float2bfloat16_rn(x); }

// Of 16 lanes, or of a whole warp: each gets the result.
template <u32 WIDTH> __device__ inline float sum_of_lanes(float x) {
    for (u32 distance = WIDTH / 2; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffff, x, distance);
    }
    return x;
}

template <u32 WIDTH> __device__ inline float greatest_of_lanes(float x) {
    for (u32 distance = WIDTH / 2; distance > 0; distance /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, distance));
    }
    return x;
}

// Of all threads of a block, whose number is a multiple of 32: each gets the result.
__device__ inline float sum_of_block(float x) {
    __shared__ float sums[LANES];
    x = sum_of_lanes<LANES>(x);
    if (threadIdx.x % LANES == 0) {
        sums[threadIdx.x / LANES] = x;
    }
    __syncthreads();
    float sum = 0;
    for (u32 warp = 0; warp < blockDim.x / LANES; warp++) {
        sum += sums[warp];
    }
    return sum;
}
