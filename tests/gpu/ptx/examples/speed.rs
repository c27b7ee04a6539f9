//! Says how many instructions of a warp are executed in a second, and how long modules take to read:
//!
//!     SLUICEGATE_PTX=FOLDER cargo run -p sluicegate-ptx --example speed
//!
//! The folder has candle's kernels as PTX; without it only a loop made for this is run.

#![expect(clippy::print_stdout, reason = "what it is for")]

use std::{env, fs, path::Path, time::Instant};

use sluicegate_ptx::{Launch, Memory, Module};

/// Device memory of one piece.
struct Device(Vec<u8>);

/// Where it begins.
const BASE: u64 = 0x1_0000;

impl Device {
    fn range(&self, address: u64, bytes: usize) -> Result<std::ops::Range<usize>, String> {
        let start = address.checked_sub(BASE).and_then(|start| usize::try_from(start).ok());
        let range = start.map(|start| start..start.saturating_add(bytes));
        let inside = range.filter(|range| range.end <= self.0.len());
        inside.ok_or_else(|| "nothing there".to_owned())
    }
}

impl Memory for Device {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        bytes.copy_from_slice(&self.0[self.range(address, bytes.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        let range = self.range(address, bytes.len())?;
        self.0[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// A loop of ten instructions that compute, which each thread goes through as often as it is told.
const LOOP: &str = "
.version 8.0
.target sm_80
.address_size 64
.visible .entry arithmetic(.param .u32 times, .param .u64 out)
{
    .reg .pred %p<2>;
    .reg .b32 %r<16>;
    .reg .b64 %rd<4>;
    .reg .f32 %f<8>;
    ld.param.u32 %r1, [times];
    ld.param.u64 %rd1, [out];
    mov.u32 %r2, %tid.x;
    mov.f32 %f1, 0f3f800000;
    mov.f32 %f2, 0f3f000000;
    mov.u32 %r3, 0;
$AGAIN:
    fma.rn.f32 %f3, %f1, %f2, %f1;
    mul.f32 %f4, %f3, %f2;
    add.f32 %f1, %f4, %f2;
    mad.lo.s32 %r4, %r2, 3, %r3;
    xor.b32 %r5, %r4, %r2;
    shl.b32 %r6, %r5, 3;
    add.s32 %r2, %r6, %r3;
    add.s32 %r3, %r3, 1;
    setp.lt.u32 %p1, %r3, %r1;
    @%p1 bra $AGAIN;
    mov.u32 %r7, %tid.x;
    mul.wide.u32 %rd2, %r7, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r2;
    ret;
}
";

fn main() {
    let mut params = 100_000_u64.to_le_bytes().to_vec();
    params.extend(BASE.to_le_bytes());
    run(LOOP, "arithmetic", ([4, 1, 1], [128, 1, 1]), &params);
    let Some(folder) = env::var_os("SLUICEGATE_PTX") else { return };
    let folder = Path::new(&folder);
    let text = |name: &str| fs::read_to_string(folder.join(name)).expect("a module of candle's");
    let (num, out) = (1_u64 << 20, BASE + (4 << 20));
    let mut params: Vec<u8> =
        [num, 1, 0, BASE, out].iter().flat_map(|it| it.to_le_bytes()).collect();
    params.extend([2.5_f32, -1.0].iter().flat_map(|it| it.to_le_bytes()));
    run(&text("affine.ptx"), "affine_f32", ([4096, 1, 1], [256, 1, 1]), &params);
    let mut params: Vec<u8> = [BASE, out].iter().flat_map(|it| it.to_le_bytes()).collect();
    params.extend(1024_u32.to_le_bytes());
    run(&text("reduce.ptx"), "softmax_f32", ([1024, 1, 1], [1, 32, 1]), &params);
    // 1024 rows of 2048 weights, by one column.
    let mut params: Vec<u8> =
        [BASE, BASE + (4 << 20), out].iter().flat_map(|it| it.to_le_bytes()).collect();
    params.extend([2048_u32, 1024, 2048, 1024].iter().flat_map(|it| it.to_le_bytes()));
    for format in ["q4_0", "q4_K", "q6_K"] {
        let name = format!("mul_mat_vec_{format}_q8_1_cuda1");
        run(&text("quantized.ptx"), &name, ([1024, 1, 1], [32, 4, 1]), &params);
    }
    read(folder);
}

/// Runs a kernel a few times, and says how fast the fastest was.
fn run(text: &str, name: &str, (grid_size, block_size): ([u32; 3], [u32; 3]), params: &[u8]) {
    let module = Module::parse(text).expect("a module");
    let kernel = module.kernel(name).expect("a kernel that is known");
    let mut device = Device(vec![0; 8 << 20]);
    let launch = Launch { grid_size, block_size, shared_bytes: 0, params };
    let (mut least, mut count) = (f64::INFINITY, 0);
    for _ in 0..5 {
        let start = Instant::now();
        let counted = kernel.launch_counted(&launch, &mut device);
        count = counted.expect("a launch without faults");
        least = least.min(start.elapsed().as_secs_f64());
    }
    let speed = count as f64 / least / 1e6;
    println!("{name}: {count} in {:.1} ms, {speed:.1} million a second", least * 1e3);
}

/// Reads all modules of a folder, and all of their kernels.
fn read(folder: &Path) {
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "ptx"));
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("a module of candle's");
        let start = Instant::now();
        let module = Module::parse(&text).expect("a module");
        let found = start.elapsed();
        let names: Vec<&str> = module.kernels().collect();
        let kernels: Vec<_> = names.iter().map(|name| module.kernel(name)).collect();
        let num_read = kernels.iter().filter(|kernel| kernel.is_ok()).count();
        println!(
            "{}: found in {:.1} ms, {num_read} of {} kernels read in {:.1} ms",
            file.file_name().unwrap_or_default().to_string_lossy(),
            found.as_secs_f64() * 1e3,
            names.len(),
            start.elapsed().saturating_sub(found).as_secs_f64() * 1e3,
        );
        for error in kernels.iter().filter_map(|kernel| kernel.as_ref().err()).take(3) {
            println!("  {error}");
        }
    }
}
