//! Numbers of many bit patterns, sent over a link before values depend on it.

use candle_core::{DType, Device, Error, Result, Storage, Tensor, bail};

use super::{Failed, NcclLink, Side, State, numbers};
use crate::device::{devices::make_current, moves::move_tensor, of_device::OfDevice};

/// How many numbers are sent: one, some that end within a row, and a megabyte.
const LENGTHS: [u32; 3] = [1, 1025, 1 << 18];

impl NcclLink {
    /// Sends numbers and compares what arrives.
    pub(super) fn try_out(&self) -> Result<()> {
        for length in LENGTHS {
            let sent = Tensor::arange(0_u32, length, &Device::Cpu)?.to_dtype(DType::F32)?;
            let sent = sent.affine(-0.731, 0.013)?;
            let num_wrong = num_different(&sent, &self.through(&sent)?)?;
            if num_wrong > 0 {
                bail!("{num_wrong} of {length} numbers arrived otherwise than NCCL was given them");
            }
        }
        Ok(())
    }

    /// What arrives of numbers in the host's memory. The streams are waited for.
    fn through(&self, sent: &Tensor) -> Result<Tensor> {
        let [from, to] = &self.sides;
        make_current(&to.device)?;
        let target = Tensor::zeros(sent.shape(), sent.dtype(), &Device::Cpu)?;
        let target = OfDevice::new(move_tensor(&target, &to.device)?, &to.device);
        to.follow()?;
        make_current(&from.device)?;
        let source = OfDevice::new(move_tensor(sent, &from.device)?, &from.device);
        from.follow()?;
        if let Err(error) = self.pass([source.get(), target.get()]).and_then(|()| self.check()) {
            // Before the tensors are given back, of which it may still write one.
            self.end_receiving();
            return Err(error);
        }
        for Side { device, stream } in &self.sides {
            make_current(device)?;
            stream.get().synchronize().map_err(Error::wrap)?;
        }
        move_tensor(target.get(), &Device::Cpu)
    }

    /// Enqueues a send and its receive in one group, which connects the ranks.
    fn pass(&self, [source, target]: [&Tensor; 2]) -> Result<()> {
        let [from, to] = &self.sides;
        let mut state = self.lock();
        let State::Open { ranks: [sender, receiver], .. } = &mut *state else {
            bail!("the communicator has ended")
        };
        let passed = self.nccl.grouped(|| {
            make_current(&from.device)?;
            // SAFETY: both tensors hold as many numbers, and are kept until the streams were waited
            // for or the ranks aborted; each stream is of its rank's GPU.
            unsafe { self.nccl.send(sender, from.passage(numbers(source)?, 1))? };
            make_current(&to.device)?;
            // SAFETY: as above.
            unsafe { self.nccl.recv(receiver, to.passage(numbers(target)?, 0))? };
            Ok(())
        });
        passed.map_err(|Failed(error)| error)
    }
}

/// Counts the numbers that differ, of two contiguous tensors in the host's memory.
fn num_different(wanted: &Tensor, found: &Tensor) -> Result<usize> {
    let (wanted, _) = wanted.storage_and_layout();
    let (found, _) = found.storage_and_layout();
    let (Storage::Cpu(wanted), Storage::Cpu(found)) = (&*wanted, &*found) else {
        bail!("numbers to compare are not in the host's memory")
    };
    let (wanted, found) = (wanted.as_slice::<f32>()?, found.as_slice::<f32>()?);
    let differ = |(wanted, found): &(&f32, &f32)| wanted.to_bits() != found.to_bits();
    Ok(wanted.iter().zip(found).filter(differ).count())
}
