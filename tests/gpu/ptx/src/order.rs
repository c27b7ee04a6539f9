//! In which order blocks and warps run: in turn, or drawn from a seed.

/// How the blocks and the warps of a launch follow each other. The same seed gives the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other, each warp as far as it comes without the others.
    InTurn,
    /// The same, with the first block, whether they go up or down, and the order of each block's
    /// warps drawn from a seed. This takes no longer.
    Shuffled(u64),
    /// A few blocks at once, and of any of their warps a few instructions.
    Mixed(u64),
}

/// Draws orders, or the plain one each time.
pub(crate) struct Draw(Option<Random>);

impl Draw {
    pub(crate) fn in_turn() -> Self {
        Self(None)
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self(Some(Random::new(seed)))
    }

    /// All numbers below a count, of which neighbours use memory that lies close together: from any
    /// on, up or down.
    pub(crate) fn turn(&mut self, count: u64) -> Shuffled {
        let mut turned = Shuffled { count, stride: 1, next: 0, left: count };
        if let Some(random) = &mut self.0 {
            turned.next = random.below_wide(count);
            turned.stride = [1, count - 1][random.below(2)];
        }
        turned
    }

    /// All numbers below a count.
    pub(crate) fn order(&mut self, count: u64) -> Shuffled {
        match &mut self.0 {
            None => Shuffled { count, stride: 1, next: 0, left: count },
            Some(random) => Shuffled::new(count, random),
        }
    }
}

/// Numbers that look random. Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number
/// Generators, OOPSLA 2014.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below this one, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.below_wide(bound as u64) as usize
    }

    fn below_wide(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// All numbers below a count, each once, a stride apart. The stride has no divisor in common with
/// the count, so that none comes twice.
pub(crate) struct Shuffled {
    count: u64,
    stride: u64,
    next: u64,
    left: u64,
}

impl Shuffled {
    pub(crate) fn new(count: u64, random: &mut Random) -> Self {
        let mut stride = 1 + random.below_wide(count);
        while gcd(stride, count) != 1 {
            stride = 1 + stride % count;
        }
        Self { count, stride, next: random.below_wide(count), left: count }
    }
}

impl Iterator for Shuffled {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let now = self.next;
        // Neither is above the count, and a grid has fewer than 2^63 blocks.
        let next = now + self.stride;
        self.next = if next < self.count { next } else { next - self.count };
        Some(now)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn every_number_is_drawn_once() {
    for count in 1..200 {
        let mut found: Vec<u64> = Shuffled::new(count, &mut Random::new(count)).collect();
        found.sort_unstable();
        assert_eq!(found, (0..count).collect::<Vec<u64>>());
    }
}

#[test]
fn a_turn_has_every_number_once_and_begins_anywhere() {
    let mut firsts = std::collections::HashSet::new();
    for seed in 0..50 {
        let found: Vec<u64> = Draw::of(seed).turn(5).collect();
        let is_turn = |step: u64| found.windows(2).all(|it| it[1] == (it[0] + step) % 5);
        assert!(found.len() == 5 && (is_turn(1) || is_turn(4)), "{found:?}");
        firsts.insert((found[0], is_turn(1)));
        assert_eq!(Draw::of(seed).turn(1).collect::<Vec<u64>>(), [0]);
    }
    assert_eq!(firsts.len(), 10);
    assert_eq!(Draw::in_turn().turn(3).collect::<Vec<u64>>(), [0, 1, 2]);
}

#[test]
fn another_seed_is_another_order() {
    let of = |seed| Shuffled::new(1_000, &mut Random::new(seed)).collect::<Vec<u64>>();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
