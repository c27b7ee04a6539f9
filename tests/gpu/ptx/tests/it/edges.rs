//! Single results at the edges of what numbers can be.

use crate::support::{Arg, Device, kernel, run};

/// Runs a body that leaves its result in `%rd10`.
#[track_caller]
fn check(body: &str, want: u64) {
    let mut device = Device::default();
    let out = device.place(&[0_u64]);
    let body = format!("{body}\nst.global.u64 [%rd0], %rd10;");
    run(&kernel(1, &body), "test", (1, 1), &[Arg::U64(out)], &mut device).unwrap();
    let found = device.values::<u64>(out, 1)[0];
    assert_eq!(found, want, "{body}: found {found:#x}, wanted {want:#x}");
}

/// The result of an instruction of so many bits, of constants.
#[track_caller]
fn check_op(name: &str, bits: u32, operands: &str, want: u64) {
    let register = if bits == 16 { "%rs1" } else { "%r1" };
    check(
        &match bits {
            64 => format!("{name} %rd10, {operands};"),
            _ => format!("{name} {register}, {operands};\ncvt.u64.u{bits} %rd10, {register};"),
        },
        want,
    );
}

#[test]
fn small_numbers_are_flushed_by_their_type() {
    // 1 / 2, whose lower 32 bits alone would be those of a subnormal number or of zero.
    check_op("rcp.approx.ftz.f64", 64, "0d4000000000000000", 0x3fe0_0000_0000_0000);
    check_op("neg.ftz.f64", 64, "0d3ff0000000000001", 0xbff0_0000_0000_0001);
    check_op("neg.ftz.f64", 64, "0d0000000000000001", 1 << 63);
    check_op("neg.ftz.f16", 16, "0x3ff", 0x8000);
    check_op("neg.ftz.bf16", 16, "0x80", 0x8080);
    check_op("neg.ftz.f32", 32, "0f00400000", 0x8000_0000);
}

#[test]
fn approximate_quotients_by_large_numbers_are_zero() {
    // Two to the power of 127, by itself and by what is just above 2^126, and then by 2^126.
    check_op("div.approx.f32", 32, "0f7f000000, 0f7f000000", 0);
    check_op("div.approx.f32", 32, "0fff000000, 0f7e800001", 1 << 31);
    check_op("div.approx.f32", 32, "0f7f000000, 0f7e800000", 0x4000_0000);
    check_op("div.approx.f32", 32, "0f7f800000, 0f7f000000", 0x7fff_ffff);
    check_op("div.full.f32", 32, "0f7f000000, 0f7f000000", 0x3f80_0000);
}

#[test]
fn what_is_no_number_is_kept_where_it_is_asked_for() {
    for (plain, keeps) in [("max.f32", "max.NaN.f32"), ("min.f32", "min.NaN.f32")] {
        for operands in ["0f3f800000, 0f7fc00000", "0fffc00001, 0f3f800000"] {
            check_op(plain, 32, operands, 0x3f80_0000);
            check_op(keeps, 32, operands, 0x7fff_ffff);
        }
    }
    check_op("max.NaN.f16", 16, "0x7e00, 0x3c00", 0x7fff);
    check_op("min.NaN.bf16", 16, "0x3f80, 0x4000", 0x3f80);
    check_op("max.NaN.bf16", 16, "0x3f80, 0x4000", 0x4000);
}

#[test]
fn what_is_no_number_becomes_a_whole_number_as_on_hardware() {
    check_op("cvt.rzi.s32.f32", 32, "0f7fc00000", 0);
    check_op("cvt.rzi.s32.f64", 32, "0d7ff8000000000000", 1 << 31);
    check_op("cvt.rzi.u32.f64", 32, "0d7ff8000000000000", 1 << 31);
    check_op("cvt.rzi.s64.f32", 64, "0f7fc00000", 1 << 63);
    check_op("cvt.rzi.u64.f64", 64, "0d7ff8000000000000", 1 << 63);
}

#[test]
fn results_and_operands_have_the_bits_of_their_type() {
    let wide = "mov.u64 %rd1, 0x1ffffffff;\n";
    for (op, want) in [
        ("cvt.u64.u32 %rd10, %rd1;", 0xffff_ffff),
        ("cvt.rn.f64.u32 %rd10, %rd1;", f64::from(u32::MAX).to_bits()),
        ("clz.b32 %r1, %rd1;\ncvt.u64.u32 %rd10, %r1;", 0),
        ("popc.b32 %r1, %rd1;\ncvt.u64.u32 %rd10, %r1;", 32),
        ("brev.b32 %r1, %rd1;\ncvt.u64.u32 %rd10, %r1;", 0xffff_ffff),
        ("set.eq.u32.u64 %rs1, %rd1, %rd1;\nmov.b64 %rd10, {%rs1, 0, 0, 0};", 0xffff),
        ("mov.u64 %r1, %rd1;\nadd.u64 %rd10, %r1, 0;", 0xffff_ffff),
    ] {
        check(&(wide.to_owned() + op), want);
    }
}

#[test]
fn rounding_towards_a_side_keeps_signs_and_bounds() {
    check_op("add.rm.f32", 32, "0f40000000, 0fc0000000", 1 << 31);
    check_op("sub.rm.f64", 64, "0d4000000000000000, 0d4000000000000000", 1 << 63);
    check_op("add.rm.f32", 32, "0f00000000, 0f00000000", 0);
    check_op("add.rn.f64", 64, "0d4000000000000000, 0dc000000000000000", 0);
    check_op("fma.rm.f32", 32, "0f40000000, 0f3f800000, 0fc0000000", 1 << 31);
    let most = f64::MAX.to_bits();
    check_op("add.rz.f32", 32, "0f7f7fffff, 0f7f7fffff", f32::MAX.to_bits().into());
    check_op("add.rz.f64", 64, "0d7fefffffffffffff, 0d7fefffffffffffff", most);
    check_op("mul.rm.f64", 64, "0d7fefffffffffffff, 0d7fefffffffffffff", most);
    check_op("mul.rp.f64", 64, "0d7fefffffffffffff, 0dffefffffffffffff", most | 1 << 63);
    check_op("add.rp.f64", 64, "0d7fefffffffffffff, 0d7fefffffffffffff", 0x7ff << 52);
    check_op("div.rz.f64", 64, "0d3ff0000000000000, 0d0000000000000000", 0x7ff << 52);
}
