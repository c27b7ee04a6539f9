//! Good headers are read; hostile ones end in an error that says where.

mod split;

use proptest::prelude::*;

use super::{
    writer::{Writer, save, text},
    *,
};

fn good() -> Writer {
    Writer::default()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 3)
        .f32("llama.rope.freq_base", 1e4)
        .flag("tokenizer.ggml.add_bos_token", true)
        .texts("tokenizer.ggml.tokens", &["a", "", "héé"])
        .f32s("tokenizer.ggml.scores", &[0.5, -1.0, 2.0])
        .f32_tensor("token_embd.weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .tensor("blk.0.attn_q.weight", &[1, 32], 2, &[7; 18])
}

#[test]
fn a_good_file_is_read() {
    let file = good().save();
    let gguf = Gguf::open(file.path()).unwrap();
    assert_eq!(gguf.value("llama.block_count"), Some(&Value::Unsigned(3)));
    assert_eq!(gguf.value("tokenizer.ggml.add_bos_token"), Some(&Value::Bool(true)));
    let Some(Value::Array(tokens)) = gguf.value("tokenizer.ggml.tokens") else { panic!() };
    let tokens: Vec<&[u8]> = gguf.texts(tokens).unwrap().collect();
    assert_eq!(tokens, ["a".as_bytes(), b"", "héé".as_bytes()]);
    let Some(Value::Array(scores)) = gguf.value("tokenizer.ggml.scores") else { panic!() };
    assert_eq!(gguf.numbers(scores).unwrap(), [0.5, -1.0, 2.0]);
    assert!(gguf.texts(scores).is_none());
    let info = gguf.tensor("token_embd.weight").unwrap().unwrap();
    assert_eq!((info.shape.as_slice(), info.kind), (&[2, 3][..], StoredKind::F32));
    assert_eq!(&gguf.bytes(info)[..8], [0, 0, 128, 63, 0, 0, 0, 64]);
    let info = gguf.tensor("blk.0.attn_q.weight").unwrap().unwrap();
    assert_eq!(&*gguf.bytes(info), [7; 18]);
}

/// A hostile file gives an error that holds every part of `wanted`.
#[track_caller]
fn refused(bytes: &[u8], wanted: &[&str]) {
    let file = save(bytes);
    let error = Gguf::open(file.path()).expect_err("a hostile header was believed").to_string();
    for part in wanted {
        assert!(error.contains(part), "wanted {part:?} in {error:?}");
    }
    assert!(error.contains(file.path().to_str().unwrap()), "no file name in {error:?}");
}

fn patched(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = good().bytes();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_git_lfs_pointer_is_named_as_one() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91738624\n";
    refused(pointer, &["is a Git LFS pointer", "`git lfs pull`"]);
}

#[test]
fn magic_and_version_are_checked() {
    refused(b"GGML\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["magic", "\"GGML\""]);
    refused(&patched(4, &1u32.to_le_bytes()), &["version at byte 4", "2 or 3", "found 1"]);
    refused(&patched(4, &3u32.to_be_bytes()), &["big endian"]);
}

#[test]
fn counts_beyond_the_file_are_refused_before_allocation() {
    refused(&patched(8, &u64::MAX.to_le_bytes()), &["truncated at byte 24", "tensors"]);
    refused(&patched(16, &u64::MAX.to_le_bytes()), &["truncated", "metadata entries"]);
    refused(&patched(8, &(1u64 << 40).to_le_bytes()), &["1099511627776 tensors"]);
    let lie = |kind: u32, len: u64| {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend_from_slice(&len.to_le_bytes());
        Writer::default().entry("k", 9, &value).bytes()
    };
    for kind in [0, 4, 8, 9, 12] {
        refused(&lie(kind, u64::MAX), &["`k`", "truncated"]);
        refused(&lie(kind, 1 << 33), &["`k`", "truncated"]);
    }
    refused(&lie(13, 1), &["`k`", "a value type from 0 to 12", "found 13"]);
    let long = Writer::default().entry("k", 8, &u64::MAX.to_le_bytes()).bytes();
    refused(&long, &["`k`", "at most 16777216 bytes"]);
    let long = Writer::default().entry("k", 8, &(1u64 << 20).to_le_bytes()).bytes();
    refused(&long, &["`k`", "needs 1048576 bytes"]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = good().bytes();
    for end in 0..whole.len() {
        let file = save(&whole[..end]);
        assert!(Gguf::open(file.path()).is_err(), "a file cut at byte {end} was believed");
    }
}

#[test]
fn duplicates_nesting_and_bad_values_are_refused() {
    refused(&Writer::default().u32("k", 1).u32("k", 2).bytes(), &["`k`", "each key once"]);
    let twice = Writer::default().f32_tensor("t", &[1], &[1.0]).f32_tensor("t", &[1], &[1.0]);
    refused(&twice.bytes(), &["tensor `t`", "each name once"]);
    refused(&Writer::default().entry("k", 7, &[2]).bytes(), &["`k`", "0 or 1", "found 2"]);
    let mut nested = Vec::new();
    for _ in 0..8 {
        nested.extend_from_slice(&9u32.to_le_bytes());
        nested.extend_from_slice(&1u64.to_le_bytes());
    }
    refused(&Writer::default().entry("k", 9, &nested).bytes(), &["arrays at most 4 deep"]);
    for alignment in [0, 1, 4, 24, 1 << 21] {
        let file = Writer::default().u32("general.alignment", alignment).bytes();
        refused(&file, &["`general.alignment`", "power of two"]);
    }
}

/// The bytes of a file with one tensor and 64 bytes of data.
fn tensor(shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut writer = Writer::default().tensor_entry("t", shape, kind, offset);
    writer.data = vec![0; 64];
    writer.bytes()
}

#[test]
fn a_text_that_is_not_utf8_matters_only_where_it_is_used() {
    let file = Writer::default().entry("k", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 255]).u32("l", 1).save();
    let gguf = Gguf::open(file.path()).unwrap();
    assert_eq!(gguf.value("k"), Some(&Value::Bytes(vec![255])));
    assert_eq!(gguf.value("l"), Some(&Value::Unsigned(1)));
}

#[test]
fn only_tensors_that_are_used_are_judged() {
    #[track_caller]
    fn check(bytes: &[u8], wanted: &[&str]) {
        let file = save(bytes);
        let gguf = Gguf::open(file.path()).unwrap();
        assert!(gguf.contains("t") && !gguf.contains("u"));
        assert!(gguf.tensor("u").unwrap().is_none());
        let error = gguf.tensor("t").unwrap_err().to_string();
        for part in wanted.iter().copied().chain(file.path().to_str()) {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
        assert!(gguf.tensors().all(|(name, info)| name == "t" && info.is_err()));
    }
    check(&tensor(&[4, 0], 0, 0), &["tensor `t`", "axes of 1 or more"]);
    check(&tensor(&[1 << 40, 1 << 40], 0, 0), &["axes of 1 or more"]);
    check(&tensor(&[u64::MAX, 3], 0, 0), &["tensor `t`"]);
    check(&tensor(&[1 << 62], 0, 0), &["tensor `t`"]);
    check(&tensor(&[2, 33], 2, 0), &["whole blocks of 32"]);
    check(&tensor(&[2, 32], 12, 0), &["whole blocks of 256"]);
    // I64 and F64 among them.
    for kind in [20, 27, 28, 99] {
        check(&tensor(&[4], kind, 0), &["tensor `t`", &format!("found type {kind}"), "Q4_0"]);
    }
}

#[test]
fn hostile_tensors_are_refused() {
    refused(&tensor(&[], 0, 0), &["tensor `t`", "1 to 4 dimensions", "found 0"]);
    refused(&tensor(&[1; 5], 0, 0), &["1 to 4 dimensions", "found 5"]);
    refused(&tensor(&[4], 0, 8), &["multiple of 32", "found 8"]);
    refused(&tensor(&[4], 0, 64), &["data of tensor `t`", "needs 16 bytes, found 0"]);
    refused(&tensor(&[4], 0, 1 << 63), &["data of tensor `t`", "found 0"]);
    refused(&tensor(&[4], 0, u64::MAX - 31), &["data of tensor `t`"]);
    refused(&tensor(&[17], 0, 0), &["needs 68 bytes, found 64"]);
    refused(&tensor(&[1 << 30], 0, 0), &["needs 4294967296 bytes, found 64"]);
}

#[test]
fn long_keys_are_refused() {
    let mut file = Writer::default().header();
    file[16..24].copy_from_slice(&1u64.to_le_bytes());
    file.extend_from_slice(&text(&"k".repeat(70_000)));
    file.extend_from_slice(&[0; 16]);
    refused(&file, &["metadata key", "at most 65535 bytes"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_headers_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = good().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let file = save(&bytes);
        if let Ok(gguf) = Gguf::open(file.path()) {
            // What is believed can be read.
            for info in gguf.tensors().filter_map(|(_, info)| info.ok()) {
                prop_assert_eq!(gguf.bytes(info).len() as u64, info.num_bytes);
            }
            for array in gguf.values() {
                if let Value::Array(array) = array {
                    gguf.numbers(array);
                    if let Some(texts) = gguf.texts(array) {
                        prop_assert_eq!(texts.count(), array.len);
                    }
                }
            }
        }
    }
}
