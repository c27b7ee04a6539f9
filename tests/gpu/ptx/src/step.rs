//! Instructions with all that is found out about them when a kernel is read.

use crate::{
    dataflow::Flow,
    fast::fast,
    inst::{Address, Binary, Inst, Op, Operand, Space},
    lanes::Mask,
    registers::{ALWAYS, Frame, Registers, Slot, Width},
    types::Type,
    vector::{Rows, Run},
};

/// An instruction as it is executed.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The row of the predicate that it depends on, and which of its bits are flipped.
    pub(crate) guard: u32,
    pub(crate) flip: u32,
    /// By which number it is known whether that was written.
    pub(crate) guard_known: u32,
    pub(crate) line: u32,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Compute(Compute),
    /// The same of what is perhaps not written before.
    Doubtful(Box<Doubtful>),
    Load(Box<Access>),
    Store(Box<Access>),
    Branch {
        target: usize,
    },
    Barrier,
    Return,
    /// What lanes do together, and wait for each other.
    Meet(Box<Flow>),
    /// What is executed by its instruction, and rarely.
    Other(Box<Flow>),
}

/// Computes in registers of the instruction's own width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compute {
    pub(crate) run: Run,
    pub(crate) rows: Rows,
}

/// Computes from registers of which it is kept who wrote them.
#[derive(Debug, Clone)]
pub(crate) struct Doubtful {
    pub(crate) compute: Compute,
    rule: Rule,
    /// The numbers by which that is known, of the result and of what it is made from.
    pub(crate) dst_known: u32,
    from_known: [u32; 3],
}

/// When a result is as good as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All that it is made from was written.
    All,
    /// What was chosen was written, and the condition.
    Chosen,
    /// One of two predicates decides it alone, by being so or by not being so.
    Either { is_so: bool },
}

impl Doubtful {
    /// The lanes in which what is computed is as good as written.
    pub(crate) fn known(&self, registers: &Registers) -> Mask {
        let [a, b, c] = self.from_known.map(|number| registers.known(number));
        let value = |index: usize| registers.predicates[self.compute.rows.from[index] as usize];
        match self.rule {
            Rule::All => a & b & c,
            Rule::Chosen => {
                let is_so = value(2);
                c & (is_so & a | !is_so & b)
            }
            Rule::Either { is_so } => {
                let flip = if is_so { 0 } else { Mask::MAX };
                a & b | a & (value(0) ^ flip) | b & (value(1) ^ flip)
            }
        }
    }
}

/// A read or a write of memory.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) ty: Type,
    pub(crate) base: Base,
    pub(crate) offset: u64,
    pub(crate) values: Vec<Slot>,
    /// What must have been written.
    pub(crate) must: Vec<u32>,
}

/// What an address is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Slot(Slot),
    /// The same in all lanes.
    Number(u64),
}

/// Makes steps of instructions.
pub(crate) fn steps(code: &[Inst], frame: &mut Frame) -> Vec<Step> {
    code.iter().map(|inst| step(inst, frame)).collect()
}

fn step(inst: &Inst, frame: &mut Frame) -> Step {
    let (mut guard, mut flip, mut guard_known) = (0, 0, ALWAYS);
    if let Some(it) = inst.guard {
        let slot = frame.slot(it.predicate);
        (guard, guard_known) = (slot.row, slot.known);
        flip = if it.is_negated { u32::MAX } else { 0 };
    }
    let action = match &inst.op {
        Op::Branch { target } => Action::Branch { target: *target },
        Op::Barrier => Action::Barrier,
        Op::Return => Action::Return,
        Op::Load { space, ty, dsts, address } => {
            let values = dsts.iter().map(|dst| frame.slot(*dst)).collect();
            Action::Load(Box::new(access(&inst.op, (*space, *ty, *address), values, frame)))
        }
        Op::Store { space, ty, values, address } => {
            let width = if ty.bits() > 32 { Width::Double } else { Width::Word };
            let values = values.iter().map(|value| register(*value, width, frame)).collect();
            Action::Store(Box::new(access(&inst.op, (*space, *ty, *address), values, frame)))
        }
        Op::Shuffle(_) | Op::LoadMatrix(_) | Op::MultiplyMatrices(_) => {
            Action::Meet(Box::new(Flow::of(&inst.op, frame)))
        }
        op => compute(op, frame).unwrap_or_else(|| Action::Other(Box::new(Flow::of(op, frame)))),
    };
    Step { guard, flip, guard_known, line: inst.line, action }
}

fn compute(op: &Op, frame: &mut Frame) -> Option<Action> {
    let fast = fast(op, frame.slot(op.dst()?).bits)?;
    let (dst, width) = fast.dst;
    let dst = Some(frame.slot(dst)).filter(|slot| slot.bits == width.bits())?;
    // Rows and numbers that are not used are those of what is always there.
    let (mut from, mut from_known) = ([0; 3], [ALWAYS; 3]);
    for (index, (operand, width)) in fast.from.into_iter().enumerate() {
        let slot = frame.operand(operand, width)?;
        (from[index], from_known[index]) = (slot.row, slot.known);
    }
    let compute = Compute { run: fast.run, rows: Rows { dst: dst.row, from } };
    if dst.known == ALWAYS {
        return Some(Action::Compute(compute));
    }
    let rule = match op {
        Op::Select { .. } => Rule::Chosen,
        Op::Binary { op: Binary::And, ty: Type::Pred, .. } => Rule::Either { is_so: false },
        Op::Binary { op: Binary::Or, ty: Type::Pred, .. } => Rule::Either { is_so: true },
        _ => Rule::All,
    };
    let dst_known = dst.known;
    Some(Action::Doubtful(Box::new(Doubtful { compute, rule, dst_known, from_known })))
}

fn access(
    op: &Op,
    (space, ty, Address { base, offset }): (Space, Type, Address),
    values: Vec<Slot>,
    frame: &mut Frame,
) -> Access {
    let base = match base {
        Operand::Immediate(value) => Base::Number(value),
        base => Base::Slot(register(base, Width::Double, frame)),
    };
    let must = Flow::of(op, frame).must;
    Access { space, ty, base, offset, values, must }
}

/// The register of an operand, however wide it is.
fn register(operand: Operand, width: Width, frame: &mut Frame) -> Slot {
    match operand {
        Operand::Reg(reg) => frame.slot(reg),
        operand => frame.operand(operand, width).expect("only registers have widths of their own"),
    }
}
