//! Which registers an instruction writes and reads, so that what nobody has written is not used.

use crate::{
    inst::{
        AtomicOp, CarryOp, Inst, MatrixLoad, MatrixProduct, Op, Operand, Reg, ShuffleOp, Space,
    },
    registers::Frame,
};

/// The registers of an instruction, by the number under which it is kept who wrote them; and those
/// that it writes only as far as the instruction itself does not note it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    /// What must have been written: addresses, what is stored, and whom lanes read.
    pub(crate) must: Vec<u32>,
    /// What need not have been written, but then neither is the result.
    pub(crate) from: Vec<u32>,
    pub(crate) dsts: Vec<u32>,
}

impl Flow {
    pub(crate) fn of(op: &Op, frame: &Frame) -> Self {
        let number = |reg: Reg| frame.slot(reg).known;
        let numbers = |operands: Vec<Operand>| registers(operands).map(number).collect();
        let dsts = dsts(op).into_iter().map(number).collect();
        Self { must: numbers(must(op)), from: numbers(from(op)), dsts }
    }
}

/// The registers that an instruction reads, with that on which it depends.
pub(crate) fn reads(inst: &Inst) -> Vec<Reg> {
    let shuffled = if let Op::Shuffle(ShuffleOp { a, .. }) = inst.op { Some(a) } else { None };
    let operands = must(&inst.op).into_iter().chain(from(&inst.op)).chain(shuffled);
    registers(operands).chain(inst.guard.map(|guard| guard.predicate)).collect()
}

/// The registers that an instruction writes.
pub(crate) fn writes(op: &Op) -> Vec<Reg> {
    match op {
        Op::Shuffle(ShuffleOp { dst, is_in_range, .. }) => {
            [*dst].into_iter().chain(*is_in_range).collect()
        }
        Op::Load { dsts, .. } | Op::LoadMatrix(MatrixLoad { dsts, .. }) => dsts.clone(),
        Op::MultiplyMatrices(MatrixProduct { dsts, .. }) => dsts.to_vec(),
        op => dsts(op),
    }
}

/// Whether an instruction may read what nobody has written, of memory.
pub(crate) fn may_read_unwritten(op: &Op) -> bool {
    matches!(op, Op::Load { space: Space::Shared | Space::Generic, .. } | Op::LoadMatrix(_))
}

fn registers(operands: impl IntoIterator<Item = Operand>) -> impl Iterator<Item = Reg> {
    operands.into_iter().filter_map(|operand| match operand {
        Operand::Reg(reg) => Some(reg),
        _ => None,
    })
}

fn dsts(op: &Op) -> Vec<Reg> {
    match op {
        Op::Unpack { dsts, .. } => dsts.iter().flatten().copied().collect(),
        Op::Atomic(AtomicOp { dst, .. }) => dst.iter().copied().collect(),
        Op::Carry(CarryOp { dst, carry, writes_carry, .. }) => {
            [*dst].into_iter().chain(writes_carry.then_some(*carry)).collect()
        }
        // What lanes get of each other or of memory is noted where it is known of whom.
        Op::Load { .. } | Op::LoadMatrix(_) | Op::MultiplyMatrices(_) | Op::Shuffle(_) => {
            Vec::new()
        }
        op => op.dst().into_iter().collect(),
    }
}

fn must(op: &Op) -> Vec<Operand> {
    match op {
        Op::Load { address, .. } | Op::LoadMatrix(MatrixLoad { address, .. }) => vec![address.base],
        Op::Store { values, address, .. } => values.iter().copied().chain([address.base]).collect(),
        Op::Atomic(AtomicOp { address, operands: (b, c), .. }) => {
            [address.base, *b].into_iter().chain(*c).collect()
        }
        Op::Shuffle(ShuffleOp { by, clamp, members, .. }) => vec![*by, *clamp, *members],
        _ => Vec::new(),
    }
}

fn from(op: &Op) -> Vec<Operand> {
    match op {
        Op::Binary { a, b, .. } | Op::Compare { a, b, .. } | Op::Set { a, b, .. } => vec![*a, *b],
        Op::Unary { a, .. }
        | Op::Convert { a, .. }
        | Op::Move { a, .. }
        | Op::Unpack { a, .. }
        | Op::ToGeneric { a, .. }
        | Op::FromGeneric { a, .. } => vec![*a],
        Op::Fma { factors: [a, b], c, .. }
        | Op::Mad { factors: [a, b], c, .. }
        | Op::DotBytes { factors: [a, b], c, .. } => vec![*a, *b, *c],
        Op::Insert { a, b, start, length, .. } => vec![*a, *b, *start, *length],
        Op::Permute { a, b, selector, .. } => vec![*a, *b, *selector],
        Op::Select { a, b, condition, .. } => vec![*a, *b, *condition],
        Op::Pairwise { operands, .. } | Op::Pack { parts: operands, .. } => operands.clone(),
        Op::Carry(CarryOp { operands, carry, reads_carry, .. }) => {
            let carry = reads_carry.then_some(Operand::Reg(*carry));
            operands.iter().copied().chain(carry).collect()
        }
        Op::MultiplyMatrices(MatrixProduct { a, b, c, .. }) => {
            a.iter().chain(b).chain(c).copied().collect()
        }
        Op::Load { .. }
        | Op::Store { .. }
        | Op::Atomic(_)
        | Op::Shuffle(_)
        | Op::LoadMatrix(_)
        | Op::Branch { .. }
        | Op::Barrier
        | Op::Call { .. }
        | Op::Trap
        | Op::Return => Vec::new(),
    }
}
