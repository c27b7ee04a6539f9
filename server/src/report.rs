//! `--json`: everything about a call as one object.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sluicegate::{
    Completion, Output,
    device::{LedgerEntry, MaskCounts},
    stream::{FinishReason, Timings, Token, Usage},
};
use sluicegate_constraint::Spec;
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_placement::{Plan, PlannedStage};
use sluicegate_spec::tokens::TokenBytes;
use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, TokenId},
};

/// The output of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    model: &'a str,
    plan: PlanReport,
    outputs: Vec<OutputReport<'a>>,
    usage: Usage,
    timings: TimingsReport,
    ledger: Vec<LedgerEntry>,
    masks: MaskCounts,
}

#[derive(Debug, Serialize)]
struct PlanReport {
    stages: Vec<StageReport>,
}

/// A stage, as every command prints it.
#[derive(Debug, Serialize)]
pub(crate) struct StageReport {
    device: DeviceId,
    first_unit: usize,
    end_unit: usize,
    first_layer: usize,
    end_layer: usize,
    weight_bytes: Bytes,
    kv_bytes: Bytes,
}

/// An output, as every command prints it.
#[derive(Debug, Serialize)]
pub(crate) struct OutputReport<'a> {
    text: &'a str,
    token_ids: &'a [TokenId],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<TokenReport>,
    finish_reason: FinishReason,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parsed: Option<Value>,
}

/// A token, and the most likely ones at its position.
#[derive(Debug, Serialize)]
struct TokenReport {
    #[serde(flatten)]
    token: TopTokenReport,
    top_tokens: Vec<TopTokenReport>,
}

/// The text of a single token may be part of a character.
#[derive(Debug, Serialize)]
struct TopTokenReport {
    id: TokenId,
    text: String,
    log_probability: f64,
}

#[derive(Debug, PartialEq, Serialize)]
struct TimingsReport {
    load_ms: f64,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
    mask_wait_us: u64,
    mask_wait_p50_us: u64,
    mask_wait_p99_us: u64,
}

/// The inputs of a report.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) model: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) constraint: &'a Spec,
    /// From the start of the process until the engine was ready.
    pub(crate) load: Duration,
    pub(crate) completion: &'a Completion,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) ledger: Vec<LedgerEntry>,
    pub(crate) masks: MaskCounts,
}

impl<'a> Report<'a> {
    pub(crate) fn new(run: Run<'a>) -> Self {
        let Run { model, plan, constraint, load, completion, tokenizer, ledger, masks } = run;
        let is_json = matches!(constraint, Spec::Json { .. } | Spec::JsonObject);
        Self {
            model,
            plan: PlanReport::new(plan),
            outputs: completion
                .outputs
                .iter()
                .map(|it| OutputReport::new(it, is_json, tokenizer))
                .collect(),
            usage: completion.usage,
            timings: TimingsReport::new(load, completion.usage, &completion.timings),
            ledger,
            masks,
        }
    }
}

impl PlanReport {
    fn new(plan: &Plan) -> Self {
        Self { stages: plan.stages.iter().map(|stage| StageReport::new(plan, stage)).collect() }
    }
}

impl StageReport {
    pub(crate) fn new(plan: &Plan, stage: &PlannedStage) -> Self {
        let layers = plan.layers(stage);
        Self {
            device: stage.device,
            first_unit: stage.units.start,
            end_unit: stage.units.end,
            first_layer: layers.start,
            end_layer: layers.end,
            weight_bytes: stage.weight_bytes,
            kv_bytes: stage.kv_bytes,
        }
    }
}

impl<'a> OutputReport<'a> {
    pub(crate) fn new(output: &'a Output, is_json: bool, tokenizer: &Tokenizer) -> Self {
        // A text that was cut off at the token limit does not parse, and has no value.
        let parsed = is_json.then(|| serde_json::from_str(&output.text).ok()).flatten();
        Self {
            text: &output.text,
            token_ids: &output.token_ids,
            tokens: output.tokens.iter().map(|token| TokenReport::new(token, tokenizer)).collect(),
            finish_reason: output.finish_reason,
            score: output.score,
            parsed,
        }
    }
}

impl TokenReport {
    fn new(token: &Token, tokenizer: &Tokenizer) -> Self {
        let report = |id: TokenId, log_probability: f64| TopTokenReport {
            id,
            text: text(tokenizer, id),
            log_probability,
        };
        let top_tokens = token.top_tokens.iter().map(|it| report(it.id, it.log_probability));
        Self { token: report(token.id, token.log_probability), top_tokens: top_tokens.collect() }
    }
}

fn text(tokenizer: &Tokenizer, id: TokenId) -> String {
    match tokenizer.token_bytes(id) {
        TokenBytes::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        TokenBytes::Special(name) => name.clone(),
        TokenBytes::Unused => String::new(),
    }
}

impl TimingsReport {
    fn new(load: Duration, usage: Usage, timings: &Timings) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let wait = &timings.mask_wait;
        Self {
            load_ms: load.as_secs_f64() * 1e3,
            prefill_tokens_per_s: per_second(usage.prompt_tokens, timings.prefill),
            decode_tokens_per_s: per_second(timings.decode_tokens, timings.decode),
            mask_wait_us: micros(wait.total),
            mask_wait_p50_us: micros(wait.p50),
            mask_wait_p99_us: micros(wait.p99),
        }
    }
}

/// Zero if nothing was done or no time has passed.
fn per_second(num_tokens: usize, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { num_tokens as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use sluicegate::{
        sampler::TopToken,
        stream::{MaskWait, OutputId},
    };
    use sluicegate_placement::{PlanFields, Route, TransferKind, TransferRoute};
    use sluicegate_spec::{config::KvGroup, units::UnitRange};

    use super::*;

    fn plan() -> Plan {
        let stage = |device, start, end| PlannedStage {
            device,
            units: UnitRange { start, end },
            weight_bytes: Bytes(100),
            kv_bytes: Bytes(10),
            workspace_bytes: Bytes(1),
            cap_bytes: Bytes(1000),
            input_route: Route::Host,
        };
        let fields = PlanFields {
            stages: vec![stage(DeviceId::Cpu(0), 0, 3), stage(DeviceId::Cuda(1), 3, 6)],
            num_layers: 4,
            kv_tokens: 16,
            kv_groups: vec![KvGroup::Full],
            pages_per_group: vec![1],
            sequences: 1,
            batch: 1,
            chunk_tokens: 16,
            microbatches: 1,
            hidden: 8,
            hidden_element_bytes: 4,
            mask_words: 2,
        };
        fields.try_into().unwrap()
    }

    fn report(text: &str, constraint: &Spec) -> Value {
        let top_tokens = vec![TopToken { id: 98, log_probability: -0.25 }];
        let output = Output {
            id: OutputId { prompt: 0, index: 0 },
            text: text.to_owned(),
            token_ids: vec![5, 6],
            tokens: vec![Token { id: 97, log_probability: -0.5, top_tokens }],
            finish_reason: FinishReason::EndToken,
            score: -1.5,
        };
        let completion = Completion {
            outputs: vec![output],
            usage: Usage {
                prompt_tokens: 4,
                completion_tokens: 3,
                jump_forward_tokens: 1,
                vetoed_tokens: 0,
            },
            timings: Timings {
                prefill: Duration::from_millis(500),
                decode: Duration::from_secs(1),
                decode_tokens: 2,
                mask_wait: MaskWait {
                    total: Duration::from_micros(7),
                    p50: Duration::from_micros(1),
                    p99: Duration::from_micros(5),
                },
            },
        };
        let entry = LedgerEntry {
            kind: TransferKind::Mask,
            source: DeviceId::Host,
            target: DeviceId::Cuda(1),
            route: TransferRoute::Upload,
            transfers: 3,
            bytes: 24,
            raw_bytes: 24,
        };
        let run = Run {
            model: "tiny",
            plan: &plan(),
            constraint,
            load: Duration::from_millis(20),
            completion: &completion,
            tokenizer: &Tokenizer::letters(Path::new("letters"), 300, None, &[]).unwrap(),
            ledger: vec![entry],
            masks: MaskCounts {
                only: 2,
                dense: 1,
                jump_forward_tokens: 1,
                ..MaskCounts::default()
            },
        };
        serde_json::to_value(Report::new(run)).unwrap()
    }

    #[test]
    fn the_object_has_the_promised_fields() {
        let want = json!({
            "model": "tiny",
            "plan": {"stages": [
                {"device": "cpu:0", "first_unit": 0, "end_unit": 3, "first_layer": 0,
                 "end_layer": 2, "weight_bytes": 100, "kv_bytes": 10},
                {"device": "cuda:1", "first_unit": 3, "end_unit": 6, "first_layer": 2,
                 "end_layer": 4, "weight_bytes": 100, "kv_bytes": 10},
            ]},
            "outputs": [{"text": "{\"a\": 1}", "token_ids": [5, 6], "finish_reason": "end_token",
                         "score": -1.5, "parsed": {"a": 1}, "tokens": [
                            {"id": 97, "text": "a", "log_probability": -0.5, "top_tokens": [
                                {"id": 98, "text": "b", "log_probability": -0.25}]}]}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 3, "jump_forward_tokens": 1,
                      "vetoed_tokens": 0},
            "timings": {"load_ms": 20.0, "prefill_tokens_per_s": 8.0,
                        "decode_tokens_per_s": 2.0, "mask_wait_us": 7,
                        "mask_wait_p50_us": 1, "mask_wait_p99_us": 5},
            "ledger": [{"kind": "mask", "source": "host", "target": "cuda:1", "route": "upload",
                        "transfers": 3, "bytes": 24, "raw_bytes": 24}],
            "masks": {"all": 0, "only": 2, "sparse": 0, "denied": 0, "dense": 1, "same": 0,
                      "jump_forward_tokens": 1, "vetoed_tokens": 0},
        });
        assert_eq!(report("{\"a\": 1}", &Spec::json(json!({}))), want);
    }

    #[test]
    fn only_whole_json_under_a_schema_is_parsed() {
        let parsed =
            |text: &str, spec: &Spec| report(text, spec)["outputs"][0].get("parsed").cloned();
        let schema = Spec::json(json!({}));
        assert_eq!(parsed("[1, 2]", &schema), Some(json!([1, 2])));
        assert_eq!(parsed("null", &schema), Some(Value::Null));
        assert_eq!(parsed("[1, ", &schema), None);
        assert_eq!(parsed("[1, 2]", &Spec::Text), None);
    }

    #[test]
    fn no_time_gives_no_speed() {
        let timings = TimingsReport::new(Duration::ZERO, Usage::default(), &Timings::default());
        let speeds = (timings.prefill_tokens_per_s, timings.decode_tokens_per_s);
        assert_eq!(speeds, (0.0, 0.0));
    }
}
