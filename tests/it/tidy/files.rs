//! The files of the repository that people write.

use std::{fs, io, path::Path};

use super::File;

/// Endings of files with text; a script has none.
const TEXT: [&str; 9] = ["rs", "toml", "md", "py", "sh", "json", "yml", "snap", "lark"];

/// Reads all text files below the root, in order of their paths.
pub(super) fn all() -> Vec<File> {
    let mut files = Vec::new();
    read(Path::new(".."), "", &mut files).expect("the repository can be read");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Reads the text files of a folder and of those in it; `prefix` is its path from the root.
fn read(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_foreign(&name) {
            read(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else if kind.is_file() && is_text(&name) {
            let bytes = fs::read(entry.path())?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            files.push(File { path: format!("{prefix}{name}"), text });
        }
    }
    Ok(())
}

/// Folders that builds and tools make; of the hidden ones two are ours.
fn is_foreign(name: &str) -> bool {
    let hidden = name.starts_with('.') && !matches!(name, ".ci" | ".cargo");
    hidden || name.starts_with("target") || name == "__pycache__" || name == "node_modules"
}

fn is_text(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, ending)) => TEXT.contains(&ending),
        None => true,
    }
}

#[test]
fn the_walk_sees_the_repository() {
    let files = all();
    let has = |path: &str| files.iter().any(|file| file.path == path);
    for path in ["Cargo.toml", "tests/it/tidy/files.rs", ".cargo/config.toml", ".ci/run"] {
        assert!(has(path), "{path}");
    }
    assert!(!files.iter().any(|file| file.path.starts_with("target")));
    assert!(files.iter().any(|file| file.path.starts_with("runtime/placement/src/")));
}
