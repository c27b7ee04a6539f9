//! What stands for loans in a build without GPUs, where nothing is lent.

use std::convert::Infallible;

use candle_core::{Device, Result, Tensor, bail};

/// What a sender has lent: nothing.
#[derive(Debug, Clone, Default)]
pub struct Loans(Option<Infallible>);

/// The end of a link at which values arrive.
#[derive(Debug, Clone, Default)]
pub struct Borrower(Option<Infallible>);

/// A tensor on its way to another GPU: there is none.
#[derive(Debug)]
pub struct Loan(Infallible);

impl Loans {
    /// # Errors
    /// Always.
    pub(super) fn by_nccl(_source: &Device, _target: &Device) -> Result<(Self, Borrower)> {
        bail!("only a build with the `cuda` feature copies from GPU to GPU")
    }

    /// # Errors
    /// Always.
    pub(super) fn send(&self, _tensor: Tensor) -> Result<Loan> {
        self.refuse()
    }

    /// # Errors
    /// None: there is no link.
    #[expect(clippy::unnecessary_wraps, reason = "a GPU's link may fail")]
    pub(super) fn watch(&self) -> Result<bool> {
        match self.0 {
            None => Ok(false),
            Some(never) => match never {},
        }
    }

    /// # Errors
    /// Always.
    pub(super) fn lend(&self, _tensor: Tensor) -> Result<Loan> {
        self.refuse()
    }

    /// # Errors
    /// Always.
    pub(super) fn stage(&self, _tensor: &Tensor) -> Result<Loan> {
        self.refuse()
    }

    fn refuse(&self) -> Result<Loan> {
        match self.0 {
            None => bail!("only a build with the `cuda` feature copies from GPU to GPU"),
            Some(never) => match never {},
        }
    }
}

/// Shows that a GPU has computed what it has lent: there is none.
#[derive(Debug, Clone)]
pub struct Proof(Infallible);

impl Proof {
    /// # Errors
    /// None: there is no loan.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0 {}
    }
}

impl Loan {
    pub(super) fn proof(&self) -> Proof {
        match self.0 {}
    }

    /// # Errors
    /// None: there is no loan.
    pub(super) fn copy_to(self, _device: &Device) -> Result<Tensor> {
        match self.0 {}
    }
}
