//! Outputs as values of Rust types: a character, three different ones, the most likely moods.
//!
//! `cargo run --release -p sluicegate-examples --bin typed`

use std::io::Write;

use schemars::JsonSchema;
use serde::Deserialize;
use sluicegate::{
    OpenOptions,
    model::{chat::Message, source::Bar},
    placement::{Policy, Sequences},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Class {
    Wizard,
    Warrior,
    Thief,
}

/// The schema, and so what the model may write, is derived from this.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is printed as a whole")]
struct Character {
    #[schemars(length(min = 1, max = 30))]
    name: String,
    class: Class,
    age: u8,
    #[schemars(length(max = 3), inner(length(min = 1, max = 20)))]
    inventory: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum Mood {
    Cheerful,
    Gloomy,
    Furious,
}

fn main() -> anyhow::Result<()> {
    // The first run fetches the model into the user's cache folder.
    let policy = Policy { sequences: Sequences::Exactly(3), ..Policy::default() };
    let engine =
        OpenOptions::new().cpu_devices(2).policy(policy).open_with("smollm2", &Bar::default())?;
    let prompt = |text: &str| vec![Message::new("user", text)];
    let mut stdout = std::io::stdout().lock();

    let character = engine.json::<Character>(prompt("Describe a wizard.")).run()?;
    writeln!(stdout, "{character:#?}\n")?;

    // Several samples are drawn at random. A truncated one does not affect the others.
    let question = prompt("Describe a thief.");
    for answer in engine.json::<Character>(question).samples(3).seed(7).answers()? {
        match answer {
            Ok(answer) => writeln!(stdout, "{:?}", answer.value)?,
            Err(error) => writeln!(stdout, "no character: {error}")?,
        }
    }

    // The best beam comes first.
    let moods = engine.choose::<Mood>(prompt("How does it feel to lose?")).beams(3).run()?;
    writeln!(stdout, "\n{moods:?}")?;
    Ok(())
}
