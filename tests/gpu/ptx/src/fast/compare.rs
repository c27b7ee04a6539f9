//! Comparisons.

#![expect(clippy::float_cmp, reason = "instructions compare exactly")]

use super::Shape;
use crate::{
    inst::{Comparison, Test},
    types::Type,
};

/// Comparisons of two values of a type, each by its own function.
macro_rules! comparisons {
    ($is:expr, $ty:ty, $or:expr) => {{
        macro_rules! test {
            ($f:expr) => {
                Shape::test::<$ty>(|registers, rows, active| {
                    crate::vector::test::<$ty>(registers, rows, active, $f);
                })
            };
        }
        match $is {
            Comparison::Eq => test!(|a, b| a == b || $or(a, b)),
            Comparison::Ne => test!(|a, b| a != b && !$or(a, b)),
            Comparison::Lt => test!(|a, b| a < b || $or(a, b)),
            Comparison::Le => test!(|a, b| a <= b || $or(a, b)),
            Comparison::Gt => test!(|a, b| a > b || $or(a, b)),
            Comparison::Ge => test!(|a, b| a >= b || $or(a, b)),
        }
    }};
}

pub(super) fn compare(test: Test) -> Option<Shape> {
    let Test { is, if_unordered, ty } = test;
    match (ty, if_unordered) {
        (Type::F32, false) if is == Comparison::Ne => {
            comparisons!(is, f32, |a: f32, b: f32| a.is_nan() || b.is_nan())
        }
        (Type::F64, false) if is == Comparison::Ne => {
            comparisons!(is, f64, |a: f64, b: f64| a.is_nan() || b.is_nan())
        }
        (Type::F32, true) if is != Comparison::Ne => {
            comparisons!(is, f32, |a: f32, b: f32| a.is_nan() || b.is_nan())
        }
        (Type::F64, true) if is != Comparison::Ne => {
            comparisons!(is, f64, |a: f64, b: f64| a.is_nan() || b.is_nan())
        }
        (Type::F32, _) => comparisons!(is, f32, |_, _| false),
        (Type::F64, _) => comparisons!(is, f64, |_, _| false),
        (Type::S16, _) => comparisons!(is, i16, |_, _| false),
        (Type::U16 | Type::B16, _) => comparisons!(is, u16, |_, _| false),
        (Type::S32, _) => comparisons!(is, i32, |_, _| false),
        (Type::U32 | Type::B32, _) => comparisons!(is, u32, |_, _| false),
        (Type::S64, _) => comparisons!(is, i64, |_, _| false),
        (Type::U64 | Type::B64, _) => comparisons!(is, u64, |_, _| false),
        _ => None,
    }
}
