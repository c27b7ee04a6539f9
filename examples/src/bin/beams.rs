//! Beam search among given answers: prints the most likely ones, with their scores.
//!
//! `cargo run --release -p sluicegate-examples --bin beams`

use std::io::Write;

use sluicegate::{
    OpenOptions, Prompt, Request,
    constraint::Spec,
    model::{chat::Message, source::Bar},
    placement::{Policy, Sequences},
    sampler::Method,
};

const BEAMS: usize = 4;

fn main() -> anyhow::Result<()> {
    // Every beam is a row of the batch, and needs its own cache.
    let policy = Policy { sequences: Sequences::Exactly(BEAMS), ..Policy::default() };
    let engine =
        OpenOptions::new().cpu_devices(2).policy(policy).open_with("smollm2", &Bar::default())?;

    let question = "Which animal is the fastest in the sea?";
    let answers = ["a dolphin", "a shark", "a whale", "a crab", "an octopus", "a turtle"];
    let request = Request {
        constraint: Spec::Choice(answers.map(str::to_owned).to_vec()),
        method: Method::Beam { width: BEAMS },
        samples: BEAMS,
        max_tokens: 12,
        ..Request::new(Prompt::Chat(vec![Message::new("user", question)]))
    };
    let completion = engine.submit(request)?.wait()?;

    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{question}")?;
    for output in completion.outputs {
        // A score is the sum of the tokens' log-probabilities among the allowed ones.
        writeln!(stdout, "{:8.3}  {:<24}  {}", output.score, output.text, output.finish_reason)?;
    }
    Ok(())
}
