//! Outputs as values of Rust types, in the shape of the question.

use schemars::JsonSchema;
use serde::Deserialize;
use sluicegate::{
    Engine, Prompt,
    sampler::{Method, Multinomial},
    stream::FinishReason,
    typed::AskError,
};
use sluicegate_constraint::Format;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{auto_plan, start},
    tiny::{StoredType, TinyFiles, TinyModel},
};

#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Character {
    #[schemars(length(min = 1, max = 6))]
    name: String,
    class: Class,
    age: u8,
    #[schemars(length(max = 2))]
    flags: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Class {
    Wizard,
    Warrior,
}

fn tiny() -> (TinyFiles, Engine) {
    let files = TinyModel::new(Architecture::Llama).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    let plan = auto_plan(&model, 2);
    (files, start(&model, &plan))
}

fn prompt(seed: u32) -> Prompt {
    Prompt::Tokens((0..19).map(|i| (13 * i + seed) % 256).collect())
}

#[test]
fn one_prompt_and_one_sample_give_one_value() {
    let (_files, engine) = tiny();
    let character: Character = engine.json::<Character>(prompt(2)).run().unwrap();
    assert!((1..=6).contains(&character.name.chars().count()), "{character:?}");
    assert!(character.flags.len() <= 2);
    let number: u16 = engine.json::<u16>(prompt(2)).run().unwrap();
    let again: u16 = engine.json::<u16>(prompt(2)).run().unwrap();
    assert_eq!(number, again);
}

#[test]
fn samples_prompts_and_beams_have_the_shapes_of_their_numbers() {
    let (_files, engine) = tiny();
    let method = Method::Multinomial(Multinomial { temperature: 1.5, ..Multinomial::default() });
    let ask = || engine.json::<Character>(prompt(2)).seed(3).method(method);
    let samples: Vec<Character> = ask().samples(3).run().unwrap();
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().any(|it| *it != samples[0]), "samples differ: {samples:?}");
    assert_eq!(ask().samples(3).run().unwrap(), samples, "the same seed");
    assert_eq!(ask().run().unwrap(), samples[0]);

    let prompts: Vec<Character> =
        engine.prompts([prompt(2), prompt(5)]).json::<Character>().run().unwrap();
    assert_eq!(prompts.len(), 2);
    assert_eq!(prompts[0], engine.json::<Character>(prompt(2)).run().unwrap());
    assert_eq!(prompts[1], engine.json::<Character>(prompt(5)).run().unwrap());

    let both: Vec<Vec<Character>> =
        engine.prompts([prompt(2), prompt(5)]).json::<Character>().samples(2).run().unwrap();
    assert_eq!(both.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn beams_are_valid_and_come_best_first() {
    let (_files, engine) = tiny();
    let answers = engine.json::<Character>(prompt(2)).beams(4).answers().unwrap();
    assert!((1..=4).contains(&answers.len()));
    let outputs: Vec<_> = answers.into_iter().map(|it| it.unwrap().output).collect();
    assert!(outputs.is_sorted_by(|a, b| a.score >= b.score), "{outputs:?}");
    let texts: std::collections::BTreeSet<_> = outputs.iter().map(|it| &it.text).collect();
    assert_eq!(texts.len(), outputs.len(), "{outputs:?}");

    // There are only two texts: no third is made up, though there are more tokenisations.
    let classes = engine.choose::<Class>(prompt(2)).beams(5).run().unwrap();
    assert_eq!(classes.len(), 2);
    assert_ne!(classes[0], classes[1]);
    let best = engine.choose::<Class>(prompt(2)).method(Method::Beam { width: 5 }).run().unwrap();
    assert_eq!(best, classes[0]);
}

#[test]
fn values_are_whole_or_refused_before_they_begin() {
    let (_files, engine) = tiny();
    let refused = engine.json::<Character>(prompt(2)).max_tokens(4).run().unwrap_err();
    let AskError::Submit(refused) = refused else { panic!("{refused}") };
    let words = std::error::Error::source(&refused).unwrap().to_string();
    assert!(words.contains("at most 4 tokens are allowed"), "{words}");

    // The least that was named is enough.
    let needed: usize = words.rsplit(' ').next().unwrap().parse().unwrap();
    let three = engine.json::<Character>(prompt(2)).max_tokens(needed).samples(3).run().unwrap();
    assert_eq!(three.len(), 3);
}

#[test]
fn texts_and_choices_come_as_they_are() {
    let (_files, engine) = tiny();
    let options = ["red", "green"];
    let color: String = engine.choice(prompt(2), options).run().unwrap();
    assert!(options.contains(&color.as_str()));
    let code: String = engine.regex(prompt(2), "[a-z]{3}-[0-9]{2}").run().unwrap();
    assert_eq!((code.len(), code.as_bytes()[3]), (6, b'-'));
    let flag: String = engine.format(prompt(2), Format::Bool).run().unwrap();
    assert!(["true", "false"].contains(&flag.as_str()), "{flag}");
    let sum: String = engine.lark(prompt(2), "start: \"1\" (\"+\" \"1\"){2}").run().unwrap();
    assert_eq!(sum, "1+1+1");
    let pair: String =
        engine.gbnf(prompt(2), "root ::= digit digit\ndigit ::= [4-6]").run().unwrap();
    assert!(pair.len() == 2 && pair.bytes().all(|digit| (b'4'..=b'6').contains(&digit)), "{pair}");
    let text = engine.text(prompt(2)).max_tokens(5).answers().unwrap().unwrap();
    assert_eq!(text.output.finish_reason, FinishReason::Length);
    assert_eq!(text.value, text.output.text);
}

#[test]
fn a_type_that_is_no_choice_is_refused_before_anything_runs() {
    let (_files, engine) = tiny();
    let error = engine.choose::<Character>(prompt(2)).run().unwrap_err();
    assert!(matches!(error, AskError::NoChoice { .. }), "{error}");
    let error = engine.json::<Character>(prompt(2)).samples(0).run().unwrap_err();
    assert!(matches!(error, AskError::Submit(_)), "{error}");
}
