// Attention that reads the pages in place.
//
// A block computes a few query rows, which are pairs of a token and a head, that share a key head:
// of each page it computes all scores at once, and adds the page's values to its sums, which it
// scales down whenever a greater score turns up. Sources: Milakov and Gimelshein 2018, algorithm 3;
// Dao et al. 2022, algorithm 1; and for the division of a context over several blocks,
// Dao et al. 2023, "Flash-Decoding".

#include "common.cuh"

// As `attention.rs` has them.
constexpr u32 ROWS = 8;
// One for each score of a page.
constexpr u32 THREADS = ROWS * PAGE_TOKENS;

struct Shape {
    u32 num_heads, num_kv_heads, head_dim;
    // How many positions a token attends to; zero where that is all.
    u32 window;
    u32 num_pages;
    float scale;
    // Soft cap of the scores; zero where there is none.
    float cap;
};

// What is to be read.
template <typename T> struct Inputs {
    // [tokens, heads, head_dim]
    const float *queries;
    // [pages, 16, kv_heads, head_dim]
    const T *keys, *values;
    // [tokens]
    const u32 *positions;
    // [tiles, 3]: row, first token, number of tokens.
    const u32 *tiles;
    // Of each row: where its pages begin, and the position of the first slot of the first.
    const u32 *first_pages, *first_positions;
    const u32 *pages;
};

// Where it goes: if one block reads all of a context, its output [tokens, heads, head_dim]; else of
// each part, [tokens, heads, parts], the sums [head_dim], the greatest score and the sum of weights.
struct Outputs {
    float *output;
    float *sums;
    float2 *scales;
};

__device__ inline float capped(float x, float cap) {
    // tanh(x) = 1 - 2 / (exp(2x) + 1)
    return cap - 2 * cap / (expf(x * (2 / cap)) + 1);
}

// Adds a page's values of one number of a head, each with its weight, to the sums of all rows.
template <typename T>
__device__ inline void add_values(float *sums, const float (*weights)[PAGE_TOKENS],
                                  const float *factors, const T *values, size_t stride,
                                  u32 num_slots) {
#pragma unroll
    for (u32 r = 0; r < ROWS; r++) {
        sums[r] *= factors[r];
    }
#pragma unroll 2
    for (u32 slot = 0; slot < num_slots; slot++) {
        const float value = to_float(values[slot * stride]);
#pragma unroll
        for (u32 r = 0; r < ROWS; r++) {
            // What a row does not see may be infinite, and zero times that is no number.
            const float weight = weights[r][slot];
            sums[r] = weight == 0 ? sums[r] : fmaf(weight, value, sums[r]);
        }
    }
}

// The grid is tiles, key heads times blocks of rows, and parts of a context. Each thread has
// `COLUMNS` numbers of a head of each row.
template <typename T, u32 COLUMNS>
__device__ void attend(const Inputs<T> &in, const Outputs &out, const Shape &shape) {
    extern __shared__ float shared[];
    __shared__ float weights[ROWS][PAGE_TOKENS], factors[ROWS];
    const u32 head_dim = shape.head_dim, group = shape.num_heads / shape.num_kv_heads;
    // Without the padding all threads that read a column would use the same bank.
    const u32 line = head_dim + 1;
    float *queries = shared, *keys = shared + ROWS * line;

    const u32 *tile = in.tiles + 3 * blockIdx.x;
    const u32 row = tile[0], first_token = tile[1];
    const u32 kv_head = blockIdx.y % shape.num_kv_heads;
    const u32 first_row = blockIdx.y / shape.num_kv_heads * ROWS;
    if (first_row >= tile[2] * group) {
        return;
    }
    const u32 num_rows = min(ROWS, tile[2] * group - first_row);
    auto token_of = [&](u32 r) { return first_token + (first_row + r) / group; };
    auto head_of = [&](u32 r) { return kv_head * group + (first_row + r) % group; };

    const u32 warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    for (u32 r = warp; r < num_rows; r += THREADS / LANES) {
        const size_t from = (size_t(token_of(r)) * shape.num_heads + head_of(r)) * head_dim;
        for (u32 d = lane; d < head_dim; d += LANES) {
            queries[r * line + d] = in.queries[from + d];
        }
    }

    // Pages, counted from the row's first.
    const u32 first_position = in.first_positions[row];
    const u32 last_seen = in.positions[token_of(num_rows - 1)];
    const u32 earliest = in.positions[token_of(0)];
    const u32 first_seen =
        shape.window && earliest + 1 > shape.window ? earliest + 1 - shape.window : 0;
    assert(first_seen >= first_position);
    const u32 first_page = (first_seen - first_position) / PAGE_TOKENS;
    const u32 end_page = (last_seen - first_position) / PAGE_TOKENS + 1;
    assert(in.first_pages[row] + end_page <= in.first_pages[row + 1]);
    const u32 pages_per_part = (end_page - first_page + gridDim.z - 1) / gridDim.z;
    const u32 begin = first_page + blockIdx.z * pages_per_part;
    const u32 end = min(end_page, begin + pages_per_part);

    // Of one score: its row, and its position in the page.
    const u32 r = threadIdx.x / PAGE_TOKENS, slot = threadIdx.x % PAGE_TOKENS;
    const u32 own = in.positions[token_of(min(r, num_rows - 1))];
    float greatest = -INFINITY, total = 0;
    float sums[COLUMNS][ROWS] = {};
    for (u32 page = begin; page < end; page++) {
        const u32 page_idx = in.pages[in.first_pages[row] + page];
        assert(page_idx < shape.num_pages);
        const u32 page_position = first_position + page * PAGE_TOKENS;
        // Slots after those of the last token have not been written.
        const u32 num_slots = min(PAGE_TOKENS, last_seen - page_position + 1);
        const size_t stride = size_t(shape.num_kv_heads) * head_dim;
        const size_t in_page = size_t(page_idx) * PAGE_TOKENS * stride + size_t(kv_head) * head_dim;
#pragma unroll 1
        for (u32 s = warp; s < num_slots; s += THREADS / LANES) {
            for (u32 d = lane; d < head_dim; d += LANES) {
                keys[s * line + d] = to_float(in.keys[in_page + s * stride + d]);
            }
        }
        __syncthreads();
        const u32 position = page_position + slot;
        const bool is_seen = r < num_rows && position <= own &&
                             (shape.window == 0 || position + shape.window > own);
        float score = -INFINITY;
        if (is_seen) {
            float dot = 0;
#pragma unroll 4
            for (u32 d = 0; d < head_dim; d++) {
                dot = fmaf(queries[r * line + d], keys[slot * line + d], dot);
            }
            score = dot * shape.scale;
            if (shape.cap > 0) {
                score = capped(score, shape.cap);
            }
        }
        const float greater = fmaxf(greatest, greatest_of_lanes<PAGE_TOKENS>(score));
        const float factor = greatest == -INFINITY ? 0 : expf(greatest - greater);
        const float weight = is_seen ? expf(score - greater) : 0;
        total = fmaf(total, factor, sum_of_lanes<PAGE_TOKENS>(weight));
        greatest = greater;
        weights[r][slot] = weight;
        if (slot == 0) {
            factors[r] = factor;
        }
        __syncthreads();
#pragma unroll
        for (u32 c = 0; c < COLUMNS; c++) {
            const u32 d = threadIdx.x + c * THREADS;
            if (d < head_dim) {
                add_values<T>(sums[c], weights, factors, in.values + in_page + d, stride, num_slots);
            }
        }
        __syncthreads();
    }

    if (slot == 0) {
        factors[r] = total;
        if (gridDim.z > 1 && r < num_rows) {
            const size_t at = size_t(token_of(r)) * shape.num_heads + head_of(r);
            out.scales[at * gridDim.z + blockIdx.z] = make_float2(greatest, total);
        }
    }
    __syncthreads();
#pragma unroll
    for (u32 c = 0; c < COLUMNS; c++) {
        const u32 d = threadIdx.x + c * THREADS;
#pragma unroll
        for (u32 r = 0; r < ROWS; r++) {
            const size_t at = size_t(token_of(r)) * shape.num_heads + head_of(r);
            if (r >= num_rows || d >= head_dim) {
                continue;
            }
            if (gridDim.z > 1) {
                out.sums[(at * gridDim.z + blockIdx.z) * head_dim + d] = sums[c][r];
            } else {
                out.output[at * head_dim + d] = sums[c][r] / factors[r];
            }
        }
    }
}

// Joins the parts of a context: a block for each token and head.
extern "C" __global__ void join_parts(const float *sums, const float2 *scales, float *output,
                                      u32 num_parts, u32 head_dim) {
    const size_t at = blockIdx.x;
    scales += at * num_parts;
    float greatest = -INFINITY;
#pragma unroll 1
    for (u32 part = 0; part < num_parts; part++) {
        greatest = fmaxf(greatest, scales[part].x);
    }
    // A part may have seen nothing; all together have seen the token itself.
    float total = 0;
#pragma unroll 1
    for (u32 part = 0; part < num_parts; part++) {
        total = fmaf(scales[part].y, expf(scales[part].x - greatest), total);
    }
    for (u32 d = threadIdx.x; d < head_dim; d += blockDim.x) {
        float sum = 0;
#pragma unroll 1
        for (u32 part = 0; part < num_parts; part++) {
            const float factor = expf(scales[part].x - greatest);
            sum = fmaf(sums[(at * num_parts + part) * head_dim + d], factor, sum);
        }
        output[at * head_dim + d] = sum / total;
    }
}

#define FOR_TYPE(NAME, T, COLUMNS)                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS) attend_##NAME##_##COLUMNS(               \
        const float *queries, const T *keys, const T *values, const u32 *positions,                \
        const u32 *tiles, const u32 *first_pages, const u32 *first_positions, const u32 *pages,    \
        float *output, float *sums, float2 *scales, u32 num_heads, u32 num_kv_heads,               \
        u32 head_dim, u32 window, u32 num_pages, float scale, float cap) {                         \
        attend<T, COLUMNS>({queries, keys, values, positions, tiles, first_pages, first_positions, \
                            pages},                                                                \
                           {output, sums, scales},                                                 \
                           {num_heads, num_kv_heads, head_dim, window, num_pages, scale, cap});    \
    }

FOR_TYPE(f32, float, 1)
FOR_TYPE(f32, float, 2)
FOR_TYPE(f16, f16, 1)
FOR_TYPE(f16, f16, 2)
FOR_TYPE(bf16, bf16, 1)
FOR_TYPE(bf16, bf16, 2)
