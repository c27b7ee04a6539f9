//! Eight lanes of f32, dot products of bytes, and an exponential function.
//!
//! Owns every CPU intrinsic of the crate. The lanes fix the order of additions in a kernel's code,
//! so a row's bits depend on its own values only.

#[cfg(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    target_feature = "f16c"
))]
mod x86;
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    target_feature = "f16c"
))]
pub(crate) use x86::{F32x8, Words, prefetch};

#[cfg(any(
    test,
    not(all(
        target_arch = "x86_64",
        target_feature = "avx2",
        target_feature = "fma",
        target_feature = "f16c"
    ))
))]
#[cfg_attr(
    all(
        target_arch = "x86_64",
        target_feature = "avx2",
        target_feature = "fma",
        target_feature = "f16c"
    ),
    expect(dead_code, reason = "tests compare a part of it with the intrinsics")
)]
mod portable;
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    target_feature = "f16c"
)))]
pub(crate) use portable::{F32x8, Words, prefetch};

/// The possible values of a weight's byte.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Range {
    /// From zero up to this, at most 127.
    UpTo(#[allow(dead_code, reason = "VNNI adds up in 32 bits, whatever the largest is")] u8),
    Signed,
}

/// `a * b + c`, fused where the processor does so at full speed.
#[inline(always)]
pub(crate) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// Computes `sum(a[i] * b[i])` over slices of equal length, in eight lanes, then in order.
#[inline]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<8>();
    let (b_lanes, b_rest) = b.as_chunks::<8>();
    let mut sum = F32x8::ZERO;
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        sum = F32x8::load(a).mul_add(F32x8::load(b), sum);
    }
    a_rest.iter().zip(b_rest).fold(sum.sum(), |sum, (a, b)| mul_add(*a, *b, sum))
}

/// Computes `y += factor * x` over slices of equal length.
#[inline]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = mul_add(factor, *x, *y);
    }
}

/// Computes `e^x` within two units in the last place; zero below -87.3, capped at `e^88` above 88.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp_by(x, mul_add)
}

/// As [`exp`], with each product rounded before it is added to: the same bits on every processor.
#[inline(always)]
pub(crate) fn exp_unfused(x: f32) -> f32 {
    exp_by(x, |a, b, c| a * b + c)
}

/// Source: range reduction by `ln 2` in two parts and the polynomial of Cephes' `expf`. Has no
/// branches or calls, so that loops over it vectorise.
#[inline(always)]
fn exp_by(x: f32, mul_add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = mul_add(clamped, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = mul_add(whole, -LN2_LOW, mul_add(whole, -LN2_HIGH, clamped));
    let series = POLYNOMIAL.iter().fold(0.0, |sum, factor| mul_add(sum, rest, *factor));
    let mantissa = mul_add(series, rest * rest, rest) + 1.0;
    // The low bits of `shifted` hold the whole number; shifted up, they are its power of two.
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let value = mantissa * f32::from_bits(power << 23);
    if x < -87.3 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_over_its_whole_range() {
        for exp in [exp, exp_unfused] {
            for step in -8_730_i16..=8_800 {
                let x = f32::from(step) * 0.01;
                let want = f64::from(x).exp();
                let error = (f64::from(exp(x)) / want - 1.0).abs();
                assert!(error < 3e-7, "exp({x}) is off by {error:e}");
            }
            assert_eq!(exp(-1000.0).to_bits(), 0);
            assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
            assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
            assert!(exp(f32::NAN).is_nan());
        }
    }

    /// Bytes that look random.
    fn bytes<const N: usize>(seed: usize) -> [u8; N] {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = (state * 1_664_525 + 1_013_904_223) % (1 << 32);
            state.to_le_bytes()[3]
        })
    }

    #[track_caller]
    fn check_lanes(got: F32x8, want: portable::F32x8) {
        assert_eq!(got.to_array().map(f32::to_bits), want.to_array().map(f32::to_bits));
    }

    #[test]
    fn intrinsics_and_portable_code_agree_on_words() {
        let rows: [[u8; 16]; 8] = std::array::from_fn(bytes);
        let rows = std::array::from_fn(|r| &rows[r]);
        let (got, want) = (Words::transpose(rows), portable::Words::transpose(rows));
        for (got, want) in got.into_iter().zip(want) {
            for i in 0..4 {
                check_lanes(got.byte(i), want.byte(i));
                check_lanes(got.signed_byte(i), want.signed_byte(i));
                check_lanes((got >> (2 * i)).byte(3), (want >> (2 * i)).byte(3));
                check_lanes((got << (2 * i)).byte(0), (want << (2 * i)).byte(0));
            }
            for first in [0, 4, 20, 28] {
                let (got, want) = (got.bits_to_bytes(first), want.bits_to_bytes(first));
                (0..4).for_each(|i| check_lanes(got.byte(i), want.byte(i)));
            }
            // Without infinities and NaN, whose bits may differ.
            let (got, want) = (got & 0xBFFF_BFFF, want & 0xBFFF_BFFF);
            check_lanes(got.low_half(), want.low_half());
            check_lanes(got.high_half(), want.high_half());
            check_lanes((got | got << 4).byte(2), (want | want << 4).byte(2));
        }
    }

    /// Compares with sums of numbers, for weights and inputs as large as they may be as well.
    #[track_caller]
    fn check_dot(range: Range, weight: impl Fn(u8) -> u8) {
        let inputs: [[i8; 32]; 3] =
            [bytes::<32>(99).map(|byte| byte.cast_signed().max(-127)), [127; 32], [-127; 32]];
        for input in inputs {
            let rows: [[u8; 32]; 8] = std::array::from_fn(|r| match r {
                0 => [weight(127); 32],
                1 => [weight(128); 32],
                2 => [weight(255); 32],
                _ => bytes::<32>(r).map(&weight),
            });
            let half = |start: usize| -> [Words; 4] {
                Words::transpose(std::array::from_fn(|r| rows[r][start..].first_chunk().unwrap()))
            };
            let halves = [half(0), half(16)].concat();
            let words: [Words; 8] = std::array::from_fn(|i| halves[i].prepare(range));
            let sum: i32 = input.iter().map(|byte| i32::from(*byte)).sum();
            let quads: [[i8; 4]; 8] =
                std::array::from_fn(|i| std::array::from_fn(|j| input[4 * i + j]));
            let got = Words::dot(&words, &quads, sum as f32, range).to_array();
            let value = |byte: u8| match range {
                Range::UpTo(_) => i32::from(byte),
                Range::Signed => i32::from(byte.cast_signed()),
            };
            for (row, got) in rows.iter().zip(got) {
                let products = row.iter().zip(input).map(|(a, b)| value(*a) * i32::from(b));
                assert_eq!(got.to_bits(), (products.sum::<i32>() as f32).to_bits(), "{range:?}");
            }
        }
    }

    #[test]
    fn products_of_bytes_are_exact() {
        for largest in [3, 7, 15, 31, 63] {
            check_dot(Range::UpTo(largest), |byte| byte & largest);
        }
        check_dot(Range::Signed, |byte| byte);
    }
}
