//! Instructions with all that is found out about them when a kernel is read.

use crate::{
    fast::fast,
    inst::{Address, Inst, Op, Operand, Space},
    registers::{Frame, Slot, Width},
    types::Type,
    vector::{Rows, Run},
};

/// An instruction as it is executed.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The row of the predicate that it depends on, and which of its bits are flipped.
    pub(crate) guard: u32,
    pub(crate) flip: u32,
    pub(crate) line: u32,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Compute(Compute),
    Load(Box<Access>),
    Store(Box<Access>),
    Branch {
        target: usize,
    },
    Barrier,
    Return,
    /// What lanes do together, and wait for each other.
    Meet,
    /// What is executed by its instruction, and rarely.
    Other,
}

/// Computes in registers of the instruction's own width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compute {
    pub(crate) run: Run,
    pub(crate) rows: Rows,
}

/// A read or a write of memory.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) ty: Type,
    pub(crate) base: Base,
    pub(crate) offset: u64,
    pub(crate) values: Vec<Slot>,
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
    let (mut guard, mut flip) = (0, 0);
    if let Some(it) = inst.guard {
        guard = frame.slot(it.predicate).row;
        flip = if it.is_negated { u32::MAX } else { 0 };
    }
    let action = match &inst.op {
        Op::Branch { target } => Action::Branch { target: *target },
        Op::Barrier => Action::Barrier,
        Op::Return => Action::Return,
        Op::Load { space, ty, dsts, address } => {
            let values = dsts.iter().map(|dst| frame.slot(*dst)).collect();
            Action::Load(Box::new(access((*space, *ty), *address, values, frame)))
        }
        Op::Store { space, ty, values, address } => {
            let width = if ty.bits() > 32 { Width::Double } else { Width::Word };
            let values = values.iter().map(|value| register(*value, width, frame)).collect();
            Action::Store(Box::new(access((*space, *ty), *address, values, frame)))
        }
        Op::Shuffle(_) | Op::LoadMatrix(_) | Op::MultiplyMatrices(_) => Action::Meet,
        op => compute(op, frame).map_or(Action::Other, Action::Compute),
    };
    Step { guard, flip, line: inst.line, action }
}

fn compute(op: &Op, frame: &mut Frame) -> Option<Compute> {
    let fast = fast(op, frame.slot(op.dst()?).bits)?;
    let (dst, width) = fast.dst;
    let dst = Some(frame.slot(dst)).filter(|slot| slot.bits == width.bits())?;
    // Rows and numbers that are not used are those of what is always there.
    let mut from = [0; 3];
    for (row, (operand, width)) in from.iter_mut().zip(fast.from) {
        *row = frame.operand(operand, width)?.row;
    }
    let rows = Rows { dst: dst.row, from };
    Some(Compute { run: fast.run, rows })
}

fn access(
    (space, ty): (Space, Type),
    Address { base, offset }: Address,
    values: Vec<Slot>,
    frame: &mut Frame,
) -> Access {
    let base = match base {
        Operand::Immediate(value) => Base::Number(value),
        base => Base::Slot(register(base, Width::Double, frame)),
    };
    Access { space, ty, base, offset, values }
}

/// The register of an operand, however wide it is.
fn register(operand: Operand, width: Width, frame: &mut Frame) -> Slot {
    match operand {
        Operand::Reg(reg) => frame.slot(reg),
        operand => frame.operand(operand, width).expect("only registers have widths of their own"),
    }
}
