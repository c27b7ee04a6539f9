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
    // A window of generic addresses is none of global ones.
    let window = ".shared .b8 s[8];\nst.global.u32 [0x7e00000000000000], 1;";
    let written = "4 bytes at 0x7e00000000000000: variables of the module are not written here";
    check(window, 1, &(at(14, 0) + written));
    let third = by_thread(4) + "setp.eq.u32 %p1, %r31, 3;\n@%p1 trap;";
    check(&third, 8, &(at(19, 3) + "it stopped itself"));
    check("call.uni __assertfail, (p0);", 1, &(at(13, 0) + "it called `__assertfail`"));
    let alone = by_thread(4)
        + "setp.lt.u32 %p1, %r31, 4;\n@%p1 bra $A;\nbar.sync 0;\n$A:\nmov.u32 %r1, 1;\nbar.sync 0;";
    check(&alone, 8, &(at(20, 4) + "lanes of warp 0 wait at different barriers"));
    let away = by_thread(4)
        + "setp.lt.u32 %p1, %r31, 4;\n@%p1 ret;\nshfl.sync.bfly.b32 %r1, %r31, 4, 31, -1;";
    check(&away, 8, &(at(20, 4) + "lane 4 reads lane 0, which does not take part"));
}

/// Reads a kernel that is not to be read.
#[track_caller]
fn check_unread(body: &str, want: &str) {
    let text = kernel(0, body);
    let error = Module::parse(&text).unwrap().kernel("test").unwrap_err();
    assert_eq!(error.to_string(), want);
}

#[test]
fn modifiers_and_forms_that_are_not_known_are_refused() {
    for (name, operands) in [
        // Modifiers that no instruction has, or not this one.
        ("add.frob.f32", "%f1, %f2, %f3"),
        ("add.ftz.f32", "%f1, %f2, %f3"),
        ("add.sat.f32", "%f1, %f2, %f3"),
        ("fma.rn.ftz.f32", "%f1, %f2, %f3, %f4"),
        ("setp.lt.ftz.f32", "%p1, %f2, %f3"),
        ("setp.lt.and.f32", "%p1, %f2, %f3, %p2"),
        ("set.lt.ftz.u32.f32", "%r1, %f2, %f3"),
        ("cvt.rn.ftz.f32.s32", "%f1, %r2"),
        ("cvt.rn.relu.f16.f32", "%rs1, %f2"),
        ("neg.ftz.s32", "%r1, %r2"),
        ("max.NaN.s32", "%r1, %r2, %r3"),
        ("ld.global.L1", "%r1, [%rd1]"),
        ("bra.u32", "$A"),
        // Roundings that are not computed.
        ("rcp.rz.f32", "%f1, %f2"),
        ("sqrt.rp.f64", "%fd1, %fd2"),
        ("fma.rm.f64", "%fd1, %fd2, %fd3, %fd4"),
        ("mad.rz.f64", "%fd1, %fd2, %fd3, %fd4"),
        // Barriers of a part of a block, and those at which nobody waits.
        ("bar.sync", "1"),
        ("bar.sync", "0, 64"),
        ("bar.arrive", "0, 64"),
        ("bar.red.popc.u32", "%r1, 0, %p1"),
        ("barrier.arrive", "0, 64"),
        ("barrier.aligned", "0"),
        ("barrier.sync.aligned", "%r1"),
        // Vectors and parts of no size that there is.
        ("ld.global.v4.u64", "{%rd1, %rd2, %rd3, %rd4}, [%rd5]"),
        ("st.global.v4.f64", "[%rd5], {%fd1, %fd2, %fd3, %fd4}"),
        ("mov.b32", "{%r1}, %r2"),
        ("mov.b32", "%r1, {%r2}"),
        // Matrices of other types and shapes, and of too few registers.
        ("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32", "{%r1}, {%r1}, {%r1}, {%r1}"),
        ("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32", "{%r1}, {%r1}, {%r1}, {%r1}"),
        ("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32", "{%r1}, {%r1}, {%r1}, {%r1}"),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16", "{%r1}, [%rd1]"),
        ("ldmatrix.sync.aligned.m8n8.x3.shared.b16", "{%r1}, [%rd1]"),
        // Other ways to choose bytes, and other types of pairs.
        ("prmt.b32.f4e", "%r1, %r2, %r3, %r4"),
        ("dp4a.s32", "%r1, %r2, %r3, %r4"),
        ("add.rz.f16x2", "%r1, %r2, %r3"),
        ("div.f16x2", "%r1, %r2, %r3"),
        ("madc.wide.u32", "%rd1, %r2, %r3, %rd4"),
    ] {
        let want = format!("line 12: the instruction `{name}` is not known");
        check_unread(&format!("{name} {operands};"), &want);
    }
}

#[test]
fn declarations_that_are_not_known_or_too_large_are_refused() {
    let beyond = "wanted a directive that is known, found";
    check_unread(".frob 1;", &format!("line 12: {beyond} `.frob`"));
    check_unread("$A:\nret;\n$A:", "line 14: `$A` is declared twice");
    for (text, name) in [
        (".shared .b64 s[536870912];", "s"),
        (".local .b8 s[18446744073709551615];", "s"),
        (".shared .b8 a[1073741824];.shared .b8 b[1];", "b"),
        (".shared .b8 a[1];.shared .align 18446744073709551615 .b8 b[1];", "b"),
        (".reg .b32 %q<1048577>;", "%q"),
    ] {
        check_unread(text, &format!("line 12: there is no room for `{name}`"));
    }
}

#[test]
fn what_is_not_known_is_named() {
    check_unread("frob.u32 %r1, %r2;", "line 12: the instruction `frob.u32` is not known");
    // No such instruction of the type.
    check_unread("rem.f32 %f1, %f2, %f3;", "line 12: the instruction `rem.f32` is not known");
    check_unread("rcp.rn.s32 %r1, %r2;", "line 12: the instruction `rcp.rn.s32` is not known");
    check_unread(
        "max.NaN.s32 %r1, %r2, %r3;",
        "line 12: the instruction `max.NaN.s32` is not known",
    );
    let fma = "fma.rn.s32 %r1, %r2, %r3, %r4;";
    check_unread(fma, "line 12: the instruction `fma.rn.s32` is not known");
    check_unread("add.cc.f32 %f1, %f2, %f3;", "line 12: the instruction `add.cc.f32` is not known");
    check_unread("mul.cc.u32 %r1, %r2, %r3;", "line 12: the instruction `mul.cc.u32` is not known");
    check_unread("mov.u32 %r1, %x9;", "line 12: `%x9` is not declared");
    check_unread("bra $NOWHERE;", "line 12: `$NOWHERE` is not declared");
    check_unread("add.u32 %r1 %r2;", "line 12: wanted ,, found `%r2`");
    let text = kernel(0, "");
    let error = Module::parse(&text).unwrap().kernel("other").unwrap_err();
    assert_eq!(error.to_string(), "the module has no kernel `other`");
}

#[test]
fn variables_and_parameters_too_large_are_refused() {
    let text = ".global .b8 a[1];\n.global .b8 b[1073741824];";
    let error = Module::parse(text).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("line 2: there is no room for `b`"));
    let text = ".entry test(.param .b64 p[2305843009213693952]) {}";
    let error = Module::parse(text).unwrap().kernel("test").unwrap_err();
    assert_eq!(error.to_string(), "line 1: there is no room for `p`");
}

#[test]
fn variables_of_the_module_are_not_written() {
    let mut device = Device::default();
    let out = device.place(&[0_u32]);
    let text = ".global .u32 counter = 1;\n".to_owned()
        + &kernel(1, "mov.u64 %rd1, counter;\nst.global.u32 [%rd1], 1;");
    let error = run(&text, "test", (1, 1), &[Arg::U64(out)], &mut device).unwrap_err();
    assert!(format!("{error:?}").contains("variables of the module are not written here"));
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
    let check_sizes = |grid_size: [u32; 3], block_size: [u32; 3], want: &str| {
        let launch = Launch { grid_size, block_size, shared_bytes: 0, params: &[0; 8] };
        let error = kernel.launch(&launch, &mut Device::default()).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let (one, many) = ([1; 3], u32::MAX);
    let threads = "the number of threads in a block is 18446744073709551615, wanted 1 to 1024";
    check_sizes(one, [many; 3], threads);
    check_sizes([many; 3], one, "the grid's size along x is 4294967295, wanted at most 2147483647");
    check_sizes([1, 65_536, 1], one, "the grid's size along y is 65536, wanted at most 65535");
    check_sizes([1, 1, 65_536], one, "the grid's size along z is 65536, wanted at most 65535");
    check_sizes(one, [1, 1, 65], "the block's size along z is 65, wanted at most 64");
    check(1, 1, &[0; 4], "the number of bytes of parameters is 4, wanted 8");
}
