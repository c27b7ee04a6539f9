//! A warp: its registers, and where its lanes are in the code.

use crate::{
    arith::{IS_OF_TYPE, binary, compare, flush, fma, insert, product, unary},
    convert::convert,
    error::Fault,
    inst::{Inst, Op, Operand, Part, Reg, ShuffleOp, Special},
    kernel::Kernel,
    lanes::{Lanes, Mask, WARP, each, lanes_of},
    memory::{Memory, Reach},
    types::{Type, truncate},
};

/// Where a warp is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) block: [u32; 3],
    pub(crate) block_size: [u32; 3],
    pub(crate) grid_size: [u32; 3],
    /// The number of its first thread within the block.
    pub(crate) first_thread: u32,
}

impl Place {
    /// A thread of the warp, by axis.
    pub(crate) fn thread(&self, lane: usize) -> [u32; 3] {
        let number = self.first_thread + lane as u32;
        let [x, y, _] = self.block_size;
        [number % x, number / x % y, number / x / y]
    }
}

/// Lanes that go on at the same instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    at: usize,
    mask: Mask,
}

/// Why a warp stopped for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    AtBarrier,
    Ended,
}

pub(crate) struct Warp<'k> {
    kernel: &'k Kernel,
    pub(crate) place: Place,
    registers: Vec<Lanes>,
    /// In no order; those that are furthest behind go on first.
    groups: Vec<Group>,
    /// Lanes that wait at a barrier.
    waiting: Vec<Group>,
    /// Lanes that wait at a shuffle for the others that it names.
    parked: Vec<Group>,
    /// The instruction that is executed.
    current: Group,
}

impl<'k> Warp<'k> {
    pub(crate) fn new(kernel: &'k Kernel, place: Place) -> Self {
        let num_threads: u32 = place.block_size.iter().product();
        let left = (num_threads - place.first_thread).min(WARP as u32);
        let mask = u32::MAX >> (WARP as u32 - left);
        let start = Group { at: 0, mask };
        let registers = vec![[0; WARP]; kernel.registers.len()];
        Self {
            kernel,
            place,
            registers,
            groups: vec![start],
            waiting: Vec::new(),
            parked: Vec::new(),
            current: start,
        }
    }

    /// The line that is executed, and the first thread that takes part.
    pub(crate) fn position(&self) -> (u32, [u32; 3]) {
        let line = self.kernel.code.get(self.current.at).map_or(0, |inst| inst.line);
        (line, self.place.thread(self.current.mask.trailing_zeros().min(31) as usize))
    }

    /// Goes on until all lanes are at a barrier or at their end.
    pub(crate) fn run<M: Memory>(
        &mut self,
        reach: &mut Reach<'_, M>,
        steps_left: &mut u64,
    ) -> Result<Paused, Fault> {
        let kernel = self.kernel;
        while let Some(Group { at, mask }) = self.next_group() {
            self.current = Group { at, mask };
            *steps_left = steps_left.checked_sub(1).ok_or(Fault::Endless)?;
            let Some(inst) = kernel.code.get(at) else { continue };
            let active = mask & self.guarded(inst);
            self.current.mask = active;
            match &inst.op {
                Op::Branch { target } => {
                    self.go(*target, active);
                    self.go(at + 1, mask & !active);
                }
                Op::Return => self.go(at + 1, mask & !active),
                Op::Barrier => {
                    add(&mut self.waiting, at, active);
                    self.go(at + 1, mask & !active);
                }
                Op::Shuffle(shuffle) if active != 0 => {
                    self.go(at + 1, mask & !active);
                    let together = active | self.take_parked(at);
                    if self.awaits(shuffle, together) {
                        add(&mut self.parked, at, together);
                        continue;
                    }
                    self.current.mask = together;
                    self.execute(&inst.op, together, reach)?;
                    self.go(at + 1, together);
                }
                op => {
                    if active != 0 {
                        self.execute(op, active, reach)?;
                    }
                    self.go(at + 1, mask);
                }
            }
        }
        if let Some(group) = self.parked.first() {
            self.current = *group;
            let missing = (!group.mask).trailing_zeros() as usize;
            let lane = group.mask.trailing_zeros() as usize;
            return Err(Fault::Shuffle { lane, source_lane: missing });
        }
        self.pass_barrier()
    }

    /// Whether lanes that a shuffle names are still on their way to it.
    fn awaits(&self, shuffle: &ShuffleOp, present: Mask) -> bool {
        let members = self.value(shuffle.members)[present.trailing_zeros() as usize] as Mask;
        let elsewhere = self.groups.iter().chain(&self.parked).fold(0, |all, it| all | it.mask);
        members & elsewhere & !present != 0
    }

    /// The lanes that wait at a shuffle for the others.
    fn take_parked(&mut self, at: usize) -> Mask {
        let index = self.parked.iter().position(|group| group.at == at);
        index.map_or(0, |index| self.parked.swap_remove(index).mask)
    }

    /// All lanes have ended or wait at a barrier: those that wait at the same one go on behind it.
    fn pass_barrier(&mut self) -> Result<Paused, Fault> {
        let Some(first) = self.waiting.iter().min_by_key(|group| group.at).copied() else {
            return Ok(Paused::Ended);
        };
        if self.waiting.len() > 1 {
            self.current = first;
            return Err(Fault::Barrier { warp: self.place.first_thread as usize / WARP });
        }
        self.waiting.clear();
        self.go(first.at + 1, first.mask);
        Ok(Paused::AtBarrier)
    }

    /// Takes the lanes that are furthest behind.
    fn next_group(&mut self) -> Option<Group> {
        let (first, _) = self.groups.iter().enumerate().min_by_key(|(_, group)| group.at)?;
        Some(self.groups.swap_remove(first))
    }

    /// Lets lanes go on there, with those that are there already.
    fn go(&mut self, at: usize, mask: Mask) {
        add(&mut self.groups, at, mask);
    }

    fn guarded(&self, inst: &Inst) -> Mask {
        let Some(guard) = inst.guard else { return Mask::MAX };
        let is_so = self.mask_of(Operand::Reg(guard.predicate));
        if guard.is_negated { !is_so } else { is_so }
    }

    /// The lanes in which a predicate is so.
    fn mask_of(&self, predicate: Operand) -> Mask {
        let values = self.value(predicate);
        (0..WARP).fold(0, |mask, lane| mask | ((values[lane] & 1) as u32) << lane)
    }

    pub(crate) fn value(&self, operand: Operand) -> Lanes {
        match operand {
            Operand::Reg(Reg(register)) => self.registers[register as usize],
            Operand::Immediate(value) => [value; WARP],
            Operand::Special(special) => self.special(special),
        }
    }

    fn special(&self, special: Special) -> Lanes {
        let place = &self.place;
        match special {
            Special::Thread(axis) => std::array::from_fn(|lane| place.thread(lane)[axis].into()),
            Special::BlockSize(axis) => [place.block_size[axis].into(); WARP],
            Special::Block(axis) => [place.block[axis].into(); WARP],
            Special::GridSize(axis) => [place.grid_size[axis].into(); WARP],
            Special::Lane => std::array::from_fn(|lane| lane as u64),
            Special::WarpSize => [WARP as u64; WARP],
        }
    }

    /// Bits of a register.
    pub(crate) fn bits(&self, Reg(register): Reg) -> u32 {
        self.kernel.registers[register as usize]
    }

    pub(crate) fn set(&mut self, Reg(register): Reg, values: &Lanes, active: Mask) {
        // A register has no more bits than it was declared with, whatever is written.
        let ones = truncate(u64::MAX, self.kernel.registers[register as usize]);
        let target = &mut self.registers[register as usize];
        if active == Mask::MAX {
            *target = each(values, |value| value & ones);
            return;
        }
        for lane in lanes_of(active) {
            target[lane] = values[lane] & ones;
        }
    }

    fn set_mask(&mut self, register: Reg, is_so: Mask, active: Mask) {
        self.set(register, &std::array::from_fn(|lane| u64::from(is_so >> lane & 1)), active);
    }

    fn execute<M: Memory>(
        &mut self,
        op: &Op,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        let values = |it: &Operand| self.value(*it);
        match op {
            Op::Binary { op, ty, rounding, dst, a, b } => {
                let (a, b) = (values(a), values(b));
                let result = binary(*op, *ty, *rounding, (&a, &b));
                self.set(*dst, &result.expect(IS_OF_TYPE), active);
            }
            Op::Unary { op, ty, flushes, dst, a } => {
                let a = values(a);
                let a = if *flushes { flush(&a, *ty) } else { a };
                let result = unary(*op, *ty, &a).expect(IS_OF_TYPE);
                let result = if *flushes { flush(&result, *ty) } else { result };
                self.set(*dst, &result, active);
            }
            Op::Fma { ty, rounding, dst, factors: [a, b], c } => {
                let result = fma(*ty, *rounding, [&values(a), &values(b), &values(c)]);
                self.set(*dst, &result, active);
            }
            Op::Mad { part, ty, dst, factors: [a, b], c } => {
                let (a, b, c) = (values(a), values(b), values(c));
                let bits = if *part == Part::Wide { 2 * ty.bits() } else { ty.bits() };
                let sum = |lane: usize| {
                    let product = product(a[lane], b[lane], *ty, *part);
                    truncate(product.wrapping_add(c[lane]), bits)
                };
                self.set(*dst, &std::array::from_fn(sum), active);
            }
            Op::Insert { ty, dst, a, b, start, length } => {
                let [a, b, start, length] = [a, b, start, length].map(values);
                let result = |lane: usize| {
                    let (start, length) = (start[lane] & 0xff, length[lane] & 0xff);
                    insert(*ty, [a[lane], b[lane]], (start, length))
                };
                self.set(*dst, &std::array::from_fn(result), active);
            }
            Op::Compare { test, dst, a, b } => {
                let is_so = compare(*test, &values(a), &values(b));
                self.set_mask(*dst, is_so, active);
            }
            Op::Set { test, ty, dst, a, b } => {
                let is_so = compare(*test, &values(a), &values(b));
                let so = one(*ty);
                let result =
                    std::array::from_fn(|lane| if is_so >> lane & 1 == 1 { so } else { 0 });
                self.set(*dst, &result, active);
            }
            Op::Select { dst, a, b, condition } => {
                let (a, b, is_so) = (values(a), values(b), self.mask_of(*condition));
                let chosen = |lane: usize| if is_so >> lane & 1 == 1 { a[lane] } else { b[lane] };
                self.set(*dst, &std::array::from_fn(chosen), active);
            }
            op => self.convert_or_move(op, active, reach)?,
        }
        Ok(())
    }

    fn convert_or_move<M: Memory>(
        &mut self,
        op: &Op,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), Fault> {
        let values = |it: &Operand| self.value(*it);
        match op {
            Op::Convert { conversion, dst, a } => {
                let result = each(&values(a), |value| convert(*conversion, value));
                self.set(*dst, &self.widened(conversion.to, *dst, result), active);
            }
            Op::Move { dst, a } => self.set(*dst, &values(a), active),
            Op::Pack { bits, dst, parts } => {
                let whole = parts.iter().rev().fold([0; WARP], |whole, part| {
                    let part = values(part);
                    std::array::from_fn(|lane| whole[lane] << bits | truncate(part[lane], *bits))
                });
                self.set(*dst, &whole, active);
            }
            Op::Unpack { bits, dsts, a } => {
                let whole = values(a);
                for (shift, dst) in (0..).step_by(*bits as usize).zip(dsts) {
                    if let Some(dst) = dst {
                        let part = each(&whole, |whole| truncate(whole >> shift, *bits));
                        self.set(*dst, &part, active);
                    }
                }
            }
            op => self.move_values(op, active, reach)?,
        }
        Ok(())
    }

    /// Results of a type that is narrower than their register: numbers with a sign keep it.
    pub(crate) fn widened(&self, ty: Type, register: Reg, values: Lanes) -> Lanes {
        let bits = self.bits(register);
        if !ty.is_signed() || bits <= ty.bits() {
            return values;
        }
        each(&values, |value| {
            truncate(crate::types::sign_extend(value, ty.bits()).cast_unsigned(), bits)
        })
    }
}

/// Adds lanes to those that are at the same place.
fn add(groups: &mut Vec<Group>, at: usize, mask: Mask) {
    if mask == 0 {
        return;
    }
    match groups.iter_mut().find(|group| group.at == at) {
        Some(group) => group.mask |= mask,
        None => groups.push(Group { at, mask }),
    }
}

/// What `set` writes where a comparison is so.
fn one(ty: Type) -> u64 {
    match ty {
        Type::F32 => 1.0_f32.to_bits().into(),
        Type::F16 => 0x3c00,
        Type::Bf16 => 0x3f80,
        ty => truncate(u64::MAX, ty.bits()),
    }
}
