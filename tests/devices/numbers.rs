//! Log-probabilities of greedy tokens: every family, every type of weights and of cache.

use candle_core::quantized::GgmlDType;
use sluicegate::{Event, Prompt, Request, stream::Token};
use sluicegate_model::open::Model;
use sluicegate_placement::Plan;
use sluicegate_spec::{
    config::Architecture::{self, Gemma3, Llama},
    device::DeviceId,
    kv::KvType,
};
use sluicegate_tests::{
    engines::even_plan_on,
    tiny::{StoredType, TinyModel},
};

use crate::{
    bounds,
    target::{Target, start},
};

const NUM_TOKENS: usize = 24;

/// The types of a GGUF file that candle multiplies on a GPU.
pub(crate) const QUANTISED: [GgmlDType; 12] = {
    use GgmlDType::{F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    [F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K]
};

pub(crate) fn of_families(target: &Target) {
    for architecture in Architecture::ALL {
        for tied in [false, true] {
            let files = TinyModel::new(architecture).tied(tied).directory(StoredType::F32);
            let model = Model::open(&files.files).unwrap();
            let name = format!("{architecture:?}, tied {tied}");
            check(&name, target, &model, (KvType::F32, bounds::F32));
        }
    }
}

pub(crate) fn of_dense_types(target: &Target) {
    for stored in [StoredType::F32, StoredType::F16, StoredType::BF16] {
        let files = TinyModel::new(Llama).directory(stored);
        let model = Model::open(&files.files).unwrap();
        let bound = bounds::of_dense(stored);
        check(&format!("{stored:?}"), target, &model, (KvType::F32, bound));
    }
}

pub(crate) fn of_quantised_types(target: &Target) {
    for kind in QUANTISED {
        let tiny = TinyModel::new(Llama);
        // Blocks of K types are as wide as the wide model.
        let tiny = if kind.block_size() > 32 { tiny.wide() } else { tiny };
        let files = tiny.gguf(kind);
        let model = Model::open(&files.files).unwrap();
        let bound = bounds::of_quantised(kind);
        check(&format!("{kind:?}"), target, &model, (KvType::F32, bound));
    }
}

pub(crate) fn of_cache_types(target: &Target) {
    for architecture in [Llama, Gemma3] {
        let files = TinyModel::new(architecture).directory(StoredType::F32);
        let model = Model::open(&files.files).unwrap();
        for kv_type in [KvType::F16, KvType::Bf16] {
            let bound = bounds::of_cache(kv_type);
            check(&format!("{architecture:?}, {kv_type}"), target, &model, (kv_type, bound));
        }
    }
}

/// One prompt longer than a chunk and a window, one of whole pages, one of a single token.
fn prompts() -> Vec<Prompt> {
    let tokens = |len: u32| Prompt::Tokens((0..len).map(|i| (7 * i * i + 3 * i) % 256).collect());
    vec![tokens(61), tokens(32), tokens(1)]
}

/// Compares token by token as long as both choose alike; once they do not, they read different
/// texts. The first token is compared whichever it is: two distributions that are alike have
/// largest probabilities that are.
#[track_caller]
fn check(name: &str, target: &Target, model: &Model, (kv_type, bound): (KvType, f64)) {
    let alone = even_plan_on(model, &[DeviceId::Cpu(0)], kv_type);
    let placed = target.plan(model, kv_type);
    for prompt in prompts() {
        let wanted = tokens(model, &alone, &prompt, kv_type);
        let found = tokens(model, &placed, &prompt, kv_type);
        assert_eq!((wanted.len(), found.len()), (NUM_TOKENS, NUM_TOKENS));
        if target.is_exact {
            assert_eq!(wanted, found, "{name}");
        }
        let mut alike = 0;
        let mut largest: f64 = 0.0;
        for (wanted, found) in wanted.iter().zip(&found) {
            largest = largest.max((wanted.log_probability - found.log_probability).abs());
            if wanted.id != found.id {
                break;
            }
            alike += 1;
        }
        println!("{name}: {alike} of {NUM_TOKENS} tokens alike, off by {largest:.1e} at most");
        assert!(largest <= bound, "{name}: {largest} is more than {bound}");
    }
}

fn tokens(model: &Model, plan: &Plan, prompt: &Prompt, kv_type: KvType) -> Vec<Token> {
    let engine = start(model, plan, kv_type);
    let request =
        Request { max_tokens: NUM_TOKENS, ignore_eos: true, ..Request::new(prompt.clone()) };
    let events = engine.submit(request).unwrap().map(Result::unwrap);
    let tokens = events.filter_map(|event| match event {
        Event::Text { tokens, .. } => Some(tokens),
        _ => None,
    });
    tokens.flatten().collect()
}
