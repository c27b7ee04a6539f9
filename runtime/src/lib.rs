//! Placement, scheduling, stages and transfers: the flow from a request to its text.

pub mod placement;
