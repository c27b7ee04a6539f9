//! Single instructions over fixed operands: their bits are recorded, and held against the host's.
//!
//! Section numbers of the PTX ISA are those of release 9.2.

mod approximate;
mod conversions;
mod floats;
mod numbers;
mod operands;
mod packed;
mod wanted;

use crate::{
    case::{Case, Seen},
    code::Code,
    driver::{Driver, Grid},
    error::{Outcome, Stop},
    gpu::{Gpu, bytes_of, must, words_of},
};

use super::ptx;
use operands::COUNT;
use wanted::Wanted;

pub(super) const GROUPS: [&[Case]; 4] =
    [approximate::CASES, floats::CASES, conversions::CASES, packed::CASES];

/// What kind of numbers an instruction takes or gives, and so in which registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    F16,
    Bf16,
    /// Whole numbers.
    Word,
    /// Two numbers in a word.
    F16x2,
    Bf16x2,
}

/// An instruction, and what it must give.
struct Vector {
    instruction: &'static str,
    num_operands: usize,
    from: Kind,
    to: Kind,
    want: fn(&[u32]) -> Wanted,
}

/// Makes cases of instructions: name, source, operands and result, and what it must be.
macro_rules! vectors {
    (
        $($name:literal, $source:literal, $from:ident * $count:literal => $to:ident, $want:expr;)*
    ) => {
        pub(super) const CASES: &[crate::case::Case] = &[$(crate::case::Case {
            name: $name,
            source: $source,
            run: |driver, seen| {
                let vector = super::Vector {
                    instruction: $name,
                    num_operands: $count,
                    from: super::Kind::$from,
                    to: super::Kind::$to,
                    want: $want,
                };
                vector.run(driver, seen)
            },
        },)*];
    };
}
use vectors;

impl Kind {
    fn operands(self, seed: u64) -> Vec<u32> {
        match self {
            Self::Float => operands::floats(seed),
            Self::Word => operands::words(seed),
            Self::F16 | Self::F16x2 => operands::halves(seed, numbers::F16),
            Self::Bf16 | Self::Bf16x2 => operands::halves(seed, numbers::BF16),
        }
    }

    /// The register of an operand.
    fn register(self, index: usize) -> String {
        match self {
            Self::Float => format!("%f{index}"),
            Self::F16 | Self::Bf16 => format!("%h{index}"),
            Self::Word | Self::F16x2 | Self::Bf16x2 => format!("%r{}", index + 3),
        }
    }
}

impl Vector {
    /// The kernel: of each thread's operands, the result goes to the same place of `p0`.
    fn ptx(&self) -> String {
        let mut body = format!("{}add.s64 %d7, %p0, %d0;\n", ptx::THREAD);
        let mut registers = Vec::new();
        for index in 0..self.num_operands {
            let (param, word) = (index + 1, index + 3);
            let register = self.from.register(index);
            let place = match self.from {
                Kind::Float => format!("mov.b32 {register}, %r{word};\n"),
                Kind::F16 | Kind::Bf16 => format!("cvt.u16.u32 {register}, %r{word};\n"),
                Kind::Word | Kind::F16x2 | Kind::Bf16x2 => String::new(),
            };
            let load = format!(
                "add.s64 %d{param}, %p{param}, %d0;\nld.global.u32 %r{word}, [%d{param}];\n{place}"
            );
            body.push_str(&load);
            registers.push(register);
        }
        let (target, end) = match self.to {
            Kind::Float => ("%f7", "mov.b32 %r9, %f7;\n"),
            Kind::F16 | Kind::Bf16 => ("%h7", "cvt.u32.u16 %r9, %h7;\n"),
            Kind::Word | Kind::F16x2 | Kind::Bf16x2 => ("%r9", ""),
        };
        let line = format!("{} {target}, {};\n{end}", self.instruction, registers.join(", "));
        body.push_str(&line);
        body.push_str("st.global.u32 [%d7], %r9;\n");
        // The first release with all of these instructions.
        ptx::kernel(self.num_operands + 1, &body).replace(".version 7.0", ".version 7.1")
    }

    fn run(&self, driver: &Driver, seen: &mut Seen) -> Outcome {
        let gpu = Gpu::first(driver)?;
        let kernel = gpu.try_kernel(&self.ptx(), "k").map_err(|code| match code {
            Code::INVALID_PTX => Stop::skipped(driver.words(code)),
            code => Stop::failed("the kernel to be loaded", driver.words(code)),
        })?;
        let seeds = 0..self.num_operands;
        let columns: Vec<Vec<u32>> = seeds.map(|it| self.from.operands(it as u64)).collect();
        let mut params = vec![gpu.alloc(COUNT * 4)?];
        for column in &columns {
            let address = gpu.alloc(COUNT * 4)?;
            gpu.upload(address, &bytes_of(column), 0)?;
            params.push(address);
        }
        must("cuLaunchKernel", gpu.launch(kernel, Grid::of(4, 64), &params))?;
        let found = words_of(&gpu.download(params[0], COUNT * 4, 0)?);
        let row = |row: usize| columns.iter().map(|it| it[row]).collect::<Vec<_>>();
        let rows: Vec<Vec<u32>> = (0..COUNT).map(row).collect();
        seen.note("operands", rows.iter().map(|it| hex(it)).collect::<Vec<_>>());
        seen.note("bits", found.iter().map(|it| hex(&[*it])).collect::<Vec<_>>());
        self.check(&rows, &found)
    }

    fn check(&self, rows: &[Vec<u32>], found: &[u32]) -> Outcome {
        let results = rows.iter().zip(found).map(|(row, found)| (row, (self.want)(row), *found));
        let mut wrong = results.filter(|(_, wanted, found)| !wanted.is_met(*found));
        let Some((row, wanted, first)) = wrong.next() else { return Ok(()) };
        let others = wrong.count();
        let found = format!("{}, and {others} others are not as wanted", hex(&[first]));
        Err(Stop::failed(format!("of {}: {wanted}", hex(row)), found))
    }
}

fn hex(words: &[u32]) -> String {
    let words: Vec<String> = words.iter().map(|it| format!("{it:08x}")).collect();
    words.join(" ")
}
