//! All cases, by what they are about.

mod copies;
mod device;
mod events;
mod faults;
mod kernels;
mod launches;
mod memory;
mod modules;
mod peers;
mod ptx;
mod shared;
mod streams;
mod vectors;
mod visible;

use crate::case::Case;

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let groups = [
        device::CASES,
        visible::CASES,
        memory::CASES,
        copies::CASES,
        streams::CASES,
        events::CASES,
        modules::CASES,
        launches::CASES,
        shared::CASES,
        faults::CASES,
        kernels::CASES,
        peers::CASES,
    ];
    groups.into_iter().chain(vectors::GROUPS).flatten()
}
