//! The same weights as numbers: nothing is rounded on the way, and the logits agree as f32 allows.
//!
//! candle dequantises every matrix of a quantised file, and the numbers make a GGUF file of f32.
//! On it our model must equal candle's, and what we read from the quantised file must be the same
//! numbers to the bit. The products are all that is left to show, see [`super::products`].

use std::{fs::File, path::Path};

use candle_core::{
    DType, Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Content, Value},
    },
};
use sluicegate_model::{
    shard::{Shard, ShardOutput},
    step::Hidden,
    threads::Threads,
    weights::{Matrix, Weights},
};
use sluicegate_spec::{
    config::ModelConfig,
    device::DeviceId,
    files::ModelFiles,
    placed::{Placed, Site},
    tensors::{Role, TensorId},
    units::{Unit, UnitRange},
};
use sluicegate_tests::steps::{PAGES_PER_SEQUENCE, RowInput, home, step};
use tempfile::TempDir;

use super::compare::open;

/// A GGUF file of f32, which is removed when this is dropped.
pub(super) struct Dequantized {
    pub(super) files: ModelFiles,
    _directory: TempDir,
}

impl Dequantized {
    /// Dequantises all tensors of a GGUF file. The metadata stays as it is.
    pub(super) fn new(files: &ModelFiles) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("dequantized.gguf");
        write(files.path(), &path);
        Self { files: ModelFiles::Gguf(path), _directory: directory }
    }
}

fn write(source: &Path, target: &Path) {
    let mut source = File::open(source).unwrap();
    let content = Content::read(&mut source).unwrap();
    let tensors: Vec<(&str, QTensor)> = content
        .tensor_infos
        .keys()
        .map(|name| {
            let tensor = content.tensor(&mut source, name, &Device::Cpu).unwrap();
            let numbers = tensor.dequantize(&Device::Cpu).unwrap();
            (name.as_str(), QTensor::quantize(&numbers, GgmlDType::F32).unwrap())
        })
        .collect();
    let metadata: Vec<(&str, &Value)> =
        content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    gguf_file::write(&mut File::create(target).unwrap(), &metadata, &tensors).unwrap();
}

const LAYER_ROLES: [Role; 16] = [
    Role::InputNorm,
    Role::PostAttentionNorm,
    Role::MlpNorm,
    Role::PostMlpNorm,
    Role::Query,
    Role::Key,
    Role::Value,
    Role::Output,
    Role::QueryBias,
    Role::KeyBias,
    Role::ValueBias,
    Role::QueryNorm,
    Role::KeyNorm,
    Role::Gate,
    Role::Up,
    Role::Down,
];

/// The addresses of all tensors that the files hold, with their shapes. A tied head is none.
pub(super) fn tensors(weights: &Weights, config: &ModelConfig) -> Vec<(TensorId, Vec<usize>)> {
    let embedding = TensorId { unit: Unit::Embed, role: Role::Embedding };
    let norm = TensorId { unit: Unit::Head, role: Role::FinalNorm };
    let head = TensorId { unit: Unit::Head, role: Role::Head };
    let layers = (0..config.num_layers).flat_map(|layer_idx| {
        LAYER_ROLES.map(|role| TensorId { unit: Unit::Layer(layer_idx), role })
    });
    let ids = [embedding, norm].into_iter().chain((!config.tied).then_some(head)).chain(layers);
    ids.filter_map(|id| Some((id, weights.stored(id)?.shape))).collect()
}

/// What we read from a quantised file, matrix by matrix, must be the numbers of the other, and so
/// must the rows of the embedding.
#[track_caller]
pub(super) fn check_same_numbers(quantized: &ModelFiles, numbers: &ModelFiles, tokens: &[u32]) {
    let ((weights, config), (want, _)) = (open(quantized), open(numbers));
    let all = tensors(&weights, &config);
    assert!(all.len() > 9 * config.num_layers, "only {} tensors", all.len());
    for (id, shape) in all {
        let (got, want) = match shape[..] {
            [rows, width] => [&weights, &want].map(|weights| matrix(weights, id, (rows, width))),
            _ => [&weights, &want].map(|weights| weights.dense(id, &shape, &Device::Cpu).unwrap()),
        }
        .into();
        assert!(are_equal(&got, &want), "{id:?}");
    }
    assert!(are_equal(&embedded(quantized, tokens), &embedded(numbers, tokens)), "embedding");
}

fn matrix(weights: &Weights, id: TensorId, shape: (usize, usize)) -> Tensor {
    match weights.matrix(id, shape, &Device::Cpu).unwrap() {
        Matrix::Quantized(matrix) => matrix.dequantize(&Device::Cpu).unwrap(),
        Matrix::Dense(matrix) => matrix.to_dtype(DType::F32).unwrap(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads results on the host")]
fn are_equal(a: &Tensor, b: &Tensor) -> bool {
    let equal = a.eq(b).unwrap().flatten_all().unwrap().min_all().unwrap();
    equal.to_scalar::<u8>().unwrap() == 1
}

/// What the first unit makes of the tokens.
fn embedded(files: &ModelFiles, tokens: &[u32]) -> Tensor {
    let (weights, config) = open(files);
    let pages = vec![PAGES_PER_SEQUENCE; config.kv_groups().len()];
    let home = home(0, Threads::inline());
    let units = UnitRange { start: 0, end: 1 };
    let mut shard = Shard::load(&weights, &config, units, home, &pages).unwrap();
    let row = RowInput { sequence: 0, past: 0, tokens, logits: 0..0 };
    let here = DeviceId::Cpu(0);
    let output = shard.forward(Placed::new(&step(&config, &[row]), here), None).unwrap();
    let ShardOutput::Hidden(hidden) = output else { panic!("the embedding has no head") };
    let site = Site { operation: "read", unit: None, with: "test", device: here };
    let Hidden(hidden) = hidden.take(&site).unwrap();
    hidden
}
