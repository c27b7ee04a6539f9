//! Tries what the CUDA driver is documented to do: on hardware, or on emulated GPUs.
//!
//! Every case runs in a process of its own, since some leave theirs unusable. It owns the cases and
//! their kernels, and must not know which driver it runs on.
#![allow(clippy::print_stdout, reason = "a program says what it found")]

mod case;
mod cases;
mod code;
mod compare;
mod driver;
mod error;
mod gpu;
mod process;

use std::{env, error::Error, fs, process::ExitCode};

use serde_json::{Map, Value, json};

use crate::{
    case::Case,
    code::Code,
    compare::Recorded,
    driver::Driver,
    error::ProgramError,
    process::{Report, Verdict},
};

/// There is no driver, or no device.
const NOTHING_TO_TRY: u8 = 3;
const WRONG_USE: u8 = 2;

/// What the program is asked for.
enum Request {
    List,
    /// One case, here.
    Alone(&'static Case),
    Cases(Cases),
}

/// Which cases, and what becomes of their answers.
#[derive(Default)]
struct Cases {
    cases: Vec<&'static Case>,
    /// Where they are written.
    record: Option<String>,
    /// What they are held against.
    compare: Option<String>,
}

fn main() -> ExitCode {
    request(env::args().skip(1)).and_then(carry_out).unwrap_or_else(|error| {
        match error.source() {
            Some(cause) => println!("{error}: {cause}"),
            None => println!("{error}"),
        }
        let is_nothing = matches!(error, ProgramError::NoDriver(_) | ProgramError::NoDevice(_));
        ExitCode::from(if is_nothing { NOTHING_TO_TRY } else { WRONG_USE })
    })
}

fn request(mut arguments: impl Iterator<Item = String>) -> Result<Request, ProgramError> {
    let mut request = Cases::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => return Ok(Request::List),
            "--case" => {
                return Ok(Request::Alone(named(&arguments.next().unwrap_or_default())?));
            }
            "--record" | "--compare" => {
                let path = arguments.next();
                let path = path.ok_or_else(|| ProgramError::Argument(argument.clone()))?;
                let is_record = argument == "--record";
                let place = if is_record { &mut request.record } else { &mut request.compare };
                *place = Some(path);
            }
            option if option.starts_with('-') => {
                return Err(ProgramError::Argument(option.to_owned()));
            }
            name => request.cases.push(named(name)?),
        }
    }
    if request.cases.is_empty() {
        request.cases = cases::all().collect();
    }
    Ok(Request::Cases(request))
}

fn named(name: &str) -> Result<&'static Case, ProgramError> {
    let found = cases::all().find(|case| case.name == name);
    found.ok_or_else(|| ProgramError::NoCase(name.to_owned()))
}

fn carry_out(request: Request) -> Result<ExitCode, ProgramError> {
    match request {
        Request::List => {
            for Case { name, source, .. } in cases::all() {
                println!("{name}: {source}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Request::Alone(case) => {
            process::run_here(case, &Driver::load_library()?);
            Ok(ExitCode::SUCCESS)
        }
        Request::Cases(request) => run(&request),
    }
}

/// Runs cases, each in its process, and says what came of them.
fn run(Cases { cases, record, compare }: &Cases) -> Result<ExitCode, ProgramError> {
    let recorded = compare.as_deref().map(Recorded::read).transpose()?;
    let machine = machine(&Driver::load_library()?)?;
    let mut records = Map::new();
    let (mut num_failed, mut num_skipped, mut num_other) = (0, 0, 0);
    for case in cases {
        let Report { verdict, words, seen } = process::run_apart(case)?;
        let other = recorded.as_ref().and_then(|it| it.difference(case.name, &seen.answers));
        match (verdict, other) {
            (Verdict::Failed, _) => {
                num_failed += 1;
                println!("{}: FAILED: {words}", case.name);
            }
            (Verdict::Skipped, _) => {
                num_skipped += 1;
                println!("{}: skipped: {words}", case.name);
            }
            (Verdict::Ok, Some(other)) => {
                num_other += 1;
                println!("{}: differs: {other}", case.name);
            }
            (Verdict::Ok, None) => println!("{}: ok", case.name),
        }
        let one = json!({
            "source": case.source, "verdict": verdict.name(), "words": words,
            "observed": seen.answers, "varying": seen.varying
        });
        records.insert(case.name.to_owned(), one);
    }
    let num_ok = cases.len() - num_failed - num_skipped - num_other;
    let differing = recorded.map_or(String::new(), |_| format!(", {num_other} differ"));
    println!("{num_ok} ok, {num_failed} failed, {num_skipped} skipped{differing}");
    if let Some(path) = record {
        let text = format!("{:#}\n", json!({ "machine": machine, "cases": records }));
        let wrong = |source| ProgramError::Record { path: path.clone(), source };
        fs::write(path, text).map_err(wrong)?;
    }
    let is_well = num_failed + num_other == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the answers are from: the driver's version, and each device's capability and memory.
fn machine(driver: &Driver) -> Result<Value, ProgramError> {
    let (mut version, mut count) = (0, 0);
    let code = driver.init(0);
    if code != Code::SUCCESS {
        return Err(ProgramError::NoDevice(format!("{code}: {}", driver.words(code))));
    }
    // What cannot be asked stays zero in the record.
    let _ = (driver.version(&mut version), driver.device_count(&mut count));
    let device = |index| {
        let (mut major, mut minor, mut bytes) = (0, 0, 0);
        let _ = driver.attribute(&mut major, gpu::CAPABILITY_MAJOR, index);
        let _ = driver.attribute(&mut minor, gpu::CAPABILITY_MINOR, index);
        let _ = driver.total_memory(&mut bytes, index);
        json!({ "capability": format!("{major}.{minor}"), "memory_bytes": bytes })
    };
    Ok(json!({ "driver": version, "devices": (0..count).map(device).collect::<Vec<_>>() }))
}
