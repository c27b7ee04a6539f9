//! The folders in which NVIDIA's libraries may be.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Folders given by the user; searched first.
pub(crate) const FOLDERS_VARIABLE: &str = "SLUICEGATE_CUDA_LIBS";

/// Folders that systems and containers use in addition to the loader's own.
const USUAL: [&str; 5] = [
    "/usr/local/cuda/lib64",
    "/opt/cuda/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/wsl/lib",
];

/// The search order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    /// Searched before the loader's own places.
    pub(crate) first: Vec<PathBuf>,
    /// Searched if the loader found nothing.
    pub(crate) then: Vec<PathBuf>,
}

impl Folders {
    /// Collects the folders from the environment; `variable` reads an environment variable.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = variable(FOLDERS_VARIABLE).unwrap_or_default();
        let path = |name: &str| variable(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(path);
        let mut then: Vec<PathBuf> =
            toolkits.flat_map(|it| [it.join("lib64"), it.join("lib")]).collect();
        then.extend(USUAL.map(PathBuf::from));
        let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(path);
        let mut prefixes: Vec<PathBuf> = environments.collect();
        prefixes.extend(variable("PATH").iter().flat_map(python_prefixes));
        prefixes.extend(path("HOME").map(|home| home.join(".local")));
        then.extend(prefixes.iter().flat_map(|prefix| package_folders(prefix)));
        let exists = |folder: &PathBuf| folder.is_dir();
        Self {
            first: std::env::split_paths(&named).filter(exists).collect(),
            then: then.into_iter().filter(exists).collect(),
        }
    }
}

/// Returns the prefix of the Python on the path, as named and with links resolved.
fn python_prefixes(path: &OsString) -> Vec<PathBuf> {
    let python = std::env::split_paths(path).map(|it| it.join("python3")).find(|it| it.is_file());
    let Some(python) = python else { return Vec::new() };
    let prefix = |python: &Path| python.parent().and_then(Path::parent).map(Path::to_owned);
    let real = python.canonicalize().ok().and_then(|real| prefix(&real));
    prefix(&python).into_iter().chain(real).collect()
}

/// Returns the library folders of the `nvidia-*` packages of one Python installation:
/// `lib/python3.N/site-packages/nvidia/*/lib`.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let versions = entries(&prefix.join("lib"));
    let pythons = versions.iter().filter(|it| {
        it.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
    });
    let sites = pythons.flat_map(|it| [it.join("site-packages"), it.join("dist-packages")]);
    sites.flat_map(|site| entries(&site.join("nvidia"))).map(|it| it.join("lib")).collect()
}

/// Returns the sorted entries of a folder; empty if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates folders and empty files below a root.
    fn lay(root: &Path, folders: &[&str], files: &[&str]) {
        for folder in folders {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in files {
            fs::write(root.join(file), "").unwrap();
        }
    }

    #[test]
    fn folders_come_from_variables_toolkits_and_python_packages() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let packages = "python/lib/python3.12/site-packages/nvidia";
        let cublas = format!("{packages}/cublas/lib");
        let cuda = format!("{packages}/cu13/lib");
        let folders =
            ["mine", "toolkit/lib64", "python/bin", "bin", &cublas, &cuda, "home/.local/lib"];
        lay(root, &folders, &["python/bin/python3"]);
        std::os::unix::fs::symlink(root.join("python/bin/python3"), root.join("bin/python3"))
            .unwrap();
        let variable = |name: &str| match name {
            FOLDERS_VARIABLE => Some(format!("{0}/mine:{0}/absent", root.display()).into()),
            "CUDA_HOME" => Some(root.join("toolkit").into()),
            "CUDA_PATH" => Some(OsString::new()),
            "PATH" => Some(format!("{0}/mine:{0}/bin", root.display()).into()),
            "HOME" => Some(root.join("home").into()),
            _ => None,
        };
        let found = Folders::of(variable);
        assert_eq!(found.first, [root.join("mine")]);
        let below: Vec<_> = found.then.iter().filter(|it| it.starts_with(root)).collect();
        assert_eq!(below, [&root.join("toolkit/lib64"), &root.join(cuda), &root.join(cublas)]);
    }

    #[test]
    fn an_empty_environment_leads_to_the_usual_folders_alone() {
        let found = Folders::of(|_| None);
        assert_eq!(found.first, Vec::<PathBuf>::new());
        assert!(found.then.iter().all(|it| USUAL.iter().any(|usual| it == Path::new(usual))));
    }
}
