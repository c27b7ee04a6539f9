//! Which devices the driver shows.

use std::{env, ffi::c_int};

use crate::{
    case::{Case, Seen, holds, same},
    code::Code,
    driver::Driver,
    error::{Outcome, Stop},
    gpu::must,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "visible-up-to-invalid",
        source: "CUDA programming guide, \"CUDA Environment Variables\": \"If one of the indices is \
                 invalid, only the devices whose index precedes the invalid index are visible to \
                 CUDA applications.\"",
        run: up_to_invalid,
    },
    Case {
        name: "visible-none",
        source: "the same; CUDA_ERROR_NO_DEVICE: \"no CUDA-capable devices were detected by the \
                 installed CUDA driver\"",
        run: none,
    },
    Case {
        name: "visible-order",
        source: "CUDA programming guide, \"CUDA Environment Variables\": \"Only the devices whose \
                 index is present in the sequence are visible to CUDA applications and they are \
                 enumerated in the order of the sequence.\"; CUDA_DEVICE_ORDER: \"PCI_BUS_ID orders \
                 devices by PCI bus ID in ascending order.\"",
        run: order,
    },
];

const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
const ORDER: &str = "CUDA_DEVICE_ORDER";

/// Initialises a driver that reads these values. Who has set one of the variables is not overruled.
fn init(driver: &Driver, visible: &str) -> Outcome<Code> {
    if env::var_os(VISIBLE).is_some() || env::var_os(ORDER).is_some() {
        return Err(Stop::skipped(format!("needs {VISIBLE} and {ORDER} to be unset")));
    }
    // SAFETY: the only other thread sleeps until the process is ended.
    unsafe {
        env::set_var(VISIBLE, visible);
        env::set_var(ORDER, "PCI_BUS_ID");
    }
    Ok(driver.init(0))
}

fn up_to_invalid(driver: &Driver, seen: &mut Seen) -> Outcome {
    must("cuInit", init(driver, "0,-1,1")?)?;
    let mut count = 0;
    must("cuDeviceGetCount", driver.device_count(&mut count))?;
    seen.note("devices", count);
    same("the devices before the invalid one", count, 1)?;
    let mut device = 0;
    seen.code("cuDeviceGet(1)", driver.device(&mut device, 1), &[Code::INVALID_DEVICE])
}

fn none(driver: &Driver, seen: &mut Seen) -> Outcome {
    let code = init(driver, "-1")?;
    seen.code("cuInit", code, &[Code::NO_DEVICE])?;
    let mut count = -1;
    seen.note_code("cuDeviceGetCount", driver.device_count(&mut count));
    Ok(())
}

fn order(driver: &Driver, seen: &mut Seen) -> Outcome {
    let code = init(driver, "1,0")?;
    if code == Code::NO_DEVICE {
        return Err(Stop::skipped("needs two devices"));
    }
    must("cuInit", code)?;
    // `cuda.h`: CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID, …_PCI_BUS_ID, …_PCI_DEVICE_ID.
    let address = |device: c_int| -> Outcome<[c_int; 3]> {
        let mut address = [0; 3];
        for (value, attribute) in address.iter_mut().zip([50, 33, 34]) {
            must("cuDeviceGetAttribute", driver.attribute(value, attribute, device))?;
        }
        Ok(address)
    };
    let addresses = [address(0)?, address(1)?];
    seen.note("devices", 2);
    let is_turned = addresses[0] > addresses[1];
    holds("the second device to come first", is_turned, format!("{addresses:?}"))
}
