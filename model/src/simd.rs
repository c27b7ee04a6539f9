//! Eight lanes of f32, dot products of bytes, and an exponential function.
//!
//! Owns every CPU intrinsic of the crate. The lanes make the order of additions part of a kernel's
//! text, so a row's bits depend on its own values alone.

#[cfg(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma"))]
mod x86;
#[cfg(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma"))]
pub(crate) use x86::{Bytes32, F32x8, Signed32};

#[cfg(any(
    test,
    not(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma"))
))]
#[cfg_attr(
    all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma"),
    expect(dead_code, reason = "tests compare a part of it with the intrinsics")
)]
mod portable;
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", target_feature = "fma")))]
pub(crate) use portable::{Bytes32, F32x8, Signed32};

/// `a * b + c`, fused where the processor does so at full speed.
#[inline(always)]
pub(crate) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// `sum(a[i] * b[i])` over slices of one length, in eight lanes and then in order.
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

/// `y += factor * x` over slices of one length.
#[inline]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = mul_add(factor, *x, *y);
    }
}

/// `e^x` within two units in the last place; zero below -87.3, held at `e^88` above 88.
///
/// Source: range reduction by `ln 2` in two parts and the polynomial of Cephes' `expf`. Free of
/// branches and calls, so that a loop over it becomes vector code.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
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
    // The low bits of `shifted` hold the whole number: moved up, they are its power of two.
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let value = mantissa * f32::from_bits(power << 23);
    if x < -87.3 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_over_its_whole_range() {
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

    #[test]
    fn intrinsics_and_portable_code_agree_on_bytes() {
        let nibbles: [u8; 16] = std::array::from_fn(|i| (i * 37 + 11) as u8);
        let signed: [u8; 32] = std::array::from_fn(|i| (i as i32 * 91 % 256) as u8);
        let y: [i8; 32] = std::array::from_fn(|i| ((i as i32 * 57 + 3) % 255 - 127) as i8);
        let high = 0xA5C3_19F0;
        let check = |got: f32, want: f32| assert_eq!(got.to_bits(), want.to_bits());
        check(
            Bytes32::nibbles(&nibbles).dot(&y, -7).sum(),
            portable::Bytes32::nibbles(&nibbles).dot(&y, -7).sum(),
        );
        check(
            Bytes32::nibbles(&nibbles).with_fifth_bits(high).dot(&y, 3).sum(),
            portable::Bytes32::nibbles(&nibbles).with_fifth_bits(high).dot(&y, 3).sum(),
        );
        check(
            Signed32::load(&signed).dot(&y).sum(),
            portable::Signed32::load(&signed).dot(&y).sum(),
        );
        let want: i32 =
            signed.iter().zip(&y).map(|(a, b)| i32::from(a.cast_signed()) * i32::from(*b)).sum();
        check(Signed32::load(&signed).dot(&y).sum(), want as f32);
    }
}
