//! Sizes of a model's units from the headers of its weight files.
//!
//! Adds up all tensors of a unit, whatever their names; scales and zero points of packed matrices
//! are included. Reads no tensor data: of safetensors files only the headers.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use serde_json::{Map, Value};

use super::{costing::VECTOR_BYTES, product};
use crate::{
    error::{HeaderError, malformed},
    gguf::GgufHeader,
    lfs::refuse_pointer,
    safetensors::{MAX_HEADER_BYTES, candidate_files},
    units::{Bytes, Unit},
};

/// The sizes of the units found in headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnitSizes(HashMap<Unit, UnitBytes>);

/// The sizes of a unit's tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UnitBytes {
    /// All but the experts that tokens choose among.
    pub(super) shared: Bytes,
    pub(super) experts: Bytes,
}

/// The unit to which a tensor belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TensorOwner {
    unit: Unit,
    is_expert: bool,
}

/// Module paths before the tensor names of a language model, longest first.
const PREFIXES: [&str; 4] =
    ["model.language_model.", "language_model.model.", "language_model.", "model."];

impl UnitSizes {
    /// Reads the sizes from the safetensors files of a directory; `None` if some are missing.
    pub(super) fn of_directory(directory: &Path, tied: bool) -> Result<Option<Self>, HeaderError> {
        let files = candidate_files(directory)?;
        let is_indexed = directory.join("model.safetensors.index.json").exists();
        let is_whole = !files.is_empty() && files.iter().all(|file| file.is_file());
        if !is_whole || (files.len() > 1 && !is_indexed) {
            return Ok(None);
        }
        let mut sizes = Self::default();
        for file in files {
            for (name, entry) in read_header(&file)? {
                if name == "__metadata__" {
                    continue;
                }
                let num_bytes = stored_bytes(&file, &name, &entry)?;
                if let Some(owner) = hub_owner(&name, tied) {
                    sizes.add(owner, num_bytes);
                }
            }
        }
        Ok(Some(sizes))
    }

    /// Reads the sizes from the header of a GGUF file.
    ///
    /// # Errors
    /// [`HeaderError`] if a unit's tensor has a type of unknown size.
    pub(super) fn of_gguf(header: &GgufHeader) -> Result<Self, HeaderError> {
        let mut sizes = Self::default();
        for (name, info) in header.tensors() {
            if let Some(owner) = gguf_owner(name) {
                let info = info?;
                let shape: Vec<u64> = info.shape.iter().map(|axis| *axis as u64).collect();
                sizes.add(owner, held_bytes(&shape, info.num_bytes));
            }
        }
        Ok(sizes)
    }

    pub(super) fn get(&self, unit: Unit) -> Option<UnitBytes> {
        self.0.get(&unit).copied()
    }

    fn add(&mut self, owner: TensorOwner, num_bytes: u64) {
        let sizes = self.0.entry(owner.unit).or_default();
        let sum = if owner.is_expert { &mut sizes.experts } else { &mut sizes.shared };
        sum.0 = sum.0.saturating_add(num_bytes);
    }
}

/// Returns the bytes of a tensor in memory, where vectors become f32.
fn held_bytes(shape: &[u64], stored: u64) -> u64 {
    match shape {
        [len] => product(&[*len, VECTOR_BYTES]),
        _ => stored,
    }
}

fn hub_owner(name: &str, tied: bool) -> Option<TensorOwner> {
    let shared = |unit| Some(TensorOwner { unit, is_expert: false });
    let stem = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    if let Some(rest) = stem.strip_prefix("layers.") {
        let (layer_idx, rest) = rest.split_once('.')?;
        let unit = Unit::Layer(layer_idx.parse().ok()?);
        return Some(TensorOwner { unit, is_expert: rest.contains(".experts.") });
    }
    match stem.split('.').next()? {
        "embed_tokens" => shared(Unit::Embed),
        "norm" => shared(Unit::Head),
        "lm_head" if !tied => shared(Unit::Head),
        _ => None,
    }
}

fn gguf_owner(name: &str) -> Option<TensorOwner> {
    let shared = |unit| Some(TensorOwner { unit, is_expert: false });
    if let Some(rest) = name.strip_prefix("blk.") {
        let (layer_idx, rest) = rest.split_once('.')?;
        let unit = Unit::Layer(layer_idx.parse().ok()?);
        // Older files store each expert separately: `ffn_gate.3.weight`.
        let is_numbered = rest.strip_prefix("ffn_").and_then(|rest| rest.split('.').nth(1));
        let is_numbered = is_numbered.is_some_and(|part| part.parse::<u32>().is_ok());
        return Some(TensorOwner { unit, is_expert: rest.contains("_exps.") || is_numbered });
    }
    match name.split('.').next()? {
        "token_embd" => shared(Unit::Embed),
        "output" | "output_norm" => shared(Unit::Head),
        _ => None,
    }
}

/// No Git LFS pointer is longer. Source: docs/spec.md of git-lfs.
const MAX_POINTER_BYTES: u64 = 1024;

/// Reads the header of a safetensors file; no data need follow it.
fn read_header(path: &Path) -> Result<Map<String, Value>, HeaderError> {
    let io = |source| HeaderError::Io { file: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let file_len = file.metadata().map_err(io)?.len();
    let mut header_len = [0; 8];
    let mut header = Vec::new();
    let truncated = |wanted: u64| HeaderError::Truncated {
        file: path.to_owned(),
        offset: 0,
        what: "the header".to_owned(),
        wanted,
        found: file_len,
    };
    if file_len < 8 {
        return Err(truncated(8));
    }
    file.read_exact(&mut header_len).map_err(io)?;
    let header_len = u64::from_le_bytes(header_len);
    if header_len > MAX_HEADER_BYTES {
        // The first eight letters of an LFS pointer look like such a length, too.
        (&file).take(MAX_POINTER_BYTES).read_to_end(&mut header).map_err(io)?;
        refuse_pointer(path, &[&header_len.to_le_bytes()[..], &header].concat())?;
        let wanted = format!("at most {MAX_HEADER_BYTES} bytes");
        let location = "the header's length".to_owned();
        return Err(malformed(path, location, wanted, format!("{header_len} bytes")));
    }
    if header_len > file_len - 8 {
        return Err(truncated(header_len.saturating_add(8)));
    }
    file.take(header_len).read_to_end(&mut header).map_err(io)?;
    serde_json::from_slice(&header).map_err(|error| {
        malformed(path, "the header".to_owned(), "a JSON object", error.to_string())
    })
}

/// Returns the bytes of a tensor in memory, from its entry. The type may be anything, since no data
/// is read.
fn stored_bytes(path: &Path, name: &str, entry: &Value) -> Result<u64, HeaderError> {
    let numbers = |key: &str| -> Option<Vec<u64>> {
        entry.get(key)?.as_array()?.iter().map(Value::as_u64).collect()
    };
    let wrong = |key: &str, wanted: &str| {
        let found = entry.get(key).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        malformed(path, format!("tensor `{name}`, `{key}`"), wanted, found)
    };
    let shape = numbers("shape").ok_or_else(|| wrong("shape", "a list of sizes"))?;
    let offsets = numbers("data_offsets");
    let stored = match offsets.as_deref() {
        Some([begin, end]) => end.checked_sub(*begin),
        _ => None,
    };
    let stored = stored.ok_or_else(|| wrong("data_offsets", "two offsets in order"))?;
    Ok(held_bytes(&shape, stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(owner: Option<TensorOwner>, want: Option<(Unit, bool)>) {
        assert_eq!(owner.map(|it| (it.unit, it.is_expert)), want);
    }

    #[test]
    fn names_tell_the_unit() {
        let hub = |name| hub_owner(name, false);
        check(hub("model.embed_tokens.weight"), Some((Unit::Embed, false)));
        check(hub("model.layers.11.self_attn.q_proj.qweight"), Some((Unit::Layer(11), false)));
        check(hub("model.layers.3.mlp.experts.7.up_proj.weight"), Some((Unit::Layer(3), true)));
        check(
            hub("model.layers.3.mlp.shared_expert.up_proj.weight"),
            Some((Unit::Layer(3), false)),
        );
        check(
            hub("language_model.model.layers.2.mlp.up_proj.weight"),
            Some((Unit::Layer(2), false)),
        );
        check(hub("model.language_model.norm.weight"), Some((Unit::Head, false)));
        check(hub("lm_head.weight"), Some((Unit::Head, false)));
        check(hub_owner("lm_head.weight", true), None);
        check(hub("vision_tower.vision_model.encoder.layers.3.mlp.fc1.weight"), None);
        check(hub("model.layers.x.y"), None);

        check(gguf_owner("token_embd.weight"), Some((Unit::Embed, false)));
        check(gguf_owner("output.weight"), Some((Unit::Head, false)));
        check(gguf_owner("blk.5.ffn_gate.weight"), Some((Unit::Layer(5), false)));
        check(gguf_owner("blk.5.ffn_gate_exps.weight"), Some((Unit::Layer(5), true)));
        check(gguf_owner("blk.5.ffn_gate_shexp.weight"), Some((Unit::Layer(5), false)));
        check(gguf_owner("blk.5.ffn_gate_inp.weight"), Some((Unit::Layer(5), false)));
        check(gguf_owner("blk.5.ffn_gate.3.weight"), Some((Unit::Layer(5), true)));
        check(gguf_owner("rope_freqs.weight"), None);
    }
}
