//! Names as people write them, and the nearest known name for a typo.

use std::{cmp::Reverse, fmt};

/// The longest name compared letter by letter; a longer one resembles none.
const MAX_COMPARED: usize = 40;
/// The longest foreign text that a message quotes.
const MAX_SHOWN: usize = 40;

/// A name without case, spaces, hyphens and brand names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(name: &str) -> Self {
        let letters = name.chars().filter(|it| !matches!(it, ' ' | '\t' | '-' | '_'));
        Self(letters.take(MAX_COMPARED + 1).flat_map(char::to_lowercase).collect())
    }

    pub(super) fn of_device(name: &str) -> Self {
        let Self(mut key) = Self::of(name);
        for brand in ["nvidia", "tesla", "geforce"] {
            if let Some(rest) = key.strip_prefix(brand) {
                key = rest.to_owned();
            }
        }
        Self(key)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        *self == Self::of(name)
    }

    /// Returns the known name with the fewest differing letters, if at most a third differ. Ties go
    /// to the longest common prefix.
    pub(super) fn nearest(&self, known: &[&'static str]) -> Nearest {
        let distance = |name: &str| strsim::osa_distance(&self.0, &Self::of(name).0);
        let differing = |name: &str| {
            let same = self.0.chars().zip(name.chars()).take_while(|(one, other)| one == other);
            Reverse(same.count())
        };
        let limit = (self.0.len() / 3).max(1);
        let near = known.iter().filter(|_| self.0.len() <= MAX_COMPARED);
        match near.map(|name| (distance(name), differing(name), *name)).min() {
            Some((found, _, name)) if found <= limit => Nearest::One(name),
            _ => Nearest::None(known.to_vec()),
        }
    }
}

/// What an unknown name may have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nearest {
    One(&'static str),
    /// Nothing resembles it; these names are known.
    None(Vec<&'static str>),
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => write!(f, "the nearest is `{name}`"),
            Self::None(known) => write!(f, "known are {}", known.join(", ")),
        }
    }
}

/// Shortens foreign text to one line, for messages.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_the_nearest_name() {
        #[track_caller]
        fn check(name: &str, want: &str) {
            let known = ["h100", "rtx4090", "rtx3090", "t4"];
            assert_eq!(Key::of_device(name).nearest(&known).to_string(), want);
        }
        check("h10", "the nearest is `h100`");
        check("rtx 490", "the nearest is `rtx4090`");
        check("GeForce RTX 4080", "the nearest is `rtx4090`");
        check("banana", "known are h100, rtx4090, rtx3090, t4");
        check("", "known are h100, rtx4090, rtx3090, t4");
        check(&"h".repeat(1 << 20), "known are h100, rtx4090, rtx3090, t4");
    }

    #[test]
    fn quoted_text_is_short_and_on_one_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
