//! Files that claim to be huge end in errors before anything large is allocated.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
};

use sluicegate_model::open::Model;
use sluicegate_spec::files::ModelFiles;

/// The system's allocator, remembering the largest single request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
const MIB: usize = 1 << 20;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn gguf(num_tensors: u64, num_entries: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend_from_slice(&num_tensors.to_le_bytes());
    bytes.extend_from_slice(&num_entries.to_le_bytes());
    bytes.extend(rest.iter().copied().flatten());
    bytes
}

fn number(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

#[test]
fn huge_claims_allocate_little() {
    let huge = [u64::MAX, 1 << 62, 1 << 40, 1 << 33, 1 << 31];
    let mut files = Vec::new();
    for claim in huge {
        files.push(gguf(claim, 0, &[]));
        files.push(gguf(0, claim, &[&[0; 64]]));
        // A key, a string value, an array of strings and an array of bytes of that length.
        files.push(gguf(0, 1, &[&number(claim), &[0; 64]]));
        let key: [&[u8]; 2] = [&number(1), b"k"];
        files.push(gguf(0, 1, &[key[0], key[1], &[8, 0, 0, 0], &number(claim), &[0; 64]]));
        for kind in [0, 8, 9] {
            let array = [9, 0, 0, 0, kind, 0, 0, 0];
            files.push(gguf(0, 1, &[key[0], key[1], &array, &number(claim), &[0; 64]]));
        }
        // A tensor of that many rows, and one at that offset.
        let name: [&[u8]; 2] = [&number(1), b"t"];
        let dims: [&[u8]; 3] = [&[2, 0, 0, 0], &number(4), &number(claim)];
        let tail = [&[0; 4][..], &[0; 8], &[0; 64]].concat();
        files.push(gguf(1, 0, &[name[0], name[1], dims[0], dims[1], dims[2], &tail]));
        let tail = [&[0; 4][..], &number(claim & !31), &[0; 64]].concat();
        let small = [&[1, 0, 0, 0][..], &number(4)].concat();
        files.push(gguf(1, 0, &[name[0], name[1], &small, &tail]));
    }
    for (idx, bytes) in files.iter().enumerate() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        let opened = Model::open(&ModelFiles::Gguf(file.path().to_owned()));
        assert!(opened.is_err(), "hostile file {idx} was believed");
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest < MIB, "hostile file {idx} made an allocation of {largest} bytes");
    }
    // Directories: a configuration and a header that claim too much.
    let directory = tempfile::tempdir().unwrap();
    let config = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 64,
        "intermediate_size": 64, "num_attention_heads": 4, "vocab_size": 100,
        "num_hidden_layers": 18446744073709551615}"#;
    std::fs::write(directory.path().join("config.json"), config).unwrap();
    LARGEST.store(0, Ordering::Relaxed);
    let error = Model::open(&ModelFiles::Directory(directory.path().to_owned())).unwrap_err();
    assert!(error.to_string().contains("num_hidden_layers"), "{error}");
    assert!(LARGEST.load(Ordering::Relaxed) < MIB);
}
