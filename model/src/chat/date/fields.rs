//! The parts of a date, and which of them a code of `strftime` names.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
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

/// A second of the Gregorian calendar.
#[derive(Debug)]
pub(super) struct Moment {
    seconds: u64,
    microseconds: u32,
    year: u64,
    /// From zero.
    month: usize,
    /// From one.
    day: u64,
    /// From zero.
    day_of_year: u64,
    /// From zero, which is a Sunday.
    weekday: usize,
}

/// What a code stands for.
#[derive(Debug)]
pub(super) enum Field {
    Number {
        value: u64,
        width: usize,
        pad: char,
    },
    Text(String),
    /// Of which a swap of cases makes small letters.
    HalfDay(&'static str),
    /// Codes in a row.
    Several(&'static str),
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

impl Moment {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let num_days = since.as_secs() / DAY_SECONDS;
        let mut rest = num_days;
        let mut year = 1970;
        while rest >= 365 + u64::from(is_leap(year)) {
            rest -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let day_of_year = rest;
        let february = 28 + u64::from(is_leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while rest >= lengths[month] {
            rest -= lengths[month];
            month += 1;
        }
        Self {
            seconds: since.as_secs(),
            microseconds: since.subsec_micros(),
            year,
            month,
            day: rest + 1,
            day_of_year,
            // The first day of all was a Thursday.
            weekday: usize::try_from((num_days + 4) % 7).unwrap_or(0),
        }
    }

    /// What a code stands for at this moment; `None` if there is no such code.
    pub(super) fn field(&self, code: char) -> Option<Field> {
        let in_day = self.seconds % DAY_SECONDS;
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        let hour_of_half = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        let two = |value| Field::Number { value, width: 2, pad: '0' };
        let column = |value| Field::Number { value, width: 2, pad: ' ' };
        let plain = |value| Field::Number { value, width: 1, pad: '0' };
        let text = |text: &str| Field::Text(text.to_owned());
        let (day_name, month_name) = (DAYS[self.weekday], MONTHS[self.month]);
        let (week_year, week) = self.iso_week();
        Some(match code {
            'a' => text(&day_name[..3]),
            'A' => text(day_name),
            'b' | 'h' => text(&month_name[..3]),
            'B' => text(month_name),
            'c' => Field::Several("%a %b %e %H:%M:%S %Y"),
            'C' => two(self.year / 100),
            'd' => two(self.day),
            'D' | 'x' => Field::Several("%m/%d/%y"),
            'e' => column(self.day),
            'f' => Field::Number { value: self.microseconds.into(), width: 6, pad: '0' },
            'F' => Field::Several("%Y-%m-%d"),
            'g' => two(week_year % 100),
            'G' => plain(week_year),
            'H' => two(hour),
            'I' => two(hour_of_half),
            'j' => Field::Number { value: self.day_of_year + 1, width: 3, pad: '0' },
            'k' => column(hour),
            'l' => column(hour_of_half),
            'm' => two(self.month as u64 + 1),
            'M' => two(minute),
            'n' => text("\n"),
            'p' => Field::HalfDay(if hour < 12 { "AM" } else { "PM" }),
            'P' => text(if hour < 12 { "am" } else { "pm" }),
            'r' => Field::Several("%I:%M:%S %p"),
            'R' => Field::Several("%H:%M"),
            's' => plain(self.seconds),
            'S' => two(second),
            't' => text("\t"),
            'T' | 'X' => Field::Several("%H:%M:%S"),
            'u' => plain(self.since_monday() + 1),
            'U' => two((self.day_of_year + 7 - self.weekday as u64) / 7),
            'V' => two(week),
            'w' => plain(self.weekday as u64),
            'W' => two((self.day_of_year + 7 - self.since_monday()) / 7),
            'y' => two(self.year % 100),
            'Y' => plain(self.year),
            'z' => text("+0000"),
            'Z' => Field::HalfDay("UTC"),
            '%' => text("%"),
            _ => return None,
        })
    }

    fn since_monday(&self) -> u64 {
        (self.weekday as u64 + 6) % 7
    }

    /// Year and number of the week, by ISO 8601: a week belongs to the year of its Thursday.
    fn iso_week(&self) -> (u64, u64) {
        // Counted so that nothing is below zero: the week of the first days may be the last year's.
        let week = (self.day_of_year + 10 - self.since_monday()) / 7;
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            _ if week > weeks(self.year) => (self.year + 1, 1),
            _ => (self.year, week),
        }
    }
}

/// Weeks of a year: 53 if it begins or ends on a Thursday.
fn weeks(year: u64) -> u64 {
    let last_weekday = |year: u64| (year + year / 4 - year / 100 + year / 400) % 7;
    52 + u64::from(last_weekday(year) == 4 || last_weekday(year - 1) == 3)
}
