//! Prints the planner's suite: our plans against the rules of other systems.
//!
//! `cargo bench --workspace --bench planner_suite`

use std::io::{self, Write};

use sluicegate_tests::suite::{Report, Suite};

fn main() -> io::Result<()> {
    let outcomes = Suite::read().run();
    write!(io::stdout().lock(), "{}", Report(&outcomes))
}
