//! Instructions in all lanes of a warp at once, in the width that they have.

use crate::{
    lanes::{Mask, WARP},
    registers::{Registers, Width, put},
};

/// The rows of what an instruction writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) dst: u32,
    pub(crate) from: [u32; 3],
}

/// Executes an instruction.
pub(crate) type Run = fn(&mut Registers, Rows, Mask);

/// What a register holds.
pub(crate) trait Word: Copy {
    type Row: Copy;
    const WIDTH: Width;
    fn of(row: Self::Row) -> Self;
    fn row(self) -> Self::Row;
    fn rows(registers: &Registers) -> &[[Self::Row; WARP]];
    fn rows_mut(registers: &mut Registers) -> &mut [[Self::Row; WARP]];
}

macro_rules! words {
    ($($ty:ty, $row:ty, $file:ident, $width:ident, $of:expr, $to:expr;)*) => {$(
        impl Word for $ty {
            type Row = $row;
            const WIDTH: Width = Width::$width;
            #[inline(always)]
            fn of(row: $row) -> Self {
                $of(row)
            }
            #[inline(always)]
            fn row(self) -> $row {
                $to(self)
            }
            #[inline(always)]
            fn rows(registers: &Registers) -> &[[$row; WARP]] {
                &registers.$file
            }
            #[inline(always)]
            fn rows_mut(registers: &mut Registers) -> &mut [[$row; WARP]] {
                &mut registers.$file
            }
        }
    )*};
}

words! {
    u16, u32, narrow, Half, |it| it as Self, u32::from;
    i16, u32, narrow, Half, |it: u32| it as u16 as Self, |it: Self| u32::from(it.cast_unsigned());
    u32, u32, narrow, Word, |it| it, |it| it;
    i32, u32, narrow, Word, u32::cast_signed, Self::cast_unsigned;
    f32, u32, narrow, Word, f32::from_bits, f32::to_bits;
    u64, u64, wide, Double, |it| it, |it| it;
    i64, u64, wide, Double, u64::cast_signed, Self::cast_unsigned;
    f64, u64, wide, Double, f64::from_bits, f64::to_bits;
}

/// Computes from one operand.
#[inline(always)]
pub(crate) fn one<A: Word, R: Word>(
    registers: &mut Registers,
    rows: Rows,
    active: Mask,
    f: impl Fn(A) -> R,
) {
    let a = &A::rows(registers)[rows.from[0] as usize];
    let result = std::array::from_fn(|lane| f(A::of(a[lane])).row());
    put(&mut R::rows_mut(registers)[rows.dst as usize], &result, active);
}

/// Computes from two operands.
#[inline(always)]
pub(crate) fn two<A: Word, B: Word, R: Word>(
    registers: &mut Registers,
    rows: Rows,
    active: Mask,
    f: impl Fn(A, B) -> R,
) {
    let a = &A::rows(registers)[rows.from[0] as usize];
    let b = &B::rows(registers)[rows.from[1] as usize];
    let result = std::array::from_fn(|lane| f(A::of(a[lane]), B::of(b[lane])).row());
    put(&mut R::rows_mut(registers)[rows.dst as usize], &result, active);
}

/// Computes from three operands, the first two of one type.
#[inline(always)]
pub(crate) fn three<A: Word, C: Word, R: Word>(
    registers: &mut Registers,
    rows: Rows,
    active: Mask,
    f: impl Fn(A, A, C) -> R,
) {
    let a = &A::rows(registers)[rows.from[0] as usize];
    let b = &A::rows(registers)[rows.from[1] as usize];
    let c = &C::rows(registers)[rows.from[2] as usize];
    let result =
        std::array::from_fn(|lane| f(A::of(a[lane]), A::of(b[lane]), C::of(c[lane])).row());
    put(&mut R::rows_mut(registers)[rows.dst as usize], &result, active);
}

/// Finds the lanes in which something is so.
#[inline(always)]
pub(crate) fn test<A: Word>(
    registers: &mut Registers,
    rows: Rows,
    active: Mask,
    f: impl Fn(A, A) -> bool,
) {
    let a = &A::rows(registers)[rows.from[0] as usize];
    let b = &A::rows(registers)[rows.from[1] as usize];
    let is_so =
        (0..WARP).fold(0, |mask, lane| mask | u32::from(f(A::of(a[lane]), A::of(b[lane]))) << lane);
    registers.fill_predicate(rows.dst, is_so, active);
}

/// Takes the first operand where the third, a predicate, is so, and the second elsewhere.
#[inline(always)]
pub(crate) fn select<A: Word>(registers: &mut Registers, rows: Rows, active: Mask) {
    let is_so = registers.predicates[rows.from[2] as usize];
    let a = &A::rows(registers)[rows.from[0] as usize];
    let b = &A::rows(registers)[rows.from[1] as usize];
    let result = std::array::from_fn(|lane| if is_so >> lane & 1 == 1 { a[lane] } else { b[lane] });
    put(&mut A::rows_mut(registers)[rows.dst as usize], &result, active);
}
