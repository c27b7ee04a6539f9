//! How fast this processor is: measured, and kept in the cache folder for some days.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sluicegate_model::source::cache_folder;

use super::calibrate::{Apart, CpuSpeed, processor};

/// After so long it is measured again: a system's settings and its neighbours change.
const KEPT_FOR: Duration = Duration::from_hours(14 * 24);

/// On a machine that is never quiet it is measured so often, and no more.
const MOST_MEASURED: u32 = 4;

/// What the file holds. Another processor or version measures anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    version: String,
    processor: String,
    /// Seconds since 1970.
    measured_at: u64,
    /// Whether the machine had other work each time: then a few more commands measure again, and
    /// what is better counts.
    was_busy: bool,
    num_measured: u32,
    speed: CpuSpeed,
}

/// What becomes of a kept measurement.
#[derive(Debug, PartialEq)]
enum Use {
    AsItIs(CpuSpeed),
    /// It is measured again, and what is better counts.
    Improve {
        known: CpuSpeed,
        num_measured: u32,
    },
    Measure,
}

/// The speed of this processor; none where it cannot be measured.
pub(super) fn cpu() -> Option<CpuSpeed> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let path = cache_folder().ok().map(|folder| folder.join("cpu-speed.json"));
    let kept = path.as_ref().and_then(read);
    let (known, before) = match kept.map_or(Use::Measure, |kept| kept.used(&processor(), now)) {
        Use::AsItIs(speed) => return Some(speed),
        Use::Improve { known, num_measured } => (Some(known), num_measured),
        Use::Measure => (None, 0),
    };
    let measured = CpuSpeed::measure()
        .inspect_err(|error| tracing::warn!("the processor's speed is not known: {error}"))
        .ok()?;
    let speed = known.map_or(measured.speed, |known| measured.speed.or_better(known));
    tracing::info!(
        "measured {:.1} GB/s and {:.1} GFLOP/s for one thread; all together read {:.2} times that",
        speed.bytes_per_s / 1e9,
        speed.flops_per_s / 1e9,
        speed.all_threads
    );
    if let Some(path) = path {
        let kept = Kept {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: processor(),
            measured_at: now.as_secs(),
            was_busy: !measured.is_quiet,
            num_measured: before + 1,
            speed,
        };
        write(&path, &kept);
    }
    Some(speed)
}

impl Kept {
    fn used(&self, processor: &str, now: Duration) -> Use {
        let age = now.checked_sub(Duration::from_secs(self.measured_at));
        let CpuSpeed { bytes_per_s, flops_per_s, all_threads, apart } = self.speed;
        let Apart { reading, computing } = apart;
        let figures = [bytes_per_s, flops_per_s, all_threads, reading, computing];
        let is_sound = figures.iter().all(|it| it.is_finite() && *it > 0.0);
        let is_same = self.version == env!("CARGO_PKG_VERSION") && self.processor == processor;
        match age {
            Some(age) if age < KEPT_FOR && is_same && is_sound => {}
            // It may also be from tomorrow.
            _ => return Use::Measure,
        }
        let (known, num_measured) = (self.speed, self.num_measured);
        if self.was_busy && num_measured < MOST_MEASURED {
            Use::Improve { known, num_measured }
        } else {
            Use::AsItIs(known)
        }
    }
}

fn read(path: &PathBuf) -> Option<Kept> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Where it cannot be written it is measured again next time.
fn write(path: &PathBuf, kept: &Kept) {
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&temporary, serde_json::to_string(kept)?)?;
        fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        tracing::debug!("{}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_kept_while_they_can_be_believed() {
        let speed = CpuSpeed {
            bytes_per_s: 1e10,
            flops_per_s: 1e11,
            all_threads: 1.5,
            apart: Apart { reading: 1.6, computing: 1.9 },
        };
        let kept = Kept {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: "one".to_owned(),
            measured_at: 1_000_000,
            was_busy: false,
            num_measured: 1,
            speed,
        };
        let days = |days: u64| Duration::from_secs(1_000_000 + days * 24 * 3600);
        assert_eq!(kept.used("one", days(13)), Use::AsItIs(speed));
        assert_eq!(kept.used("one", days(14)), Use::Measure);
        assert_eq!(kept.used("one", Duration::from_secs(999_999)), Use::Measure);
        assert_eq!(kept.used("other", days(0)), Use::Measure);
        let busy = Kept { was_busy: true, ..kept.clone() };
        let improved = Use::Improve { known: speed, num_measured: 1 };
        assert_eq!(busy.used("one", days(1)), improved);
        let often = Kept { num_measured: MOST_MEASURED, ..busy };
        assert_eq!(often.used("one", days(1)), Use::AsItIs(speed));
        let older = Kept { version: "0.0.1".to_owned(), ..kept.clone() };
        assert_eq!(older.used("one", days(1)), Use::Measure);
        let wrong = Kept { speed: CpuSpeed { all_threads: 0.0, ..speed }, ..kept };
        assert_eq!(wrong.used("one", days(1)), Use::Measure);
    }
}
