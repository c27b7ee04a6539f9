//! What is checked while a kernel runs, each with a kernel that is wrong and a twin that is not.

use std::{collections::HashSet, error::Error};

use sluicegate_ptx::{Launch, LaunchError, Module, Order};

use crate::support::{Arg, Device, Sizes, by_thread, kernel, run, run_with};

/// Runs a body in blocks of 64 threads, with memory for all of them.
fn outcome(blocks: u32, body: &str) -> Result<(), LaunchError> {
    let mut device = Device::default();
    let out = device.place(&[0_u32; 256]);
    run(&text(body), "test", (blocks, 64), &[Arg::U64(out)], &mut device)
}

/// A kernel with 64 words of shared memory, in which `%rd30` is the address of a thread's result
/// and `%r28` that of its word.
fn text(body: &str) -> String {
    let start = ".shared .align 4 .b8 words[256];\nadd.s64 %rd30, %rd0, %rd31;\n\
                 mov.u32 %r27, words;\nshl.b32 %r28, %r30, 2;\nadd.s32 %r28, %r27, %r28;\n";
    kernel(1, &(by_thread(4) + start + body))
}

/// The first line of a body.
const FIRST: u32 = 23;

#[track_caller]
fn check(body: &str, line: u32, (block, thread): (u32, u32), want: &str) {
    let error = outcome(2, body).unwrap_err();
    let found = format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
    let place = format!("line {}, block [{block}, 0, 0], thread [{thread}, 0, 0]", FIRST + line);
    assert_eq!(found, format!("kernel `test`, {place}: {want}"));
}

#[track_caller]
fn check_right(body: &str) {
    outcome(2, body).unwrap();
}

/// Which thread did what before, in a line of the body.
fn other(thread: u32, did: &str, line: u32) -> String {
    let line = FIRST + line;
    format!("which thread [{thread}, 0, 0] {did} in line {line}, with no barrier between them")
}

/// Writes a thread's word, and reads that of one of the other warp.
fn exchange(barrier: &str) -> String {
    format!(
        "st.shared.u32 [%r28], %r31;\n{barrier}xor.b32 %r1, %r28, 0x80;\n\
         ld.shared.u32 %r2, [%r1];\nst.global.u32 [%rd30], %r2;"
    )
}

#[test]
fn warps_that_read_what_others_write_race() {
    // The first warp is done with all when the second writes what was read.
    let init = "st.shared.u32 [%r28+0], 1;\nbar.sync 0;\n";
    let want = "it writes 4 bytes at 0x80 of shared memory, ".to_owned();
    check(&(init.to_owned() + &exchange("")), 2, (0, 32), &(want + &other(0, "reads", 4)));
    check_right(&exchange("bar.sync 0;\n"));
    // One warp alone needs none.
    check_right(&exchange("").replace("0x80", "0x40"));
}

#[test]
fn warps_that_write_the_same_word_race() {
    let body = "shr.u32 %r1, %r30, 5;\nst.shared.u32 [words+8], %r1;";
    let want = "it writes 4 bytes at 0x8 of shared memory, ".to_owned();
    check(body, 1, (0, 32), &(want.clone() + &other(31, "writes", 1)));
    // But not if they write the same, and then they may read it.
    let same = "st.shared.u32 [words+8], 5;\nld.shared.u32 %r1, [words+8];\n";
    check_right(same);
    let last = "setp.gt.u32 %p1, %r30, 31;\n@%p1 st.shared.u32 [words+8], 6;";
    check(&format!("{same}{last}"), 3, (0, 32), &(want + &other(31, "writes", 0)));
    check_right("setp.lt.u32 %p1, %r30, 32;\n@%p1 st.shared.u32 [words+8], 5;");
    check_right(
        "setp.lt.u32 %p1, %r30, 32;\n@%p1 st.shared.u32 [words+8], 5;\nbar.sync 0;\n\
         @!%p1 st.shared.u32 [words+8], 6;",
    );
}

#[test]
fn warps_that_write_parts_of_a_word_do_not_race() {
    // Threads 0 and 32 write bytes beside each other.
    let body = "and.b32 %r1, %r30, 31;\nshr.u32 %r2, %r30, 5;\nshl.b32 %r1, %r1, 1;\n\
                add.s32 %r1, %r1, %r2;\nadd.s32 %r1, %r1, %r27;\nst.shared.u8 [%r1], 1;";
    check_right(body);
}

#[test]
fn lanes_that_write_different_values_to_one_place_race() {
    let body = "setp.lt.u32 %p1, %r30, 32;\n@%p1 st.shared.u32 [words+4], %r30;";
    let want = "it writes 4 bytes at 0x4 of shared memory, ".to_owned();
    check(body, 1, (0, 1), &(want + &other(0, "writes", 1)));
    check_right(&body.replace("%r30;", "7;").replace("%r30, 32", "%r31, 32"));
    // Each has its own memory.
    check_right(
        ".local .align 4 .b8 own[4];\nmov.u64 %rd1, own;\ncvta.local.u64 %rd2, %rd1;\n\
         st.u32 [%rd2], %r30;",
    );
}

#[test]
fn atomics_race_with_all_but_atomics() {
    let count = "setp.eq.u32 %p1, %r30, 0;\n@%p1 st.shared.u32 [words], 0;\nbar.sync 0;\n\
                 atom.shared.add.u32 %r1, [words], 1;\n";
    let read = "ld.shared.u32 %r2, [words];\nst.global.u32 [%rd30], %r2;";
    // The first warp comes to its read before the second counts.
    let want = "it changes 4 bytes at 0x0 of shared memory, ".to_owned();
    check(&format!("{count}{read}"), 3, (0, 32), &(want + &other(31, "reads", 4)));
    check_right(&format!("{count}bar.sync 0;\n{read}"));
    let write = "@%p1 st.shared.u32 [words], 0;\n";
    let want = "it changes 4 bytes at 0x0 of shared memory, ".to_owned();
    check(&format!("{count}{write}"), 3, (0, 32), &(want + &other(0, "writes", 4)));
    let also = "atom.shared.cas.b32 %r2, [words], 900, 1;\natom.shared.exch.b32 %r2, [words], 1;";
    check_right(&format!("{count}{also}"));
}

#[test]
fn shared_memory_that_nobody_wrote_is_not_used() {
    let read = "ld.shared.u32 %r1, [%r28];\nst.global.u32 [%rd30], %r1;";
    check(read, 1, (0, 0), UNWRITTEN);
    check_right(&format!("st.shared.u32 [%r28], 1;\n{read}"));
    let half = format!("st.shared.u16 [%r28], %rs1;\n{read}").replace("%rs1", "1");
    check(&half, 2, (0, 0), UNWRITTEN);
    // Another block has memory of its own.
    let first = "mov.u32 %r1, %ctaid.x;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 st.shared.u32 [%r28], 1;\n";
    check(&format!("{first}{read}"), 4, (1, 0), UNWRITTEN);
    // What is not used does not matter.
    check_right(&format!("{first}{}", read.replace("st.", "@%p1 st.")));
    let counted = "atom.shared.add.u32 %r1, [words], 1;";
    let unwritten = "4 bytes at 0x0 of shared memory are read, which nobody has written";
    check(counted, 0, (0, 0), unwritten);
}

/// Writes half of the rows of a matrix of 16 bits, and reads all of them into `%r1`.
const MATRIX: &str = "setp.lt.u32 %p1, %r30, 16;\n@%p1 st.shared.u32 [%r28], %r30;\nbar.sync 0;\n\
                      and.b32 %r2, %r30, 7;\nshl.b32 %r2, %r2, 4;\nadd.s32 %r2, %r2, %r27;\n\
                      ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r2];\n\
                      and.b32 %r3, %r30, 31;\nsetp.lt.u32 %p2, %r3, 16;\n";

#[test]
fn rows_of_matrices_that_nobody_wrote_are_not_used() {
    // Four lanes have a row.
    let store = "st.global.u32 [%rd30], %r1;";
    check_right(&format!("{MATRIX}@%p2 {store}"));
    check(&format!("{MATRIX}{store}"), 9, (0, 16), UNWRITTEN);
    // Rows of the product are made from those alone, but columns from all.
    let product = "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r4, %r5, %r6, %r7}, \
                   {%r1, %r31}, {%r31}, {%r31, %r31, %r31, %r31};\n";
    let store = "st.global.u32 [%rd30], %r4;";
    check_right(&format!("{MATRIX}{product}@%p2 {store}"));
    check(&format!("{MATRIX}{product}{store}"), 10, (0, 16), UNWRITTEN);
    check_right(&format!("{MATRIX}{product}{}", store.replace("%r4", "%r6")));
    let turned = product.replace("{%r1, %r31}, {%r31}", "{%r31, %r31}, {%r1}");
    check(&format!("{MATRIX}{turned}@%p2 {store}"), 10, (0, 2), UNWRITTEN);
}

#[test]
fn memory_that_a_launch_adds_is_not_looked_at() {
    let text = text("ld.shared.u32 %r1, [words+256];\nst.global.u32 [%rd30], %r1;");
    let mut device = Device::default();
    let out = device.place(&[0_u32; 64]);
    let sizes = Sizes { grid_size: [1; 3], block_size: [64, 1, 1], shared_bytes: 4 };
    run_with(&text, "test", &sizes, &[Arg::U64(out)], &mut device).unwrap();
}

#[test]
fn local_memory_that_its_thread_did_not_write_is_not_read() {
    let own = ".local .align 4 .b8 own[8];\n";
    let read = "ld.local.u32 %r1, [own+4];\nst.global.u32 [%rd30], %r1;";
    let unwritten = "4 bytes at 0x4 of local memory are read, which nobody has written";
    check(&format!("{own}{read}"), 1, (0, 0), unwritten);
    check_right(&format!("{own}st.local.u32 [own+4], 1;\n{read}"));
    let some = "setp.ne.u32 %p1, %r31, 70;\n@%p1 st.local.u32 [own+4], 1;\n";
    check(&format!("{own}{some}{read}"), 3, (1, 6), unwritten);
}

#[test]
fn warps_do_not_wait_at_different_barriers() {
    let apart =
        "setp.lt.u32 %p1, %r30, 32;\n@%p1 bra $A;\nbar.sync 0;\nbra $B;\n$A:\nbar.sync 0;\n$B:";
    let want = format!("warp 1 waits at this barrier, and warp 0 at that in line {}", FIRST + 5);
    check(apart, 2, (0, 32), &want);
    check_right(&apart.replace("bar.sync 0;\nbra $B;", "bra $A;"));
    // Those that have ended are not waited for.
    check_right("setp.lt.u32 %p1, %r30, 32;\n@%p1 ret;\nbar.sync 0;\nbar.sync 0;");
    let less =
        "setp.lt.u32 %p1, %r30, 32;\nbar.sync 0;\n@%p1 bra $A;\nbar.sync 0;\n$A:\nbar.sync 0;";
    let want = format!("warp 1 waits at this barrier, and warp 0 at that in line {}", FIRST + 5);
    check(less, 3, (0, 32), &want);
}

/// What a body leaves in the first words of memory, by the order.
fn ordered(body: &str, (blocks, threads): (u32, u32), order: Order) -> Vec<u32> {
    let mut device = Device::default();
    let out = device.place(&[0_u32; 256]);
    let text = text(body);
    let kernel = Module::parse(&text).unwrap().kernel("test").unwrap();
    let (grid_size, block_size) = ([blocks, 1, 1], [threads, 1, 1]);
    let params = out.to_le_bytes();
    let launch = Launch { grid_size, block_size, shared_bytes: 0, params: &params };
    assert!(kernel.launch_in(order, &launch, &mut device).unwrap() > 0);
    device.values(out, 256)
}

#[test]
fn the_order_of_warps_and_blocks_is_drawn() {
    let lost = "ld.global.u32 %r1, [%rd0];\nadd.s32 %r1, %r1, 1;\nst.global.u32 [%rd0], %r1;";
    let counted = "atom.global.add.u32 %r1, [%rd0], 1;";
    // One thread a warp reads and writes the same word.
    let alone =
        "and.b32 %r2, %r30, 31;\nsetp.ne.u32 %p1, %r2, 0;\n@%p1 ret;\nmov.u32 %r3, 0;\n$L:\n";
    let again = "\nadd.s32 %r3, %r3, 1;\nsetp.lt.u32 %p2, %r3, 20;\n@%p2 bra $L;";
    let sizes = [(1, 256), (16, 32)];
    for size in sizes {
        let of = |body: &str, seed| {
            ordered(&format!("{alone}{body}{again}"), size, Order::Mixed(seed))[0]
        };
        let outcomes: HashSet<u32> = (0..20).map(|seed| of(lost, seed)).collect();
        assert!(outcomes.len() > 5, "{size:?}: {outcomes:?}");
        assert_eq!(of(lost, 3), of(lost, 3));
        let total = size.0 * size.1 / 32 * 20;
        assert!((0..20).all(|seed| of(counted, seed) == total));
    }
}

#[test]
fn who_writes_last_is_drawn() {
    // Of blocks, and of the warps of one, which write their number to the same word.
    for (size, number) in
        [((16, 32), "mov.u32 %r1, %ctaid.x;"), ((1, 512), "shr.u32 %r1, %r30, 5;")]
    {
        let body = format!("{number}\nst.global.u32 [%rd0], %r1;");
        let of = |order| ordered(&body, size, order)[0];
        assert_eq!(of(Order::InTurn), 15);
        for order in [Order::Shuffled, Order::Mixed] {
            let last: HashSet<u32> = (0..100).map(|seed| of(order(seed))).collect();
            assert!(last.len() > 10, "{size:?}: {last:?}");
        }
    }
}

#[test]
fn a_drawn_order_keeps_to_barriers() {
    for order in (0..20).flat_map(|seed| [Order::Mixed(seed), Order::Shuffled(seed)]) {
        let found = ordered(&exchange("bar.sync 0;\n"), (4, 64), order);
        assert_eq!(found, (0..256).map(|it| it ^ 32).collect::<Vec<u32>>());
    }
}

/// What is wrong where an unwritten register is used.
const UNWRITTEN: &str = "it depends on a register or on shared memory that nobody has written";

#[test]
fn registers_that_nobody_wrote_are_not_used() {
    let store = "st.global.u32 [%rd30], %r1;";
    check(store, 0, (0, 0), UNWRITTEN);
    let made = "add.s32 %r2, %r1, 1;\nmov.b64 %rd1, {%r2, %r2};\nst.global.u32 [%rd30], %rd1;";
    check(made, 2, (0, 0), UNWRITTEN);
    check("ld.global.u32 %r1, [%rd1];", 0, (0, 0), UNWRITTEN);
    check("@%p1 bra $A;\n$A:", 0, (0, 0), UNWRITTEN);
    check("atom.global.add.u32 %r1, [%rd0], %r2;", 0, (0, 0), UNWRITTEN);
    check("shfl.sync.bfly.b32 %r1, %r31, %r2, 31, -1;", 0, (0, 0), UNWRITTEN);
    check_right(&format!("mov.u32 %r1, 1;\n{store}"));
    check_right(&made.replace("%r2, %r1", "%r2, %r31"));
    // What is used nowhere does not matter.
    check_right("add.s32 %r2, %r1, 1;\nsetp.eq.s32 %p1, %r1, 0;");
}

#[test]
fn registers_that_only_some_lanes_wrote_are_used_by_them_alone() {
    let some = "setp.lt.u32 %p1, %r30, 40;\n@%p1 mov.u32 %r1, 5;\n";
    let store = "st.global.u32 [%rd30], %r1;";
    check(&format!("{some}{store}"), 2, (0, 40), UNWRITTEN);
    check_right(&format!("{some}@%p1 {store}"));
    let chosen = "selp.b32 %r1, %r1, 7, %p1;\n";
    check_right(&format!("{some}{chosen}{store}"));
    let other = chosen.replace("%r1, 7", "7, %r1");
    check(&format!("{some}{other}{store}"), 3, (0, 40), UNWRITTEN);
    // The first of two conditions decides, or does not.
    let both = "setp.eq.s32 %p2, %r1, 5;\nand.pred %p3, %p1, %p2;\n@%p3 st.global.u32 [%rd30], 1;";
    check_right(&format!("{some}{both}"));
    check(&format!("{some}{}", both.replace("and", "or")), 4, (0, 40), UNWRITTEN);
    let any = both.replace("and.pred %p3, %p1", "not.pred %p4, %p1;\nor.pred %p3, %p4");
    check_right(&format!("{some}{any}"));
    // Lane 7 of the second warp is the last to write.
    let read = "shfl.sync.idx.b32 %r2, %r1, 7, 31, -1;\nst.global.u32 [%rd30], %r2;";
    check_right(&format!("{some}{read}"));
    check(&format!("{some}{}", read.replace(" 7,", " 8,")), 3, (0, 32), UNWRITTEN);
}

#[test]
fn registers_are_as_unwritten_in_the_next_block_as_in_the_first() {
    let first = "mov.u32 %r1, %ctaid.x;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 mov.u32 %r2, 1;\n";
    check(&format!("{first}st.global.u32 [%rd30], %r2;"), 3, (1, 0), UNWRITTEN);
}

#[test]
fn registers_that_are_written_on_each_way_are_written() {
    let other = "$A:\nmov.u32 %r1, 2;\n$B:\nst.global.u32 [%rd30], %r1;";
    let one = "setp.lt.u32 %p1, %r30, 9;\n@%p1 bra $A;\nmov.u32 %r1, 1;\nbra $B;\n";
    check_right(&format!("{one}{other}"));
    let none = one.replace("mov.u32 %r1, 1;\n", "");
    check(&format!("{none}{other}"), 6, (0, 9), UNWRITTEN);
    // Within a loop, whose first round has it from before.
    let sum = "$L:\nadd.s32 %r1, %r1, 1;\nsetp.lt.u32 %p1, %r1, 20;\n@%p1 bra $L;\n\
               st.global.u32 [%rd30], %r1;";
    check_right(&format!("mov.u32 %r1, 0;\n{sum}"));
    check(sum, 3, (0, 0), UNWRITTEN);
}
