//! The protocol: going on with a download, checking it, redirects, and a hub that means ill.

use std::{fs, path::Path, sync::Mutex};

use sluicegate_spec::files::ModelFiles;

use super::stub::{Asked, COMMIT, Hub, Reply, etag};
use crate::{
    error::SourceError,
    source::{Progress, Silent},
};

const FILE: &str = "model.gguf";
const TEXT: &str = "GGUF and more";

fn hub() -> Hub {
    Hub::new(&[(FILE, TEXT)])
}

fn incomplete(hub: &Hub) -> std::path::PathBuf {
    hub.folder().join("blobs").join(format!("{}.incomplete", etag(TEXT.as_bytes())))
}

/// Leaves the first bytes of an earlier fetch.
fn leave(hub: &Hub, text: &str) {
    fs::create_dir_all(hub.folder().join("blobs")).unwrap();
    fs::write(incomplete(hub), text).unwrap();
}

/// The ranges in which the file was asked for since the last call.
fn ranges(hub: &Hub) -> Vec<Option<String>> {
    let asked = hub.asked().into_iter().filter(|asked| asked.is_body_of(FILE));
    asked.map(|asked| asked.range).collect()
}

#[track_caller]
fn assert_fetched(hub: &Hub) {
    let files = hub.fetch().unwrap();
    assert_eq!(fs::read_to_string(files.path()).unwrap(), TEXT);
    assert!(!incomplete(hub).exists());
    assert_eq!(fs::read_to_string(hub.folder().join("refs").join("main")).unwrap(), COMMIT);
}

/// Fetches in vain; nothing is there afterwards that could be taken for the file.
#[track_caller]
fn refused(hub: &Hub) -> SourceError {
    let error = hub.fetch().unwrap_err();
    assert!(!hub.folder().join("refs").join("main").exists());
    assert!(!hub.folder().join("snapshots").exists());
    assert!(!hub.folder().join("blobs").join(etag(TEXT.as_bytes())).exists());
    error
}

/// The reason of an error that is none of its own kind.
#[track_caller]
fn reason(error: SourceError) -> String {
    match error {
        SourceError::Hub { source, .. } => source.to_string(),
        error => panic!("{error:?}"),
    }
}

/// The reply to the first request for the file's content.
fn at_first(
    mut reply: impl FnMut() -> Reply + Send + 'static,
) -> impl FnMut(&Asked) -> Option<Reply> + Send + 'static {
    let mut is_over = false;
    move |asked| {
        let is_first = asked.is_body_of(FILE) && !std::mem::replace(&mut is_over, true);
        is_first.then(&mut reply)
    }
}

/// The reply to every request for the file's content.
fn always(
    reply: impl Fn() -> Reply + Send + 'static,
) -> impl FnMut(&Asked) -> Option<Reply> + Send + 'static {
    move |asked| asked.is_body_of(FILE).then(&reply)
}

#[test]
fn the_cache_has_the_layout_of_the_other_tools() {
    let hub = hub();
    let files = hub.fetch().unwrap();
    let blob = format!("blobs/{}", etag(TEXT.as_bytes()));
    assert_eq!(files.path(), hub.folder().join("snapshots").join(COMMIT).join(FILE));
    assert_eq!(fs::read_link(files.path()).unwrap(), Path::new("../..").join(&blob));
    assert_eq!(fs::read_to_string(hub.folder().join(&blob)).unwrap(), TEXT);
    let folder = super::Folder::new(hub.cache.path(), "some/model");
    let etag = super::cache::Etag::parse(&etag(TEXT.as_bytes())).unwrap();
    let nested = folder.link(&etag, COMMIT, "a/b/c.gguf").unwrap();
    assert_eq!(fs::read_link(&nested).unwrap(), Path::new("../../../..").join(&blob));
    assert_eq!(fs::read_to_string(nested).unwrap(), TEXT);
    let locks = hub.cache.path().join(".locks").join("models--some--model");
    assert!(locks.join(format!("{etag}.lock")).is_file());
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_ended() {
    #[derive(Default)]
    struct Bytes(Mutex<u64>);
    impl Progress for Bytes {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, num_bytes: u64) {
            *self.0.lock().unwrap() += num_bytes;
        }
        fn finish(&self) {}
    }
    let mut hub = hub();
    hub.num_retries = 1;
    hub.play(at_first(|| Reply::new(200, TEXT.as_bytes()).cut(4)));
    let bytes = Bytes::default();
    hub.fetch_as(false, "some/model", &bytes).unwrap();
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [None, Some("4-".to_owned())]);
    assert_eq!(bytes.0.into_inner().unwrap(), TEXT.len() as u64);
}

#[test]
fn the_next_fetch_goes_on_where_the_last_one_ended() {
    let hub = hub();
    hub.play(at_first(|| Reply::new(200, TEXT.as_bytes()).cut(4)));
    let error = refused(&hub);
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(incomplete(&hub)).unwrap(), &TEXT[..4]);
    hub.asked();
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [Some("4-".to_owned())]);
}

#[test]
fn what_was_fetched_whole_is_not_asked_for_again() {
    let hub = hub();
    leave(&hub, TEXT);
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), []);
}

/// A hub that answers a request for the rest in its own way: all is fetched, and nothing appended
/// that is not the rest.
#[track_caller]
fn check_restart(reply: impl Fn() -> Reply + Send + 'static, num_requests: usize) {
    let hub = hub();
    leave(&hub, &TEXT[..4]);
    hub.play(at_first(reply));
    assert_fetched(&hub);
    let ranges = ranges(&hub);
    assert_eq!((ranges[0].as_deref(), ranges.len()), (Some("4-"), num_requests));
    assert!(ranges[1..].iter().all(Option::is_none));
}

#[test]
fn only_the_rest_is_appended_to_what_is_there() {
    let rest = |range: &'static str| {
        move || Reply::new(206, &TEXT.as_bytes()[4..]).with("Content-Range", range)
    };
    check_restart(|| Reply::new(200, TEXT.as_bytes()), 1);
    check_restart(|| Reply::new(416, b""), 2);
    check_restart(rest("bytes 3-11/13"), 2);
    check_restart(rest("bytes 4-12/14"), 2);
    check_restart(rest("bytes 4-12/*"), 2);
    check_restart(|| Reply::new(206, &TEXT.as_bytes()[4..]), 2);
    // More is there than the file has.
    let hub = hub();
    leave(&hub, &format!("{TEXT}!"));
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [None]);
}

#[test]
fn what_was_left_and_is_wrong_is_fetched_anew() {
    let hub = hub();
    leave(&hub, "GGML");
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [Some("4-".to_owned()), None]);
    let hub = self::hub();
    leave(&hub, "GGUF and less");
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [None]);
}

#[test]
fn what_cannot_be_checked_is_fetched_from_its_start() {
    let hub = hub();
    hub.play(|asked| {
        let reply = Reply::new(200, TEXT.as_bytes()).with("ETag", "\"abc-1\"");
        asked.target.contains(FILE).then(|| reply.with("X-Repo-Commit", COMMIT))
    });
    fs::create_dir_all(hub.folder().join("blobs")).unwrap();
    fs::write(hub.folder().join("blobs").join("abc-1.incomplete"), "what").unwrap();
    assert_fetched(&hub);
    assert_eq!(ranges(&hub), [None]);
}

#[test]
fn a_range_that_nobody_asked_for_is_refused() {
    let hub = hub();
    let reply = || Reply::new(206, &TEXT.as_bytes()[4..]).with("Content-Range", "bytes 4-12/13");
    hub.play(always(reply));
    let error = reason(refused(&hub));
    assert!(error.contains("range: wanted all 13 bytes"), "{error}");
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_of_it_kept() {
    let hub = hub();
    hub.play(always(|| Reply::new(200, b"GGUF and less")));
    match refused(&hub) {
        SourceError::Hash { what, wanted, found } => {
            assert!(what.contains(FILE), "{what}");
            assert_eq!((wanted, found), (etag(TEXT.as_bytes()), etag(b"GGUF and less")));
        }
        error => panic!("{error:?}"),
    }
    assert!(!incomplete(&hub).exists());
    hub.play(|_| None);
    assert_fetched(&hub);
}

#[test]
fn another_size_than_told_is_refused() {
    let hub = hub();
    hub.play(always(|| Reply::new(200, b"GGUF and more and more")));
    let error = reason(refused(&hub));
    assert!(error.contains("body: wanted 13 bytes, found \"22\""), "{error}");
    hub.play(always(|| Reply::new(200, b"GGUF and more and more").without_length()));
    let error = reason(refused(&hub));
    assert!(error.contains("body: wanted 13 bytes, found \"more\""), "{error}");
    assert_eq!(fs::read(incomplete(&hub)).unwrap(), b"");
    hub.play(always(|| Reply::new(200, b"GGUF").without_length()));
    let error = refused(&hub);
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
}

#[test]
fn what_fails_in_passing_is_tried_again() {
    let mut hub = hub();
    let mut num_asked = 0;
    hub.play(move |_| {
        num_asked += 1;
        // Every other answer.
        (num_asked % 2 == 1).then(|| Reply::new(503, b"").with("Retry-After", "3600"))
    });
    let error = refused(&hub);
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    hub.num_retries = 2;
    assert_fetched(&hub);
}

#[test]
fn two_that_fetch_at_once_fetch_once() {
    let hub = hub();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_fetched(&hub));
        }
    });
    assert_eq!(ranges(&hub), [None]);
}

/// Plays a hub whose headers of the file are what is given.
fn head(hub: &Hub, headers: &'static [(&'static str, &'static str)]) {
    hub.play(move |asked| {
        let is_head = asked.method == "HEAD";
        let reply = headers
            .iter()
            .fold(Reply::new(200, TEXT.as_bytes()), |reply, (name, value)| reply.with(name, value));
        is_head.then_some(reply)
    });
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let hub = hub();
    for etag in ["../x", "..", ".x", "a/b", "a\\b", "a:b", "a b", "", "\"\"", "W/\"../x\""] {
        hub.play(move |asked| {
            let reply = Reply::new(200, TEXT.as_bytes()).with("X-Repo-Commit", COMMIT);
            (asked.method == "HEAD").then(|| reply.with("ETag", etag))
        });
        let error = reason(refused(&hub));
        assert!(error.contains("etag: wanted up to 128 letters"), "{etag}: {error}");
    }
    for commit in ["../..", "", "0123/5", &"a".repeat(65)] {
        let info = serde_json::json!({"sha": commit, "siblings": [{"rfilename": FILE}]});
        let info = info.to_string();
        hub.play(move |_| Some(Reply::new(200, info.as_bytes())));
        let error = reason(refused(&hub));
        assert!(error.contains("commit: wanted up to 64 letters"), "{commit}: {error}");
    }
    for file in ["../x.gguf", "/x.gguf", "a/../../x.gguf", "a//x.gguf", "c:x.gguf", ".x.gguf"] {
        let info = serde_json::json!({"sha": COMMIT, "siblings": [{"rfilename": file}]});
        let info = info.to_string();
        hub.play(move |_| Some(Reply::new(200, info.as_bytes())));
        let error = refused(&hub);
        assert!(matches!(error, SourceError::NoWeights { .. }), "{file}: {error:?}");
    }
    let left: Vec<_> = fs::read_dir(hub.cache.path()).unwrap().collect();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[test]
fn what_the_hub_does_not_tell_of_a_file_is_named() {
    let hub = hub();
    head(&hub, &[("ETag", "\"abc\"")]);
    let error = reason(refused(&hub));
    assert!(error.contains(&format!("commit: wanted {COMMIT}, found none")), "{error}");
    head(&hub, &[("X-Repo-Commit", COMMIT)]);
    let error = reason(refused(&hub));
    assert!(error.contains("etag: wanted") && error.contains("found none"), "{error}");
    head(&hub, &[("X-Repo-Commit", COMMIT), ("ETag", "abc"), ("X-Linked-Size", "-1")]);
    let error = reason(refused(&hub));
    assert!(error.contains("size: wanted a number of bytes, found \"-1\""), "{error}");
    hub.play(|_| Some(Reply::new(200, b"[")));
    let error = reason(refused(&hub));
    assert!(error.contains("malformed listing"), "{error}");
}

/// The reply that sends whoever asks for a file elsewhere, as for large files.
fn elsewhere(location: &str) -> Reply {
    Reply::new(302, b"over there")
        .with("X-Repo-Commit", COMMIT)
        .with("X-Linked-Etag", format!("\"{}\"", etag(TEXT.as_bytes())))
        .with("X-Linked-Size", TEXT.len())
        .with("ETag", "\"of-the-redirect\"")
        .with("Location", location)
}

#[test]
fn the_token_stays_with_the_hub() {
    let (hub, store) = (hub(), Hub::new(&[]));
    let location = format!("{}/stored?Signature=1", store.endpoint);
    hub.play(move |asked| asked.target.contains(FILE).then(|| elsewhere(&location)));
    store.play(|asked| {
        Some(match asked.target.as_str() {
            "/stored?Signature=1" => Reply::new(307, b"").with("Location", "there"),
            "/there" => Reply::new(200, TEXT.as_bytes()),
            target => panic!("{target}"),
        })
    });
    assert_fetched(&hub);
    assert!(hub.asked().iter().all(|asked| asked.has_token));
    let asked = store.asked();
    assert!(asked.iter().all(|asked| !asked.has_token && asked.method == "GET"), "{asked:?}");
    assert_eq!(asked.len(), 2);
}

#[test]
fn who_comes_back_to_the_hub_has_no_token() {
    let (hub, store) = (hub(), Hub::new(&[]));
    let (there, back) = (store.endpoint.clone(), format!("{}/api/whoami", hub.endpoint));
    hub.play(move |asked| asked.target.contains(FILE).then(|| elsewhere(&there)));
    store.play(move |_| Some(Reply::new(302, b"").with("Location", &back)));
    let error = refused(&hub);
    assert!(matches!(error, SourceError::NoAccess { status: 401, .. }), "{error:?}");
    let asked = hub.asked();
    let back = asked.iter().find(|asked| asked.target == "/api/whoami").unwrap();
    assert!(!back.has_token);
}

#[test]
fn a_redirect_within_the_hub_is_followed_with_the_token() {
    let hub = hub();
    hub.play(|asked| {
        let target = asked.target.strip_prefix("/api/models/some/model/");
        let is_old = target.is_some() && !asked.target.contains("now=here");
        let location = "/api/models/some/model/revision/main?now=here";
        let moved = Reply::new(301, b"moved").with("Location", location);
        let info = serde_json::json!({"sha": COMMIT, "siblings": [{"rfilename": FILE}]});
        if is_old {
            Some(moved)
        } else {
            target.map(|_| Reply::new(200, info.to_string().as_bytes()))
        }
    });
    assert_fetched(&hub);
    assert!(hub.asked().iter().all(|asked| asked.has_token));
}

#[test]
fn redirects_end() {
    let hub = hub();
    hub.play(|asked| Some(Reply::new(302, b"").with("Location", &asked.target)));
    let error = reason(refused(&hub));
    assert!(error.contains("wanted at most 10 redirects, found more"), "{error}");
    assert_eq!(hub.asked().len(), 11);
    for location in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://", "mailto:a"] {
        hub.play(move |_| Some(Reply::new(302, b"").with("Location", location)));
        let error = reason(refused(&hub));
        assert!(
            error.contains("redirect: wanted an address") && error.contains(location),
            "{error}"
        );
    }
    hub.play(|_| Some(Reply::new(302, b"")));
    assert!(reason(refused(&hub)).contains("found none"));
}

#[test]
fn a_quantisation_in_a_folder_is_linked_to_its_blob() {
    let hub = hub();
    let name = "Q8 0/m-Q8_0.gguf";
    hub.play(move |asked| {
        let info = serde_json::json!({"sha": COMMIT, "siblings": [{"rfilename": name}]});
        let file = Reply::new(200, TEXT.as_bytes())
            .with("ETag", format!("W/\"{}\"", etag(TEXT.as_bytes())))
            .with("X-Repo-Commit", COMMIT);
        match asked.target.as_str() {
            "/api/models/some/model/revision/main" => {
                Some(Reply::new(200, info.to_string().as_bytes()))
            }
            target if target.ends_with("/Q8%200/m-Q8_0.gguf") => Some(file),
            _ => None,
        }
    });
    let ModelFiles::Gguf(file) = hub.fetch().unwrap() else { panic!("not a GGUF file") };
    assert!(file.ends_with(name));
    assert_eq!(fs::read_to_string(&file).unwrap(), TEXT);
    assert_eq!(hub.fetch_as(true, "some/model", &Silent).unwrap().path(), file);
}
