//! Instructions by way of numbers of 64 bits: every type, rounding and mixture of widths.

use crate::{
    arith::{IS_OF_TYPE, binary, compare, flush, fma, insert, product, unary},
    convert::convert,
    inst::{CarryOp, Op, Operand, Part, Reg, Space},
    kernel::{LOCAL, SHARED},
    lanes::{Lanes, Mask, WARP, each},
    packed::{dot_bytes, known_pairwise, permute},
    types::{Type, sign_extend, truncate},
    warp::Warp,
};

impl Warp<'_> {
    /// The lanes in which a predicate is so.
    fn mask_of(&self, predicate: Operand) -> Mask {
        let values = self.value(predicate);
        (0..WARP).fold(0, |mask, lane| mask | ((values[lane] & 1) as u32) << lane)
    }

    pub(crate) fn value(&self, operand: Operand) -> Lanes {
        match operand {
            Operand::Reg(reg) => self.registers.lanes(self.kernel.frame.slot(reg)),
            Operand::Immediate(value) => [value; WARP],
            Operand::Special(special) => self.place.special(special),
        }
    }

    /// The lanes in which an operand was written.
    pub(crate) fn known(&self, operand: Operand) -> Mask {
        match operand {
            Operand::Reg(reg) => self.registers.known(self.kernel.frame.slot(reg).known),
            _ => Mask::MAX,
        }
    }

    pub(crate) fn learn(&mut self, reg: Reg, is_known: Mask, active: Mask) {
        self.registers.learn(self.kernel.frame.slot(reg).known, is_known, active);
    }

    /// Bits of a register.
    fn bits(&self, reg: Reg) -> u32 {
        self.kernel.frame.slot(reg).bits
    }

    pub(crate) fn set(&mut self, reg: Reg, values: &Lanes, active: Mask) {
        self.registers.fill(self.kernel.frame.slot(reg), values, active);
    }

    fn set_mask(&mut self, register: Reg, is_so: Mask, active: Mask) {
        self.set(register, &std::array::from_fn(|lane| u64::from(is_so >> lane & 1)), active);
    }

    /// Executes an instruction that computes.
    pub(crate) fn execute(&mut self, op: &Op, active: Mask) {
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
            op => self.compute_packed(op, active),
        }
    }

    /// Executes what works on words that hold several numbers.
    fn compute_packed(&mut self, op: &Op, active: Mask) {
        let values = |it: &Operand| self.value(*it);
        match op {
            Op::DotBytes { are_signed, dst, factors: [a, b], c } => {
                let of = [a, b, c].map(values);
                let sum = |lane: usize| {
                    dot_bytes(*are_signed, [0, 1, 2].map(|it| of[it][lane] as u32)).into()
                };
                self.set(*dst, &std::array::from_fn(sum), active);
            }
            Op::Permute { dst, a, b, selector } => {
                let [a, b, by] = [a, b, selector].map(values);
                let bytes =
                    |lane: usize| permute(a[lane] as u32, b[lane] as u32, by[lane] as u32).into();
                self.set(*dst, &std::array::from_fn(bytes), active);
            }
            Op::Pairwise { op, ty, dst, operands } => {
                let operands: Vec<Lanes> = operands.iter().map(values).collect();
                self.set(*dst, &known_pairwise(*op, *ty, &operands), active);
            }
            Op::Carry(op) => self.carry(op, active),
            op => self.convert_or_move(op, active),
        }
    }

    fn carry(&mut self, op: &CarryOp, active: Mask) {
        let mut operands = [[0; WARP]; 3];
        for (lanes, operand) in operands.iter_mut().zip(&op.operands) {
            *lanes = self.value(*operand);
        }
        let before = if op.reads_carry { self.mask_of(Operand::Reg(op.carry)) } else { 0 };
        let mut after = 0;
        let results = std::array::from_fn(|lane| {
            let operands = operands.map(|it| it[lane]);
            let (result, carries) = op.op.of(op.ty, operands, before >> lane & 1 == 1);
            after |= u32::from(carries) << lane;
            result
        });
        self.set(op.dst, &results, active);
        if op.writes_carry {
            self.set_mask(op.carry, after, active);
        }
    }

    fn convert_or_move(&mut self, op: &Op, active: Mask) {
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
            Op::ToGeneric { space, dst, a } => {
                let moved = each(&values(a), |at| at.wrapping_add(window(*space)));
                self.set(*dst, &moved, active);
            }
            Op::FromGeneric { space, dst, a } => {
                let moved = each(&values(a), |at| at.wrapping_sub(window(*space)));
                self.set(*dst, &moved, active);
            }
            op => unreachable!("executed otherwise: {op:?}"),
        }
    }

    /// Results of a type that is narrower than their register: numbers with a sign keep it.
    fn widened(&self, ty: Type, register: Reg, values: Lanes) -> Lanes {
        let bits = self.bits(register);
        if !ty.is_signed() || bits <= ty.bits() {
            return values;
        }
        each(&values, |value| truncate(sign_extend(value, ty.bits()).cast_unsigned(), bits))
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

/// Where a space begins among the addresses of all.
fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED,
        Space::Local => LOCAL,
        _ => 0,
    }
}
