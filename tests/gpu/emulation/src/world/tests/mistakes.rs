//! Programs without a fault, into which the library puts one.

use super::*;

/// Selects one of `choices` numbers, as a kernel of candle does whose name begins so.
const SELECT: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry is_u32_test(
    .param .u64 numel, .param .u64 num_dims, .param .u64 info, .param .u64 ids, .param .u64 inp,
    .param .u64 out, .param .u64 left, .param .u64 choices
)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [ids];
    ld.param.u64 %rd2, [inp];
    ld.param.u64 %rd3, [out];
    ld.global.u32 %r1, [%rd1];
    mul.wide.u32 %rd4, %r1, 4;
    add.s64 %rd5, %rd2, %rd4;
    ld.global.u32 %r2, [%rd5];
    st.global.u32 [%rd3], %r2;
    ret;
}";

/// The program has no fault, and with a mistake it has one, which is found in one of these ways.
#[track_caller]
fn check_mistake(
    mistake: &str,
    want: &[(Code, &str)],
    program: impl Fn(&mut Rig) -> Outcome + Copy,
) {
    check(&[], program);
    let machine = format!("2x 64MiB, mistake={mistake}");
    check_on(&machine, want, |rig| {
        let outcome = program(rig).and_then(|()| rig.finish());
        match rig.world.mistakes.missed().next() {
            Some(missed) => Err(Failure::new(Code::Unknown, missed)),
            None => outcome,
        }
    });
    // A chance that never comes changes nothing, and is told.
    let machine = format!("2x 64MiB, mistake={}@99", mistake.split_once('@').unwrap().0);
    check_on(&machine, &[], |rig| {
        program(rig)?;
        rig.finish()?;
        assert_eq!(rig.world.mistakes.missed().count(), 1);
        Ok(())
    });
}

#[test]
fn a_missing_wait() {
    check_mistake("missing-wait@1", &[RACE], |rig| {
        let numbers = rig.numbers(1);
        rig.world.synchronize(rig.streams[0])?;
        rig.increment(0, numbers, NUMBERS)?;
        rig.order();
        rig.increment(1, numbers, NUMBERS)
    });
}

#[test]
fn memory_that_is_freed_under_a_queued_kernel() {
    let freed = (Code::IllegalAddress, "the memory was freed by cuMemFreeAsync");
    // The first pointer is that of the fill.
    check_mistake("early-free@2", &[RACE, freed], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)?;
        rig.world.free_on(0, rig.streams[0], numbers)
    });
}

#[test]
fn memory_of_another_device() {
    let words = "the memory is of cuda:1, and cuda:0 has no access to it";
    check_mistake("other-device@2", &[(Code::IllegalAddress, words)], |rig| {
        rig.world.allocate(1, BYTES)?;
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)
    });
}

#[test]
fn an_index_out_of_range() {
    let words = "4 bytes behind the end of an allocation of 64 bytes";
    check_mistake("out-of-range@2", &[(Code::IllegalAddress, words)], |rig| {
        let kernel = rig.kernel(SELECT, "is_u32_test");
        let [table, numbers] = [rig.numbers(0), rig.numbers(1)];
        for _ in 0..2 {
            rig.launch(&kernel, 1, &[1, 1, 0, table, numbers, numbers, 1, NUMBERS as u64])?;
        }
        Ok(())
    });
}

#[test]
fn a_pinned_source_that_is_written_too_early() {
    let words = "the pinned source was changed before the copy had read it";
    // Where all is done as soon as it is asked for.
    let none = (Code::Unknown, "mistake=pinned-reuse@1 was not made: it had 0 chances");
    check_mistake("pinned-reuse@1", &[(Code::Unknown, words), none], |rig| {
        let numbers = rig.numbers(1);
        let address = rig.world.pinned.allocate(BYTES)?;
        // SAFETY: the memory is freed once nobody uses it.
        let source = unsafe { HostSpan::new(address, BYTES) };
        for _ in 0..30 {
            let fingerprint = Some(pinned::fingerprint(source));
            rig.ask(0, Work::UploadPinned { source, fingerprint, target: numbers })?;
        }
        rig.finish()?;
        rig.world.free_pinned(address)
    });
}

#[test]
fn a_launch_whose_error_is_not_read() {
    let words = "a launch failed, and nobody has read its error: kernel `increment`: the number of \
                 threads in a block is 1025, wanted 1 to 1024";
    check_mistake("unread-launch@2", &[(Code::Unknown, words)], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)?;
        rig.increment(0, numbers, NUMBERS)
    });
}
