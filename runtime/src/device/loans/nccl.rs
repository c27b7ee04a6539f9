//! Copies from a GPU to another by NCCL.
//!
//! Each link has a communicator of its own, since the operations of one come one after the other,
//! and on each GPU a stream of its own, which a send that nobody has received yet holds up in place
//! of the stage's: stages that share a GPU would wait for each other else. No thread waits; a rank
//! that fails is found by asking.

mod trial;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Error, Result, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice,
        cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr},
    },
    op::BackpropOp,
};
use sluicegate_model::cuda::nccl::{Nccl, NcclError, Number, Passage, Rank};

use crate::device::{
    devices::{make_current, while_current},
    of_device::OfDevice,
};

/// A link between two GPUs, for both of its ends.
#[derive(Debug)]
pub(super) struct NcclLink {
    nccl: &'static Nccl,
    /// That of the source, then that of the target.
    sides: [Side; 2],
    state: Mutex<State>,
}

/// A rank's GPU, and the stream in which its sends or receives are.
#[derive(Debug)]
struct Side {
    device: Device,
    stream: OfDevice<Arc<CudaStream>>,
}

#[derive(Debug)]
enum State {
    /// Of what was sent, so much has not been asked for by the receiver.
    Open { ranks: [Rank; 2], num_unclaimed: usize },
    /// A rank has failed, and both are to be aborted.
    Failed { ranks: [Rank; 2], error: NcclError },
    /// Nothing is sent any more. An error is what has ended it.
    Ended(Option<NcclError>),
}

impl State {
    /// Takes note of an error. What hangs on the communicator does so until an end of the link goes:
    /// first the error is told.
    fn note(&mut self, outcome: Answer) -> Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        *self = match std::mem::replace(self, Self::Ended(None)) {
            Self::Open { ranks, .. } => Self::Failed { ranks, error: error.clone() },
            other => other,
        };
        Err(Error::wrap(error))
    }
}

/// A tensor that was sent. It is kept until it was received.
#[derive(Debug)]
pub(super) struct Sent {
    tensor: Tensor,
    link: Arc<NcclLink>,
    is_received: bool,
}

/// What NCCL says of a rank.
type Answer = std::result::Result<(), NcclError>;

/// An error of NCCL, or of a device while it is asked.
struct Failed(Error);

impl From<NcclError> for Failed {
    fn from(error: NcclError) -> Self {
        Self(Error::wrap(error))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Side {
    fn new(device: &Device) -> Result<Self> {
        make_current(device)?;
        let context = device.as_cuda_device()?.cuda_stream().context().clone();
        let stream = context.new_stream().map_err(Error::wrap)?;
        Ok(Self { device: device.clone(), stream: OfDevice::new(stream, device) })
    }

    fn passage(&self, (address, count, number): Numbers, peer: u32) -> Passage {
        let stream = self.stream.get().cu_stream().cast();
        Passage { address, count, number, peer, stream }
    }

    /// Lets the link's stream wait for all that the stage's has by now.
    fn follow(&self) -> Result<()> {
        let here = self.device.as_cuda_device()?.cuda_stream().record_event(None);
        here.and_then(|here| self.stream.get().wait(&here)).map_err(Error::wrap)
    }

    /// Lets the stage's stream wait for all that the link's has by now.
    fn lead(&self) -> Result<()> {
        let here = self.stream.get().record_event(None).map_err(Error::wrap)?;
        self.device.as_cuda_device()?.cuda_stream().wait(&here).map_err(Error::wrap)
    }
}

impl NcclLink {
    /// Makes a communicator, and sends numbers of many bit patterns through it: some machines deliver
    /// something else, and a first send waits in its thread until it is received.
    pub(super) fn open(source: &Device, target: &Device) -> Result<Self> {
        let nccl = Nccl::load().map_err(Error::wrap)?;
        let mut outcome = Err(Error::msg("it was not tried"));
        while_current(source, || outcome = Self::connect(nccl, [source, target]));
        outcome
    }

    fn connect(nccl: &'static Nccl, devices: [&Device; 2]) -> Result<Self> {
        let sides = [Side::new(devices[0])?, Side::new(devices[1])?];
        let enter = |rank: usize| make_current(devices[rank]).map_err(Failed);
        let ranks = nccl.pair(enter).map_err(|Failed(error)| error)?;
        let state = Mutex::new(State::Open { ranks, num_unclaimed: 0 });
        let link = Self { nccl, sides, state };
        link.try_out()?;
        Ok(link)
    }

    /// Enqueues a send of a contiguous tensor of this thread's GPU.
    pub(super) fn send(self: &Arc<Self>, tensor: Tensor) -> Result<Sent> {
        let side = &self.sides[0];
        let passage = side.passage(numbers(&tensor)?, 1);
        let mut state = self.checked()?;
        if let State::Open { ranks: [rank, _], num_unclaimed } = &mut *state {
            side.follow()?;
            // SAFETY: the tensor is kept until the receiver has it, or both ranks were aborted, and
            // the stream is of its GPU.
            let outcome = unsafe { self.nccl.send(rank, passage) };
            *num_unclaimed += 1;
            state.note(outcome)?;
        }
        drop(state);
        Ok(Sent { tensor, link: self.clone(), is_received: false })
    }

    /// Enqueues a receive into a new tensor's memory, on the thread of its GPU.
    fn receive(&self, target: Numbers) -> Result<()> {
        let side = &self.sides[1];
        let mut state = self.checked()?;
        let State::Open { ranks, num_unclaimed } = &mut *state else {
            bail!("its communicator has ended before the value was received")
        };
        side.follow()?;
        // SAFETY: the memory is as large as what was sent, and nobody uses it before the stage's
        // stream, which waits for the link's. Both are of this GPU.
        let outcome = unsafe { self.nccl.recv(&ranks[1], side.passage(target, 0)) };
        *num_unclaimed -= 1;
        state.note(outcome)?;
        side.lead()
    }

    /// Asks both ranks whether they have failed.
    pub(super) fn check(&self) -> Result<()> {
        self.checked().map(drop)
    }

    fn checked(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        let outcome = match &*state {
            State::Open { ranks, .. } => ranks.iter().try_for_each(|it| self.nccl.check_rank(it)),
            State::Failed { error, .. } | State::Ended(Some(error)) => Err(error.clone()),
            State::Ended(None) => Ok(()),
        };
        state.note(outcome)?;
        Ok(state)
    }

    /// Takes note that nothing more is sent. What has failed is aborted.
    pub(super) fn end_sending(&self) {
        let mut state = self.lock();
        if matches!(&*state, State::Failed { .. }) {
            self.end(&mut state);
        }
    }

    /// Takes note that nothing more is received.
    pub(super) fn end_receiving(&self) {
        self.end(&mut self.lock());
    }

    /// Ends both ranks, at the same time, since they may wait for each other: with all that was not
    /// received, if there is anything.
    fn end(&self, state: &mut State) {
        let (ranks, is_in_order, error) = match std::mem::replace(state, State::Ended(None)) {
            State::Open { ranks, num_unclaimed } => {
                let is_alive = ranks.iter().all(|it| self.nccl.check_rank(it).is_ok());
                (ranks, num_unclaimed == 0 && is_alive, None)
            }
            State::Failed { ranks, error } => (ranks, false, Some(error)),
            State::Ended(error) => {
                *state = State::Ended(error);
                return;
            }
        };
        *state = State::Ended(error);
        std::thread::scope(|scope| {
            for (rank, Side { device, .. }) in ranks.into_iter().zip(&self.sides) {
                let end = move || {
                    let _ = make_current(device);
                    let ended =
                        if is_in_order { self.nccl.destroy(rank) } else { self.nccl.abort(rank) };
                    if let Err(error) = ended {
                        tracing::warn!(error = &error as &dyn std::error::Error, "ending a rank");
                    }
                };
                if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, end) {
                    // The rank is lost with its thread, and kept until the process ends.
                    tracing::warn!(error = &error as &dyn std::error::Error, "ending a rank");
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NcclLink {
    fn drop(&mut self) {
        self.end_receiving();
    }
}

impl Sent {
    pub(super) fn link(&self) -> &Arc<NcclLink> {
        &self.link
    }

    /// Receives it in the stream of a GPU.
    pub(super) fn receive(&mut self, device: &CudaDevice) -> Result<Tensor> {
        let slice = match self.tensor.dtype() {
            DType::F32 => CudaStorageSlice::F32(self.receive_slice(device, Number::F32)?),
            DType::F16 => CudaStorageSlice::F16(self.receive_slice(device, Number::F16)?),
            DType::BF16 => CudaStorageSlice::BF16(self.receive_slice(device, Number::Bf16)?),
            other => bail!("wanted floats of 32 or 16 bits, found {other:?}"),
        };
        self.is_received = true;
        let storage = Storage::Cuda(CudaStorage { slice, device: device.clone() });
        Ok(Tensor::from_storage(storage, self.tensor.shape(), BackpropOp::none(), false))
    }

    fn receive_slice<T: DeviceRepr>(
        &self,
        device: &CudaDevice,
        number: Number,
    ) -> Result<CudaSlice<T>> {
        let count = self.tensor.elem_count();
        // SAFETY: what is received fills all of it.
        let mut target = unsafe { device.alloc::<T>(count)? };
        let address = target.device_ptr_mut(&device.cuda_stream()).0;
        self.link.receive((address, count, number))?;
        Ok(target)
    }
}

impl Drop for Sent {
    /// What nobody receives would hold up the link for ever.
    fn drop(&mut self) {
        if !self.is_received {
            self.link.end_receiving();
            let _ = self.link.sides[0].stream.get().synchronize();
        }
    }
}

/// Where numbers begin, how many and what they are.
type Numbers = (u64, usize, Number);

fn numbers(tensor: &Tensor) -> Result<Numbers> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(source) = &*storage else { bail!("a tensor that is sent is not on a GPU") };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a tensor that is sent is a view: {layout:?}")
    };
    let stream = source.device.cuda_stream();
    let (address, number) = match &source.slice {
        CudaStorageSlice::F32(all) => (all.slice(start..end).device_ptr(&stream).0, Number::F32),
        CudaStorageSlice::F16(all) => (all.slice(start..end).device_ptr(&stream).0, Number::F16),
        CudaStorageSlice::BF16(all) => (all.slice(start..end).device_ptr(&stream).0, Number::Bf16),
        _ => bail!("wanted floats of 32 or 16 bits, found {:?}", tensor.dtype()),
    };
    Ok((address, end - start, number))
}
