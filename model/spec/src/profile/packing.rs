//! Sizes of weights that no header gives: from the element type and `quantization_config`.

use super::{outline::Purpose, product};
use crate::{config::keys::Keys, error::ConfigError, tensors::Role};

/// The storage of weights whose sizes follow from their shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WeightFormat {
    /// Bytes of an unpacked weight.
    element_bytes: u64,
    /// How the matrices of the layers are packed, if at all.
    packing: Option<Packing>,
}

/// Low-bit weights in groups with their own scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packing {
    bits: u64,
    /// Weights that share a scale.
    group: u64,
    /// Bits of a group's scale and zero point.
    group_bits: u64,
}

const METHODS: &str = "awq, gptq, bitsandbytes, fp8, fbgemm_fp8 or compressed-tensors";
/// The group size of nearly all GPTQ and AWQ files, and of those that state none.
const USUAL_GROUP: u64 = 128;

impl WeightFormat {
    /// Unpacked weights of this many bytes.
    pub(super) fn plain(element_bytes: usize) -> Self {
        Self { element_bytes: element_bytes as u64, packing: None }
    }

    /// Applies `quantization_config` to weights of this many bytes.
    ///
    /// Source: the quantisation configurations of transformers (`quantization_config.py`). Assumes
    /// that exactly the attention and feed-forward matrices are packed, with f16 scales.
    pub(super) fn read(root: &Keys<'_>, element_bytes: usize) -> Result<Self, ConfigError> {
        let packing = match root.object("quantization_config")? {
            None => None,
            Some(values) => {
                let keys = Keys { file: root.file, prefix: "quantization_config.", values };
                Some(Packing::read(&keys)?)
            }
        };
        Ok(Self { packing, ..Self::plain(element_bytes) })
    }

    /// Returns the bytes of a matrix.
    pub(super) fn bytes(&self, purpose: Purpose, num_rows: u64, width: u64) -> u64 {
        let packing = match purpose {
            Purpose::Role(Role::Embedding | Role::Head) | Purpose::Router => None,
            Purpose::Role(_) | Purpose::SharedExpert => self.packing,
        };
        match packing {
            None => product(&[num_rows, width, self.element_bytes]),
            Some(Packing { bits, group, group_bits }) => {
                let groups = product(&[num_rows, width.div_ceil(group), group_bits]);
                product(&[num_rows, width, bits]).saturating_add(groups).div_ceil(8)
            }
        }
    }
}

impl Packing {
    fn read(keys: &Keys<'_>) -> Result<Self, ConfigError> {
        let method = keys.required("quant_method", keys.text("quant_method")?)?;
        Ok(match method {
            "awq" | "gptq" => {
                let key = if keys.get("w_bit").is_some() { "w_bit" } else { "bits" };
                let bits = keys.required(key, bits(keys, key)?)?;
                // A size of -1 makes each row one group, which costs about as much as no groups.
                let group = match keys.number("group_size")? {
                    Some(size) if size < 0.0 => u64::MAX,
                    Some(_) => group(keys)?,
                    None => USUAL_GROUP,
                };
                Self { bits, group, group_bits: 16 + bits }
            }
            "bitsandbytes" if keys.flag("load_in_4bit")? == Some(true) => {
                let is_double = keys.flag("bnb_4bit_use_double_quant")? == Some(true);
                // The scales are f32, or bytes with one f32 for every 256.
                Self { bits: 4, group: 64, group_bits: if is_double { 9 } else { 32 } }
            }
            "bitsandbytes" if keys.flag("load_in_8bit")? == Some(true) => {
                Self { bits: 8, group: u64::MAX, group_bits: 32 }
            }
            "bitsandbytes" => {
                return Err(keys.wrong("load_in_4bit", "true, or load_in_8bit true"));
            }
            // An f32 scale per square block of 128, or per row; counted as one per row.
            "fp8" | "fbgemm_fp8" => Self { bits: 8, group: u64::MAX, group_bits: 32 },
            "compressed-tensors" => compressed_tensors(keys)?,
            _ => return Err(keys.wrong("quant_method", METHODS)),
        })
    }
}

/// Reads the only group of weights that such a configuration usually has.
fn compressed_tensors(keys: &Keys<'_>) -> Result<Packing, ConfigError> {
    let groups = keys.required("config_groups", keys.object("config_groups")?)?;
    let wrong = || keys.wrong("config_groups", "one group with `weights`");
    let mut groups = groups.values();
    let (Some(only), None) = (groups.next(), groups.next()) else { return Err(wrong()) };
    let weights = only.get("weights").and_then(serde_json::Value::as_object).ok_or_else(wrong)?;
    let prefix = "quantization_config.config_groups.weights.";
    let weights = Keys { file: keys.file, prefix, values: weights };
    let bits = weights.required("num_bits", bits(&weights, "num_bits")?)?;
    let group = match weights.get("group_size") {
        Some(_) => group(&weights)?,
        None => u64::MAX,
    };
    Ok(Packing { bits, group, group_bits: 16 })
}

fn bits(keys: &Keys<'_>, key: &str) -> Result<Option<u64>, ConfigError> {
    match keys.size(key)? {
        Some(bits @ 2..=8) => Ok(Some(bits as u64)),
        Some(_) => Err(keys.wrong(key, "2 to 8")),
        None => Ok(None),
    }
}

fn group(keys: &Keys<'_>) -> Result<u64, ConfigError> {
    match keys.size("group_size")? {
        Some(size @ 1..=65_536) => Ok(size as u64),
        _ => Err(keys.wrong("group_size", "1 to 65536")),
    }
}
