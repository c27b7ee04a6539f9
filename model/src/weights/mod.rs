//! Reads weights by role from GGUF or safetensors, without reading the rest.
//!
//! Owns the memory maps. Hides every difference between the formats: its results follow Hugging
//! Face's conventions (rotary embedding by halves, norm weights as plain multipliers), each matrix
//! by itself.

mod dummy;
mod fused;
mod permute;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml},
};

use sluicegate_spec::{
    config::ModelConfig,
    error::HeaderError,
    family::{self, Family, NormWeights},
    files::ModelFiles,
    gguf::{BlockType, Gguf, StoredKind},
    mapped::TensorBytes,
    names,
    profile::ComputeType,
    safetensors::SafeTensors,
    tensors::{Role, TensorId},
    units::Unit,
};

use crate::error::WeightError;
use dummy::Dummy;
use fused::Part;
use permute::RotaryRows;

/// The weights of a model, memory-mapped. Clones share the maps.
///
/// Opening reads only headers; a tensor's bytes are read on demand.
#[derive(Debug, Clone)]
pub struct Weights(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    family: &'static Family,
    config: ModelConfig,
}

#[derive(Debug)]
enum Files {
    Gguf { gguf: Gguf, is_interleaved: bool },
    SafeTensors(SafeTensors),
    Dummy(Dummy),
}

/// A tensor as it is stored.
#[derive(Debug)]
pub struct Stored {
    /// Row-major.
    pub shape: Vec<usize>,
    pub kind: StoredKind,
    pub bytes: TensorBytes,
}

/// A weight matrix, `[out, in]`.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// In the type of the file: f32, f16 or bf16.
    Dense(Tensor),
    Quantized(Arc<QTensor>),
}

/// The location of a tensor whose bytes are not yet read.
struct Found<'a> {
    name: String,
    file: &'a Path,
    shape: Vec<usize>,
    kind: StoredKind,
    bytes: TensorBytes,
}

impl Weights {
    /// Maps the weight files of a model and reads their headers.
    ///
    /// # Errors
    /// [`WeightError`] if a file cannot be read or its header is inconsistent.
    pub fn open(files: &ModelFiles, config: &ModelConfig) -> Result<Self, WeightError> {
        match files {
            ModelFiles::Gguf(path) => Ok(Self::from_gguf(Gguf::open(path)?, config)),
            ModelFiles::Directory(path) => {
                Ok(Self::new(Files::SafeTensors(SafeTensors::open(path)?), config))
            }
        }
    }

    /// The weights of an open GGUF file.
    pub fn from_gguf(gguf: Gguf, config: &ModelConfig) -> Self {
        let rows = Family::of(config.architecture).gguf_rows;
        let is_interleaved = rows == family::RotaryRows::Interleaved;
        Self::new(Files::Gguf { gguf, is_interleaved }, config)
    }

    /// Seeded numbers in place of weights, in the type `stored`, for the model that `file`
    /// describes.
    pub fn dummy(file: &Path, config: &ModelConfig, stored: ComputeType, seed: u64) -> Self {
        Self::new(Files::Dummy(Dummy::new(file, stored, seed)), config)
    }

    fn new(files: Files, config: &ModelConfig) -> Self {
        let family = Family::of(config.architecture);
        Self(Arc::new(Inner { files, family, config: config.clone() }))
    }

    /// Returns the type of all matrices if there are no files, which would store each in its own.
    pub(crate) fn dummy_type(&self) -> Option<ComputeType> {
        match &self.0.files {
            Files::Dummy(dummy) => Some(dummy.stored()),
            Files::Gguf { .. } | Files::SafeTensors(_) => None,
        }
    }

    /// Returns whether the files have the tensor (for a tied head: the embedding).
    pub fn contains(&self, id: TensorId) -> bool {
        !matches!(self.find(id), Ok(None))
    }

    /// Returns the file of the weights, or the directory of the files.
    pub fn path(&self) -> &Path {
        match &self.0.files {
            Files::Gguf { gguf, .. } => gguf.path(),
            Files::SafeTensors(tensors) => tensors.directory(),
            Files::Dummy(dummy) => dummy.file(),
        }
    }

    /// Returns shape, type and bytes of a tensor as its file stores it; `None` if the files lack it
    /// or its type is unsupported.
    ///
    /// For counting bytes: rows of queries and keys are in the file's own order, and norm weights
    /// are raw. [`Weights::dense`] and [`Weights::matrix`] apply the conventions.
    pub fn stored(&self, id: TensorId) -> Option<Stored> {
        let Found { shape, kind, bytes, .. } = self.find(id).ok()??;
        Some(Stored { shape, kind, bytes })
    }

    /// Loads a small tensor, a norm or a bias, as f32. Norm weights are plain multipliers.
    ///
    /// # Errors
    /// [`WeightError`] if the tensor is missing or has another shape.
    pub fn dense(
        &self,
        id: TensorId,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor, WeightError> {
        if let Files::Dummy(_) = &self.0.files {
            let made = dummy::vector(id.role, shape, device);
            return made.map_err(|source| self.unusable(id, source));
        }
        let stored = self.wanted(id, shape)?;
        let is_offset = self.holds_offset_norm(id.role);
        let tensor = load(&stored, device).and_then(|matrix| match matrix {
            Matrix::Dense(tensor) if is_offset => tensor.to_dtype(DType::F32)? + 1.0,
            Matrix::Dense(tensor) => tensor.to_dtype(DType::F32),
            Matrix::Quantized(tensor) => tensor.dequantize(device),
        });
        tensor.map_err(|source| self.unusable(id, source))
    }

    /// Loads a matrix `[out, in]` in the type of the file. A tied model's head is its embedding.
    ///
    /// # Errors
    /// [`WeightError`] if the tensor is missing or has another shape.
    pub fn matrix(
        &self,
        id: TensorId,
        shape: (usize, usize),
        device: &Device,
    ) -> Result<Matrix, WeightError> {
        if let Files::Dummy(dummy) = &self.0.files {
            let made = dummy.matrix(self.resolve(id), shape, device).map(Matrix::Dense);
            return made.map_err(|source| self.unusable(id, source));
        }
        let stored = self.wanted(id, &[shape.0, shape.1])?;
        load(&stored, device).map_err(|source| self.unusable(id, source))
    }

    /// Returns a tensor of the wanted shape, with its rows in the decoder's order.
    fn wanted(&self, id: TensorId, wanted: &[usize]) -> Result<Stored, WeightError> {
        let found = self.find(id)?.ok_or_else(|| WeightError::Missing {
            file: self.path().to_owned(),
            tensor: self.name(id),
        })?;
        // The shape is compared before bytes are read.
        if found.shape != wanted {
            return Err(found.misshapen(wanted.to_vec()));
        }
        let rows = match self.rotary_rows(id.role, &found.shape, found.kind) {
            None => None,
            Some(Ok(rows)) => Some(rows),
            Some(Err(wanted)) => return Err(found.misshapen(wanted)),
        };
        let Found { name: tensor, file, shape, kind, bytes } = found;
        let bytes = match rows {
            None => bytes,
            Some(rows) => rows.restore(&bytes).map_err(|source| WeightError::Copy {
                file: file.to_owned(),
                tensor,
                source,
            })?,
        };
        Ok(Stored { shape, kind, bytes })
    }

    /// Finds a tensor; `None` if the files lack it.
    ///
    /// Of a tensor with several matrices, only the rows of the wanted one are returned.
    ///
    /// # Errors
    /// The tensor is unsupported or misshapen.
    fn find(&self, id: TensorId) -> Result<Option<Found<'_>>, WeightError> {
        let Inner { family, config, .. } = &*self.0;
        let Some(found) = self.find_whole(self.resolve(id))? else { return Ok(None) };
        let Some(part) = Part::of(id.role, family, config) else { return Ok(Some(found)) };
        let wanted = part.whole();
        if found.shape != wanted {
            return Err(found.misshapen(wanted.to_vec()));
        }
        Ok(Some(Found {
            shape: part.shape().to_vec(),
            bytes: found.bytes.part(part.span(found.kind)),
            ..found
        }))
    }

    /// Finds the tensor that is or contains the wanted one.
    fn find_whole(&self, id: TensorId) -> Result<Option<Found<'_>>, HeaderError> {
        match &self.0.files {
            Files::Dummy(_) => Ok(None),
            Files::Gguf { gguf, .. } => {
                let name = names::gguf(id, self.0.family);
                let Some(info) = gguf.tensor(&name)? else { return Ok(None) };
                Ok(Some(Found {
                    name,
                    file: gguf.path_of(info),
                    shape: info.shape.clone(),
                    kind: info.kind,
                    bytes: gguf.bytes(info),
                }))
            }
            Files::SafeTensors(tensors) => {
                let candidates = names::hub(id, self.0.family).into_iter();
                let mut views =
                    candidates.filter_map(|name| tensors.tensor(&name).map(|view| (name, view)));
                let Some((name, view)) = views.next() else { return Ok(None) };
                let file = view.file.path();
                let layout = view.layout.as_ref().map_err(|unusable| unusable.error(file))?;
                Ok(Some(Found {
                    name,
                    file,
                    shape: layout.shape.clone(),
                    kind: layout.kind,
                    bytes: view.file.span(view.span.clone()),
                }))
            }
        }
    }

    /// Returns the address under which the files store a tensor: a tied head is the embedding.
    fn resolve(&self, id: TensorId) -> TensorId {
        if id.role == Role::Head && self.0.config.tied {
            return TensorId { unit: Unit::Embed, role: Role::Embedding };
        }
        id
    }

    /// Returns how to restore interleaved rotary rows, or the shape needed for that.
    fn rotary_rows(
        &self,
        role: Role,
        shape: &[usize],
        kind: StoredKind,
    ) -> Option<Result<RotaryRows, Vec<usize>>> {
        if !matches!(self.0.files, Files::Gguf { is_interleaved: true, .. }) {
            return None;
        }
        let num_heads = match role {
            Role::Query | Role::QueryBias => self.0.config.num_heads,
            Role::Key | Role::KeyBias => self.0.config.num_kv_heads,
            _ => return None,
        };
        Some(RotaryRows::new(shape, kind, num_heads))
    }

    fn holds_offset_norm(&self, role: Role) -> bool {
        self.0.family.hub_norms == NormWeights::LessOne
            && matches!(self.0.files, Files::SafeTensors(_))
            && role.is_norm()
    }

    fn unusable(&self, id: TensorId, source: candle_core::Error) -> WeightError {
        WeightError::Tensor {
            file: self.path().to_owned(),
            tensor: self.name(id),
            source: Box::new(source),
        }
    }

    fn name(&self, id: TensorId) -> String {
        let id = self.resolve(id);
        match &self.0.files {
            Files::Gguf { .. } => names::gguf(id, self.0.family),
            Files::SafeTensors(_) | Files::Dummy(_) => names::hub(id, self.0.family)[0].clone(),
        }
    }
}

impl Found<'_> {
    fn misshapen(self, wanted: Vec<usize>) -> WeightError {
        let Self { name: tensor, file, shape: found, .. } = self;
        WeightError::Shape { file: file.to_owned(), tensor, wanted, found }
    }
}

/// Copies a stored tensor into the memory of a device.
fn load(stored: &Stored, device: &Device) -> candle_core::Result<Matrix> {
    let dtype = match stored.kind {
        StoredKind::F32 => DType::F32,
        StoredKind::F16 => DType::F16,
        StoredKind::BF16 => DType::BF16,
        StoredKind::Quantized(blocks) => {
            let shape = stored.shape.clone();
            let tensor = qtensor_from_ggml(ggml_type(blocks), &stored.bytes, shape, device)?;
            return Ok(Matrix::Quantized(Arc::new(tensor)));
        }
    };
    Tensor::from_raw_buffer(&stored.bytes, dtype, &stored.shape, device).map(Matrix::Dense)
}

/// Returns candle's name of a type of blocks.
fn ggml_type(blocks: BlockType) -> GgmlDType {
    match blocks {
        BlockType::Q4_0 => GgmlDType::Q4_0,
        BlockType::Q4_1 => GgmlDType::Q4_1,
        BlockType::Q5_0 => GgmlDType::Q5_0,
        BlockType::Q5_1 => GgmlDType::Q5_1,
        BlockType::Q8_0 => GgmlDType::Q8_0,
        BlockType::Q2K => GgmlDType::Q2K,
        BlockType::Q3K => GgmlDType::Q3K,
        BlockType::Q4K => GgmlDType::Q4K,
        BlockType::Q5K => GgmlDType::Q5K,
        BlockType::Q6K => GgmlDType::Q6K,
    }
}
