//! Coded masks: nothing is lost, nothing foreign is taken.

use proptest::prelude::*;
use serde_json::json;
use sluicegate_constraint::{CodeError, CodedMask, Gaps, MaskKind, Spec};

use crate::support::{CANONICAL, COMPILER, Rng, walk};

/// Three words, of which the last one's upper half is padding.
const VALID: [u32; 3] = [u32::MAX, u32::MAX, 0xFFFF];

#[track_caller]
fn check(coded: &CodedMask, want: &Result<[u32; 3], CodeError>) {
    let words = coded.decode(&VALID).map(|words| <[u32; 3]>::try_from(&*words).unwrap());
    assert_eq!(&words, want, "{coded:?}");
}

fn gaps(bytes: &[u8]) -> Gaps {
    Gaps::from_bytes(bytes.into())
}

#[test]
fn each_form_says_which_tokens_are_allowed() {
    check(&CodedMask::All, &Ok(VALID));
    check(&CodedMask::Only(33), &Ok([0, 2, 0]));
    // 0, then 1 + 32 = 33, then 34 + 0.
    check(&CodedMask::Sparse(gaps(&[0, 32, 0])), &Ok([1, 6, 0]));
    check(&CodedMask::Denied(gaps(&[0])), &Ok([u32::MAX - 1, u32::MAX, 0xFFFF]));
    check(&CodedMask::Denied(gaps(&[])), &Ok(VALID));
    check(&CodedMask::Dense(Box::new([1, 0, u32::MAX])), &Ok([1, 0, 0xFFFF]));
}

#[test]
fn hostile_codes_are_refused() {
    let beyond = |token| Err(CodeError::OutOfRange { token, bound: 96 });
    let empty = Err(CodeError::Empty);
    check(&CodedMask::Only(96), &beyond(96));
    check(&CodedMask::Only(u32::MAX), &beyond(u64::from(u32::MAX)));
    check(&CodedMask::Sparse(gaps(&[0, 95])), &beyond(96));
    check(&CodedMask::Denied(gaps(&[0, 95])), &beyond(96));
    // Padding stays closed, whoever asks.
    check(&CodedMask::Only(80), &empty);
    check(&CodedMask::Sparse(gaps(&[80])), &empty);
    check(&CodedMask::Sparse(gaps(&[])), &empty);
    check(&CodedMask::Denied(gaps(&[0; 80])), &empty);
    check(&CodedMask::Dense(Box::new([0, 0, 0x1_0000])), &empty);
    check(&CodedMask::Sparse(gaps(&[1, 0x80])), &Err(CodeError::Truncated { found: 1 }));
    check(&CodedMask::Sparse(gaps(&[0x80, 0x80])), &Err(CodeError::Truncated { found: 0 }));
    for num_words in [0, 2, 4] {
        let coded = CodedMask::Dense(vec![1; num_words].into());
        check(&coded, &Err(CodeError::Width { wanted: 3, found: num_words }));
    }
    for bytes in [&[0xFF; 6][..], &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &[0xFF; 1000]] {
        let refused = CodedMask::Sparse(gaps(bytes)).decode(&VALID).unwrap_err();
        assert!(matches!(refused, CodeError::OutOfRange { .. }), "{refused}");
    }
}

#[test]
fn masks_of_real_grammars_come_back_as_they_were() {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "kind": {"enum": ["red", "green"]}},
        "required": ["name", "kind"],
        "additionalProperties": false,
    });
    let mut rng = Rng(7);
    let mut kinds = std::collections::BTreeSet::new();
    for compiler in [&*COMPILER, &*CANONICAL] {
        for spec in [Spec::json(schema.clone()), Spec::Text, Spec::Regex("(?s).*".into())] {
            let compiled = compiler.compile(&spec).unwrap();
            for _ in 0..10 {
                let mut matcher = compiled.matcher();
                let Some((_, tokens)) =
                    (spec != Spec::Text).then(|| walk(&mut matcher, &mut rng)).flatten()
                else {
                    continue;
                };
                let mut matcher = compiled.matcher();
                for token in tokens {
                    let mask = matcher.mask().unwrap();
                    let coded = CodedMask::new(&mask, compiler.vocab());
                    let words = coded.decode(compiler.vocab().allow_all()).unwrap();
                    assert_eq!(&*words, mask.words());
                    assert!(coded.num_bytes() <= mask.num_bytes() + 1, "{coded:?}");
                    kinds.insert(coded.kind());
                    matcher.advance(token).unwrap();
                }
            }
            let first = compiled.matcher().mask().unwrap();
            kinds.insert(CodedMask::new(&first, compiler.vocab()).kind());
        }
    }
    for kind in [MaskKind::All, MaskKind::Only, MaskKind::Sparse, MaskKind::Dense] {
        assert!(kinds.contains(&kind), "{kind:?} did not occur");
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_mask_of_the_vocabulary_or_to_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        words in prop::collection::vec(any::<u32>(), 0..6),
        token in any::<u32>(),
    ) {
        let coded = [
            CodedMask::Sparse(gaps(&bytes)),
            CodedMask::Denied(gaps(&bytes)),
            CodedMask::Dense(words.into()),
            CodedMask::Only(token),
        ];
        for coded in coded {
            if let Ok(words) = coded.decode(&VALID) {
                prop_assert_eq!(words.len(), VALID.len());
                prop_assert!(words.iter().zip(VALID).all(|(word, valid)| word & !valid == 0));
                prop_assert!(words.iter().any(|word| *word != 0));
            }
        }
    }
}
