//! Seeds of the fuzz targets are read: one that is not leads a fuzzer nowhere.

use std::{fs, path::Path};

use sluicegate::{
    messages::{
        Masks, Sampled, StageBatch,
        wire::{Message, decode},
    },
    serve::{Line, ReplayError, replay},
};
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_placement::{Cluster, SavedPlan};

/// The names and the bytes of a target's seeds.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new("fuzz/seeds").join(target);
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

#[track_caller]
fn check_message<T: Message>(name: &str, bytes: &[u8]) {
    let read = decode::<T>(bytes);
    assert!(read.is_ok(), "{name}: {:?}", read.err());
}

#[test]
fn seeds_of_messages_are_messages() {
    for (name, bytes) in seeds("message") {
        match (&*name, &bytes[..]) {
            ("batch", message) => check_message::<StageBatch>(&name, message),
            ("masks" | "late_masks", message) => check_message::<Masks>(&name, message),
            ("sampled", message) => check_message::<Sampled>(&name, message),
            ("pair" | "late_pair", [0, low, high, messages @ ..]) => {
                let len = usize::from(u16::from_le_bytes([*low, *high]));
                let (batch, masks) = messages.split_at(len);
                check_message::<StageBatch>(&name, batch);
                check_message::<Masks>(&name, masks);
            }
            _ => panic!("{name} is of no kind"),
        }
    }
}

#[test]
fn seeds_of_journals_reach_the_loop() {
    for (name, bytes) in seeds("journal") {
        // Changes to another seed.
        if bytes.first() == Some(&b'~') {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
        // A loop that decides otherwise today is none the less told everything.
        let replayed = replay(&lines.unwrap_or_else(|error| panic!("{name}: {error}")));
        let is_told = matches!(replayed, Ok(_) | Err(ReplayError::Differs { .. }));
        assert!(is_told, "{name}: {replayed:?}");
    }
}

#[test]
fn seeds_of_tokenizers_of_mistral_are_read() {
    for (name, bytes) in seeds("tekken") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tekken.json"), bytes).unwrap();
        let read = Tokenizer::from_directory(folder.path());
        assert!(read.is_ok(), "{name}: {:?}", read.err());
    }
}

#[test]
fn seeds_of_plans_and_clusters_are_read() {
    for (name, bytes) in seeds("plan") {
        let plan = serde_json::from_slice::<SavedPlan>(&bytes);
        assert!(plan.is_ok(), "{name}: {:?}", plan.err());
    }
    for (name, bytes) in seeds("cluster") {
        let text = String::from_utf8(bytes).unwrap();
        let is_read =
            Cluster::parse_toml(&text, &name).is_ok() || Cluster::parse_spec(&text).is_ok();
        assert!(is_read, "{name}");
    }
}
