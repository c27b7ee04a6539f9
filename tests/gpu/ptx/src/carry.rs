//! Numbers in several registers: sums and differences that carry from one to the next.

use crate::{
    arith::product,
    inst::Part,
    types::{Type, truncate},
};

/// What is computed, before anything is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    Add,
    Sub,
    /// A part of the product of the first two is added to the third.
    Mad(Part),
}

impl Carried {
    pub(crate) fn num_operands(self) -> usize {
        if matches!(self, Self::Mad(_)) { 3 } else { 2 }
    }

    /// Computes a result, and whether something is carried on from it; of a difference, whether
    /// something is borrowed.
    ///
    /// Source: PTX ISA 9.0, section 9.7.2, extended precision integer arithmetic.
    pub(crate) fn of(self, ty: Type, [a, b, c]: [u64; 3], carry: bool) -> (u64, bool) {
        let bits = ty.bits();
        let (left, right) = match self {
            Self::Add | Self::Sub => (a, b),
            Self::Mad(part) => (product(a, b, ty, part), c),
        };
        let (left, right) = (u128::from(left), u128::from(right) + u128::from(carry));
        if self == Self::Sub {
            return (truncate(left.wrapping_sub(right) as u64, bits), left < right);
        }
        let sum = left + right;
        (truncate(sum as u64, bits), sum >> bits != 0)
    }
}
