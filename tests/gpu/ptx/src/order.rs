//! An order drawn from a seed.

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
        self.next = ((u128::from(now) + u128::from(self.stride)) % u128::from(self.count)) as u64;
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
fn another_seed_is_another_order() {
    let of = |seed| Shuffled::new(1_000, &mut Random::new(seed)).collect::<Vec<u64>>();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
