//! Encoded masks: nothing is lost, nothing foreign is taken.

use proptest::prelude::*;
use serde_json::json;
use sluicegate_constraint::{EncodedMask, MaskDecodeError, MaskForm, Spec};

use crate::support::{CANONICAL, COMPILER, Rng, walk};

/// Three words, of which the last one's upper half is padding.
const VALID: [u32; 3] = [u32::MAX, u32::MAX, 0xFFFF];

fn encoded(form: MaskForm, body: &[u8]) -> Vec<u8> {
    [&[form as u8], body].concat()
}

/// Checks an encoded mask: a form, and its body.
#[track_caller]
fn check(form: MaskForm, body: &[u8], want: &Result<[u32; 3], MaskDecodeError>) {
    let words = EncodedMask::decode(&encoded(form, body), &VALID);
    let words = words.map(|words| <[u32; 3]>::try_from(&*words).unwrap());
    assert_eq!(&words, want, "{form:?} {body:?}");
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn each_form_says_which_tokens_are_allowed() {
    use MaskForm::{All, Denied, Dense, Only, Sparse};
    check(All, &[], &Ok(VALID));
    check(Only, &[33, 0, 0, 0], &Ok([0, 2, 0]));
    // 0, then 1 + 32 = 33, then 34 + 0.
    check(Sparse, &[0, 32, 0], &Ok([1, 6, 0]));
    check(Denied, &[0], &Ok([u32::MAX - 1, u32::MAX, 0xFFFF]));
    check(Denied, &[], &Ok(VALID));
    check(Dense, &bytes_of(&[1, 0, u32::MAX]), &Ok([1, 0, 0xFFFF]));
}

#[test]
fn hostile_masks_are_refused() {
    use MaskForm::{All, Denied, Dense, Only, Sparse};
    let beyond = |token| Err(MaskDecodeError::OutOfRange { token, bound: 96 });
    let empty = Err(MaskDecodeError::Empty);
    check(Only, &96u32.to_le_bytes(), &beyond(96));
    check(Only, &u32::MAX.to_le_bytes(), &beyond(u64::from(u32::MAX)));
    check(Sparse, &[0, 95], &beyond(96));
    check(Denied, &[0, 95], &beyond(96));
    // Padding stays closed, whoever asks.
    check(Only, &80u32.to_le_bytes(), &empty);
    check(Sparse, &[80], &empty);
    check(Sparse, &[], &empty);
    check(Denied, &[0; 80], &empty);
    check(Dense, &bytes_of(&[0, 0, 0x1_0000]), &empty);
    check(Sparse, &[1, 0x80], &Err(MaskDecodeError::Truncated { found: 1 }));
    check(Sparse, &[0x80, 0x80], &Err(MaskDecodeError::Truncated { found: 0 }));
    for found in [0, 8, 11, 13, 16] {
        check(Dense, &vec![1; found], &Err(MaskDecodeError::Length { wanted: 12, found }));
    }
    check(Only, &[1, 0, 0], &Err(MaskDecodeError::Length { wanted: 4, found: 3 }));
    check(All, &[0], &Err(MaskDecodeError::Length { wanted: 0, found: 1 }));
    for body in [&[0xFF; 6][..], &[0xFF; 1000]] {
        check(Sparse, body, &Err(MaskDecodeError::NumberTooLong { found: 0 }));
    }
    // Five bytes of seven bits hold more than a token's 32.
    let widest = MaskDecodeError::OutOfRange { token: (1 << 35) - 1, bound: 1 << 32 };
    check(Sparse, &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &Err(widest));
    assert_eq!(EncodedMask::decode(&[], &VALID), Err(MaskDecodeError::NoForm));
    for found in [5, 255] {
        let refused = EncodedMask::decode(&[found, 0], &VALID);
        assert_eq!(refused, Err(MaskDecodeError::Form { found, bound: 5 }));
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
    let mut forms = std::collections::BTreeSet::new();
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
                    let encoded = EncodedMask::new(&mask, compiler.vocab()).into_bytes();
                    let valid = compiler.vocab().allow_all();
                    let words = EncodedMask::decode(&encoded, valid).unwrap();
                    assert_eq!(&*words, mask.words());
                    assert!(encoded.len() <= mask.num_bytes() + 1, "{encoded:?}");
                    forms.insert(MaskForm::of(&encoded).unwrap());
                    matcher.advance(token).unwrap();
                }
            }
            let first = compiled.matcher().mask().unwrap();
            forms.insert(EncodedMask::new(&first, compiler.vocab()).form());
        }
    }
    for form in [MaskForm::All, MaskForm::Only, MaskForm::Sparse, MaskForm::Dense] {
        assert!(forms.contains(&form), "{form:?} did not occur");
    }
}

/// For each form bodies that mostly fit it, with tokens in the padding and beyond; and any bytes.
fn any_encoded() -> impl Strategy<Value = Vec<u8>> {
    use MaskForm::{All, Denied, Dense, Only, Sparse};
    let gaps = || prop::collection::vec(0..24u8, 0..8);
    let words = prop::collection::vec(any::<u8>(), size_of_val(&VALID));
    let random = (0..7u8, prop::collection::vec(any::<u8>(), 0..64));
    prop_oneof![
        Just(encoded(All, &[])),
        (0..=96u32).prop_map(|token| encoded(Only, &token.to_le_bytes())),
        gaps().prop_map(|body| encoded(Sparse, &body)),
        gaps().prop_map(|body| encoded(Denied, &body)),
        words.prop_map(|body| encoded(Dense, &body)),
        random.prop_map(|(form, body)| [&[form], &body[..]].concat()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_decode_to_a_mask_of_the_vocabulary_or_to_an_error(bytes in any_encoded()) {
        if let Ok(words) = EncodedMask::decode(&bytes, &VALID) {
            prop_assert_eq!(words.len(), VALID.len());
            prop_assert!(words.iter().zip(VALID).all(|(word, valid)| word & !valid == 0));
            prop_assert!(words.iter().any(|word| *word != 0));
        }
    }
}
