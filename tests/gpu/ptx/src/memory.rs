//! What a kernel reads and writes.

use crate::{
    error::{Fault, Use},
    inst::Space,
    kernel::{GLOBALS, LOCAL, SHARED},
    lanes::{Lanes, Mask, WARP, lanes_of},
    local::Local,
    shared::{Shared, User, range},
    warp::Place,
};

/// The most bytes that a lane moves at once.
pub(crate) const MAX_BYTES: usize = 16;

/// What all lanes move at once, one after the other.
pub(crate) type Buffer = [u8; WARP * MAX_BYTES];

/// A fault, and the lanes that have it.
pub(crate) type LaneFault = (Mask, Fault);

/// The memory of devices.
pub trait Memory {
    /// Reads bytes of global memory.
    ///
    /// # Errors
    /// Why these bytes cannot be read.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String>;

    /// Writes bytes of global memory.
    ///
    /// # Errors
    /// Why these bytes cannot be written.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String>;
}

/// Lanes that read or write so many bytes each, at addresses of one space.
#[derive(Clone, Copy)]
pub(crate) struct Lined<'a> {
    pub(crate) space: Space,
    pub(crate) addresses: &'a Lanes,
    pub(crate) active: Mask,
    pub(crate) bytes: usize,
}

/// All that a thread of one warp can reach.
pub(crate) struct Reach<'m, M> {
    pub(crate) global: &'m mut M,
    pub(crate) globals: &'m [u8],
    pub(crate) params: &'m [u8],
    pub(crate) shared: &'m mut Shared,
    pub(crate) local: &'m mut Local,
    /// Where the warp is.
    pub(crate) place: Place,
    /// The line that it executes.
    pub(crate) line: u32,
    /// Whether that is an atomic.
    pub(crate) is_atomic: bool,
    /// The lanes that read what nobody has written, and may do so if they do not use it.
    pub(crate) unwritten: Mask,
}

impl<M: Memory> Reach<'_, M> {
    /// Reads for each lane that takes part.
    pub(crate) fn gather(
        &mut self,
        lines: Lined<'_>,
        buffer: &mut Buffer,
    ) -> Result<(), LaneFault> {
        let Lined { space, addresses, active, bytes } = lines;
        self.unwritten = 0;
        check_alignments(lines)?;
        if is_global(lines) {
            return self.gather_global(lines, buffer);
        }
        lanes_of(active).try_for_each(|lane| {
            let part = &mut buffer[lane * bytes..][..bytes];
            self.read(space, lane, addresses[lane], part).map_err(|fault| (1 << lane, fault))
        })
    }

    fn gather_global(&mut self, lines: Lined<'_>, buffer: &mut Buffer) -> Result<(), LaneFault> {
        let Lined { active, .. } = lines;
        let mut first = active.trailing_zeros() as usize % WARP;
        if active == Mask::MAX && are_consecutive(lines) {
            return self.read_run(lines, (0, WARP), buffer);
        }
        while first < WARP {
            let end = run(lines, first);
            self.read_run(lines, (first, end), buffer)?;
            first = next(active, end);
        }
        Ok(())
    }

    /// Writes for each lane that takes part, the later ones last.
    pub(crate) fn scatter(&mut self, lines: Lined<'_>, buffer: &Buffer) -> Result<(), LaneFault> {
        let Lined { space, addresses, active, bytes } = lines;
        check_alignments(lines)?;
        if !is_global(lines) {
            self.check_same(lines, buffer)?;
            return lanes_of(active).try_for_each(|lane| {
                let part = &buffer[lane * bytes..][..bytes];
                self.write(space, lane, addresses[lane], part).map_err(|fault| (1 << lane, fault))
            });
        }
        let mut first = active.trailing_zeros() as usize;
        while first < WARP {
            let end = run(lines, first);
            let part = &buffer[first * bytes..end * bytes];
            if self.global.write(addresses[first], part).is_err() {
                // Which lane's, and whether it is only all of them together.
                for lane in first..end {
                    let part = &buffer[lane * bytes..][..bytes];
                    let outcome = self.write(Space::Global, lane, addresses[lane], part);
                    outcome.map_err(|fault| (1 << lane, fault))?;
                }
            }
            first = next(active, end);
        }
        Ok(())
    }

    /// Reads for lanes that are beside each other, with addresses that are as well.
    fn read_run(
        &mut self,
        Lined { addresses, bytes, .. }: Lined<'_>,
        (first, end): (usize, usize),
        buffer: &mut Buffer,
    ) -> Result<(), LaneFault> {
        if self.global.read(addresses[first], &mut buffer[first * bytes..end * bytes]).is_ok() {
            return Ok(());
        }
        // Which lane's, and whether it is only all of them together.
        (first..end).try_for_each(|lane| {
            let part = &mut buffer[lane * bytes..][..bytes];
            let outcome = self.read(Space::Global, lane, addresses[lane], part);
            outcome.map_err(|fault| (1 << lane, fault))
        })
    }

    /// Checks that lanes that write to one place of shared memory write the same.
    fn check_same(&self, lines: Lined<'_>, buffer: &Buffer) -> Result<(), LaneFault> {
        let Lined { space, addresses, active, bytes } = lines;
        let is_shared = |lane: &usize| place(space, addresses[*lane]).0 == Space::Shared;
        let lanes = || lanes_of(active).filter(is_shared);
        if lanes().is_sorted_by(|a, b| addresses[*a] < addresses[*b]) {
            return Ok(());
        }
        let mut by_address: Vec<usize> = lanes().collect();
        by_address.sort_by_key(|lane| addresses[*lane]);
        let value = |lane: usize| &buffer[lane * bytes..][..bytes];
        let differ = |pair: &&[usize]| {
            addresses[pair[0]] == addresses[pair[1]] && value(pair[0]) != value(pair[1])
        };
        let Some(pair) = by_address.windows(2).find(differ) else { return Ok(()) };
        let fault = Fault::Race {
            address: place(space, addresses[pair[1]]).1,
            bytes,
            how: Use::Write,
            other_how: Use::Write,
            other_thread: self.place.thread(pair[0]),
            other_line: self.line,
        };
        Err((1 << pair[1], fault))
    }

    /// A lane that uses shared memory.
    fn user(&self, lane: usize, how: Use) -> User {
        let how = if self.is_atomic { Use::Atomic } else { how };
        User { line: self.line, thread: self.place.first_thread + lane as u32, how }
    }

    /// Reads for one lane.
    pub(crate) fn read(
        &mut self,
        space: Space,
        lane: usize,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        match place(space, address) {
            (Space::Global, at) if at >= GLOBALS => {
                bytes.copy_from_slice(part("module", self.globals, at - GLOBALS, bytes.len())?);
            }
            (Space::Global | Space::Generic, at) => {
                let num_bytes = bytes.len();
                self.global.read(at, bytes).map_err(|why| Fault::Memory {
                    address: at,
                    bytes: num_bytes,
                    why,
                })?;
            }
            (Space::Shared, at) => {
                let by = (self.user(lane, Use::Read), &self.place);
                let was_written = self.shared.read(at, bytes, by)?;
                self.unwritten |= u32::from(!was_written) << lane;
            }
            (Space::Param, at) => {
                bytes.copy_from_slice(part("parameter", self.params, at, bytes.len())?);
            }
            (Space::Local, at) => self.local.read(lane, at, bytes)?,
        }
        Ok(())
    }

    /// Writes for one lane.
    pub(crate) fn write(
        &mut self,
        space: Space,
        lane: usize,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let refused = |address, why: &str| {
            Err(Fault::Memory { address, bytes: bytes.len(), why: why.to_owned() })
        };
        match place(space, address) {
            (Space::Shared, at) => {
                self.shared.write(at, bytes, (self.user(lane, Use::Write), &self.place))?;
            }
            (Space::Local, at) => self.local.write(lane, at, bytes)?,
            (Space::Param, at) => return refused(at, "parameters are not written"),
            (Space::Global, at) if at >= GLOBALS => {
                return refused(at, "variables of the module are not written here");
            }
            (Space::Global | Space::Generic, at) => {
                self.global.write(at, bytes).map_err(|why| Fault::Memory {
                    address: at,
                    bytes: bytes.len(),
                    why,
                })?;
            }
        }
        Ok(())
    }
}

/// A space, and an address within it.
fn place(space: Space, address: u64) -> (Space, u64) {
    match space {
        Space::Generic if address >= LOCAL => (Space::Local, address - LOCAL),
        Space::Generic if address >= SHARED => (Space::Shared, address - SHARED),
        Space::Generic => (Space::Global, address),
        space => (space, address),
    }
}

/// The lanes in which something is so of an address.
#[inline(always)]
fn where_address(addresses: &Lanes, f: impl Fn(usize, u64) -> bool) -> Mask {
    (0..WARP).fold(0, |mask, lane| mask | u32::from(f(lane, addresses[lane])) << lane)
}

/// Whether all lanes read or write memory of the caller's.
fn is_global(Lined { space, addresses, active, .. }: Lined<'_>) -> bool {
    let reaches_any = matches!(space, Space::Global | Space::Generic);
    reaches_any && where_address(addresses, |_, at| at >= GLOBALS) & active == 0
}

impl Lined<'_> {
    /// The one address of all lanes, if they have one in memory of the caller's.
    pub(crate) fn only_global(self) -> Option<u64> {
        let Lined { space, addresses, active, .. } = self;
        let first = addresses[active.trailing_zeros() as usize % WARP];
        let may_be = matches!(space, Space::Global | Space::Generic) && first < GLOBALS;
        let is_one = may_be && where_address(addresses, |_, at| at != first) & active == 0;
        is_one.then_some(first)
    }
}

/// Whether the address of each lane, of all, is behind that of the one before.
fn are_consecutive(Lined { addresses, bytes, .. }: Lined<'_>) -> bool {
    let first = addresses[0];
    where_address(addresses, |lane, at| at == first.wrapping_add((lane * bytes) as u64))
        == Mask::MAX
}

/// Where lanes end, from this one on, that are beside each other as their addresses are.
fn run(lines: Lined<'_>, first: usize) -> usize {
    let Lined { addresses, active, bytes, .. } = lines;
    if first == 0 && active == Mask::MAX && are_consecutive(lines) {
        return WARP;
    }
    let is_next = |lane: &usize| {
        active >> lane & 1 == 1
            && addresses[*lane] == addresses[lane - 1].wrapping_add(bytes as u64)
    };
    first + 1 + (first + 1..WARP).take_while(is_next).count()
}

/// The next lane that takes part.
fn next(active: Mask, from: usize) -> usize {
    let left = active.checked_shr(from as u32).unwrap_or(0);
    if left == 0 { WARP } else { from + left.trailing_zeros() as usize }
}

pub(crate) fn check_alignments(
    Lined { addresses, active, bytes, .. }: Lined<'_>,
) -> Result<(), LaneFault> {
    // Lanes move a power of two of bytes.
    let rest = bytes as u64 - 1;
    let off = where_address(addresses, |_, at| at & rest != 0) & active;
    if off == 0 {
        return Ok(());
    }
    let lane = off.trailing_zeros();
    Err((1 << lane, Fault::Misaligned { address: addresses[lane as usize], bytes }))
}

fn part<'b>(
    space: &'static str,
    all: &'b [u8],
    address: u64,
    bytes: usize,
) -> Result<&'b [u8], Fault> {
    Ok(&all[range(space, all.len(), address, bytes)?])
}
