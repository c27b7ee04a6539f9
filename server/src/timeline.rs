//! `--timeline FILE`: for people or for tools, by the file's ending.

use std::{fs, path::Path};

use anyhow::{Context, anyhow};
use sluicegate_runtime::timeline::{ChromeTrace, Timeline, Usage, svg};

use crate::error::CliError;

/// Microbatches that a drawing has room for.
const MAX_DRAWN: usize = 60;

/// How a timeline is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Svg,
    Chrome,
}

impl Form {
    /// The form that a file's name asks for.
    pub(super) fn of(path: &Path) -> Result<Self, CliError> {
        let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        match ending.as_ref().and_then(|it| it.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("json") => Ok(Self::Chrome),
            _ => {
                let error = anyhow!("{}: wanted a name in .svg or .json", path.display());
                Err(CliError::usage_at("--timeline", error))
            }
        }
    }

    pub(super) fn write(
        self,
        path: &Path,
        timeline: &Timeline,
        usage: Option<&Usage>,
    ) -> Result<(), CliError> {
        let text = match self {
            Self::Svg => svg(timeline, drawn(timeline, usage)),
            Self::Chrome => serde_json::to_string(&ChromeTrace::from(timeline))
                .context("--timeline")
                .map_err(CliError::Failed)?,
        };
        fs::write(path, text)
            .with_context(|| format!("--timeline: cannot write {}", path.display()))
            .map_err(CliError::Failed)
    }
}

/// The whole run if it is short, else its steady part as far as there is room.
fn drawn(timeline: &Timeline, usage: Option<&Usage>) -> std::ops::Range<f64> {
    let whole = 0.0..timeline.end_s();
    let Some(usage) = usage.filter(|_| timeline.microbatches.len() > MAX_DRAWN) else {
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
        let form = |name: &str| Form::of(Path::new(name)).map_err(|error| format!("{error:?}"));
        assert_eq!(form("a/out.svg"), Ok(Form::Svg));
        assert_eq!(form("out.JSON"), Ok(Form::Chrome));
        assert!(form("out").unwrap_err().contains("wanted a name in .svg or .json"));
    }
}
