//! Numbers with nouns, in singular or plural.

use std::fmt::Display;

/// Formats `1 token`, `2 tokens`.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    counted_as(count, noun, &format!("{noun}s"))
}

/// As [`counted`], for nouns with an irregular plural.
pub(crate) fn counted_as(count: impl Display, one: &str, several: &str) -> String {
    let count = count.to_string();
    let noun = if count == "1" { one } else { several };
    format!("{count} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_not_several() {
        let requests = [0, 1, 2].map(|count| counted(count, "request")).join(", ");
        assert_eq!(requests, "0 requests, 1 request, 2 requests");
        assert_eq!(counted_as(1, "microbatch", "microbatches"), "1 microbatch");
    }
}
