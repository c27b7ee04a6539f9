// What a layer does between its products: norms, heads and pages, gated activations.
//
// Numbers are f32 unless a parameter says otherwise, and matrices row-major without padding.

#include "common.cuh"

// `sums = input + delta` where there is a delta; `normed = norm(sums) * weight`, of one row each
// block. Source: Zhang and Sennrich 2019, section 4.
template <typename T>
__device__ void rms_norm(const float *input, const float *delta, const float *weight, float *sums,
                         T *normed, u32 width, float eps) {
    const size_t row = size_t(blockIdx.x) * width;
    float squares = 0;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        float x = input[row + i];
        if (delta) {
            x += delta[row + i];
            sums[row + i] = x;
        }
        squares = fmaf(x, x, squares);
    }
    const float factor = 1 / sqrtf(sum_of_block(squares) / float(width) + eps);
    // Each thread reads the sums that it has written itself.
    const float *values = delta ? sums : input;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        store(&normed[row + i], values[row + i] * factor * weight[i]);
    }
}

// Queries, keys and values of one token and head each block: normed where there are weights for it,
// turned by the token's angles, and written: queries to a matrix, keys and values to their slots.
// The angles' source: Su et al. 2021, section 3.4.2, in the arrangement of `rotate_half`.
template <typename T>
__device__ void place_heads(const float *qkv, const float *query_norm, const float *key_norm,
                            const float *cos, const float *sin, const u32 *write_slots,
                            float *queries, T *keys, T *values, u32 num_heads, u32 num_kv_heads,
                            u32 head_dim, u32 half, u32 num_slots, float eps) {
    extern __shared__ float line[];
    const u32 token = blockIdx.x, head = blockIdx.y;
    const bool is_query = head < num_heads, is_value = head >= num_heads + num_kv_heads;
    const float *input = qkv + (size_t(token) * gridDim.y + head) * head_dim;
    const float *norm = is_value ? nullptr : is_query ? query_norm : key_norm;
    float factor = 1;
    if (norm) {
        float squares = 0;
        for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
            squares = fmaf(input[i], input[i], squares);
        }
        factor = 1 / sqrtf(sum_of_block(squares) / float(head_dim) + eps);
    }
    for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
        line[i] = norm ? input[i] * factor * norm[i] : input[i];
    }
    __syncthreads();
    const u32 slot = is_query ? 0 : write_slots[token];
    assert(slot < num_slots);
    const u32 kv_head = (head - num_heads) % num_kv_heads;
    const size_t in_pages = (size_t(slot) * num_kv_heads + kv_head) * head_dim;
    for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
        float x = line[i];
        if (!is_value && i < 2 * half) {
            const size_t pair = size_t(token) * half + i % half;
            const float low = line[i % half], high = line[i % half + half];
            x = i < half ? fmaf(low, cos[pair], -(high * sin[pair]))
                         : fmaf(low, sin[pair], high * cos[pair]);
        }
        if (is_query) {
            queries[(size_t(token) * num_heads + head) * head_dim + i] = x;
        } else {
            store(&(is_value ? values : keys)[in_pages + i], x);
        }
    }
}

// Cosines and sines of positions times frequencies, `[tokens, half]` each.
extern "C" __global__ void angles(const u32 *positions, const float *frequencies, float *cos,
                                  float *sin, u32 num_tokens, u32 half, float magnitude) {
    const size_t num = size_t(num_tokens) * half, step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < num; i += step) {
        const float angle = float(positions[i / half]) * frequencies[i % half];
        cos[i] = cosf(angle) * magnitude;
        sin[i] = sinf(angle) * magnitude;
    }
}

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

// (1 + tanh(inner)) / 2 is the logistic function of twice the argument.
__device__ inline float gelu_tanh(float x) {
    const float inner = 0.7978846f * x * fmaf(0.044715f * x, x, 1);
    return x / (1 + expf(-2 * inner));
}

// `activation(gate) * up`, where a row has `width` numbers of gate and as many of up.
template <typename T>
__device__ void gated(const float *both, T *output, u32 num_rows, u32 width, u32 is_gelu) {
    const size_t num = size_t(num_rows) * width, step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < num; i += step) {
        const float *gate = both + i / width * 2 * width + i % width;
        store(&output[i], (is_gelu ? gelu_tanh(*gate) : silu(*gate)) * gate[width]);
    }
}

#define FOR_TYPE(NAME, T)                                                                          \
    extern "C" __global__ void rms_norm_##NAME(const float *input, const float *delta,             \
                                               const float *weight, float *sums, T *normed,        \
                                               u32 width, float eps) {                             \
        rms_norm(input, delta, weight, sums, normed, width, eps);                                  \
    }                                                                                              \
    extern "C" __global__ void place_heads_##NAME(                                                 \
        const float *qkv, const float *query_norm, const float *key_norm, const float *cos,        \
        const float *sin, const u32 *write_slots, float *queries, T *keys, T *values,              \
        u32 num_heads, u32 num_kv_heads, u32 head_dim, u32 half, u32 num_slots, float eps) {       \
        place_heads(qkv, query_norm, key_norm, cos, sin, write_slots, queries, keys, values,       \
                    num_heads, num_kv_heads, head_dim, half, num_slots, eps);                      \
    }                                                                                              \
    extern "C" __global__ void gated_##NAME(const float *both, T *output, u32 num_rows, u32 width, \
                                            u32 is_gelu) {                                         \
        gated(both, output, num_rows, width, is_gelu);                                             \
    }

FOR_TYPE(f32, float)
FOR_TYPE(f16, f16)
FOR_TYPE(bf16, bf16)
