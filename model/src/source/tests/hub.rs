//! Fetching from a hub: what is fetched, what the cache serves, and what errors mean.

use std::{fs, net::TcpListener, time::Duration};

use super::{Heard, ModelFiles, Silent};
use crate::{
    error::SourceError,
    source::{
        HubModel,
        hub::{
            access::Access,
            fetch_with, fetch_within,
            stub::{Hub, Reply},
        },
    },
    warnings::heard,
};

const INDEX: &str = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;

#[test]
fn only_what_makes_the_model_is_fetched_and_offline_finds_it_again() {
    let hub = Hub::new(&[
        ("config.json", "{}"),
        ("tokenizer.json", "{\"a\": 1}"),
        ("tokenizer_config.json", "{\"b\": 2}"),
        ("model.safetensors.index.json", INDEX),
        ("model-1.safetensors", "one"),
        ("model-2.safetensors", "two"),
        ("consolidated.safetensors", "the same again"),
        ("pytorch_model.bin", "no"),
        ("README.md", "no"),
    ]);
    let heard = Heard::default();
    let files = hub.fetch_as(false, "some/model", &heard).unwrap();
    let ModelFiles::Directory(directory) = &files else { panic!("{files:?}") };
    assert_eq!(fs::read_to_string(directory.join("model-2.safetensors")).unwrap(), "two");
    assert!(directory.starts_with(hub.cache.path()));
    let mut names = hub.fetched_names();
    names.sort();
    names.dedup();
    assert_eq!(
        names,
        [
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    assert!(heard.parts.lock().unwrap().contains(&"fetching model-1.safetensors 3".to_owned()));
    assert_eq!(heard.num_finished.into_inner(), 6);
    // A second run asks what there is, but for no file.
    assert_eq!(hub.fetch().unwrap(), files);
    assert_eq!(hub.asked().len(), 1);
    assert_eq!(hub.fetch_as(true, "some/model", &Silent).unwrap(), files);
    assert_eq!(hub.asked().len(), 0);
    // What is missing is named, without a request.
    fs::remove_file(directory.join("model-2.safetensors")).unwrap();
    let error = hub.fetch_as(true, "some/model", &Silent).unwrap_err().to_string();
    for part in ["some/model: model-2.safetensors is not in the cache", "HF_HUB_OFFLINE"] {
        assert!(error.contains(part), "{error}");
    }
    let error = hub.fetch_as(true, "other/model", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
    assert_eq!(hub.asked().len(), 0);
}

#[test]
fn what_a_new_commit_did_not_change_is_not_fetched_again() {
    let hub = Hub::new(&[
        ("config.json", "{}"),
        ("tokenizer.json", "{\"a\": 1}"),
        ("model.safetensors", "weights"),
    ]);
    let before = hub.fetch().unwrap();
    hub.commit("89abcdef0123456789abcdef0123456701234567");
    fs::write(hub.files.path().join("config.json"), "{\"new\": 1}").unwrap();
    let heard = Heard::default();
    hub.asked();
    let after = hub.fetch_as(false, "some/model", &heard).unwrap();
    assert_ne!(before, after);
    assert_eq!(hub.fetched_names(), ["config.json"]);
    assert_eq!(*heard.parts.lock().unwrap(), ["fetching config.json 10"]);
    assert_eq!(fs::read_to_string(after.path().join("config.json")).unwrap(), "{\"new\": 1}");
    assert_eq!(fs::read_to_string(after.path().join("model.safetensors")).unwrap(), "weights");
    // Without the hub it is the latest that is found.
    assert_eq!(hub.fetch_as(true, "some/model", &Silent).unwrap(), after);
}

#[test]
fn the_cache_keeps_what_it_has_until_a_new_commit_is_whole() {
    let hub = Hub::new(&[("config.json", "{}"), ("tokenizer.json", "{}")]);
    fs::write(hub.files.path().join("model.safetensors"), "weights").unwrap();
    let before = hub.fetch().unwrap();
    hub.commit("89abcdef0123456789abcdef0123456701234567");
    fs::write(hub.files.path().join("config.json"), "{\"new\": 1}").unwrap();
    fs::write(hub.files.path().join("model.safetensors"), "other weights").unwrap();
    hub.play(|asked| asked.is_body_of("model.safetensors").then(|| Reply::new(503, b"")));
    let (found, warnings) = heard(|| hub.fetch().unwrap());
    assert_eq!((&found, warnings.len()), (&before, 1));
    assert_eq!(hub.fetch_as(true, "some/model", &Silent).unwrap(), before);
}

#[test]
fn a_single_gguf_file_is_a_model() {
    let hub = Hub::new(&[("model.gguf", "GGUF"), ("mmproj-f16.gguf", "no"), ("README.md", "no")]);
    let ModelFiles::Gguf(file) = hub.fetch().unwrap() else { panic!("not a GGUF file") };
    assert_eq!(fs::read_to_string(file).unwrap(), "GGUF");
    assert!(matches!(hub.fetch_as(true, "some/model", &Silent), Ok(ModelFiles::Gguf(_))));
    fs::write(hub.files.path().join("other.gguf"), "GGUF").unwrap();
    let error = hub.fetch().unwrap_err().to_string();
    for part in ["several GGUF models", "some/model:Q4_K_M", "model.gguf, other.gguf"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_quantisation_picks_one_of_several_gguf_files() {
    let hub = Hub::new(&[
        ("m-Q4_K_M.gguf", "four"),
        ("m-Q8_0-00001-of-00002.gguf", "eight"),
        ("m-Q8_0-00002-of-00002.gguf", "more"),
    ]);
    let text = |files: ModelFiles| fs::read_to_string(files.path()).unwrap();
    assert_eq!(text(hub.fetch_as(false, "some/model:q4_k_m", &Silent).unwrap()), "four");
    let eight = hub.fetch_as(false, "some/model:Q8_0", &Silent).unwrap();
    assert!(eight.path().with_file_name("m-Q8_0-00002-of-00002.gguf").is_file());
    assert_eq!(text(eight.clone()), "eight");
    assert_eq!(hub.fetch_as(true, "some/model:Q8_0", &Silent).unwrap(), eight);
    let error = hub.fetch_as(true, "some/model:Q5_0", &Silent).unwrap_err().to_string();
    assert!(error.contains("a GGUF file called Q5_0 is not in the cache"), "{error}");
    let error = hub.fetch_as(false, "some/model:Q5_0", &Silent).unwrap_err().to_string();
    let listed = "m-Q4_K_M.gguf, m-Q8_0-00001-of-00002.gguf";
    assert!(error.contains("`Q5_0` names 0") && error.contains(listed), "{error}");
    // Part of a split model is not the model.
    fs::remove_file(eight.path().with_file_name("m-Q8_0-00002-of-00002.gguf")).unwrap();
    let error = hub.fetch_as(true, "some/model:Q8_0", &Silent).unwrap_err().to_string();
    assert!(error.contains("m-Q8_0-00002-of-00002.gguf is not in the cache"), "{error}");
}

#[test]
fn the_cache_serves_while_the_hub_is_out_of_reach() {
    let hub = Hub::new(&[("model.gguf", "GGUF")]);
    let (files, warnings) = heard(|| hub.fetch().unwrap());
    assert_eq!(warnings, Vec::<String>::new());
    let hub = hub.moved(&TcpListener::bind("127.0.0.1:0").unwrap());
    let (found, warnings) = heard(|| hub.fetch().unwrap());
    assert_eq!(found, files);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    for part in ["cannot reach the hub for some/model", "from the cache", "HF_HUB_OFFLINE=1"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(warning.lines().count(), 1);
    let error = hub.fetch_as(false, "some/other", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE=1"), "{error}");
}

#[test]
fn a_hub_that_does_not_answer_is_not_waited_for() {
    let hub = Hub::new(&[("model.gguf", "GGUF")]);
    let files = hub.fetch().unwrap();
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = hub.moved(&silent);
    let (found, warnings) = heard(|| {
        let model = HubModel::parse("some/model").unwrap();
        fetch_within(&hub.access(), &model, &Silent, Duration::from_millis(50)).unwrap()
    });
    assert_eq!((found, warnings.len()), (files, 1));
}

#[test]
fn a_hub_that_refuses_is_told_from_one_out_of_reach() {
    let mut hub = Hub::new(&[("model.gguf", "GGUF")]);
    hub.token = "wrong".to_owned();
    let error = hub.fetch().unwrap_err();
    assert!(matches!(error, SourceError::NoAccess { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
}

/// What a status means: of the listing, and of a file.
#[track_caller]
fn check_status(
    status: u16,
    is_listing: fn(&SourceError) -> bool,
    is_file: fn(&SourceError) -> bool,
) {
    let hub = Hub::new(&[("model.gguf", "GGUF")]);
    for method in ["HEAD", "GET"] {
        hub.play(move |asked| {
            let is_file = asked.target.contains("/resolve/") && asked.method == method;
            is_file.then(|| Reply::new(status, b""))
        });
        let error = hub.fetch().unwrap_err();
        assert!(is_file(&error), "{status} of a file, {method}: {error:?}");
        if let SourceError::Hub { source, .. } = error {
            assert!(source.to_string().contains("model.gguf"), "{source}");
        }
    }
    hub.play(move |_| Some(Reply::new(status, b"")));
    let error = hub.fetch().unwrap_err();
    assert!(is_listing(&error), "{status} of the listing: {error:?}");
}

#[test]
fn a_status_tells_access_absence_outage_and_the_rest_apart() {
    let is_no_access: fn(&SourceError) -> bool = |e| matches!(e, SourceError::NoAccess { .. });
    let is_outage: fn(&SourceError) -> bool = |e| matches!(e, SourceError::Unreachable { .. });
    let is_other: fn(&SourceError) -> bool = |e| matches!(e, SourceError::Hub { .. });
    for status in [401, 403] {
        check_status(status, is_no_access, is_no_access);
    }
    check_status(404, |error| matches!(error, SourceError::NoRepository { .. }), is_other);
    for status in [429, 500, 503] {
        check_status(status, is_outage, is_outage);
    }
    for status in [400, 204, 304] {
        check_status(status, is_other, is_other);
    }
}

#[test]
fn settings_that_cannot_be_used_are_named_without_the_token() {
    let hub = Hub::new(&[]);
    let model = HubModel::parse("some/model").unwrap();
    let reason = |access: Access| match fetch_with(&access, &model, &Silent).unwrap_err() {
        SourceError::Hub { source, .. } => source.to_string(),
        error => panic!("{error}"),
    };
    let error = reason(Access { endpoint: "hub.example".to_owned(), ..hub.access() });
    assert!(error.contains("HF_ENDPOINT") && error.contains("`hub.example`"), "{error}");
    let error = reason(Access { token: Some("se\ncret".to_owned()), ..hub.access() });
    assert!(error.contains("HF_TOKEN") && !error.contains("cret"), "{error}");
}

#[test]
fn an_index_cannot_lead_out_of_the_directory() {
    let index = r#"{"weight_map": {"a": "../../escape.safetensors"}}"#;
    let files = [("config.json", "{}"), ("model.safetensors.index.json", index)];
    let error = Hub::new(&files).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Hub { .. }), "{error}");
}

#[test]
fn an_unknown_repository_is_an_error() {
    let hub = Hub::new(&[]);
    let error = hub.fetch_as(false, "some/other", &Silent).unwrap_err();
    assert!(matches!(error, SourceError::NoRepository { .. }), "{error}");
    assert!(error.to_string().contains("the hub has no repository some/other"), "{error}");
}
