//! Embeds the engine: two logical devices, a schema, and streamed text.
//!
//! `cargo run --release -p sluicegate-examples --bin generate_json`

use std::io::Write;

use sluicegate::{
    Engine, Event, Prompt, Request,
    constraint::Spec,
    model::{
        chat::Message,
        open::Model,
        source::{Bar, ModelSource},
    },
    placement::{self, Cluster, Policy, Sequences},
    spec::{kv::KvType, units::Bytes},
};

const SCHEMA: &str = include_str!("../../schemas/character.json");

fn main() -> anyhow::Result<()> {
    // The first run fetches the model into the user's cache folder.
    let files = ModelSource::parse("smollm2")?.resolve(&Bar::default())?;
    let model = Model::open(&files)?;

    // A plan assigns layers to devices; it is made before anything is loaded.
    let profile = model.profile(KvType::default());
    let cluster = Cluster::logical_cpus(2, Bytes(1 << 30));
    let policy = Policy { sequences: Sequences::Exactly(1), ..Policy::default() };
    let plan = placement::plan(&profile, &cluster, &policy)?;

    let engine = Engine::builder(model, plan).build()?;
    let prompt = Prompt::Chat(vec![Message::new("user", "Describe a wizard.")]);
    let request =
        Request { constraint: Spec::json(serde_json::from_str(SCHEMA)?), ..Request::new(prompt) };

    let mut stdout = std::io::stdout().lock();
    for event in engine.submit(request)? {
        match event? {
            Event::Text { text, .. } => {
                write!(stdout, "{text}")?;
                stdout.flush()?;
            }
            Event::Output(output) => {
                writeln!(stdout, "\n\nended by: {}", output.finish_reason)?;
            }
            Event::Finished { usage, .. } => {
                writeln!(stdout, "{} tokens\n", usage.completion_tokens)?;
            }
        }
    }
    // The transfers between scheduler and devices, counted from the transferred values themselves.
    write!(stdout, "{}", engine.ledger())?;
    Ok(())
}
