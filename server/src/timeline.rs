//! `--timeline FILE`: for people or for tools, by the file's ending.

use std::{
    fs::{self, File},
    ops::Range,
    path::PathBuf,
    str::FromStr,
};

use anyhow::Context;
use sluicegate_core::timeline::{ChromeTrace, Timeline, Usage, Window, svg};

use crate::error::CliError;

/// Microbatches that a drawing has room for.
const MAX_DRAWN: usize = 60;

/// Where a timeline goes, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimelineFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Chrome,
}

impl FromStr for TimelineFile {
    type Err = &'static str;

    /// The form is the one that the file's name asks for.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(name);
        let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        let form = match ending.as_ref().and_then(|it| it.to_str()) {
            Some("svg") => Form::Svg,
            Some("json") => Form::Chrome,
            _ => return Err("wanted a name in .svg or .json"),
        };
        Ok(Self { path, form })
    }
}

impl TimelineFile {
    /// Makes the file, so that a wrong name costs nobody a long run.
    ///
    /// # Errors
    /// [`CliError::Usage`] where there can be no such file.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        let created = File::create(&self.path);
        let created = created.with_context(|| format!("cannot write {}", self.path.display()));
        created.map(drop).map_err(|error| CliError::usage_at("--timeline", error))
    }

    /// Writes the whole run for tools, and for people as much of it as can be seen.
    ///
    /// # Errors
    /// [`CliError::Failed`] where the file cannot be written.
    pub(crate) fn write(&self, timeline: &Timeline) -> Result<(), CliError> {
        let text = match self.form {
            Form::Svg => svg(timeline, drawn(timeline)),
            Form::Chrome => serde_json::to_string(&ChromeTrace::from(timeline))
                .context("--timeline")
                .map_err(CliError::Failed)?,
        };
        fs::write(&self.path, text)
            .with_context(|| format!("--timeline: cannot write {}", self.path.display()))
            .map_err(CliError::Failed)
    }
}

/// The whole run if it is short, else its steady part as far as there is room.
fn drawn(timeline: &Timeline) -> Range<f64> {
    let starts = timeline.spans.iter().map(|span| span.start_s);
    let whole = starts.fold(timeline.end_s(), f64::min)..timeline.end_s();
    let is_long = timeline.microbatches.len() > MAX_DRAWN;
    let Some(usage) = is_long.then(|| Usage::of(timeline, Window::Steady)).flatten() else {
        return whole;
    };
    let mut ends: Vec<f64> = timeline.spans.iter().map(|span| span.end_s).collect();
    ends.retain(|end_s| *end_s > usage.start_s);
    ends.sort_by(f64::total_cmp);
    let per_microbatch = timeline.spans.len().div_ceil(timeline.microbatches.len());
    let last = ends.get(MAX_DRAWN * per_microbatch).or(ends.last());
    usage.start_s..last.copied().unwrap_or(whole.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_form() {
        let form = |name: &str| name.parse().map(|file: TimelineFile| file.form);
        assert_eq!(form("a/out.svg"), Ok(Form::Svg));
        assert_eq!(form("out.JSON"), Ok(Form::Chrome));
        assert_eq!(form("out"), Err("wanted a name in .svg or .json"));
    }
}
