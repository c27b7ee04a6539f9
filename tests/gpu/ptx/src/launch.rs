//! A launch: all blocks of a grid, one after the other.

use crate::{
    error::{KernelError, LaunchError},
    kernel::Kernel,
    lanes::WARP,
    memory::{Memory, Reach},
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
        check(self, launch)?;
        let [x, y, z] = launch.grid_size;
        for block in (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z]))) {
            self.run_block(launch, block, memory)?;
        }
        Ok(())
    }

    /// Runs the warps of a block in turn, each until all of its lanes are at a barrier or at their
    /// end. Warps that have ended are not waited for, as on hardware.
    fn run_block(
        &self,
        launch: &Launch<'_>,
        block: [u32; 3],
        memory: &mut impl Memory,
    ) -> Result<(), KernelError> {
        let Launch { grid_size, block_size, params, .. } = *launch;
        let num_threads: u32 = block_size.iter().product();
        let running = |first_thread| Running {
            warp: Warp::new(self, Place { block, block_size, grid_size, first_thread }),
            local: vec![0; WARP * self.local_bytes],
            steps_left: MAX_STEPS,
        };
        let mut warps: Vec<Running<'_>> = (0..num_threads).step_by(WARP).map(running).collect();
        let mut shared = vec![0; self.shared_bytes + launch.shared_bytes];
        while !warps.is_empty() {
            let mut waiting = Vec::new();
            for mut running in warps {
                let mut reach = Reach {
                    global: memory,
                    globals: &self.globals,
                    params,
                    shared: &mut shared,
                    local: &mut running.local,
                    local_bytes: self.local_bytes,
                };
                match running.warp.run(&mut reach, &mut running.steps_left) {
                    Ok(Paused::Ended) => {}
                    Ok(Paused::AtBarrier) => waiting.push(running),
                    Err(fault) => {
                        let (line, thread) = running.warp.position();
                        let kernel = self.name.clone();
                        return Err(KernelError { kernel, line, block, thread, fault });
                    }
                }
            }
            warps = waiting;
        }
        Ok(())
    }
}

/// A warp at work.
struct Running<'k> {
    warp: Warp<'k>,
    /// The memory that each of its lanes has to itself.
    local: Vec<u8>,
    /// Instructions that it may still execute.
    steps_left: u64,
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
