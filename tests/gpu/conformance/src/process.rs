//! A case in a process of its own, and how it tells the first process what it found.

use std::{
    env,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    case::{Case, Seen},
    driver::Driver,
    error::{ProgramError, Stop},
};

/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(1);

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Failed,
    Skipped,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Skipped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a case came to, and what it has observed until then.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) words: String,
    pub(crate) seen: Seen,
}

/// Runs a case in this process, and prints its report as one line of JSON.
pub(crate) fn run_here(case: &Case, driver: &Driver) {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        let words = Stop::failed("an end", "none after a minute").to_string();
        print(Verdict::Failed, &words, &Seen::default());
        // A driver that hangs would also hang an orderly end.
        std::process::abort();
    });
    let mut seen = Seen::default();
    match (case.run)(driver, &mut seen) {
        Ok(()) => print(Verdict::Ok, "", &seen),
        Err(stop @ Stop::Failed { .. }) => print(Verdict::Failed, &stop.to_string(), &seen),
        Err(stop @ Stop::Skipped { .. }) => print(Verdict::Skipped, &stop.to_string(), &seen),
    }
}

fn print(verdict: Verdict, words: &str, Seen { answers, varying }: &Seen) {
    let verdict = verdict.name();
    println!(
        "{}",
        json!({ "verdict": verdict, "words": words, "observed": answers, "varying": varying })
    );
}

/// Runs a case in another process.
pub(crate) fn run_apart(case: &Case) -> Result<Report, ProgramError> {
    let program = env::current_exe().map_err(ProgramError::Process)?;
    let output = Command::new(program)
        .args(["--case", case.name])
        // Modules are compiled when they are loaded, and not when a kernel is first launched.
        .env("CUDA_MODULE_LOADING", "EAGER")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(ProgramError::Process)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.lines().rev().find_map(report_of);
    Ok(report.unwrap_or_else(|| {
        let words =
            Stop::failed("a report", format!("{}: {}", output.status, said.trim())).to_string();
        Report { verdict: Verdict::Failed, words, seen: Seen::default() }
    }))
}

fn report_of(line: &str) -> Option<Report> {
    let value: Value = serde_json::from_str(line).ok()?;
    let name = value["verdict"].as_str()?;
    Some(Report {
        verdict: Verdict::ALL.into_iter().find(|it| it.name() == name)?,
        words: value["words"].as_str()?.to_owned(),
        seen: Seen {
            answers: value["observed"].as_object()?.clone(),
            varying: value["varying"].as_object()?.clone(),
        },
    })
}
