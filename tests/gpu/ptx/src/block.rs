//! A block: the warps that have shared memory together and wait for each other.

use crate::{
    error::{Fault, KernelError},
    inst::{Op, Space},
    kernel::Kernel,
    lanes::WARP,
    launch::Launch,
    local::Local,
    memory::{Memory, Reach},
    order::{Draw, Random},
    shared::Shared,
    step::Action,
    warp::{Paused, Place, Warp},
};

/// Instructions that a warp may execute.
const MAX_STEPS: u64 = 1 << 32;
/// Of the most instructions that a warp executes before another may, where their order is drawn: the
/// power of two, which is drawn as well. Few of them part what lies close together, many are fast.
const MAX_SLICE_BITS: usize = 11;

/// Which warps have registers at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    Always,
    /// Warps that never wait for each other have one after the other the same ones.
    IfTheyWait,
}

/// A block, used for one place in the grid after the other.
pub(crate) struct Block<'k> {
    kernel: &'k Kernel,
    params: &'k [u8],
    num_threads: u32,
    warps: Vec<Running<'k>>,
    /// Those of them that can go on, where their order is drawn.
    ready: Vec<usize>,
    shared: Shared,
}

/// A warp at work.
struct Running<'k> {
    warp: Warp<'k>,
    local: Local,
    /// Instructions that it may still execute.
    steps_left: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// At the barrier with this number among the instructions.
    Waiting(usize),
    Ended,
}

impl<'k> Block<'k> {
    pub(crate) fn new(kernel: &'k Kernel, launch: &Launch<'k>, together: Together) -> Self {
        let Launch { grid_size, block_size, params, .. } = *launch;
        let num_threads: u32 = block_size.iter().product();
        let block = [0; 3];
        let running = |first_thread| Running {
            warp: Warp::new(kernel, Place { block, block_size, grid_size, first_thread }),
            local: Local::new(kernel.local_bytes),
            steps_left: MAX_STEPS,
            state: State::Ready,
        };
        let has_barrier = kernel.steps.iter().any(|step| matches!(step.action, Action::Barrier));
        let are_together = has_barrier || together == Together::Always;
        let num_at_once = if are_together { num_threads } else { 1 };
        let warps = (0..num_at_once).step_by(WARP).map(running).collect();
        let shared = Shared::new((kernel.shared_bytes, launch.shared_bytes), least_bytes(kernel));
        Self { kernel, params, num_threads, warps, ready: Vec::new(), shared }
    }

    /// Runs all warps of a block, and returns how many instructions they executed.
    pub(crate) fn run(
        &mut self,
        place: [u32; 3],
        draw: &mut Draw,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        self.shared.restart();
        let at_once = (self.warps.len() * WARP) as u32;
        let times = draw.order(self.num_threads.div_ceil(at_once).into());
        times.map(|time| self.run_at_once((place, time as u32 * at_once), draw, memory)).sum()
    }

    /// Runs the warps of some threads in turn, each until all of its lanes are at a barrier or at
    /// their end. Warps that have ended are not waited for, as on hardware.
    fn run_at_once(
        &mut self,
        (place, first): ([u32; 3], u32),
        draw: &mut Draw,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        self.restart_warps(place, first);
        let mut count = 0;
        while !self.has_ended() {
            for index in draw.order(self.warps.len() as u64) {
                let index = index as usize;
                if self.warps[index].state == State::Ready {
                    count += self.run_warp(index, MAX_STEPS, memory)?;
                }
            }
            self.pass_barrier()?;
        }
        Ok(count)
    }

    /// Begins anew, elsewhere in the grid.
    pub(crate) fn restart(&mut self, place: [u32; 3]) {
        self.shared.restart();
        self.restart_warps(place, 0);
        self.find_ready();
    }

    fn find_ready(&mut self) {
        let states = self.warps.iter().map(|running| running.state);
        self.ready.clear();
        self.ready.extend((0..).zip(states).filter(|it| it.1 == State::Ready).map(|it| it.0));
    }

    fn restart_warps(&mut self, place: [u32; 3], first: u32) {
        for (first_thread, running) in (first..).step_by(WARP).zip(&mut self.warps) {
            running.warp.restart(place, first_thread);
            running.local.restart();
            (running.steps_left, running.state) = (MAX_STEPS, State::Ready);
        }
    }

    fn has_ended(&self) -> bool {
        self.warps.iter().all(|running| running.state == State::Ended)
    }

    /// Whether there is a warp for [`run_some`](Self::run_some).
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Runs a few instructions of any warp, and returns how many.
    pub(crate) fn run_some(
        &mut self,
        random: &mut Random,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        let chosen = random.below(self.ready.len());
        let index = self.ready[chosen];
        let bits = random.below(MAX_SLICE_BITS);
        let most = 1 + random.below(2 << bits) as u64;
        let count = self.run_warp(index, most, memory)?;
        if self.warps[index].state != State::Ready {
            self.ready.swap_remove(chosen);
        }
        if self.ready.is_empty() {
            self.pass_barrier()?;
            self.find_ready();
        }
        Ok(count)
    }

    /// Runs a warp until it pauses, and returns how many instructions it executed.
    fn run_warp(
        &mut self,
        index: usize,
        most: u64,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        let running = &mut self.warps[index];
        let mut reach = Reach {
            global: memory,
            globals: &self.kernel.globals,
            params: self.params,
            shared: &mut self.shared,
            local: &mut running.local,
            place: running.warp.place,
            line: 0,
            is_atomic: false,
            unwritten: 0,
        };
        let before = running.steps_left.min(most);
        let mut left = before;
        let paused = running.warp.run(&mut reach, &mut left);
        running.steps_left -= before - left;
        running.state = match paused {
            Ok(Paused::AtBarrier(at)) => State::Waiting(at),
            Ok(Paused::Ended) => State::Ended,
            Ok(Paused::OutOfSteps) if running.steps_left > 0 => State::Ready,
            Ok(Paused::OutOfSteps) => {
                return Err(error(self.kernel, &running.warp, Fault::Endless));
            }
            Err(fault) => return Err(error(self.kernel, &running.warp, fault)),
        };
        Ok(before - left)
    }

    /// Lets all warps go on once none has to be waited for. All of them wait at the same barrier.
    fn pass_barrier(&mut self) -> Result<(), KernelError> {
        if self.warps.iter().any(|running| running.state == State::Ready) {
            return Ok(());
        }
        let mut first = None;
        for (index, running) in self.warps.iter_mut().enumerate() {
            let State::Waiting(at) = running.state else { continue };
            let (other_warp, other) = *first.get_or_insert((index, at));
            if at != other {
                let other_line = self.kernel.steps[other].line;
                let fault = Fault::Barriers { warp: index, other_warp, other_line };
                return Err(error(self.kernel, &running.warp, fault));
            }
            running.state = State::Ready;
        }
        if first.is_some() {
            self.shared.pass_barrier();
        }
        Ok(())
    }
}

/// A fault at the place where a warp is.
fn error(kernel: &Kernel, warp: &Warp<'_>, fault: Fault) -> KernelError {
    let (line, thread) = warp.position();
    KernelError { kernel: kernel.name.clone(), line, block: warp.place.block, thread, fault }
}

/// Bytes that a thread uses of shared memory at once, at least.
fn least_bytes(kernel: &Kernel) -> usize {
    let of = |op: &Op| {
        let (space, bytes) = match op {
            Op::Load { space, ty, dsts, .. } => (*space, ty.bytes() * dsts.len()),
            Op::Store { space, ty, values, .. } => (*space, ty.bytes() * values.len()),
            Op::Atomic(atomic) => (atomic.space, atomic.ty.bytes()),
            _ => return None,
        };
        matches!(space, Space::Shared | Space::Generic).then_some(bytes)
    };
    kernel.code.iter().filter_map(|inst| of(&inst.op)).min().unwrap_or(1)
}
