//! Reads a workload from JSON lines.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Arrival, MAX_REQUESTS, search};

const MAX_BYTES: u64 = 64 << 20;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    arrival_s: f64,
    prompt_tokens: usize,
    output_tokens: usize,
    samples: Option<usize>,
    beams: Option<usize>,
    #[serde(default)]
    constrained: bool,
    #[serde(default)]
    shared_prefix_tokens: usize,
    #[serde(default)]
    priority: i32,
}

pub(super) fn read(path: &Path, max_positions: usize) -> anyhow::Result<Vec<Arrival>> {
    let name = path.display();
    let mut text = String::new();
    let file = File::open(path).with_context(|| {
        format!("{name}: neither a file nor words such as `rate=4/s prompt=512 output=128 n=200`")
    })?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).with_context(|| name.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{name}: wanted a file of at most {MAX_BYTES} bytes");
    }
    parse(&text, max_positions).with_context(|| name.to_string())
}

fn parse(text: &str, max_positions: usize) -> anyhow::Result<Vec<Arrival>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let mut arrivals = Vec::new();
    for (number, line) in lines {
        if arrivals.len() == MAX_REQUESTS {
            bail!("line {number}: wanted at most {MAX_REQUESTS} requests");
        }
        let read = parse_line(line).and_then(|arrival| arrival.check(max_positions));
        arrivals.push(read.with_context(|| format!("line {number}"))?);
    }
    Ok(arrivals)
}

fn parse_line(line: &str) -> anyhow::Result<Arrival> {
    let line: Line = serde_json::from_str(line)?;
    Ok(Arrival {
        arrival_s: line.arrival_s,
        prompt_tokens: line.prompt_tokens,
        output_tokens: line.output_tokens,
        search: search(line.samples, line.beams)?,
        is_constrained: line.constrained,
        shared_prefix_tokens: line.shared_prefix_tokens,
        priority: line.priority,
    })
}

#[cfg(test)]
mod tests {
    use sluicegate_core::simulate::Search;

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, want: &str) {
        let error = format!("{:#}", parse(text, 100).unwrap_err());
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn lines_are_requests() {
        let text = "{\"prompt_tokens\": 9, \"output_tokens\": 5}\n\n\
            {\"arrival_s\": 1.5, \"prompt_tokens\": 9, \"output_tokens\": 5, \"beams\": 4, \
            \"constrained\": true, \"shared_prefix_tokens\": 3, \"priority\": -1}\n";
        let arrivals = parse(text, 100).unwrap();
        assert_eq!(arrivals.len(), 2);
        assert_eq!(
            (arrivals[0].search, arrivals[1].search),
            (Search::Samples(1), Search::Beams(4))
        );
        assert!(arrivals[1].is_constrained && arrivals[1].priority == -1);
    }

    #[test]
    fn wrong_lines_are_refused_by_their_number() {
        let good = "{\"prompt_tokens\": 9, \"output_tokens\": 5}\n";
        check_refused(&format!("{good}x"), "line 2: expected value");
        check_refused(&format!("{good}\n{{\"prompt_tokens\": 9}}"), "line 3: missing field");
        let with = |more: &str| format!("{good}{{\"prompt_tokens\":9,\"output_tokens\":5,{more}}}");
        check_refused(&with("\"x\":1"), "line 2: unknown field `x`");
        check_refused(&with("\"arrival_s\":-1"), "line 2: arrival_s is -1; wanted 0 or");
        check_refused(&with("\"samples\":2,\"beams\":2"), "line 2: samples and beams exclude");
        check_refused(&with("\"samples\":0"), "line 2: 0 samples or beams; wanted 1 to 256");
        check_refused(&with("\"shared_prefix_tokens\":10"), "10 shared tokens in a prompt of 9");
        check_refused(
            "{\"prompt_tokens\":90,\"output_tokens\":11}",
            "line 1: 101 tokens of prompt and output; the model's context is 100",
        );
        check_refused("{\"prompt_tokens\":0,\"output_tokens\":1}", "wanted at least 1 token");
    }
}
