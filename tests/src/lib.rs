//! What the tests share: tiny seeded models, steps built by hand, engines and their requests, and
//! the suite of placements.

pub mod constraints;
pub mod draws;
pub mod engines;
pub mod ledger;
pub mod outlines_bug;
pub mod serving;
pub mod steps;
pub mod suite;
pub mod timelines;
pub mod tiny;
