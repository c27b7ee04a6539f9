//! Kernels whose results are known.

use crate::{
    case::{Case, Seen, same},
    driver::{Driver, Grid},
    error::Outcome,
    gpu::{Gpu, bytes_of, must, words_of},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "shared-memory",
        source: "PTX ISA, \"bar\": \"guarantees that when the barrier completes, prior memory \
                 accesses requested by this thread are performed relative to all threads \
                 participating in the barrier\"",
        run: shared_memory,
    },
    Case { name: "shuffle-sum", source: "PTX ISA, \"shfl.sync\", mode bfly", run: shuffle_sum },
    Case {
        name: "shuffle-modes",
        source: "PTX ISA, \"shfl.sync\": modes up, down, bfly, idx; a source lane out of range \
                 copies its own operand",
        run: shuffle_modes,
    },
    Case {
        name: "atomics",
        source: "PTX ISA, \"atom\": \"Atomically loads the original value at location a into \
                 destination register d, performs a reduction operation …, and stores the \
                 result\"",
        run: atomics,
    },
    Case {
        name: "loop",
        source: "PTX ISA, \"bra\", \"setp\", \"mad\": 20 000 rounds in wrapping arithmetic",
        run: looped,
    },
];

/// Runs a kernel over words in place.
fn over(gpu: &Gpu<'_>, ptx: &str, grid: Grid, words: &[u32]) -> Outcome<Vec<u32>> {
    let kernel = gpu.kernel(ptx, "k")?;
    let address = gpu.alloc(words.len() * 4)?;
    gpu.upload(address, &bytes_of(words), 0)?;
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[address]))?;
    gpu.download(address, words.len() * 4, 0).map(|it| words_of(&it))
}

fn shared_memory(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let words: Vec<u32> = (0..1024).collect();
    let found = over(&gpu, &ptx::reverse(), Grid::of(4, 256), &words)?;
    let want: Vec<u32> = words.chunks(256).flat_map(|it| it.iter().rev().copied()).collect();
    seen.note("first words", &found[..4]);
    same("each block turned around", found, want)
}

fn shuffle_sum(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let words: Vec<u32> = (0..128).collect();
    let found = over(&gpu, &ptx::sum_of_warp(), Grid::of(2, 64), &words)?;
    let sum = |it: &[u32]| vec![it.iter().sum(); 32];
    let want: Vec<u32> = words.chunks(32).flat_map(sum).collect();
    seen.note("first word", found[0]);
    same("each warp's sum", found, want)
}

fn shuffle_modes(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let found = over(&gpu, &ptx::shuffles(), Grid::of(1, 32), &[0; 128])?;
    let lanes = 0..32_u32;
    let up = lanes.clone().map(|it| if it < 3 { it } else { it - 3 });
    let down = lanes.clone().map(|it| if it + 3 > 31 { it } else { it + 3 });
    let butterfly = lanes.clone().map(|it| it ^ 3);
    let want: Vec<u32> = up.chain(down).chain(butterfly).chain(lanes.map(|_| 3)).collect();
    seen.note("words", &found[..]);
    same("what each lane got", found, want)
}

fn atomics(driver: &Driver, seen: &mut Seen) -> Outcome {
    const THREADS: u32 = 1024;
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::atomics(), "k")?;
    let [results, tickets] = [gpu.alloc(20)?, gpu.alloc(THREADS as usize * 4)?];
    gpu.upload(results, &bytes_of(&[0, 0, u32::MAX, 0, 0]), 0)?;
    gpu.fill(tickets, 0, THREADS as usize * 4, 0)?;
    must("cuLaunchKernel", gpu.launch(kernel, Grid::of(4, 256), &[results, tickets]))?;
    let found = words_of(&gpu.download(results, 20, 0)?);
    seen.note("words", &found[..]);
    same("sum, greatest, least, exchanged, swapped", found, vec![THREADS, THREADS - 1, 0, 5, 9])?;
    let mut numbers = words_of(&gpu.download(tickets, THREADS as usize * 4, 0)?);
    numbers.sort_unstable();
    same("every count once", numbers, (0..THREADS).collect())
}

fn looped(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let found = over(&gpu, &ptx::spin(), Grid::of(1, 1), &[20_000])?;
    let want = (0..20_000).fold(1_u32, |it, _| it.wrapping_mul(5).wrapping_add(3));
    seen.note("word", found[0]);
    same("what came of the rounds", found, vec![want])
}
