//! What is wrong is said with its place.

use std::error::Error;

use sluicegate_ptx::{Launch, Module};

use crate::support::{Arg, Device, by_thread, kernel, run};

#[track_caller]
fn check(body: &str, threads: u32, want: &str) {
    let mut device = Device::default();
    let out = device.place(&[0_u32; 4]);
    let error = run(&kernel(1, body), "test", (1, threads), &[Arg::U64(out)], &mut device);
    let error = error.unwrap_err();
    let found = format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
    assert_eq!(found, want);
}

#[test]
fn faults_name_their_kernel_line_and_thread() {
    let at = |line: u32, thread: u32| {
        format!("kernel `test`, line {line}, block [0, 0, 0], thread [{thread}, 0, 0]: ")
    };
    check("ld.global.u32 %r1, [%rd0+16];", 1, &(at(13, 0) + "4 bytes at 0x10010: nothing there"));
    check("st.global.u32 [%rd0+2], 1;", 1, &(at(13, 0) + "4 bytes at 0x10002 are not aligned"));
    let beyond = ".shared .b8 s[8];\nmov.u32 %r1, 8;\nst.shared.u32 [%r1], 1;";
    check(beyond, 1, &(at(15, 0) + "4 bytes at 0x8 of shared memory, which has 8"));
    let third = by_thread(4) + "setp.eq.u32 %p1, %r31, 3;\n@%p1 trap;";
    check(&third, 8, &(at(19, 3) + "it stopped itself"));
    check("call.uni __assertfail, (p0);", 1, &(at(13, 0) + "it called `__assertfail`"));
    let alone = by_thread(4)
        + "setp.lt.u32 %p1, %r31, 4;\n@%p1 bra $A;\nbar.sync 0;\n$A:\nmov.u32 %r1, 1;\nbar.sync 0;";
    check(&alone, 8, &(at(20, 4) + "warp 0 is at a barrier with some of its lanes alone"));
    let away = by_thread(4)
        + "setp.lt.u32 %p1, %r31, 4;\n@%p1 ret;\nshfl.sync.bfly.b32 %r1, %r31, 4, 31, -1;";
    check(&away, 8, &(at(20, 4) + "lane 4 reads lane 0, which does not take part"));
}

#[test]
fn what_is_not_known_is_named() {
    #[track_caller]
    fn check(body: &str, want: &str) {
        let text = kernel(0, body);
        let error = Module::parse(&text).unwrap().kernel("test").unwrap_err();
        assert_eq!(error.to_string(), want);
    }
    check("frob.u32 %r1, %r2;", "line 12: the instruction `frob.u32` is not known");
    check("add.cc.u32 %r1, %r2, %r3;", "line 12: the instruction `add.cc.u32` is not known");
    check("mov.u32 %r1, %x9;", "line 12: `%x9` is not declared");
    check("bra $NOWHERE;", "line 12: `$NOWHERE` is not declared");
    check("add.u32 %r1 %r2;", "line 12: wanted ,, found `%r2`");
    let text = kernel(0, "");
    let error = Module::parse(&text).unwrap().kernel("other").unwrap_err();
    assert_eq!(error.to_string(), "the module has no kernel `other`");
}

#[test]
fn launches_that_hardware_refuses_are_refused() {
    let text = kernel(1, "");
    let kernel = Module::parse(&text).unwrap().kernel("test").unwrap();
    let check = |blocks: u32, threads: u32, params: &[u8], want: &str| {
        let (grid_size, block_size) = ([blocks, 1, 1], [threads, 1, 1]);
        let launch = Launch { grid_size, block_size, shared_bytes: 0, params };
        let error = kernel.launch(&launch, &mut Device::default()).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    check(0, 1, &[0; 8], "the number of blocks is 0, wanted at least 1");
    check(1, 0, &[0; 8], "the number of threads in a block is 0, wanted 1 to 1024");
    check(1, 1025, &[0; 8], "the number of threads in a block is 1025, wanted 1 to 1024");
    check(1, 1, &[0; 4], "the number of bytes of parameters is 4, wanted 8");
}
