//! Prints the report as a table.

use std::io::{self, Write};

use super::{
    report::{MaskWait, Point, Quantiles, Report, SideReport},
    spread::Spread,
};
use crate::counted::{counted, counted_as};

pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Report { model, machine, workload, points } = report;
    let runs = match workload.runs {
        1 => "one run".to_owned(),
        runs => format!("median of {runs} runs (least to most)"),
    };
    writeln!(
        out,
        "{model}: prompts of {}, outputs of {}; {runs}",
        counted(workload.prompt_tokens, "token"),
        workload.output_tokens
    )?;
    let assertions = if machine.has_assertions { ", a build with assertions" } else { "" };
    writeln!(out, "{}{assertions}", machine.processor)?;
    placements(points, out)?;
    writeln!(out)?;
    let columns = ["tokens/s", "", "first token p50 / p95", "a token p50 / p95"];
    row(out, "requests", "side", &columns.map(str::to_owned))?;
    for point in points {
        for (idx, side) in point.sides.iter().enumerate() {
            let requests = if idx == 0 { point.requests.to_string() } else { String::new() };
            row(out, &requests, &side.name, &cells(side))?;
        }
    }
    ratios(points, out)?;
    masks(points, out)?;
    stages(points, out)
}

/// Prints each placement once.
fn placements(points: &[Point], out: &mut impl Write) -> io::Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for side in points.iter().filter_map(|point| point.sides.first()) {
        let line = format!(
            "{}, {}",
            side.placements.join(" + "),
            counted_as(side.microbatches, "microbatch", "microbatches")
        );
        if !seen.contains(&line) {
            writeln!(out, "placed as {line}")?;
            seen.push(line);
        }
    }
    Ok(())
}

fn row(out: &mut impl Write, requests: &str, side: &str, cells: &[String; 4]) -> io::Result<()> {
    let [speed, range, first, next] = cells;
    let line = format!("{requests:>8}  {side:<24}{speed:>9}  {range:<18}{first:>23}{next:>21}");
    writeln!(out, "{}", line.trim_end())
}

fn cells(side: &SideReport) -> [String; 4] {
    let Spread { median, least, most } = side.tokens_per_s;
    [
        format!("{median:.1}"),
        format!("({least:.1} to {most:.1})"),
        milliseconds(side.first_token_us),
        milliseconds(side.token_us),
    ]
}

fn milliseconds(Quantiles { p50, p95 }: Quantiles) -> String {
    format!("{:.1} / {:.1} ms", p50 as f64 / 1e3, p95 as f64 / 1e3)
}

fn ratios(points: &[Point], out: &mut impl Write) -> io::Result<()> {
    if points.iter().all(|point| point.ratios.is_empty()) {
        return Ok(());
    }
    writeln!(out)?;
    for point in points {
        for (idx, ratio) in point.ratios.iter().enumerate() {
            let requests = if idx == 0 { point.requests.to_string() } else { String::new() };
            let names = format!("{} / {}", ratio.side, ratio.against);
            let Spread { median, least, most } = ratio.ratio;
            writeln!(out, "{requests:>8}  {names:<48}{median:>6.3}  ({least:.3} to {most:.3})")?;
        }
    }
    Ok(())
}

fn masks(points: &[Point], out: &mut impl Write) -> io::Result<()> {
    for point in points {
        for side in &point.sides {
            let Some(wait) = side.mask_wait_us else { continue };
            let MaskWait { p50, p99, most } = wait;
            let (requests, tokens) = (point.requests, side.tokens);
            writeln!(out)?;
            writeln!(
                out,
                "{requests:>8}  {}: {} of {} tokens jumped forward, {} vetoed; mask wait p50 / p99 / \
                 most {p50} / {p99} / {most} us",
                side.name, tokens.jump_forward, tokens.completion, tokens.vetoed
            )?;
        }
    }
    Ok(())
}

/// Prints the utilisation of the placement's stages with the most requests.
fn stages(points: &[Point], out: &mut impl Write) -> io::Result<()> {
    let Some(Point { requests, sides, .. }) = points.last() else { return Ok(()) };
    for used in sides.first().map_or(&[][..], |side| &side.used[..]) {
        writeln!(out, "\n{requests:>8}  the last run's stages:\n{used}")?;
    }
    Ok(())
}
