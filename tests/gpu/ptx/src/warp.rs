//! A warp: its registers, and where its lanes are in the code.

use crate::{
    dataflow::Flow,
    error::Fault,
    inst::{Op, Special},
    kernel::Kernel,
    lanes::{Lanes, Mask, WARP},
    memory::{LaneFault, Memory, Reach},
    registers::{ALWAYS, Registers},
    step::{Action, Compute, Doubtful, Step},
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
        self.thread_numbered(self.first_thread + lane as u32)
    }

    /// A thread of the block, by axis.
    pub(crate) fn thread_numbered(&self, number: u32) -> [u32; 3] {
        let [x, y, _] = self.block_size;
        [number % x, number / x % y, number / x / y]
    }

    /// The threads of all lanes, along an axis.
    fn threads(&self, axis: usize) -> Lanes {
        let mut thread = self.thread(0);
        std::array::from_fn(|_| {
            let along = thread[axis].into();
            thread[0] += 1;
            for axis in 0..2 {
                if thread[axis] == self.block_size[axis] {
                    thread[axis] = 0;
                    thread[axis + 1] += 1;
                }
            }
            along
        })
    }

    /// What a register says that depends on nothing else.
    pub(crate) fn special(&self, special: Special) -> Lanes {
        match special {
            Special::Thread(axis) => self.threads(axis),
            Special::BlockSize(axis) => [self.block_size[axis].into(); WARP],
            Special::Block(axis) => [self.block[axis].into(); WARP],
            Special::GridSize(axis) => [self.grid_size[axis].into(); WARP],
            Special::Lane => std::array::from_fn(|lane| lane as u64),
            Special::WarpSize => [WARP as u64; WARP],
        }
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
    /// At the barrier with this number among the instructions.
    AtBarrier(usize),
    Ended,
    /// It may not execute more for now.
    OutOfSteps,
}

/// What ends that lanes go on together.
enum Parted {
    /// Some of them go elsewhere, wait or have ended.
    Lanes,
    OutOfSteps,
}

pub(crate) struct Warp<'k> {
    pub(crate) kernel: &'k Kernel,
    pub(crate) place: Place,
    pub(crate) registers: Registers,
    /// In no order; those that are furthest behind go on first.
    groups: Vec<Group>,
    /// Lanes that wait at a barrier.
    waiting: Vec<Group>,
    /// Lanes that wait at a shuffle for the others that it names.
    parked: Vec<Group>,
    /// The instruction at which it went wrong.
    current: Group,
}

impl<'k> Warp<'k> {
    pub(crate) fn new(kernel: &'k Kernel, place: Place) -> Self {
        let mut registers = Registers::new(&kernel.frame);
        let current = Group { at: 0, mask: 0 };
        registers.place(&kernel.frame, &place, |_| true);
        let (groups, waiting, parked) = (Vec::new(), Vec::new(), Vec::new());
        let mut warp = Self { kernel, place, registers, groups, waiting, parked, current };
        warp.restart(place.block, place.first_thread);
        warp
    }

    /// Begins anew, in another block or with other threads.
    pub(crate) fn restart(&mut self, block: [u32; 3], first_thread: u32) {
        let before = self.place;
        self.place = Place { block, first_thread, ..before };
        let has_changed = |special| match special {
            Special::Block(axis) => before.block[axis] != block[axis],
            Special::Thread(_) => before.first_thread != first_thread,
            _ => false,
        };
        self.registers.restart();
        self.registers.place(&self.kernel.frame, &self.place, has_changed);
        let place = self.place;
        let num_threads: u32 = place.block_size.iter().product();
        let left = (num_threads - place.first_thread).min(WARP as u32);
        let mask = u32::MAX >> (WARP as u32 - left);
        self.groups.clear();
        self.waiting.clear();
        self.parked.clear();
        self.go(0, mask);
    }

    /// The line that is executed, and the first thread that takes part.
    pub(crate) fn position(&self) -> (u32, [u32; 3]) {
        let line = self.kernel.steps.get(self.current.at).map_or(0, |step| step.line);
        (line, self.place.thread(self.current.mask.trailing_zeros().min(31) as usize))
    }

    /// Goes on until all lanes are at a barrier or at their end, or so many steps are done.
    pub(crate) fn run<M: Memory>(
        &mut self,
        reach: &mut Reach<'_, M>,
        steps_left: &mut u64,
    ) -> Result<Paused, Fault> {
        while let Some(group) = self.next_group() {
            if let Parted::OutOfSteps = self.go_on(group, reach, steps_left)? {
                return Ok(Paused::OutOfSteps);
            }
        }
        if let Some(group) = self.parked.first() {
            self.current = *group;
            let lane = group.mask.trailing_zeros() as usize;
            let source_lane = (!group.mask).trailing_zeros() as usize;
            return Err(Fault::Shuffle { lane, source_lane });
        }
        self.pass_barrier()
    }

    /// Lets lanes go on together until they part, or come to where others are.
    fn go_on<M: Memory>(
        &mut self,
        Group { mut at, mut mask }: Group,
        reach: &mut Reach<'_, M>,
        steps_left: &mut u64,
    ) -> Result<Parted, Fault> {
        let kernel = self.kernel;
        let others = self.groups.iter().map(|group| group.at).min().unwrap_or(usize::MAX);
        loop {
            if at >= others {
                self.go(at, mask);
                return Ok(Parted::Lanes);
            }
            // Behind the last instruction is the end.
            let Some(step) = kernel.steps.get(at) else { return Ok(Parted::Lanes) };
            if *steps_left == 0 {
                self.go(at, mask);
                return Ok(Parted::OutOfSteps);
            }
            *steps_left -= 1;
            reach.line = step.line;
            if step.guard_known != ALWAYS {
                self.must_be_known(&[step.guard_known], mask).map_err(|(lanes, fault)| {
                    self.current = Group { at, mask: lanes };
                    fault
                })?;
            }
            let active = mask & (self.registers.predicates[step.guard as usize] ^ step.flip);
            let outcome = match &step.action {
                Action::Compute(Compute { run, rows }) => {
                    run(&mut self.registers, *rows, active);
                    Ok(())
                }
                Action::Doubtful(doubtful) => {
                    self.compute(doubtful, active);
                    Ok(())
                }
                Action::Branch { target } if active == mask => {
                    at = *target;
                    continue;
                }
                _ if active == 0 => Ok(()),
                Action::Load(access) => self.load(access, active, reach),
                Action::Store(access) => self.store(access, active, reach),
                Action::Other(flow) => self.other(flow, at, active, reach),
                Action::Meet(flow) => {
                    let Some(together) = self.meet(&kernel.code[at].op, at, active) else {
                        self.go(at + 1, mask & !active);
                        return Ok(Parted::Lanes);
                    };
                    // Those that were here before go on with these.
                    mask |= together;
                    self.other(flow, at, together, reach)
                }
                Action::Branch { .. } | Action::Barrier | Action::Return => {
                    self.part(step, at, (active, mask));
                    return Ok(Parted::Lanes);
                }
            };
            if let Err((lanes, fault)) = outcome {
                self.current = Group { at, mask: lanes };
                return Err(fault);
            }
            at += 1;
        }
    }

    /// Computes from what was perhaps not written.
    fn compute(&mut self, doubtful: &Doubtful, active: Mask) {
        let registers = &mut self.registers;
        registers.learn(doubtful.dst_known, doubtful.known(registers), active);
        let Compute { run, rows } = doubtful.compute;
        run(registers, rows, active);
    }

    /// Executes what is not computed in its own width, or exchanges values.
    fn other<M: Memory>(
        &mut self,
        flow: &Flow,
        at: usize,
        active: Mask,
        reach: &mut Reach<'_, M>,
    ) -> Result<(), LaneFault> {
        self.must_be_known(&flow.must, active)?;
        let is_known = self.registers.all_known(&flow.from);
        self.exchange(&self.kernel.code[at].op, active, reach)?;
        for dst in &flow.dsts {
            self.registers.learn(*dst, is_known, active);
        }
        Ok(())
    }

    /// Checks that these registers were written by all who use them.
    pub(crate) fn must_be_known(&self, numbers: &[u32], active: Mask) -> Result<(), LaneFault> {
        let unknown = active & !self.registers.all_known(numbers);
        if unknown == 0 { Ok(()) } else { Err((unknown, Fault::UnwrittenRegister)) }
    }

    /// Some lanes go elsewhere, wait or have ended; the others go on.
    fn part(&mut self, step: &Step, at: usize, (active, mask): (Mask, Mask)) {
        match step.action {
            Action::Branch { target } => self.go(target, active),
            Action::Barrier => add(&mut self.waiting, at, active),
            _ => {}
        }
        self.go(at + 1, mask & !active);
    }

    /// Lanes come to a shuffle or a matrix: all that are there, or none while others that it names
    /// are still on their way, for which these wait.
    ///
    /// Source: PTX ISA 9.0, section 9.7.9.6, `shfl.sync`, and section 9.7.14.5, `.sync`.
    fn meet(&mut self, op: &Op, at: usize, active: Mask) -> Option<Mask> {
        let before = self.parked.iter().position(|group| group.at == at);
        let together = before.map_or(active, |it| active | self.parked.swap_remove(it).mask);
        let members = match op {
            Op::Shuffle(shuffle) => {
                self.value(shuffle.members)[together.trailing_zeros() as usize] as Mask
            }
            // A matrix is of all lanes.
            _ => Mask::MAX,
        };
        let elsewhere = self.groups.iter().chain(&self.parked).fold(0, |all, it| all | it.mask);
        if members & elsewhere & !together == 0 {
            return Some(together);
        }
        self.parked.push(Group { at, mask: together });
        None
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
        self.current = first;
        self.waiting.clear();
        self.go(first.at + 1, first.mask);
        Ok(Paused::AtBarrier(first.at))
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
