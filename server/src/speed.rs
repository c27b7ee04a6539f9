//! How fast this processor is: measured once, and kept in the cache folder.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use sluicegate_model::source::cache_folder;
use sluicegate_runtime::device::calibrate::{CpuSpeed, processor};

/// What the file holds. Another processor or version measures anew.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    version: String,
    processor: String,
    speed: CpuSpeed,
}

/// The speed of this processor; none where it cannot be measured.
pub(crate) fn cpu() -> Option<CpuSpeed> {
    let processor = processor();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let path = cache_folder().ok().map(|folder| folder.join("cpu-speed.json"));
    if let Some(kept) = path.as_ref().and_then(read)
        && (&kept.version, &kept.processor) == (&version, &processor)
    {
        return Some(kept.speed);
    }
    let speed = CpuSpeed::measure()
        .inspect_err(|error| tracing::warn!("the processor's speed is not known: {error}"))
        .ok()?;
    tracing::info!(
        "measured {:.1} GB/s and {:.1} GFLOP/s for one thread, {:.2} times that for all",
        speed.bytes_per_s / 1e9,
        speed.flops_per_s / 1e9,
        speed.all_threads
    );
    if let Some(path) = path {
        write(&path, &Kept { version, processor, speed });
    }
    Some(speed)
}

fn read(path: &PathBuf) -> Option<Kept> {
    let kept: Kept = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let CpuSpeed { bytes_per_s, flops_per_s, all_threads } = kept.speed;
    let is_sound = [bytes_per_s, flops_per_s, all_threads].iter().all(|it| *it > 0.0);
    is_sound.then_some(kept)
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
