//! The registers of a warp: a row of lanes for each, by their width.

use std::collections::HashMap;

use crate::{
    inst::{Operand, Reg, Special},
    lanes::{Lanes, Mask, WARP, each, lanes_of},
    types::truncate,
    warp::Place,
};

/// Bits of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Predicate,
    Half,
    Word,
    Double,
}

impl Width {
    /// The width of so many bits; none where registers of it are not executed fast.
    pub(crate) fn of(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Self::Predicate),
            16 => Some(Self::Half),
            32 => Some(Self::Word),
            64 => Some(Self::Double),
            _ => None,
        }
    }

    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Predicate => 1,
            Self::Half => 16,
            Self::Word => 32,
            Self::Double => 64,
        }
    }
}

/// Which rows a register is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    /// Up to 32 bits.
    Narrow,
    Wide,
    /// One bit a lane, all in one word.
    Predicates,
}

impl File {
    fn of(bits: u32) -> Self {
        match bits {
            1 => Self::Predicates,
            2..=32 => Self::Narrow,
            _ => Self::Wide,
        }
    }
}

/// Where a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) file: File,
    pub(crate) row: u32,
    pub(crate) bits: u32,
    /// Its number among those of which it is kept in which lanes they were written.
    pub(crate) known: u32,
}

/// The number of all that is surely written before it is read.
pub(crate) const ALWAYS: u32 = 0;

/// Which registers a kernel has. Numbers and places that it reads have registers as well, which
/// nobody writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Frame {
    slots: Vec<Slot>,
    num_narrow: u32,
    num_wide: u32,
    num_predicates: u32,
    num_doubtful: u32,
    /// By their bits and their value.
    constants: HashMap<(u32, u64), Slot>,
    specials: Vec<(Slot, Special)>,
}

impl Frame {
    /// Registers of so many bits each, and whether it has to be kept who wrote them.
    pub(crate) fn new(bits: &[u32], are_doubtful: &[bool]) -> Self {
        let mut frame = Self::default();
        // The first predicate is so in all lanes.
        frame.constant(Width::Predicate, 1);
        let slot = |(bits, is_doubtful): (&u32, &bool)| {
            frame.num_doubtful += u32::from(*is_doubtful);
            let known = if *is_doubtful { frame.num_doubtful } else { ALWAYS };
            frame.add(*bits, known)
        };
        frame.slots = bits.iter().zip(are_doubtful).map(slot).collect();
        frame
    }

    fn add(&mut self, bits: u32, known: u32) -> Slot {
        let file = File::of(bits);
        let next = match file {
            File::Narrow => &mut self.num_narrow,
            File::Wide => &mut self.num_wide,
            File::Predicates => &mut self.num_predicates,
        };
        let row = *next;
        *next += 1;
        Slot { file, row, bits, known }
    }

    pub(crate) fn slot(&self, Reg(number): Reg) -> Slot {
        self.slots[number as usize]
    }

    /// A register that holds this number.
    fn constant(&mut self, width: Width, value: u64) -> Slot {
        let value = truncate(value, width.bits());
        if let Some(slot) = self.constants.get(&(width.bits(), value)) {
            return *slot;
        }
        let slot = self.add(width.bits(), ALWAYS);
        self.constants.insert((width.bits(), value), slot);
        slot
    }

    /// The register with this operand; none if it is one of another width.
    pub(crate) fn operand(&mut self, operand: Operand, width: Width) -> Option<Slot> {
        match operand {
            Operand::Reg(reg) => Some(self.slot(reg)).filter(|slot| slot.bits == width.bits()),
            Operand::Immediate(value) => Some(self.constant(width, value)),
            Operand::Special(special) => {
                let is_it = |(slot, known): &&(Slot, Special)| {
                    slot.bits == width.bits() && *known == special
                };
                if let Some((slot, _)) = self.specials.iter().find(is_it) {
                    return Some(*slot);
                }
                let slot = self.add(width.bits(), ALWAYS);
                self.specials.push((slot, special));
                Some(slot)
            }
        }
    }
}

/// What the registers of a warp hold.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    pub(crate) narrow: Vec<[u32; WARP]>,
    pub(crate) wide: Vec<[u64; WARP]>,
    pub(crate) predicates: Vec<Mask>,
    /// The lanes in which each was written, or is made from what was.
    known: Vec<Mask>,
}

impl Registers {
    pub(crate) fn new(frame: &Frame) -> Self {
        let mut registers = Self {
            narrow: vec![[0; WARP]; frame.num_narrow as usize],
            wide: vec![[0; WARP]; frame.num_wide as usize],
            predicates: vec![0; frame.num_predicates as usize],
            known: vec![0; frame.num_doubtful as usize + 1],
        };
        for ((_, value), slot) in &frame.constants {
            registers.fill(*slot, &[*value; WARP], Mask::MAX);
        }
        registers
    }

    /// Nothing was written yet.
    pub(crate) fn restart(&mut self) {
        self.known.fill(0);
        self.known[ALWAYS as usize] = Mask::MAX;
    }

    pub(crate) fn known(&self, number: u32) -> Mask {
        self.known[number as usize]
    }

    /// The lanes in which all of these were written.
    pub(crate) fn all_known(&self, numbers: &[u32]) -> Mask {
        numbers.iter().fold(Mask::MAX, |all, number| all & self.known(*number))
    }

    /// Notes in which lanes a register is as good as written, of those that write it now.
    pub(crate) fn learn(&mut self, number: u32, is_known: Mask, active: Mask) {
        let known = &mut self.known[number as usize];
        *known = *known & !active | is_known & active;
    }

    /// Fills the registers that say where a warp is, those that are asked for.
    pub(crate) fn place(
        &mut self,
        frame: &Frame,
        place: &Place,
        is_asked: impl Fn(Special) -> bool,
    ) {
        for (slot, special) in frame.specials.iter().filter(|(_, special)| is_asked(*special)) {
            self.fill(*slot, &place.special(*special), Mask::MAX);
        }
    }

    /// What a register holds, as numbers of 64 bits.
    pub(crate) fn lanes(&self, slot: Slot) -> Lanes {
        match slot.file {
            File::Narrow => self.narrow[slot.row as usize].map(u64::from),
            File::Wide => self.wide[slot.row as usize],
            File::Predicates => {
                let mask = self.predicates[slot.row as usize];
                std::array::from_fn(|lane| u64::from(mask >> lane & 1))
            }
        }
    }

    /// Writes numbers of 64 bits, of which the register takes as many as it has.
    pub(crate) fn fill(&mut self, slot: Slot, values: &Lanes, active: Mask) {
        let ones = truncate(u64::MAX, slot.bits);
        match slot.file {
            File::Narrow => {
                let row = values.map(|value| (value & ones) as u32);
                put(&mut self.narrow[slot.row as usize], &row, active);
            }
            File::Wide => {
                put(&mut self.wide[slot.row as usize], &each(values, |value| value & ones), active);
            }
            File::Predicates => {
                let is_so = lanes_of(active).filter(|lane| values[*lane] & 1 == 1);
                let is_so = is_so.fold(0, |mask, lane| mask | 1 << lane);
                self.fill_predicate(slot.row, is_so, active);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn fill_predicate(&mut self, row: u32, is_so: Mask, active: Mask) {
        let target = &mut self.predicates[row as usize];
        *target = *target & !active | is_so & active;
    }
}

/// Writes the lanes that take part.
#[inline(always)]
pub(crate) fn put<T: Copy>(target: &mut [T; WARP], values: &[T; WARP], active: Mask) {
    if active == Mask::MAX {
        *target = *values;
        return;
    }
    for lane in 0..WARP {
        target[lane] = if active >> lane & 1 == 1 { values[lane] } else { target[lane] };
    }
}
