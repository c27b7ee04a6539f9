//! What belongs to a device, in the hands of threads that work for others.

use candle_core::Device;

use super::devices::while_current;

/// A value in a device's memory that may be dropped by any thread.
#[derive(Debug)]
pub(crate) struct OfDevice<T> {
    value: Option<T>,
    device: Device,
}

impl<T> OfDevice<T> {
    pub(crate) fn new(value: T, device: &Device) -> Self {
        Self { value: Some(value), device: device.clone() }
    }

    pub(crate) fn get(&self) -> &T {
        self.value.as_ref().expect("it is there until it is taken")
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until it is taken")
    }

    /// Takes the value out, once, to where its device is current.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.value.take()
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl<T> Drop for OfDevice<T> {
    /// A GPU takes its memory back only while its context is current.
    fn drop(&mut self) {
        let value = self.value.take();
        while_current(&self.device, || drop(value));
    }
}
