//! Modules and their kernels, as a device's context has them.

use std::sync::Arc;

use sluicegate_ptx::Kernel;

use super::{Loaded, World, unknown};
use crate::error::{Code, Failure, Outcome};

/// Shared memory that a block may have without asking.
///
/// Source: CUDA C++ Programming Guide, "Shared Memory" of each compute capability from 7.0 on.
pub(crate) const SHARED_BYTES: usize = 48 << 10;

/// A kernel, as a module gave it.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) kernel: Arc<Kernel>,
    module: u64,
    /// The most bytes of shared memory that a launch may add.
    dynamic_bytes: usize,
}

impl World {
    pub(crate) fn load_module(&mut self, device: usize, text: &str) -> Outcome<u64> {
        let capability = self.machine.devices[device].capability;
        let program = self.programs.load(text, capability)?;
        let handle = self.handle();
        self.modules.insert(handle, Loaded { device, it: program });
        Ok(handle)
    }

    /// Its functions go with it. What was asked for before is done all the same.
    pub(crate) fn unload_module(&mut self, handle: u64) -> Outcome {
        self.modules.remove(&handle).ok_or_else(|| unknown("module", handle))?;
        self.functions.retain(|_, function| function.it.module != handle);
        Ok(())
    }

    pub(crate) fn get_function(&mut self, module: u64, name: &str) -> Outcome<u64> {
        let Loaded { device, it } =
            self.modules.get(&module).ok_or_else(|| unknown("module", module))?;
        let kernel = it.kernel(name)?;
        let dynamic_bytes = SHARED_BYTES.saturating_sub(kernel.shared_bytes);
        let loaded = Loaded { device: *device, it: Function { kernel, module, dynamic_bytes } };
        let handle = self.handle();
        self.functions.insert(handle, loaded);
        Ok(handle)
    }

    pub(crate) fn function(&self, handle: u64) -> Outcome<&Loaded<Function>> {
        self.functions.get(&handle).ok_or_else(|| unknown("function", handle))
    }

    /// Lets launches of a function have so much shared memory beside what its kernel declares.
    ///
    /// Source: `cuFuncSetAttribute`, "The sum of this value and the function attribute
    /// `CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES` cannot exceed the device attribute
    /// `CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN`."
    pub(crate) fn let_have(&mut self, function: u64, bytes: usize) -> Outcome {
        let found = self.functions.get_mut(&function);
        let Loaded { device, it } = found.ok_or_else(|| unknown("function", function))?;
        let (most, own) =
            (self.machine.devices[*device].max_shared_bytes(), it.kernel.shared_bytes);
        if bytes > most.saturating_sub(own) {
            let name = &it.kernel.name;
            let detail = format!(
                "{bytes} bytes of shared memory for the kernel `{name}`, which declares {own}: \
                 cuda:{device} has {most} for a block"
            );
            return Err(Failure::new(Code::InvalidValue, detail));
        }
        it.dynamic_bytes = bytes;
        Ok(())
    }

    /// Checks that a launch may have so much shared memory.
    pub(crate) fn check_shared(&self, function: u64, bytes: usize) -> Outcome {
        let Function { kernel, dynamic_bytes, .. } = &self.function(function)?.it;
        if bytes <= *dynamic_bytes {
            return Ok(());
        }
        let detail = format!(
            "{bytes} bytes of shared memory, and launches of the kernel `{}` may have \
             {dynamic_bytes} unless cuFuncSetAttribute lets them have more",
            kernel.name
        );
        Err(Failure::new(Code::InvalidValue, detail))
    }
}
