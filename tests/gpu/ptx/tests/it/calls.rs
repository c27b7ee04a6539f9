//! Functions of a module, and those that a driver brings.

use std::error::Error;

use sluicegate_ptx::Module;

use crate::support::{Arg, Device, by_thread, kernel, run};

/// A function of two numbers that gives two: the sum, and the greater; one of the returns is early.
const FUNCTION: &str = "
.func (.param .align 8 .b8 out[16]) both(.param .b32 left, .param .b64 right);
.func (.param .align 8 .b8 out[16]) both(.param .b32 left, .param .b64 right)
{
    .local .align 8 .b8 depot[8];
    .reg .pred %p<2>;
    .reg .b32 %r<3>;
    .reg .b64 %rd<4>;
    ld.param.u32 %r1, [left];
    ld.param.u64 %rd1, [right];
    cvt.u64.u32 %rd2, %r1;
    mov.u64 %rd3, depot;
    st.local.u64 [%rd3], %rd2;
    add.u64 %rd3, %rd1, %rd2;
    st.param.u64 [out], %rd3;
    st.param.u64 [out+8], %rd1;
    setp.gt.u64 %p1, %rd1, %rd2;
    @%p1 ret;
    bra $DONE;
$DONE:
    mov.u64 %rd3, depot;
    ld.local.u64 %rd2, [%rd3];
    st.param.u64 [out+8], %rd2;
    ret;
}
.func twice(.param .b64 at, .param .b32 of)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<4>;
    ld.param.u32 %r1, [of];
    {
        .param .b32 param0;
        .param .b64 param1;
        .param .align 8 .b8 retval0[16];
        st.param.b32 [param0+0], %r1;
        st.param.b64 [param1+0], 40;
        call.uni (retval0), both, (param0, param1);
        ld.param.u64 %rd1, [retval0+0];
        ld.param.u64 %rd2, [retval0+8];
    }
    ld.param.u64 %rd3, [at];
    st.u64 [%rd3], %rd1;
    st.u64 [%rd3+8], %rd2;
}
";

/// Calls `twice` where a predicate is so, and a second time with other numbers.
const CALLS: &str = "
    add.s64 %rd2, %rd0, %rd31;
    setp.ne.u32 %p1, %r31, 3;
    {
        .param .b64 param0;
        .param .b32 param1;
        st.param.b64 [param0], %rd2;
        st.param.b32 [param1], %r31;
        @%p1 call twice, (param0, param1);
    }
    {
        .param .b64 param0;
        .param .b32 param1;
        add.s64 %rd3, %rd2, 16;
        add.s32 %r1, %r31, 30;
        st.param.b64 [param0], %rd3;
        st.param.b32 [param1], %r1;
        call.uni twice, (param0, param1);
    }
";

#[test]
fn functions_are_given_numbers_and_give_some_back() {
    let mut device = Device::default();
    let out = device.place(&[7_u64; 4 * 40]);
    let text = FUNCTION.to_owned() + &kernel(1, &(by_thread(32) + CALLS));
    run(&text, "test", (1, 40), &[Arg::U64(out)], &mut device).unwrap();
    let of = |left: u64| [left + 40, left.max(40)];
    let want: Vec<u64> = (0..40)
        .flat_map(|it| if it == 3 { [[7, 7], of(it + 30)] } else { [of(it), of(it + 30)] })
        .flatten()
        .collect();
    assert_eq!(device.values::<u64>(out, 4 * 40), want);
}

#[test]
fn a_function_that_calls_itself_and_one_called_with_too_little_are_refused() {
    let check = |functions: &str, body: &str, want: &str| {
        let text = functions.to_owned() + &kernel(0, body);
        let error = Module::parse(&text).unwrap().kernel("test").unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let endless = ".func f() {\ncall.uni f;\n}\n";
    check(endless, "call.uni f;", "line 2: the instruction `call f` is not known");
    let one = ".func f(.param .b32 a) {}\n";
    let wanted = "wanted as many parameters as the call has";
    check(one, "call.uni f;", &format!("line 1: {wanted}, found `)`"));
    check(one, "call.uni f, (%r1);", "line 13: the instruction `call.uni` is not known");
}

/// Text as a variable of a module.
fn text(name: &str, of: &str) -> String {
    let bytes: Vec<String> = of.bytes().chain([0]).map(|it| it.to_string()).collect();
    format!(".global .align 1 .b8 {name}[{}] = {{{}}};\n", bytes.len(), bytes.join(", "))
}

#[test]
fn an_assertion_says_what_was_to_be_so_and_where() {
    let mut device = Device::default();
    let out = device.place(&[0_u64]);
    let fail = "
        mov.u64 %rd5, $str;
        mov.u64 %rd6, $file;
        {
            .param .b64 param0;
            .param .b64 param1;
            .param .b32 param2;
            .param .b64 param3;
            .param .b64 param4;
            st.param.b64 [param0], %rd5;
            st.param.b64 [param1], %rd6;
            st.param.b32 [param2], 12;
            call.uni __assertfail, (param0, param1, param2, param3, param4);
        }";
    let text = text("$str", "x < y") + &text("$file", "a.cu") + &kernel(1, fail);
    let error = run(&text, "test", (1, 1), &[Arg::U64(out)], &mut device).unwrap_err();
    let found = error.source().unwrap().to_string();
    assert_eq!(found, "it called `__assertfail`: `x < y` is not so, a.cu:12");
}

#[test]
fn what_is_printed_is_not_collected() {
    let mut device = Device::default();
    let out = device.place(&[0_u32]);
    let print = "{
        .param .b64 param0;
        .param .b64 param1;
        .param .b32 retval0;
        st.param.b64 [param0], %rd0;
        st.param.b64 [param1], %rd0;
        call.uni (retval0), vprintf, (param0, param1);
        ld.param.b32 %r3, [retval0];
        }
        st.global.u32 [%rd0], 5;";
    run(&kernel(1, print), "test", (1, 1), &[Arg::U64(out)], &mut device).unwrap();
    assert_eq!(device.values::<u32>(out, 1), [5]);
}

#[test]
fn shared_memory_of_a_launch_is_behind_what_the_kernel_declares() {
    let mut device = Device::default();
    let out = device.place(&[0_u32; 3]);
    let module = ".extern .shared .align 16 .b8 rest[];\n.shared .align 4 .b8 other[64];\n\
                  .shared .align 4 .b8 fixed[12];\n";
    let body = ".shared .align 4 .b8 own[4];
        mov.u32 %r1, rest;
        mov.u32 %r2, own;
        mov.u32 %r3, fixed;
        st.shared.u32 [%r1+12], 7;
        st.global.u32 [%rd0], %r1;
        st.global.u32 [%rd0+4], %r2;
        st.global.u32 [%rd0+8], %r3;
        st.shared.u32 [%r1+16], 7;";
    let text = module.to_owned() + &kernel(1, body);
    let kernel = Module::parse(&text).unwrap().kernel("test").unwrap();
    // Neither has what it does not mention.
    assert_eq!(kernel.shared_bytes, 16);
    let params = out.to_le_bytes();
    let (grid_size, block_size) = ([1; 3], [1; 3]);
    let launch =
        sluicegate_ptx::Launch { grid_size, block_size, shared_bytes: 16, params: &params };
    let error = kernel.launch(&launch, &mut device).unwrap_err();
    let found = error.source().unwrap().to_string();
    assert_eq!(found, "4 bytes at 0x20 of shared memory, which has 32");
    assert_eq!(device.values::<u32>(out, 3), [16, 0, 4]);
}
