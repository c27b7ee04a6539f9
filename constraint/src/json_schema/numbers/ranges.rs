//! Numbers within bounds as regular expressions, in plain and exponent notation. Bounds are exact,
//! beyond what floats hold.

use llguidance::derivre::RegexAst;

use super::Decimal;

/// A bound, and whether it is inclusive.
pub(in super::super) type Bound<'b> = (&'b Decimal, bool);

const INTEGER: &str = "-?(0|[1-9][0-9]*)";
const NUMBER: &str = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?";
/// Expressions that occur in many grammars.
pub(in super::super) const COMMON: [&str; 2] = [INTEGER, NUMBER];
/// The largest absolute exponent. Readers would take a number below the least float for zero.
const MAX_EXPONENT: i32 = 307;

/// Returns the whole numbers within bounds; none if there are none.
pub(in super::super) fn integers(
    least: Option<Bound<'_>>,
    most: Option<Bound<'_>>,
) -> Option<RegexAst> {
    let least = least.map(|(bound, is_within)| whole_from(bound, is_within));
    let most = most.map(|(bound, is_within)| whole_from(&bound.negated(), is_within).negated());
    if least.is_none() && most.is_none() {
        return Some(regex(INTEGER));
    }
    if let (Some(least), Some(most)) = (&least, &most)
        && least > most
    {
        return None;
    }
    let mut options = Vec::new();
    if most.as_ref().is_none_or(|most| !most.is_negative) {
        let from = least.as_ref().filter(|least| !least.is_negative);
        let from = from.map_or("0".to_owned(), |least| least.split().0);
        options.extend(naturals(&from, most.as_ref().map(|most| most.split().0).as_deref()));
    }
    if least.as_ref().is_none_or(|least| least.is_negative) {
        let from = most.as_ref().filter(|most| most.is_negative);
        let from = from.map_or("1".to_owned(), |most| most.split().0);
        let to = least.as_ref().map(|least| least.split().0);
        let sizes = naturals(&from, to.as_deref());
        options.extend(sizes.into_iter().map(|size| format!("-{size}")));
    }
    Some(regex(&format!("({})", options.join("|"))))
}

/// Returns the least whole number that satisfies a lower bound.
fn whole_from(bound: &Decimal, is_within: bool) -> Decimal {
    if bound.is_whole() && is_within {
        return bound.clone();
    }
    let (whole, _) = bound.split();
    let next = if bound.is_negative {
        // Rounds towards zero; an excluded whole number goes one further.
        let size = if bound.is_whole() { one_less(&whole) } else { whole };
        format!("-{size}")
    } else {
        one_more(&whole)
    };
    Decimal::parse(&next)
}

fn one_more(whole: &str) -> String {
    let kept = whole.trim_end_matches('9');
    let zeros = "0".repeat(whole.len() - kept.len());
    match kept.as_bytes().last() {
        None => format!("1{zeros}"),
        Some(last) => format!("{}{}{zeros}", &kept[..kept.len() - 1], char::from(last + 1)),
    }
}

/// Subtracts one from a number above zero.
fn one_less(whole: &str) -> String {
    let kept = whole.trim_end_matches('0');
    let nines = "9".repeat(whole.len() - kept.len());
    let last = kept.as_bytes().last().map_or(b'0', |last| last - 1);
    let less = format!("{}{}{nines}", &kept[..kept.len().saturating_sub(1)], char::from(last));
    let short = less.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// Returns the numbers within bounds; none if there are none.
pub(in super::super) fn decimals(
    least: Option<Bound<'_>>,
    most: Option<Bound<'_>>,
) -> Option<RegexAst> {
    if let (Some((least, with_least)), Some((most, with_most))) = (least, most)
        && (least > most || least == most && !(with_least && with_most))
    {
        return None;
    }
    let at_least = least.map(|(bound, is_within)| regex(&not_below(bound, is_within, ("", "-"))));
    let at_most =
        most.map(|(bound, is_within)| regex(&not_below(&bound.negated(), is_within, ("-", ""))));
    match (at_least, at_most) {
        (None, None) => Some(regex(NUMBER)),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (Some(one), Some(other)) => Some(RegexAst::And(vec![one, other])),
    }
}

/// Returns the numbers with a non-zero fraction.
pub(in super::super) fn fractions() -> RegexAst {
    let plain = r"(0|[1-9][0-9]*)\.[0-9]*[1-9][0-9]*";
    let small = r"[1-9](\.[0-9]+)?[eE]-0?[1-9][0-9]{0,2}";
    regex(&format!("-?({plain}|{small})"))
}

/// Returns the numbers that satisfy a lower bound, given the signs of positive and negative ones.
fn not_below(bound: &Decimal, is_within: bool, (plus, minus): (&str, &str)) -> String {
    if bound.is_negative {
        let sizes = sizes_to(bound, is_within);
        let any = r"(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?";
        return format!("({plus}{any}|{minus}{sizes})");
    }
    let sizes = format!("{plus}{}", sizes_from(bound, is_within));
    if bound.is_zero() && is_within {
        return format!("({sizes}|{minus}0(\\.0+)?)");
    }
    sizes
}

/// Returns the absolute values at or above a bound.
fn sizes_from(bound: &Decimal, is_within: bool) -> String {
    let (whole, fraction) = bound.split();
    let larger = naturals(&one_more(&whole), None).join("|");
    let same = fraction_from(&fraction, is_within);
    let plain = format!("({larger})(\\.[0-9]+)?|{whole}{same}");
    if bound.is_zero() {
        let any = exponents(-MAX_EXPONENT, MAX_EXPONENT);
        return format!("({plain}|[1-9](\\.[0-9]+)?[eE]{any})");
    }
    let (first, rest) = bound.digits.split_at(1);
    let mut mantissas = vec![format!("{first}{}", fraction_from(rest, is_within))];
    mantissas.extend(above(first).map(|larger| format!("{larger}(\\.[0-9]+)?")));
    let mantissas = mantissas.join("|");
    let exponent = bound.exponent - 1;
    let above = exponents(exponent + 1, MAX_EXPONENT);
    let same = exponents(exponent, exponent);
    format!("({plain}|[1-9](\\.[0-9]+)?[eE]{above}|({mantissas})[eE]{same})")
}

/// Returns the absolute values at or below a bound.
fn sizes_to(bound: &Decimal, is_within: bool) -> String {
    let (whole, fraction) = bound.split();
    let mut options = Vec::new();
    if whole != "0" {
        let smaller = naturals("0", Some(&one_less(&whole))).join("|");
        options.push(format!("({smaller})(\\.[0-9]+)?"));
    }
    options.extend(fraction_to(&fraction, is_within).map(|same| format!("{whole}{same}")));
    if bound.is_zero() {
        return format!("({})", options.join("|"));
    }
    let (first, rest) = bound.digits.split_at(1);
    let mut mantissas: Vec<String> =
        fraction_to(rest, is_within).map(|same| format!("{first}{same}")).into_iter().collect();
    if first > "1" {
        mantissas.push(format!("[1-{}](\\.[0-9]+)?", below(first)));
    }
    let exponent = bound.exponent - 1;
    options.push(format!("[1-9](\\.[0-9]+)?[eE]{}", exponents(-MAX_EXPONENT, exponent - 1)));
    if !mantissas.is_empty() {
        let same = exponents(exponent, exponent);
        options.push(format!("({})[eE]{same}", mantissas.join("|")));
    }
    format!("({})", options.join("|"))
}

/// Returns the texts after a point, with the point, whose fraction is at or above this one.
fn fraction_from(least: &str, is_within: bool) -> String {
    if least.is_empty() {
        return if is_within { r"(\.[0-9]+)?" } else { r"\.[0-9]*[1-9][0-9]*" }.to_owned();
    }
    let mut options = Vec::new();
    for (at, digit) in least.char_indices() {
        let larger = above(&digit.to_string());
        options.extend(larger.map(|larger| format!("{}{larger}[0-9]*", &least[..at])));
    }
    let more = if is_within { "[0-9]*" } else { "[0-9]*[1-9][0-9]*" };
    options.push(format!("{least}{more}"));
    format!("\\.({})", options.join("|"))
}

/// As [`fraction_from`], at or below this one; none if there are none.
fn fraction_to(most: &str, is_within: bool) -> Option<String> {
    if most.is_empty() {
        return is_within.then(|| r"(\.0+)?".to_owned());
    }
    let mut options = Vec::new();
    for (at, digit) in most.char_indices() {
        if at > 0 {
            options.push(most[..at].to_owned());
        }
        if digit > '0' {
            options.push(format!("{}[0-{}][0-9]*", &most[..at], below(&digit.to_string())));
        }
    }
    if is_within {
        options.push(format!("{most}0*"));
    }
    Some(format!("(\\.({}))?", options.join("|")))
}

/// Returns the digits above `digit`.
fn above(digit: &str) -> Option<String> {
    let next = digit.bytes().next().filter(|digit| *digit < b'9')? + 1;
    Some(format!("[{}-9]", char::from(next)))
}

/// Returns the digit below `digit`, which is not zero.
fn below(digit: &str) -> char {
    char::from(digit.bytes().next().unwrap_or(b'1').max(b'1') - 1)
}

/// Returns the exponents within bounds, with a sign where needed and at most one leading zero.
fn exponents(least: i32, most: i32) -> String {
    let mut options = Vec::new();
    let sizes = |from: i32, to: i32| naturals(&from.to_string(), Some(&to.to_string())).join("|");
    if most >= 0 {
        options.push(format!("\\+?0?({})", sizes(least.max(0), most)));
    }
    if least <= 0 {
        options.push(format!("-0?({})", sizes((-most).max(0), -least)));
    }
    format!("({})", options.join("|"))
}

/// Returns the whole numbers between two numbers, without leading zeros.
fn naturals(from: &str, to: Option<&str>) -> Vec<String> {
    let len = from.len();
    let nines = "9".repeat(len);
    let Some(to) = to else {
        return vec![same_length(from, &nines), format!("[1-9][0-9]{{{len},}}")];
    };
    if to.len() == len {
        return vec![same_length(from, to)];
    }
    let mut options = vec![same_length(from, &nines)];
    if to.len() > len + 1 {
        options.push(format!("[1-9][0-9]{{{len},{}}}", to.len() - 2));
    }
    options.push(same_length(&format!("1{}", "0".repeat(to.len() - 1)), to));
    options
}

/// Returns the numbers between two numbers of the same length.
fn same_length(from: &str, to: &str) -> String {
    let is_all = |text: &str, digit| text.bytes().all(|it| it == digit);
    if is_all(from, b'0') && is_all(to, b'9') {
        return match from.len() {
            0 => String::new(),
            len => format!("[0-9]{{{len}}}"),
        };
    }
    let (low, from) = from.split_at(1);
    let (high, to) = to.split_at(1);
    if low == high {
        return format!("{low}{}", same_length(from, to));
    }
    let (zeros, nines) = ("0".repeat(from.len()), "9".repeat(from.len()));
    // If every number with a given first digit is within bounds, that digit counts among the middle
    // ones.
    let (with_low, with_high) = (is_all(from, b'0'), is_all(to, b'9'));
    let first = if with_low {
        low.to_owned()
    } else {
        above(low).map_or_else(String::new, |it| it[1..2].to_owned())
    };
    let last = if with_high { high.to_owned() } else { below(high).to_string() };
    let mut options = Vec::new();
    if !with_low {
        options.push(format!("{low}{}", same_length(from, &nines)));
    }
    if first <= last {
        options.push(format!("[{first}-{last}]{}", same_length(&zeros, &nines)));
    }
    if !with_high {
        options.push(format!("{high}{}", same_length(&zeros, to)));
    }
    format!("({})", options.join("|"))
}

fn regex(pattern: &str) -> RegexAst {
    RegexAst::Regex(pattern.to_owned())
}
