//! One turn of a side: starts its processes, waits until all are ready, and runs them together.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, anyhow};

use super::{
    measure::{Measured, Reply, Task},
    side::Side,
};
use crate::error::CliError;

/// Measures a side once.
///
/// # Errors
/// The error that one of its processes reports, or that it ended without one.
pub(super) fn take_turn(side: &Side) -> Result<Measured, CliError> {
    let turn = || {
        let started: Result<Vec<_>, CliError> = side.tasks.iter().map(Measuring::start).collect();
        let mut started = started?;
        started.iter_mut().try_for_each(Measuring::wait_until_ready)?;
        started.iter_mut().try_for_each(|it| it.tell("go"))?;
        let mut sum = Measured::default();
        for process in &mut started {
            sum.add(process.measured()?);
        }
        Ok(sum)
    };
    turn().map_err(|error: CliError| error.at(&side.name))
}

/// A measuring process, running this program. Dropping this ends it.
struct Measuring {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Measuring {
    /// Starts it with the same arguments, which name the model and the workload.
    fn start(task: &Task) -> Result<Self, CliError> {
        let start = || {
            let mut command = Command::new(env::current_exe()?);
            command.args(env::args_os().skip(1)).arg("--measure");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        };
        let mut child =
            start().context("cannot start a measuring process").map_err(CliError::Failed)?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut process = Self { child, stdin, stdout };
        process.tell(&serde_json::to_string(task).map_err(CliError::failed)?)?;
        Ok(process)
    }

    fn tell(&mut self, line: &str) -> Result<(), CliError> {
        writeln!(self.stdin, "{line}").map_err(|error| self.ended(error.into()))
    }

    fn wait_until_ready(&mut self) -> Result<(), CliError> {
        match self.reply()? {
            Reply::Ready => Ok(()),
            Reply::Measured(_) | Reply::Error { .. } => Err(self.ended(anyhow!("wanted `Ready`"))),
        }
    }

    fn measured(&mut self) -> Result<Measured, CliError> {
        match self.reply()? {
            Reply::Measured(measured) => Ok(measured),
            Reply::Ready | Reply::Error { .. } => Err(self.ended(anyhow!("wanted `Measured`"))),
        }
    }

    fn reply(&mut self) -> Result<Reply, CliError> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        let reply =
            read.map_err(anyhow::Error::from).and_then(|_| Ok(serde_json::from_str(&line)?));
        match reply {
            Ok(Reply::Error { is_usage: true, message }) => Err(CliError::usage(anyhow!(message))),
            Ok(Reply::Error { is_usage: false, message }) => {
                Err(CliError::failed(anyhow!(message)))
            }
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.ended(error)),
        }
    }

    /// Makes the error of a process that violates the protocol.
    fn ended(&mut self, error: anyhow::Error) -> CliError {
        // Killing a process that has ended has no effect.
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|it| it.to_string(), |it| it.to_string());
        CliError::failed(error.context(format!("a measuring process ended with {status}")))
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
