//! Reads a workload in words: `rate=4/s prompt=512 output=128 n=200`.

use anyhow::{Context, anyhow, bail};

use super::{Arrival, MAX_REQUESTS, search};

const KNOWN: &str = "rate, prompt, output, n, samples, beams, constrained, shared, seed";

#[derive(Debug, Default)]
struct Words {
    /// Requests per second; `None` if all come at once.
    rate: Option<f64>,
    prompt: Option<usize>,
    output: Option<usize>,
    n: Option<usize>,
    samples: Option<usize>,
    beams: Option<usize>,
    /// Share of the requests.
    constrained: f64,
    shared: usize,
    seed: u64,
}

pub(super) fn parse(text: &str, max_positions: usize) -> anyhow::Result<Vec<Arrival>> {
    let mut words = Words::default();
    for word in text.split_whitespace() {
        words.set(word).with_context(|| format!("`{word}`"))?;
    }
    let missing = |name| anyhow!("`{name}=N` is missing; known are {KNOWN}");
    let prompt_tokens = words.prompt.ok_or_else(|| missing("prompt"))?;
    let output_tokens = words.output.ok_or_else(|| missing("output"))?;
    let num_requests = words.n.ok_or_else(|| missing("n"))?;
    if num_requests > MAX_REQUESTS {
        bail!("n={num_requests}; wanted at most {MAX_REQUESTS} requests");
    }
    let search = search(words.samples, words.beams)?;
    let mut random = Random(words.seed);
    let mut arrival_s = 0.0;
    let mut arrivals = Vec::with_capacity(num_requests);
    for _ in 0..num_requests {
        let is_constrained = random.share() < words.constrained;
        // The gaps of a Poisson process, by inversion.
        arrival_s += words.rate.map_or(0.0, |rate| -(1.0 - random.share()).ln() / rate);
        let arrival = Arrival {
            arrival_s,
            prompt_tokens,
            output_tokens,
            search,
            is_constrained,
            shared_prefix_tokens: words.shared,
            priority: 0,
        };
        arrivals.push(arrival.check(max_positions)?);
    }
    Ok(arrivals)
}

impl Words {
    fn set(&mut self, word: &str) -> anyhow::Result<()> {
        let unknown = || anyhow!("wanted NAME=VALUE; known are {KNOWN}");
        let (name, value) = word.split_once('=').ok_or_else(unknown)?;
        match name {
            "rate" => self.rate = Some(rate(value)?),
            "prompt" => self.prompt = Some(count(value)?),
            "output" => self.output = Some(count(value)?),
            "n" => self.n = Some(count(value)?),
            "samples" => self.samples = Some(count(value)?),
            "beams" => self.beams = Some(count(value)?),
            "shared" => self.shared = value.parse().context("wanted a number of tokens")?,
            "seed" => self.seed = value.parse().context("wanted a whole number of at least 0")?,
            "constrained" => {
                let share = value.parse().ok().filter(|it| (0.0..=1.0).contains(it));
                self.constrained = share.context("wanted a share from 0 to 1")?;
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

fn count(value: &str) -> anyhow::Result<usize> {
    value.parse().ok().filter(|it| *it > 0).context("wanted a whole number of at least 1")
}

fn rate(value: &str) -> anyhow::Result<f64> {
    let (number, seconds) = match value.split_once('/') {
        None | Some((_, "s")) => (value.trim_end_matches("/s"), 1.0),
        Some((number, "min")) => (number, 60.0),
        Some(_) => bail!("wanted N/s or N/min"),
    };
    let number: Option<f64> = number.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
    Ok(number.context("wanted N/s or N/min, above 0")? / seconds)
}

/// `SplitMix64`: the same seed gives the same arrivals everywhere.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), figure
/// 16.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let once = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        twice ^ (twice >> 31)
    }

    /// Draws from 0 up to, but not including, 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_core::simulate::Search;

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, want: &str) {
        let error = format!("{:#}", parse(text, 1_000).unwrap_err());
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn arrivals_are_poisson_and_come_again_with_their_seed() {
        let parse = |text: &str| parse(text, 1_000).unwrap();
        let text = "rate=120/min prompt=512 output=128 n=4000 constrained=0.25 shared=64 beams=2";
        let arrivals = parse(text);
        assert_eq!(arrivals, parse(text));
        assert_ne!(arrivals, parse(&format!("{text} seed=1")));
        let last_s = arrivals[3_999].arrival_s;
        assert!((1_900.0..2_100.0).contains(&last_s), "4,000 requests at 2 a second: {last_s}");
        let gaps = arrivals.windows(2).map(|pair| pair[1].arrival_s - pair[0].arrival_s);
        let short = gaps.filter(|gap| *gap < 0.5 * std::f64::consts::LN_2).count();
        assert!((1_900..2_100).contains(&short), "half of the gaps are below ln 2 / rate: {short}");
        let constrained = arrivals.iter().filter(|it| it.is_constrained).count();
        assert!((900..1_100).contains(&constrained), "{constrained}");
        assert_eq!((arrivals[0].search, arrivals[0].shared_prefix_tokens), (Search::Beams(2), 64));
        let at_once = parse("prompt=5 output=5 n=3 samples=4");
        assert!(at_once.iter().all(|it| it.arrival_s == 0.0 && it.search == Search::Samples(4)));
    }

    #[test]
    fn wrong_words_are_refused_by_name() {
        check_refused("prompt=5 output=5", "`n=N` is missing");
        check_refused("prompt=5 output=5 n=0", "`n=0`: wanted a whole number of at least 1");
        check_refused("prompt=5 output=5 n=200000", "wanted at most 100000 requests");
        check_refused("rate=4/h prompt=5 output=5 n=1", "`rate=4/h`: wanted N/s or N/min");
        check_refused("rate=-4 prompt=5 output=5 n=1", "`rate=-4`: wanted N/s or N/min, above 0");
        check_refused("speed=4", "`speed=4`: wanted NAME=VALUE; known are rate,");
        check_refused("constrained=2", "`constrained=2`: wanted a share from 0 to 1");
        check_refused("prompt=5 output=5 n=1 samples=2 beams=2", "exclude each other");
        check_refused("prompt=900 output=200 n=1", "1100 tokens of prompt and output");
        check_refused("prompt=5 output=5 n=1 shared=6", "6 shared tokens in a prompt of 5");
    }
}
