//! `--workload FILE|WORDS`: the requests, and when they arrive.

mod file;
mod words;

use std::{num::NonZero, path::Path};

use anyhow::{anyhow, bail};
use sluicegate_core::simulate::{Constraint, Search, SimulatedRequest};
use sluicegate_placement::{Policy, Sequences};
use sluicegate_spec::units::TokenId;

use crate::{cli::PolicyArgs, counted::counted, error::CliError};

/// The most requests of a workload, and the most tokens of all of them.
const MAX_REQUESTS: usize = 100_000;
const MAX_TOKENS: usize = 200_000_000;
const MAX_ROWS: usize = 256;

/// One request of a workload.
#[derive(Debug, Clone, PartialEq)]
struct Arrival {
    arrival_s: f64,
    prompt_tokens: usize,
    output_tokens: usize,
    search: Search,
    is_constrained: bool,
    shared_prefix_tokens: usize,
    priority: i32,
}

/// Reads a workload for a model of `max_positions` positions.
///
/// # Errors
/// [`CliError::Usage`] with the word or the line.
pub(crate) fn read(
    workload: &str,
    max_positions: usize,
) -> Result<Vec<SimulatedRequest>, CliError> {
    let arrivals = if workload.contains('=') && !Path::new(workload).is_file() {
        words::parse(workload, max_positions)
    } else {
        file::read(Path::new(workload), max_positions)
    };
    let arrivals = arrivals.map_err(|error| CliError::usage_at("--workload", error))?;
    check_size(&arrivals).map_err(|error| CliError::usage_at("--workload", error))?;
    Ok((0..).zip(arrivals).map(|(index, arrival)| arrival.request(index)).collect())
}

/// Returns the policy for these requests: their mean lengths, unless the arguments set others, and
/// at most as many sequences as they have rows.
pub(crate) fn expected(requests: &[SimulatedRequest], args: &PolicyArgs, policy: Policy) -> Policy {
    let all_rows: usize = requests.iter().map(|it| it.search.num_rows()).sum();
    let mean = |length: fn(&SimulatedRequest) -> usize| {
        let sum: usize = requests.iter().map(|it| length(it) * it.search.num_rows()).sum();
        sum.div_ceil(all_rows.max(1))
    };
    let (prompt_tokens, output_tokens) = (mean(|it| it.prompt.len()), mean(|it| it.max_tokens));
    Policy {
        prompt_tokens: args.prompt_tokens.map_or(prompt_tokens, NonZero::get),
        output_tokens: args.output_tokens.map_or(output_tokens, NonZero::get),
        sequences: match policy.sequences {
            Sequences::UpTo(most) => Sequences::UpTo(most.min(all_rows)),
            exactly @ Sequences::Exactly(_) => exactly,
        },
        ..policy
    }
}

fn check_size(arrivals: &[Arrival]) -> anyhow::Result<()> {
    let tokens: usize = arrivals.iter().map(Arrival::num_tokens).sum();
    if arrivals.is_empty() {
        bail!("there are no requests");
    }
    if tokens > MAX_TOKENS {
        bail!("{tokens} tokens in all; wanted at most {MAX_TOKENS}");
    }
    Ok(())
}

impl Arrival {
    /// Checks what both forms of a workload must fulfil.
    fn check(self, max_positions: usize) -> anyhow::Result<Self> {
        let Self { arrival_s, prompt_tokens, output_tokens, shared_prefix_tokens, .. } = self;
        let rows = self.search.num_rows();
        if !arrival_s.is_finite() || arrival_s < 0.0 {
            bail!("arrival_s is {arrival_s}; wanted 0 or a number above it");
        }
        if prompt_tokens == 0 || output_tokens == 0 {
            bail!("wanted at least 1 token of prompt and 1 of output");
        }
        let tokens = prompt_tokens.saturating_add(output_tokens);
        if tokens > max_positions {
            bail!(
                "{} of prompt and output; the model's context is {max_positions}",
                counted(tokens, "token")
            );
        }
        if shared_prefix_tokens > prompt_tokens {
            bail!(
                "{} in a prompt of {prompt_tokens}",
                counted(shared_prefix_tokens, "shared token")
            );
        }
        if !(1..=MAX_ROWS).contains(&rows) {
            bail!("{rows} samples or beams; wanted 1 to {MAX_ROWS}");
        }
        Ok(self)
    }

    fn num_tokens(&self) -> usize {
        self.prompt_tokens + self.output_tokens * self.search.num_rows()
    }

    /// Makes request number `index`; its prompt is unique after the shared prefix.
    fn request(self, index: u32) -> SimulatedRequest {
        let shared = self.shared_prefix_tokens;
        let own = (0..self.prompt_tokens - shared)
            .map(|place| if place == 0 { OWN + index } else { OWN });
        let prompt = std::iter::repeat_n(SHARED, shared).chain(own).collect();
        SimulatedRequest {
            arrival_s: self.arrival_s,
            search: self.search,
            constraint: self.is_constrained.then(Constraint::default),
            seed: index.into(),
            priority: self.priority,
            ..SimulatedRequest::new(prompt, self.output_tokens)
        }
    }
}

/// Stand-ins for tokens; only their equality matters.
const SHARED: TokenId = 0;
const OWN: TokenId = 1;

/// Reads `samples` or `beams`, whichever is given.
fn search(samples: Option<usize>, beams: Option<usize>) -> anyhow::Result<Search> {
    match (samples, beams) {
        (Some(_), Some(_)) => Err(anyhow!("samples and beams exclude each other")),
        (samples, None) => Ok(Search::Samples(samples.unwrap_or(1))),
        (None, Some(beams)) => Ok(Search::Beams(beams)),
    }
}
