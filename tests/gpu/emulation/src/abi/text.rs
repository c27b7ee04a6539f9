//! Errors in words. Beside what the driver says stands what only the emulation knows.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int},
    sync::Mutex,
};

use super::calls;
use crate::error::{Code, Failure};

/// What was last said with each code; kept, since programs hold the pointers.
static SAID: Mutex<Option<HashMap<Code, &'static CStr>>> = Mutex::new(None);

/// Remembers a failure for who asks what its code means.
pub(super) fn remember(function: &str, failure: &Failure) {
    let Failure { code, detail } = failure;
    let (_, text) = code.texts();
    let said = format!("{} ({function}: {detail})", text.to_string_lossy());
    let mut all = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let all = all.get_or_insert_default();
    if all.get(code).is_some_and(|it| it.to_bytes() == said.as_bytes()) {
        return;
    }
    // A later call that fails for the same reason does not hide where it happened, and what is
    // asked again and again is not kept each time.
    if (code.stays() && all.contains_key(code)) || *code == Code::NotReady {
        return;
    }
    if let Ok(said) = CString::new(said.replace('\0', " ")) {
        all.insert(*code, Box::leak(said.into_boxed_c_str()));
    }
}

fn said(number: c_int) -> Option<&'static CStr> {
    if number == 0 {
        return Some(c"no error");
    }
    let code = Code::of_number(number)?;
    let all = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Some(all.as_ref().and_then(|all| all.get(&code).copied()).unwrap_or(code.texts().1))
}

fn named(number: c_int) -> Option<&'static CStr> {
    if number == 0 { Some(c"CUDA_SUCCESS") } else { Code::of_number(number).map(|it| it.texts().0) }
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(number: c_int, target: *mut *const c_char) -> c_int {
    calls::count("cuGetErrorString");
    // SAFETY: the caller's pointer.
    unsafe { answer(said(number), target) }
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(number: c_int, target: *mut *const c_char) -> c_int {
    calls::count("cuGetErrorName");
    // SAFETY: the caller's pointer.
    unsafe { answer(named(number), target) }
}

/// # Safety
/// `target` can be written.
unsafe fn answer(text: Option<&'static CStr>, target: *mut *const c_char) -> c_int {
    let (text, result) = match text {
        Some(text) => (text.as_ptr(), super::SUCCESS),
        None => (std::ptr::null(), Code::InvalidValue as c_int),
    };
    // SAFETY: the caller vouches for it.
    unsafe { target.write(text) };
    result
}

/// The runtime's texts are the driver's.
#[unsafe(no_mangle)]
extern "C" fn cudaGetErrorString(number: c_int) -> *const c_char {
    calls::count("cudaGetErrorString");
    said(number).unwrap_or(c"unrecognized error code").as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn cudaGetErrorName(number: c_int) -> *const c_char {
    calls::count("cudaGetErrorName");
    named(number).unwrap_or(c"unrecognized error code").as_ptr()
}
