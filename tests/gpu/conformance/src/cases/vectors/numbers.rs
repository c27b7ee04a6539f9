//! Floats of up to 32 bits by the host's own arithmetic, rounded as asked.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are within the range of what they become"
)]

/// A number of fewer bits than 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    fraction_bits: u32,
    exponent_bits: u32,
}

pub(super) const F16: Format = Format { fraction_bits: 10, exponent_bits: 5 };
pub(super) const BF16: Format = Format { fraction_bits: 7, exponent_bits: 8 };
pub(super) const F32: Format = Format { fraction_bits: 23, exponent_bits: 8 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    /// Ties to even.
    Nearest,
    Zero,
    Down,
    Up,
}

impl Rounding {
    /// A size in units of the last place, rounded. The sign is the number's.
    fn round(self, units: f64, is_negative: bool) -> f64 {
        match self {
            Self::Nearest => units.round_ties_even(),
            _ if self.is_outward(is_negative) => units.ceil(),
            _ => units.floor(),
        }
    }

    /// Whether numbers of this sign are rounded away from zero.
    fn is_outward(self, is_negative: bool) -> bool {
        self == if is_negative { Self::Down } else { Self::Up }
    }
}

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    fn sign(self) -> u32 {
        1 << (self.fraction_bits + self.exponent_bits)
    }

    pub(super) fn infinity(self) -> u32 {
        ((1 << self.exponent_bits) - 1) << self.fraction_bits
    }

    /// Whether these bits are of a NaN, and nothing is above them.
    pub(super) fn is_nan(self, bits: u32) -> bool {
        let size = bits & (self.sign() - 1);
        size > self.infinity() && (bits == size || bits == size | self.sign())
    }

    /// A value in this format; none for NaN.
    pub(super) fn of(self, value: f64, rounding: Rounding) -> Option<u32> {
        if value.is_nan() {
            return None;
        }
        let is_negative = value.is_sign_negative();
        let sign = if is_negative { self.sign() } else { 0 };
        let size = value.abs();
        if size == 0.0 || size.is_infinite() {
            return Some(sign | if size == 0.0 { 0 } else { self.infinity() });
        }
        let exponent = (size.to_bits() >> 52) as i32 - 1023;
        let exponent = exponent.max(1 - self.bias());
        let unit = 2_f64.powi(exponent - self.fraction_bits.cast_signed());
        let units = rounding.round(size / unit, is_negative) as u64;
        // A carry goes into the exponent by itself.
        let biased = u64::from((exponent + self.bias() - 1).cast_unsigned());
        let bits = (biased << self.fraction_bits) + units;
        let is_outward = rounding == Rounding::Nearest || rounding.is_outward(is_negative);
        let largest = self.infinity() - u32::from(!is_outward);
        Some(sign | u32::try_from(bits).map_or(largest, |bits| bits.min(largest)))
    }

    /// The value; NaN for each NaN.
    pub(super) fn value(self, bits: u32) -> f64 {
        let sign = if bits & self.sign() == 0 { 1.0 } else { -1.0 };
        let size = bits & (self.sign() - 1);
        if size >= self.infinity() {
            return if size == self.infinity() { sign * f64::INFINITY } else { f64::NAN };
        }
        let biased = size >> self.fraction_bits;
        let fraction = size & ((1 << self.fraction_bits) - 1);
        let exponent = biased.max(1).cast_signed() - self.bias() - self.fraction_bits.cast_signed();
        let units = if biased == 0 { fraction } else { fraction | 1 << self.fraction_bits };
        sign * f64::from(units) * 2_f64.powi(exponent)
    }

    /// `a * b + c`, rounded once; none for NaN.
    ///
    /// Source: PTX ISA, sections 9.7.3.6 and 9.7.4.4, `fma`.
    pub(super) fn fma(self, [a, b, c]: [u32; 3], rounding: Rounding) -> Option<u32> {
        let [a, b, c] = [a, b, c].map(|it| self.value(it));
        // Of numbers of up to 32 bits it is exact.
        let product = a * b;
        let sum = odd_sum(product, c);
        let has_sign = product.is_sign_negative() || c.is_sign_negative();
        let is_negative_zero = sum == 0.0 && has_sign && rounding == Rounding::Down;
        self.of(if is_negative_zero { -0.0 } else { sum }, rounding)
    }
}

/// The sum of two numbers with an odd last bit if it is not exact, after which it can be rounded
/// again to fewer bits without a second error.
///
/// Source: Boldo and Melquiond, "Emulation of FMA and Correctly Rounded Sums: Proved Algorithms
/// Using Rounding to Odd", IEEE Transactions on Computers 57(4), 2008.
fn odd_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let of_b = sum - a;
    let rest = (a - (sum - of_b)) + (b - of_b);
    if !sum.is_finite() || rest == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    if rest > 0.0 { sum.next_up() } else { sum.next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_to_64_bits_and_back() {
        for format in [F16, BF16] {
            for bits in (0..=0xFFFF).filter(|bits| bits & 0x7FFF <= format.infinity()) {
                for rounding in [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up] {
                    assert_eq!(format.of(format.value(bits), rounding), Some(bits), "{bits:#x}");
                }
            }
        }
        for bits in (0..u32::MAX).step_by(65_537).filter(|it| !f32::from_bits(*it).is_nan()) {
            let value = f64::from(f32::from_bits(bits));
            assert_eq!(F32.of(value, Rounding::Nearest), Some(bits));
            assert_eq!(F32.value(bits).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn values_are_rounded_as_asked() {
        let of = |format: Format, value: f64| {
            [Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up]
                .map(|rounding| format.of(value, rounding).unwrap())
        };
        assert_eq!(of(F16, 65_519.0), [0x7BFF, 0x7BFF, 0x7BFF, 0x7C00]);
        assert_eq!(of(F16, 65_520.0), [0x7C00, 0x7BFF, 0x7BFF, 0x7C00]);
        assert_eq!(of(F16, -1e30), [0xFC00, 0xFBFF, 0xFC00, 0xFBFF]);
        assert_eq!(of(F16, 2_f64.powi(-25)), [0, 0, 0, 1]);
        assert_eq!(of(F16, -1.5 * 2_f64.powi(-25)), [0x8001, 0x8000, 0x8001, 0x8000]);
        assert_eq!(of(BF16, f64::from(f32::from_bits(0x3F80_8000)))[0], 0x3F80);
        assert_eq!(of(BF16, f64::from(f32::from_bits(0x3F81_8000)))[0], 0x3F82);
        assert_eq!(of(BF16, f32::MAX.into()), [0x7F80, 0x7F7F, 0x7F7F, 0x7F80]);
        assert_eq!(F16.of(f64::NAN, Rounding::Nearest), None);
    }

    /// A product of 48 bits and a sum of more than 53, both against the host's own instruction.
    #[test]
    fn sums_of_products_are_rounded_once() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        for _ in 0..100_000 {
            let words = [next(), next(), next()];
            let [a, b, c] = words.map(f32::from_bits);
            let want = a.mul_add(b, c);
            let want = (!want.is_nan()).then(|| want.to_bits());
            assert_eq!(F32.fma(words, Rounding::Nearest), want, "{a:e} * {b:e} + {c:e}");
        }
        let one = 0x3F80_0000;
        assert_eq!(F32.fma([one, one, one | 1 << 31], Rounding::Down), Some(1 << 31));
        assert_eq!(F32.fma([one, one, one | 1 << 31], Rounding::Up), Some(0));
    }
}
