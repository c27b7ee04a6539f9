//! The only place where bytes change device: links, the ledger that counts them, and the devices
//! themselves.
//!
//! What crosses is of one of five kinds: a [`Payload`] goes over a link, and index tensors are
//! [uploaded](upload) from what came in band. Nothing here decides what crosses: the plan's list of
//! transfers does.

pub mod calibrate;
mod cgroup;
pub mod counts;
#[cfg(feature = "cuda")]
mod cuda;
pub mod devices;
pub mod discover;
pub mod driver;
#[cfg(feature = "cuda")]
mod events;
pub mod gpu;
pub mod gpu_rows;
pub mod held;
pub mod inventory;
pub mod ledger;
pub mod link;
mod live;
#[cfg_attr(not(feature = "cuda"), path = "loans_without_cuda.rs")]
pub mod loans;
pub mod logits;
mod moves;
pub(crate) mod of_device;
pub mod payload;
#[cfg(feature = "cuda")]
mod pinned;
pub mod selector;
mod speed;
pub mod timer;
pub(crate) mod trust;
pub mod upload;

pub use counts::MaskCounts;
pub use devices::{Devices, Loss};
pub use gpu_rows::{GpuRows, GpuSampler, SampleError};
pub use inventory::Inventory;
pub use ledger::{Ledger, LedgerEntry};
pub use link::{InTransit, Links, ReceivingEnd, SendingEnd, TransferError};
pub use live::{Routes, cluster, described};
pub use loans::Proof;
pub use logits::LogitRows;
pub use payload::Payload;
pub use selector::DeviceSelector;
pub use upload::Uploader;
