//! Prints the findings of `schema check` as text.

use std::io::{self, Write};

use super::{
    refusal::{Allowed, RefusalReport},
    report::{CheckReport, InstanceReport, SchemaReport, TraceReport},
};
use crate::{counted::counted, facts::GuardedKeyword};

pub(super) fn print(report: &CheckReport<'_>, out: &mut impl Write) -> io::Result<()> {
    schema(&report.schema, out)?;
    for (number, instance) in (1..).zip(&report.instances) {
        writeln!(out)?;
        let name = instance.file.as_deref().unwrap_or("on the command line");
        write!(out, "instance {number}, {name}: ")?;
        print_instance(instance, out)?;
    }
    Ok(())
}

fn schema(report: &SchemaReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "schema: compiles in {:.2} ms", report.compile_us / 1e3)?;
    let guarded = report.guarded.iter();
    let guarded: Vec<String> =
        guarded.map(|GuardedKeyword { keyword, at }| format!("`{keyword}` at {at:?}")).collect();
    if guarded.is_empty() {
        writeln!(out, "checked: by a grammar")?;
    } else {
        writeln!(out, "checked: by a grammar, and by a validator {}", guarded.join(", "))?;
    }
    for warning in &report.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let (example, num_tokens) = (&report.example, report.example_tokens);
    let tokens = if num_tokens == 1 { "token" } else { "tokens" };
    writeln!(out, "allows, for example, in {num_tokens} {tokens}: {example}")
}

fn print_instance(instance: &InstanceReport, out: &mut impl Write) -> io::Result<()> {
    match &instance.refused {
        None => writeln!(out, "accepted, {}", counted(instance.tokens, "token"))?,
        Some(refusal) => print_refusal(refusal, out)?,
    }
    instance.trace.as_ref().map_or(Ok(()), |steps| trace(steps, out))
}

fn print_refusal(refusal: &RefusalReport, out: &mut impl Write) -> io::Result<()> {
    let RefusalReport { byte, line, column, reason, before, found, allowed, .. } = refusal;
    writeln!(out, "refused at line {line}, column {column} (byte {byte}): {reason}")?;
    writeln!(out, "  before   {before:?}")?;
    if found.is_empty() {
        writeln!(out, "  found    the end of the text")?;
    } else {
        writeln!(out, "  found    {found:?}")?;
    }
    writeln!(out, "  allowed  {}", words(allowed))
}

fn words(allowed: &Allowed) -> String {
    let mut words: Vec<String> = allowed.examples.iter().map(|it| format!("{it:?}")).collect();
    if allowed.end {
        words.push("the end".to_owned());
    }
    if words.is_empty() {
        return "nothing".to_owned();
    }
    if allowed.num_tokens > words.len() {
        let tokens = counted(allowed.num_tokens, "token");
        return format!("{tokens}, such as {}", words.join(", "));
    }
    words.join(", ")
}

fn trace(steps: &[TraceReport], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "  {:>5}  {:>7}  {:<7}  {:>8}  {:<6}  text",
        "step", "token", "", "allowed", "mask"
    )?;
    for (step_idx, step) in steps.iter().enumerate() {
        let TraceReport { token, text, num_allowed, mask, .. } = step;
        let verdict = if step.allowed { "yes" } else { "refused" };
        writeln!(
            out,
            "  {step_idx:>5}  {token:>7}  {verdict:<7}  {num_allowed:>8}  {mask:<6}  {text:?}"
        )?;
    }
    Ok(())
}
