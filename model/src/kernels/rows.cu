// Rows of tables, and pages for rows that continue another.

#include "common.cuh"

// `output = scale * table[indices]`, a row each block.
template <typename T>
__device__ void select_rows(const T *table, const u32 *indices, float *output, u32 width,
                            u32 num_rows, float scale) {
    const u32 row = indices[blockIdx.x];
    assert(row < num_rows);
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        output[size_t(blockIdx.x) * width + i] = to_float(table[size_t(row) * width + i]) * scale;
    }
}

// Reads the tail page of the ancestor of each row that needs one of its own, of keys and of values:
// `copies`, [rows, 2, words of a page].
extern "C" __global__ void read_tails(const u32 *parents, const u32 *rows, const u32 *tail_pages,
                                      const u32 *keys, const u32 *values, u32 *copies,
                                      u32 num_rows, u32 num_ancestors, u32 num_pages,
                                      u32 page_words) {
    const u32 row = rows[blockIdx.x];
    assert(row < num_rows);
    const u32 ancestor = parents[row];
    assert(ancestor < num_ancestors);
    const u32 page = tail_pages[ancestor];
    assert(page < num_pages);
    const u32 *source = (blockIdx.y ? values : keys) + size_t(page) * page_words;
    u32 *copy = copies + (size_t(blockIdx.x) * 2 + blockIdx.y) * page_words;
    for (u32 i = threadIdx.x; i < page_words; i += blockDim.x) {
        copy[i] = source[i];
    }
}

// Writes what `read_tails` has read.
extern "C" __global__ void write_tails(const u32 *copies, const u32 *target_pages, u32 *keys,
                                       u32 *values, u32 num_pages, u32 page_words) {
    const u32 page = target_pages[blockIdx.x];
    assert(page < num_pages);
    u32 *target = (blockIdx.y ? values : keys) + size_t(page) * page_words;
    const u32 *copy = copies + (size_t(blockIdx.x) * 2 + blockIdx.y) * page_words;
    for (u32 i = threadIdx.x; i < page_words; i += blockDim.x) {
        target[i] = copy[i];
    }
}

#define FOR_TYPE(NAME, T)                                                                          \
    extern "C" __global__ void select_rows_##NAME(const T *table, const u32 *indices,              \
                                                  float *output, u32 width, u32 num_rows,          \
                                                  float scale) {                                   \
        select_rows(table, indices, output, width, num_rows, scale);                               \
    }

FOR_TYPE(f32, float)
FOR_TYPE(f16, f16)
FOR_TYPE(bf16, bf16)
