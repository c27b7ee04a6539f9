//! Pages of KV cache: who holds which, what they hold, and which sequence has what of its own
//! cached.
//!
//! Only the scheduler hands them out; stages keep no allocator.

mod cached;
mod memory;
mod pool;
mod prefix;
mod table;

pub(crate) use cached::Cached;
pub(crate) use memory::Memory;
pub(crate) use table::max_pages;
