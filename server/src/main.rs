//! The command line of Sluicegate: arguments in, text or one JSON object out.
//!
//! Owns arguments, terminal output and exit codes; the libraries do the work.

mod batch;
mod bench;
mod bounded;
mod cli;
mod cluster;
mod constraint;
mod counted;
mod devices;
mod doctor;
mod error;
mod facts;
mod generate;
mod layers;
mod maskbench;
mod memory;
mod place;
mod plan;
mod print;
mod progress;
mod prompts;
mod replay;
mod report;
mod request;
mod saved;
mod schema;
mod simulate;
mod stages;
mod timeline;
mod validation;
mod vocabulary;

use std::{process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    cli::{Cli, Command, SchemaCommand},
    error::CliError,
};

fn main() -> ExitCode {
    let started = Instant::now();
    if let Err(error) = sluicegate_model::cpu_features::check_cpu() {
        return CliError::failed(error).exit();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::exit_with_clap(&error),
    };
    let outcome = start_logging().and_then(|()| match cli.command {
        Command::Generate(args) => match &args.batch.batch_file {
            Some(file) => batch::run(&args, file),
            None => generate::run(&args, started),
        },
        Command::Bench(args) => bench::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Maskbench(args) => maskbench::run(&args),
        Command::Schema(SchemaCommand::Check(args)) => schema::check(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.exit(),
    }
}

/// Sends logs to stderr, filtered by `RUST_LOG`; by default warnings and errors.
fn start_logging() -> Result<(), CliError> {
    use std::io::IsTerminal;
    use tracing_subscriber::{EnvFilter, filter::LevelFilter};

    let filter = match std::env::var_os("RUST_LOG") {
        None => EnvFilter::new("warn"),
        Some(_) => EnvFilter::builder()
            .with_default_directive(LevelFilter::WARN.into())
            .from_env()
            .map_err(|error| CliError::usage_at("RUST_LOG", error))?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
