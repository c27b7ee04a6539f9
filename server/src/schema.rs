//! `sluicegate schema check`: compiles a schema and validates instances.

mod instance;
mod print;
mod refusal;
mod report;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use sluicegate_constraint::{Compiled, Compiler, JsonOptions, Spec};

use self::{
    instance::Instance,
    report::{CheckReport, InstanceReport, SchemaReport},
};
use crate::{
    cli::SchemaCheckArgs,
    constraint::{read_schema, schema_argument},
    error::CliError,
    facts::Witness,
    maskbench::remotes,
    vocabulary,
};

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] if the schema cannot be used, [`CliError::Refused`] if an instance is
/// refused.
pub(crate) fn check(args: &SchemaCheckArgs) -> Result<(), CliError> {
    let schema = read_schema(&args.schema).map_err(CliError::usage)?;
    let instances = args.instances.iter().map(|it| Instance::read(it));
    let instances = instances.collect::<anyhow::Result<Vec<_>>>().map_err(CliError::usage)?;
    let remotes = args.remotes.as_deref().map(remotes::read).transpose()?.unwrap_or_default();
    let vocab = vocabulary::open(&args.model)?;
    let compiler = Compiler::new(vocab).context("--model").map_err(CliError::Failed)?;
    let options = JsonOptions { remotes: Arc::new(remotes), ..args.json_form.options() };
    let started = Instant::now();
    let spec = Spec::Json { schema, options };
    let compiled = compiler.compile_grammar(&spec);
    let compile = started.elapsed();
    let wrong = |error| CliError::usage_at(&schema_argument(&args.schema), error);
    let compiled = compiled.map_err(wrong)?;
    let witness = Witness::find(&compiled);
    let witness = witness.map_err(|error| wrong(compiler.explain(&spec, error)))?;
    let report = CheckReport {
        model: &args.model,
        schema: SchemaReport::new(&compiled, compile, &witness),
        instances: check_all(&compiled, &instances, args.trace),
    };
    let mut stdout = io::stdout().lock();
    if args.json {
        crate::print::json(&report, &mut stdout)?;
    } else {
        print::print(&report, &mut stdout)?;
    }
    stdout.flush()?;
    let is_accepted = report.instances.iter().all(|it| it.accepted);
    if is_accepted { Ok(()) } else { Err(CliError::Refused) }
}

fn check_all(compiled: &Compiled, instances: &[Instance], trace: bool) -> Vec<InstanceReport> {
    instances.iter().map(|instance| InstanceReport::new(compiled, instance, trace)).collect()
}
