//! Faults that hardware may or may not punish, each with a twin that has none.

mod counts;
mod mistakes;
mod modules;
mod nccl;
mod orders;
mod streams;

use std::sync::Arc;

use sluicegate_ptx::Kernel;

use super::*;
use crate::{
    memory::Span,
    pinned,
    work::{HostSpan, Launch},
};

/// Adds one to `count` numbers, one a thread.
const INCREMENT: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry increment(.param .u64 numbers, .param .u32 count)
{
    .reg .pred %p<2>;
    .reg .b32 %r<4>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [numbers];
    ld.param.u32 %r1, [count];
    mov.u32 %r2, %tid.x;
    setp.ge.u32 %p1, %r2, %r1;
    @%p1 bra $done;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r3, [%rd3];
    add.u32 %r3, %r3, 1;
    st.global.u32 [%rd3], %r3;
$done:
    ret;
}";

const NUMBERS: usize = 16;
const BYTES: usize = 4 * NUMBERS;

struct Rig {
    world: World,
    streams: [u64; 2],
    module: u64,
    function: u64,
}

impl Rig {
    /// Two devices with a context each, and two streams on the first.
    fn new(seed: u64) -> Self {
        Self::of(&format!("2x 64MiB, seed={seed}"))
    }

    /// The same on a machine that is described.
    fn of(machine: &str) -> Self {
        let mut world = World::new(Machine::parse(machine).unwrap(), None);
        for device in 0..2 {
            world.retain(device).unwrap();
        }
        let streams = [0; 2].map(|device| world.create_stream(device, false));
        let module = world.load_module(0, INCREMENT).unwrap();
        let function = world.get_function(module, "increment").unwrap();
        Self { world, streams, module, function }
    }

    /// Numbers that are all `value`, as the first stream knows.
    fn numbers(&mut self, value: u8) -> u64 {
        let address = self.world.allocate_for(self.streams[0], BYTES).unwrap();
        self.ask(0, Work::Fill { target: span(address), value }).unwrap();
        address
    }

    fn ask(&mut self, stream: usize, work: Work) -> Outcome {
        self.world.enqueue(0, self.streams[stream], work).map(drop)
    }

    fn increment(&mut self, stream: usize, address: u64, count: usize) -> Outcome {
        let kernel = self.world.function(self.function)?.it.kernel.clone();
        let mut params = address.to_le_bytes().to_vec();
        params.extend((count as u32).to_le_bytes());
        let sizes = ([1; 3], [u32::try_from(count).unwrap(), 1, 1]);
        let (grid_size, block_size) = sizes;
        let launch = Launch { kernel, grid_size, block_size, shared_bytes: 0, params };
        self.world.launch(0, self.streams[stream], launch)
    }

    fn kernel(&mut self, text: &str, name: &str) -> Arc<Kernel> {
        let module = self.world.load_module(0, text).unwrap();
        let function = self.world.get_function(module, name).unwrap();
        self.world.function(function).unwrap().it.kernel.clone()
    }

    /// Launches a kernel whose parameters are words, with one thread a block.
    fn launch(&mut self, kernel: &Arc<Kernel>, num_blocks: u32, words: &[u64]) -> Outcome {
        let launch = Launch {
            kernel: kernel.clone(),
            grid_size: [num_blocks, 1, 1],
            block_size: [1; 3],
            shared_bytes: 0,
            params: words.iter().flat_map(|it| it.to_le_bytes()).collect(),
        };
        self.world.launch(0, self.streams[0], launch)
    }

    /// Lets the second stream wait for all that the first was asked for.
    fn order(&mut self) {
        let event = self.world.create_event(0, false);
        self.world.record(event, self.streams[0]).unwrap();
        self.world.wait_event(self.streams[1], event).unwrap();
    }

    fn read(&mut self, stream: usize, address: u64) -> Outcome<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        // SAFETY: the bytes live until the stream was waited for.
        let target = unsafe { HostSpan::new(bytes.as_mut_ptr(), BYTES) };
        self.ask(stream, Work::Download { source: span(address), target, is_pinned: false })?;
        self.world.synchronize(self.streams[stream])?;
        Ok(bytes)
    }

    fn finish(&mut self) -> Outcome {
        (0..2).try_for_each(|device| self.world.synchronize_device(device))
    }
}

fn span(address: u64) -> Span {
    Span { address, bytes: BYTES }
}

/// Runs a scenario under many orders. All must fail, each in one of these ways, or none.
#[track_caller]
fn check(want: &[(Code, &str)], scenario: impl Fn(&mut Rig) -> Outcome) {
    check_on("2x 64MiB", want, scenario);
}

/// The same on a machine that is described.
#[track_caller]
fn check_on(machine: &str, want: &[(Code, &str)], scenario: impl Fn(&mut Rig) -> Outcome) {
    for seed in 0..25 {
        let mut rig = Rig::of(&format!("{machine}, seed={seed}"));
        let outcome = scenario(&mut rig).and_then(|()| rig.finish());
        if want.is_empty() {
            assert_eq!(outcome, Ok(()), "seed {seed}");
            continue;
        }
        let failure = outcome.expect_err("it has a fault");
        let fits =
            |(code, words): &(Code, &str)| failure.code == *code && failure.detail.contains(words);
        assert!(want.iter().any(fits), "seed {seed}: {failure:?}");
    }
}

const RACE: (Code, &str) = (Code::Unknown, "and neither waits for the other");
/// What a race comes to where the one that comes too early reads.
const UNWRITTEN: (Code, &str) = (Code::IllegalAddress, "was never written");

#[test]
fn a_wait_at_the_end_of_a_stream_is_over() {
    check(&[], |rig| {
        rig.numbers(1);
        rig.order();
        rig.world.synchronize(rig.streams[1])
    });
}

#[test]
fn a_missing_wait_is_a_race() {
    check(&[RACE, UNWRITTEN], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(1, numbers, NUMBERS)
    });
    check(&[RACE], |rig| {
        let numbers = rig.numbers(1);
        rig.order();
        rig.increment(0, numbers, NUMBERS)?;
        rig.increment(1, numbers, NUMBERS)
    });
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)?;
        rig.order();
        rig.increment(1, numbers, NUMBERS)?;
        let [first, ..] = rig.read(1, numbers)?;
        assert_eq!(first, 3);
        Ok(())
    });
}

#[test]
fn streams_may_read_the_same_and_write_what_lies_apart() {
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.order();
        rig.increment(0, numbers, NUMBERS / 2)?;
        rig.increment(1, numbers + BYTES as u64 / 2, NUMBERS / 2)
    });
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.order();
        rig.read(0, numbers)?;
        rig.read(1, numbers).map(drop)
    });
}

#[test]
fn what_the_host_has_waited_for_is_no_race() {
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.world.synchronize(rig.streams[0])?;
        rig.increment(1, numbers, NUMBERS)
    });
}

#[test]
fn memory_is_not_freed_under_a_queued_kernel() {
    let words = ["a race: ", "the memory was freed by cuMemFreeAsync"];
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS)?;
        rig.ask(0, Work::Free { address: numbers })
    });
    for code in [Code::Unknown, Code::IllegalAddress] {
        let mut found = 0;
        for seed in 0..50 {
            let mut rig = Rig::new(seed);
            let numbers = rig.numbers(1);
            rig.order();
            let asked = rig
                .increment(1, numbers, NUMBERS)
                .and_then(|()| rig.ask(0, Work::Free { address: numbers }))
                .and_then(|()| rig.finish());
            let failure = asked.unwrap_err();
            assert!(words.iter().any(|words| failure.detail.contains(words)), "{failure}");
            found += usize::from(failure.code == code);
        }
        assert!(found > 0, "the kernel comes before and after: {code:?}");
    }
}

#[test]
fn memory_of_another_device_is_refused() {
    let words = "the memory is of cuda:1, and cuda:0 has no access to it";
    check(&[(Code::IllegalAddress, words)], |rig| {
        let other = rig.world.allocate(1, BYTES)?;
        rig.increment(0, other, NUMBERS)
    });
}

#[test]
fn what_lies_behind_an_allocation_is_refused() {
    let words = "kernel `increment`, line";
    check(&[(Code::IllegalAddress, words)], |rig| {
        let numbers = rig.numbers(1);
        rig.increment(0, numbers, NUMBERS + 1)
    });
}

#[test]
fn what_was_never_written_is_not_read() {
    check(&[UNWRITTEN], |rig| {
        let numbers = rig.world.allocate_for(rig.streams[0], BYTES)?;
        rig.increment(0, numbers, NUMBERS)
    });
}

#[test]
fn a_pinned_source_is_not_changed_before_it_was_read() {
    let copy = |rig: &mut Rig, changes: bool| {
        let numbers = rig.numbers(1);
        let address = rig.world.pinned.allocate(BYTES)?;
        // SAFETY: the memory is freed once nobody uses it.
        let source = unsafe { HostSpan::new(address, BYTES) };
        source.write(&[7; BYTES]);
        let fingerprint = Some(pinned::fingerprint(source));
        let target = numbers;
        let work = Work::UploadPinned { source, fingerprint, target };
        let point = rig.world.enqueue(0, rig.streams[0], work)?;
        if changes && !rig.world.queues.is_done(point) {
            source.write(&[8; BYTES]);
        } else if changes {
            // It was done early: there is nothing wrong, so far.
            return Err(Failure::new(Code::Unknown, "done before"));
        }
        rig.finish()?;
        rig.world.free_pinned(address)
    };
    check(&[], |rig| copy(rig, false));
    let words = "the pinned source was changed before the copy had read it";
    check(&[(Code::Unknown, words), (Code::Unknown, "done before")], |rig| copy(rig, true));
}

#[test]
fn what_a_device_writes_to_pinned_memory_another_reads_once_it_is_there() {
    let copy = |rig: &mut Rig, waits: bool| {
        let [source, target] = [1, 2].map(|value| rig.numbers(value));
        rig.order();
        let address = rig.world.pinned.allocate(BYTES)?;
        // SAFETY: the memory is freed once nobody uses it.
        let host = unsafe { HostSpan::new(address, BYTES) };
        let download = Work::Download { source: span(source), target: host, is_pinned: true };
        let written = rig.world.enqueue(0, rig.streams[0], download)?;
        rig.world.pinned.arrives(written, host);
        if waits {
            rig.order();
        }
        let upload = rig.world.pinned_upload(host, target);
        rig.ask(1, upload)?;
        if waits {
            assert_eq!(rig.read(1, target)?[0], 1);
        }
        rig.finish()?;
        rig.world.free_pinned(address)
    };
    check(&[], |rig| copy(rig, true));
    check(&[RACE], |rig| copy(rig, false));
}

#[test]
fn an_error_that_stays_fails_all_that_follows() {
    let mut rig = Rig::new(0);
    rig.increment(0, 64, 1).unwrap();
    let failure = rig.world.synchronize(rig.streams[0]).unwrap_err();
    assert_eq!(failure.code, Code::IllegalAddress);
    assert_eq!(rig.world.check(None), Err(failure));
}

#[test]
fn a_launch_whose_error_nobody_reads_is_found() {
    check(&[(Code::Unknown, "nobody has read its error: a size")], |rig| {
        rig.world.leave_unread(Some(Failure::new(Code::InvalidValue, "a size")));
        Ok(())
    });
    check(&[], |rig| {
        rig.world.leave_unread(Some(Failure::new(Code::InvalidValue, "a size")));
        rig.world.leave_unread(None);
        Ok(())
    });
}

#[test]
fn a_stream_of_another_device_is_refused() {
    let words = "a stream of cuda:1 while cuda:0 is current";
    check(&[(Code::InvalidHandle, words)], |rig| {
        let stream = rig.world.create_stream(1, false);
        let numbers = rig.numbers(1);
        rig.world.enqueue(0, stream, Work::Fill { target: span(numbers), value: 0 }).map(drop)
    });
}

#[test]
fn the_default_stream_is_in_order_with_those_that_block() {
    for is_blocking in [false, true] {
        let want: &[_] = if is_blocking { &[] } else { &[RACE, UNWRITTEN] };
        check(want, |rig| {
            rig.streams[0] = rig.world.create_stream(0, is_blocking);
            rig.streams[1] = rig.world.default_stream(0, false);
            let numbers = rig.numbers(1);
            rig.increment(1, numbers, NUMBERS)?;
            rig.increment(0, numbers, NUMBERS)
        });
    }
}

#[test]
fn an_allocation_is_behind_what_its_stream_was_asked_for_before() {
    check(&[RACE, UNWRITTEN], |rig| {
        rig.order();
        let numbers = rig.world.allocate_for(rig.streams[0], BYTES)?;
        rig.ask(1, Work::Fill { target: span(numbers), value: 1 })
    });
    check(&[], |rig| {
        let event = rig.world.create_event(0, false);
        rig.world.record(event, rig.streams[1])?;
        rig.world.wait_event(rig.streams[0], event)?;
        let numbers = rig.world.allocate_for(rig.streams[0], BYTES)?;
        rig.world.synchronize(rig.streams[0])?;
        rig.ask(1, Work::Fill { target: span(numbers), value: 1 })
    });
}

#[test]
fn who_asks_again_and_again_hears_in_the_end_and_knows() {
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        let event = rig.world.create_event(0, false);
        rig.world.record(event, rig.streams[0])?;
        while !rig.world.is_reached(event)? {}
        rig.increment(1, numbers, NUMBERS)
    });
}

#[test]
fn a_device_that_is_lost_takes_no_other_with_it() {
    let machine = Machine::parse("2x 64MiB, fault=ecc@2").unwrap();
    let mut world = World::new(machine, None);
    let streams = [0, 1].map(|device| {
        world.retain(device).unwrap();
        world.create_stream(device, false)
    });
    let targets = [0, 1].map(|device| span(world.allocate_for(streams[device], BYTES).unwrap()));
    for device in [0, 1] {
        let fill = Work::Fill { target: targets[device], value: 1 };
        world.enqueue(device, streams[device], fill).unwrap();
    }
    let outcomes = streams.map(|stream| world.synchronize(stream).map_err(|it| it.code));
    assert!(outcomes.contains(&Ok(())) && outcomes.contains(&Err(Code::EccUncorrectable)));
    assert_eq!(world.check(None), Ok(()));
}

#[test]
fn an_allocation_is_freed_by_one_call_alone() {
    let mut rig = Rig::new(0);
    let numbers = rig.numbers(1);
    rig.world.memory.will_free(numbers).unwrap();
    assert_eq!(rig.world.memory.will_free(numbers).unwrap_err().code, Code::InvalidValue);
}
