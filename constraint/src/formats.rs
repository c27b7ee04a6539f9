//! Regexes of typed texts: dates, numbers, addresses. A table; compiles nothing.
//!
//! Each regex matches whole texts. The syntax is that of [`crate::Spec::Regex`], without Unicode
//! classes or look-around. Where a regex cannot express a rule exactly, it is stricter: every text
//! that matches is valid by the cited source, and the comment says which valid ones do not match.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::error::UnknownFormat;

/// The most bytes that the shortest finish of a typed text needs, from any prefix of it.
pub(crate) const FINISH_BYTES: usize = 120;

/// The type of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A whole number of up to 18 digits, which fits 64 bits; no leading zero, no `-0`.
    Int,
    /// A decimal number of up to 16 digits before and after the point, with an optional exponent
    /// of up to two digits. Source: RFC 8259, section 6.
    Float,
    /// `true` or `false`.
    Bool,
    /// A date that exists, `YYYY-MM-DD`. Source: RFC 3339, `full-date`.
    Date,
    /// A time of day, `HH:MM:SS`. Source: RFC 3339, `partial-time` without fractions.
    Time,
    /// A date and time, `YYYY-MM-DDTHH:MM:SS`, with an optional fraction and with `Z` or an offset.
    /// Source: RFC 3339, `date-time` in capitals, without leap seconds.
    DateTime,
    /// 32 hexadecimal digits in five groups. Source: RFC 9562, section 4.
    Uuid,
    /// A mailbox at a domain with at least one dot. Source: RFC 5321, `Dot-string "@" Domain`.
    Email,
    /// Four numbers of 0 to 255. Source: RFC 2673, section 3.2.
    Ipv4,
    /// Groups of hexadecimal digits, `::` and a trailing IPv4 address included. Source: RFC 4291,
    /// section 2.2.
    Ipv6,
    /// A URI with a scheme. Source: RFC 3986, `URI`.
    Uri,
}

impl Format {
    /// All formats, in the order in which they are declared.
    pub const ALL: [Self; 11] = [
        Self::Int,
        Self::Float,
        Self::Bool,
        Self::Date,
        Self::Time,
        Self::DateTime,
        Self::Uuid,
        Self::Email,
        Self::Ipv4,
        Self::Ipv6,
        Self::Uri,
    ];

    /// Returns the format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Time => "time",
            Self::DateTime => "datetime",
            Self::Uuid => "uuid",
            Self::Email => "email",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uri => "uri",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Reads a format's name or its JSON Schema equivalent: `integer`, `number`, `boolean`,
    /// `date-time`.
    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = match name {
            "integer" => "int",
            "number" => "float",
            "boolean" => "bool",
            "date-time" => "datetime",
            other => other,
        };
        let found = Self::ALL.into_iter().find(|format| format.name() == known);
        found.ok_or_else(|| UnknownFormat { name: name.to_string() })
    }
}

/// Returns the regex of a format.
pub(crate) fn regex(format: Format) -> &'static str {
    match format {
        Format::Int => "0|-?[1-9][0-9]{0,17}",
        Format::Float => r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,16})?(?:[eE][+-]?[0-9]{1,2})?",
        Format::Bool => "true|false",
        Format::Date => &DATE,
        Format::Time => TIME_OF_DAY,
        Format::DateTime => &PLAIN_DATE_TIME,
        Format::Uuid => UUID,
        Format::Email => &PLAIN_EMAIL,
        Format::Ipv4 => &IPV4,
        Format::Ipv6 => &IPV6,
        Format::Uri => &URI,
    }
}

/// Returns the regex of a JSON Schema `format`, if there is one that matches nothing invalid.
pub(crate) fn json_format(name: &str) -> Option<&'static str> {
    Some(match name {
        "date" => &DATE,
        "time" => &TIME,
        "date-time" => &DATE_TIME,
        "duration" => &DURATION,
        "uuid" => UUID,
        "ipv4" => &IPV4,
        "ipv6" => &IPV6,
        "hostname" => &HOSTNAME,
        "email" => &EMAIL,
        "uri" => &URI,
        "uri-template" => &URI_TEMPLATE,
        "idn-hostname" => &IDN_HOSTNAME,
        "idn-email" => &IDN_EMAIL,
        _ => return None,
    })
}

/// RFC 3339, `full-date`: with the months' lengths, and leap years by the Gregorian rule.
static DATE: LazyLock<String> = LazyLock::new(|| {
    let long = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])";
    let short = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)";
    let february = "02-(?:0[1-9]|1[0-9]|2[0-8])";
    let leap = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
    format!("(?:[0-9]{{4}}-(?:{long}|{short}|{february})|{leap}-02-29)")
});

const TIME_OF_DAY: &str = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]";
/// Fractions of a second. The standard sets no bound; twelve digits allow picoseconds.
const FRACTION: &str = r"(?:\.[0-9]{1,12})?";
const OFFSET: &str = "[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]";

/// RFC 3339, `full-time`. A leap second is allowed only at 23:59:60 UTC, and only at offsets of
/// whole hours and of 30 and 45 minutes, the ones in use.
static TIME: LazyLock<String> = LazyLock::new(|| {
    let leap = leap_seconds().join("|");
    format!("(?:{TIME_OF_DAY}{FRACTION}(?:[Zz]|{OFFSET})|{leap})")
});

/// RFC 3339, `date-time`, lower case included.
static DATE_TIME: LazyLock<String> = LazyLock::new(|| format!("{}[Tt]{}", *DATE, *TIME));

static PLAIN_DATE_TIME: LazyLock<String> =
    LazyLock::new(|| format!(r"{}T{TIME_OF_DAY}(?:\.[0-9]{{1,9}})?(?:Z|{OFFSET})", *DATE));

/// Returns each local time at which UTC may have a leap second, with its offset.
fn leap_seconds() -> Vec<String> {
    let mut out = vec![format!("23:59:60{FRACTION}[Zz]")];
    for (sign, direction) in [(r"\+", 1_i32), ("-", -1)] {
        for hour in 0..24 {
            for minute in [0, 30, 45] {
                let local = (23 * 60 + 59 + direction * (hour * 60 + minute)).rem_euclid(24 * 60);
                let (local_hour, local_minute) = (local / 60, local % 60);
                out.push(format!(
                    "{local_hour:02}:{local_minute:02}:60{FRACTION}{sign}{hour:02}:{minute:02}"
                ));
            }
        }
    }
    out
}

/// RFC 3339, appendix A, `duration`, with up to ten digits in each number.
static DURATION: LazyLock<String> = LazyLock::new(|| {
    let n = "[0-9]{1,10}";
    let minute = format!("{n}M(?:{n}S)?");
    let time = format!("T(?:{n}H(?:{minute})?|{minute}|{n}S)");
    let month = format!("{n}M(?:{n}D)?");
    let date = format!("(?:{n}D|{month}|{n}Y(?:{month})?)(?:{time})?");
    format!("P(?:{date}|{time}|{n}W)")
});

const UUID: &str = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";

/// RFC 2673, section 3.2: no leading zeros.
static IPV4: LazyLock<String> = LazyLock::new(|| {
    let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    format!(r"{byte}(?:\.{byte}){{3}}")
});

/// RFC 3986, `IPv6address`, which is RFC 4291, section 2.2, without a zone.
static IPV6: LazyLock<String> = LazyLock::new(|| {
    let group = "[0-9a-fA-F]{1,4}";
    let last = format!("(?:{group}:{group}|{})", *IPV4);
    let before = |max: usize| match max {
        0 => String::new(),
        _ => format!("(?:(?:{group}:){{0,{}}}{group})?", max - 1),
    };
    let mut forms = vec![format!("(?:{group}:){{6}}{last}")];
    // `::` stands for at least one group, so at most seven are written around it.
    for after in (0..6).rev() {
        let before = before(5 - after);
        forms.push(match after {
            0 => format!("{before}::{last}"),
            _ => format!("{before}::(?:{group}:){{{after}}}{last}"),
        });
    }
    forms.push(format!("{}::{group}", before(6)));
    forms.push(format!("{}::", before(7)));
    format!("(?:{})", forms.join("|"))
});

/// Matches one label of a host name, of up to `max` characters. Source: RFC 1123, section 2.1.
///
/// Labels with two hyphens as third and fourth character do not match: `xn--` marks an encoded
/// label of another script, which is valid only if its decoded form is (RFC 5891, section 4.2.3.1).
/// No regex can check that.
fn label(max: usize) -> String {
    let (any, end) = ("[A-Za-z0-9-]", "[A-Za-z0-9]");
    let (third, fourth) = (max - 4, max - 5);
    format!(
        "{end}(?:{end}|{any}{end}(?:{any}{{0,{third}}}{end})?\
         |{any}-{end}(?:{any}{{0,{fourth}}}{end})?)?"
    )
}

/// At most 253 characters: up to three labels of 63, or one of 63 and up to seven of 26.
fn host(min_dots: usize) -> String {
    let (long, short) = (label(63), label(26));
    format!(r"(?:{long}(?:\.{long}){{{min_dots},2}}|{long}(?:\.{short}){{{min_dots},7}})")
}

static HOSTNAME: LazyLock<String> = LazyLock::new(|| host(0));

/// RFC 5321, `Dot-string` of up to 64 characters. The fewer parts it has, the longer each may be.
static DOT_STRING: LazyLock<String> = LazyLock::new(|| {
    let atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]";
    let parts =
        |count: &str, len: usize| format!(r"{atom}{{1,{len}}}(?:\.{atom}{{1,{len}}}){count}");
    let forms = [parts("{1}", 31), parts("{2}", 20), parts("{3,4}", 12)].join("|");
    format!("(?:{atom}{{1,64}}|{forms})")
});

/// RFC 5321, `Mailbox`.
static EMAIL: LazyLock<String> = LazyLock::new(|| {
    let quoted = r#""(?:[ !#-\[\]-~]|\\[ -~]){0,31}""#;
    let literal = format!(r"\[(?:{}|IPv6:{})\]", *IPV4, *IPV6);
    format!("(?:{}|{quoted})@(?:{}|{literal})", *DOT_STRING, *HOSTNAME)
});

static PLAIN_EMAIL: LazyLock<String> = LazyLock::new(|| format!("{}@{}", *DOT_STRING, host(1)));

/// RFC 3986, `URI`: absolute, with a scheme.
static URI: LazyLock<String> = LazyLock::new(|| {
    let hex = "%[0-9A-Fa-f]{2}";
    let safe = r"A-Za-z0-9._~!$&'()*+,;=\-";
    let pchar = format!("(?:[{safe}:@]|{hex})");
    let future = format!("v[0-9A-Fa-f]+\\.[{safe}:]+");
    let host = format!(r"(?:\[(?:{}|{future})\]|(?:[{safe}]|{hex})*)", *IPV6);
    let authority = format!("(?:(?:[{safe}:]|{hex})*@)?{host}(?::[0-9]*)?");
    let rest = format!("{pchar}+(?:/{pchar}*)*");
    let path = format!("(?://{authority}(?:/{pchar}*)*|/(?:{rest})?|(?:{rest})?)");
    let tail = format!("(?:[{safe}:@/?]|{hex})*");
    format!(r"[A-Za-z][A-Za-z0-9+.-]*:{path}(?:\?{tail})?(?:#{tail})?")
});

/// RFC 6570, section 2: a URI template of any level.
static URI_TEMPLATE: LazyLock<String> = LazyLock::new(|| {
    let hex = "%[0-9A-Fa-f]{2}";
    let literal = r"[!#$&(-;=?-\[\]_a-z~\x{A0}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFEF}]";
    let name = format!("(?:[A-Za-z0-9_]|{hex})");
    let variable = format!(r"{name}(?:\.?{name})*(?:\*|:[1-9][0-9]{{0,3}})?");
    let expression = format!(r"\{{[+#./;?&=,!@|]?{variable}(?:,{variable})*\}}");
    format!("(?:{literal}|{hex}|{expression})*")
});

/// A label in any script: letters, with digits and single hyphens inside.
///
/// RFC 5892 allows more, such as marks and a middle dot, each in a context that no regex can check.
/// Nor can a regex count the label's ASCII form, so labels are kept short.
const IDN_LABEL: &str = r"[\p{L}0-9](?:-?[\p{L}0-9]){0,20}";

/// RFC 5890, section 2.3.2.3.
static IDN_HOSTNAME: LazyLock<String> =
    LazyLock::new(|| format!(r"(?:{}|{IDN_LABEL}(?:\.{IDN_LABEL}){{0,3}})", *HOSTNAME));

/// RFC 6531, section 3.3: as [`EMAIL`], with letters of any script in both parts.
static IDN_EMAIL: LazyLock<String> = LazyLock::new(|| {
    let atom = r"[\p{L}0-9!#$%&'*+/=?^_`{|}~-]";
    let local = format!(r"{atom}{{1,10}}(?:\.{atom}{{1,10}})?");
    format!("(?:{}|{local}@{IDN_LABEL}(?:\\.{IDN_LABEL}){{0,3}})", *EMAIL)
});

#[cfg(test)]
mod tests;
