//! Copies from GPU to GPU are tried before values depend on them: there are machines that offer them
//! and deliver something else (huggingface/accelerate#4036).

use candle_core::{DType, Device, Result, Storage, Tensor, bail};
use sluicegate_placement::{Transfer, TransferRoute};
use sluicegate_spec::device::DeviceId;

use super::{
    devices::{Devices, make_current},
    loans::Loans,
    moves::move_tensor,
};

/// How many numbers are copied: one, some that end within a row, and a megabyte.
const LENGTHS: [u32; 3] = [1, 1025, 1 << 18];

/// Returns the transfers, those from GPU to GPU through the host's memory where a copy from memory to
/// memory does not deliver what was sent.
pub(crate) fn trusted(transfers: Vec<Transfer>, devices: &Devices) -> Vec<Transfer> {
    let trust = |transfer: Transfer| {
        let Transfer { source_device, target_device, route, .. } = transfer;
        if route != TransferRoute::Peer {
            return transfer;
        }
        let Err(error) = try_link(devices, source_device, target_device) else { return transfer };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "copies from {source_device} to {target_device} go through the host's memory, since \
             those from memory to memory cannot be trusted"
        );
        Transfer { route: TransferRoute::HostStaged, ..transfer }
    };
    transfers.into_iter().map(trust).collect()
}

/// Copies numbers of many bit patterns, and compares what arrives.
fn try_link(devices: &Devices, source: DeviceId, target: DeviceId) -> Result<()> {
    let (Some(source), Some(target)) = (devices.get(source), devices.get(target)) else {
        bail!("a device is not open")
    };
    for length in LENGTHS {
        let sent = Tensor::arange(0_u32, length, &Device::Cpu)?.to_dtype(DType::F32)?;
        let sent = sent.affine(-0.731, 0.013)?;
        make_current(&source)?;
        let loans = Loans::default();
        let loan = loans.lend(move_tensor(&sent, &source)?)?;
        make_current(&target)?;
        let found = move_tensor(&loan.copy_to(&target)?, &Device::Cpu)?;
        let num_wrong = num_different(&sent, &found)?;
        if num_wrong > 0 {
            bail!("{num_wrong} of {length} numbers arrived otherwise than they were sent");
        }
    }
    Ok(())
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
