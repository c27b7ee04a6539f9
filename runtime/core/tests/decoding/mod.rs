//! A serving loop that decodes many sequences over several stages, which answer at once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use sluicegate_core::{
    messages::{
        Choice, GroupChoices, GroupSampling, MaskTimes, MicrobatchId, RequestId, Sampled,
        SamplingParams, StageTimes, Token,
    },
    scheduler::{OrderBounds, SchedulerConfig},
    serve::{Action, Admitted, Input, Limits, Serve, ServeConfig},
};
use sluicegate_spec::{
    config::KvGroup,
    kv::PAGE_TOKENS,
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

const STAGES: usize = 4;
const VOCAB: TokenId = 1_000;
const PROMPT_TOKENS: TokenId = 32;

pub(crate) struct Decoding {
    serve: Serve,
    actions: Vec<Action>,
    /// What the last stage samples, batch by batch.
    in_flight: VecDeque<(MicrobatchId, Vec<GroupSampling>)>,
    now: Duration,
}

impl Decoding {
    /// So many greedy requests for free text of `max_tokens` tokens, none of which ends before.
    pub(crate) fn new(sequences: u32, max_tokens: usize) -> Self {
        let pages =
            sequences as usize * (max_tokens + PROMPT_TOKENS as usize).div_ceil(PAGE_TOKENS);
        let scheduler = SchedulerConfig {
            kv_groups: vec![KvGroup::Full],
            pages_per_group: vec![pages],
            num_stages: STAGES,
            max_in_flight: STAGES + 1,
            max_rows: usize::MAX,
            rows_per_microbatch: usize::MAX,
            reckons_ahead: true,
            token_budget: 4_096,
            least_chunk: usize::MAX,
            attention_cost: 0.0,
            shares_prefixes: true,
        };
        let letter = |id: TokenId| TokenBytes::Text(vec![b'a' + (id % 26) as u8]);
        let mut serve = Serve::new(ServeConfig {
            scheduler,
            max_depth: None,
            bounds: OrderBounds {
                vocab: VOCAB as usize,
                max_positions: 1 << 20,
                pages_per_group: vec![pages],
            },
            limits: Limits::default(),
            vocabulary: TokenTable::from((0..VOCAB).map(letter).collect::<Vec<_>>()),
        });
        let mut actions = Vec::new();
        let params = Arc::new(SamplingParams::greedy(Vec::new()));
        for number in 0..sequences {
            let prompt = (0..PROMPT_TOKENS).map(|index| (number * 31 + index) % VOCAB).collect();
            let admitted = Admitted {
                prompts: vec![prompt],
                is_constrained: false,
                params: Arc::clone(&params),
                samples: 1,
                max_tokens,
                stop: Vec::new(),
                keeps_tokens: false,
                length_penalty: 0.0,
                seed: 0,
                priority: 0,
            };
            let request = RequestId(u64::from(number) + 1);
            let input = Input::Submitted { request, admitted: Arc::new(admitted) };
            serve.on(Duration::ZERO, input, &mut actions);
        }
        let mut decoding = Self { serve, actions, in_flight: VecDeque::new(), now: Duration::ZERO };
        decoding.obey();
        decoding
    }

    /// Lets the oldest microbatch come back; returns how many rows were sampled, none at the end.
    pub(crate) fn step(&mut self) -> Option<usize> {
        let (microbatch, sampled) = self.in_flight.pop_front()?;
        let token = || Token { log_probability: -1.0, ..Token::certain(7) };
        let choice = || Choice::new(0, token());
        let groups = sampled
            .iter()
            .map(|sampled| GroupChoices { group: sampled.group, choices: Ok(vec![choice()]) });
        let groups: Vec<GroupChoices> = groups.collect();
        let rows = groups.len();
        self.now += Duration::from_millis(1);
        let ended = Duration::from_millis(1);
        let times = vec![Some(StageTimes { ended, ..StageTimes::default() }); STAGES];
        let sampled = Sampled { microbatch, groups, times, mask_times: MaskTimes::default() };
        self.serve.on(self.now, Input::Sampled(sampled), &mut self.actions);
        self.obey();
        Some(rows)
    }

    fn obey(&mut self) {
        for action in self.actions.drain(..) {
            if let Action::Send(batch) = action {
                self.in_flight.push_back((batch.microbatch, batch.sampling));
            }
        }
    }
}
