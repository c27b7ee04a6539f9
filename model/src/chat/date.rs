//! The current date in the formats that chat templates ask for, in UTC.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;

/// Formats a time by C's `strftime`, with the names of the C locale and the GNU flags and widths
/// that `jiff` supports. Unsupported parts (widths of names and of combined codes) are left as they
/// are. A fraction of a second (`%f`) has as many digits as needed, not Python's six.
pub(super) fn strftime(format: &str, time: Timestamp) -> String {
    let format = without_other_forms(format);
    let moment = BrokenDownTime::from(&time.to_zoned(TimeZone::UTC));
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    let mut text = String::new();
    match moment.format_with_config(&config, &format, &mut text) {
        Ok(()) => text,
        Err(_) => format,
    }
}

/// Removes modifiers for alternative dates and digits (`%Ey`, `%Od`): the C locale has none.
fn without_other_forms(format: &str) -> String {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        text.push('%');
        let style = behind.trim_start_matches(|c: char| c.is_ascii_digit() || "_-^#+".contains(c));
        text.push_str(&behind[..behind.len() - style.len()]);
        let code = style.strip_prefix(['E', 'O']).unwrap_or(style);
        let code = if code.starts_with(|c: char| c.is_ascii_alphabetic()) { code } else { style };
        // An escaped percent sign begins no code.
        let len = code.chars().next().map_or(0, char::len_utf8);
        text.push_str(&code[..len]);
        rest = &code[len..];
    }
    text.push_str(rest);
    text
}
