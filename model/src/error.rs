//! What can go wrong while a shard is loaded and run.

use std::path::PathBuf;

use crate::{
    placed::Misplaced,
    units::{Unit, UnitRange},
};

/// Why a weight cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    #[error("{}: tensor `{tensor}` is missing", file.display())]
    Missing { file: PathBuf, tensor: String },
    #[error("{}: tensor `{tensor}`: wanted shape {wanted:?}, found {found:?}", file.display())]
    Shape { file: PathBuf, tensor: String, wanted: Vec<usize>, found: Vec<usize> },
    #[error("{}: tensor `{tensor}`: cannot be placed in memory", file.display())]
    Tensor { file: PathBuf, tensor: String, source: candle_core::Error },
}

/// Why a shard cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Weight(#[from] WeightError),
    #[error("cannot load {unit}")]
    Tensor { unit: Unit, source: candle_core::Error },
    #[error("units {}..{} are none of a model with {num_units} units", units.start, units.end)]
    Units { units: UnitRange, num_units: usize },
    #[error("wanted a page count for each of {wanted} KV groups, found {found}")]
    Groups { wanted: usize, found: usize },
    #[error("cannot hold {pages} KV pages")]
    Pages { pages: usize, source: candle_core::Error },
}

/// Why a shard cannot run a step or a reorder.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error("ancestors have epoch {found}, wanted {wanted}")]
    Epoch { wanted: u64, found: u64 },
    #[error("{unit} got no hidden values")]
    NoHidden { unit: Unit },
    #[error("{unit} got hidden values, wanted none")]
    UnwantedHidden { unit: Unit },
    #[error("{unit}: `{value}` has shape {found:?}, wanted {wanted:?}")]
    Shape { unit: Unit, value: &'static str, wanted: Vec<usize>, found: Vec<usize> },
    #[error("{unit} failed")]
    Tensor { unit: Unit, source: candle_core::Error },
}
