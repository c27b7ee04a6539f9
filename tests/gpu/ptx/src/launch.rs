//! A launch: all blocks of a grid, one after the other.

use crate::{
    error::{Fault, KernelError, LaunchError},
    kernel::Kernel,
    lanes::WARP,
    memory::{Memory, Reach},
    step::Action,
    warp::{Paused, Place, Warp},
};

/// Threads that one block may have.
const MAX_THREADS: u64 = 1024;
/// Shared memory that one block may have, on the largest GPUs.
const MAX_SHARED_BYTES: usize = 227 << 10;
/// Instructions that a warp may execute.
const MAX_STEPS: u64 = 1 << 32;

/// How often a kernel is run, and with what.
#[derive(Debug, Clone)]
pub struct Launch<'p> {
    pub grid_size: [u32; 3],
    pub block_size: [u32; 3],
    /// Bytes of shared memory besides those that the kernel declares.
    pub shared_bytes: usize,
    /// All parameters, each where the kernel has it.
    pub params: &'p [u8],
}

impl Kernel {
    /// Checks what a driver checks before anything runs.
    ///
    /// # Errors
    /// [`LaunchError::Size`] if the sizes cannot be launched.
    pub fn check(&self, launch: &Launch<'_>) -> Result<(), LaunchError> {
        check(self, launch)
    }

    /// Runs the kernel.
    ///
    /// # Errors
    /// [`LaunchError`] if the sizes cannot be launched, or a thread cannot go on.
    pub fn launch(&self, launch: &Launch<'_>, memory: &mut impl Memory) -> Result<(), LaunchError> {
        self.launch_counted(launch, memory).map(drop)
    }

    /// Runs the kernel, and returns how many instructions of warps were executed.
    ///
    /// # Errors
    /// As [`Kernel::launch`].
    pub fn launch_counted(
        &self,
        launch: &Launch<'_>,
        memory: &mut impl Memory,
    ) -> Result<u64, LaunchError> {
        check(self, launch)?;
        let [x, y, z] = launch.grid_size;
        let mut blocks =
            (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z])));
        let mut block = Block::new(self, launch);
        blocks.try_fold(0, |count, place| Ok(count + block.run(place, memory)?))
    }
}

/// The threads that have shared memory together, used for one block after the other.
struct Block<'k> {
    kernel: &'k Kernel,
    params: &'k [u8],
    num_threads: u32,
    warps: Vec<Running<'k>>,
    shared: Vec<u8>,
}

/// A warp at work.
struct Running<'k> {
    warp: Warp<'k>,
    /// The memory that each of its lanes has to itself.
    local: Vec<u8>,
    /// Instructions that it may still execute.
    steps_left: u64,
    has_ended: bool,
}

impl<'k> Block<'k> {
    fn new(kernel: &'k Kernel, launch: &Launch<'k>) -> Self {
        let Launch { grid_size, block_size, params, .. } = *launch;
        let num_threads: u32 = block_size.iter().product();
        let block = [0; 3];
        let running = |first_thread| Running {
            warp: Warp::new(kernel, Place { block, block_size, grid_size, first_thread }),
            local: vec![0; WARP * kernel.local_bytes],
            steps_left: MAX_STEPS,
            has_ended: false,
        };
        let has_barrier = kernel.steps.iter().any(|step| matches!(step.action, Action::Barrier));
        // Warps that never wait for each other run one after the other, in the same registers.
        let num_at_once = if has_barrier { num_threads } else { 1 };
        let warps = (0..num_at_once).step_by(WARP).map(running).collect();
        let shared = vec![0; kernel.shared_bytes + launch.shared_bytes];
        Self { kernel, params, num_threads, warps, shared }
    }

    /// Runs all warps of a block, and returns how many instructions they executed.
    fn run(&mut self, place: [u32; 3], memory: &mut impl Memory) -> Result<u64, KernelError> {
        self.shared.fill(0);
        let at_once = self.warps.len() * WARP;
        let firsts = (0..self.num_threads).step_by(at_once);
        firsts.map(|first| self.run_at_once((place, first), memory)).sum()
    }

    /// Runs the warps of some threads in turn, each until all of its lanes are at a barrier or at
    /// their end. Warps that have ended are not waited for, as on hardware.
    fn run_at_once(
        &mut self,
        (place, first): ([u32; 3], u32),
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        for (first_thread, running) in (first..).step_by(WARP).zip(&mut self.warps) {
            running.warp.restart(place, first_thread);
            running.local.fill(0);
            (running.steps_left, running.has_ended) = (MAX_STEPS, false);
        }
        let mut num_running = self.warps.len();
        while num_running > 0 {
            for running in self.warps.iter_mut().filter(|running| !running.has_ended) {
                let mut reach = Reach {
                    global: memory,
                    globals: &self.kernel.globals,
                    params: self.params,
                    shared: &mut self.shared,
                    local: &mut running.local,
                    local_bytes: self.kernel.local_bytes,
                };
                match running.warp.run(&mut reach, &mut running.steps_left) {
                    Ok(Paused::AtBarrier) => {}
                    Ok(Paused::Ended) => {
                        running.has_ended = true;
                        num_running -= 1;
                    }
                    Ok(Paused::OutOfSteps) => {
                        return Err(error(self.kernel, &running.warp, Fault::Endless));
                    }
                    Err(fault) => return Err(error(self.kernel, &running.warp, fault)),
                }
            }
        }
        Ok(self.warps.iter().map(|running| MAX_STEPS - running.steps_left).sum())
    }
}

/// A fault at the place where a warp is.
fn error(kernel: &Kernel, warp: &Warp<'_>, fault: Fault) -> KernelError {
    let (line, thread) = warp.position();
    KernelError { kernel: kernel.name.clone(), line, block: warp.place.block, thread, fault }
}

fn check(kernel: &Kernel, launch: &Launch<'_>) -> Result<(), LaunchError> {
    let size = |what, found: u64, wanted: &str| {
        Err(LaunchError::Size { what, found, wanted: wanted.to_owned() })
    };
    let product = |sizes: [u32; 3]| {
        sizes.iter().fold(1_u64, |product, size| product.saturating_mul((*size).into()))
    };
    let (blocks, threads) = (product(launch.grid_size), product(launch.block_size));
    if blocks == 0 {
        return size("the number of blocks", blocks, "at least 1");
    }
    if !(1..=MAX_THREADS).contains(&threads) {
        return size("the number of threads in a block", threads, "1 to 1024");
    }
    let axes = [
        ("the grid's size along x", launch.grid_size[0], i32::MAX.unsigned_abs()),
        ("the grid's size along y", launch.grid_size[1], 65_535),
        ("the grid's size along z", launch.grid_size[2], 65_535),
        ("the block's size along z", launch.block_size[2], 64),
    ];
    if let Some((what, found, most)) = axes.into_iter().find(|(_, found, most)| found > most) {
        return size(what, found.into(), &format!("at most {most}"));
    }
    let shared_bytes = kernel.shared_bytes.saturating_add(launch.shared_bytes);
    if shared_bytes > MAX_SHARED_BYTES {
        let wanted = format!("at most {MAX_SHARED_BYTES}");
        return size("the number of bytes of shared memory", shared_bytes as u64, &wanted);
    }
    if launch.params.len() != kernel.param_bytes() {
        let (found, wanted) = (launch.params.len() as u64, kernel.param_bytes().to_string());
        return size("the number of bytes of parameters", found, &wanted);
    }
    Ok(())
}
