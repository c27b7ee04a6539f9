//! Today's date in the formats that chat templates ask for, in UTC.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;

/// Writes a time by a format of C's `strftime`, with the names of the C locale and the flags and
/// widths that `jiff` knows of the GNU library's. What it does not know is left as it stands: other
/// forms (`%E`, `%O`), and widths of names and of several codes in one. A fraction of a second (`%f`)
/// has as many digits as it needs, and not the six of Python's.
pub(super) fn strftime(format: &str, time: Timestamp) -> String {
    let moment = BrokenDownTime::from(&time.to_zoned(TimeZone::UTC));
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    let mut text = String::new();
    match moment.format_with_config(&config, format, &mut text) {
        Ok(()) => text,
        Err(_) => format.to_owned(),
    }
}
