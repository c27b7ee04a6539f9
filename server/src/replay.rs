//! `--record FILE` and `sluicegate replay FILE`: records a run, and repeats it as a test.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use anyhow::{Context, anyhow};
use serde::Serialize;
use sluicegate::engine::{EngineBuilder, RecordOptions};
use sluicegate_core::serve::{Line, ReplayError, Replayed, replay};

use crate::{
    bounded,
    cli::{RecordArgs, ReplayArgs},
    counted::counted,
    error::CliError,
};

/// The longest journal to read: twice what an engine writes.
const MAX_BYTES: u64 = 512 << 20;

/// Creates the file of a journal, so that a wrong name fails before a long run.
///
/// # Errors
/// [`CliError::Usage`] if the file cannot be created.
pub(crate) fn create(args: &RecordArgs) -> Result<(), CliError> {
    open(args).map(drop)
}

/// Lets an engine write its journal, if that is wanted.
///
/// # Errors
/// [`CliError::Usage`] if the file cannot be created.
pub(crate) fn record(builder: EngineBuilder, args: &RecordArgs) -> Result<EngineBuilder, CliError> {
    let Some(file) = open(args)? else { return Ok(builder) };
    let prompts = !args.record_without_prompts;
    let options = RecordOptions { prompts, ..RecordOptions::default() };
    Ok(builder.record(BufWriter::new(file), options))
}

fn open(args: &RecordArgs) -> Result<Option<File>, CliError> {
    let Some(path) = &args.record else { return Ok(None) };
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()));
    file.map(Some).map_err(|error| CliError::usage_at("--record", error))
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] if the file is not a journal, [`CliError::Failed`] at a difference.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let (lines, is_cut) = lines(args)?;
    let replayed = replay(&lines).map_err(|error| match error {
        ReplayError::Differs { .. } => CliError::failed(error),
        error => CliError::Usage(anyhow!(error).context(args.file.display().to_string())),
    })?;
    let mut stdout = io::stdout().lock();
    if args.json {
        let report = Report { is_cut, replayed };
        serde_json::to_writer_pretty(&mut stdout, &report).map_err(io::Error::from)?;
        writeln!(stdout)?;
        return Ok(());
    }
    let Replayed { inputs, actions, lasted, is_full, metrics } = replayed;
    writeln!(
        stdout,
        "{} over {:.3} s led to the {} that were recorded; {} finished, {} failed, {} cancelled, \
         {} still running",
        counted(inputs, "input"),
        lasted.as_secs_f64(),
        counted(actions, "action"),
        counted(metrics.requests_finished, "request"),
        metrics.requests_failed,
        metrics.requests_cancelled,
        metrics.requests,
    )?;
    if is_full {
        writeln!(stdout, "the journal was full before the run had ended")?;
    }
    if is_cut {
        writeln!(stdout, "the last line is incomplete: the run was interrupted")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Report {
    is_cut: bool,
    #[serde(flatten)]
    replayed: Replayed,
}

/// Reads the lines of the file; also returns whether an incomplete last line was left out.
fn lines(args: &ReplayArgs) -> Result<(Vec<Line>, bool), CliError> {
    let name = args.file.display();
    let bytes = bounded::read_file(&args.file, MAX_BYTES);
    let bytes = bytes.with_context(|| format!("cannot read {name}")).map_err(CliError::Usage)?;
    let too_long = || CliError::Usage(anyhow!("{name} is longer than {MAX_BYTES} bytes"));
    let bytes = bytes.ok_or_else(too_long)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let read = |(number, line): (usize, &[u8])| {
        let line = serde_json::from_slice(line);
        line.with_context(|| format!("line {number} of {name} is not a line of a journal"))
    };
    let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: anyhow::Result<Vec<Line>> = (1..).zip(lines).map(read).collect();
    Ok((lines.map_err(CliError::Usage)?, whole < bytes.len()))
}
