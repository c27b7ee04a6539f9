//! `sluicegate doctor`: reports the devices and whether a model runs on them.
//!
//! Each check prints its line when it is done, so an incomplete report shows how far it came.

mod machine;
mod trial;

use std::io::{self, Write};

use crate::{
    cli::DoctorArgs,
    cluster::{self, Selection},
    error::{self, CliError},
};

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] if a named device or model does not exist, [`CliError::Refused`] if a check
/// fails.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), CliError> {
    let selection = Selection::of_machine(args.device.as_ref(), args.cpu_devices);
    let found = cluster::select(&selection)?.devices;
    let devices: Vec<_> = found.iter().filter(|it| !it.is_spare).map(|it| it.id).collect();
    let mut report = Report { out: io::stdout().lock(), num_failed: 0 };
    machine::describe(&mut report)?;
    machine::describe_links(&devices, &mut report)?;
    match &args.model {
        Some(name) => trial::of_model(&args.model_args(name.clone()), &mut report)?,
        None => trial::of_devices(&devices, &mut report)?,
    }
    report.end()
}

/// Lines on stdout, and the number of failed checks.
struct Report<W> {
    out: W,
    num_failed: usize,
}

impl<W: Write> Report<W> {
    fn say(&mut self, name: &str, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{name:<10} {text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints the outcome of a check. A usage error ends the command.
    fn check(&mut self, name: &str, outcome: Result<String, CliError>) -> Result<(), CliError> {
        match outcome {
            Ok(text) => self.say(name, &format!("ok: {text}")),
            Err(CliError::Failed(error)) => {
                self.num_failed += 1;
                self.say(name, &format!("FAILED: {}", error::chain(&error)))
            }
            Err(other) => Err(other),
        }
    }

    fn end(mut self) -> Result<(), CliError> {
        match self.num_failed {
            0 => self.say("result", "all is well"),
            1 => self.say("result", "1 check failed").and(Err(CliError::Refused)),
            failed => {
                self.say("result", &format!("{failed} checks failed")).and(Err(CliError::Refused))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn report(outcomes: Vec<Result<String, CliError>>) -> (String, bool) {
        let mut text = Vec::new();
        let mut report = Report { out: &mut text, num_failed: 0 };
        for outcome in outcomes {
            report.check("tiny", outcome).unwrap();
        }
        let is_well = report.end().is_ok();
        (String::from_utf8(text).unwrap(), is_well)
    }

    #[test]
    fn failures_are_said_and_counted() {
        let failed = || Err(CliError::failed(anyhow!("gone").context("cannot run")));
        let (text, is_well) = report(vec![Ok("16 tokens".to_owned()), failed(), failed()]);
        assert_eq!(
            text,
            "tiny       ok: 16 tokens\n\
             tiny       FAILED: cannot run: gone\n\
             tiny       FAILED: cannot run: gone\n\
             result     2 checks failed\n"
        );
        assert!(!is_well);
        assert_eq!(report(Vec::new()), ("result     all is well\n".to_owned(), true));
    }

    #[test]
    fn a_wrong_call_ends_the_report() {
        let mut report = Report { out: Vec::new(), num_failed: 0 };
        let outcome = report.check("tiny", Err(CliError::usage(anyhow!("no such device"))));
        assert!(matches!(outcome, Err(CliError::Usage(_))));
    }
}
