//! Sends and receives of NCCL between two devices.

use super::*;
use crate::{
    memory::POISON,
    nccl::{NcclCode, Refusal},
};

/// `ncclFloat32`.
const FLOATS: i32 = 7;

/// Two devices with a communicator each way, and a stream and memory on each.
struct Two {
    world: World,
    streams: [u64; 2],
    memory: [u64; 2],
    /// Rank 0 and rank 1 of each communicator.
    ranks: [[u64; 2]; 2],
}

impl Two {
    fn new(options: &str, seed: u64) -> Self {
        let machine = Machine::parse(&format!("2x 64MiB{options}, seed={seed}")).unwrap();
        let mut world = World::new(machine, None);
        for device in 0..2 {
            world.retain(device).unwrap();
        }
        let streams = [0, 1].map(|device| world.create_stream(device, false));
        let ranks = [0; 2].map(|_| {
            let id = world.new_nccl_id();
            [0, 1].map(|rank| world.join(id, (rank, 2), rank).unwrap())
        });
        let mut two = Self { world, streams, memory: [0; 2], ranks };
        for device in 0..2 {
            let address = two.world.allocate_for(two.streams[device], BYTES).unwrap();
            two.memory[device] = address;
            let value = device as u8 + 1;
            two.ask(device, Work::Fill { target: span(address), value }).unwrap();
        }
        two
    }

    /// One in which both communicators have connected their ranks, either way.
    fn connected(options: &str, seed: u64) -> Self {
        let mut two = Self::new(options, seed);
        for communicator in 0..2 {
            let both = [two.send(communicator, 0), two.recv(communicator, 1)];
            two.world.post(&both).unwrap();
            let back = [two.send(communicator, 1), two.recv(communicator, 0)];
            two.world.post(&back).unwrap();
        }
        for device in 0..2 {
            two.world.synchronize_device(device).unwrap();
        }
        for device in 0..2 {
            let value = device as u8 + 1;
            two.ask(device, Work::Fill { target: span(two.memory[device]), value }).unwrap();
        }
        two
    }

    fn ask(&mut self, device: usize, work: Work) -> Outcome {
        self.world.enqueue(device, self.streams[device], work).map(drop)
    }

    fn operation(&self, is_send: bool, communicator: usize, device: usize) -> Operation {
        Operation {
            is_send,
            address: self.memory[device],
            count: NUMBERS,
            number: FLOATS,
            peer: i32::from(device == 0),
            rank: self.ranks[communicator][device],
            stream: self.streams[device],
        }
    }

    fn send(&self, communicator: usize, device: usize) -> Operation {
        self.operation(true, communicator, device)
    }

    fn recv(&self, communicator: usize, device: usize) -> Operation {
        self.operation(false, communicator, device)
    }

    fn read(&mut self, device: usize) -> Outcome<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        // SAFETY: the bytes live until the stream was waited for.
        let target = unsafe { HostSpan::new(bytes.as_mut_ptr(), BYTES) };
        let source = span(self.memory[device]);
        self.ask(device, Work::Download { source, target, is_pinned: false })?;
        self.world.synchronize(self.streams[device])?;
        Ok(bytes)
    }
}

#[test]
fn what_is_sent_arrives_whichever_side_comes_first() {
    for seed in 0..25 {
        for sends_first in [true, false] {
            let mut two = Two::connected("", seed);
            let mut both = [two.send(0, 0), two.recv(0, 1)];
            if !sends_first {
                both.reverse();
            }
            for side in both {
                two.world.post(&[side]).unwrap();
            }
            assert_eq!(two.read(1), Ok([1; BYTES]));
            // Who has read it knows that the source was read: it may be written by anybody.
            let other = two.world.create_stream(0, false);
            let fill = Work::Fill { target: span(two.memory[0]), value: 9 };
            two.world.enqueue(0, other, fill).unwrap();
            two.world.synchronize_device(0).unwrap();
        }
    }
}

#[test]
fn a_source_that_is_written_before_it_is_received_is_a_race() {
    for seed in 0..25 {
        let mut two = Two::connected("", seed);
        let other = two.world.create_stream(0, false);
        let event = two.world.create_event(0, false);
        two.world.record(event, two.streams[0]).unwrap();
        two.world.wait_event(other, event).unwrap();
        let [send, recv] = [two.send(0, 0), two.recv(0, 1)];
        let fill = Work::Fill { target: span(two.memory[0]), value: 9 };
        let outcome = two
            .world
            .post(&[send])
            .and_then(|()| Ok(two.world.enqueue(0, other, fill).map(drop)?))
            .and_then(|()| two.world.post(&[recv]))
            .and_then(|()| Ok((0..2).try_for_each(|it| two.world.synchronize_device(it))?));
        let detail = outcome.unwrap_err().detail;
        assert!(detail.contains("a race: ") && detail.contains("ncclSend"), "{detail}");
    }
}

#[test]
fn streams_that_wait_for_each_other_are_a_deadlock_unless_they_are_in_one_group() {
    for seed in 0..25 {
        let mut two = Two::connected("", seed);
        for device in 0..2 {
            let [send, recv] = [two.send(device, device), two.recv(1 - device, device)];
            two.world.post(&[send]).unwrap();
            two.world.post(&[recv]).unwrap();
        }
        let failure = two.world.synchronize(two.streams[0]).unwrap_err();
        assert_eq!(
            failure.detail,
            "a deadlock, each waits for the next: stream 1 sends from rank 0 to rank 1 of \
             communicator 1, stream 2 sends from rank 1 to rank 0 of communicator 2"
        );
        assert_eq!(two.world.check(None), Err(failure), "nothing works any more");

        let mut two = Two::connected("", seed);
        let more = [0, 1].map(|device| two.world.allocate_for(two.streams[device], BYTES).unwrap());
        for (device, address) in more.into_iter().enumerate() {
            let recv = Operation { address, ..two.recv(1 - device, device) };
            two.world.post(&[two.send(device, device), recv]).unwrap();
        }
        two.memory = more;
        assert_eq!((two.read(0), two.read(1)), (Ok([2; BYTES]), Ok([1; BYTES])));
    }
}

/// Why links have streams of their own: the first and the third stage share a GPU.
#[test]
fn stages_that_send_in_the_stream_that_they_share_are_a_deadlock() {
    let mut two = Two::connected("", 0);
    let [onward, back] = [0, 1];
    // Two microbatches leave the first stage before the third asks for one.
    let [sent, received] = [two.send(onward, 0), two.recv(onward, 1)];
    for operation in [sent, received, sent, two.send(back, 1), two.recv(back, 0), received] {
        two.world.post(&[operation]).unwrap();
    }
    let failure = two.world.synchronize(two.streams[0]).unwrap_err();
    assert!(failure.detail.starts_with("a deadlock, each waits for the next: "), "{failure}");
}

#[test]
fn a_wait_for_what_nobody_has_asked_for_yet_is_no_deadlock() {
    let mut two = Two::connected("", 0);
    // The second send is on another stream, and comes after the first nonetheless.
    let other = two.world.create_stream(0, false);
    let send = two.send(0, 0);
    two.world.post(&[send]).unwrap();
    two.world.post(&[Operation { stream: other, ..send }]).unwrap();
    let failure = two.world.synchronize(other).unwrap_err();
    let words =
        "the last waits for what nobody asks for: stream 3 waits for an event, stream 1 sends";
    assert_eq!(failure.code, Code::NotReady);
    assert!(failure.detail.starts_with(words), "{failure}");
    for _ in 0..2 {
        two.world.post(&[two.recv(0, 1)]).unwrap();
    }
    assert_eq!(two.world.synchronize(other), Ok(()));
}

#[test]
fn what_nccl_refuses_is_refused_in_words() {
    #[track_caller]
    fn check(two: &mut Two, operation: Operation, code: NcclCode, words: &str) {
        let refusal = two.world.post(&[operation]).unwrap_err();
        assert_eq!(refusal.code, code, "{refusal:?}");
        assert!(refusal.detail.contains(words), "{refusal:?}");
    }
    use NcclCode::{InvalidArgument, InvalidUsage, UnhandledCudaError};
    let mut two = Two::new("", 0);
    let send = two.send(0, 0);
    check(&mut two, send, InvalidUsage, "waits for its other side in the host's thread");

    let mut two = Two::connected("", 0);
    let [send, recv] = [two.send(0, 0), two.recv(0, 1)];
    check(&mut two, Operation { peer: 0, ..send }, InvalidArgument, "peer 0 of rank 0 of 2");
    check(&mut two, Operation { peer: 2, ..send }, InvalidArgument, "peer 2 of rank 0 of 2");
    check(&mut two, Operation { number: 12, ..send }, InvalidArgument, "numbers of type 12");
    check(&mut two, Operation { rank: 77, ..send }, InvalidArgument, "there is no communicator");
    let stream = two.streams[1];
    check(&mut two, Operation { stream, ..send }, UnhandledCudaError, "a stream of cuda:1");
    let address = two.memory[1];
    check(&mut two, Operation { address, ..send }, InvalidArgument, "the memory is of cuda:1");
    let count = NUMBERS + 1;
    check(&mut two, Operation { count, ..send }, InvalidArgument, "4 bytes behind the end");
    two.world.post(&[send]).unwrap();
    let words = "16 numbers of type 7 are sent, and 8 of type 7 received";
    check(&mut two, Operation { count: NUMBERS / 2, ..recv }, InvalidUsage, words);
    check(&mut two, Operation { number: 2, ..recv }, InvalidUsage, "16 of type 2 received");

    two.world.abort(two.ranks[0][0]).unwrap();
    check(&mut two, send, InvalidArgument, "the communicator was aborted");
    let world = &mut two.world;
    world.destroy(two.ranks[1][1]).unwrap();
    assert!(world.async_error(two.ranks[1][1]).unwrap_err().detail.ends_with("was destroyed"));

    let id = world.new_nccl_id();
    world.join(id, (0, 2), 0).unwrap();
    let refused = |outcome: Result<u64, Refusal>| outcome.unwrap_err().detail;
    assert_eq!(refused(world.join(id, (1, 2), 0)), "ranks 0 and 1 are both on cuda:0");
    assert_eq!(refused(world.join(id, (0, 2), 1)), "rank 0 is there already");
    assert_eq!(refused(world.join(id, (1, 3), 1)), "3 ranks, and another said 2");
    assert_eq!(refused(world.join(id, (2, 2), 1)), "rank 2 of 2");
    assert!(refused(world.join(id + 1, (1, 2), 1)).contains("ncclGetUniqueId has not given"));
}

#[test]
fn a_rank_that_fails_says_so_when_asked_and_hangs_until_both_are_aborted() {
    for seed in 0..25 {
        // Eight operations connect the ranks.
        let mut two = Two::connected(", fault=nccl@9", seed);
        two.world.post(&[two.send(0, 0)]).unwrap();
        two.world.post(&[two.recv(0, 1)]).unwrap();
        let errors = [0, 1].map(|rank| two.world.async_error(two.ranks[0][rank]));
        assert_eq!(errors, [Ok(NcclCode::RemoteError as i32), Ok(0)]);
        for rank in 0..2 {
            let failure = two.world.synchronize(two.streams[1]).unwrap_err();
            assert_eq!(failure.code, Code::NotReady, "seed {seed}");
            two.world.abort(two.ranks[0][rank]).unwrap();
        }
        assert_eq!(two.read(1), Ok([POISON; BYTES]));
        assert_eq!(two.world.synchronize_device(0), Ok(()));
        // The other communicator is well.
        two.world.post(&[two.send(1, 0)]).unwrap();
        two.world.post(&[two.recv(1, 1)]).unwrap();
        assert_eq!(two.read(1), Ok([1; BYTES]));
    }
}

#[test]
fn a_link_may_garble() {
    // Eight operations connect the ranks.
    for (at, wanted) in [(8, 0), (9, 1), (10, 1), (11, 0)] {
        let mut two = Two::connected(&format!(", fault=nccl-garbage@{at}"), 0);
        two.world.post(&[two.send(0, 0)]).unwrap();
        two.world.post(&[two.recv(0, 1)]).unwrap();
        let found = two.read(1).unwrap();
        assert_eq!(found.iter().filter(|it| **it != 1).count(), wanted);
    }
}
