//! Modules of PTX.

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::{Driver, Grid},
    error::{Outcome, Stop},
    gpu::{Gpu, bytes_of, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "module-no-ptx",
        source: "cuModuleLoadData: returns CUDA_ERROR_INVALID_PTX or CUDA_ERROR_INVALID_IMAGE",
        run: no_ptx,
    },
    Case {
        name: "module-syntax-error",
        source: "CUDA_ERROR_INVALID_PTX: \"a PTX JIT compilation failed\"; it is not said \
                 whether already the module is refused or the function",
        run: syntax_error,
    },
    Case {
        name: "module-unknown-function",
        source: "cuModuleGetFunction: \"If no function of that name exists, \
                 cuModuleGetFunction() returns CUDA_ERROR_NOT_FOUND.\"",
        run: unknown_function,
    },
    Case {
        name: "module-newer-capability",
        source: "PTX ISA, \".target\": PTX \"can be translated to\" its target and later ones; \
                 the driver's code for others is observed",
        run: newer_capability,
    },
    Case {
        name: "module-newer-version",
        source: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: \"the provided PTX was compiled with an \
                 unsupported toolchain\"",
        run: newer_version,
    },
    Case {
        name: "module-older-capability",
        source: "CUDA C++ Programming Guide, \"PTX Compatibility\": \"PTX code produced for some \
                 specific compute capability can always be compiled to binary code of greater or \
                 equal compute capability.\"",
        run: older_capability,
    },
    Case {
        name: "module-unload",
        source: "cuModuleUnload: \"Unloads a module hmod from the current context.\"",
        run: unload,
    },
];

/// Whether a module is refused, and its function, as codes.
fn refusal(gpu: &Gpu<'_>, seen: &mut Seen, text: &str) -> Outcome<Code> {
    match gpu.try_kernel(text, "k") {
        Ok(_) => Err(Stop::failed("a module that is refused", Code::SUCCESS)),
        Err(code) => {
            seen.note_code("refused with", code);
            Ok(code)
        }
    }
}

fn no_ptx(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let mut module = 0;
    let code = driver.load(&mut module, c"this is no PTX");
    seen.code("cuModuleLoadData", code, &[Code::INVALID_PTX, Code::INVALID_IMAGE])?;
    gpu.alloc(64).map(drop)
}

fn syntax_error(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let code = refusal(&gpu, seen, &ptx::kernel(1, "add.s32 %r0, %r1;\n"))?;
    seen.code("an operand that is missing", code, &[Code::INVALID_PTX])?;
    let code = refusal(&gpu, seen, &ptx::kernel(1, "mov.u32 %r0, %undeclared;\n"))?;
    seen.code("a register that is not declared", code, &[Code::INVALID_PTX])?;
    gpu.kernel(&ptx::increment(), "k").map(drop)
}

fn unknown_function(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let found = gpu.try_kernel(&ptx::increment(), "other");
    seen.code("cuModuleGetFunction", found.err().unwrap_or(Code::SUCCESS), &[Code::NOT_FOUND])
}

fn newer_capability(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    if gpu.capability()? >= (12, 0) {
        return Err(Stop::skipped("needs a device of less than 12.0"));
    }
    let text = ptx::increment().replace(".version 7.0", ".version 8.7").replace("sm_80", "sm_120");
    let code = refusal(&gpu, seen, &text)?;
    seen.code("PTX for 12.0", code, &[Code::NO_BINARY_FOR_GPU, Code::INVALID_PTX])
}

fn newer_version(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let text = ptx::increment().replace(".version 7.0", ".version 99.0");
    let code = refusal(&gpu, seen, &text)?;
    seen.code("PTX of version 99.0", code, &[Code::UNSUPPORTED_PTX_VERSION])
}

fn older_capability(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let text = ptx::increment().replace(".version 7.0", ".version 6.4").replace("sm_80", "sm_75");
    let kernel = gpu.kernel(&text, "k")?;
    let address = gpu.alloc(64)?;
    gpu.fill(address, 0, 64, 0)?;
    must("cuLaunchKernel", gpu.launch(kernel, Grid::of(1, 16), &[address]))?;
    let found = gpu.download(address, 64, 0)?;
    seen.note("bytes", &found[..4]);
    same("what the kernel added", found, bytes_of(&[1; 16]))
}

fn unload(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let text = std::ffi::CString::new(ptx::increment()).expect("it holds no zero");
    let (mut first, mut second) = (0, 0);
    must("cuModuleLoadData", driver.load(&mut first, &text))?;
    must("cuModuleLoadData", driver.load(&mut second, &text))?;
    same("whether two modules are one", first == second, false)?;
    seen.code("cuModuleUnload", driver.unload(first), &[Code::SUCCESS])?;
    let mut function = 0;
    must("cuModuleGetFunction of the other", driver.function(&mut function, second, c"k"))?;
    gpu.synchronize()
}
