//! What comes out: allowed tokens, valid JSON, honest reasons, the same text again.

use serde_json::{Value, json};
use sluicegate::{
    Event, Output, Prompt, Request,
    sampler::{Method, Multinomial},
    stream::FinishReason,
};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    constraints::compiler,
    engines::{auto_plan, complete, samplers, smollm2, start},
    tiny::{StoredType, TinyFiles, TinyModel},
};

fn tiny(architecture: Architecture) -> (TinyFiles, Model) {
    let files = TinyModel::new(architecture).directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    (files, model)
}

fn prompt() -> Prompt {
    Prompt::Tokens((0..19).map(|i| (13 * i + 2) % 256).collect())
}

/// Schemas of several shapes; every one is finished by a random model sooner or later.
fn schemas() -> Vec<Value> {
    vec![
        json!({ "enum": ["red", "green", 7, null] }),
        json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 4 }),
        json!({ "type": "integer", "minimum": -5, "maximum": 500 }),
        json!({ "anyOf": [{ "const": "x" }, { "type": "string", "pattern": "^[ab]{2,4}$" }] }),
        json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "maxLength": 4 },
                "tags": { "type": "array", "items": { "enum": ["a", "b"] }, "maxItems": 2 },
                "inner": {
                    "type": "object",
                    "properties": { "on": { "type": "boolean" } },
                    "required": ["on"],
                    "additionalProperties": false
                }
            },
            "required": ["id", "tags", "inner"],
            "additionalProperties": false
        }),
    ]
}

/// Replays an output: each token must have been allowed by its mask.
fn check_allowed(model: &Model, spec: &Spec, output: &Output) {
    let mut matcher = compiler(model).compile(spec).unwrap().matcher();
    for (step, token) in output.token_ids.iter().enumerate() {
        assert!(matcher.mask().unwrap().allows(*token), "token {token} at step {step}");
        matcher.advance(*token).unwrap();
    }
    if output.finish_reason != FinishReason::Length {
        assert!(matcher.is_accepting(), "{output:?}");
    }
}

#[test]
fn sampled_tokens_are_allowed_and_finished_json_validates() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let (_files, model) = tiny(architecture);
        let engine = start(&model, &auto_plan(&model, 2));
        for schema in schemas() {
            let validator = jsonschema::validator_for(&schema).unwrap();
            let spec = Spec::json(schema);
            for (name, request) in samplers() {
                let constraint = spec.clone();
                let request =
                    Request { prompts: vec![prompt()], constraint, max_tokens: 300, ..request };
                for output in complete(&engine, &request).outputs {
                    check_allowed(&model, &spec, &output);
                    assert_ne!(output.finish_reason, FinishReason::Length, "{name}: {output:?}");
                    let value: Value = serde_json::from_str(&output.text).unwrap();
                    assert!(validator.is_valid(&value), "{name}: {value}");
                }
            }
        }
    }
}

#[test]
fn outputs_close_within_their_budget_and_one_too_small_is_refused() {
    let (_files, model) = tiny(Architecture::Llama);
    let engine = start(&model, &auto_plan(&model, 2));
    let spec = Spec::json(json!({ "type": "string", "minLength": 40, "pattern": "^[a-z]*$" }));
    for (name, request) in samplers() {
        let constraint = spec.clone();
        let request = Request { prompts: vec![prompt()], constraint, max_tokens: 5, ..request };
        let Err(refused) = engine.submit(request.clone()) else { panic!("{name}") };
        let refused =
            std::error::Error::source(&refused).map_or(String::new(), ToString::to_string);
        assert!(refused.contains("at most 5 tokens are allowed"), "{name}: {refused}");

        let request = Request { max_tokens: 43, ..request };
        for output in complete(&engine, &request).outputs {
            assert!(output.token_ids.len() <= 43, "{name}: {output:?}");
            let text: String = serde_json::from_str(&output.text).expect(name);
            assert!(text.len() >= 40, "{name}: {text}");
        }
    }
}

#[test]
fn regex_and_choice_come_out_as_asked() {
    let model = smollm2();
    let engine = start(&model, &auto_plan(&model, 2));
    let choices = ["Paris".to_owned(), "Berlin".to_owned(), "Madrid".to_owned()];
    let ask = |constraint| Request {
        constraint,
        ..Request::new(Prompt::Text("The capital of France is ".to_owned()))
    };
    let outputs = complete(&engine, &ask(Spec::Choice(choices.to_vec()))).outputs;
    assert_eq!(
        (&outputs[0].text[..], outputs[0].finish_reason),
        ("Paris", FinishReason::Constraint)
    );
    let outputs = complete(&engine, &ask(Spec::Regex("[0-9]{4}-[0-9]{2}".to_owned()))).outputs;
    let is_digit = |c: char| c.is_ascii_digit();
    let text = &outputs[0].text;
    assert!(text.len() == 7 && text[..4].chars().all(is_digit) && text[5..].chars().all(is_digit));
}

#[test]
fn stop_strings_end_an_output_and_are_not_part_of_it() {
    let model = smollm2();
    let engine = start(&model, &auto_plan(&model, 2));
    let request = Request {
        max_tokens: 40,
        ..Request::new(Prompt::Text("Count: 1, 2, 3, 4, 5,".to_owned()))
    };
    let free = &complete(&engine, &request).outputs[0];
    assert!(free.text.contains("9, 10"), "{}", free.text);
    let request = Request { stop: vec!["9, 10".to_owned()], ..request };
    for method in [Method::Greedy, Method::Beam { width: 2 }] {
        let output = &complete(&engine, &Request { method, ..request.clone() }).outputs[0];
        assert_eq!(output.finish_reason, FinishReason::StopString);
        assert!(free.text.starts_with(&output.text) || method != Method::Greedy);
        assert!(!output.text.contains("9, 10") && !output.text.ends_with('9'), "{}", output.text);
    }
}

#[test]
fn streamed_pieces_add_up_to_the_text() {
    let (_files, model) = tiny(Architecture::Qwen3);
    let engine = start(&model, &auto_plan(&model, 3));
    for (name, request) in samplers() {
        let request = Request { prompts: vec![prompt(), prompt()], max_tokens: 60, ..request };
        let mut pieces = std::collections::BTreeMap::<_, String>::new();
        let mut outputs = Vec::new();
        for event in engine.submit(request).unwrap() {
            match event.unwrap() {
                Event::Text { output, text, .. } => {
                    pieces.entry(output).or_default().push_str(&text);
                }
                Event::Output(output) => outputs.push(output),
                Event::Finished { .. } => {}
            }
        }
        assert!(!outputs.is_empty());
        for output in outputs {
            let streamed = pieces.remove(&output.id).unwrap_or_default();
            assert_eq!(streamed, output.text, "{name}");
        }
    }
}

#[test]
fn a_request_gives_the_same_text_whatever_its_neighbours() {
    let (_files, model) = tiny(Architecture::Mistral);
    let engine = start(&model, &auto_plan(&model, 2));
    let multinomial = Method::Multinomial(Multinomial::default());
    let request = |seed, len: u32| Request {
        method: multinomial,
        samples: 2,
        seed,
        max_tokens: 30,
        ..Request::new(Prompt::Tokens((0..len).map(|i| (3 * i + 1) % 256).collect()))
    };
    let alone: Vec<_> =
        (1..9).map(|seed| complete(&engine, &request(seed.into(), 5 * seed)).outputs).collect();
    let together: Vec<_> =
        (1..9).map(|seed| engine.submit(request(seed.into(), 5 * seed)).unwrap()).collect();
    for (generation, want) in together.into_iter().zip(&alone) {
        assert_eq!(&generation.wait().unwrap().outputs, want);
    }
    assert_ne!(alone[0][0].token_ids, alone[0][1].token_ids, "samples differ");
    let again = complete(&engine, &request(1, 5)).outputs;
    assert_eq!(again, alone[0]);
    assert_ne!(complete(&engine, &request(100, 5)).outputs, again, "seeds differ");
}

#[test]
fn a_dropped_generation_frees_its_place() {
    let (_files, model) = tiny(Architecture::Llama);
    let engine = start(&model, &auto_plan(&model, 2));
    let long = Request { max_tokens: 400, ignore_eos: true, ..Request::new(prompt()) };
    for _ in 0..50 {
        drop(engine.submit(long.clone()).unwrap());
    }
    let short = Request { max_tokens: 3, ..long };
    assert_eq!(complete(&engine, &short).outputs[0].token_ids.len(), 3);
}
