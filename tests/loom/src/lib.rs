//! The model's thread pool, by its own source file: loom runs what is here in every order of the
//! threads' steps, within a bound on how often one is interrupted. `scripts/loom` runs the tests.

#![cfg(loom)]

#[path = "../../../model/src/threads/mod.rs"]
pub mod threads;

#[cfg(test)]
mod tests;
