//! Modules, their functions, and the shared memory that launches of these may have.

use super::*;

/// A kernel that declares 1000 bytes of shared memory itself.
const SHARED: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry shared()
{
    .reg .b32 %r<2>;
    .shared .align 4 .b8 own[1000];
    mov.u32 %r1, 1;
    st.shared.u32 [own], %r1;
    ret;
}";

fn function(machine: &str) -> (Rig, u64) {
    let mut rig = Rig::of(machine);
    let module = rig.world.load_module(0, SHARED).unwrap();
    let function = rig.world.get_function(module, "shared").unwrap();
    (rig, function)
}

#[test]
fn more_than_a_function_was_let_have_is_refused() {
    let (mut rig, function) = function("2x 64MiB");
    let code = |outcome: Outcome| outcome.map_err(|failure| failure.code);
    let refused = Err(Code::InvalidValue);
    // What the kernel declares counts as well.
    let free = SHARED_BYTES - 1000;
    assert_eq!(code(rig.world.check_shared(function, free)), Ok(()));
    assert_eq!(code(rig.world.check_shared(function, free + 1)), refused);
    rig.world.let_have(function, 100_000).unwrap();
    assert_eq!(code(rig.world.check_shared(function, 100_000)), Ok(()));
    assert_eq!(code(rig.world.check_shared(function, 100_001)), refused);
    rig.world.let_have(function, 100).unwrap();
    assert_eq!(code(rig.world.check_shared(function, 101)), refused);
}

#[test]
fn a_block_has_as_much_as_its_device() {
    for (capability, kib) in [(80, 163), (86, 99), (87, 163), (89, 99), (90, 227), (120, 99)] {
        let (mut rig, function) = function(&format!("2x 64MiB sm_{capability}"));
        let most = (kib << 10) - 1000;
        assert_eq!(rig.world.let_have(function, most), Ok(()), "{capability}");
        let failure = rig.world.let_have(function, most + 1).unwrap_err();
        let want = format!(
            "{} bytes of shared memory for the kernel `shared`, which declares 1000: cuda:0 has {} \
             for a block",
            most + 1,
            kib << 10
        );
        assert_eq!(failure, Failure::new(Code::InvalidValue, want));
    }
}

#[test]
fn functions_go_with_their_module() {
    let mut rig = Rig::new(0);
    let modules = [0; 2].map(|device| rig.world.load_module(device, SHARED).unwrap());
    let functions = modules.map(|module| rig.world.get_function(module, "shared").unwrap());
    rig.world.unload_module(modules[0]).unwrap();
    assert!(rig.world.function(functions[1]).is_ok());
    let failure = rig.world.function(functions[0]).map(drop).unwrap_err();
    let want = format!("there is no function {:#x}", functions[0]);
    assert_eq!(failure, Failure::new(Code::InvalidHandle, want));
    assert_eq!(rig.world.unload_module(modules[0]).unwrap_err().code, Code::InvalidHandle);
}

#[test]
fn a_queued_launch_outlives_its_module() {
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)?;
        rig.world.unload_module(rig.module)?;
        let [first, ..] = rig.read(0, numbers)?;
        assert_eq!(first, 2);
        Ok(())
    });
}
