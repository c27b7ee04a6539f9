//! `sluicegate maskbench`: runs files of schemas and instances through the constraint engine.
//!
//! The engine decides; this counts and prints. A file or schema that cannot be used is a line of
//! the report and does not end the run.

mod bench;
mod comparison;
mod files;
mod instance;
mod json;
pub(crate) mod remotes;
mod summary;
mod table;
pub(crate) mod times;

use std::{
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluicegate_constraint::{Compiler, JsonOptions, baseline::Baseline};

use self::{
    bench::{Bench, CaseRun},
    instance::Spacing,
    summary::Summary,
};
use crate::{cli::MaskbenchArgs, error::CliError, print, vocabulary};

/// Deeply nested schemas need more stack than a thread has by default.
const STACK_BYTES: usize = 64 << 20;

/// A case of a file, and its result.
#[derive(Debug)]
struct Entry {
    file: PathBuf,
    /// Its index in a file with a list of cases.
    index: usize,
    description: String,
    /// A message, if the case could not be read or run.
    run: Result<CaseRun, String>,
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] for paths and models that do not exist. Wrong results are not errors.
pub(crate) fn run(args: &MaskbenchArgs) -> Result<(), CliError> {
    let files = files::find(&args.paths)?;
    let remotes = args.remotes.as_deref().map(remotes::read).transpose()?.unwrap_or_default();
    let vocab = vocabulary::open(&args.model)?;
    let baseline = args.compare_llguidance.then(|| Baseline::new(&vocab)).transpose();
    let bench = Bench {
        baseline: baseline.map_err(CliError::failed)?,
        compiler: Compiler::new(vocab).map_err(CliError::failed)?,
        options: JsonOptions { remotes: Arc::new(remotes), ..args.json_form.options() },
        spacing: if args.json_form.compact { Spacing::Compact } else { Spacing::Spaced },
    };
    let entries = run_all(&bench, &files, args.jobs.get())?;
    let summary = Summary::of(&entries);
    let mut stdout = io::stdout().lock();
    if args.json {
        let report = json::Report::new(&args.model, &summary, &entries);
        print::json(&report, &mut stdout)?;
    } else {
        table::print(&summary, &entries, &mut stdout)?;
    }
    Ok(stdout.flush()?)
}

/// Runs all files, `num_jobs` at a time; entries are in the order of the files.
fn run_all(bench: &Bench, files: &[PathBuf], num_jobs: usize) -> Result<Vec<Entry>, CliError> {
    let (next, bar) = (AtomicUsize::new(0), progress_bar(files.len()));
    let take = || {
        let file_idx = next.fetch_add(1, Ordering::Relaxed);
        files.get(file_idx).map(|file| (file_idx, file))
    };
    let work = || {
        let done = std::iter::from_fn(take).map(|(file_idx, file)| {
            let entries = run_file(bench, file, file_idx);
            bar.inc(1);
            (file_idx, entries)
        });
        done.collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let spawn = |_| {
            let builder = thread::Builder::new().name("sluicegate-maskbench".to_owned());
            builder.stack_size(STACK_BYTES).spawn_scoped(scope, work)
        };
        let threads: Vec<_> = (0..num_jobs.min(files.len())).map(spawn).collect();
        let mut done = Vec::new();
        for thread in threads {
            let joined = thread.context("a thread could not be started")?.join();
            done.extend(joined.map_err(|_| anyhow::anyhow!("a thread of the benchmark panicked"))?);
        }
        Ok(done)
    })
    .map_err(CliError::Failed)?;
    bar.finish_and_clear();
    done.sort_by_key(|(file_idx, _)| *file_idx);
    Ok(done.into_iter().flat_map(|(_, entries)| entries).collect())
}

fn run_file(bench: &Bench, file: &Path, file_idx: usize) -> Vec<Entry> {
    let entry = |index, description, run| Entry { file: file.to_owned(), index, description, run };
    let cases = match files::cases(file) {
        Ok(cases) => cases,
        Err(message) => return vec![entry(0, String::new(), Err(message))],
    };
    let cases = cases.into_iter().enumerate().map(|(index, case)| match case {
        Ok(case) => {
            let description = case.description.clone();
            // A panic in one schema must not stop the others.
            let run = catch_unwind(AssertUnwindSafe(|| bench.run(case, file_idx + index)));
            entry(index, description, run.map_err(|_| "the benchmark panicked".to_owned()))
        }
        Err(message) => entry(index, String::new(), Err(message)),
    });
    cases.collect()
}

/// Draws a bar, only if stderr is a terminal.
fn progress_bar(num_files: usize) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let bar = ProgressBar::with_draw_target(Some(num_files as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message("files");
    bar
}
