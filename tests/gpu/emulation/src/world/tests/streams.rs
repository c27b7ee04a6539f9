//! Streams that come and go.

use super::*;

#[test]
fn streams_that_are_destroyed_are_forgotten_once_they_are_done() {
    check(&[], |rig| {
        for _ in 0..100 {
            rig.streams[1] = rig.world.create_stream(0, false);
            let numbers = rig.world.allocate_for(rig.streams[1], BYTES)?;
            rig.ask(1, Work::Fill { target: span(numbers), value: 1 })?;
            rig.world.destroy_stream(rig.streams[1])?;
        }
        rig.finish()?;
        assert_eq!(rig.world.retired.len(), 0);
        // The two streams of the rig are left.
        assert_eq!(rig.world.queues.num_streams(), 2);
        rig.world.release(0)?;
        assert_eq!(rig.world.queues.num_streams(), 0);
        rig.world.retain(0).map(drop)
    });
}

#[test]
fn what_a_destroyed_stream_did_is_known_once_its_device_was_waited_for() {
    check(&[], |rig| {
        let numbers = rig.numbers(1);
        rig.world.synchronize(rig.streams[1])?;
        rig.world.destroy_stream(rig.streams[0])?;
        // Whether or not the first is done by now.
        rig.streams[0] = rig.world.create_stream(0, false);
        rig.world.destroy_stream(rig.streams[0])?;
        rig.finish()?;
        rig.increment(1, numbers, NUMBERS)
    });
}
