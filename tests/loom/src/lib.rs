//! The model's thread pool, by its own source file: loom runs what is here in every order of the
//! threads' steps, within a bound on how often one is interrupted. `scripts/loom` runs the tests.

#[cfg(not(loom))]
compile_error!("scripts/loom builds this, with `--cfg loom`");

#[cfg(loom)]
#[path = "../../../model/src/threads/mod.rs"]
pub mod threads;

#[cfg(all(loom, test))]
mod tests;
