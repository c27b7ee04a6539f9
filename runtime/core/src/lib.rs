//! Who runs next, what becomes of every request, and what every stage did when. Pure: plain data
//! in, plain data out; no tensor, device, clock, thread, channel, file or log.
//!
//! In reading order: [`messages`] travel between host and stages, at the last of which groups with
//! late masks are [`parking`], a [`sequence`] is what runs on its pages, the [`scheduler`] orders
//! the rows of each step, [`serve`] is the loop around it, [`simulate`] drives that under a virtual
//! clock, and a [`timeline`] says what happened.

pub mod messages;
mod pages;
pub mod parking;
pub mod scheduler;
pub mod sequence;
pub mod serve;
pub mod simulate;
pub mod timeline;
