//! Loads the libraries, once per process.

use std::{
    ffi::CStr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::{
    import::{BLAS, DRIVER, Import, RAND, RUNTIME, RUNTIME_TEXTS},
    kernels,
    search::{FOLDERS_VARIABLE, Folders},
};

/// The CUDA release for which the bindings are made; sonames end in it.
const MAJOR: &str = env!("SLUICEGATE_CUDA_MAJOR");

/// The library of NVIDIA's that connects GPUs.
const NCCL: &str = "libnccl.so.2";

/// Why CUDA cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("libcuda.so.1, which comes with NVIDIA's driver, was not found")]
    NoDriver,
    #[error(
        "{library} was not found; `pip install {package}` has it, \
         and {FOLDERS_VARIABLE} can name its folder"
    )]
    NoLibrary { library: String, package: String },
    #[error("{} has no {function}: another release than CUDA {MAJOR}, or too old a driver", library.display())]
    NoFunction { library: PathBuf, function: String },
}

/// The loaded libraries, each with the path given to the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub libraries: Vec<PathBuf>,
}

/// Finds NVIDIA's libraries and redirects the linked functions to them.
///
/// The first call decides for the whole process.
///
/// # Errors
/// [`LoadError`] for the first library that is missing or of another release.
pub fn load() -> Result<&'static Loaded, LoadError> {
    static OUTCOME: OnceLock<Result<Loaded, LoadError>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| load_all(&Folders::of(|name| std::env::var_os(name))));
    outcome.as_ref().map_err(Clone::clone)
}

/// A library and the addresses of its functions.
struct Opened {
    library: Library,
    path: PathBuf,
    addresses: Vec<(&'static Import, Vec<*mut ()>)>,
}

/// Opens all libraries before any function is redirected.
fn load_all(folders: &Folders) -> Result<Loaded, LoadError> {
    let (runtime, blas) = (format!("libcudart.so.{MAJOR}"), format!("libcublas.so.{MAJOR}"));
    // cuBLAS needs it, and finds it only if it is already loaded or in the same folder.
    let blas_lt = format!("libcublasLt.so.{MAJOR}");
    let runtime_package = format!("nvidia-cuda-runtime=={MAJOR}.*");
    let blas_package = format!("nvidia-cublas=={MAJOR}.*");
    let opened = [
        Opened::find("libcuda.so.1", None, &[&DRIVER], folders)?,
        Opened::find(&runtime, Some(runtime_package), &[&RUNTIME, &RUNTIME_TEXTS], folders)?,
        Opened::find(&blas_lt, Some(blas_package.clone()), &[], folders)?,
        Opened::find(&blas, Some(blas_package), &[&BLAS], folders)?,
        Opened::find("libcurand.so.10", Some("nvidia-curand==10.*".to_owned()), &[&RAND], folders)?,
    ];
    let Opened { library, path, .. } = &opened[1];
    // SAFETY: it is the runtime of the release that the kernels were compiled with.
    unsafe { kernels::register_with(library) }.map_err(|function| no_function(path, function))?;
    for (import, addresses) in opened.iter().flat_map(|it| &it.addresses) {
        // SAFETY: the addresses are those of the functions with these names in a library of the
        // release that the callers' declarations are made for, and it is never closed.
        unsafe { import.point_to(addresses) };
    }
    let libraries = opened.iter().map(|it| it.path.clone()).collect();
    // Functions of them are called until the process ends.
    std::mem::forget(opened);
    Ok(Loaded { libraries })
}

impl Opened {
    /// `package` is the Python package with the library, if there is one.
    fn find(
        name: &str,
        package: Option<String>,
        imports: &[&'static Import],
        folders: &Folders,
    ) -> Result<Self, LoadError> {
        let (library, path) = find(name, folders).ok_or_else(|| match package {
            None => LoadError::NoDriver,
            Some(package) => LoadError::NoLibrary { library: name.to_owned(), package },
        })?;
        let addresses =
            |import: &&'static Import| Ok((*import, addresses(&library, &path, import.names)?));
        let addresses = imports.iter().map(addresses).collect::<Result<_, LoadError>>()?;
        Ok(Self { library, path, addresses })
    }
}

/// Finds NCCL, and looks up functions of it.
///
/// # Errors
/// [`LoadError`] if the library or one of the functions is missing.
pub(crate) fn nccl(names: &[&CStr]) -> Result<Vec<*mut ()>, LoadError> {
    let folders = Folders::of(|name| std::env::var_os(name));
    let (library, path) = find(NCCL, &folders).ok_or_else(|| LoadError::NoLibrary {
        library: NCCL.to_owned(),
        package: format!("nvidia-nccl-cu{MAJOR}"),
    })?;
    let addresses = addresses(&library, &path, names)?;
    // Functions of it are called until the process ends.
    std::mem::forget(library);
    Ok(addresses)
}

/// Opens the library in the first place that has it. Returns it with the path used.
fn find(name: &str, folders: &Folders) -> Option<(Library, PathBuf)> {
    let in_folders = |folders: &[PathBuf]| folders.iter().find_map(|it| open(&it.join(name)));
    in_folders(&folders.first)
        .or_else(|| open(Path::new(name)))
        .or_else(|| in_folders(&folders.then))
}

fn open(path: &Path) -> Option<(Library, PathBuf)> {
    // SAFETY: the library's initialisers run, as they would if the program were linked to it; the
    // name is NVIDIA's, and the folders are those that the user's environment leads to.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    Some((library.ok()?, path.to_owned()))
}

fn addresses(library: &Library, path: &Path, names: &[&CStr]) -> Result<Vec<*mut ()>, LoadError> {
    let address = |name: &&CStr| {
        // SAFETY: the address is not called here.
        let symbol = unsafe { library.get::<*mut ()>(name.to_bytes_with_nul()) };
        symbol.map(|it| it.as_raw_ptr().cast()).map_err(|_| no_function(path, name))
    };
    names.iter().map(address).collect()
}

fn no_function(library: &Path, name: &CStr) -> LoadError {
    let function = name.to_string_lossy().into_owned();
    LoadError::NoFunction { library: library.to_owned(), function }
}

#[cfg(test)]
mod tests;
