//! The one test binary: tests across crates, and of the repository itself.

mod tidy;
