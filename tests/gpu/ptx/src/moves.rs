//! Instructions by which a warp reads and writes memory, and its lanes each other.

use crate::{
    arith::{IS_OF_TYPE, binary},
    error::Fault,
    inst::{Atomic, AtomicOp, Op, Rounding, Shuffle, ShuffleOp, Space},
    lanes::{Lanes, Mask, WARP, lanes_of},
    memory::{Buffer, LaneFault, Lined, MAX_BYTES, Memory, Reach, check_alignments},
    registers::{File, Slot, put},
    step::{Access, Base},
    types::{Type, sign_extend},
    warp::Warp,
};

impl Warp<'_> {
    pub(crate) fn exchange<M: Memory>(
        &mut self,
        op: &Op,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        match op {
            Op::Atomic(atomic) => {
                reach.is_atomic = true;
                let outcome = self.atomic(atomic, active, reach);
                reach.is_atomic = false;
                outcome
            }
            Op::Shuffle(shuffle) => self.shuffle(shuffle, active),
            Op::LoadMatrix(load) => self.load_matrix(load, active, reach),
            Op::MultiplyMatrices(product) => self.multiply(product, active),
            Op::Call { name, arguments } => Err(Self::called(name, arguments, active, reach)),
            Op::Trap => Err((active, Fault::Trap)),
            op => {
                self.execute(op, active);
                Ok(())
            }
        }
    }

    fn addresses(&self, access: &Access) -> Lanes {
        let offset = access.offset;
        match access.base {
            Base::Number(value) => [value.wrapping_add(offset); WARP],
            Base::Slot(slot) if slot.file == File::Wide => {
                self.registers.wide[slot.row as usize].map(|base| base.wrapping_add(offset))
            }
            Base::Slot(slot) => self.registers.lanes(slot).map(|base| base.wrapping_add(offset)),
        }
    }

    pub(crate) fn load<M: Memory>(
        &mut self,
        access: &Access,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        self.must_be_known(&access.must, active)?;
        let (ty, count) = (access.ty, access.values.len());
        let bytes = ty.bytes() * count;
        if let (Space::Param, Base::Number(base)) = (access.space, access.base) {
            let address = base.wrapping_add(access.offset);
            return self.load_one((access, address), active, reach);
        }
        let addresses = self.addresses(access);
        let lined = Lined { space: access.space, addresses: &addresses, active, bytes };
        if let Some(address) = lined.only_global() {
            return self.load_one((access, address), active, reach);
        }
        let mut buffer: Buffer = [0; WARP * MAX_BYTES];
        reach.gather(lined, &mut buffer)?;
        for (index, slot) in access.values.iter().enumerate() {
            self.take((*slot, ty), active, (&buffer, index, count));
            self.registers.learn(slot.known, !reach.unwritten, active);
        }
        Ok(())
    }

    /// Reads from one address for all lanes.
    fn load_one<M: Memory>(
        &mut self,
        (access, address): (&Access, u64),
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        let width = access.ty.bytes();
        let mut bytes = [0; MAX_BYTES];
        let bytes = &mut bytes[..width * access.values.len()];
        let lane = active.trailing_zeros() as usize;
        let read = if address.is_multiple_of(bytes.len() as u64) {
            reach.read(access.space, lane, address, bytes)
        } else {
            Err(Fault::Misaligned { address, bytes: bytes.len() })
        };
        read.map_err(|fault| (active, fault))?;
        for (slot, bytes) in access.values.iter().zip(bytes.chunks_exact(width)) {
            let value = widened(access.ty, number(bytes));
            self.registers.fill(*slot, &[value; WARP], active);
            self.registers.learn(slot.known, Mask::MAX, active);
        }
        Ok(())
    }

    /// Fills a register with one of so many values of each lane.
    fn take(
        &mut self,
        (slot, ty): (Slot, Type),
        active: Mask,
        (buffer, index, count): (&Buffer, usize, usize),
    ) {
        let row = slot.row as usize;
        match (ty.bytes(), slot.bits) {
            (8, 64) => {
                let values = buffer.as_chunks::<8>().0;
                let values =
                    std::array::from_fn(|lane| u64::from_le_bytes(values[lane * count + index]));
                put(&mut self.registers.wide[row], &values, active);
            }
            (4, 32) => {
                let values = buffer.as_chunks::<4>().0;
                let values =
                    std::array::from_fn(|lane| u32::from_le_bytes(values[lane * count + index]));
                put(&mut self.registers.narrow[row], &values, active);
            }
            (2, 16) => {
                let values = buffer.as_chunks::<2>().0;
                let values = std::array::from_fn(|lane| {
                    u16::from_le_bytes(values[lane * count + index]).into()
                });
                put(&mut self.registers.narrow[row], &values, active);
            }
            (width, _) => {
                let values = std::array::from_fn(|lane| {
                    widened(ty, number(&buffer[(lane * count + index) * width..][..width]))
                });
                self.registers.fill(slot, &values, active);
            }
        }
    }

    pub(crate) fn store<M: Memory>(
        &mut self,
        access: &Access,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        self.must_be_known(&access.must, active)?;
        let (ty, count) = (access.ty, access.values.len());
        let addresses = self.addresses(access);
        let mut buffer: Buffer = [0; WARP * MAX_BYTES];
        for (index, slot) in access.values.iter().enumerate() {
            self.give((*slot, ty), (&mut buffer, index, count));
        }
        let bytes = ty.bytes() * count;
        reach.scatter(Lined { space: access.space, addresses: &addresses, active, bytes }, &buffer)
    }

    /// Writes a register as one of so many values of each lane.
    fn give(&self, (slot, ty): (Slot, Type), (buffer, index, count): (&mut Buffer, usize, usize)) {
        let row = slot.row as usize;
        match (ty.bytes(), slot.file) {
            (8, File::Wide) => {
                let values = buffer.as_chunks_mut::<8>().0;
                for (lane, value) in self.registers.wide[row].iter().enumerate() {
                    values[lane * count + index] = value.to_le_bytes();
                }
            }
            (4, File::Narrow) => {
                let values = buffer.as_chunks_mut::<4>().0;
                for (lane, value) in self.registers.narrow[row].iter().enumerate() {
                    values[lane * count + index] = value.to_le_bytes();
                }
            }
            (width, _) => {
                for (lane, value) in self.registers.lanes(slot).iter().enumerate() {
                    buffer[(lane * count + index) * width..][..width]
                        .copy_from_slice(&value.to_le_bytes()[..width]);
                }
            }
        }
    }

    /// One lane after the other.
    fn atomic<M: Memory>(
        &mut self,
        op: &AtomicOp,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        let AtomicOp { op, space, ty, dst, address, operands: (b, c) } = op;
        let bases = self.value(address.base);
        let (b, c) = (self.value(*b), c.map(|c| self.value(c)));
        let addresses = bases.map(|base| base.wrapping_add(address.offset));
        check_alignments(Lined {
            space: *space,
            addresses: &addresses,
            active,
            bytes: ty.bytes(),
        })?;
        let mut found = [0; WARP];
        for lane in lanes_of(active) {
            let at = addresses[lane];
            let mut bytes = [0; 8];
            let bytes = &mut bytes[..ty.bytes()];
            reach.read(*space, lane, at, bytes).map_err(|fault| (1 << lane, fault))?;
            let old = number(bytes);
            found[lane] = old;
            let new = match op {
                Atomic::Combine(op) => {
                    let operands = (&[old; WARP], &[b[lane]; WARP]);
                    binary(*op, *ty, Rounding::Nearest, operands).expect(IS_OF_TYPE)[0]
                }
                Atomic::Exchange => b[lane],
                Atomic::CompareAndSwap if old == b[lane] => c.map_or(old, |c| c[lane]),
                Atomic::CompareAndSwap => continue,
            };
            let new = &new.to_le_bytes()[..ty.bytes()];
            reach.write(*space, lane, at, new).map_err(|fault| (1 << lane, fault))?;
        }
        if let Some(dst) = dst {
            self.set(*dst, &found, active);
        }
        Ok(())
    }

    /// Source: PTX ISA 9.0, section 9.7.9.6, `shfl.sync`.
    fn shuffle(&mut self, op: &ShuffleOp, active: Mask) -> Result<(), LaneFault> {
        let ShuffleOp { mode, dst, is_in_range, a, by, clamp, members } = op;
        let [a, by, clamp, members] = [a, by, clamp, members].map(|it| self.value(*it));
        let (mut read, mut in_range) = ([0; WARP], [0; WARP]);
        let (was_known, mut is_known) = (self.known(op.a), 0);
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
                return Err((active, Fault::Shuffle { lane, source_lane: source }));
            }
            (read[lane], in_range[lane]) = (a[source], is_so.into());
            is_known |= (was_known >> source & 1) << lane;
        }
        self.set(*dst, &read, active);
        self.learn(*dst, is_known, active);
        if let Some(predicate) = is_in_range {
            self.set(*predicate, &in_range, active);
            self.learn(*predicate, Mask::MAX, active);
        }
        Ok(())
    }
}

/// Numbers with a sign keep it where the register is wider.
fn widened(ty: Type, value: u64) -> u64 {
    if ty.is_signed() { sign_extend(value, ty.bits()).cast_unsigned() } else { value }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
