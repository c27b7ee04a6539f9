//! Shared memory that launches ask for.

use std::ffi::c_int;

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::{Driver, Grid, Handle},
    error::{Outcome, Stop},
    gpu::{Gpu, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "shared-of-capability",
        source: "Technical Specifications per Compute Capability: \"Maximum amount of shared \
                 memory per thread block\"",
        run: of_capability,
    },
    Case {
        name: "shared-opt-in",
        source: "cuFuncSetAttribute: \"The sum of this value and the function attribute \
                 CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES cannot exceed the device attribute \
                 CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.\"",
        run: opt_in,
    },
    Case {
        name: "shared-opt-in-of-one-function",
        source: "cuFuncSetAttribute: \"sets the value of a specified attribute attrib on the \
                 kernel given by hfunc\"",
        run: of_one_function,
    },
    Case {
        name: "shared-more-than-opt-in",
        source: "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: \"If the user-specified \
                 dynamic shared memory size is larger than this value, the launch will fail.\"",
        run: more_than_opt_in,
    },
];

/// `cuda.h`: `CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN`,
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const OPT_IN: u32 = 97;
const DYNAMIC_BYTES: c_int = 8;

fn of_capability(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kib = match gpu.capability()? {
        (7, 5) => 64,
        (8, 0 | 7) => 163,
        (8, 6 | 9) | (12, _) => 99,
        (9, 0) | (10, _) => 227,
        (major, minor) => {
            return Err(Stop::skipped(format!("{major}.{minor} is not in the table as read here")));
        }
    };
    let found = gpu.attribute(OPT_IN)?;
    seen.note_varying("bytes", found);
    same("bytes of a block that asks for them", found, kib << 10)
}

/// Launches a kernel with so many bytes of shared memory.
fn launch(gpu: &Gpu<'_>, kernel: Handle, bytes: c_int) -> Outcome<Code> {
    let address = gpu.alloc(4)?;
    gpu.fill(address, 0, 4, 0)?;
    let shared_bytes = u32::try_from(bytes).expect("it is no negative number");
    let code = gpu.launch(kernel, Grid { shared_bytes, ..Grid::of(1, 1) }, &[address]);
    gpu.synchronize()?;
    Ok(code)
}

const REFUSED: &[Code] = &[Code::INVALID_VALUE, Code::LAUNCH_OUT_OF_RESOURCES];

fn opt_in(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    let most = gpu.attribute(OPT_IN)?;
    let too_much = driver.set_function_attribute(kernel, DYNAMIC_BYTES, most + 1);
    seen.code("one byte more than there is", too_much, &[Code::INVALID_VALUE])?;
    let all = driver.set_function_attribute(kernel, DYNAMIC_BYTES, most);
    seen.code("all", all, &[Code::SUCCESS])?;
    seen.code("a launch with all", launch(&gpu, kernel, most)?, &[Code::SUCCESS])?;
    seen.code("a launch with more", launch(&gpu, kernel, most + 1)?, REFUSED)
}

fn of_one_function(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: c_int = 60_000;
    let gpu = Gpu::first(driver)?;
    let [one, other] = [gpu.kernel(&ptx::increment(), "k")?, gpu.kernel(&ptx::increment(), "k")?];
    must("cuFuncSetAttribute", driver.set_function_attribute(one, DYNAMIC_BYTES, BYTES))?;
    seen.code("a launch of the function", launch(&gpu, one, BYTES)?, &[Code::SUCCESS])?;
    seen.code("a launch of another", launch(&gpu, other, BYTES)?, REFUSED)
}

fn more_than_opt_in(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: c_int = 50_000;
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    must("cuFuncSetAttribute", driver.set_function_attribute(kernel, DYNAMIC_BYTES, BYTES))?;
    seen.code("a launch with as much", launch(&gpu, kernel, BYTES)?, &[Code::SUCCESS])?;
    seen.code("a launch with more", launch(&gpu, kernel, BYTES + 1)?, REFUSED)?;
    // NVIDIA does not say whether less than needs no asking is a limit, too.
    must("cuFuncSetAttribute", driver.set_function_attribute(kernel, DYNAMIC_BYTES, 1000))?;
    seen.note_code("a launch with more than it was set back to", launch(&gpu, kernel, 2000)?);
    let negative = driver.set_function_attribute(kernel, DYNAMIC_BYTES, -1);
    seen.note_code("a negative size", negative);
    Ok(())
}
