//! The one call by which a tensor changes its device, where a thread waits for that.

use candle_core::{Device, Tensor};

#[expect(
    clippy::disallowed_methods,
    reason = "the one caller: every transfer of a tensor ends here"
)]
pub(super) fn move_tensor(tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    tensor.to_device(device)
}
