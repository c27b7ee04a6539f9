//! Tries what the CUDA driver is documented to do: on hardware, or on emulated GPUs.
//!
//! Every case runs in a process of its own, since some leave theirs unusable. It owns the cases and
//! their kernels, and must not know which driver it runs on.
#![allow(clippy::print_stdout, reason = "a program says what it found")]

mod case;
mod cases;
mod code;
mod driver;
mod error;
mod gpu;
mod process;

use std::{env, fs, process::ExitCode};

use serde_json::{Map, Value, json};

use crate::{
    case::Case,
    code::Code,
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
    Cases {
        cases: Vec<&'static Case>,
        record: Option<String>,
    },
}

fn main() -> ExitCode {
    match request(env::args().skip(1)).and_then(carry_out) {
        Ok(code) => code,
        Err(error @ (ProgramError::NoDriver(_) | ProgramError::NoDevice(_))) => {
            println!("{error}");
            ExitCode::from(NOTHING_TO_TRY)
        }
        Err(error) => {
            println!("{error}");
            ExitCode::from(WRONG_USE)
        }
    }
}

fn request(mut arguments: impl Iterator<Item = String>) -> Result<Request, ProgramError> {
    let (mut cases, mut record) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => return Ok(Request::List),
            "--case" => {
                return Ok(Request::Alone(named(&arguments.next().unwrap_or_default())?));
            }
            "--record" => {
                let path = arguments.next();
                record = Some(path.ok_or_else(|| ProgramError::Argument("--record".to_owned()))?);
            }
            option if option.starts_with('-') => {
                return Err(ProgramError::Argument(option.to_owned()));
            }
            name => cases.push(named(name)?),
        }
    }
    if cases.is_empty() {
        cases = cases::all().collect();
    }
    Ok(Request::Cases { cases, record })
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
        Request::Cases { cases, record } => run(&cases, record.as_deref()),
    }
}

/// Runs cases, each in its process, and says what came of them.
fn run(cases: &[&Case], record: Option<&str>) -> Result<ExitCode, ProgramError> {
    let machine = machine(&Driver::load_library()?)?;
    let mut records = Map::new();
    let (mut num_failed, mut num_skipped) = (0, 0);
    for case in cases {
        let Report { verdict, words, seen } = process::run_apart(case)?;
        match verdict {
            Verdict::Ok => println!("{}: ok", case.name),
            Verdict::Failed => println!("{}: FAILED: {words}", case.name),
            Verdict::Skipped => println!("{}: skipped: {words}", case.name),
        }
        num_failed += usize::from(verdict == Verdict::Failed);
        num_skipped += usize::from(verdict == Verdict::Skipped);
        let verdict = verdict.name();
        let one = json!({
            "source": case.source, "verdict": verdict, "words": words, "observed": seen
        });
        records.insert(case.name.to_owned(), one);
    }
    let num_ok = cases.len() - num_failed - num_skipped;
    println!("{num_ok} ok, {num_failed} failed, {num_skipped} skipped");
    if let Some(path) = record {
        let text = format!("{:#}\n", json!({ "machine": machine, "cases": records }));
        let wrong = |source| ProgramError::Record { path: path.to_owned(), source };
        fs::write(path, text).map_err(wrong)?;
    }
    Ok(if num_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
