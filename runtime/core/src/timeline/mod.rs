//! What every stage did when: filled by real runs and by simulated ones, read by one checker.
//!
//! Plain data with two ways of writing it. Owns no clock: whoever fills a timeline brings seconds.

mod chrome;
mod span;
mod svg;
mod usage;

pub use chrome::ChromeTrace;
pub use span::{Activity, Lane, MicrobatchNote, Span, Timeline};
pub use svg::svg;
pub use usage::{StageUsage, Usage, Window};

#[cfg(test)]
mod tests;
