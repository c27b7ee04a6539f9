//! A recorded run is told to another loop, and leads to the same actions.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluicegate::{
    Engine, Generation, Prompt, Request,
    engine::{Metrics, RecordOptions},
    pipeline::BeforeForward,
    serve::{Line, Replayed, replay},
};
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::open::Model;
use sluicegate_placement::StageId;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{even_plan, with_pages},
    serving::{assert_idle, mixed_requests},
    tiny::{StoredType, TinyModel},
};

/// A file in memory.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lines(&self) -> Vec<Line> {
        let bytes = self.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// 200 requests of all kinds over two stages, one of which fails once, with few pages; every
/// seventh caller goes away.
fn record(options: RecordOptions) -> Replayed {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let hook: BeforeForward = Arc::new(move |stage: StageId, _: MicrobatchId| {
        let is_it = stage.0 == 1 && calls.fetch_add(1, Ordering::Relaxed) == 40;
        assert!(!is_it, "as a test asked");
    });
    let file = Shared::default();
    let engine = Engine::builder(model.clone(), with_pages(&even_plan(&model, 2), 4 * 14))
        .before_forward(hook)
        // Too many are let in, so that some are preempted.
        .reckon_ahead(false)
        .record(file.clone(), options)
        .build()
        .unwrap();
    let requests = mixed_requests().into_iter().cycle().take(200);
    let running: Vec<(bool, Generation)> = (0..)
        .zip(requests)
        .map(|(number, request): (usize, Request)| {
            let goes_away = number % 7 == 3;
            // So long that it surely runs when its caller goes away.
            let long = || Request {
                max_tokens: 150,
                ignore_eos: true,
                ..Request::new(request.prompts[0].clone())
            };
            let request = if goes_away { long() } else { request };
            (goes_away, engine.submit(request).unwrap())
        })
        .collect();
    let (leaving, staying): (Vec<_>, Vec<_>) = running.into_iter().partition(|(leaves, _)| *leaves);
    for (_, mut generation) in leaving {
        assert!(generation.next().is_some_and(|event| event.is_ok()));
    }
    for (_, generation) in staying {
        generation.wait().unwrap();
    }
    // Orders of those who went away may still be on their way.
    let is_busy = |metrics: &Metrics| metrics.requests > 0 || metrics.scheduler.running > 0;
    let mut rounds = 0..1_000_000;
    while is_busy(&engine.metrics()) && rounds.next().is_some() {
        std::thread::yield_now();
    }
    let metrics = assert_idle(&engine);
    assert!(metrics.scheduler.preemptions > 0 && metrics.requests_cancelled > 0, "{metrics:?}");
    assert_eq!(metrics.incarnation, 2);
    let replayed = replay(&file.lines()).unwrap();
    assert_eq!(replayed.metrics, metrics);
    engine.shutdown(Duration::ZERO);
    let closed = replay(&file.lines()).unwrap();
    assert_eq!(closed.inputs, replayed.inputs + 1);
    replayed
}

#[test]
fn two_hundred_mixed_requests_replay_to_the_same_actions() {
    let replayed = record(RecordOptions::default());
    assert!(replayed.inputs > 400 && !replayed.is_full, "{replayed:?}");
    record(RecordOptions { prompts: false, ..RecordOptions::default() });
}

#[test]
fn a_full_journal_ends_and_replays_as_far_as_it_goes() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let file = Shared::default();
    let engine = Engine::builder(model.clone(), even_plan(&model, 1))
        .record(file.clone(), RecordOptions { max_bytes: 20_000, ..RecordOptions::default() })
        .build()
        .unwrap();
    for request in mixed_requests() {
        engine.submit(request).unwrap().wait().unwrap();
    }
    drop(engine);
    assert!(file.0.lock().unwrap().len() < 21_000);
    let lines = file.lines();
    assert_eq!(lines.last(), Some(&Line::Full));
    assert!(replay(&lines).unwrap().is_full);
}

#[test]
fn a_chat_that_goes_on_replays_without_its_prompts() {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let file = Shared::default();
    let options = RecordOptions { prompts: false, ..RecordOptions::default() };
    let engine = Engine::builder(model.clone(), even_plan(&model, 1))
        .record(file.clone(), options)
        .build()
        .unwrap();
    let mut tokens: Vec<u32> = (1..22).collect();
    for turn in 0..3 {
        let prompt = Prompt::Tokens(tokens.clone());
        let request = Request { max_tokens: 30, ignore_eos: true, ..Request::new(prompt) };
        let output = engine.submit(request).unwrap().wait().unwrap().outputs.remove(0);
        tokens.extend(output.token_ids);
        tokens.push(200 + turn);
    }
    assert!(engine.metrics().scheduler.shared_tokens > 0);
    engine.shutdown(Duration::MAX);
    let replayed = replay(&file.lines()).unwrap();
    assert_eq!(replayed.metrics, engine.metrics());
}
