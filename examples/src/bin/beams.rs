//! Beam search under a regular expression: the likeliest texts with their scores.
//!
//! `cargo run --release -p sluicegate-examples --bin beams`

use std::io::Write;

use sluicegate_constraint::Spec;
use sluicegate_model::{
    chat::Message,
    open::Model,
    profile::{ElementBytes, ModelProfile},
    source::{Bar, ModelSource},
    units::Bytes,
};
use sluicegate_runtime::{
    Engine, Prompt, Request,
    placement::{self, Cluster, Policy},
    sampler::Method,
};

const BEAMS: usize = 4;

fn main() -> anyhow::Result<()> {
    let files = ModelSource::parse("smollm2")?.resolve(&Bar::default())?;
    let model = Model::open(&files)?;
    let stored = |id| model.weights.stored(id).map(|stored| Bytes(stored.bytes.len() as u64));
    let profile = ModelProfile::new(&model.config, stored, ElementBytes::default());
    let cluster = Cluster::logical_cpus(2, Bytes(1 << 30));
    // Every beam is a row of the batch, and needs a cache of its own.
    let policy = Policy { batch: BEAMS, ..Policy::default() };
    let plan = placement::plan(&profile, &cluster, &policy)?;
    let engine = Engine::builder(model, plan).build()?;

    let question = "Name one animal that lives in the sea.";
    let request = Request {
        constraint: Spec::Regex("(A|An) [a-z]{3,12}( [a-z]{3,12})?".to_owned()),
        method: Method::Beam { width: BEAMS },
        samples: BEAMS,
        max_tokens: 12,
        ..Request::new(Prompt::Chat(vec![Message::new("user", question)]))
    };
    let completion = engine.submit(request)?.wait()?;

    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{question}")?;
    for output in completion.outputs {
        // A score is the sum of the tokens' log-probabilities among those that were allowed.
        writeln!(stdout, "{:8.3}  {:<24}  {}", output.score, output.text, output.finish_reason)?;
    }
    Ok(())
}
