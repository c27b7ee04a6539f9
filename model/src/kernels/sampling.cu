// From logits to tokens: penalties, masks, temperature, top-k, top-p, min-p and draws, of one row of
// logits each block.
//
// It finds the tokens that the sampler on a CPU finds (`runtime/src/sampler`), for weights are whole
// numbers, whose sums are the same in any order, and no product is fused with a sum.

#include "common.cuh"

using u64 = unsigned long long;

// What is done to a row; `ROW_WORDS` of `sampling.rs`. Lists begin so many words behind the rows.
struct Row {
    u32 logit_row;
    // An encoded mask, and its bytes and one more; zero where the row is free.
    u32 mask, mask_bytes;
    // Tokens, and how often each occurs in the output.
    u32 counts, num_counts;
    // Tokens that are chosen only if nothing else is allowed, and room for the logit of each.
    u32 held_back, num_held_back;
    // Random numbers of 64 bits.
    u32 draws, num_draws;
    // So many of the most likely tokens are wanted.
    u32 num_likely;
    u32 output;
    float temperature;
    // Zero for all.
    u32 top_k;
    // Top-p in 2^64ths, all ones for all; what a token must weigh.
    u32 share_low, share_high, floor_low, floor_high;
    float repetition, frequency, presence;
};

// What is found; draws and then likely tokens follow, each as a token and its logit.
struct Found {
    u32 status, most_likely;
    float greatest;
    u32 sum_low, sum_high, num_likely;
};

struct Choice {
    u32 token;
    float logit;
};

enum Status : u32 { SAMPLED = 0, NO_TOKEN = 1, MASK_REFUSED = 2 };
enum Form : u32 { ALL = 0, ONLY = 1, SPARSE = 2, DENIED = 3, DENSE = 4 };

// Of a row's logits, where minus infinity stands for tokens that are not allowed.
struct Logits {
    const float *values;
    u32 width, token_bits;
    float greatest, temperature;

    // Greater for a token that is more likely; of equals, for the lower id. Zero if not allowed.
    __device__ u64 key(u32 token) const {
        const float logit = values[token];
        if (logit == -INFINITY) {
            return 0;
        }
        const u32 bits = __float_as_uint(logit);
        const u32 ordered = bits & 0x80000000 ? ~bits : bits | 0x80000000;
        return u64(ordered) << token_bits | ((1u << token_bits) - 1 - token);
    }

    __device__ u32 token(u64 key) const {
        const u32 last = (1u << token_bits) - 1;
        return last - (u32(key) & last);
    }

    // Of tokens with keys such as this one.
    __device__ float logit(u64 key) const {
        const u32 ordered = u32(key >> token_bits);
        return __uint_as_float(ordered & 0x80000000 ? ordered ^ 0x80000000 : ~ordered);
    }
};

constexpr u32 NUM_BINS = 256;

// Amounts of tokens by bin, each in two halves, since atomics of 32 bits are fast.
struct Bins {
    u32 low[NUM_BINS], high[NUM_BINS];
};

// Where the amounts of bins, from the first on, add up to what is wanted.
struct Place {
    u32 bin;
    u64 before, amount;
};

struct Sum {
    __device__ u64 operator()(u64 a, u64 b) const { return a + b; }
};
struct Greater {
    __device__ u64 operator()(u64 a, u64 b) const { return a > b ? a : b; }
};
struct Lesser {
    __device__ u64 operator()(u64 a, u64 b) const { return a < b ? a : b; }
};
struct Either {
    __device__ u64 operator()(u64 a, u64 b) const { return a | b; }
};

// Of all threads of a block: each gets the result.
template <typename Operation> __device__ u64 of_block(u64 x, Operation join) {
    __shared__ u64 parts[LANES];
    for (u32 distance = LANES / 2; distance > 0; distance /= 2) {
        x = join(x, __shfl_xor_sync(0xffffffff, x, distance));
    }
    // What was there before has been read.
    __syncthreads();
    if (threadIdx.x % LANES == 0) {
        parts[threadIdx.x / LANES] = x;
    }
    __syncthreads();
    x = parts[0];
    for (u32 warp = 1; warp < blockDim.x / LANES; warp++) {
        x = join(x, parts[warp]);
    }
    return x;
}

// The sum over a warp's lanes up to this one.
__device__ u64 sum_up_to_lane(u64 x) {
    for (u32 distance = 1; distance < LANES; distance *= 2) {
        const u64 before = __shfl_up_sync(0xffffffff, x, distance);
        x += threadIdx.x % LANES >= distance ? before : 0;
    }
    return x;
}

// The sum over the block's threads before this one's warp, and over all of them.
__device__ u64 sum_before_warp(u64 of_warp, u64 *all) {
    __shared__ u64 sums[LANES];
    __syncthreads();
    if (threadIdx.x % LANES == 0) {
        sums[threadIdx.x / LANES] = of_warp;
    }
    __syncthreads();
    u64 before = 0;
    *all = 0;
    for (u32 warp = 0; warp < blockDim.x / LANES; warp++) {
        before += warp < threadIdx.x / LANES ? sums[warp] : 0;
        *all += sums[warp];
    }
    return before;
}

// `e^x` as `exp_unfused` of `simd.rs` computes it, to the last bit.
__device__ float exp_unfused(float x) {
    const float ROUND = 12582912.0f;
    const float POLYNOMIAL[6] = {1.9875692e-4f, 1.3981999e-3f, 8.333452e-3f,
                                 4.1665796e-2f, 1.6666665e-1f, 0.5f};
    const float clamped = fminf(fmaxf(x, -87.3f), 88.0f);
    const float shifted = __fadd_rn(__fmul_rn(clamped, 1.44269504f), ROUND);
    const float whole = __fsub_rn(shifted, ROUND);
    float rest = __fadd_rn(__fmul_rn(whole, -0.6933594f), clamped);
    rest = __fadd_rn(__fmul_rn(whole, 2.1219444e-4f), rest);
    float series = POLYNOMIAL[0];
    for (u32 i = 1; i < 6; i++) {
        series = __fadd_rn(__fmul_rn(series, rest), POLYNOMIAL[i]);
    }
    const float mantissa =
        __fadd_rn(__fadd_rn(__fmul_rn(series, __fmul_rn(rest, rest)), rest), 1.0f);
    const u32 power = __float_as_uint(shifted) - __float_as_uint(ROUND) + 127;
    const float value = __fmul_rn(mantissa, __uint_as_float(power << 23));
    return x < -87.3f ? 0.0f : value;
}

// `exp((logit - greatest) / temperature)` in 2^40ths: `softmax::weights`.
__device__ u64 weight(float logit, float greatest, float temperature) {
    const float share = exp_unfused(__fdiv_rn(__fsub_rn(logit, greatest), temperature));
    return __float2ull_rn(__fmul_rn(share, 1099511627776.0f));
}

__device__ u32 word_of(const unsigned char *bytes) {
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | u32(bytes[3]) << 24;
}

// Sets a token's bit; false if there is none.
__device__ bool mark(u64 token, u32 *bits, u32 num_words) {
    if (token >= u64(num_words) * 32) {
        return false;
    }
    atomicOr(&bits[token / 32], 1u << (token % 32));
    return true;
}

constexpr u32 MAX_NUMBER_BYTES = 5;

// The distance that ends at a byte: seven bits to a byte, the lowest first. False if it is too long.
__device__ bool distance_at(const unsigned char *bytes, u32 end, u64 *distance) {
    u32 start = end;
    while (start > 0 && end - start < MAX_NUMBER_BYTES && bytes[start - 1] & 0x80) {
        start--;
    }
    *distance = 0;
    for (u32 i = start; i <= end; i++) {
        *distance |= u64(bytes[i] & 0x7f) << (7 * (i - start));
    }
    return end - start < MAX_NUMBER_BYTES;
}

// Sets the bits of a list of tokens, which are distances less one, a part of it each thread; false if
// the thread's part cannot be read.
__device__ bool mark_listed(const unsigned char *list, u32 len, u32 *bits, u32 num_words) {
    const u32 part = (len + blockDim.x - 1) / blockDim.x;
    const u32 begin = min(len, threadIdx.x * part), end = min(len, begin + part);
    // The last byte ends a number.
    bool is_sound = len == 0 || !(list[len - 1] & 0x80);
    u64 sum = 0, distance = 0, all = 0;
    for (u32 i = begin; i < end; i++) {
        if (!(list[i] & 0x80)) {
            is_sound &= distance_at(list, i, &distance);
            sum += distance + 1;
        }
    }
    const u64 up_to = sum_up_to_lane(sum);
    const u64 of_warp = __shfl_sync(0xffffffff, up_to, LANES - 1);
    u64 next = sum_before_warp(of_warp, &all) + up_to - sum;
    for (u32 i = begin; i < end && is_sound; i++) {
        if (!(list[i] & 0x80)) {
            distance_at(list, i, &distance);
            next += distance + 1;
            is_sound &= mark(next - 1, bits, num_words);
        }
    }
    return is_sound;
}

// Decodes a mask, as `EncodedMask::decode` does; false if it cannot be read, or allows nothing.
__device__ bool decode(const unsigned char *bytes, u32 num_bytes, const u32 *valid, u32 *open,
                       u32 num_words) {
    if (num_bytes == 0) {
        return false;
    }
    const u32 form = bytes[0], len = num_bytes - 1;
    const unsigned char *body = bytes + 1;
    const bool is_list = form == SPARSE || form == DENIED;
    const bool is_whole = (form == ALL && len == 0) || (form == ONLY && len == 4) ||
                          (form == DENSE && len == num_words * 4);
    if (!is_list && !is_whole) {
        return false;
    }
    for (u32 i = threadIdx.x; i < num_words; i += blockDim.x) {
        open[i] = form == DENSE ? word_of(body + 4 * i) : 0;
    }
    __syncthreads();
    bool is_sound = true;
    if (is_list) {
        is_sound = mark_listed(body, len, open, num_words);
    } else if (form == ONLY && threadIdx.x == 0) {
        is_sound = mark(word_of(body), open, num_words);
    }
    __syncthreads();
    u64 any = 0;
    for (u32 i = threadIdx.x; i < num_words; i += blockDim.x) {
        const u32 bits = form == ALL ? ~0u : form == DENIED ? ~open[i] : open[i];
        open[i] = bits & valid[i];
        any |= open[i];
    }
    const bool is_unsound = of_block(!is_sound, Either());
    return of_block(any, Either()) && !is_unsound;
}

__device__ void penalise(float *logits, u32 width, const Row &row, const u32 *counts) {
    for (u32 i = threadIdx.x; i < row.num_counts; i += blockDim.x) {
        const u32 token = counts[2 * i], in_output = counts[2 * i + 1];
        if (token >= width) {
            continue;
        }
        float logit = logits[token];
        logit = logit > 0 ? __fdiv_rn(logit, row.repetition) : __fmul_rn(logit, row.repetition);
        logit = __fsub_rn(logit, __fmul_rn(__uint2float_rn(in_output), row.frequency));
        logits[token] = in_output > 0 ? __fsub_rn(logit, row.presence) : logit;
    }
}

// Makes what is not allowed impossible.
__device__ void close(float *logits, u32 width, const u32 *open, u32 num_words) {
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        const float logit = logits[i];
        const bool is_open = i / 32 < num_words && open[i / 32] >> (i % 32) & 1;
        // Zero has one sign, so that equal logits have the same bits.
        logits[i] = is_open && isfinite(logit) ? __fadd_rn(logit, 0.0f) : -INFINITY;
    }
}

// Makes tokens impossible and keeps their logits, or gives those back.
__device__ void hold_back(float *logits, u32 width, const Row &row, u32 *held_back) {
    for (u32 i = threadIdx.x; i < row.num_held_back; i += blockDim.x) {
        const u32 token = held_back[2 * i];
        held_back[2 * i + 1] = __float_as_uint(token < width ? logits[token] : -INFINITY);
    }
    // A token may be named twice.
    __syncthreads();
    for (u32 i = threadIdx.x; i < row.num_held_back; i += blockDim.x) {
        if (held_back[2 * i] < width) {
            logits[held_back[2 * i]] = -INFINITY;
        }
    }
    __syncthreads();
}

__device__ void give_back(float *logits, u32 width, const Row &row, const u32 *held_back) {
    for (u32 i = threadIdx.x; i < row.num_held_back; i += blockDim.x) {
        if (held_back[2 * i] < width) {
            logits[held_back[2 * i]] = __uint_as_float(held_back[2 * i + 1]);
        }
    }
    __syncthreads();
}

__device__ u64 greatest_key(const Logits &logits) {
    u64 greatest = 0;
    for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
        greatest = Greater()(greatest, logits.key(i));
    }
    return of_block(greatest, Greater());
}

// What the tokens from a key on weigh.
__device__ u64 sum_of_weights(const Logits &logits, u64 least, float temperature) {
    u64 sum = 0;
    for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
        if (logits.key(i) >= least) {
            sum += weight(logits.values[i], logits.greatest, temperature);
        }
    }
    return of_block(sum, Sum());
}

__device__ void clear(Bins &bins) {
    __syncthreads();
    for (u32 i = threadIdx.x; i < NUM_BINS; i += blockDim.x) {
        bins.low[i] = bins.high[i] = 0;
    }
    __syncthreads();
}

__device__ void add(Bins &bins, u32 bin, u64 amount) {
    const u32 low = u32(amount), before = atomicAdd(&bins.low[bin], low);
    atomicAdd(&bins.high[bin], u32(amount >> 32) + (before + low < low));
}

// The bin in which the amounts reach what is wanted, which is at least 1 and no more than all.
__device__ Place find(const Bins &bins, u64 wanted) {
    __shared__ Place found;
    __syncthreads();
    if (threadIdx.x < LANES) {
        constexpr u32 OF_LANE = NUM_BINS / LANES;
        u64 amounts[OF_LANE], sum = 0;
        for (u32 i = 0; i < OF_LANE; i++) {
            const u32 bin = threadIdx.x * OF_LANE + i;
            amounts[i] = u64(bins.high[bin]) << 32 | bins.low[bin];
            sum += amounts[i];
        }
        u64 before = sum_up_to_lane(sum) - sum;
        for (u32 i = 0; i < OF_LANE; i++) {
            if (before < wanted && wanted <= before + amounts[i]) {
                found = {threadIdx.x * OF_LANE + i, before, amounts[i]};
            }
            before += amounts[i];
        }
    }
    __syncthreads();
    return found;
}

// How far a logit is from the greatest, in eighths: where many logits are, so are many bins.
__device__ u32 bin_of(const Logits &logits, u32 token) {
    const float eighths = __fmul_rn(__fsub_rn(logits.greatest, logits.values[token]), 8.0f);
    return min(__float2uint_rz(eighths), NUM_BINS - 1);
}

// The key of the last of the most likely tokens whose amounts add up to what is wanted, at least 1
// and no more than all: each token counts as one, or as what it weighs. Tokens below `least` do not
// count.
template <bool WEIGHS> __device__ u64 cut(const Logits &logits, u64 least, u64 wanted) {
    __shared__ Bins bins;
    const auto amount = [&](float logit) -> u64 {
        return WEIGHS ? weight(logit, logits.greatest, logits.temperature) : 1;
    };
    clear(bins);
    for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
        if (logits.key(i) >= least) {
            add(bins, bin_of(logits, i), amount(logits.values[i]));
        }
    }
    Place place = find(bins, wanted);
    u64 low = ~0ull, high = 0;
    for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
        const u64 key = logits.key(i);
        if (key >= least && bin_of(logits, i) == place.bin) {
            low = Lesser()(low, key);
            high = Greater()(high, key);
        }
    }
    low = of_block(low, Lesser());
    high = of_block(high, Greater());
    wanted -= place.before;
    // The key lies between these; digits of it are found, the highest first.
    while (low < high && wanted < place.amount) {
        if (WEIGHS && low >> logits.token_bits == high >> logits.token_bits) {
            // All have one logit: what is wanted is some of them.
            const u64 each = amount(logits.logit(high));
            wanted = (wanted + each - 1) / each * each;
        }
        const u32 top = 63 - __clzll(low ^ high), shift = top < 8 ? 0 : top - 7;
        clear(bins);
        for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
            const u64 key = logits.key(i);
            if (key >= low && key <= high) {
                add(bins, u32((high >> shift) - (key >> shift)), amount(logits.values[i]));
            }
        }
        place = find(bins, wanted);
        wanted -= place.before;
        const u64 digit = (high >> shift) - place.bin;
        low = Greater()(low, digit << shift);
        high = Lesser()(high, (digit << shift) + ((1ull << shift) - 1));
    }
    return low;
}

// The key of the last token that top-k and top-p leave.
__device__ u64 narrow(const Logits &logits, const Row &row, u32 num_allowed) {
    u64 least = 1;
    if (row.top_k > 0 && row.top_k < num_allowed) {
        least = cut<false>(logits, least, row.top_k);
    }
    const u64 share = u64(row.share_high) << 32 | row.share_low;
    if (share != ~0ull) {
        const u64 wanted = __umul64hi(sum_of_weights(logits, least, logits.temperature), share);
        least = cut<true>(logits, least, wanted > 0 ? wanted : 1);
    }
    return least;
}

// Draws tokens, by the order of their ids; each warp finds those among its own.
__device__ void draw(const Logits &logits, const Row &row, u64 least, const u32 *numbers,
                     Choice *drawn) {
    const u64 floor = u64(row.floor_high) << 32 | row.floor_low;
    const u32 num_warps = blockDim.x / LANES, lane = threadIdx.x % LANES;
    const u32 part = (logits.width + blockDim.x - 1) / blockDim.x * LANES;
    const u32 begin = threadIdx.x / LANES * part, end = min(logits.width, begin + part);
    assert(u64(part) * num_warps >= logits.width);
    const auto left = [&](u32 token) -> u64 {
        if (token >= end || logits.key(token) < least) {
            return 0;
        }
        const u64 found = weight(logits.values[token], logits.greatest, logits.temperature);
        return found >= floor ? found : 0;
    };
    u64 sum = 0, all = 0;
    for (u32 i = begin + lane; i < end; i += LANES) {
        sum += left(i);
    }
    const u64 of_warp = __shfl_sync(0xffffffff, sum_up_to_lane(sum), LANES - 1);
    const u64 before_warp = sum_before_warp(of_warp, &all);
    for (u32 i = 0; i < row.num_draws; i++) {
        const u64 at = __umul64hi(all, u64(numbers[2 * i + 1]) << 32 | numbers[2 * i]);
        if (at < before_warp || at >= before_warp + of_warp) {
            continue;
        }
        u64 before = before_warp;
        for (u32 start = begin; before <= at; start += LANES) {
            const u64 own = left(start + lane), up_to = before + sum_up_to_lane(own);
            if (at < up_to && at >= up_to - own) {
                drawn[i] = {start + lane, logits.values[start + lane]};
            }
            before = __shfl_sync(0xffffffff, up_to, LANES - 1);
        }
    }
}

// Finds the most likely tokens, in no order.
__device__ void find_likely(const Logits &logits, u32 num, u32 num_allowed, Choice *likely) {
    __shared__ u32 num_found;
    const u64 least = num < num_allowed ? cut<false>(logits, 1, num) : 1;
    __syncthreads();
    num_found = 0;
    __syncthreads();
    for (u32 i = threadIdx.x; i < logits.width; i += blockDim.x) {
        if (logits.key(i) >= least) {
            likely[atomicAdd(&num_found, 1)] = {i, logits.values[i]};
        }
    }
}

extern "C" __global__ void __launch_bounds__(1024)
    sample(float *all_logits, u32 *orders, const u32 *valid, u32 *masks, u32 *output, u32 width,
           u32 num_logit_rows, u32 num_words) {
    const Row row = reinterpret_cast<const Row *>(orders)[blockIdx.x];
    u32 *lists = orders + gridDim.x * (sizeof(Row) / sizeof(u32));
    Found *found = reinterpret_cast<Found *>(output + row.output);
    assert(row.logit_row < num_logit_rows);
    float *values = all_logits + size_t(row.logit_row) * width;
    const u32 *open = valid;
    if (row.mask_bytes > 0) {
        u32 *own = masks + size_t(blockIdx.x) * num_words;
        const auto *bytes = reinterpret_cast<const unsigned char *>(lists + row.mask);
        if (!decode(bytes, row.mask_bytes - 1, valid, own, num_words)) {
            found->status = MASK_REFUSED;
            return;
        }
        open = own;
    }
    penalise(values, width, row, lists + row.counts);
    __syncthreads();
    close(values, width, open, num_words);
    __syncthreads();
    hold_back(values, width, row, lists + row.held_back);
    const u32 token_bits = width > 1 ? 32 - u32(__clz(int(width - 1))) : 0;
    Logits logits = {values, width, token_bits, 0, row.temperature};
    u64 greatest = greatest_key(logits);
    if (greatest == 0 && row.num_held_back > 0) {
        give_back(values, width, row, lists + row.held_back);
        greatest = greatest_key(logits);
    }
    if (greatest == 0) {
        found->status = NO_TOKEN;
        return;
    }
    const u32 most_likely = logits.token(greatest);
    logits.greatest = values[most_likely];
    u64 num_allowed = 0;
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        num_allowed += values[i] > -INFINITY;
    }
    num_allowed = of_block(num_allowed, Sum());
    const u64 sum = sum_of_weights(logits, 1, 1.0f);
    const u32 num_likely = min(row.num_likely, u32(num_allowed));
    if (threadIdx.x == 0) {
        *found = {SAMPLED, most_likely, logits.greatest, u32(sum), u32(sum >> 32), num_likely};
    }
    Choice *choices = reinterpret_cast<Choice *>(found + 1);
    if (row.num_draws > 0) {
        const u64 least = narrow(logits, row, num_allowed);
        draw(logits, row, least, lists + row.draws, choices);
    }
    if (num_likely > 0) {
        find_likely(logits, num_likely, num_allowed, choices + row.num_draws);
    }
}
