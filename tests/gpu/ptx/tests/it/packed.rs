//! Instructions on words that hold several numbers, against the host's arithmetic.

use half::{bf16, f16};

use crate::operations::{check, operands, results};

/// The bytes of a word as numbers, with or without a sign.
fn numbers(word: u64, is_signed: bool) -> [i64; 4] {
    (word as u32).to_le_bytes().map(|it| if is_signed { (it as i8).into() } else { it.into() })
}

#[test]
fn bytes_are_multiplied_and_added_up() {
    for (name, [of_a, of_b]) in [
        ("dp4a.s32.s32", [true, true]),
        ("dp4a.s32.u32", [true, false]),
        ("dp4a.u32.s32", [false, true]),
        ("dp4a.u32.u32", [false, false]),
    ] {
        check(name, "u32", 3, |[a, b, c]| {
            let products = numbers(a, of_a).into_iter().zip(numbers(b, of_b));
            let sum: i64 = products.map(|(a, b)| a * b).sum();
            // Modulo 2 to the power of 32 it is the same of numbers with a sign.
            c.wrapping_add(sum as u64)
        });
    }
}

#[test]
fn bytes_are_put_in_another_order() {
    check("prmt.b32", "b32", 3, |[a, b, c]| {
        let bytes = [(a as u32).to_le_bytes(), (b as u32).to_le_bytes()].concat();
        let chosen = [0, 4, 8, 12].map(|shift| {
            let selector = c >> shift & 15;
            let byte = bytes[(selector & 7) as usize];
            match (selector & 8 != 0, byte & 0x80 != 0) {
                (false, _) => byte,
                (true, false) => 0,
                (true, true) => 0xff,
            }
        });
        u32::from_le_bytes(chosen).into()
    });
}

/// Checks an instruction on two floats at once; those that are no numbers are all alike.
#[track_caller]
fn check_pairs(name: &str, num_operands: usize, want: impl Fn([u16; 3]) -> u16) {
    let is_bf16 = name.contains("bf16");
    let is_nan = |bits: u16| {
        if is_bf16 { bf16::from_bits(bits).is_nan() } else { f16::from_bits(bits).is_nan() }
    };
    let operands = operands();
    let found = results(name, (32, 32), num_operands, &operands);
    for (found, operands) in found.into_iter().zip(operands) {
        for shift in [0, 16] {
            let found = (found >> shift) as u16;
            let want = want(operands.map(|it| (it >> shift) as u16));
            let is_same = found == want || is_nan(found) && is_nan(want);
            assert!(is_same, "{name} {operands:x?}: found {found:x}, wanted {want:x}");
        }
    }
}

#[test]
fn pairs_of_floats_are_computed() {
    let half = |it: u16| f16::from_bits(it).to_f64();
    let brain = |it: u16| bf16::from_bits(it).to_f64();
    // Sums and products of two are exact in 64 bits, or one of them is too small to matter but for
    // a tie.
    check_pairs("add.f16x2", 2, |[a, b, _]| f16::from_f64(half(a) + half(b)).to_bits());
    check_pairs("sub.rn.f16x2", 2, |[a, b, _]| f16::from_f64(half(a) - half(b)).to_bits());
    check_pairs("mul.f16x2", 2, |[a, b, _]| f16::from_f64(half(a) * half(b)).to_bits());
    check_pairs("mul.bf16x2", 2, |[a, b, _]| bf16::from_f64(brain(a) * brain(b)).to_bits());
    check_pairs("neg.bf16x2", 1, |[a, ..]| a ^ 0x8000);
    check_pairs("abs.f16x2", 1, |[a, ..]| a & 0x7fff);
    check_pairs("fma.rn.f16x2", 3, |[a, b, c]| {
        f16::from_f64(half(a).mul_add(half(b), half(c))).to_bits()
    });
    check_pairs("max.bf16x2", 2, |[a, b, _]| match (brain(a).is_nan(), brain(b).is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if brain(a).total_cmp(&brain(b)).is_ge() => a,
        _ => b,
    });
}

#[test]
fn one_times_and_plus_nothing_is_the_same_pair() {
    // As candle adds and multiplies two numbers of 16 bits: by a product and a sum in one.
    let operands: Vec<[u64; 3]> = operands()
        .into_iter()
        .map(|[a, b, _]| [a, 0x3f80_3f80, b & 0x8000_8000 | 0x8000_8000])
        .collect();
    let found = results("fma.rn.bf16x2", (32, 32), 3, &operands);
    for (found, [a, ..]) in found.into_iter().zip(operands) {
        for shift in [0, 16] {
            let [found, want] = [found, a].map(|it| bf16::from_bits((it >> shift) as u16));
            assert!(found.to_bits() == want.to_bits() || found.is_nan() && want.is_nan());
        }
    }
}

#[test]
fn sums_and_products_carry_on_to_the_next_register() {
    let with = |first: &str, then: &str| format!("{first}.u32 %r20, %r1, %r2;\n{then}.u32");
    let word = |it: u64| u128::from(it as u32);
    let carry = |a: u64, b: u64| u128::from(word(a) + word(b) > u128::from(u32::MAX));
    let borrow = |a: u64, b: u64| u128::from(word(a) < word(b));
    check(&with("add.cc", "addc"), "u32", 2, |[a, b, _]| (word(a) + word(b) + carry(a, b)) as u64);
    check(&with("sub.cc", "subc"), "u32", 2, |[a, b, _]| {
        word(a).wrapping_sub(word(b)).wrapping_sub(borrow(a, b)) as u64
    });
    check(&with("add.cc", "madc.lo"), "u32", 3, |[a, b, c]| {
        (word(a) * word(b) + word(c) + carry(a, b)) as u64
    });
    check(&with("sub.cc", "madc.hi"), "u32", 3, |[a, b, c]| {
        (((word(a) * word(b)) >> 32) + word(c) + borrow(a, b)) as u64
    });
}
