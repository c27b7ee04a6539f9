//! What the tests share: tiny seeded models, steps built by hand, engines and their requests.

pub mod constraints;
pub mod engines;
pub mod steps;
pub mod tiny;
