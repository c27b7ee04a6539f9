//! Tags that transformers adds to the template language.

/// Makes `{% generation %}` blocks inert. They mark what a model wrote, for training, and output
/// nothing. As in transformers, variables set inside stay inside.
pub(super) fn without_generation(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let len = match tag.as_bytes().get(1) {
            Some(b'#') => tag.find("#}").map(|end| end + 2),
            Some(b'{') => end_of_code(tag, "}}"),
            Some(b'%') => end_of_code(tag, "%}"),
            _ => Some(1),
        };
        // An unterminated tag is for the parser to refuse.
        let (tag, behind) = tag.split_at(len.unwrap_or(tag.len()));
        rest = behind;
        match name(tag) {
            Some("generation") => text.push_str(&tag.replacen("generation", "with", 1)),
            Some("endgeneration") => text.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            Some("raw") => {
                let (raw, behind) = rest.split_at(end_of_raw(rest));
                text.push_str(tag);
                text.push_str(raw);
                rest = behind;
            }
            _ => text.push_str(tag),
        }
    }
    text.push_str(rest);
    text
}

/// Returns the content of a one-word statement.
fn name(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
}

/// Returns the end of an expression or statement, ignoring its strings and dictionaries.
fn end_of_code(tag: &str, end: &str) -> Option<usize> {
    let bytes = tag.as_bytes();
    let mut depth = 0usize;
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            _ if depth == 0 && bytes[at..].starts_with(end.as_bytes()) => return Some(at + 2),
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the start of the statement that ends a raw block.
fn end_of_raw(text: &str) -> usize {
    let mut statements = text.match_indices("{%");
    let is_end = |(at, _): &(usize, &str)| {
        let tag = &text[*at..];
        tag.find("%}").is_some_and(|end| name(&tag[..end + 2]) == Some("endraw"))
    };
    statements.find(is_end).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, wanted: &str) {
        assert_eq!(without_generation(source), wanted);
    }

    #[test]
    fn only_generation_statements_change() {
        check(
            "a{%- generation -%}{{ x }}{%+endgeneration+%}b",
            "a{%- with -%}{{ x }}{%+endwith+%}b",
        );
        for same in [
            "generation {# {% generation %} #} { {%",
            "{{ '{% generation %}' ~ {'a': {'b': \"}}\"}} }}",
            "{% raw %}{% generation %}{{{% endraw %}",
            "{% if generation %}{{ generation }}{% endif %}",
            "{% set x = 'it\\'s {% generation %}' %}ü{",
            "{% raw %}{% generation %}",
            "{{ '\\",
        ] {
            check(same, same);
        }
    }
}
