//! Registers that may have what nobody has written, found when a kernel is read. Only of these is it
//! kept, while the kernel runs, in which lanes they were written.

use crate::{
    dataflow::{may_read_unwritten, reads, writes},
    inst::{Inst, Op, Reg},
};

/// A set of registers, one bit each.
#[derive(Clone)]
struct Set(Vec<u64>);

impl Set {
    fn new(num_registers: usize, fill: u64) -> Self {
        Self(vec![fill; num_registers.div_ceil(64)])
    }

    fn has(&self, Reg(number): Reg) -> bool {
        self.0[number as usize / 64] >> (number % 64) & 1 == 1
    }

    /// Adds a register, and says whether it was not there before.
    fn add(&mut self, reg: Reg) -> bool {
        let is_new = !self.has(reg);
        self.0[reg.0 as usize / 64] |= 1 << (reg.0 % 64);
        is_new
    }

    /// Keeps what the other has as well, and says whether that is less than before.
    fn keep(&mut self, other: &Self) -> bool {
        let mut is_less = false;
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            is_less |= *own & !other != 0;
            *own &= other;
        }
        is_less
    }
}

/// Instructions that are executed one after the other.
struct Run {
    start: usize,
    end: usize,
    /// The runs that may follow.
    next: Vec<usize>,
    /// What was surely written before.
    before: Set,
}

/// The registers that may be read before they are written or have what nobody wrote to memory, and
/// all that is made from them.
pub(crate) fn doubtful(code: &[Inst], num_registers: usize) -> Vec<bool> {
    let mut runs = runs(code, num_registers);
    find_written(code, &mut runs);
    let mut doubtful = Set::new(num_registers, 0);
    for run in &runs {
        let mut written = run.before.clone();
        for inst in &code[run.start..run.end] {
            for reg in reads(inst).into_iter().filter(|reg| !written.has(*reg)) {
                doubtful.add(reg);
            }
            write(inst, &mut written);
            if may_read_unwritten(&inst.op) {
                for reg in writes(&inst.op) {
                    doubtful.add(reg);
                }
            }
        }
    }
    // Without shared memory there are nearly never any.
    let mut has_grown = doubtful.0.iter().any(|it| *it != 0);
    while has_grown {
        has_grown = false;
        for inst in code {
            if reads(inst).into_iter().any(|reg| doubtful.has(reg)) {
                for reg in writes(&inst.op) {
                    has_grown |= doubtful.add(reg);
                }
            }
        }
    }
    (0..num_registers).map(|number| doubtful.has(Reg(number as u32))).collect()
}

/// Adds what an instruction surely writes.
fn write(inst: &Inst, written: &mut Set) {
    if inst.guard.is_none() {
        for reg in writes(&inst.op) {
            written.add(reg);
        }
    }
}

/// Finds what was surely written before each run: what was at the end of all that lead to it.
fn find_written(code: &[Inst], runs: &mut [Run]) {
    let Some(first) = runs.first_mut() else { return };
    first.before.0.fill(0);
    let mut waiting = vec![0];
    let mut was_seen = vec![false; runs.len()];
    while let Some(index) = waiting.pop() {
        was_seen[index] = true;
        let mut written = runs[index].before.clone();
        code[runs[index].start..runs[index].end].iter().for_each(|inst| write(inst, &mut written));
        for next in runs[index].next.clone() {
            if runs[next].before.keep(&written) || !was_seen[next] {
                waiting.push(next);
            }
        }
    }
}

/// Splits code where branches start and where they lead.
fn runs(code: &[Inst], num_registers: usize) -> Vec<Run> {
    let mut is_start = vec![false; code.len() + 1];
    is_start[0] = true;
    for (at, inst) in code.iter().enumerate() {
        if let Op::Branch { target } = inst.op {
            is_start[target] = true;
        }
        is_start[at + 1] |= leaves(&inst.op);
    }
    let starts: Vec<usize> = (0..code.len()).filter(|at| is_start[*at]).collect();
    let number = |at: usize| starts.binary_search(&at).ok();
    let run = |(index, start): (usize, &usize)| {
        let end = starts.get(index + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let goes_on = !leaves(&last.op) || last.guard.is_some();
        let target = if let Op::Branch { target } = last.op { number(target) } else { None };
        let next = number(end).filter(|_| goes_on).into_iter().chain(target).collect();
        Run { start: *start, end, next, before: Set::new(num_registers, u64::MAX) }
    };
    starts.iter().enumerate().map(run).collect()
}

/// Whether another instruction is executed next than the one behind it.
fn leaves(op: &Op) -> bool {
    matches!(op, Op::Branch { .. } | Op::Return | Op::Trap | Op::Call { .. })
}
