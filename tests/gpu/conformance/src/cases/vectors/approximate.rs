//! Instructions that approximate: within the documented error, the bits for the record.

use super::{
    numbers::F32,
    vectors,
    wanted::{Wanted, exact, flushed, near, ulp},
};

vectors! {
    "ex2.approx.f32",
        "PTX ISA 9.7.3.21, \"ex2\": \"The maximum ulp error is 2 ulp from correctly rounded \
         result across the full range of inputs.\"; table of corner cases",
        Float * 1 => Float, |it| exp2(of(it[0]));
    "ex2.approx.ftz.f32",
        "PTX ISA 9.7.3.21, \"ex2\": \"ex2.ftz.f32 flushes subnormal inputs and results to \
         sign-preserving zero.\"",
        Float * 1 => Float, |it| flushed(exp2(flush(it[0])));
    "lg2.approx.f32",
        "PTX ISA 9.7.3.20, \"lg2\": \"The maximum absolute error is 2^-22 when the input operand \
         is in the range (0.5, 2). For positive finite inputs outside of this interval, maximum \
         relative error is 2^-22.\"; table of corner cases",
        Float * 1 => Float, |it| log2(of(it[0]));
    "lg2.approx.ftz.f32",
        "PTX ISA 9.7.3.20, \"lg2\": \"lg2.ftz.f32 flushes subnormal inputs and results to \
         sign-preserving zero.\"",
        Float * 1 => Float, |it| flushed(log2(flush(it[0])));
    "rcp.approx.f32",
        "PTX ISA 9.7.3.13, \"rcp\": \"The maximum ulp error is 1 across the full range of \
         inputs.\"; table of corner cases",
        Float * 1 => Float, |it| within_ulps(1.0 / of(it[0]), 1.0);
    "rcp.approx.ftz.f32",
        "PTX ISA 9.7.3.13, \"rcp\": \"rcp.ftz.f32 flushes subnormal inputs and results to \
         sign-preserving zero.\"",
        Float * 1 => Float, |it| flushed(within_ulps(1.0 / flush(it[0]), 1.0));
    "rsqrt.approx.f32",
        "PTX ISA 9.7.3.16, \"rsqrt\": \"The maximum relative error for rsqrt.f32 over the entire \
         positive finite floating-point range is 2^-22.9.\"; table of corner cases",
        Float * 1 => Float, |it| relative(1.0 / of(it[0]).sqrt(), -22.9);
    "rsqrt.approx.ftz.f32",
        "PTX ISA 9.7.3.16, \"rsqrt\": \"rsqrt.ftz.f32 flushes subnormal inputs and results to \
         sign-preserving zero.\"",
        Float * 1 => Float, |it| flushed(relative(1.0 / flush(it[0]).sqrt(), -22.9));
    "sqrt.approx.f32",
        "PTX ISA 9.7.3.15, \"sqrt\": \"The maximum relative error over the entire positive \
         finite floating-point range is 2^-23.\"; table of corner cases",
        Float * 1 => Float, |it| relative(of(it[0]).sqrt(), -23.0);
    "sqrt.approx.ftz.f32",
        "PTX ISA 9.7.3.15, \"sqrt\": \"sqrt.ftz.f32 flushes subnormal inputs and results to \
         sign-preserving zero.\"",
        Float * 1 => Float, |it| flushed(relative(flush(it[0]).sqrt(), -23.0));
    "sin.approx.f32",
        "PTX ISA 9.7.3.18, \"sin\": maximum absolute error 2^-20.5 in [-2pi, 2pi] and 2^-14.7 in \
         [-100pi, 100pi]; \"Outside of the range … only best effort is provided.\"",
        Float * 1 => Float, |it| angle(of(it[0]), f64::sin);
    "cos.approx.f32",
        "PTX ISA 9.7.3.19, \"cos\": maximum absolute error 2^-20.5 in [-2pi, 2pi] and 2^-14.7 in \
         [-100pi, 100pi]; \"Outside of the range … only best effort is provided.\"",
        Float * 1 => Float, |it| angle(of(it[0]), f64::cos);
    "tanh.approx.f32",
        "PTX ISA 9.7.3.22, \"tanh\": \"The maximum relative error over the entire floating point \
         range is 2^-11. The subnormal numbers are supported.\"; table of corner cases",
        Float * 1 => Float, |it| tanh(of(it[0]));
    "div.approx.f32",
        "PTX ISA 9.7.3.8, \"div\": \"For |b| in [2^-126, 2^126], the maximum ulp error is 2. For \
         2^126 < |b| < 2^128, if a is infinity, div.approx.f32 returns NaN, otherwise it returns \
         a sign-preserving zero.\"",
        Float * 2 => Float, |it| quotient(of(it[0]), of(it[1]));
    "div.full.f32",
        "PTX ISA 9.7.3.8, \"div\": \"The maximum ulp error is 2 across the full range of \
         inputs.\"",
        Float * 2 => Float, |it| within_ulps(of(it[0]) / of(it[1]), 2.0);
}

fn of(bits: u32) -> f64 {
    f32::from_bits(bits).into()
}

/// An operand that is zero, with its sign, if it is not normal.
fn flush(bits: u32) -> f64 {
    let value = of(bits);
    if value.abs() < f32::MIN_POSITIVE.into() { 0.0_f64.copysign(value) } else { value }
}

fn within_ulps(value: f64, count: f64) -> Wanted {
    near(value, count * ulp(value))
}

fn relative(value: f64, log2_of_error: f64) -> Wanted {
    near(value, value.abs() * log2_of_error.exp2())
}

fn exp2(x: f64) -> Wanted {
    if x == 0.0 {
        return exact(1.0);
    }
    let value = x.exp2();
    // The result that is rounded correctly is half a unit away at most.
    within_ulps(value, 2.5)
}

fn log2(x: f64) -> Wanted {
    let (value, error) = (x.log2(), -22_f64);
    match x {
        // Exactly zero, which may be missed by as much as what lies around it.
        1.0 => Wanted::about_zero(error.exp2()),
        _ if 0.5 < x && x < 2.0 => near(value, error.exp2()),
        _ => relative(value, error),
    }
}

fn angle(x: f64, f: fn(f64) -> f64) -> Wanted {
    use std::f64::consts::PI;

    match x.abs() {
        // Both are exact at zero, by the tables of corner cases.
        0.0 => near(f(x), 0.0),
        size if size <= 2.0 * PI => near(f(x), (-20.5_f64).exp2()),
        size if size <= 100.0 * PI => near(f(x), (-14.7_f64).exp2()),
        size if size.is_finite() => Wanted::Any,
        _ => Wanted::Nan(F32),
    }
}

fn tanh(x: f64) -> Wanted {
    if x.is_infinite() { near(x.tanh(), 0.0) } else { relative(x.tanh(), -11.0) }
}

fn quotient(a: f64, b: f64) -> Wanted {
    let size = b.abs();
    let (least, large) = ((-126_f64).exp2(), 126_f64.exp2());
    if (least..=large).contains(&size) {
        return within_ulps(a / b, 2.0);
    }
    match size {
        _ if a.is_nan() || b.is_nan() => Wanted::Nan(F32),
        // Of smaller ones, and of infinity, it does not say.
        _ if size < least || size.is_infinite() => Wanted::Any,
        _ if a.is_infinite() => Wanted::Nan(F32),
        _ => near(0_f64.copysign(a.signum() * b.signum()), 0.0),
    }
}
