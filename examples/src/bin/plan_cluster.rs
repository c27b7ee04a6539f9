//! Plans a model from its `config.json` for devices described in a line, and explains the plan.
//!
//! ```sh
//! cargo run --release -p sluicegate-examples --bin plan_cluster -- config.json "2x rtx4090, pcie4"
//! ```

use std::{io::Write, path::Path};

use anyhow::Context;
use sluicegate::{
    placement::{self, Cluster, Explained, Policy, Sequences},
    spec::profile::{ModelProfile, Target},
};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: plan_cluster CONFIG.JSON CLUSTER";
    let (model, cluster) = (arguments.next().context(usage)?, arguments.next().context(usage)?);

    let profile = ModelProfile::read(Path::new(&model), Target::ACCELERATOR)?;
    let cluster = Cluster::parse_spec(&cluster)?;
    let policy = Policy { sequences: Sequences::Exactly(16), ..Policy::default() };
    let solution = placement::solve(&profile, &cluster, &policy)?;
    let explanation = placement::explain(&profile, &cluster, &policy, &solution)?;

    let explained = Explained { solution: &solution, explanation: &explanation };
    writeln!(std::io::stdout().lock(), "{explained}")?;
    Ok(())
}
