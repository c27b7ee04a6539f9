//! A launch: all blocks of a grid.

use crate::{
    block::{Block, Together},
    error::{KernelError, LaunchError},
    kernel::Kernel,
    memory::Memory,
    order::{Draw, Order, Random, Shuffled},
};

/// Threads that one block may have.
const MAX_THREADS: u64 = 1024;
/// Shared memory that one block may have, on the largest GPUs.
const MAX_SHARED_BYTES: usize = 227 << 10;
/// Blocks whose warps are mixed, where their order is drawn.
const BLOCKS_AT_ONCE: usize = 4;

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
        self.launch_in(Order::InTurn, launch, memory)
    }

    /// The same, with blocks and warps in an order.
    ///
    /// # Errors
    /// As [`Kernel::launch`].
    pub fn launch_in(
        &self,
        order: Order,
        launch: &Launch<'_>,
        memory: &mut impl Memory,
    ) -> Result<u64, LaunchError> {
        check(self, launch)?;
        let count = match order {
            Order::InTurn => self.run(launch, Draw::in_turn(), memory),
            Order::Shuffled(seed) => self.run(launch, Draw::of(seed), memory),
            Order::Mixed(seed) => self.run_mixed(launch, Random::new(seed), memory),
        };
        Ok(count?)
    }

    fn run(
        &self,
        launch: &Launch<'_>,
        mut draw: Draw,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        let mut block = Block::new(self, launch, Together::IfTheyWait);
        let mut blocks = draw.turn(num_blocks(launch)).map(|number| place(launch, number));
        blocks.try_fold(0, |count, place| Ok(count + block.run(place, &mut draw, memory)?))
    }

    fn run_mixed(
        &self,
        launch: &Launch<'_>,
        mut random: Random,
        memory: &mut impl Memory,
    ) -> Result<u64, KernelError> {
        let left = Shuffled::new(num_blocks(launch), &mut random);
        let mut left = left.map(|number| place(launch, number));
        let mut running = Vec::new();
        for first in left.by_ref().take(BLOCKS_AT_ONCE) {
            let mut block = Block::new(self, launch, Together::Always);
            block.restart(first);
            running.push(block);
        }
        let mut count = 0;
        while !running.is_empty() {
            let chosen = random.below(running.len());
            let block = &mut running[chosen];
            count += block.run_some(&mut random, memory)?;
            if !block.is_ready() {
                match left.next() {
                    Some(next) => block.restart(next),
                    None => drop(running.swap_remove(chosen)),
                }
            }
        }
        Ok(count)
    }
}

fn num_blocks(launch: &Launch<'_>) -> u64 {
    launch.grid_size.map(u64::from).iter().product()
}

/// Where a block is in the grid.
fn place(launch: &Launch<'_>, number: u64) -> [u32; 3] {
    let [x, y, _] = launch.grid_size.map(u64::from);
    [number % x, number / x % y, number / x / y].map(|it| it as u32)
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
