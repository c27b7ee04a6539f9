//! The header of a safetensors file, with its length before it or without.

#![no_main]

use serde_json::{Map, Value};
use sluicegate_fuzz_harness::{folder, fuzz_target, two_files};
use sluicegate_spec::safetensors::{SafeTensors, indexed_files};

fuzz_target!(|data: &[u8]| {
    let (header, tensors) = two_files(data);
    // Else the length would be right once in a blue moon.
    let length = (header.len() as u64).to_le_bytes();
    if let Some(read) = open(&[&length, header, tensors].concat()) {
        check(&read, header);
    }
    open(data);
    let folder = folder(&[("index.json", data)]);
    let _ = indexed_files(folder, &folder.join("index.json"));
});

fn open(bytes: &[u8]) -> Option<SafeTensors> {
    SafeTensors::open(folder(&[("model.safetensors", bytes)])).ok()
}

fn check(read: &SafeTensors, header: &[u8]) {
    let names: Map<String, Value> = serde_json::from_slice(header).expect("it was read");
    for view in names.keys().filter_map(|name| read.tensor(name)) {
        assert!(view.span.end <= view.file.len(), "{view:?} ends beyond its file");
    }
}
