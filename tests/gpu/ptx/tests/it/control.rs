//! Branches, loops, barriers, shuffles and shared memory.

use crate::support::{Arg, Device, by_thread, kernel, run};

fn u32s(body: &str, (blocks, threads): (u32, u32)) -> Vec<u32> {
    let mut device = Device::default();
    let count = (blocks * threads) as usize;
    let out = device.place(&vec![0_u32; count]);
    let text = kernel(1, &(by_thread(4) + "add.s64 %rd30, %rd0, %rd31;\n" + body));
    run(&text, "test", (blocks, threads), &[Arg::U64(out)], &mut device).unwrap();
    device.values(out, count)
}

#[test]
fn lanes_that_part_meet_again() {
    // An odd thread takes its way, an even one another; behind them all go on together, and read
    // each other.
    let found = u32s(
        "and.b32 %r1, %r31, 1;\nsetp.eq.s32 %p1, %r1, 0;\n@%p1 bra $EVEN;\n\
         mul.lo.s32 %r2, %r31, 3;\nbra.uni $BOTH;\n$EVEN:\nadd.s32 %r2, %r31, 1;\n$BOTH:\n\
         shfl.sync.bfly.b32 %r3|%p2, %r2, 1, 31, -1;\nst.global.u32 [%rd30], %r3;",
        (2, 64),
    );
    let own = |it: u32| if it.is_multiple_of(2) { it + 1 } else { 3 * it };
    let want: Vec<u32> = (0..128).map(|it| own(it ^ 1)).collect();
    assert_eq!(found, want);
}

#[test]
fn each_lane_loops_as_often_as_it_wants() {
    let found = u32s(
        "mov.u32 %r1, 0;\nmov.u32 %r2, 0;\n$LOOP:\nsetp.ge.u32 %p1, %r1, %r31;\n@%p1 bra $END;\n\
         add.s32 %r1, %r1, 1;\nadd.s32 %r2, %r2, %r1;\nbra.uni $LOOP;\n$END:\n\
         st.global.u32 [%rd30], %r2;",
        (1, 40),
    );
    assert_eq!(found, (0..40).map(|it| it * (it + 1) / 2).collect::<Vec<u32>>());
}

#[test]
fn lanes_that_end_early_are_not_waited_for() {
    let found = u32s(
        "setp.gt.u32 %p1, %r31, 40;\n@%p1 ret;\nbar.sync 0;\n@!%p1 st.global.u32 [%rd30], 7;",
        (1, 70),
    );
    assert_eq!(found, (0..70).map(|it| if it > 40 { 0 } else { 7 }).collect::<Vec<u32>>());
}

#[test]
fn lanes_that_only_end_elsewhere_are_not_waited_for() {
    let write = "st.global.u32 [%rd30], 7;\n$END:";
    let want = |count| (0..count).map(|it| if it > 40 { 0 } else { 7 }).collect::<Vec<u32>>();
    for (barrier, count) in [
        ("@%p1 bra $END;\nbar.sync 0;\n", 70),
        ("@%p1 bra $END;\nbarrier.sync 0;\n", 70),
        ("@%p1 bra $END;\nbarrier.sync.aligned 0;\n", 70),
        // Nobody takes it.
        ("setp.gt.u32 %p2, %r31, 1000;\n@%p2 bar.sync 0;\n@%p1 bra $END;\n", 70),
        // Those who do not take it go on to their end.
        ("@!%p1 bar.sync 0;\n@%p1 bra $END;\n", 70),
        // Of no other than the lanes of a warp.
        ("@%p1 bra $END;\nbar.warp.sync -1;\n", 70),
    ] {
        let body = format!("setp.gt.u32 %p1, %r31, 40;\n{barrier}{write}");
        assert_eq!(u32s(&body, (1, count)), want(count), "{barrier}");
    }
}

#[test]
fn lanes_that_come_to_a_barrier_apart_leave_it_together() {
    // Those ahead go back to the barrier at which the others wait.
    let body = "and.b32 %r1, %r31, 1;\nsetp.eq.s32 %p1, %r1, 0;\n@%p1 bra $LATER;\n$SAME:\n\
                bar.sync 0;\nshfl.sync.bfly.b32 %r3|%p2, %r31, 1, 31, -1;\n\
                st.global.u32 [%rd30], %r3;\nret;\n$LATER:\nbra $SAME;";
    assert_eq!(u32s(body, (1, 64)), (0..64).map(|it| it ^ 1).collect::<Vec<u32>>());
}

#[test]
fn a_shuffle_is_of_its_members_alone() {
    // Each half names its own lanes: 0 to 3 and 4 to 7.
    let body = "setp.lt.u32 %p1, %r31, 4;\nselp.b32 %r1, 0x0f, 0xf0, %p1;\n\
                shfl.sync.bfly.b32 %r2|%p2, %r31, 1, 31, %r1;\nst.global.u32 [%rd30], %r2;";
    assert_eq!(u32s(body, (1, 8)), [1, 0, 3, 2, 5, 4, 7, 6]);
}

#[test]
fn lines_for_debuggers_have_no_effect() {
    let body = ".loc 1 7 3\nmov.u32 %r1, 5;\n.loc 1 8 3, function_name $L, inlined_at 1 7 3\n\
                .file 1 \"a.cu\"\n.pragma \"nounroll\";\nst.global.u32 [%rd30], %r1;";
    assert_eq!(u32s(body, (1, 2)), [5, 5]);
}

#[test]
fn warps_see_behind_a_barrier_what_others_wrote_before() {
    let body = ".shared .align 4 .b8 buffer[512];\nmov.u32 %r1, buffer;\nshl.b32 %r2, %r30, 2;\n\
                add.s32 %r3, %r1, %r2;\nst.shared.u32 [%r3], %r31;\nbar.sync 0;\n\
                sub.s32 %r4, %r29, %r30;\nadd.s32 %r4, %r4, -1;\nshl.b32 %r4, %r4, 2;\n\
                add.s32 %r4, %r1, %r4;\nld.shared.u32 %r5, [%r4];\nst.global.u32 [%rd30], %r5;";
    let found = u32s(body, (2, 128));
    let want: Vec<u32> = (0..256).map(|it| it / 128 * 128 + 127 - it % 128).collect();
    assert_eq!(found, want);
}

#[test]
fn lanes_read_each_other() {
    #[track_caller]
    fn check(mode: &str, by: u32, clamp: u32, want: impl Fn(u32) -> (u32, bool)) {
        let found = u32s(
            &format!(
                "add.s32 %r1, %r31, 100;\nshfl.sync.{mode}.b32 %r2|%p1, %r1, {by}, {clamp}, -1;\n\
                 selp.u32 %r3, 1000, 0, %p1;\nadd.s32 %r2, %r2, %r3;\nst.global.u32 [%rd30], %r2;"
            ),
            (1, 32),
        );
        let want: Vec<u32> = (0..32)
            .map(want)
            .map(|(lane, is_in_range)| 100 + lane + if is_in_range { 1000 } else { 0 })
            .collect();
        assert_eq!(found, want, "{mode} {by} {clamp:#x}");
    }
    check("bfly", 16, 31, |lane| (lane ^ 16, true));
    check("bfly", 1, 31, |lane| (lane ^ 1, true));
    check("down", 4, 31, |lane| if lane < 28 { (lane + 4, true) } else { (lane, false) });
    check("up", 4, 0, |lane| if lane >= 4 { (lane - 4, true) } else { (lane, false) });
    check("idx", 5, 31, |_| (5, true));
    // In segments of eight lanes.
    check("idx", 13, 31 | 24 << 8, |lane| (lane / 8 * 8 + 5, true));
    check(
        "down",
        3,
        31 | 24 << 8,
        |lane| {
            if lane % 8 < 5 { (lane + 3, true) } else { (lane, false) }
        },
    );
}

#[test]
fn a_thread_has_memory_of_its_own() {
    let body = ".local .align 4 .b8 own[16];\nmov.u64 %rd1, own;\ncvta.local.u64 %rd2, %rd1;\n\
                st.local.u32 [own+4], %r31;\nst.u32 [%rd2+8], 5;\nld.u32 %r1, [%rd2+4];\n\
                ld.local.u32 %r2, [%rd1+8];\nadd.s32 %r1, %r1, %r2;\nst.global.u32 [%rd30], %r1;";
    assert_eq!(u32s(body, (1, 64)), (5..69).collect::<Vec<u32>>());
}

#[test]
fn atomics_count_every_lane() {
    let mut device = Device::default();
    let sums = device.place(&[0_u32, 100, 7, 128, 0xff]);
    let body = by_thread(4)
        + "atom.global.add.u32 %r1, [%rd0], %r31;\nred.global.min.u32 [%rd0+4], %r31;\n\
           atom.global.cas.b32 %r2, [%rd0+8], 7, %r31;\n\
           atom.global.or.b32 %r2, [%rd0+12], %r31;\n\
           red.global.and.b32 [%rd0+16], %r31;";
    run(&kernel(1, &body), "test", (2, 40), &[Arg::U64(sums)], &mut device).unwrap();
    assert_eq!(device.values::<u32>(sums, 5), [79 * 80 / 2, 0, 0, 255, 0]);
}

#[test]
fn vectors_and_parts_keep_their_order() {
    let mut device = Device::default();
    let words = device.place(&[1_u32, 2, 3, 4]);
    let body = "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0];\n\
                st.global.v2.u32 [%rd0], {%r4, %r3};\nmov.b64 %rd1, {%r1, %r2};\n\
                mov.b64 {_, %r5}, %rd1;\nmov.b32 {%rs1, %rs2}, %r5;\nmov.b32 %r6, {%rs2, %rs1};\n\
                st.global.v2.u32 [%rd0+8], {%r5, %r6};";
    run(&kernel(1, body), "test", (1, 1), &[Arg::U64(words)], &mut device).unwrap();
    assert_eq!(device.values::<u32>(words, 4), [4, 3, 2, 2 << 16]);
}

#[test]
fn variables_of_a_module_hold_what_it_says() {
    let mut device = Device::default();
    let out = device.place(&[0_u32; 2]);
    let body = "mov.u64 %rd1, table;\ncvta.global.u64 %rd2, %rd1;\nld.u16 %rs1, [%rd2+2];\n\
                cvt.u32.u16 %r1, %rs1;\nld.global.s8 %r2, [bytes+1];\nst.global.v2.u32 [%rd0], \
                {%r1, %r2};";
    let text = ".global .align 2 .u16 table[3] = {7, 500, 9};\n\
                .const .align 1 .b8 bytes[2] = {1, 255};\n"
        .to_owned()
        + &kernel(1, body);
    run(&text, "test", (1, 1), &[Arg::U64(out)], &mut device).unwrap();
    assert_eq!(device.values::<u32>(out, 2), [500, u32::MAX]);
}
