//! Instructions by which a warp reads and writes memory, and its lanes each other.

use crate::{
    arith::{IS_OF_TYPE, binary},
    error::Fault,
    inst::{
        Address, Atomic, AtomicOp, Binary, Op, Operand, Reg, Rounding, Shuffle, ShuffleOp, Space,
    },
    kernel::{LOCAL, SHARED},
    lanes::{Mask, WARP, each, lanes_of},
    memory::{Memory, Reach},
    types::Type,
    warp::Warp,
};

/// The most bytes that a lane moves at once.
pub(crate) const MAX_BYTES: usize = 16;

impl Warp<'_> {
    pub(crate) fn move_values<M: Memory>(
        &mut self,
        op: &Op,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        match op {
            Op::Load { space, ty, dsts, address } => {
                self.load((*space, *address), (*ty, dsts), active, reach)
            }
            Op::Store { space, ty, values, address } => {
                self.store((*space, *address), (*ty, values), active, reach)
            }
            Op::Atomic(atomic) => self.atomic(atomic, active, reach),
            Op::Shuffle(shuffle) => self.shuffle(shuffle, active),
            Op::ToGeneric { space, dst, a } => {
                let moved = each(&self.value(*a), |at| at.wrapping_add(window(*space)));
                self.set(*dst, &moved, active);
                Ok(())
            }
            Op::FromGeneric { space, dst, a } => {
                let moved = each(&self.value(*a), |at| at.wrapping_sub(window(*space)));
                self.set(*dst, &moved, active);
                Ok(())
            }
            Op::Call { name } => Err(Fault::Called { name: name.clone() }),
            Op::Trap => Err(Fault::Trap),
            op => unreachable!("executed before: {op:?}"),
        }
    }

    fn load<M: Memory>(
        &mut self,
        (space, address): (Space, Address),
        (ty, dsts): (Type, &[Reg]),
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        let bases = self.value(address.base);
        let mut loaded = [[0; WARP]; 4];
        let width = ty.bytes();
        for lane in lanes_of(active) {
            let mut bytes = [0; MAX_BYTES];
            let bytes = &mut bytes[..width * dsts.len()];
            reach.read(space, lane, bases[lane].wrapping_add(address.offset), bytes)?;
            for (values, bytes) in loaded.iter_mut().zip(bytes.chunks_exact(width)) {
                values[lane] = number(bytes);
            }
        }
        for (dst, values) in dsts.iter().zip(loaded) {
            self.set(*dst, &self.widened(ty, *dst, values), active);
        }
        Ok(())
    }

    fn store<M: Memory>(
        &mut self,
        (space, address): (Space, Address),
        (ty, values): (Type, &[Operand]),
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        let bases = self.value(address.base);
        let values: Vec<_> = values.iter().map(|value| self.value(*value)).collect();
        let width = ty.bytes();
        for lane in lanes_of(active) {
            let mut bytes = [0; MAX_BYTES];
            for (bytes, values) in bytes.chunks_exact_mut(width).zip(&values) {
                bytes.copy_from_slice(&values[lane].to_le_bytes()[..width]);
            }
            let bytes = &bytes[..width * values.len()];
            reach.write(space, lane, bases[lane].wrapping_add(address.offset), bytes)?;
        }
        Ok(())
    }

    /// One lane after the other.
    fn atomic<M: Memory>(
        &mut self,
        op: &AtomicOp,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        let AtomicOp { op, space, ty, dst, address, operands: (b, c) } = op;
        let bases = self.value(address.base);
        let (b, c) = (self.value(*b), c.map(|c| self.value(c)));
        let mut found = [0; WARP];
        for lane in lanes_of(active) {
            let at = bases[lane].wrapping_add(address.offset);
            let mut bytes = [0; 8];
            let bytes = &mut bytes[..ty.bytes()];
            reach.read(*space, lane, at, bytes)?;
            let old = number(bytes);
            found[lane] = old;
            let combined = |op: Binary| {
                let result = binary(op, *ty, Rounding::Nearest, (&[old; WARP], &[b[lane]; WARP]));
                result.expect(IS_OF_TYPE)[0]
            };
            let new = match op {
                Atomic::Add => combined(Binary::Add),
                Atomic::Min => combined(Binary::Min),
                Atomic::Max => combined(Binary::Max),
                Atomic::Exchange => b[lane],
                Atomic::CompareAndSwap if old == b[lane] => c.map_or(old, |c| c[lane]),
                Atomic::CompareAndSwap => continue,
            };
            reach.write(*space, lane, at, &new.to_le_bytes()[..ty.bytes()])?;
        }
        if let Some(dst) = dst {
            self.set(*dst, &found, active);
        }
        Ok(())
    }

    /// Source: PTX ISA 9.0, section 9.7.9.6, `shfl.sync`.
    fn shuffle(&mut self, op: &ShuffleOp, active: Mask) -> Result<(), Fault> {
        let ShuffleOp { mode, dst, is_in_range, a, by, clamp, members } = op;
        let [a, by, clamp, members] = [a, by, clamp, members].map(|it| self.value(*it));
        let (mut read, mut in_range) = ([0; WARP], [0; WARP]);
        for lane in lanes_of(active) {
            let (by, segment) = (by[lane] as usize & 31, clamp[lane] as usize >> 8 & 31);
            let least = lane & segment;
            let bound = least | (clamp[lane] as usize & 31 & !segment);
            let (source, is_so) = match mode {
                Shuffle::Up => (lane.wrapping_sub(by), lane >= bound + by),
                Shuffle::Down => (lane + by, lane + by <= bound),
                Shuffle::Butterfly => (lane ^ by, lane ^ by <= bound),
                Shuffle::Index => (least | by & !segment, (least | by & !segment) <= bound),
            };
            let source = if is_so { source } else { lane };
            let takes_part = ((members[lane] & u64::from(active)) >> source) & 1 == 1;
            if !takes_part {
                return Err(Fault::Shuffle { lane, source_lane: source });
            }
            (read[lane], in_range[lane]) = (a[source], is_so.into());
        }
        self.set(*dst, &read, active);
        if let Some(predicate) = is_in_range {
            self.set(*predicate, &in_range, active);
        }
        Ok(())
    }
}

/// Where a space begins among the addresses of all.
fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED,
        Space::Local => LOCAL,
        _ => 0,
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
