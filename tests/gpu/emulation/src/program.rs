//! Modules of kernels, as programs load them.

use std::{collections::HashMap, sync::Arc};

use sluicegate_ptx::{Kernel, Module};

use crate::error::{Code, Failure, Outcome};

/// The latest PTX that a driver for CUDA 13.0 can read.
///
/// Source: PTX ISA, "Release Notes".
const NEWEST: (u32, u32) = (9, 0);

/// All PTX that was ever loaded, each text once.
#[derive(Default)]
pub(crate) struct Programs {
    modules: HashMap<&'static str, &'static Program>,
}

/// A module, and those of its kernels that were asked for.
pub(crate) struct Program {
    module: Module<'static>,
    kernels: std::sync::Mutex<HashMap<String, Arc<Kernel>>>,
}

impl Programs {
    /// Reads PTX for a device of this capability.
    ///
    /// The text is kept as long as the process lives: programs load the same few modules.
    pub(crate) fn load(&mut self, text: &str, device: (u32, u32)) -> Outcome<&'static Program> {
        let version = version_of(text).ok_or_else(|| {
            Failure::new(Code::InvalidPtx, "the text has no `.version`, so it is no PTX")
        })?;
        if version > NEWEST {
            let ((major, minor), (has_major, has_minor)) = (version, NEWEST);
            let detail = format!("PTX {major}.{minor} for a driver of PTX {has_major}.{has_minor}");
            return Err(Failure::new(Code::UnsupportedPtxVersion, detail));
        }
        if let Some(target) = target_of(text).filter(|target| *target > device) {
            let ((major, minor), (has_major, has_minor)) = (target, device);
            let detail = format!("PTX for {major}.{minor} on a device of {has_major}.{has_minor}");
            return Err(Failure::new(Code::NoBinaryForGpu, detail));
        }
        if let Some(program) = self.modules.get(text) {
            return Ok(program);
        }
        let text: &'static str = Box::leak(text.into());
        let module = Module::parse(text)
            .map_err(|error| Failure::new(Code::InvalidPtx, error.to_string()))?;
        let program = Program { module, kernels: std::sync::Mutex::default() };
        let program: &'static Program = Box::leak(Box::new(program));
        self.modules.insert(text, program);
        Ok(program)
    }
}

impl Program {
    /// Reads a kernel, once.
    pub(crate) fn kernel(&self, name: &str) -> Outcome<Arc<Kernel>> {
        let mut kernels = self.kernels.lock().expect("nothing panics while it is locked");
        if let Some(kernel) = kernels.get(name) {
            return Ok(kernel.clone());
        }
        if !self.module.kernels().any(|known| known == name) {
            let detail = format!("the module has no kernel `{name}`");
            return Err(Failure::new(Code::NotFound, detail));
        }
        let kernel = self
            .module
            .kernel(name)
            .map_err(|error| Failure::new(Code::InvalidPtx, format!("kernel `{name}`: {error}")))?;
        let kernel = Arc::new(kernel);
        kernels.insert(name.to_owned(), kernel.clone());
        Ok(kernel)
    }
}

/// The release of PTX that a text is written in: of `.version 8.7`, 8 and 7.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(".version"))?;
    let (major, minor) = line.split_whitespace().next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The capability that PTX is made for: of `.target sm_90a`, 9.0.
fn target_of(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(".target"))?;
    let digits = line.trim_start().strip_prefix("sm_")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: u32 = digits[..end].parse().ok()?;
    Some((number / 10, number % 10))
}
