//! Which tests run only where they are asked for, and the line that says one did not.
//!
//! `SLUICEGATE_SLOW` holds the names of what is wanted, with commas between them, or `all`. A test
//! that leaves something out says so on stderr, past the capture of its output, so that lines with
//! `skipped: ` can be counted.

use std::{env, fmt, io::Write, thread};

/// The one switch.
const SWITCH: &str = "SLUICEGATE_SLOW";
const ALL: &str = "all";

/// Why a test takes longer than most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    /// Something is fetched, once, beside the default model.
    Fetch,
    /// Thousands of requests.
    Soak,
    /// Every walk over every random schema.
    Walks,
    /// Very many random schedules.
    Schedules,
    /// Many instances that the planner's search does not solve exactly.
    Plans,
    /// All suites on emulated GPUs; `scripts/cuda-check` reads it.
    Gpus,
}

impl Slow {
    const EVERY: [Self; 6] =
        [Self::Fetch, Self::Soak, Self::Walks, Self::Schedules, Self::Plans, Self::Gpus];

    fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Soak => "soak",
            Self::Walks => "walks",
            Self::Schedules => "schedules",
            Self::Plans => "plans",
            Self::Gpus => "gpus",
        }
    }

    /// Whether what is slow for this reason shall run; if not, a line says `what` it would take.
    ///
    /// # Panics
    /// Where the switch holds a name that is none.
    pub fn is_wanted(self, what: &str) -> bool {
        let value = env::var(SWITCH).unwrap_or_default();
        let wanted = parse(&value).unwrap_or_else(|error| panic!("{SWITCH}: {error}"));
        let is_wanted = wanted.contains(&self);
        if !is_wanted {
            skip(format_args!("needs {SWITCH}={} ({what})", self.name()));
        }
        is_wanted
    }
}

/// Says that this test leaves something out, and why.
pub fn skip(why: impl fmt::Display) {
    let thread = thread::current();
    // Written past the test harness, which keeps what a test prints to itself if it passes.
    let line = format!("skipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    // Whoever closed stderr does not want to know.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn parse(value: &str) -> Result<Vec<Slow>, String> {
    let mut wanted = Vec::new();
    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == ALL {
            return Ok(Slow::EVERY.to_vec());
        }
        let found = Slow::EVERY.into_iter().find(|it| it.name() == name);
        wanted.push(found.ok_or_else(|| {
            let names = Slow::EVERY.map(Slow::name).join(", ");
            format!("wanted {names} or {ALL}, found {name}")
        })?);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: &[Slow]) {
        assert_eq!(parse(value).as_deref(), Ok(want), "{value}");
    }

    #[test]
    fn names_are_split_at_commas() {
        check("", &[]);
        check("soak", &[Slow::Soak]);
        check("fetch, walks,", &[Slow::Fetch, Slow::Walks]);
        check("soak,all", &Slow::EVERY);
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let want = "wanted fetch, soak, walks, schedules, plans, gpus or all, found 1";
        assert_eq!(parse("soak,1"), Err(want.to_owned()));
    }
}
