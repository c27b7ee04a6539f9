//! The spans of requests, microbatches and stages, as a subscriber of the whole process sees them.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use sluicegate::{Prompt, Request};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{complete, even_plan, start},
    tiny::{StoredType, TinyModel},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

#[derive(Debug, Default, Clone)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, u64>,
    follows: BTreeSet<u64>,
}

/// Keeps every span of ours. A span's id is its place, from one on.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Seen>>);

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.0.lock().unwrap()
    }

    fn with(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen()[place(id.into_u64())]);
    }
}

fn place(id: u64) -> usize {
    usize::try_from(id).unwrap() - 1
}

impl Visit for Seen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name(), value);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("sluicegate")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let context = || ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = if attributes.is_contextual() {
            context()
        } else {
            attributes.parent().map(Id::into_u64)
        };
        let mut span = Seen { name: attributes.metadata().name(), parent, ..Seen::default() };
        attributes.record(&mut span);
        let mut seen = self.seen();
        seen.push(span);
        Id::from_u64(seen.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |span| values.record(span));
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        self.with(id, |span| {
            span.follows.insert(follows.into_u64());
        });
    }

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(Vec::pop);
    }
}

/// Runs two requests, one after the other, then both at once, on two stages.
fn run() -> Vec<Seen> {
    let recorder = Arc::new(Recorder::default());
    tracing::subscriber::set_global_default(Arc::clone(&recorder)).unwrap();
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let engine = start(&model, &even_plan(&model, 2));
    let free = Request { max_tokens: 6, ..Request::new(Prompt::Text("ab".to_owned())) };
    let constraint = Spec::Regex("[a-z]{6}".to_owned());
    let constrained = Request { constraint, ..free.clone() };
    complete(&engine, &free);
    complete(&engine, &constrained);
    let both = [free, constrained].map(|request| engine.submit(request).unwrap());
    for generation in both {
        generation.wait().unwrap();
    }
    drop(engine);
    recorder.seen().clone()
}

#[test]
fn a_microbatch_follows_from_its_requests_and_stages_work_within_it() {
    let seen = run();
    let get = |id: u64| &seen[place(id)];
    let named = |name: &'static str| seen.iter().filter(move |span| span.name == name);
    let names: BTreeSet<&str> = seen.iter().map(|span| span.name).collect();
    let want = [
        "constraint.compile",
        "link.transfer",
        "request",
        "sampler.sample",
        "scheduler.step",
        "stage.forward",
    ];
    assert_eq!(names, BTreeSet::from(want));
    assert!(named("link.transfer").all(|span| span.fields["bytes"] > 0));

    // Microbatches are counted through; what is sent without one has no number.
    let microbatches: BTreeMap<u64, &Seen> = named("scheduler.step")
        .filter_map(|span| Some((*span.fields.get("microbatch")?, span)))
        .collect();
    let mut followed = Vec::new();
    for step in microbatches.values() {
        assert!(step.fields["tokens"] > 0);
        assert!(!step.follows.is_empty() && step.parent.is_none());
        assert!(step.follows.iter().all(|id| get(*id).name == "request"));
        followed.push(step.follows.iter().map(|id| get(*id).fields["request"]).collect::<Vec<_>>());
    }
    followed.dedup();
    assert_eq!(followed[..2], [vec![1], vec![2]], "one request after the other");
    let together: BTreeSet<u64> = followed[2..].iter().flatten().copied().collect();
    assert_eq!(together, BTreeSet::from([3, 4]));

    for (name, num_each) in [("stage.forward", 2), ("sampler.sample", 1)] {
        assert_eq!(named(name).count(), num_each * microbatches.len(), "{name}");
        for span in named(name) {
            let step = get(span.parent.unwrap());
            assert_eq!(step.name, "scheduler.step", "{name}");
            assert_eq!(step.fields["microbatch"], span.fields["microbatch"], "{name}");
        }
    }
    let stages: BTreeSet<u64> = named("stage.forward").map(|span| span.fields["stage"]).collect();
    assert_eq!(stages, BTreeSet::from([0, 1]));
}
