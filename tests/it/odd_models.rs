//! Models whose files are odd run all the same.

use sluicegate::{
    Prompt, Request,
    engine::SubmitError,
    sampler::{Method, Multinomial},
    stream::FinishReason,
};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::{
    engines::{complete, even_plan, start},
    serving::prompt,
    tiny::{StoredType, TINY_BOS, TinyFiles, TinyModel},
};

/// A model whose embedding ends where its tokenizer's special tokens begin, end tokens among them.
fn without_special_rows() -> (TinyFiles, Model) {
    let model = TinyModel::new(Architecture::Qwen3).with("vocab_size", TINY_BOS);
    let files = model.directory(StoredType::F32);
    let model = Model::open(&files.files).unwrap();
    assert!(model.tokenizer.vocab_size() > model.config.vocab);
    assert!(model.tokenizer.eos().is_empty() && model.config.eos.is_empty());
    (files, model)
}

#[test]
fn a_model_without_an_end_token_generates_to_its_limit() {
    let (_files, model) = without_special_rows();
    let engine = start(&model, &even_plan(&model, 2));
    let drawn = Method::Multinomial(Multinomial { temperature: 1.5, ..Multinomial::default() });
    for method in [Method::Greedy, drawn, Method::Beam { width: 3 }] {
        let request = Request { method, max_tokens: 30, ..Request::new(prompt(1, 20)) };
        let output = &complete(&engine, &request).outputs[0];
        assert_eq!((output.finish_reason, output.token_ids.len()), (FinishReason::Length, 30));
        assert!(output.token_ids.iter().all(|token| *token < TINY_BOS));
    }
}

#[test]
fn a_constraint_ends_without_an_end_token_where_it_is_finished() {
    let (_files, model) = without_special_rows();
    let engine = start(&model, &even_plan(&model, 2));
    let schema = serde_json::json!({"type": "object", "properties": {"age": {"enum": [10, 20]}},
        "required": ["age"], "additionalProperties": false});
    let check = |constraint: Spec, max_tokens: usize, wanted: &[&str]| {
        for method in [Method::Greedy, Method::Beam { width: 2 }] {
            let constraint = constraint.clone();
            let request = Request { method, constraint, max_tokens, ..Request::new(prompt(2, 20)) };
            let output = &complete(&engine, &request).outputs[0];
            assert_eq!(output.finish_reason, FinishReason::Constraint, "{:?}", output.text);
            let text: String = output.text.split_whitespace().collect();
            assert!(wanted.contains(&text.as_str()), "{:?}", output.text);
        }
    };
    check(Spec::Choice(vec!["name".into(), "age".into()]), 9, &["name", "age"]);
    check(Spec::json(schema), 40, &["{\"age\":10}", "{\"age\":20}"]);
    // After four letters no third pair fits: the output ends before the token that would begin it.
    check(Spec::Regex("(xy)+".into()), 5, &["xyxy"]);
}

#[test]
fn a_prompt_with_a_token_beyond_the_embedding_is_refused_by_name() {
    let (_files, model) = without_special_rows();
    let engine = start(&model, &even_plan(&model, 1));
    let submit = |prompt| engine.submit(Request::new(prompt)).map(drop).unwrap_err();
    let error = submit(Prompt::Text("a <|im_start|> b".to_owned()));
    let SubmitError::Tokenizer { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("`<|im_start|>`, token 302"), "{source}");
    let error = submit(Prompt::Tokens(vec![7, TINY_BOS]));
    assert!(matches!(error, SubmitError::UnknownToken { token: TINY_BOS, .. }), "{error:?}");
}
