//! `--record FILE` and `sluicegate replay FILE`: an incident is a file, and the file a test.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use anyhow::{Context, anyhow};
use sluicegate::engine::{EngineBuilder, RecordOptions};
use sluicegate_core::serve::{Line, ReplayError, Replayed, replay};

use crate::{
    bounded,
    cli::{RecordArgs, ReplayArgs},
    counted::counted,
    error::CliError,
};

/// The longest journal that is read.
const MAX_BYTES: u64 = 1 << 30;

/// Lets an engine write its journal, if that is wanted.
///
/// # Errors
/// [`CliError::Usage`] where there can be no such file.
pub(crate) fn record(builder: EngineBuilder, args: &RecordArgs) -> Result<EngineBuilder, CliError> {
    let Some(path) = &args.record else { return Ok(builder) };
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()));
    let file = file.map_err(|error| CliError::usage_at("--record", error))?;
    let prompts = !args.record_without_prompts;
    let options = RecordOptions { prompts, ..RecordOptions::default() };
    Ok(builder.record(BufWriter::new(file), options))
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] where the file is no journal, [`CliError::Failed`] at a difference.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    let replayed = replay(&lines(args)?).map_err(|error| match error {
        ReplayError::Differs { .. } => CliError::failed(error),
        error => CliError::Usage(anyhow!(error).context(args.file.display().to_string())),
    })?;
    let mut stdout = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut stdout, &replayed).map_err(io::Error::from)?;
        writeln!(stdout)?;
        return Ok(());
    }
    let Replayed { inputs, actions, until, is_full, metrics } = replayed;
    writeln!(
        stdout,
        "{} over {:.3} s led to the {} that were recorded; {} finished, {} failed, {} cancelled, \
         {} still running",
        counted(inputs, "input"),
        until.as_secs_f64(),
        counted(actions, "action"),
        counted(metrics.requests_finished, "request"),
        metrics.requests_failed,
        metrics.requests_cancelled,
        metrics.requests,
    )?;
    if is_full {
        writeln!(stdout, "the journal was full before the run had ended")?;
    }
    Ok(())
}

fn lines(args: &ReplayArgs) -> Result<Vec<Line>, CliError> {
    let name = args.file.display();
    let text = bounded::read_text(&args.file, MAX_BYTES);
    let text = text.with_context(|| format!("cannot read {name}")).map_err(CliError::Usage)?;
    let too_long = || CliError::Usage(anyhow!("{name} is longer than {MAX_BYTES} bytes"));
    let text = text.ok_or_else(too_long)?;
    let read = |(number, line): (usize, &str)| {
        let line = serde_json::from_str(line);
        line.with_context(|| format!("{name}, line {number}, is none of a journal"))
    };
    let lines: anyhow::Result<Vec<Line>> = (1..).zip(text.lines()).map(read).collect();
    lines.map_err(CliError::Usage)
}
