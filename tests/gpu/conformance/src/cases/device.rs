//! Initialisation, devices and contexts.

use crate::{
    case::{Case, Seen, holds, same},
    code::Code,
    driver::Driver,
    error::Outcome,
    gpu::{Gpu, must},
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "before-init",
        source: "cuInit: \"If cuInit() has not been called, any function from the driver API \
                 will return CUDA_ERROR_NOT_INITIALIZED.\"",
        run: before_init,
    },
    Case {
        name: "version-before-init",
        source: "cuDriverGetVersion: returns 1000 * major + 10 * minor; the driver's \
                 initialisation is not among its errors",
        run: version_before_init,
    },
    Case {
        name: "init-flags",
        source: "cuInit: \"Currently, the Flags parameter must be 0.\"",
        run: init_flags,
    },
    Case {
        name: "device-out-of-range",
        source: "cuDeviceGet: \"a device handle given an ordinal in the range [0, \
                 cuDeviceGetCount()-1]\"; returns CUDA_ERROR_INVALID_DEVICE otherwise",
        run: out_of_range,
    },
    Case {
        name: "attribute-unknown",
        source: "cuDeviceGetAttribute: returns CUDA_ERROR_INVALID_VALUE",
        run: unknown_attribute,
    },
    Case {
        name: "attributes",
        source: "CUDA C++ Programming Guide, \"Technical Specifications per Compute Capability\"",
        run: attributes,
    },
    Case {
        name: "no-context",
        source: "cuMemAlloc, cuStreamCreate, cuModuleLoadData, cuCtxSynchronize: return \
                 CUDA_ERROR_INVALID_CONTEXT; cuCtxGetCurrent: \"If no context is bound to the \
                 calling CPU thread then *pctx is set to NULL and CUDA_SUCCESS is returned.\"",
        run: no_context,
    },
    Case {
        name: "primary-context",
        source: "cuDevicePrimaryCtxRelease: the context is \"automatically reset once the last \
                 reference to it is released\"; CUDA_ERROR_CONTEXT_IS_DESTROYED: \"the context \
                 current to the calling thread … is a primary context which has not yet been \
                 initialized\"",
        run: primary_context,
    },
    Case {
        name: "context-of-thread",
        source: "CUDA C++ Programming Guide, \"Context\": each host thread has its own current \
                 context",
        run: context_of_thread,
    },
    Case {
        name: "context-unbound",
        source: "cuCtxSetCurrent: \"If ctx is NULL then the CUDA context previously bound to the \
                 calling CPU thread is unbound and CUDA_SUCCESS is returned.\"",
        run: unbound,
    },
    Case {
        name: "error-texts",
        source: "cuGetErrorName, cuGetErrorString: \"If the error code is not recognized, \
                 CUDA_ERROR_INVALID_VALUE will be returned and *pStr will be set to the NULL \
                 address.\"",
        run: error_texts,
    },
];

fn before_init(driver: &Driver, seen: &mut Seen) -> Outcome {
    let want = &[Code::NOT_INITIALIZED];
    let (mut number, mut handle, mut address) = (0, 0, 0);
    seen.code("cuDeviceGetCount", driver.device_count(&mut number), want)?;
    seen.code("cuDeviceGet", driver.device(&mut number, 0), want)?;
    seen.code("cuDevicePrimaryCtxRetain", driver.retain(&mut handle, 0), want)?;
    seen.code("cuCtxGetCurrent", driver.current(&mut handle), want)?;
    seen.code("cuCtxSetCurrent", driver.set_current(0), want)?;
    seen.code("cuStreamCreate", driver.create_stream(&mut handle, 0), want)?;
    seen.code("cuMemAlloc", driver.alloc(&mut address, 64), want)
}

fn version_before_init(driver: &Driver, seen: &mut Seen) -> Outcome {
    let mut version = 0;
    seen.code("cuDriverGetVersion", driver.version(&mut version), &[Code::SUCCESS])?;
    seen.note_varying("version", version);
    holds("a version from 11.0 on", version >= 11_000, version)
}

fn init_flags(driver: &Driver, seen: &mut Seen) -> Outcome {
    seen.code("cuInit(1)", driver.init(1), &[Code::INVALID_VALUE])?;
    seen.code("cuInit(0)", driver.init(0), &[Code::SUCCESS])?;
    seen.code("cuInit(0) again", driver.init(0), &[Code::SUCCESS])
}

fn out_of_range(driver: &Driver, seen: &mut Seen) -> Outcome {
    let (mut count, mut device) = (0, 0);
    must("cuInit", driver.init(0))?;
    must("cuDeviceGetCount", driver.device_count(&mut count))?;
    let want = &[Code::INVALID_DEVICE];
    seen.code("the count", driver.device(&mut device, count), want)?;
    seen.code("-1", driver.device(&mut device, -1), want)?;
    seen.code("the last", driver.device(&mut device, count - 1), &[Code::SUCCESS])
}

fn unknown_attribute(driver: &Driver, seen: &mut Seen) -> Outcome {
    must("cuInit", driver.init(0))?;
    let mut value = 0;
    let want = &[Code::INVALID_VALUE];
    seen.code("attribute 0", driver.attribute(&mut value, 0, 0), want)?;
    seen.code("attribute 999999", driver.attribute(&mut value, 999_999, 0), want)
}

fn attributes(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    // `cuda.h`: MAX_THREADS_PER_BLOCK, MAX_BLOCK_DIM_X to _Z, MAX_GRID_DIM_X to _Z,
    // MAX_SHARED_MEMORY_PER_BLOCK, WARP_SIZE, MAX_REGISTERS_PER_BLOCK, UNIFIED_ADDRESSING.
    let rows = [
        (1, 1024),
        (2, 1024),
        (3, 1024),
        (4, 64),
        (5, i32::MAX),
        (6, 65_535),
        (7, 65_535),
        (8, 48 << 10),
        (10, 32),
        (12, 65_536),
        (41, 1),
    ];
    for (attribute, wanted) in rows {
        let found = gpu.attribute(attribute)?;
        let what = format!("attribute {attribute}");
        seen.note(&what, found);
        same(&what, found, wanted)?;
    }
    // What differs between devices: MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, MULTIPROCESSOR_COUNT.
    for attribute in [97, 16] {
        seen.note_varying(&format!("attribute {attribute}"), gpu.attribute(attribute)?);
    }
    Ok(())
}

fn no_context(driver: &Driver, seen: &mut Seen) -> Outcome {
    must("cuInit", driver.init(0))?;
    let (mut handle, mut address) = (1, 0);
    must("cuCtxGetCurrent", driver.current(&mut handle))?;
    same("the current context", handle, 0)?;
    let want = &[Code::INVALID_CONTEXT];
    seen.code("cuMemAlloc", driver.alloc(&mut address, 64), want)?;
    seen.code("cuStreamCreate", driver.create_stream(&mut handle, 0), want)?;
    seen.code("cuEventCreate", driver.create_event(&mut handle, 0), want)?;
    seen.code("cuCtxSynchronize", driver.synchronize(), want)?;
    seen.code("cuModuleLoadData", driver.load(&mut handle, c".version 7.0\n"), want)
}

fn primary_context(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let mut again = 0;
    must("cuDevicePrimaryCtxRetain", driver.retain(&mut again, gpu.device))?;
    same("the context, retained again", again, gpu.context)?;
    must("cuDevicePrimaryCtxRelease", driver.release(gpu.device))?;
    gpu.alloc(64)?;
    must("cuDevicePrimaryCtxRelease", driver.release(gpu.device))?;
    let mut address = 0;
    let want = &[Code::CONTEXT_IS_DESTROYED, Code::INVALID_CONTEXT];
    seen.code("cuMemAlloc after the last release", driver.alloc(&mut address, 64), want)?;
    seen.refused("a release too many", driver.release(gpu.device))?;
    let second = Gpu::first(driver)?;
    seen.note_varying("the handle is the same after a reset", second.context == gpu.context);
    second.alloc(64).map(drop)
}

fn context_of_thread(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let in_thread = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let (mut handle, mut address) = (1, 0);
            let codes = [driver.current(&mut handle), driver.alloc(&mut address, 64)];
            let joined = driver.set_current(gpu.context);
            (codes, handle, joined, driver.alloc(&mut address, 64))
        });
        asked.join().expect("it does not panic")
    });
    let ([current, alloc], handle, joined, alloc_after) = in_thread;
    seen.code("cuCtxGetCurrent", current, &[Code::SUCCESS])?;
    same("the current context of a new thread", handle, 0)?;
    seen.code("cuMemAlloc", alloc, &[Code::INVALID_CONTEXT])?;
    seen.code("cuCtxSetCurrent", joined, &[Code::SUCCESS])?;
    seen.code("cuMemAlloc with a context", alloc_after, &[Code::SUCCESS])
}

fn unbound(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let (mut handle, mut address) = (1, 0);
    for round in ["once", "again"] {
        let what = format!("cuCtxSetCurrent(NULL), {round}");
        seen.code(&what, driver.set_current(0), &[Code::SUCCESS])?;
    }
    must("cuCtxGetCurrent", driver.current(&mut handle))?;
    same("the current context", handle, 0)?;
    seen.code("cuMemAlloc", driver.alloc(&mut address, 64), &[Code::INVALID_CONTEXT])?;
    gpu.make_current()?;
    gpu.alloc(64).map(drop)
}

fn error_texts(driver: &Driver, seen: &mut Seen) -> Outcome {
    const UNKNOWN: Code = Code(123_456);
    must("cuInit", driver.init(0))?;
    for code in Code::ALL {
        let prefix = if *code == Code::SUCCESS { "CUDA_" } else { "CUDA_ERROR_" };
        let wanted = (Code::SUCCESS, Some(format!("{prefix}{code}")));
        same("a code's name", driver.error_name(*code), wanted)?;
        let (told, text) = driver.error_string(*code);
        let found = text.clone().unwrap_or_default();
        holds("a text of each code", told == Code::SUCCESS && !found.is_empty(), found)?;
        seen.note(&code.to_string(), text);
    }
    same("the name of none", driver.error_name(UNKNOWN), (Code::INVALID_VALUE, None))?;
    same("the text of none", driver.error_string(UNKNOWN), (Code::INVALID_VALUE, None))
}
