//! A device's memory for tests, and kernels that are run on it.

use sluicegate_ptx::{Kernel, Launch, LaunchError, Memory, Module};

/// Where memory begins, so that no address is right by accident.
const BASE: u64 = 0x1_0000;

/// One block of memory.
#[derive(Clone, Default)]
pub(crate) struct Device {
    bytes: Vec<u8>,
}

impl Device {
    /// Takes memory for these values, and returns its address.
    pub(crate) fn place<T: Value>(&mut self, values: &[T]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(256), 0);
        let address = BASE + self.bytes.len() as u64;
        self.bytes.extend(values.iter().flat_map(|value| value.bytes()));
        address
    }

    pub(crate) fn values<T: Value>(&self, address: u64, count: usize) -> Vec<T> {
        let start = (address - BASE) as usize;
        let bytes = self.bytes[start..].chunks_exact(T::BYTES);
        bytes.take(count).map(T::of).collect()
    }

    fn range(&self, address: u64, bytes: usize) -> Result<std::ops::Range<usize>, String> {
        let start = address.checked_sub(BASE).map(|start| start as usize);
        let range = start.map(|start| start..start.saturating_add(bytes));
        range
            .filter(|range| range.end <= self.bytes.len())
            .ok_or_else(|| "nothing there".to_owned())
    }
}

impl Memory for Device {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        bytes.copy_from_slice(&self.bytes[self.range(address, bytes.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        let range = self.range(address, bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// What memory holds.
pub(crate) trait Value: Copy {
    const BYTES: usize;
    fn bytes(self) -> Vec<u8>;
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! values {
    ($($ty:ty)*) => {$(
        impl Value for $ty {
            const BYTES: usize = size_of::<Self>();
            fn bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
            fn of(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
        }
    )*};
}

values!(u8 u16 u32 u64 i32 i64 f32 f64);

/// A parameter of a kernel.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

/// Runs a kernel of a module, in blocks of so many threads along the first axis.
pub(crate) fn run(
    text: &str,
    name: &str,
    (blocks, threads): (u32, u32),
    args: &[Arg],
    device: &mut Device,
) -> Result<(), LaunchError> {
    run_in(text, name, (blocks, [threads, 1, 1]), args, device)
}

/// As [`run`], with threads along other axes.
pub(crate) fn run_in(
    text: &str,
    name: &str,
    (blocks, block_size): (u32, [u32; 3]),
    args: &[Arg],
    device: &mut Device,
) -> Result<(), LaunchError> {
    let grid_size = [blocks, 1, 1];
    run_with(text, name, &Sizes { grid_size, block_size, shared_bytes: 0 }, args, device)
}

/// How large a launch is.
pub(crate) struct Sizes {
    pub(crate) grid_size: [u32; 3],
    pub(crate) block_size: [u32; 3],
    pub(crate) shared_bytes: usize,
}

/// As [`run`], in sizes of any kind.
pub(crate) fn run_with(
    text: &str,
    name: &str,
    sizes: &Sizes,
    args: &[Arg],
    device: &mut Device,
) -> Result<(), LaunchError> {
    let module = Module::parse(text).unwrap();
    let kernel = module.kernel(name).unwrap();
    let Sizes { grid_size, block_size, shared_bytes } = *sizes;
    let params = params(&kernel, args);
    let launch = Launch { grid_size, block_size, shared_bytes, params: &params };
    kernel.launch(&launch, device)
}

/// What a kernel is given, each where the kernel has it.
pub(crate) fn params(kernel: &Kernel, args: &[Arg]) -> Vec<u8> {
    assert_eq!(kernel.params.len(), args.len(), "{}: {:?}", kernel.name, kernel.params);
    let mut params = vec![0; kernel.param_bytes()];
    for (param, arg) in kernel.params.iter().zip(args) {
        let bytes = match arg {
            Arg::U32(value) => value.bytes(),
            Arg::U64(value) => value.bytes(),
            Arg::F32(value) => value.bytes(),
            Arg::F64(value) => value.bytes(),
        };
        params[param.offset..][..param.bytes].copy_from_slice(&bytes[..param.bytes]);
    }
    params
}

/// A kernel without parameters but addresses, whose body is this.
pub(crate) fn kernel(num_params: usize, body: &str) -> String {
    let params: Vec<String> = (0..num_params).map(|it| format!(".param .u64 p{it}")).collect();
    let loads: Vec<String> =
        (0..num_params).map(|it| format!("ld.param.u64 %rd{it}, [p{it}];\n")).collect();
    let loads = loads.concat();
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry test({})\n{{\n\
         .reg .pred %p<16>;\n.reg .b16 %rs<16>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<32>;\n\
         .reg .f32 %f<16>;\n.reg .f64 %fd<16>;\n{loads}{body}\nret;\n}}\n",
        params.join(", ")
    )
}

/// The start of a body that gives each thread its number in `%r31`, and in `%rd31` that number times
/// so many bytes.
pub(crate) fn by_thread(bytes: usize) -> String {
    format!(
        "mov.u32 %r28, %ctaid.x;\nmov.u32 %r29, %ntid.x;\nmov.u32 %r30, %tid.x;\n\
         mad.lo.s32 %r31, %r28, %r29, %r30;\nmul.wide.u32 %rd31, %r31, {bytes};\n"
    )
}
