//! Copies from GPU to GPU, for which no thread waits.
//!
//! The sender lends what is to be copied, a tensor of its own or pinned memory of the host into
//! which it has one copied, with an event after which the values are there. The receiver's stream
//! waits for that event, copies, and gives back what was lent with an event after which it has been
//! read. The sender looks for what has been read whenever it lends again.

mod nccl;
mod peer;
mod staged;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use candle_core::{
    CudaDevice, Device, Error, Result, Tensor, bail,
    cuda_backend::cudarc::driver::{CudaEvent, result},
};
use crossbeam_channel::{Receiver, Sender, unbounded};

use self::{
    nccl::{NcclLink, Sent},
    staged::Staged,
};
use super::{of_device::OfDevice, pinned::Buffer};

/// What a sender has lent.
#[derive(Debug, Clone)]
pub struct Loans {
    /// First, since it ends first: what comes back may wait for what hangs on the link.
    nccl: Option<Arc<NcclLender>>,
    give_back: Sender<Lending>,
    returned: Receiver<Lending>,
    /// Pinned memory that has been read.
    free: Arc<Mutex<Vec<OfDevice<Buffer>>>>,
    /// What has not been read yet, or not been looked for since.
    num_lent: Arc<AtomicUsize>,
}

/// The end of NCCL's link at which values leave.
#[derive(Debug)]
struct NcclLender(Arc<NcclLink>);

impl Drop for NcclLender {
    fn drop(&mut self) {
        self.0.end_sending();
    }
}

/// The end at which values arrive, of a link that has to know when it goes.
#[derive(Debug, Clone, Default)]
pub struct Borrower {
    _nccl: Option<Arc<NcclBorrower>>,
}

#[derive(Debug)]
struct NcclBorrower(Arc<NcclLink>);

impl Drop for NcclBorrower {
    fn drop(&mut self) {
        self.0.end_receiving();
    }
}

/// A value on its way to another GPU.
#[derive(Debug)]
pub struct Loan {
    lending: Lending,
    give_back: Sender<Lending>,
}

/// What is lent, and an event. Until the receiver has enqueued its copy, the event says that the
/// values are there; from then on, that they have been copied.
#[derive(Debug)]
struct Lending {
    lent: OfDevice<Lent>,
    done: Arc<OfDevice<CudaEvent>>,
}

/// Shows that a GPU has computed what it has lent, since no thread has waited for that.
#[derive(Debug, Clone)]
pub struct Proof {
    ready: Arc<OfDevice<CudaEvent>>,
    /// What must not have failed meanwhile: it would have delivered something else.
    nccl: Option<Arc<NcclLink>>,
}

impl Proof {
    /// Asks the GPU, once all that comes after has been waited for.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.ready.get().try_is_complete().map_err(Error::wrap)? {
            bail!("what {:?} has lent was used before it was there", self.ready.device());
        }
        self.nccl.as_ref().map_or(Ok(()), |link| link.check())
    }
}

/// What the receiver copies from.
#[derive(Debug)]
enum Lent {
    /// In the sender's memory.
    Tensor(Tensor),
    /// In the host's.
    Staged(Staged),
    /// In the sender's, on its way by NCCL.
    Sent(Sent),
}

impl Lent {
    fn copy(&mut self, device: &CudaDevice) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => peer::copy(tensor, device),
            Self::Staged(staged) => staged.copy(device),
            Self::Sent(sent) => sent.receive(device),
        }
    }
}

impl Default for Loans {
    fn default() -> Self {
        let (give_back, returned) = unbounded();
        let (free, num_lent) = (Arc::default(), Arc::default());
        Self { nccl: None, give_back, returned, free, num_lent }
    }
}

impl Loans {
    /// Both ends of a link by NCCL.
    pub(super) fn by_nccl(source: &Device, target: &Device) -> Result<(Self, Borrower)> {
        let link = Arc::new(NcclLink::open(source, target)?);
        let nccl = Some(Arc::new(NcclLender(link.clone())));
        let borrower = Borrower { _nccl: Some(Arc::new(NcclBorrower(link))) };
        Ok((Self { nccl, ..Self::default() }, borrower))
    }

    /// Lends a contiguous tensor of this thread's GPU.
    pub(super) fn lend(&self, tensor: Tensor) -> Result<Loan> {
        self.let_go();
        let device = tensor.device().clone();
        self.lend_when_ready(Lent::Tensor(tensor), &device)
    }

    /// Has a contiguous tensor of this thread's GPU sent by NCCL.
    pub(super) fn send(&self, tensor: Tensor) -> Result<Loan> {
        self.let_go();
        let Some(NcclLender(link)) = self.nccl.as_deref() else {
            bail!("NCCL has not been asked for a communicator")
        };
        let device = tensor.device().clone();
        let sent = link.send(tensor)?;
        self.lend_when_ready(Lent::Sent(sent), &device)
    }

    /// Asks NCCL whether the link still works. Returns whether anything on it has not been read.
    pub(super) fn watch(&self) -> Result<bool> {
        let Some(NcclLender(link)) = self.nccl.as_deref() else { return Ok(false) };
        link.check()?;
        self.let_go();
        Ok(self.num_lent.load(Ordering::Relaxed) > 0)
    }

    /// Has a contiguous tensor of this thread's GPU copied into pinned memory, and lends that.
    pub(super) fn stage(&self, tensor: &Tensor) -> Result<Loan> {
        self.let_go();
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        let staged = Staged::new(tensor, self.take_free(bytes))?;
        self.lend_when_ready(Lent::Staged(staged), tensor.device())
    }

    fn lend_when_ready(&self, lent: Lent, device: &Device) -> Result<Loan> {
        let stream = device.as_cuda_device()?.cuda_stream();
        let lent = OfDevice::new(lent, device);
        let done = match stream.record_event(None) {
            Ok(ready) => Arc::new(OfDevice::new(ready, device)),
            Err(error) => {
                // Without an event, only waiting says that the values are there.
                let _ = stream.synchronize();
                return Err(Error::wrap(error));
            }
        };
        self.num_lent.fetch_add(1, Ordering::Relaxed);
        Ok(Loan { lending: Lending { lent, done }, give_back: self.give_back.clone() })
    }

    /// Lets go of what has been read, and keeps pinned memory for the next value; the rest waits.
    fn let_go(&self) {
        let (read, unread): (Vec<Lending>, Vec<Lending>) =
            self.returned.try_iter().partition(Lending::is_done);
        self.num_lent.fetch_sub(read.len(), Ordering::Relaxed);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        for lending in read {
            let (lent, device) = lending.take();
            if let Some(Lent::Staged(staged)) = lent {
                free.push(OfDevice::new(staged.into_buffer(), &device));
            }
        }
        for lending in unread {
            // The other end is this value's own.
            let _ = self.give_back.send(lending);
        }
    }

    /// Free memory of at least so many bytes. Where there is none, what is free is too small for
    /// the next value as well, and is given back.
    fn take_free(&self, bytes: usize) -> Option<Buffer> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = free.iter().position(|buffer| buffer.get().len() >= bytes) else {
            free.clear();
            return None;
        };
        let mut buffer = free.swap_remove(index);
        buffer.take()
    }
}

impl Loan {
    pub(super) fn proof(&self) -> Proof {
        let nccl = match self.lending.lent.get() {
            Lent::Sent(sent) => Some(sent.link().clone()),
            Lent::Tensor(_) | Lent::Staged(_) => None,
        };
        Proof { ready: self.lending.done.clone(), nccl }
    }

    /// Copies it into the memory of this thread's GPU, and gives it back.
    pub(super) fn copy_to(self, target: &Device) -> Result<Tensor> {
        let Self { mut lending, give_back } = self;
        let device = target.as_cuda_device()?;
        let stream = device.cuda_stream();
        stream.wait(lending.done.get()).map_err(Error::wrap)?;
        let copied = lending.lent.get_mut().copy(device)?;
        lending.done = match stream.record_event(None) {
            Ok(read) => Arc::new(OfDevice::new(read, target)),
            Err(error) => {
                // Without an event, only waiting says that it was read.
                let _ = stream.synchronize();
                return Err(Error::wrap(error));
            }
        };
        // A sender that is gone needs it no more; what was not taken waits until it is read.
        let _ = give_back.send(lending);
        Ok(copied)
    }
}

impl Lending {
    fn is_done(&self) -> bool {
        self.done.get().try_is_complete().unwrap_or(false)
    }

    /// What was lent, of which device.
    fn take(mut self) -> (Option<Lent>, Device) {
        (self.lent.take(), self.lent.device().clone())
    }
}

impl Drop for Lending {
    /// Memory that a GPU still reads or writes must not be used for anything else.
    fn drop(&mut self) {
        if !self.is_done() {
            // SAFETY: the event was recorded. A GPU that fails does nothing any more.
            let _ = unsafe { result::event::synchronize(self.done.get().cu_event()) };
        }
    }
}
