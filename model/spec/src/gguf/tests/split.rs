//! Models that are split over several files.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

/// Shard `number`, from 1, of three: one tensor each, metadata in the first.
fn shard(number: u16) -> Writer {
    let uint16 = 2;
    let value = f32::from(number);
    let first = if number == 1 { Writer::default().text("a.b", "yes") } else { Writer::default() };
    first
        .entry("split.count", uint16, &3u16.to_le_bytes())
        .entry("split.no", uint16, &(number - 1).to_le_bytes())
        .f32_tensor(&format!("t.{number}"), &[2], &[value, value])
}

fn name(number: u16) -> String {
    format!("some-of-Q4_K_M-{number:05}-of-00003.gguf")
}

/// A folder with the shards, and the path of one.
fn folder(shards: [Writer; 3], given: u16) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (number, shard) in (1..).zip(shards) {
        fs::write(folder.path().join(name(number)), shard.bytes()).unwrap();
    }
    let path = folder.path().join(name(given));
    (folder, path)
}

#[test]
fn any_shard_opens_the_whole_model() {
    for given in 1..=3 {
        let (folder, path) = folder([1, 2, 3].map(shard), given);
        let gguf = Gguf::open(&path).unwrap();
        assert_eq!(gguf.path(), folder.path().join(name(1)));
        assert_eq!(gguf.value("a.b"), Some(&Value::Text("yes".to_owned())));
        assert_eq!(gguf.tensors().count(), 3);
        for number in 1..=3 {
            let info = gguf.tensor(&format!("t.{number}")).unwrap().unwrap();
            assert_eq!(gguf.path_of(info), folder.path().join(name(number)));
            assert_eq!(gguf.bytes(info)[..4], f32::from(number).to_le_bytes());
        }
        assert_eq!(GgufHeader::open(&path).unwrap().tensors().count(), 3);
    }
}

#[test]
fn a_missing_shard_is_named() {
    for given in [1, 3] {
        let (folder, path) = folder([1, 2, 3].map(shard), given);
        fs::remove_file(folder.path().join(name(2))).unwrap();
        for error in [Gguf::open(&path).unwrap_err(), GgufHeader::open(&path).unwrap_err()] {
            let error = error.to_string();
            for part in ["-00002-of-00003.gguf is missing", "all 3 files", &name(given)] {
                assert!(error.contains(part), "wanted {part:?} in {error:?}");
            }
        }
    }
}

#[test]
fn shards_that_do_not_belong_together_are_refused() {
    #[track_caller]
    fn check((_folder, path): (TempDir, PathBuf), wanted: &[&str]) {
        let error = Gguf::open(&path).unwrap_err().to_string();
        for part in wanted {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
    }
    check(folder([1, 3, 2].map(shard), 1), &["-00002-of-", "`split.no`", "wanted 1", "found 2"]);
    let again = shard(3).f32_tensor("t.1", &[1], &[0.0]);
    check(folder([shard(1), shard(2), again], 1), &["-00003-of-", "`t.1`", "each name once"]);
    let bad = shard(3).tensor_entry("u", &[4], 99, 0);
    let (_folder, path) = folder([shard(1), shard(2), bad], 1);
    let error = Gguf::open(&path).unwrap().tensor("u").unwrap_err().to_string();
    assert!(error.contains("-00003-of-00003.gguf: tensor `u`"), "{error}");
    // Under a name that does not lead to the others.
    refused(&shard(1).bytes(), &["`split.count`", "-of-00003.gguf"]);
    let file = save(&Writer::default().u32("split.count", 1).bytes());
    assert!(Gguf::open(file.path()).is_ok());
}

#[test]
fn names_of_shards_are_told_from_others() {
    let number = |name: &str| ShardName::parse(name).map(|it| (it.number, it.count));
    assert_eq!(number("a-b-00002-of-00012.GGUF"), Some((2, 12)));
    for other in [
        "a.gguf",
        "a-00000-of-00002.gguf",
        "a-00003-of-00002.gguf",
        "a-1-of-2.gguf",
        "",
        "a-00001-of-00002.bin",
        "a00001-of-00002.gguf",
        "a-+0001-of-00002.gguf",
    ] {
        assert_eq!(number(other), None, "{other}");
    }
}
