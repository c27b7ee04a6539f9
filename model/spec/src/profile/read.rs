//! Reads a profile from a path.

use std::{fs, path::Path};

use super::{
    ComputeType, ModelProfile,
    costing::{Costing, Elements, StoredSizes},
    gguf::{self, GgufModel},
    headers::UnitSizes,
    hub::{self, HubModel},
    packing::WeightFormat,
};
use crate::{
    error::{ConfigError, ProfileError},
    gguf::GgufHeader,
};

/// The types in which a planned model computes. Activations are f32 wherever they are kept.
///
/// `None` uses the type of the file's own weights, or f16 if they are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Of the products.
    pub compute: Option<ComputeType>,
    /// Bytes of a cached element; one for an 8-bit cache.
    pub kv_element_bytes: Option<usize>,
}

impl Target {
    /// As this runtime computes on a CPU: everything in f32.
    pub const CPU: Self = Self { compute: Some(ComputeType::F32), kv_element_bytes: Some(4) };
    /// As accelerators compute: everything in the type of the file.
    pub const ACCELERATOR: Self = Self { compute: None, kv_element_bytes: None };

    fn elements(self, weights: WeightFormat, stored: ComputeType) -> Elements {
        Elements {
            weights,
            hidden: ComputeType::F32.num_bytes(),
            kv: self.kv_element_bytes.unwrap_or(stored.num_bytes()),
            compute: self.compute.unwrap_or(stored),
        }
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::CPU
    }
}

impl ComputeType {
    /// Returns the bytes of one element.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

pub(super) fn read(path: &Path, target: Target) -> Result<ModelProfile, ProfileError> {
    let inside = path.join("config.json");
    let file = if path.is_dir() { &inside } else { path };
    let io = |source| ProfileError::Io { path: file.to_owned(), source };
    let is_file = fs::metadata(file).map_err(io)?.is_file();
    let ending = file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        // A read from anything but a regular file might never end.
        Some("gguf") if is_file => of_gguf(file, target),
        Some("json") if is_file => of_hub(file, target),
        _ => Err(ProfileError::Kind { path: file.to_owned() }),
    }
}

fn of_gguf(path: &Path, target: Target) -> Result<ModelProfile, ProfileError> {
    let header = GgufHeader::open(path).map_err(ConfigError::from)?;
    let GgufModel { outline, sizes, stored } = gguf::read(&header)?;
    let elements = target.elements(WeightFormat::plain(stored.num_bytes()), stored);
    Ok(Costing::new(&outline, StoredSizes::Units(&sizes), elements).profile())
}

fn of_hub(file: &Path, target: Target) -> Result<ModelProfile, ProfileError> {
    let HubModel { outline, stored, weights } = hub::read(file)?;
    // Weights next to a file with another name may belong to another model.
    let directory = file.parent().filter(|_| file.ends_with("config.json"));
    let sizes = match directory {
        Some(directory) if directory == Path::new("") => {
            UnitSizes::of_directory(Path::new("."), outline.tied)?
        }
        Some(directory) => UnitSizes::of_directory(directory, outline.tied)?,
        None => None,
    };
    let sizes = sizes.unwrap_or_default();
    let elements = target.elements(weights, stored);
    Ok(Costing::new(&outline, StoredSizes::Units(&sizes), elements).profile())
}
