//! Weights come out alike from both formats; hostile files end in errors.

use candle_core::quantized::GgmlDType;
use serde_json::json;
use sluicegate_spec::{
    config::{Architecture, Rope, RopeScaling},
    gguf::writer::Writer,
};
use tempfile::TempDir;

use super::*;

const CPU: Device = Device::Cpu;

fn config(architecture: Architecture) -> ModelConfig {
    ModelConfig {
        architecture,
        num_layers: 1,
        hidden: 32,
        intermediate: 64,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 4,
        vocab: 4,
        max_positions: 16,
        norm_eps: 1e-5,
        attention_scale: 0.5,
        score_cap: None,
        logit_cap: None,
        rope: Rope::new(1e4, RopeScaling::None),
        local_rope: None,
        windows: vec![None],
        tied: true,
        bos: None,
        eos: vec![],
    }
}

fn layer(role: Role) -> TensorId {
    TensorId { unit: Unit::Layer(0), role }
}

#[expect(clippy::disallowed_methods, reason = "a test looks at what it read")]
fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    tensor.to_dtype(DType::F32).unwrap().to_vec2().unwrap()
}

fn dense(matrix: Matrix) -> Tensor {
    match matrix {
        Matrix::Dense(tensor) => tensor,
        Matrix::Quantized(tensor) => tensor.dequantize(&CPU).unwrap(),
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    rows(&tensor.unsqueeze(0).unwrap()).concat()
}

/// `[rows, 32]`, each row full of its own number.
fn numbered(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().flat_map(|number| [*number; 32]).collect()
}

fn open_gguf(writer: &Writer, architecture: Architecture) -> Weights {
    let file = writer.save();
    Weights::open(&ModelFiles::Gguf(file.path().to_owned()), &config(architecture)).unwrap()
}

fn quantised(kind: GgmlDType, values: &[f32]) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "a test writes its own file")]
    let tensor = Tensor::from_slice(values, values.len(), &CPU).unwrap();
    QTensor::quantize(&tensor, kind).unwrap().data().unwrap().into_owned()
}

#[test]
fn interleaved_rows_of_llama_files_are_put_back_in_order() {
    // Two heads of four rows: halves (0 1 | 2 3) lie interleaved as 0 2 1 3.
    let stored = numbered(&[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    let first = |matrix: Matrix| rows(&dense(matrix)).iter().map(|row| row[0]).collect::<Vec<_>>();
    let writer = Writer::default().f32_tensor("blk.0.attn_q.weight", &[8, 32], &stored);
    let weights = open_gguf(&writer, Architecture::Llama);
    let query = weights.matrix(layer(Role::Query), (8, 32), &CPU).unwrap();
    assert_eq!(first(query), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let weights = open_gguf(&writer, Architecture::Qwen2);
    let query = weights.matrix(layer(Role::Query), (8, 32), &CPU).unwrap();
    assert_eq!(first(query), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    // Keys have one head here: eight rows are two halves of four.
    let key = Writer::default().tensor(
        "blk.0.attn_k.weight",
        &[8, 32],
        8,
        &quantised(GgmlDType::Q8_0, &numbered(&[0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0])),
    );
    let weights = open_gguf(&key, Architecture::Llama);
    let key = weights.matrix(layer(Role::Key), (8, 32), &CPU).unwrap();
    assert!(matches!(&key, Matrix::Quantized(tensor) if tensor.dtype() == GgmlDType::Q8_0));
    for (found, wanted) in first(key).into_iter().zip([0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) {
        assert!((found - wanted).abs() < 1e-2, "{found} is not {wanted}");
    }
}

#[test]
fn every_gguf_type_is_read() {
    let values: Vec<f32> = (0..512u16).map(|i| f32::from(i % 64) / 16.0 - 2.0).collect();
    let kinds = [
        (2, GgmlDType::Q4_0),
        (3, GgmlDType::Q4_1),
        (6, GgmlDType::Q5_0),
        (7, GgmlDType::Q5_1),
        (8, GgmlDType::Q8_0),
        (10, GgmlDType::Q2K),
        (11, GgmlDType::Q3K),
        (12, GgmlDType::Q4K),
        (13, GgmlDType::Q5K),
        (14, GgmlDType::Q6K),
        (0, GgmlDType::F32),
        (1, GgmlDType::F16),
        (30, GgmlDType::BF16),
    ];
    for (number, kind) in kinds {
        let bytes = quantised(kind, &values);
        let writer = Writer::default().tensor("blk.0.ffn_up.weight", &[2, 256], number, &bytes);
        let weights = open_gguf(&writer, Architecture::Llama);
        let stored = weights.stored(layer(Role::Up)).unwrap();
        assert_eq!((&*stored.bytes, stored.shape.as_slice()), (&bytes[..], &[2, 256][..]));
        let matrix = weights.matrix(layer(Role::Up), (2, 256), &CPU).unwrap();
        let is_block =
            matches!(stored.kind, StoredKind::Quantized(found) if ggml_type(found) == kind);
        assert_eq!(is_block, kind.block_size() > 1, "{kind:?}");
        assert_eq!(stored.kind.block_len(), kind.block_size(), "{kind:?}");
        assert_eq!(stored.kind.block_bytes(), kind.type_size(), "{kind:?}");
        assert_eq!(matches!(matrix, Matrix::Quantized(_)), is_block);
        let found = rows(&dense(matrix)).concat();
        let worst = found.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.8, "{kind:?} is off by {worst}");
    }
}

#[test]
fn norms_are_plain_multipliers_whatever_the_file() {
    let norm = [0.5; 32];
    let gguf = Writer::default().f32_tensor("blk.0.attn_norm.weight", &[32], &norm).f32_tensor(
        "token_embd.weight",
        &[4, 32],
        &numbered(&[1.0, 2.0, 3.0, 4.0]),
    );
    let gguf = open_gguf(&gguf, Architecture::Gemma3);
    let found = gguf.dense(layer(Role::InputNorm), &[32], &CPU).unwrap();
    assert_eq!(values(&found), norm);
    let name = "model.layers.0.input_layernorm.weight";
    let files = directory(&[(name, &[32], &norm)]);
    let hub = |architecture| {
        let files = ModelFiles::Directory(files.path().to_owned());
        let weights = Weights::open(&files, &config(architecture)).unwrap();
        values(&weights.dense(layer(Role::InputNorm), &[32], &CPU).unwrap())
    };
    assert_eq!(hub(Architecture::Gemma3), [1.5; 32]);
    assert_eq!(hub(Architecture::Qwen3), norm);
    // A tied head is the embedding.
    let head = TensorId { unit: Unit::Head, role: Role::Head };
    assert!(gguf.contains(head));
    assert_eq!(rows(&dense(gguf.matrix(head, (4, 32), &CPU).unwrap()))[2], [3.0; 32]);
}

/// Bytes of a safetensors file with a header as given.
fn safetensors(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// A directory with one safetensors file of f32 tensors.
fn directory(tensors: &[(&str, &[usize], &[f32])]) -> TempDir {
    let mut header = json!({"__metadata__": {"format": "pt"}});
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let offsets = [begin, data.len()];
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    std::fs::write(file, safetensors(&header, &data)).unwrap();
    directory
}

#[test]
fn wrong_and_missing_tensors_are_named() {
    let files = directory(&[("lm_head.weight", &[4, 2], &[0.0; 8])]);
    let files = ModelFiles::Directory(files.path().to_owned());
    let untied = ModelConfig { tied: false, ..config(Architecture::Llama) };
    let weights = Weights::open(&files, &untied).unwrap();
    let head = TensorId { unit: Unit::Head, role: Role::Head };
    let error = weights.matrix(head, (4, 32), &CPU).unwrap_err().to_string();
    for part in ["model.safetensors", "`lm_head.weight`", "wanted shape [4, 32], found [4, 2]"] {
        assert!(error.contains(part), "{error}");
    }
    let error = weights.matrix(layer(Role::Up), (4, 2), &CPU).unwrap_err().to_string();
    assert!(error.contains("`model.layers.0.mlp.up_proj.weight` is missing"), "{error}");
    assert!(weights.stored(layer(Role::Up)).is_none());
}

/// The bytes of a safetensors file whose one tensor is the head.
fn head_of(dtype: &str, shape: &serde_json::Value, offsets: &serde_json::Value) -> Vec<u8> {
    let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
    safetensors(&json!({"lm_head.weight": entry}), &[0; 16])
}

fn open_bytes(bytes: &[u8]) -> Result<Weights, WeightError> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("model.safetensors"), bytes).unwrap();
    let untied = ModelConfig { tied: false, ..config(Architecture::Llama) };
    Weights::open(&ModelFiles::Directory(directory.path().to_owned()), &untied)
}

#[test]
fn hostile_safetensors_are_refused() {
    let check = |bytes: &[u8], wanted: &str| {
        let error = open_bytes(bytes).expect_err("a hostile header was believed").to_string();
        assert!(error.contains("model.safetensors") && error.contains(wanted), "{error}");
    };
    let entry = |shape, offsets| head_of("F32", &shape, &offsets);
    assert!(open_bytes(&entry(json!([2, 2]), json!([0, 16]))).is_ok());
    check(&[], "header's length");
    check(&[1, 2, 3], "needs 8 bytes, found 3");
    check(&u64::MAX.to_le_bytes(), "at most 100000000 bytes");
    check(&1000u64.to_le_bytes(), "the header needs 1000 bytes, found 0");
    check(&safetensors(&json!([1]), &[]), "a JSON object");
    check(&entry(json!([2]), json!([16, 8])), "two offsets in order");
    check(&entry(json!([2]), json!([8])), "two offsets");
    check(&entry(json!([4]), json!([16, 32])), "data of tensor `lm_head.weight` needs 32 bytes");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91738624\n";
    check(pointer, "is a Git LFS pointer, not the file itself; run `git lfs pull`");
}

#[test]
fn only_tensors_that_are_used_are_judged() {
    let head = TensorId { unit: Unit::Head, role: Role::Head };
    let check = |dtype: &str, shape: serde_json::Value, end: usize, wanted: &str| {
        let weights = open_bytes(&head_of(dtype, &shape, &json!([0, end]))).unwrap();
        let norm = TensorId { unit: Unit::Head, role: Role::FinalNorm };
        assert!(weights.contains(head) && !weights.contains(norm));
        assert!(weights.stored(head).is_none());
        let error = weights.matrix(head, (2, 2), &CPU).unwrap_err().to_string();
        let place = "tensor `lm_head.weight`";
        assert!(error.contains(place) && error.contains(wanted), "{error}");
    };
    for (dtype, num_bytes) in [("BOOL", 4), ("I64", 16), ("F64", 16), ("F8_E4M3", 4)] {
        check(dtype, json!([2, 2]), num_bytes, "`dtype`: wanted F32, F16 or BF16");
    }
    check("F32", json!([0]), 0, "`shape`");
    check("F32", json!([2, 0]), 0, "`shape`");
    check("F32", json!([1u64 << 40, 1u64 << 40]), 16, "`shape`");
    check("F32", json!([-1]), 16, "`shape`");
    check("F32", json!([1, 1, 1, 1, 1, 1, 1, 1, 4]), 16, "`shape`");
    check("F32", json!([2]), 16, "8 bytes, as the shape needs");
    let weights = open_bytes(&head_of("BF16", &json!([2, 2]), &json!([4, 12]))).unwrap();
    assert!(weights.matrix(head, (2, 2), &CPU).is_ok());
}

#[test]
fn weights_of_a_split_model_come_from_the_file_that_holds_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u32| directory.path().join(format!("m-0000{number}-of-00002.gguf"));
    for (number, value) in [(1, 1.0), (2, 2.0)] {
        let role = ["ffn_up", "ffn_gate"][number as usize - 1];
        let shard = Writer::default().u32("split.count", 2).u32("split.no", number - 1).f32_tensor(
            &format!("blk.0.{role}.weight"),
            &[2, 2],
            &[value; 4],
        );
        std::fs::write(path(number), shard.bytes()).unwrap();
    }
    let files = ModelFiles::Gguf(path(2));
    let weights = Weights::open(&files, &config(Architecture::Llama)).unwrap();
    for (role, wanted) in [(Role::Up, 1.0), (Role::Gate, 2.0)] {
        let matrix = weights.matrix(layer(role), (2, 2), &CPU).unwrap();
        assert_eq!(rows(&dense(matrix)), [[wanted; 2]; 2]);
    }
    let error = weights.matrix(layer(Role::Gate), (3, 2), &CPU).unwrap_err().to_string();
    assert!(error.contains("m-00002-of-00002.gguf"), "{error}");
}

#[test]
fn shards_come_from_the_index_and_stay_in_the_directory() {
    let part = |name: &str| {
        let entry = json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]});
        safetensors(&json!({name: entry}), &[0; 4])
    };
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes);
    write("a.safetensors", &part("lm_head.weight")).unwrap();
    write("b.safetensors", &part("model.norm.weight")).unwrap();
    let open = |map: serde_json::Value| {
        let index = json!({"weight_map": map}).to_string();
        write("model.safetensors.index.json", index.as_bytes()).unwrap();
        let files = ModelFiles::Directory(directory.path().to_owned());
        Weights::open(&files, &config(Architecture::Llama))
    };
    let both = json!({"lm_head.weight": "a.safetensors", "model.norm.weight": "b.safetensors"});
    let weights = open(both).unwrap();
    let norm = TensorId { unit: Unit::Head, role: Role::FinalNorm };
    assert!(weights.contains(norm));
    let names = ["../a.safetensors", "/etc/a.safetensors", "x/a.safetensors", "..", "a.bin", ""];
    for name in names {
        let error = open(json!({"t": name})).unwrap_err().to_string();
        assert!(error.contains("plain file name") && error.contains("tensor `t`"), "{error}");
    }
    let error = open(json!({"t": "c.safetensors"})).unwrap_err().to_string();
    assert!(error.contains("c.safetensors"), "{error}");
    assert!(open(json!(["a.safetensors"])).is_err());
    write("c.safetensors", &part("lm_head.weight")).unwrap();
    let error = open(json!({"t": "a.safetensors", "u": "c.safetensors"})).unwrap_err();
    assert!(error.to_string().contains("each name once"), "{error}");
}

/// Rows of a layer that has two heads of four, one of keys and of values, and gate and up of 64.
const QKV: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0, 12.0, 13.0, 20.0, 21.0, 22.0, 23.0];

#[track_caller]
fn check_parts(weights: &Weights, tolerance: f32) {
    let parts: [(Role, usize, f32); 5] = [
        (Role::Query, 8, 0.0),
        (Role::Key, 4, 10.0),
        (Role::Value, 4, 20.0),
        (Role::Gate, 64, 0.0),
        (Role::Up, 64, 64.0),
    ];
    for (role, num_rows, first) in parts {
        let stored = weights.stored(layer(role)).unwrap();
        assert_eq!(stored.shape, [num_rows, 32], "{role:?}");
        let row_bytes = 32 / stored.kind.block_len() * stored.kind.block_bytes();
        assert_eq!(stored.bytes.len(), num_rows * row_bytes, "{role:?}");
        let matrix = weights.matrix(layer(role), (num_rows, 32), &CPU).unwrap();
        for (row, values) in rows(&dense(matrix)).iter().enumerate() {
            for value in values {
                let off = (value - first - row as f32).abs();
                assert!(off <= tolerance, "{role:?}, row {row}: {value}");
            }
        }
    }
}

#[test]
fn matrices_that_lie_in_one_tensor_are_found_by_their_rows() {
    let both: Vec<f32> = numbered(&std::array::from_fn::<f32, 128, _>(|row| row as f32));
    let layer = |name: &str| format!("model.layers.0.{name}_proj.weight");
    let (qkv_name, both_name) = (layer("self_attn.qkv"), layer("mlp.gate_up"));
    let qkv = numbered(&QKV);
    let files = directory(&[(&qkv_name, &[16, 32], &qkv), (&both_name, &[128, 32], &both)]);
    let files = ModelFiles::Directory(files.path().to_owned());
    check_parts(&Weights::open(&files, &config(Architecture::Phi3)).unwrap(), 0.0);
    for (number, kind, tolerance) in [(0, GgmlDType::F32, 0.0), (8, GgmlDType::Q8_0, 0.5)] {
        let writer = Writer::default()
            .tensor("blk.0.attn_qkv.weight", &[16, 32], number, &quantised(kind, &qkv))
            .tensor("blk.0.ffn_up.weight", &[128, 32], number, &quantised(kind, &both));
        check_parts(&open_gguf(&writer, Architecture::Phi3), tolerance);
    }
}

#[test]
fn a_tensor_that_cannot_hold_its_matrices_is_named() {
    let check = |name: &str, shape: &[u64], role: Role, wanted: &str| {
        let values = vec![0.0; shape.iter().product::<u64>() as usize];
        let weights =
            open_gguf(&Writer::default().f32_tensor(name, shape, &values), Architecture::Phi3);
        assert!(weights.stored(layer(role)).is_none());
        let rows = if role == Role::Key { 4 } else { 64 };
        let error = weights.matrix(layer(role), (rows, 32), &CPU).unwrap_err().to_string();
        for part in [name, wanted] {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
    };
    let (qkv, up) = ("blk.0.attn_qkv.weight", "blk.0.ffn_up.weight");
    check(qkv, &[15, 32], Role::Key, "wanted shape [16, 32], found [15, 32]");
    check(qkv, &[17, 32], Role::Key, "wanted shape [16, 32], found [17, 32]");
    check(qkv, &[16, 31], Role::Key, "wanted shape [16, 32], found [16, 31]");
    check(qkv, &[512], Role::Key, "wanted shape [16, 32], found [512]");
    // As other families have it.
    check(up, &[64, 32], Role::Up, "wanted shape [128, 32], found [64, 32]");
    check(up, &[64, 32], Role::Gate, "wanted shape [128, 32], found [64, 32]");
    let weights = open_gguf(&Writer::default(), Architecture::Phi3);
    let error = weights.matrix(layer(Role::Gate), (64, 32), &CPU).unwrap_err().to_string();
    assert!(error.contains("`blk.0.ffn_up.weight` is missing"), "{error}");
}
