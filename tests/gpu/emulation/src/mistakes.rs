//! Mistakes that a program does not make: at its n-th chance the library acts as if it had.
//!
//! A mistake that is made is said on the error output, and one for which there was no chance when
//! the process ends. What comes of it is found as it would be of a program with that mistake.

use std::{fmt, io::Write};

/// A mistake, made once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistake {
    pub kind: MistakeKind,
    /// At which chance, counted from one.
    pub at: u64,
}

/// What is done wrong; each says what counts as a chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MistakeKind {
    /// A stream does not wait for an event. Each `cuStreamWaitEvent` is a chance.
    MissingWait,
    /// Memory is freed on a stream that does not wait for work which uses it. Each pointer that work
    /// gets is a chance.
    EarlyFree,
    /// Work gets a pointer to memory of another device. Each pointer that it gets while another
    /// device has memory is a chance.
    OtherDevice,
    /// A thread makes no context current. Each thread that would is a chance.
    NoContext,
    /// A table of indices names what is not there. Each launch of a kernel that reads one is a
    /// chance.
    OutOfRange,
    /// A pinned buffer is written before a copy has read it. Each copy from one that is not done
    /// when it was asked for is a chance.
    PinnedReuse,
    /// A launch has too many threads, and its error is not read. Each launch is a chance.
    UnreadLaunch,
}

impl MistakeKind {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::MissingWait, "missing-wait"),
        (Self::EarlyFree, "early-free"),
        (Self::OtherDevice, "other-device"),
        (Self::NoContext, "no-context"),
        (Self::OutOfRange, "out-of-range"),
        (Self::PinnedReuse, "pinned-reuse"),
        (Self::UnreadLaunch, "unread-launch"),
    ];
}

impl fmt::Display for MistakeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::NAMES.iter().find(|(kind, _)| kind == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mistake={}@{}", self.kind, self.at)
    }
}

impl Mistake {
    /// Reads `early-free@40`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, at) = text.split_once('@')?;
        let (kind, _) = MistakeKind::NAMES.into_iter().find(|(_, known)| *known == name)?;
        let at = at.parse().ok().filter(|at| *at > 0)?;
        Some(Self { kind, at })
    }
}

/// The mistakes of a process, and how many chances there were for each.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    wanted: Vec<(Mistake, u64)>,
}

impl Mistakes {
    pub(crate) fn new(mistakes: &[Mistake]) -> Self {
        Self { wanted: mistakes.iter().map(|mistake| (*mistake, 0)).collect() }
    }

    pub(crate) fn has(&self, kind: MistakeKind) -> bool {
        self.wanted.iter().any(|(mistake, _)| mistake.kind == kind)
    }

    /// Takes a chance. If the mistake is to be made, says so with what is done.
    pub(crate) fn makes(&mut self, kind: MistakeKind, what: impl Fn() -> String) -> bool {
        let mut is_made = false;
        for (mistake, chances) in self.wanted.iter_mut().filter(|(it, _)| it.kind == kind) {
            *chances += 1;
            if *chances == mistake.at {
                say(&format!("{mistake}: {}", what()));
                is_made = true;
            }
        }
        is_made
    }

    /// Lines about mistakes that were not made.
    pub(crate) fn missed(&self) -> impl Iterator<Item = String> {
        let missed = self.wanted.iter().filter(|(mistake, chances)| *chances < mistake.at);
        missed.map(|(mistake, chances)| {
            let plural = if *chances == 1 { "" } else { "s" };
            format!("{mistake} was not made: it had {chances} chance{plural}")
        })
    }
}

/// Says something on the error output. One that is closed is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "emulated GPUs: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_made_once_and_one_without_a_chance_is_told() {
        let wanted = ["missing-wait@2", "early-free@3", "missing-wait@9"];
        let wanted = wanted.map(|text| Mistake::parse(text).unwrap());
        let mut mistakes = Mistakes::new(&wanted);
        let mut wait = || mistakes.makes(MistakeKind::MissingWait, String::new);
        assert_eq!([wait(), wait(), wait()], [false, true, false]);
        assert!(!mistakes.makes(MistakeKind::EarlyFree, String::new));
        let missed: Vec<String> = mistakes.missed().collect();
        let want = [
            "mistake=early-free@3 was not made: it had 1 chance",
            "mistake=missing-wait@9 was not made: it had 3 chances",
        ];
        assert_eq!(missed, want);
    }
}
