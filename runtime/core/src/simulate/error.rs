//! What must not happen in a simulation: each is a fault of what is simulated, not of the script.

use sluicegate_spec::epoch::WrongEpoch;

use crate::{
    messages::{GroupId, MicrobatchId, Stamp},
    serve::Stop,
};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulationError {
    #[error("stage {stage} got {microbatch} of incarnation {found}, wanted {wanted}")]
    Incarnation { stage: usize, microbatch: MicrobatchId, wanted: u32, found: u32 },
    #[error("stage {stage} refuses a reorder for {group}")]
    Epoch { stage: usize, group: GroupId, source: WrongEpoch },
    #[error("stage {stage} holds no page {page} in KV group {kv_idx}, named for {group}")]
    NoPage { stage: usize, group: GroupId, kv_idx: usize, page: u32 },
    #[error("the tables of {group} hold no page for position {position} in KV group {kv_idx}")]
    NotInTable { group: GroupId, kv_idx: usize, position: usize },
    #[error(
        "stage {stage} reads position {position} of {group} in KV group {kv_idx}, which nobody wrote"
    )]
    Unwritten { stage: usize, group: GroupId, kv_idx: usize, position: usize },
    #[error("a reorder of {group} names row {row} of {num_rows}")]
    NoRow { group: GroupId, row: u32, num_rows: usize },
    #[error("a row of {group} in {microbatch} is sampled without its mask, {wanted}")]
    Mask { microbatch: MicrobatchId, group: GroupId, wanted: Stamp },
    #[error("request {request} was told of an output {shown:?} in pieces, and then {text:?}")]
    Text { request: usize, shown: String, text: String },
    #[error("request {request} was told something after its end")]
    AfterEnd { request: usize },
    #[error("the serving loop ended: {0:?}")]
    Stopped(Stop),
    #[error("matchers are still open after the last request")]
    Matchers,
    #[error("request {request} ended twice")]
    EndedTwice { request: usize },
    #[error("request {request} never ended, and nothing more would happen")]
    Stalled { request: usize },
    #[error("{num_batches} batches were sent, more than any fair schedule takes")]
    Endless { num_batches: u64 },
    #[error("pages are still held after the last request: {found:?} of {wanted:?} are free")]
    Leaked { wanted: Vec<usize>, found: Vec<usize> },
    #[error("the scheduler holds groups after the last request")]
    NotIdle,
}
