//! Single instructions over fixed operands: their bits are recorded, and held against the host's.
#![expect(clippy::cast_possible_truncation, reason = "a conversion is what is looked at")]

use crate::{
    case::{Case, Seen},
    code::Code,
    driver::{Driver, Grid},
    error::{Outcome, Stop},
    gpu::{Gpu, bytes_of, must, words_of},
};

use super::{
    numbers::{BF16, COUNT, F16, Format, operands},
    ptx,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ex2.approx.f32",
        source: "PTX ISA, \"ex2\": maximum relative error 2^-22; table of special values",
        run: |driver, seen| run(driver, seen, &from_f32("ex2.approx.f32 %f7, %f0;", exp2)),
    },
    Case {
        name: "lg2.approx.f32",
        source: "PTX ISA, \"lg2\": maximum absolute error 2^-22 in (0.5, 2), elsewhere maximum \
                 relative error 2^-22; table of special values",
        run: |driver, seen| run(driver, seen, &from_f32("lg2.approx.f32 %f7, %f0;", log2)),
    },
    Case {
        name: "rcp.approx.f32",
        source: "PTX ISA, \"rcp\": maximum error 1 ulp; table of special values",
        run: |driver, seen| run(driver, seen, &from_f32("rcp.approx.f32 %f7, %f0;", reciprocal)),
    },
    Case {
        name: "rsqrt.approx.f32",
        source: "PTX ISA, \"rsqrt\": maximum error 2^-22.4 over 1.0 to 4.0, in later releases \
                 maximum relative error 2^-22.9; table of special values",
        run: |driver, seen| run(driver, seen, &from_f32("rsqrt.approx.f32 %f7, %f0;", rsqrt)),
    },
    Case {
        name: "fma.rn.f32",
        source: "PTX ISA, \"fma\": \"computes the product of a and b to infinite precision and \
                 then adds c … to infinite precision. The resulting value is then rounded\"",
        run: |driver, seen| {
            let body = "fma.rn.f32 %f7, %f0, %f1, %f2;";
            run(driver, seen, &Vector { num_operands: 3, ..from_f32(body, fma) })
        },
    },
    Case {
        name: "cvt.rn.f16.f32",
        source: "PTX ISA, \"cvt\": .rn, \"round to nearest even\"",
        run: |driver, seen| {
            let want = |it: &[u32]| number(F16.of_f32(f32::from_bits(it[0])), F16);
            run(
                driver,
                seen,
                &Vector { to: Kind::Half, ..from_f32("cvt.rn.f16.f32 %h7, %f0;", want) },
            )
        },
    },
    Case {
        name: "cvt.rn.bf16.f32",
        source: "PTX ISA, \"cvt\": .rn, \"round to nearest even\"",
        run: |driver, seen| {
            let want = |it: &[u32]| number(BF16.of_f32(f32::from_bits(it[0])), BF16);
            run(
                driver,
                seen,
                &Vector { to: Kind::Half, ..from_f32("cvt.rn.bf16.f32 %h7, %f0;", want) },
            )
        },
    },
    Case {
        name: "cvt.f32.f16",
        source: "PTX ISA, \"cvt\": to a larger format, exact",
        run: |driver, seen| {
            let want = |it: &[u32]| exact(F16.to_f32(it[0] & 0xFFFF));
            run(
                driver,
                seen,
                &Vector { from: Kind::Half, ..from_f32("cvt.f32.f16 %f7, %h0;", want) },
            )
        },
    },
    Case {
        name: "cvt.f32.bf16",
        source: "PTX ISA, \"cvt\": to a larger format, exact; from 9.0 on",
        run: |driver, seen| {
            let want = |it: &[u32]| exact(BF16.to_f32(it[0] & 0xFFFF));
            let half = from_f32("cvt.f32.bf16 %f7, %h0;", want);
            run(driver, seen, &Vector { from: Kind::Half, capability: 9, ..half })
        },
    },
    Case {
        name: "cvt.rzi.s32.f32",
        source: "PTX ISA, \"cvt\": .rzi, \"round to nearest integer in the direction of zero\"; \
                 results are clamped, and NaN becomes 0",
        run: |driver, seen| to_whole(driver, seen, "rzi", |it| f32::trunc(it) as i32),
    },
    Case {
        name: "cvt.rni.s32.f32",
        source: "PTX ISA, \"cvt\": .rni, \"round to nearest integer, choosing even integer if \
                 source is equidistant between two integers\"",
        run: |driver, seen| to_whole(driver, seen, "rni", |it| it.round_ties_even() as i32),
    },
    Case {
        name: "cvt.rmi.s32.f32",
        source: "PTX ISA, \"cvt\": .rmi, \"round to nearest integer in direction of negative \
                 infinity\"",
        run: |driver, seen| to_whole(driver, seen, "rmi", |it| it.floor() as i32),
    },
    Case {
        name: "cvt.rpi.s32.f32",
        source: "PTX ISA, \"cvt\": .rpi, \"round to nearest integer in direction of positive \
                 infinity\"",
        run: |driver, seen| to_whole(driver, seen, "rpi", |it| it.ceil() as i32),
    },
    Case {
        name: "cvt.rn.f32.s32",
        source: "PTX ISA, \"cvt\": .rn, \"round to nearest even\"",
        run: |driver, seen| {
            let want = |it: &[u32]| exact(it[0].cast_signed() as f32);
            run(
                driver,
                seen,
                &Vector { from: Kind::Word, ..from_f32("cvt.rn.f32.s32 %f7, %r3;", want) },
            )
        },
    },
];

/// What registers an instruction takes its operands from, and gives its result to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `%f0` to `%f2`, and `%f7`.
    Float,
    /// `%h0`, and `%h7`.
    Half,
    /// `%r3`, and `%r9`.
    Word,
}

/// What a result must be.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Bits(u32),
    Nan,
    NanOf16(u32),
    /// A value, and by how much it may be missed.
    Near(f64, f64),
}

/// An instruction, and what it must give.
struct Vector<W> {
    body: String,
    num_operands: usize,
    from: Kind,
    to: Kind,
    /// The first generation that has it.
    capability: i32,
    want: W,
}

fn from_f32<W: Fn(&[u32]) -> Wanted>(body: &str, want: W) -> Vector<W> {
    let (from, to) = (Kind::Float, Kind::Float);
    Vector { body: body.to_owned(), num_operands: 1, from, to, capability: 8, want }
}

fn to_whole(driver: &Driver, seen: &mut Seen, rounding: &str, by: fn(f32) -> i32) -> Outcome {
    let want = |it: &[u32]| Wanted::Bits(by(f32::from_bits(it[0])).cast_unsigned());
    let body = format!("cvt.{rounding}.s32.f32 %r9, %f0;");
    run(driver, seen, &Vector { to: Kind::Word, ..from_f32(&body, want) })
}

impl<W: Fn(&[u32]) -> Wanted> Vector<W> {
    /// The kernel: of each thread's operands, the result goes to the same place of `p0`.
    fn ptx(&self) -> String {
        let mut body = format!("{}add.s64 %d7, %p0, %d0;\n", ptx::THREAD);
        for index in 0..self.num_operands {
            let (param, word) = (index + 1, index + 3);
            let load = format!(
                "add.s64 %d{param}, %p{param}, %d0;\nld.global.u32 %r{word}, [%d{param}];\n"
            );
            body.push_str(&load);
            let place = match self.from {
                Kind::Float => format!("mov.b32 %f{index}, %r{word};\n"),
                Kind::Half => format!("cvt.u16.u32 %h{index}, %r{word};\n"),
                Kind::Word => String::new(),
            };
            body.push_str(&place);
        }
        body.push_str(&self.body);
        body.push_str(match self.to {
            Kind::Float => "\nmov.b32 %r9, %f7;\n",
            Kind::Half => "\ncvt.u32.u16 %r9, %h7;\n",
            Kind::Word => "\n",
        });
        body.push_str("st.global.u32 [%d7], %r9;\n");
        let text = ptx::kernel(self.num_operands + 1, &body);
        match self.capability {
            9 => text.replace("7.0", "7.8").replace("sm_80", "sm_90"),
            _ => text,
        }
    }
}

fn run<W: Fn(&[u32]) -> Wanted>(driver: &Driver, seen: &mut Seen, vector: &Vector<W>) -> Outcome {
    let gpu = Gpu::first(driver)?;
    if gpu.capability()?.0 < vector.capability {
        return Err(Stop::skipped(format!("needs a device of {}.0", vector.capability)));
    }
    let kernel = gpu.try_kernel(&vector.ptx(), "k").map_err(|code| match code {
        Code::INVALID_PTX => Stop::skipped(driver.words(code)),
        code => Stop::failed("the kernel to be loaded", driver.words(code)),
    })?;
    let columns: Vec<Vec<u32>> = (0..vector.num_operands).map(|it| operands(it as u64)).collect();
    let mut params = vec![gpu.alloc(COUNT * 4)?];
    for column in &columns {
        let address = gpu.alloc(COUNT * 4)?;
        gpu.upload(address, &bytes_of(column), 0)?;
        params.push(address);
    }
    let threads = 64;
    let grid = Grid::of(u32::try_from(COUNT).unwrap_or(0) / threads, threads);
    must("cuLaunchKernel", gpu.launch(kernel, grid, &params))?;
    let found = words_of(&gpu.download(params[0], COUNT * 4, 0)?);
    let rows = (0..COUNT).map(|row| columns.iter().map(|it| it[row]).collect::<Vec<_>>());
    let rows: Vec<Vec<u32>> = rows.collect();
    seen.note("operands", rows.iter().map(|it| hex(it)).collect::<Vec<_>>());
    seen.note("bits", found.iter().map(|it| hex(&[*it])).collect::<Vec<_>>());
    for (row, found) in rows.iter().zip(found) {
        let wanted = (vector.want)(row);
        if !wanted.is_met(found) {
            return Err(Stop::failed(format!("of {}: {wanted}", hex(row)), hex(&[found])));
        }
    }
    Ok(())
}

fn hex(words: &[u32]) -> String {
    let words: Vec<String> = words.iter().map(|it| format!("{it:08x}")).collect();
    words.join(" ")
}

impl Wanted {
    fn is_met(self, found: u32) -> bool {
        let value = f32::from_bits(found);
        match self {
            Self::Bits(bits) => bits == found,
            Self::Nan => value.is_nan(),
            Self::NanOf16(infinity) => found & 0x7FFF > infinity && found >> 16 == 0,
            Self::Near(want, by) => (f64::from(value) - want).abs() <= by,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bits(bits) => f.write_str(&hex(&[*bits])),
            Self::Nan | Self::NanOf16(_) => f.write_str("NaN"),
            Self::Near(want, by) => write!(f, "{want:e} to {by:e}"),
        }
    }
}

fn exact(value: f32) -> Wanted {
    if value.is_nan() { Wanted::Nan } else { Wanted::Bits(value.to_bits()) }
}

fn number(bits: Option<u32>, format: Format) -> Wanted {
    bits.map_or(Wanted::NanOf16(format.infinity()), Wanted::Bits)
}

fn fma(it: &[u32]) -> Wanted {
    let [a, b, c] = [it[0], it[1], it[2]].map(f32::from_bits);
    exact(a.mul_add(b, c))
}

/// A value that f32 may hold only as infinity, zero or NaN, or to within an error.
fn near(value: f64, error: f64) -> Wanted {
    let nearest = value as f32;
    let is_edge = nearest.is_nan() || nearest.is_infinite() || nearest == 0.0;
    // One step of the subnormal numbers is more than a relative error of them.
    if is_edge { exact(nearest) } else { Wanted::Near(value, error.max(2_f64.powi(-149))) }
}

fn of(it: &[u32]) -> f64 {
    f64::from(f32::from_bits(it[0]))
}

fn exp2(it: &[u32]) -> Wanted {
    let value = of(it).exp2();
    near(value, value * 2_f64.powi(-22))
}

fn log2(it: &[u32]) -> Wanted {
    let x = of(it);
    let value = x.log2();
    let scale = if 0.5 < x && x < 2.0 { 1.0 } else { value.abs() };
    // The logarithm of 1 is exactly 0, and may be missed by as much as those around it.
    if it[0] == 1_f32.to_bits() {
        Wanted::Near(0.0, 2_f64.powi(-22))
    } else {
        near(value, scale * 2_f64.powi(-22))
    }
}

fn reciprocal(it: &[u32]) -> Wanted {
    let value = 1.0 / of(it);
    let exponent = value.abs().log2().floor();
    near(value, (exponent - 23.0).exp2())
}

fn rsqrt(it: &[u32]) -> Wanted {
    let x = of(it);
    // The root of -0 is -0, and its reciprocal -infinity.
    let value = 1.0 / x.sqrt();
    near(value, value * 2_f64.powf(-22.4))
}
