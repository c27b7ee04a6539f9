//! The kernels of the cases, as PTX.

/// What every module begins with.
pub(super) const HEADER: &str = ".version 7.0\n.target sm_80\n.address_size 64\n";

/// A module of one kernel `k`, whose parameters are addresses called `p0` and so on, and which has
/// them in registers `%p0` and so on.
pub(super) fn kernel(num_params: usize, body: &str) -> String {
    let params: Vec<String> = (0..num_params).map(|it| format!(".param .u64 p{it}")).collect();
    let loads = (0..num_params)
        .map(|it| format!("ld.param.u64 %p{it}, [p{it}];\ncvta.to.global.u64 %p{it}, %p{it};\n"));
    format!(
        "{HEADER}.visible .entry k({})\n{{\n.reg .b64 %p<8>;\n.reg .b64 %d<8>;\n.reg .b32 %r<16>;\n\
         .reg .f32 %f<8>;\n.reg .b16 %h<8>;\n.reg .pred %q<4>;\n{}{body}ret;\n}}\n",
        params.join(", "),
        loads.collect::<String>(),
    )
}

/// Gives `%r0` the thread's number in the grid, and `%d0` its offset in words.
pub(super) const THREAD: &str = "\
mov.u32 %r0, %ctaid.x;
mov.u32 %r1, %ntid.x;
mov.u32 %r2, %tid.x;
mad.lo.s32 %r0, %r0, %r1, %r2;
mul.wide.u32 %d0, %r0, 4;
";

/// Adds 1 to each word of `p0`.
pub(super) fn increment() -> String {
    let body = "add.s64 %d1, %p0, %d0;\nld.global.u32 %r3, [%d1];\nadd.s32 %r3, %r3, 1;\n\
                st.global.u32 [%d1], %r3;\n";
    kernel(1, &format!("{THREAD}{body}"))
}

/// Stores a word at `p0`, wherever that is.
pub(super) fn store() -> String {
    kernel(1, "mov.u32 %r0, 7;\nst.global.u32 [%p0], %r0;\n")
}

pub(super) fn trap() -> String {
    kernel(1, "trap;\n")
}

/// Asserts that the word at `p0` is zero, as `assert` of CUDA C++ is compiled.
pub(super) fn assertion() -> String {
    let declared = "\
.extern .func __assertfail(.param .b64 expression, .param .b64 file, .param .b32 line, \
.param .b64 function, .param .b64 width);
.global .align 1 .b8 text[10] = {119, 111, 114, 100, 32, 61, 61, 32, 48, 0};
";
    let body = "\
ld.global.u32 %r0, [%p0];
setp.eq.s32 %q0, %r0, 0;
@%q0 bra holds;
mov.u64 %d0, text;
cvta.global.u64 %d1, %d0;
mov.u64 %d2, 1;
mov.u32 %r1, 7;
{
.param .b64 a0;
.param .b64 a1;
.param .b32 a2;
.param .b64 a3;
.param .b64 a4;
st.param.b64 [a0+0], %d1;
st.param.b64 [a1+0], %d1;
st.param.b32 [a2+0], %r1;
st.param.b64 [a3+0], %d1;
st.param.b64 [a4+0], %d2;
call.uni __assertfail, (a0, a1, a2, a3, a4);
}
holds:
";
    kernel(1, body).replacen(HEADER, &format!("{HEADER}{declared}"), 1)
}

/// Turns the words of each block of 256 around, over shared memory and a barrier.
pub(super) fn reverse() -> String {
    let body = "\
.shared .align 4 .b8 words[1024];
add.s64 %d1, %p0, %d0;
ld.global.u32 %r3, [%d1];
mov.u32 %r4, words;
shl.b32 %r5, %r2, 2;
add.s32 %r5, %r4, %r5;
st.shared.u32 [%r5], %r3;
bar.sync 0;
sub.s32 %r6, 255, %r2;
shl.b32 %r6, %r6, 2;
add.s32 %r6, %r4, %r6;
ld.shared.u32 %r3, [%r6];
st.global.u32 [%d1], %r3;
";
    kernel(1, &format!("{THREAD}{body}"))
}

/// Gives every thread the sum of its warp's words, by exchanges with ever nearer lanes.
pub(super) fn sum_of_warp() -> String {
    let mut body = format!("{THREAD}add.s64 %d1, %p0, %d0;\nld.global.u32 %r3, [%d1];\n");
    for distance in [16, 8, 4, 2, 1] {
        let exchange = format!("shfl.sync.bfly.b32 %r4, %r3, {distance}, 31, -1;\n");
        body.push_str(&exchange);
        body.push_str("add.s32 %r3, %r3, %r4;\n");
    }
    body.push_str("st.global.u32 [%d1], %r3;\n");
    kernel(1, &body)
}

/// The four modes of `shfl` on lane numbers, each by 3: up, down, bfly, idx, 32 words each in `p0`.
pub(super) fn shuffles() -> String {
    let mut body = format!("{THREAD}add.s64 %d1, %p0, %d0;\n");
    for (mode, clamp, offset) in
        [("up", 0, 0), ("down", 31, 128), ("bfly", 31, 256), ("idx", 31, 384)]
    {
        let shuffle = format!("shfl.sync.{mode}.b32 %r4, %r2, 3, {clamp}, -1;\n");
        body.push_str(&shuffle);
        let store = format!("st.global.u32 [%d1+{offset}], %r4;\n");
        body.push_str(&store);
    }
    kernel(1, &body)
}

/// Each thread counts at `p0`, and takes part in the greatest, least, exchanged and swapped of its
/// number in the words behind.
pub(super) fn atomics() -> String {
    let body = "\
atom.global.add.u32 %r3, [%p0], 1;
atom.global.max.u32 %r4, [%p0+4], %r0;
atom.global.min.u32 %r4, [%p0+8], %r0;
atom.global.exch.b32 %r4, [%p0+12], 5;
atom.global.cas.b32 %r4, [%p0+16], 0, 9;
add.s64 %d1, %p1, %d0;
st.global.u32 [%d1], %r3;
";
    kernel(2, &format!("{THREAD}{body}"))
}

/// Loops for as many rounds as the word at `p0` says, and leaves there what came of them.
pub(super) fn spin() -> String {
    let body = "\
ld.global.u32 %r0, [%p0];
mov.u32 %r1, 1;
again:
mad.lo.s32 %r1, %r1, 5, 3;
sub.s32 %r0, %r0, 1;
setp.ne.s32 %q0, %r0, 0;
@%q0 bra again;
st.global.u32 [%p0], %r1;
";
    kernel(1, body)
}

/// Parameters of all sizes, in an order that leaves gaps between them: their bytes go to `out`.
pub(super) fn mixed_params() -> String {
    let body = "\
{
.reg .b64 %d<4>;
.reg .b32 %r<4>;
.reg .b16 %h<4>;
.reg .f32 %f<2>;
.reg .f64 %e<2>;
ld.param.u64 %d0, [out];
cvta.to.global.u64 %d0, %d0;
ld.param.u8 %h0, [byte];
st.global.u8 [%d0], %h0;
ld.param.u16 %h1, [half];
st.global.u16 [%d0+2], %h1;
ld.param.u8 %h2, [tail];
st.global.u8 [%d0+4], %h2;
ld.param.f64 %e0, [double];
st.global.f64 [%d0+8], %e0;
ld.param.f32 %f0, [single];
st.global.f32 [%d0+16], %f0;
ld.param.u32 %r0, [bytes+8];
st.global.u32 [%d0+20], %r0;
ld.param.u64 %d1, [wide];
st.global.u64 [%d0+24], %d1;
ret;
}
";
    let params = ".param .u8 byte, .param .u64 out, .param .u16 half, .param .u8 tail, \
                  .param .f64 double, .param .f32 single, .param .align 8 .b8 bytes[24], \
                  .param .u64 wide";
    format!("{HEADER}.visible .entry k({params})\n{body}")
}
