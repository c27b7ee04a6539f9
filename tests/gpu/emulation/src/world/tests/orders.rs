//! The order of blocks.

use std::collections::BTreeSet;

use super::*;

/// Each block writes its number to the same word.
const LAST: &str = "
.version 7.0
.target sm_80
.address_size 64
.visible .entry last(.param .u64 word)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [word];
    mov.u32 %r1, %ctaid.x;
    st.global.u32 [%rd1], %r1;
    ret;
}";

/// Which blocks come last in twenty launches.
fn last(seed: u64) -> Vec<u8> {
    let mut rig = Rig::new(seed);
    let kernel = rig.kernel(LAST, "last");
    let word = rig.numbers(0);
    let mut launch = || {
        rig.launch(&kernel, 10, &[word]).unwrap();
        rig.read(0, word).unwrap()[0]
    };
    (0..20).map(|_| launch()).collect()
}

#[test]
fn each_launch_has_an_order_of_its_own_unless_the_seed_is_zero() {
    assert_eq!(last(0), [9; 20]);
    let found = last(1);
    assert!(found.iter().collect::<BTreeSet<_>>().len() > 5, "{found:?}");
    assert_eq!(last(1), found);
    assert_ne!(last(2), found);
}
