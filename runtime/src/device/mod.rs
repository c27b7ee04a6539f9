//! The only place where bytes change device: links, the ledger that counts them, and the devices
//! themselves.
//!
//! Everything that crosses is a [`Payload`] of one of five kinds. Nothing here decides what crosses:
//! the plan's list of transfers does.

pub mod calibrate;
mod cgroup;
pub mod counts;
#[cfg(feature = "cuda")]
mod cuda;
pub mod devices;
pub mod discover;
pub mod held;
pub mod ledger;
pub mod link;
mod live;
pub mod logits;
pub mod masks;
pub mod order;
pub mod payload;
pub mod selector;
mod speed;
pub mod tokens;

pub use counts::MaskCounts;
pub use devices::Devices;
pub use ledger::{Ledger, LedgerEntry};
pub use link::{Links, TransferError};
pub use live::cluster;
pub use logits::LogitRows;
pub use masks::Masks;
pub use order::Order;
pub use payload::Payload;
pub use selector::DeviceSelector;
pub use tokens::Sampled;
