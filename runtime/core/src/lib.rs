//! Who runs next, on which pages, and what every stage did when. Pure: plain data in, plain data
//! out; no tensor, device, clock, thread, channel, file or log.
//!
//! In reading order: the [`scheduler`] orders the rows of each step, [`simulate`] drives it under a
//! virtual clock, and a [`timeline`] says what happened.

pub mod scheduler;
pub mod simulate;
pub mod timeline;
