//! A value for each lane of a warp.

/// Threads that execute the same instruction together.
pub(crate) const WARP: usize = 32;

/// One value a lane, its unused bits zero.
pub(crate) type Lanes = [u64; WARP];

/// Which lanes take part, one bit each.
pub(crate) type Mask = u32;

/// The lanes that take part, in order.
pub(crate) fn lanes_of(mask: Mask) -> impl Iterator<Item = usize> {
    (0..WARP).filter(move |lane| mask >> lane & 1 == 1)
}

/// Computes in every lane.
#[inline(always)]
pub(crate) fn each(a: &Lanes, f: impl Fn(u64) -> u64) -> Lanes {
    std::array::from_fn(|lane| f(a[lane]))
}

/// Computes in every lane.
#[inline(always)]
pub(crate) fn each2(a: &Lanes, b: &Lanes, f: impl Fn(u64, u64) -> u64) -> Lanes {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

/// The lanes in which something is so.
#[inline(always)]
pub(crate) fn where2(a: &Lanes, b: &Lanes, f: impl Fn(u64, u64) -> bool) -> Mask {
    (0..WARP).fold(0, |mask, lane| mask | u32::from(f(a[lane], b[lane])) << lane)
}
