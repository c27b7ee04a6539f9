//! Matrices whose parts the lanes of a warp have, against the host's arithmetic.

use std::error::Error;

use proptest::{
    prelude::any,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::support::{Arg, Device, by_thread, kernel, run};

/// Random bytes, and among them those whose products are the largest.
fn bytes(count: usize, runner: &mut TestRunner) -> Vec<u8> {
    let byte = |_| match any::<u8>().new_tree(runner).unwrap().current() {
        it if it < 40 => 0x80,
        it => it,
    };
    (0..count).map(byte).collect()
}

/// Where an element of the left matrix is: row and column.
fn left(lane: usize, element: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    let row = if element < 4 || (8..12).contains(&element) { group } else { group + 8 };
    (row, member * 4 + (element & 3) + if element >= 8 { 16 } else { 0 })
}

fn right(lane: usize, element: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    (member * 4 + (element & 3) + if element >= 4 { 16 } else { 0 }, group)
}

fn sum(lane: usize, element: usize) -> (usize, usize) {
    let (group, member) = (lane >> 2, lane % 4);
    (if element < 2 { group } else { group + 8 }, member * 2 + (element & 1))
}

/// Multiplies by an instruction of this depth, whose operands are `left` of `[16, depth]` and
/// `right` of `[depth, 8]`.
fn product(depth: usize, matrices: (&[u8], &[u8]), sums: &[i32]) -> Vec<i32> {
    let mut device = Device::default();
    let (num_left, num_right) = (depth / 8, depth / 16);
    let part = |count: usize, of: &dyn Fn(usize, usize) -> u8| -> Vec<u8> {
        (0..32).flat_map(|lane| (0..count).map(move |it| of(lane, it))).collect()
    };
    let a = part(4 * num_left, &|lane, it| {
        let (row, column) = left(lane, it);
        matrices.0[row * depth + column]
    });
    let b = part(4 * num_right, &|lane, it| {
        let (row, column) = right(lane, it);
        matrices.1[row * 8 + column]
    });
    let mut c = vec![0_u32; 32 * 4];
    for (it, c) in c.iter_mut().enumerate() {
        let (row, column) = sum(it / 4, it % 4);
        *c = sums[row * 8 + column].cast_unsigned();
    }
    let [a, b] = [device.place(&a), device.place(&b)];
    let c = device.place(&c);
    let list = |first: usize, num: usize| {
        let names: Vec<String> = (first..first + num).map(|it| format!("%r{it}")).collect();
        format!("{{{}}}", names.join(", "))
    };
    let loads = |base: usize, first: usize, num: usize| -> String {
        let load =
            |it: usize| format!("ld.global.b32 %r{}, [%rd{}+{}];\n", first + it, base + 10, 4 * it);
        format!("mad.wide.u32 %rd{}, %r31, {}, %rd{base};\n", base + 10, 4 * num)
            + &(0..num).map(load).collect::<String>()
    };
    let body = by_thread(16)
        + &loads(0, 1, num_left)
        + &loads(1, 5, num_right)
        + &loads(2, 7, 4)
        // The result takes the place of what was added, as compilers have it.
        + &format!(
            "mma.sync.aligned.m16n8k{depth}.row.col.s32.s8.s8.s32 {sums}, {}, {}, {sums};\n\
             st.global.v4.b32 [%rd12], {sums};",
            list(1, num_left),
            list(5, num_right),
            sums = list(7, 4),
        );
    run(&kernel(3, &body), "test", (1, 32), &[Arg::U64(a), Arg::U64(b), Arg::U64(c)], &mut device)
        .unwrap();
    let found: Vec<u32> = device.values(c, 32 * 4);
    let mut result = vec![0; 16 * 8];
    for (it, found) in found.into_iter().enumerate() {
        let (row, column) = sum(it / 4, it % 4);
        result[row * 8 + column] = found.cast_signed();
    }
    result
}

#[test]
fn matrices_of_bytes_are_multiplied() {
    let mut runner = TestRunner::deterministic();
    for depth in [16, 32] {
        for _ in 0..20 {
            let (a, b) = (bytes(16 * depth, &mut runner), bytes(depth * 8, &mut runner));
            let mut sums: Vec<i32> = (0..16 * 8)
                .map(|_| any::<i32>().new_tree(&mut runner).unwrap().current())
                .collect();
            // Too large a sum loses its carry.
            (sums[0], sums[1]) = (i32::MAX, i32::MIN);
            let found = product(depth, (&a, &b), &sums);
            for (at, found) in found.into_iter().enumerate() {
                let (row, column) = (at / 8, at % 8);
                let products = (0..depth).map(|k| {
                    i32::from(a[row * depth + k] as i8) * i32::from(b[k * 8 + column] as i8)
                });
                let want = products.fold(sums[at], i32::wrapping_add);
                assert_eq!(found, want, "depth {depth}, row {row}, column {column}");
            }
        }
    }
}

/// What a lane gets of so many matrices, whose elements say where they are: `64 m + 8 row +
/// column`.
fn check_load(modifiers: &str, num: usize, is_transposed: bool, is_generic: bool) {
    let mut device = Device::default();
    let out = device.place(&vec![u32::MAX; 32 * num]);
    let names: Vec<String> = (1..=num).map(|it| format!("%r{it}")).collect();
    let stores = (0..num).map(|it| format!("st.global.b32 [%rd9+{}], %r{};\n", 4 * it, it + 1));
    // Rows are 32 bytes apart and in reverse, that of lane 0 the last. Lane t writes row t.
    let writes = (0..8)
        .map(|it| format!("add.s32 %r12, %r11, {it};\nst.shared.u16 [%r10+{}], %r12;\n", 2 * it));
    let generic = "cvt.u64.u32 %rd5, %r10;\ncvta.shared.u64 %rd5, %rd5;\n";
    let address = if is_generic { "%rd5" } else { "%r10" };
    let body = by_thread(4 * num)
        + &format!(
            ".shared .align 16 .b8 rows[1024];\nadd.s64 %rd9, %rd0, %rd31;\n\
             sub.s32 %r10, 31, %r31;\nshl.b32 %r10, %r10, 5;\nmov.u32 %r13, rows;\n\
             add.s32 %r10, %r10, %r13;\nshl.b32 %r11, %r31, 3;\n{}bar.sync 0;\n{generic}\
             ldmatrix.sync.aligned.m8n8.{modifiers}.b16 {{{}}}, [{address}];\n{}",
            writes.collect::<String>(),
            names.join(", "),
            stores.collect::<String>(),
        );
    run(&kernel(1, &body), "test", (1, 32), &[Arg::U64(out)], &mut device).unwrap();
    let found: Vec<u32> = device.values(out, 32 * num);
    for (at, found) in found.into_iter().enumerate() {
        let (lane, matrix) = (at / num, at % num);
        let of = |it: usize| {
            let (row, column) = (lane / 4, 2 * (lane % 4) + it);
            let (row, column) = if is_transposed { (column, row) } else { (row, column) };
            (64 * matrix + 8 * row + column) as u32
        };
        assert_eq!(found, of(0) | of(1) << 16, "{modifiers}, lane {lane}, matrix {matrix}");
    }
}

#[test]
fn matrices_are_loaded_by_rows_that_lanes_name() {
    for is_generic in [false, true] {
        for num in [1, 2, 4] {
            let shared = if is_generic { "" } else { ".shared" };
            check_load(&format!("x{num}{shared}"), num, false, is_generic);
            check_load(&format!("x{num}.trans{shared}"), num, true, is_generic);
        }
    }
}

#[test]
fn lanes_wait_for_each_other_before_they_multiply_and_all_must_come() {
    let product = "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r1, %r2, %r3, %r4}, \
                   {%r5, %r5}, {%r6}, {%r7, %r7, %r7, %r7};\n";
    let parted = "add.s64 %rd2, %rd0, %rd31;\nmov.u32 %r5, 0x01010101;\nmov.u32 %r6, %r5;\n\
                  mov.u32 %r7, %r31;\nsetp.lt.u32 %p1, %r31, 5;\n@%p1 bra $A;\n\
                  add.s32 %r7, %r7, 100;\nbra $B;\n$A:\nadd.s32 %r7, %r7, 200;\n$B:\n";
    let mut device = Device::default();
    let out = device.place(&[0_u32; 32]);
    let text = kernel(1, &(by_thread(4) + parted + product + "st.global.u32 [%rd2], %r1;"));
    run(&text, "test", (1, 32), &[Arg::U64(out)], &mut device).unwrap();
    let want: Vec<u32> = (0..32).map(|it| 16 + it + if it < 5 { 200 } else { 100 }).collect();
    assert_eq!(device.values::<u32>(out, 32), want);

    let some = format!("setp.lt.u32 %p1, %r31, 5;\n@%p1 {product}");
    let error =
        run(&kernel(1, &(by_thread(4) + &some)), "test", (1, 32), &[Arg::U64(out)], &mut device);
    let found = error.unwrap_err().source().unwrap().to_string();
    assert_eq!(found, "lane 0 reads lane 5, which does not take part");
}
