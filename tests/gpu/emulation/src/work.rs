//! What devices do when its turn comes.

use std::sync::Arc;

use sluicegate_ptx::{Fault, Kernel, KernelError, Launch as Sizes, LaunchError, Order};

use crate::{
    error::{Code, Failure, Outcome},
    memory::{KernelMemory, Memory, POISON, Slot, Span, Touched, Use},
    orders::Orders,
    pinned,
    product::Product,
    races::Label,
    random::Uniform,
};

/// Something that a device was asked for.
#[derive(Debug)]
pub(crate) enum Work {
    Fill {
        target: Span,
        value: u8,
    },
    Copy {
        source: Span,
        target: u64,
        /// The devices that need access to the source and to the target.
        devices: [usize; 2],
    },
    /// From memory of the host that was read when it was asked for.
    Upload {
        bytes: Vec<u8>,
        target: u64,
    },
    /// From pinned memory, which is read now, and was then as `fingerprint` says, if it was known
    /// then: a device may have been about to write it.
    UploadPinned {
        source: HostSpan,
        fingerprint: Option<u64>,
        target: u64,
    },
    Download {
        source: Span,
        target: HostSpan,
        is_pinned: bool,
    },
    Launch(Launch),
    Product(Product),
    Uniform(Uniform),
    /// Waits for its receive. Where that never comes, since the rank was aborted, nothing is done.
    Send(Passage),
    /// Where its send never comes, since the rank was aborted, numbers of no use are in its place.
    Receive(Passage),
    /// From here on the stream may use an allocation.
    Allocate,
    Free {
        address: u64,
    },
    /// Tells an event that it has come so far.
    Stamp {
        event: u64,
        number: u64,
    },
}

/// What a rank of NCCL sends, or where it receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage {
    pub(crate) span: Span,
    /// The handle of the rank.
    pub(crate) rank: u64,
    /// The communicator, and the ranks from which and to which it goes.
    pub(crate) communicator: u64,
    pub(crate) way: (usize, usize),
    /// Whether a bit of it arrives changed.
    pub(crate) is_garbled: bool,
}

/// Memory of the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostSpan {
    address: *mut u8,
    bytes: usize,
}

// SAFETY: who makes one vouches that its memory is nobody else's until it was used.
unsafe impl Send for HostSpan {}

impl HostSpan {
    /// # Safety
    /// The memory can be written, and nobody else uses it until the work is done.
    pub(crate) unsafe fn new(address: *mut u8, bytes: usize) -> Self {
        Self { address, bytes }
    }

    pub(crate) fn start(self) -> *const u8 {
        self.address
    }

    pub(crate) fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: who made it vouches for the memory.
        unsafe { std::slice::from_raw_parts(self.address, self.bytes) }
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let end = |it: Self| it.address as usize + it.bytes;
        (self.address as usize) < end(other) && (other.address as usize) < end(self)
    }

    /// A device's use of pinned memory.
    fn touched(self, used: Use) -> Touched {
        let span = Span { address: self.address as u64, bytes: self.bytes };
        Touched::of(Slot::PINNED, span, used)
    }

    /// Changes its first byte.
    pub(crate) fn spoil(self) {
        // SAFETY: who made it vouches for the memory, and it is not empty.
        unsafe { *self.address ^= 1 }
    }

    pub(crate) fn write(self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.bytes, "as many bytes as there is room for");
        // SAFETY: who made it vouches for the memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address, self.bytes) }
    }
}

/// A grid of a kernel.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) grid_size: [u32; 3],
    pub(crate) block_size: [u32; 3],
    pub(crate) shared_bytes: usize,
    pub(crate) params: Vec<u8>,
}

impl Work {
    /// What it is called in reports.
    pub(crate) fn label(&self) -> Label {
        Label::Named(match self {
            Self::Launch(launch) => return Label::Kernel(launch.kernel.clone()),
            Self::Fill { .. } => "a fill",
            Self::Copy { .. } => "a copy between devices or on one",
            Self::Upload { .. } | Self::UploadPinned { .. } => "a copy to the device",
            Self::Download { .. } => "a copy to the host",
            Self::Product(_) => "a product of cuBLAS",
            Self::Uniform(_) => "cuRAND",
            Self::Send(_) => "ncclSend",
            Self::Receive(_) => "ncclRecv",
            Self::Allocate => "cuMemAllocAsync",
            Self::Free { .. } => "cuMemFreeAsync",
            Self::Stamp { .. } => "an event",
        })
    }

    /// Shows all addresses of memory that it was given, to be changed. Of a launch these are also
    /// numbers that may be addresses.
    pub(crate) fn visit(&mut self, mut visit: impl FnMut(&mut u64)) {
        match self {
            Self::Fill { target: span, .. } | Self::Download { source: span, .. } => {
                visit(&mut span.address);
            }
            Self::Copy { source, target, .. } => {
                visit(&mut source.address);
                visit(target);
            }
            Self::Upload { target, .. } | Self::UploadPinned { target, .. } => visit(target),
            Self::Launch(launch) => launch.visit(visit),
            Self::Product(Product { a, b, c, .. }) => {
                for matrices in [a, b, c] {
                    visit(&mut matrices.address);
                }
            }
            Self::Uniform(uniform) => visit(&mut uniform.target.address),
            Self::Send(passage) | Self::Receive(passage) => visit(&mut passage.span.address),
            Self::Allocate | Self::Free { .. } | Self::Stamp { .. } => {}
        }
    }

    /// Does it, on a device. Returns the memory that it has used.
    pub(crate) fn run(
        &self,
        device: usize,
        orders: &mut Orders,
        memory: &mut Memory,
    ) -> Outcome<Vec<Touched>> {
        let wrong = |why: String| {
            let detail = format!("cuda:{device}, {}: {why}", self.label());
            Failure::new(Code::IllegalAddress, detail)
        };
        match self {
            Self::Fill { target, value } => {
                let (bytes, touched) = memory.write(device, *target).map_err(wrong)?;
                bytes.fill(*value);
                Ok(vec![touched])
            }
            Self::Copy { source, target, devices } => {
                memory.copy(*devices, *source, *target).map_err(wrong)
            }
            Self::Upload { bytes, target } => upload(bytes, *target, device, memory).map_err(wrong),
            Self::UploadPinned { source, fingerprint, target } => {
                let found = Some(pinned::fingerprint(*source));
                if fingerprint.is_some() && found != *fingerprint {
                    let why = "the pinned source was changed before the copy had read it";
                    return Err(Failure { code: Code::Unknown, ..wrong(why.to_owned()) });
                }
                let mut touched = upload(source.bytes(), *target, device, memory).map_err(wrong)?;
                touched.push(source.touched(Use::Read));
                Ok(touched)
            }
            Self::Download { source, target, is_pinned } => {
                let (bytes, touched) = memory.read(device, *source).map_err(wrong)?;
                target.write(bytes);
                let pinned = is_pinned.then(|| target.touched(Use::Write));
                Ok([touched].into_iter().chain(pinned).collect())
            }
            Self::Launch(launch) => launch.run(device, orders.next(), memory),
            Self::Product(product) => product.run(device, memory).map_err(wrong),
            Self::Uniform(uniform) => Ok(vec![uniform.run(device, memory).map_err(wrong)?]),
            // The memory is freed once it is known that nobody else uses it.
            Self::Free { address } => Ok(vec![memory.whole(memory.beginning(*address)?)]),
            Self::Receive(passage) => {
                let (bytes, touched) = memory.write(device, passage.span).map_err(wrong)?;
                bytes.fill(POISON);
                Ok(vec![touched])
            }
            Self::Send(_) | Self::Allocate | Self::Stamp { .. } => Ok(Vec::new()),
        }
    }
}

fn upload(
    bytes: &[u8],
    target: u64,
    device: usize,
    memory: &mut Memory,
) -> Result<Vec<Touched>, String> {
    let (place, touched) = memory.write(device, Span { address: target, bytes: bytes.len() })?;
    place.copy_from_slice(bytes);
    Ok(vec![touched])
}

impl Launch {
    /// Checks what the driver checks when it is asked.
    pub(crate) fn check(&self) -> Outcome {
        let sizes = self.sizes();
        self.kernel.check(&sizes).map_err(|error| {
            Failure::new(Code::InvalidValue, format!("kernel `{}`: {error}", self.kernel.name))
        })
    }

    /// The parameters that are as wide as an address.
    fn visit(&mut self, mut visit: impl FnMut(&mut u64)) {
        for param in self.kernel.params.iter().filter(|it| it.bytes == size_of::<u64>()) {
            let bytes = &mut self.params[param.offset..][..param.bytes];
            let mut word = u64::from_le_bytes(bytes.try_into().expect("it has eight bytes"));
            visit(&mut word);
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// A parameter of up to 64 bits.
    pub(crate) fn word(&self, index: usize) -> Option<u64> {
        let param = self.kernel.params.get(index)?;
        let given = &self.params[param.offset..][..param.bytes];
        let mut bytes = [0; size_of::<u64>()];
        bytes.get_mut(..given.len())?.copy_from_slice(given);
        Some(u64::from_le_bytes(bytes))
    }

    fn sizes(&self) -> Sizes<'_> {
        Sizes {
            grid_size: self.grid_size,
            block_size: self.block_size,
            shared_bytes: self.shared_bytes,
            params: &self.params,
        }
    }

    fn run(&self, device: usize, order: Order, memory: &mut Memory) -> Outcome<Vec<Touched>> {
        let mut memory = KernelMemory::new(memory, device);
        match self.kernel.launch_in(order, &self.sizes(), &mut memory) {
            Ok(_) => Ok(memory.into_touched()),
            Err(LaunchError::Kernel(error)) => Err(failure(device, &error)),
            Err(error) => Err(Failure::new(Code::LaunchFailed, error.to_string())),
        }
    }
}

fn failure(device: usize, error: &KernelError) -> Failure {
    let code = match &error.fault {
        Fault::Memory { .. } | Fault::OutOfSpace { .. } => Code::IllegalAddress,
        Fault::Misaligned { .. } => Code::MisalignedAddress,
        Fault::Called { .. } => Code::Assert,
        _ => Code::LaunchFailed,
    };
    Failure::new(code, format!("cuda:{device}, {error}: {}", error.fault))
}
