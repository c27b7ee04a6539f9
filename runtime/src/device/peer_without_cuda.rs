//! What stands for loans in a build without GPUs, where nothing is lent.

use std::convert::Infallible;

use candle_core::{Device, Result, Tensor, bail};

/// What a sender has lent: nothing.
#[derive(Debug, Clone, Default)]
pub struct Loans(Option<Infallible>);

/// A tensor on its way to another GPU: there is none.
#[derive(Debug)]
pub struct Loan(Infallible);

impl Loans {
    /// # Errors
    /// Always.
    pub(super) fn lend(&self, _tensor: Tensor) -> Result<Loan> {
        match self.0 {
            None => bail!("only a build with the `cuda` feature copies from GPU to GPU"),
            Some(never) => match never {},
        }
    }
}

impl Loan {
    /// # Errors
    /// None: there is no loan.
    pub(super) fn copy_to(self, _device: &Device) -> Result<Tensor> {
        match self.0 {}
    }
}
