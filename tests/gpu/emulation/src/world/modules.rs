//! Modules and their kernels, as a device's context has them.

use std::sync::Arc;

use sluicegate_ptx::Kernel;

use super::{Loaded, World, unknown};
use crate::error::Outcome;

impl World {
    pub(crate) fn load_module(&mut self, device: usize, text: &str) -> Outcome<u64> {
        let capability = self.machine.devices[device].capability;
        let program = self.programs.load(text, capability)?;
        let handle = self.handle();
        self.modules.insert(handle, Loaded { device, it: program });
        Ok(handle)
    }

    pub(crate) fn unload_module(&mut self, handle: u64) -> Outcome {
        self.modules.remove(&handle).map(drop).ok_or_else(|| unknown("module", handle))
    }

    pub(crate) fn get_function(&mut self, module: u64, name: &str) -> Outcome<u64> {
        let Loaded { device, it } =
            self.modules.get(&module).ok_or_else(|| unknown("module", module))?;
        let loaded = Loaded { device: *device, it: it.kernel(name)? };
        let handle = self.handle();
        self.functions.insert(handle, loaded);
        Ok(handle)
    }

    pub(crate) fn function(&self, handle: u64) -> Outcome<&Loaded<Arc<Kernel>>> {
        self.functions.get(&handle).ok_or_else(|| unknown("function", handle))
    }
}
