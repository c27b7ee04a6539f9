//! Messages come back from their bytes as they were, and nothing else is taken for one.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{
    wire::{DecodeError, Message, VERSION, decode, encode, num_bytes},
    *,
};

fn interval() -> impl Strategy<Value = Interval> {
    let moment = || (0..u64::MAX).prop_map(Duration::from_nanos);
    (moment(), moment()).prop_map(|(from, until)| Interval { from, until })
}

fn times() -> impl Strategy<Value = Option<StageTimes>> {
    proptest::option::of((interval(), interval()).prop_map(|(first, second)| StageTimes {
        started: first.from,
        computed: first.until,
        ended: second.until,
    }))
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u64>());
    numbers.prop_map(|(sequence, step, epoch)| Stamp {
        sequence: SequenceId(sequence),
        step,
        epoch,
    })
}

fn words() -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), 0..6)
}

fn row_order() -> impl Strategy<Value = RowOrder> {
    let table = (0..99usize, words())
        .prop_map(|(first_position, pages)| TableOrder { first_position, pages: Arc::new(pages) });
    let parts = (any::<u64>(), words(), any::<usize>(), vec(table, 0..3), any::<bool>());
    parts.prop_map(|(group, tokens, position, tables, wants_logits)| RowOrder {
        group: GroupId(group),
        tokens,
        position,
        tables,
        wants_logits,
    })
}

fn ancestors() -> impl Strategy<Value = AncestorsOrder> {
    let copies = (words(), words(), words())
        .prop_map(|(tail_pages, rows, target_pages)| CopyOrder { tail_pages, rows, target_pages });
    let parts = (any::<u64>(), any::<u64>(), words(), vec(copies, 0..3));
    parts.prop_map(|(group, epoch, parents, copies)| AncestorsOrder {
        group: GroupId(group),
        epoch,
        parents,
        copies,
    })
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let method = prop_oneof![
        Just(Method::Greedy),
        (0.1f32..3.0, proptest::option::of(0..99usize)).prop_map(|(temperature, top_k)| {
            Method::Multinomial(Multinomial { temperature, top_k, ..Multinomial::default() })
        }),
        (1..9usize).prop_map(|width| Method::Beam { width }),
    ];
    (method, words(), any::<bool>(), 0..20usize).prop_map(|(method, eos, ignore_eos, count)| {
        SamplingParams {
            method,
            ignore_eos,
            num_top_tokens: count,
            min_tokens: count,
            ..SamplingParams::greedy(eos)
        }
    })
}

fn sampling() -> impl Strategy<Value = GroupSampling> {
    let key = any::<(u64, u64, u64, u64)>().prop_map(|(seed, prompt, sample, step)| RandomKey {
        seed,
        prompt,
        sample,
        step,
    });
    let count = any::<(u32, u32)>().prop_map(|(token, in_output)| TokenCount { token, in_output });
    let mask = prop_oneof![Just(MaskRule::Free), stamp().prop_map(MaskRule::Required)];
    let row = (mask, any::<u32>(), vec(count, 0..3), vec(key, 0..3))
        .prop_map(|(mask, step, counts, draws)| RowSampling { mask, step, counts, draws });
    let parts = (any::<u64>(), 0..9usize, params(), vec(row, 0..3));
    parts.prop_map(|(group, end, params, rows)| GroupSampling {
        group: GroupId(group),
        logit_rows: 0..end,
        params: Arc::new(params),
        rows,
    })
}

fn stage_batch() -> impl Strategy<Value = StageBatch> {
    let parts =
        (any::<u64>(), vec(ancestors(), 0..3), vec(row_order(), 0..4), vec(sampling(), 0..3));
    let batch = parts.prop_map(|(microbatch, ancestors, rows, sampling)| Batch {
        microbatch: MicrobatchId(microbatch),
        ancestors,
        rows,
        sampling,
    });
    (any::<u32>(), batch, vec(times(), 0..3)).prop_map(|(incarnation, batch, times)| StageBatch {
        incarnation,
        batch: Arc::new(batch),
        times,
    })
}

fn masks() -> impl Strategy<Value = Masks> {
    let bits = prop_oneof![
        vec(any::<u8>(), 0..20).prop_map(|bytes| MaskBits::Own(bytes.into())),
        any::<u32>().prop_map(MaskBits::SameAs),
    ];
    let row =
        (stamp(), vec(bits, 1..4)).prop_map(|(stamp, positions)| MaskRow { stamp, positions });
    let rows = vec(proptest::option::of(row), 0..5);
    let parts = (any::<u64>(), rows, vec(any::<usize>(), 0..3), vec(interval(), 0..3));
    parts.prop_map(|(microbatch, rows, late, filled)| Masks {
        microbatch: MicrobatchId(microbatch),
        rows,
        num_words: 4,
        late,
        filled,
    })
}

fn sampled() -> impl Strategy<Value = Sampled> {
    let likely = (any::<u32>(), -9.0..0.0)
        .prop_map(|(id, log_probability)| TopToken { id, log_probability });
    let token = || {
        (any::<u32>(), -9.0..0.0, vec(likely.clone(), 0..3))
            .prop_map(|(id, log_probability, top_tokens)| Token { id, log_probability, top_tokens })
    };
    let choice = (any::<u32>(), token(), vec(token(), 0..3))
        .prop_map(|(row, token, more)| Choice { row, token, more });
    let error = prop_oneof![
        stamp().prop_map(|wanted| RowError::Mask(MaskError::Missing { wanted })),
        stamp().prop_map(|stamp| {
            RowError::Mask(MaskError::Malformed { stamp, message: "broken".into() })
        }),
        any::<u64>().prop_map(|group| RowError::NoToken { group: GroupId(group), row: 3 }),
    ];
    let choices = prop_oneof![vec(choice, 0..4).prop_map(Ok), error.prop_map(Err)];
    let group = (any::<u64>(), choices)
        .prop_map(|(group, choices)| GroupChoices { group: GroupId(group), choices });
    let mask_times = (proptest::option::of(interval()), vec(interval(), 0..3))
        .prop_map(|(awaited, filled)| MaskTimes { awaited, filled });
    let parts = (any::<u64>(), vec(group, 0..4), vec(times(), 0..3), mask_times);
    parts.prop_map(|(microbatch, groups, times, mask_times)| Sampled {
        microbatch: MicrobatchId(microbatch),
        groups,
        times,
        mask_times,
    })
}

/// The bytes have the size that was said, the value comes back, as JSON too, and no part of the
/// bytes is taken for the whole.
fn check<T: Message + PartialEq + std::fmt::Debug>(message: &T) -> Result<(), TestCaseError> {
    let bytes = encode(message);
    prop_assert_eq!(bytes.len(), num_bytes(message));
    prop_assert_eq!(&decode::<T>(&bytes).unwrap(), message);
    let json = serde_json::to_string(message).unwrap();
    prop_assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), message);
    for end in 0..bytes.len() {
        prop_assert!(decode::<T>(&bytes[..end]).is_err(), "{} of {} bytes", end, bytes.len());
    }
    let longer = [&bytes[..], &[0]].concat();
    prop_assert_eq!(decode::<T>(&longer), Err(DecodeError::Trailing { kind: T::KIND, found: 1 }));
    Ok(())
}

proptest! {
    #[test]
    fn a_batch_comes_back_from_its_bytes(message in stage_batch()) {
        check(&message)?;
    }

    #[test]
    fn masks_come_back_from_their_bytes(message in masks()) {
        check(&message)?;
    }

    #[test]
    fn what_was_sampled_comes_back_from_its_bytes(message in sampled()) {
        check(&message)?;
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(body in vec(any::<u8>(), 0..200)) {
        for kind in [
            wire::MessageKind::Batch,
            wire::MessageKind::Masks,
            wire::MessageKind::Sampled,
        ] {
            let bytes = [&[VERSION, kind as u8], &body[..]].concat();
            let _ = decode::<StageBatch>(&bytes);
            let _ = decode::<Masks>(&bytes);
            let _ = decode::<Sampled>(&bytes);
        }
    }
}

#[test]
fn other_versions_kinds_and_lengths_are_refused() {
    #[track_caller]
    fn check(bytes: &[u8], want: &str) {
        assert_eq!(decode::<Masks>(bytes).unwrap_err().to_string(), want);
    }
    check(&[], "a message has 0 bytes, wanted 2 at least");
    check(&[1], "a message has 1 bytes, wanted 2 at least");
    check(&[1, 2], "a message is of version 1, wanted 2");
    check(&[2, 3], "a message is of kind 3, wanted 2 (Masks)");
    check(&[2, 2, 7], "a message of kind Masks cannot be read");
    check(&vec![1; wire::MAX_BYTES + 1], "a message has 67108865 bytes, wanted 67108864 at most");
}

#[test]
fn index_arrays_are_written_as_whole_words() {
    let pages: Vec<u32> = (0..1_000).collect();
    let bytes = |pages: Vec<u32>| {
        let table = TableOrder { first_position: 0, pages: Arc::new(pages) };
        let (group, tokens) = (GroupId(1), vec![5]);
        let row = RowOrder { group, tokens, position: 7, tables: vec![table], wants_logits: true };
        let batch = Batch {
            microbatch: MicrobatchId(1),
            ancestors: Vec::new(),
            rows: vec![row],
            sampling: Vec::new(),
        };
        let batch = Arc::new(batch);
        encode(&StageBatch { incarnation: 1, batch, times: Vec::new() })
    };
    // Four bytes a page, and one more for the longer length.
    assert_eq!(bytes(pages).len(), bytes(Vec::new()).len() + 4_000 + 1);
    let mut broken = bytes(vec![9]);
    let length = broken.len() - 3 - 4 - 1;
    assert_eq!(broken[length], 4, "the bytes of the pages");
    broken[length] = 3;
    assert!(matches!(decode::<StageBatch>(&broken), Err(DecodeError::Malformed { .. })));
}
