//! Launches, and their parameters.

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::{Driver, Grid},
    error::Outcome,
    gpu::{Gpu, bytes_of, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "launch-zero-grid",
        source: "cuLaunchKernel: returns CUDA_ERROR_INVALID_VALUE",
        run: |driver, seen| refused(driver, seen, Grid::of(0, 1)),
    },
    Case {
        name: "launch-zero-block",
        source: "cuLaunchKernel: returns CUDA_ERROR_INVALID_VALUE",
        run: |driver, seen| refused(driver, seen, Grid::of(1, 0)),
    },
    Case {
        name: "launch-1025-threads",
        source: "Technical Specifications per Compute Capability: \"Maximum number of threads \
                 per block: 1024\"; cuLaunchKernel: returns CUDA_ERROR_INVALID_VALUE or \
                 CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
        run: |driver, seen| refused(driver, seen, Grid::of(1, 1025)),
    },
    Case {
        name: "launch-65-deep",
        source: "Technical Specifications per Compute Capability: \"Maximum z-dimension of a \
                 block: 64\"",
        run: |driver, seen| refused(driver, seen, Grid { threads: [1, 1, 65], ..Grid::of(1, 1) }),
    },
    Case {
        name: "launch-wide-grid",
        source: "Technical Specifications per Compute Capability: \"Maximum y- or z-dimension of \
                 a grid of thread blocks: 65535\"",
        run: |driver, seen| {
            refused(driver, seen, Grid { blocks: [1, 65_536, 1], ..Grid::of(1, 1) })
        },
    },
    Case {
        name: "launch-too-much-shared",
        source: "Technical Specifications per Compute Capability: \"Maximum amount of shared \
                 memory per thread block\" is 227 KB or less",
        run: |driver, seen| refused(driver, seen, Grid { shared_bytes: 1 << 20, ..Grid::of(1, 1) }),
    },
    Case {
        name: "launch-shared-without-opt-in",
        source: "CUDA C++ Programming Guide, \"Compute Capability 7.x\", \"Shared Memory\": \
                 \"Kernels relying on shared memory allocations over 48 KB per block are \
                 architecture-specific, as such they must use dynamic shared memory … and \
                 require an explicit opt-in\"",
        run: |driver, seen| refused(driver, seen, Grid { shared_bytes: 49_153, ..Grid::of(1, 1) }),
    },
    Case {
        name: "launch-largest-block",
        source: "Technical Specifications per Compute Capability: 1024 threads, 48 KB of shared \
                 memory",
        run: largest,
    },
    Case {
        name: "launch-all-axes",
        source: "CUDA C++ Programming Guide, \"Thread Hierarchy\": each block and thread of \
                 three axes runs once",
        run: all_axes,
    },
    Case {
        name: "launch-parameters",
        source: "PTX ISA, \"Kernel Function Parameters\": each parameter has the alignment of \
                 its type, or as declared; cuLaunchKernel: \"the number of kernel parameters and \
                 their offsets and sizes do not need to be specified\"",
        run: parameters,
    },
    Case {
        name: "launch-parameters-copied",
        source: "cuLaunchKernel: parameters are what each pointer points to when it is called",
        run: parameters_copied,
    },
];

/// A launch that is refused does nothing, and leaves the process as it was.
fn refused(driver: &Driver, seen: &mut Seen, grid: Grid) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    let address = gpu.alloc(1 << 20)?;
    gpu.fill(address, 0, 1 << 20, 0)?;
    let want = &[Code::INVALID_VALUE, Code::LAUNCH_OUT_OF_RESOURCES];
    seen.code("cuLaunchKernel", gpu.launch(kernel, grid, &[address]), want)?;
    gpu.synchronize()?;
    must("a launch afterwards", gpu.launch(kernel, Grid::of(1, 1), &[address]))?;
    same("memory afterwards", gpu.download(address, 8, 0)?, bytes_of(&[1, 0]))
}

fn largest(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    let address = gpu.alloc(4096)?;
    gpu.fill(address, 0, 4096, 0)?;
    let grid = Grid { shared_bytes: 48 << 10, ..Grid::of(1, 1024) };
    seen.code("cuLaunchKernel", gpu.launch(kernel, grid, &[address]), &[Code::SUCCESS])?;
    same("every word", gpu.download(address, 4096, 0)?, bytes_of(&[1; 1024]))
}

fn all_axes(driver: &Driver, seen: &mut Seen) -> Outcome {
    let body = "\
mov.u32 %r0, %ctaid.z;
mov.u32 %r1, %nctaid.y;
mov.u32 %r2, %ctaid.y;
mad.lo.s32 %r0, %r0, %r1, %r2;
mov.u32 %r1, %nctaid.x;
mov.u32 %r2, %ctaid.x;
mad.lo.s32 %r0, %r0, %r1, %r2;
mov.u32 %r1, %ntid.z;
mov.u32 %r2, %tid.z;
mad.lo.s32 %r0, %r0, %r1, %r2;
mov.u32 %r1, %ntid.y;
mov.u32 %r2, %tid.y;
mad.lo.s32 %r0, %r0, %r1, %r2;
mov.u32 %r1, %ntid.x;
mov.u32 %r2, %tid.x;
mad.lo.s32 %r0, %r0, %r1, %r2;
mul.wide.u32 %d0, %r0, 4;
add.s64 %d1, %p0, %d0;
ld.global.u32 %r3, [%d1];
add.s32 %r3, %r3, %r0;
st.global.u32 [%d1], %r3;
";
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::kernel(1, body), "k")?;
    let (blocks, threads) = ([3, 4, 5], [7, 3, 2]);
    let count: u32 = blocks.iter().chain(&threads).product();
    let address = gpu.alloc(count as usize * 4)?;
    gpu.fill(address, 0, count as usize * 4, 0)?;
    let grid = Grid { blocks, threads, ..Grid::default() };
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[address]))?;
    let want: Vec<u32> = (0..count).collect();
    seen.note("threads", count);
    same("every number once", gpu.download(address, count as usize * 4, 0)?, bytes_of(&want))
}

fn parameters(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::mixed_params(), "k")?;
    let address = gpu.alloc(32)?;
    gpu.fill(address, 0, 32, 0)?;
    let bytes: [u8; 24] = std::array::from_fn(|it| u8::try_from(it).unwrap_or(0));
    let (double, single, wide) = (1.5_f64, -2.25_f32, 0x0123_4567_89AB_CDEF_u64);
    let params: [&[u8]; 8] = [
        &[0xA1],
        &address.to_ne_bytes(),
        &0xB2C3_u16.to_ne_bytes(),
        &[0xD4],
        &double.to_ne_bytes(),
        &single.to_ne_bytes(),
        &bytes,
        &wide.to_ne_bytes(),
    ];
    // SAFETY: these are the kernel's parameters.
    must("cuLaunchKernel", unsafe { driver.launch(kernel, Grid::of(1, 1), &params) })?;
    let mut want = vec![0xA1, 0, 0xC3, 0xB2, 0xD4, 0, 0, 0];
    want.extend(double.to_le_bytes());
    want.extend(single.to_le_bytes());
    want.extend(&bytes[8..12]);
    want.extend(wide.to_le_bytes());
    let found = gpu.download(address, 32, 0)?;
    seen.note("bytes", &found[..]);
    same("the parameters' bytes", found, want)
}

fn parameters_copied(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    let [a, b] = [gpu.alloc(4)?, gpu.alloc(4)?];
    gpu.fill(a, 0, 4, 0)?;
    gpu.fill(b, 0, 4, 0)?;
    let mut param = a.to_ne_bytes();
    // SAFETY: the kernel has one address as its parameter.
    must("cuLaunchKernel", unsafe { driver.launch(kernel, Grid::of(1, 1), &[&param]) })?;
    param.copy_from_slice(&b.to_ne_bytes());
    gpu.synchronize()?;
    let found = [gpu.download(a, 4, 0)?, gpu.download(b, 4, 0)?].concat();
    seen.note("bytes", &found[..]);
    same("what was counted, by the address at the launch", found, bytes_of(&[1, 0]))
}
