//! Today's date in the formats that chat templates ask for, in UTC.

mod fields;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use fields::{Field, Moment};

/// Longest field that a format may ask for: enough for a column, too little to fill the memory.
const MAX_WIDTH: usize = 1024;

/// Writes a time by a format of C's `strftime`, with the flags, widths and codes of the GNU library
/// and Python's `%f`. What is not known is left as it stands.
///
/// Source: the manual of glibc, "Formatting Calendar Time"; names are those of the C locale.
pub(super) fn strftime(format: &str, time: SystemTime) -> String {
    written(format, &Moment::of(time), false)
}

fn written(format: &str, moment: &Moment, is_upper: bool) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some((plain, behind)) = rest.split_once('%') {
        text.push_str(plain);
        let (style, code, behind) = Style::read(behind);
        rest = behind;
        let field = code.and_then(|code| moment.field(code));
        let style = Style { is_upper: style.is_upper || is_upper, ..style };
        if let Some(field) = field {
            text.push_str(&style.apply(&field, moment));
        } else {
            text.push('%');
            text.push_str(style.raw);
            text.extend(code);
        }
    }
    text.push_str(rest);
    text
}

/// What may stand between `%` and a code.
#[derive(Debug, Clone, Copy, Default)]
struct Style<'a> {
    raw: &'a str,
    /// What fills a field instead of its usual filling; after a minus, it fills but a width given.
    pad: Option<char>,
    is_upper: bool,
    swaps_case: bool,
    width: Option<usize>,
}

impl<'a> Style<'a> {
    /// Reads a style and the code behind it; returns what is left, too.
    fn read(text: &'a str) -> (Self, Option<char>, &'a str) {
        let mut style = Self::default();
        let flags = text.len() - text.trim_start_matches(['_', '-', '0', '^', '#', '+']).len();
        for flag in text[..flags].chars() {
            match flag {
                '^' => style.is_upper = true,
                '#' => style.swaps_case = true,
                // Years of more than four digits are far off, so that a plus sign is never written.
                '+' => style.pad = Some('0'),
                pad => style.pad = Some(pad),
            }
        }
        let behind = text[flags..].trim_start_matches(|digit: char| digit.is_ascii_digit());
        let digits = &text[flags..text.len() - behind.len()];
        style.width = (!digits.is_empty()).then(|| digits.parse().unwrap_or(MAX_WIDTH));
        // Other forms of dates and digits, which the C locale does not have.
        let behind = behind.strip_prefix(['E', 'O']).unwrap_or(behind);
        style.raw = &text[..text.len() - behind.len()];
        let mut characters = behind.chars();
        let code = characters.next();
        (style, code, characters.as_str())
    }

    fn apply(self, field: &Field, moment: &Moment) -> String {
        let (text, usual_width, usual_pad) = match field {
            Field::Number { value, width, pad } => (value.to_string(), *width, *pad),
            Field::Text(text) => (self.in_case(text, true), 0, ' '),
            Field::HalfDay(text) => (self.in_case(text, false), 0, ' '),
            Field::Several(format) => (written(format, moment, self.is_upper), 0, ' '),
        };
        let pad = self.pad.unwrap_or(usual_pad);
        let usual_width = if pad == '-' { 0 } else { usual_width };
        let width = self.width.unwrap_or(usual_width).min(MAX_WIDTH);
        let missing = width.saturating_sub(text.chars().count());
        let filling = if pad == '0' { '0' } else { ' ' };
        std::iter::repeat_n(filling, missing).chain(text.chars()).collect()
    }

    /// A swap makes names upper case, and what is upper case already lower.
    fn in_case(self, text: &str, swaps_to_upper: bool) -> String {
        match (self.swaps_case, self.is_upper) {
            (true, _) if !swaps_to_upper => text.to_lowercase(),
            (true, _) | (false, true) => text.to_uppercase(),
            (false, false) => text.to_owned(),
        }
    }
}
