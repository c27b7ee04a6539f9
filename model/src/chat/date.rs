//! Today's date in the formats that chat templates ask for, in UTC.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

const DAY_SECONDS: u64 = 86_400;
const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A day of the Gregorian calendar.
#[derive(Debug, PartialEq, Eq)]
struct Day {
    year: u64,
    /// From zero.
    month: usize,
    in_month: u64,
}

impl Day {
    fn since_epoch(num_days: u64) -> Self {
        let is_leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let mut rest = num_days;
        let mut year = 1970;
        while rest >= 365 + u64::from(is_leap(year)) {
            rest -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let february = 28 + u64::from(is_leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while rest >= lengths[month] {
            rest -= lengths[month];
            month += 1;
        }
        Self { year, month, in_month: rest + 1 }
    }
}

/// Writes a time by a format of C's `strftime`; what is not known is left as it stands.
pub(super) fn strftime(format: &str, time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (num_days, in_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let Day { year, month, in_month: day } = Day::since_epoch(num_days);
    let weekday = DAYS[usize::try_from(num_days % 7).unwrap_or(0)];
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let written = match characters.next() {
            Some('Y') => write!(text, "{year}"),
            Some('y') => write!(text, "{:02}", year % 100),
            Some('m') => write!(text, "{:02}", month + 1),
            Some('B') => write!(text, "{}", MONTHS[month]),
            Some('b') => write!(text, "{}", &MONTHS[month][..3]),
            Some('d') => write!(text, "{day:02}"),
            Some('e') => write!(text, "{day:2}"),
            Some('A') => write!(text, "{weekday}"),
            Some('a') => write!(text, "{}", &weekday[..3]),
            Some('H') => write!(text, "{hour:02}"),
            Some('M') => write!(text, "{minute:02}"),
            Some('S') => write!(text, "{second:02}"),
            Some('F') => write!(text, "{year}-{:02}-{day:02}", month + 1),
            Some('T') => write!(text, "{hour:02}:{minute:02}:{second:02}"),
            Some('%') | None => write!(text, "%"),
            Some(other) => write!(text, "%{other}"),
        };
        written.expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(seconds: u64, format: &str, wanted: &str) {
        assert_eq!(strftime(format, UNIX_EPOCH + Duration::from_secs(seconds)), wanted);
    }

    #[test]
    fn dates_are_written_as_strftime_does() {
        check(0, "%A %d %B %Y", "Thursday 01 January 1970");
        check(951_782_400, "%F %a", "2000-02-29 Tue");
        check(1_721_952_000, "%d %b %Y", "26 Jul 2024");
        check(4_107_542_400, "%d %b %y %T %%", "01 Mar 00 00:00:00 %");
        check(1_735_689_599, "%e. %m %H:%M:%S %q", "31. 12 23:59:59 %q");
    }
}
