//! Numbers of 16 bits by the host's own arithmetic, and operands for kernels.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are within the range of what they become"
)]

/// Edges of numbers of 32 bits: zeros, subnormals, ones, the largest, infinities, NaN, and what
/// lies around the limits of f16 and of whole numbers.
const EDGES: [u32; 40] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x8000_0001,
    0x007F_FFFF,
    0x0080_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x3F7F_FFFF,
    0x3F80_0001,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_0001,
    0x3F00_0000,
    0x3FC0_0000,
    0x4020_0000,
    0xBF00_0000,
    0xBFC0_0000,
    0x477F_E000,
    0x477F_EFFF,
    0x477F_F000,
    0x4780_0000,
    0x3880_0000,
    0x387F_C000,
    0x3380_0000,
    0x3300_0000,
    0x3300_0001,
    0x4EFF_FFFF,
    0x4F00_0000,
    0xCF00_0000,
    0xCF00_0001,
    0x4B00_0001,
    0x42FE_0000,
    0xC2FC_0000,
    0xC316_0000,
    0x7F7F_8000,
    0x3F80_8000,
];

/// How many operands a kernel gets.
pub(super) const COUNT: usize = 256;

/// The edges, and then a sequence that is the same each time.
pub(super) fn operands(seed: u64) -> Vec<u32> {
    let mut state = seed;
    let next = std::iter::repeat_with(move || {
        // Source: SplitMix64 of Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
        // Generators".
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 32) as u32
    });
    // The edges meet other ones in each operand of an instruction.
    let by = usize::try_from(seed % 40).unwrap_or(0) * 7 % EDGES.len();
    let edges = EDGES.iter().cycle().skip(by).take(EDGES.len()).copied();
    // Every second one is of an everyday size: exponents from -16 to 15.
    let everyday = |(index, word): (usize, u32)| match index % 2 {
        0 => word,
        _ => word & 0x807F_FFFF | ((word >> 23 & 31) + 111) << 23,
    };
    edges.chain(next.enumerate().map(everyday)).take(COUNT).collect()
}

/// A number of fewer bits: those of its fraction, and its bias.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) fraction_bits: u32,
    pub(super) exponent_bits: u32,
}

pub(super) const F16: Format = Format { fraction_bits: 10, exponent_bits: 5 };
pub(super) const BF16: Format = Format { fraction_bits: 7, exponent_bits: 8 };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    pub(super) fn infinity(self) -> u32 {
        ((1 << self.exponent_bits) - 1) << self.fraction_bits
    }

    /// The nearest number, ties to even; none for NaN.
    pub(super) fn of_f32(self, value: f32) -> Option<u32> {
        if value.is_nan() {
            return None;
        }
        let sign = value.to_bits() >> 31 << 15;
        let size = f64::from(value.abs());
        if size == 0.0 || value.is_infinite() {
            return Some(sign | if size == 0.0 { 0 } else { self.infinity() });
        }
        // In units of the last place at this size, which f64 holds exactly.
        let exponent = (size.log2().floor() as i32).max(1 - self.bias());
        let exponent = if size < 2_f64.powi(exponent) { exponent - 1 } else { exponent };
        let exponent = exponent.max(1 - self.bias());
        let unit = 2_f64.powi(exponent - self.fraction_bits.cast_signed());
        let units = (size / unit).round_ties_even() as u32;
        // A carry goes into the exponent by itself.
        let biased = (exponent + self.bias() - 1).cast_unsigned();
        let bits = (biased << self.fraction_bits) + units;
        Some(sign | bits.min(self.infinity()))
    }

    /// The value; NaN for each NaN.
    pub(super) fn to_f32(self, bits: u32) -> f32 {
        let sign = if bits >> 15 & 1 == 1 { -1.0 } else { 1.0 };
        let fraction = bits & ((1 << self.fraction_bits) - 1);
        let biased = (bits & 0x7FFF) >> self.fraction_bits;
        if bits & 0x7FFF >= self.infinity() {
            return if fraction == 0 { sign * f32::INFINITY } else { f32::NAN };
        }
        let exponent = biased.max(1).cast_signed() - self.bias() - self.fraction_bits.cast_signed();
        let units = if biased == 0 { fraction } else { fraction | 1 << self.fraction_bits };
        (f64::from(sign) * f64::from(units) * 2_f64.powi(exponent)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_16_bits_go_to_f32_and_back() {
        for format in [F16, BF16] {
            for bits in (0..=0xFFFF).filter(|bits| bits & 0x7FFF <= format.infinity()) {
                assert_eq!(format.of_f32(format.to_f32(bits)), Some(bits), "{bits:#x}");
            }
        }
    }

    #[test]
    fn halves_are_rounded_to_even() {
        assert_eq!(F16.of_f32(65_504.0), Some(0x7BFF));
        assert_eq!(F16.of_f32(65_519.996), Some(0x7BFF));
        assert_eq!(F16.of_f32(65_520.0), Some(0x7C00));
        assert_eq!(F16.of_f32(2_f32.powi(-25)), Some(0));
        assert_eq!(F16.of_f32(-1.5 * 2_f32.powi(-25)), Some(0x8001));
        assert_eq!(BF16.of_f32(f32::from_bits(0x3F80_8000)), Some(0x3F80));
        assert_eq!(BF16.of_f32(f32::from_bits(0x3F81_8000)), Some(0x3F82));
        assert_eq!(BF16.of_f32(f32::MAX), Some(0x7F80));
    }
}
