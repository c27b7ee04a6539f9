//! Gemma 3 270M: K-quants, windows and 262,144 tokens for real.

use sluicegate::{Prompt, Request, stream::FinishReason};
use sluicegate_constraint::Spec;
use sluicegate_tests::engines::{complete, even_plan, gemma3, small_schema, start};

#[test]
fn gemma3_counts_on_one_device_and_on_two() {
    let Some(model) = gemma3() else { return };
    let prompt = Prompt::Text("1, 2, 3, 4, 5,".to_owned());
    let free = Request { max_tokens: 8, ..Request::new(prompt) };
    let schema = Spec::json(small_schema());
    let constrained = Request { constraint: schema, max_tokens: 80, ..free.clone() };
    let run = |num_stages| {
        let engine = start(&model, &even_plan(&model, num_stages));
        [&free, &constrained].map(|request| complete(&engine, request).outputs.remove(0))
    };
    let [text, json] = run(1);
    assert_eq!(text.text, " 6, 7, 8", "llama.cpp says the same of the same file");
    assert_eq!(json.finish_reason, FinishReason::Constraint);
    let validator = jsonschema::validator_for(&small_schema()).unwrap();
    assert!(validator.is_valid(&serde_json::from_str(&json.text).unwrap()), "{}", json.text);
    assert_eq!(run(2), [text, json]);
}
