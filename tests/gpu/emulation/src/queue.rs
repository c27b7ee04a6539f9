//! Streams: what was asked for, in which orders it may be done, and what is ordered before what.
//!
//! Work is done when somebody waits for it, or at a moment that the seed chooses: in any order that
//! the driver's rules allow, and no other.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A stream, by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// A place in a stream: behind so many of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stream: StreamId,
    pub(crate) position: u64,
}

/// How far each stream is known to be: all up to there is ordered before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Clock(BTreeMap<StreamId, u64>);

impl Clock {
    /// Whether what ended there is ordered before.
    pub(crate) fn is_behind(&self, point: Point) -> bool {
        self.0.get(&point.stream).is_some_and(|known| *known >= point.position)
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (stream, position) in &other.0 {
            let known = self.0.entry(*stream).or_default();
            *known = (*known).max(*position);
        }
    }

    /// Learns what another clock knows, if it is behind a place.
    pub(crate) fn learn(&mut self, point: Point, known: &Self) {
        if self.is_behind(point) {
            self.join(known);
        }
    }

    fn advance(&mut self, point: Point) {
        self.0.insert(point.stream, point.position);
    }
}

/// Two entries, of two streams, that are done together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meeting(pub(crate) u64);

/// Work whose turn it is.
#[derive(Debug)]
pub(crate) struct Due<W> {
    pub(crate) work: W,
    pub(crate) point: Point,
    /// What is ordered before it.
    pub(crate) clock: Clock,
    /// What is done with it.
    pub(crate) met: Option<Box<Self>>,
}

/// Why a stream does not go on: each waits for the next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) streams: Vec<StreamId>,
    /// Whether the last waits for one of these; else it waits for what nobody has asked for yet.
    pub(crate) is_circle: bool,
}

#[derive(Debug)]
struct Stream<W> {
    entries: VecDeque<Entry<W>>,
    /// Entries that were ever added, and those of them that are done.
    num_added: u64,
    num_done: u64,
    clock: Clock,
}

#[derive(Debug)]
enum Entry<W> {
    Work(W, Clock),
    Wait(Point),
    Meeting(Meeting, W, Clock),
}

/// All streams.
#[derive(Debug)]
pub(crate) struct Queues<W> {
    streams: BTreeMap<StreamId, Stream<W>>,
    num_streams: u64,
    /// How often something was asked for, or given up.
    num_changes: u64,
    /// What the host has waited for.
    host: Clock,
    rng: ChaCha8Rng,
    /// Of four entries, how many are done without anybody waiting for them.
    eagerness: u32,
}

impl<W> Queues<W> {
    /// A seed also decides how much is done early; with 0 nothing is.
    pub(crate) fn new(seed: u64) -> Self {
        let eagerness = u32::try_from(seed % 5).expect("it is small");
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (streams, host) = (BTreeMap::new(), Clock::default());
        Self { streams, num_streams: 0, num_changes: 0, host, rng, eagerness }
    }

    pub(crate) fn create(&mut self) -> StreamId {
        self.num_streams += 1;
        let id = StreamId(self.num_streams);
        let clock = Clock::default();
        let stream = Stream { entries: VecDeque::new(), num_added: 0, num_done: 0, clock };
        self.streams.insert(id, stream);
        id
    }

    /// Forgets a stream that nobody uses any more, if all that it has is done. Returns what is
    /// ordered before its end.
    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Clock> {
        self.streams.get(&id).filter(|stream| stream.entries.is_empty())?;
        self.streams.remove(&id).map(|stream| stream.clock)
    }

    #[cfg(test)]
    pub(crate) fn num_streams(&self) -> usize {
        self.streams.len()
    }

    /// Adds work behind all that the stream has.
    pub(crate) fn push(&mut self, id: StreamId, work: W) -> Point {
        self.add(id, |clock| Entry::Work(work, clock))
    }

    /// Adds work that is done together with that of another stream.
    pub(crate) fn meet(&mut self, id: StreamId, meeting: Meeting, work: W) -> Point {
        self.add(id, |clock| Entry::Meeting(meeting, work, clock))
    }

    fn add(&mut self, id: StreamId, entry: impl FnOnce(Clock) -> Entry<W>) -> Point {
        self.num_changes += 1;
        let stream = self.streams.get_mut(&id).expect(IS_KNOWN);
        stream.num_added += 1;
        let point = Point { stream: id, position: stream.num_added };
        stream.clock.join(&self.host);
        stream.clock.advance(point);
        stream.entries.push_back(entry(stream.clock.clone()));
        point
    }

    /// Lets work meet nobody any more: it is done when its turn comes.
    pub(crate) fn part(&mut self, is_over: impl Fn(&W) -> bool) {
        self.num_changes += 1;
        for stream in self.streams.values_mut() {
            for entry in std::mem::take(&mut stream.entries) {
                stream.entries.push_back(match entry {
                    Entry::Meeting(_, work, clock) if is_over(&work) => Entry::Work(work, clock),
                    other => other,
                });
            }
        }
    }

    /// Orders what is ordered behind a place also behind what a clock knows.
    pub(crate) fn teach(&mut self, point: Point, known: &Clock) {
        for stream in self.streams.values_mut() {
            stream.clock.learn(point, known);
            for entry in &mut stream.entries {
                if let Entry::Work(_, clock) | Entry::Meeting(_, _, clock) = entry {
                    clock.learn(point, known);
                }
            }
        }
    }

    pub(crate) fn num_changes(&self) -> u64 {
        self.num_changes
    }

    /// The work that a stream is at, if it is to meet other work.
    pub(crate) fn awaiting(&self, id: StreamId) -> Option<&W> {
        match self.streams.get(&id)?.entries.front()? {
            Entry::Meeting(_, work, _) => Some(work),
            Entry::Work(..) | Entry::Wait(_) => None,
        }
    }

    /// Why a stream does not go on, if nothing can be done.
    pub(crate) fn stuck(&self, id: StreamId) -> Stuck {
        let mut streams = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            if streams.contains(&id) {
                return Stuck { streams, is_circle: true };
            }
            streams.push(id);
            next = match self.streams.get(&id).and_then(|it| it.entries.front()) {
                Some(Entry::Wait(point)) => Some(point.stream),
                Some(Entry::Meeting(meeting, ..)) => self.partner(id, *meeting, VecDeque::len),
                Some(Entry::Work(..)) | None => None,
            };
        }
        Stuck { streams, is_circle: false }
    }

    /// The other stream that has work for a meeting among as many entries as are looked at.
    fn partner(
        &self,
        id: StreamId,
        meeting: Meeting,
        num_looked_at: impl Fn(&VecDeque<Entry<W>>) -> usize,
    ) -> Option<StreamId> {
        let comes =
            |entry: &Entry<W>| matches!(entry, Entry::Meeting(other, ..) if *other == meeting);
        let mut others = self.streams.iter().filter(|(other, _)| **other != id);
        let has = |entries: &VecDeque<_>| entries.iter().take(num_looked_at(entries)).any(comes);
        others.find(|(_, stream)| has(&stream.entries)).map(|(other, _)| *other)
    }

    /// Where a stream is now, for who comes later to wait for, and what is ordered before that.
    pub(crate) fn here(&self, id: StreamId) -> (Point, Clock) {
        let stream = &self.streams[&id];
        (Point { stream: id, position: stream.num_added }, stream.clock.clone())
    }

    /// Lets a stream wait for a place in another one.
    pub(crate) fn wait(&mut self, id: StreamId, (point, clock): (Point, &Clock)) {
        self.num_changes += 1;
        let stream = self.streams.get_mut(&id).expect(IS_KNOWN);
        stream.num_added += 1;
        stream.clock.join(clock);
        stream.clock.advance(Point { stream: id, position: stream.num_added });
        stream.entries.push_back(Entry::Wait(point));
    }

    /// Takes note that the host has waited for what is ordered before.
    pub(crate) fn host_knows(&mut self, clock: &Clock) {
        self.host.join(clock);
    }

    pub(crate) fn is_done(&self, point: Point) -> bool {
        self.streams.get(&point.stream).is_none_or(|it| it.num_done >= point.position)
    }

    /// Whether work is to be done although nobody waits for it.
    pub(crate) fn is_eager(&mut self) -> bool {
        self.eagerness > 0 && self.rng.next_u32() % 4 < self.eagerness
    }

    /// Takes an entry that may be next, any of them.
    pub(crate) fn next(&mut self) -> Option<Due<W>> {
        loop {
            let ready: Vec<StreamId> = self
                .streams
                .iter()
                .filter(|(id, it)| self.is_ready(**id, it))
                .map(|(id, _)| *id)
                .collect();
            let num_ready = u32::try_from(ready.len()).expect("streams are few");
            let id = match num_ready {
                0 => return None,
                1 => ready[0],
                _ => ready[(self.rng.next_u32() % num_ready) as usize],
            };
            match self.take(id) {
                (Entry::Wait(_), _) => {}
                (Entry::Work(work, clock), point) => {
                    return Some(Due { work, point, clock, met: None });
                }
                (Entry::Meeting(meeting, work, clock), point) => {
                    let other = self.partner(id, meeting, |_| 1).expect("it is ready");
                    let met = match self.take(other) {
                        (Entry::Meeting(_, work, clock), point) => {
                            Some(Box::new(Due { work, point, clock, met: None }))
                        }
                        (Entry::Work(..) | Entry::Wait(_), _) => None,
                    };
                    return Some(Due { work, point, clock, met });
                }
            }
        }
    }

    /// Takes the next entry of a stream, which is then done.
    fn take(&mut self, id: StreamId) -> (Entry<W>, Point) {
        let stream = self.streams.get_mut(&id).expect(IS_KNOWN);
        let entry = stream.entries.pop_front().expect("it is ready");
        stream.num_done += 1;
        (entry, Point { stream: id, position: stream.num_done })
    }

    fn is_ready(&self, id: StreamId, stream: &Stream<W>) -> bool {
        match stream.entries.front() {
            None => false,
            Some(Entry::Work(..)) => true,
            Some(Entry::Wait(point)) => self.is_done(*point),
            Some(Entry::Meeting(meeting, ..)) => self.partner(id, *meeting, |_| 1).is_some(),
        }
    }
}

const IS_KNOWN: &str = "only streams made here have ids, and nobody names one that was removed";

#[cfg(test)]
mod tests {
    use super::*;

    /// Does all that there is.
    fn drain(queues: &mut Queues<u32>) -> Vec<Due<u32>> {
        std::iter::from_fn(|| queues.next()).collect()
    }

    fn order(dues: &[Due<u32>]) -> Vec<u32> {
        dues.iter().map(|due| due.work).collect()
    }

    #[test]
    fn a_stream_is_in_order_and_two_are_in_any() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut queues = Queues::new(seed);
            let [a, b] = [queues.create(), queues.create()];
            for (stream, work) in [(a, 1), (a, 2), (b, 3), (b, 4)] {
                queues.push(stream, work);
            }
            orders.insert(order(&drain(&mut queues)));
        }
        assert_eq!(orders.len(), 6, "all that keep 1 before 2 and 3 before 4");
        let place = |order: &[u32], work| order.iter().position(|it| *it == work);
        for order in orders {
            assert!(place(&order, 1) < place(&order, 2) && place(&order, 3) < place(&order, 4));
        }
    }

    #[test]
    fn who_waits_comes_later_and_knows() {
        for seed in 0..50 {
            let mut queues = Queues::new(seed);
            let [a, b] = [queues.create(), queues.create()];
            queues.push(b, 1);
            let first = queues.push(a, 2);
            let (point, clock) = queues.here(a);
            let last = queues.push(a, 3);
            queues.wait(b, (point, &clock));
            queues.push(b, 4);
            let dues = drain(&mut queues);
            let place = |work| dues.iter().position(|due| due.work == work).unwrap();
            assert!(place(2) < place(4));
            let clock = &dues[place(4)].clock;
            assert!(clock.is_behind(first) && !clock.is_behind(last));
            assert!(!dues[place(1)].clock.is_behind(first));
            assert!(queues.is_done(last));
        }
    }

    #[test]
    fn a_stream_is_removed_once_it_is_done_and_nobody_waits_for_it_any_more() {
        let mut queues = Queues::new(0);
        let [a, b] = [queues.create(), queues.create()];
        let first = queues.push(a, 1);
        let (point, clock) = queues.here(a);
        queues.wait(b, (point, &clock));
        queues.push(b, 2);
        assert_eq!(queues.remove(a), None);
        assert_eq!(queues.next().map(|due| due.work), Some(1));
        assert!(queues.remove(a).is_some_and(|clock| clock.is_behind(first)));
        assert!(queues.is_done(first));
        assert_eq!(order(&drain(&mut queues)), [2]);
    }

    #[test]
    fn what_the_host_waited_for_is_before_all_that_it_asks_for() {
        let mut queues = Queues::new(0);
        let [a, b] = [queues.create(), queues.create()];
        let first = queues.push(a, 1);
        let (_, clock) = queues.here(a);
        assert_eq!(order(&drain(&mut queues)), [1]);
        queues.push(b, 2);
        assert!(!drain(&mut queues)[0].clock.is_behind(first));
        queues.host_knows(&clock);
        queues.push(b, 3);
        assert!(drain(&mut queues)[0].clock.is_behind(first));
    }
}
