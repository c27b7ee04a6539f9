//! What the fuzz targets share: a bound on what an input may allocate, and files that hold it.
//!
//! A target has the bound because it takes [`fuzz_target`] from here: a crate that it does not name is
//! not linked.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::{Path, PathBuf},
    process,
    sync::LazyLock,
};

pub use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// The most that one allocation may take: inputs are of some kilobytes.
const MAX_BYTES: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// The system's allocator, which ends the process where a file's say-so would take its memory.
struct Bounded;

// SAFETY: all is handed on to the system's allocator, or nothing is returned.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) }
    }
}

/// An allocator must not unwind.
fn check(bytes: usize) {
    if bytes > MAX_BYTES {
        eprintln!("an allocation of {bytes} bytes");
        process::abort();
    }
}

/// Each input is written there; whoever starts the process sets `TMPDIR`, and removes what is left.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder can be made"));

/// The folder that holds files of these names, and of those that an earlier call wrote.
pub fn folder(files: &[(&str, &[u8])]) -> &'static Path {
    for (name, bytes) in files {
        fs::write(FOLDER.path().join(name), bytes).expect("it can be written");
    }
    FOLDER.path()
}

/// A file of this name that holds `bytes`.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    folder(&[(name, bytes)]).join(name)
}

/// An input of two files: up to a line that says so, and behind it.
pub fn two_files(data: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"\n---\n";
    let found = data.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    found.map_or((data, &[]), |at| (&data[..at], &data[at + BETWEEN.len()..]))
}
