//! `--timeline FILE`: a drawing or a trace, by the file's ending.

use std::{
    fs::{self, File},
    ops::Range,
    path::PathBuf,
    str::FromStr,
};

use anyhow::Context;
use sluicegate_core::timeline::{ChromeTrace, Timeline, Usage, Window, svg};

use crate::error::CliError;

/// The most microbatches in a drawing.
const MAX_DRAWN: usize = 60;

/// The file of a timeline, and its format.
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

    /// The file's ending decides the format.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let path = PathBuf::from(name);
        let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        let form = match ending.as_ref().and_then(|it| it.to_str()) {
            Some("svg") => Form::Svg,
            Some("json") => Form::Chrome,
            _ => return Err("wanted a name that ends in .svg or .json"),
        };
        Ok(Self { path, form })
    }
}

impl TimelineFile {
    /// Creates the file, so that a wrong name fails before a long run.
    ///
    /// # Errors
    /// [`CliError::Usage`] if the file cannot be created.
    pub(crate) fn create(&self) -> Result<(), CliError> {
        let created = File::create(&self.path);
        let created = created.with_context(|| format!("cannot write {}", self.path.display()));
        created.map(drop).map_err(|error| CliError::usage_at("--timeline", error))
    }

    /// Writes the whole run as a trace, or as much of it as a drawing has room for.
    ///
    /// # Errors
    /// [`CliError::Failed`] if the file cannot be written.
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

/// Returns the whole run if it is short, else as much of its steady part as there is room for.
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
        assert_eq!(form("out"), Err("wanted a name that ends in .svg or .json"));
    }
}
