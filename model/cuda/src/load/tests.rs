//! The whole way through libraries made for the test: what is linked to reaches them, and all that
//! is missing has a name. One test, since the table of functions is the process's.

use std::{
    ffi::{c_char, c_int, c_void},
    fmt::Write,
    fs,
    process::Command,
    ptr,
};

use super::*;
use crate::image::{Capability, Image};

// What candle's code calls: known by name alone, as there.
unsafe extern "C" {
    fn cuInit(flags: u32) -> c_int;
    fn cublasGemmStridedBatchedEx(
        a: i64,
        b: i64,
        c: i64,
        d: i64,
        e: i64,
        f: i64,
        g: i64,
        h: i64,
        i: i64,
        j: i64,
    ) -> c_int;
    fn curandGenerateUniform(scale: f64, number: i64) -> c_int;
    fn cudaGetErrorName(error: c_int) -> *const c_char;
    fn __cudaRegisterFatBinary(wrapper: *const c_void) -> *mut c_void;
    fn __cudaRegisterFunction(
        handle: *mut c_void,
        host: *const c_void,
        device: *mut c_char,
        name: *const c_char,
        limit: c_int,
        a: *mut c_void,
        b: *mut c_void,
        c: *mut c_void,
        d: *mut c_void,
        e: *mut c_int,
    );
    fn __cudaRegisterVar(
        handle: *mut c_void,
        host: *mut c_void,
        address: *mut c_char,
        name: *const c_char,
        external: c_int,
        size: usize,
        constant: c_int,
        global: c_int,
    );
    fn __cudaRegisterFatBinaryEnd(handle: *mut c_void);
}

/// Functions that tell by what they return that they got what they were given.
const SPECIAL: &str = r#"
int cuInit(unsigned flags) { return 7000 + flags; }
int cublasGemmStridedBatchedEx(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j)
    { return a + 2*b + 3*c + 4*d + 5*e + 6*f + 7*g + 8*h + 9*i + 10*j; }
int curandGenerateUniform(double scale, long number) { return (int)(scale * number); }
const char *cudaGetErrorName(int error) { return error == 5 ? "five" : "other"; }
"#;

/// The runtime's registration, which writes down in words what it is told.
const REGISTRATION: &str = r#"
#include <stdio.h>
char told[1000];
static int length;
void **__cudaRegisterFatBinary(void *wrapper)
    { length += sprintf(told + length, "begin %d;", *(int *)wrapper); return (void **)99; }
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit,
    void *a, void *b, void *c, void *d, int *e)
    { length += sprintf(told + length, "function %ld %s %d %d;", (long)handle, name, limit, !a && !b && !c && !d && !e); }
void __cudaRegisterVar(void **handle, char *host, char *address, const char *name, int external,
    size_t size, int constant, int global)
    { length += sprintf(told + length, "variable %s %ld %d %d %d;", name, (long)size, external, constant, global); }
void __cudaRegisterFatBinaryEnd(void **handle) { length += sprintf(told + length, "end %ld", (long)handle); }
"#;

/// Compiles a library with these functions, and the special ones among them.
fn make(folder: &Path, name: &str, imports: &[&Import], more: &str) {
    let mut source = more.to_owned();
    for name in imports.iter().flat_map(|import| import.names) {
        let name = name.to_str().unwrap();
        let special = SPECIAL.lines().position(|line| line.contains(&format!("{name}(")));
        match special {
            Some(first) => {
                let lines: Vec<&str> = SPECIAL.lines().skip(first).collect();
                let end = lines.iter().position(|line| line.contains('}')).unwrap();
                writeln!(source, "{}", lines[..=end].join("\n")).unwrap();
            }
            None => writeln!(source, "int {name}(void) {{ return 0; }}").unwrap(),
        }
    }
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source).unwrap();
    let compiler = Command::new("cc")
        .args(["-w", "-shared", "-fPIC", "-o"])
        .args([&folder.join(name), &file])
        .status();
    assert!(compiler.unwrap().success(), "cc could not make {name}");
}

/// A fat binary with PTX for 8.0, in the form of `fat_binary`.
fn fat_binary() -> Vec<u8> {
    let mut bytes = vec![0; 16 + 64];
    bytes[..4].copy_from_slice(&0xBA55_ED50_u32.to_le_bytes());
    bytes[6] = 16;
    bytes[8] = 64;
    bytes[16] = 1;
    bytes[20] = 64;
    bytes[44] = 80;
    bytes
}

#[repr(C)]
struct Wrapper {
    magic: c_int,
    version: c_int,
    data: *const u8,
    more: *const c_void,
}

/// Registers a kernel and a variable as nvcc's code does before `main`.
fn register(wrapper: &Wrapper) {
    let none = ptr::null_mut();
    let name = |name: &'static CStr| name.as_ptr().cast_mut();
    // SAFETY: the arguments are of the declared types, and what they point to outlives the test.
    unsafe {
        let handle = __cudaRegisterFatBinary(ptr::from_ref(wrapper).cast());
        __cudaRegisterFunction(
            handle,
            ptr::dangling(),
            name(c"kernel"),
            name(c"kernel"),
            -1,
            none,
            none,
            none,
            none,
            ptr::null_mut(),
        );
        __cudaRegisterVar(handle, none, name(c"table"), name(c"table"), 0, 24, 1, 0);
        __cudaRegisterFatBinaryEnd(handle);
    }
}

#[test]
fn functions_fail_in_words_until_the_libraries_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let folders = Folders { first: vec![path.to_owned()], then: Vec::new() };
    let data = fat_binary();
    let wrapper = Wrapper { magic: 41, version: 1, data: data.as_ptr(), more: ptr::null() };
    register(&wrapper);
    let ptx = Image::Ptx(Capability { major: 8, minor: 0 });
    assert_eq!(kernels::linked_images(), [[ptx]]);

    // SAFETY: before anything is loaded the functions take whatever they are given.
    unsafe {
        assert_eq!((cuInit(0), curandGenerateUniform(1.0, 1)), (34, 203));
        let text = CStr::from_ptr(cudaGetErrorName(5)).to_str().unwrap();
        assert_eq!(text, "the CUDA runtime is not loaded");
    }
    let missing = load_all(&folders).unwrap_err().to_string();
    assert_eq!(missing, "libcuda.so.1, which comes with NVIDIA's driver, was not found");

    make(path, "libcuda.so.1", &[&DRIVER], "");
    make(path, &format!("libcudart.so.{MAJOR}"), &[&RUNTIME, &RUNTIME_TEXTS], REGISTRATION);
    let missing = load_all(&folders).unwrap_err().to_string();
    let package = format!("pip install nvidia-cublas=={MAJOR}.*");
    assert!(missing.starts_with("libcublasLt.so") && missing.contains(&package), "{missing}");

    make(path, &format!("libcublasLt.so.{MAJOR}"), &[], "");
    make(path, &format!("libcublas.so.{MAJOR}"), &[], "");
    let missing = load_all(&folders).unwrap_err().to_string();
    assert!(missing.contains("has no cublasCreate_v2"), "{missing}");

    // Its name was loaded already, and so is no longer looked up on disk.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in [
        "libcuda.so.1".to_owned(),
        format!("libcudart.so.{MAJOR}"),
        format!("libcublasLt.so.{MAJOR}"),
    ] {
        fs::copy(path.join(&name), other.join(&name)).unwrap();
    }
    make(&other, &format!("libcublas.so.{MAJOR}"), &[&BLAS], "");
    make(&other, "libcurand.so.10", &[&RAND], "");
    let folders = Folders { first: vec![other.clone()], then: Vec::new() };
    let loaded = load_all(&folders).unwrap();
    assert_eq!(loaded.libraries.len(), 5);
    assert_eq!(loaded.libraries[0], other.join("libcuda.so.1"));

    // SAFETY: the functions are those above, with these arguments.
    unsafe {
        assert_eq!(cuInit(3), 7003);
        assert_eq!(cublasGemmStridedBatchedEx(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 385);
        assert_eq!(curandGenerateUniform(2.5, 4), 10);
        assert_eq!(CStr::from_ptr(cudaGetErrorName(5)).to_str().unwrap(), "five");
        let runtime = Library::new(&loaded.libraries[1]).unwrap();
        let told =
            *runtime.get::<*const c_char>(b"told\0").unwrap().as_raw_ptr().cast::<[c_char; 1000]>();
        let told = CStr::from_ptr(told.as_ptr()).to_str().unwrap();
        assert_eq!(told, "begin 41;function 99 kernel -1 1;variable table 24 0 1 0;end 99");
    }
}
