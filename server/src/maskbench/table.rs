//! Prints the summary as a table.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{
    Entry,
    comparison::Comparison,
    summary::{Counts, Share, Summary, TokenTimes},
    times::{Times, microseconds},
};
use crate::counted::counted;

/// The most kinds in a line, and the most files listed.
const MAX_NAMED: usize = 12;

pub(super) fn print(summary: &Summary, entries: &[Entry], out: &mut impl Write) -> io::Result<()> {
    let unreadable = entries.iter().filter_map(|entry| Some((entry, entry.run.as_ref().err()?)));
    for (entry, message) in unreadable.take(MAX_NAMED) {
        writeln!(out, "{}, case {}: {message}", entry.file.display(), entry.index)?;
    }
    for (name, share) in [
        ("schemas passing", summary.schemas),
        ("  real ones", summary.real_schemas),
        ("tests correct", summary.tests),
        ("  not optional", summary.required_tests),
    ] {
        let Share { passing, total } = share;
        let percent = 100.0 * passing as f64 / total.max(1) as f64;
        writeln!(out, "{name:<20}{passing:>8} of {total:<8}{percent:>6.1} %")?;
    }
    count(out, "valid refused", summary.valid_refused, "")?;
    count(out, "invalid accepted", summary.invalid_accepted, "")?;
    count(out, "not validated", summary.not_validated, "tests of schemas that do not compile")?;
    count(out, "engine failures", summary.engine_failures, "")?;
    count(out, "unreadable", summary.unreadable, "")?;
    counts(out, "compile errors", &summary.compile_errors)?;
    counts(out, "warnings", &summary.warnings)?;
    count(out, "guarded schemas", summary.guarded, "")?;
    count(out, "vetoes", summary.vetoes, "")?;
    times(summary, out)?;
    summary.comparison.as_ref().map_or(Ok(()), |comparison| compare(comparison, out))
}

fn count(out: &mut impl Write, name: &str, count: usize, note: &str) -> io::Result<()> {
    let line = format!("{name:<20}{count:>8}  {note}");
    writeln!(out, "{}", line.trim_end())
}

fn counts(out: &mut impl Write, name: &str, counts: &Counts) -> io::Result<()> {
    let ranked = counts.ranked();
    let named = ranked.iter().take(MAX_NAMED).map(|(kind, count)| format!("{kind} {count}"));
    let mut note = named.collect::<Vec<_>>().join(", ");
    if ranked.len() > MAX_NAMED {
        note.push_str(", …");
    }
    count(out, name, counts.total, &note)
}

fn times(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    let columns = ["num", "p50", "p90", "p99", "p99.9", "max"];
    row(out, "", &columns.map(str::to_owned))?;
    let mut measured = vec![
        ("compile", &summary.compile_us),
        ("  first witness", &summary.first_witness_us),
        ("compile error", &summary.refuse_us),
        ("matcher", &summary.matcher_us),
    ];
    for (names, tokens) in [
        (["token", "  its mask", "  its advance"], &summary.unguarded),
        (["token, guarded", "  its mask", "  its advance"], &summary.guarded_tokens),
    ] {
        let TokenTimes { mask_us, advance_us, token_us } = tokens;
        measured.extend(names.into_iter().zip([token_us, mask_us, advance_us]));
    }
    for (name, times) in measured.into_iter().filter(|(_, times)| !times.is_empty()) {
        row(out, name, &percentiles(times))?;
    }
    Ok(())
}

fn percentiles(times: &Times) -> [String; 6] {
    let at = |per_mille| readable(times.at(per_mille));
    [times.len().to_string(), at(500), at(900), at(990), at(999), readable(times.max())]
}

fn row(out: &mut impl Write, name: &str, cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>10}")).collect();
    writeln!(out, "{name:<18}{}", cells.concat())
}

fn compare(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let Comparison { schemas, ours, llguidance, only_ours } = comparison;
    writeln!(out)?;
    let schemas = counted(*schemas, "schema");
    writeln!(out, "compared with llguidance: {schemas} that both compile; {only_ours} only here")?;
    let columns = ["num", "p50", "p90", "p99", "p99.9", "max"];
    row(out, "", &columns.map(str::to_owned))?;
    for (name, ours, theirs) in [
        ("compile", &ours.compile_us, &llguidance.compile_us),
        ("token", &ours.token_us, &llguidance.token_us),
    ] {
        row(out, name, &percentiles(ours))?;
        row(out, "  llguidance", &percentiles(theirs))?;
        let ratio = |ours: Duration, theirs: Duration| {
            format!("{:.2}", ours.as_secs_f64() / theirs.as_secs_f64().max(1e-9))
        };
        let mut ratios = vec![String::new()];
        ratios.extend([500, 900, 990, 999].map(|it| ratio(ours.at(it), theirs.at(it))));
        ratios.push(ratio(ours.max(), theirs.max()));
        row(out, "  ratio", &ratios)?;
    }
    Ok(())
}

/// Formats a time in a suitable unit.
fn readable(time: Duration) -> String {
    let us = microseconds(time);
    match us {
        _ if us < 1e3 => format!("{us:.1} us"),
        _ if us < 1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}
