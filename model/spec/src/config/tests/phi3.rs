//! Configurations of Phi 3: windows, positions that are stretched, and heads that are turned in
//! part.

use super::*;

/// The small model with `changes` on top.
fn phi3(changes: &Value) -> Value {
    let mut all = json!({
        "architectures": ["Phi3ForCausalLM"], "rope_theta": 1e4, "resid_pdrop": 0.0,
        "embd_pdrop": 0.0, "attention_dropout": 0.0, "attention_bias": false,
    });
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    all
}

const SHORT: [f32; 4] = [1.0, 1.5, 2.0, 3.0];
const LONG: [f32; 4] = [1.0, 4.0, 9.0, 16.0];

/// Of heads of eight.
fn longrope(kind: &str) -> Value {
    json!({"type": kind, "short_factor": SHORT, "long_factor": LONG})
}

#[test]
fn phi3_is_read_with_its_defaults() {
    let nothing = json!({"hidden_size": null, "intermediate_size": null, "vocab_size": null,
        "num_hidden_layers": null, "num_attention_heads": null, "num_key_value_heads": null,
        "max_position_embeddings": null, "rms_norm_eps": null, "rope_scaling": null});
    let mini = good(&phi3(&nothing));
    assert_eq!((mini.architecture, mini.num_layers), (Architecture::Phi3, 32));
    assert_eq!((mini.hidden, mini.intermediate, mini.vocab), (3072, 8192, 32_064));
    assert_eq!((mini.num_heads, mini.num_kv_heads, mini.head_dim), (32, 32, 96));
    assert_eq!((mini.max_positions, mini.norm_eps, mini.tied), (4096, 1e-5, false));
    assert_eq!((mini.rope, mini.local_rope), (Rope::new(1e4, NONE), None));
    assert_eq!(mini.windows, vec![None; 32]);
    let windowed = good(&phi3(&json!({"sliding_window": 2047, "tie_word_embeddings": true})));
    assert_eq!((windowed.windows, windowed.tied), (vec![Some(2047); 4], true));
}

#[test]
fn the_whole_context_chooses_the_divisors() {
    let rope = |max: usize, changes: Value| {
        let mut all = json!({"max_position_embeddings": max, "rope_scaling": longrope("longrope"),
            "original_max_position_embeddings": 4096});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let rope = good(&phi3(&all)).rope;
        let RopeScaling::Factors(factors) = rope.scaling else { panic!("{:?}", rope.scaling) };
        (factors, rope.magnitude)
    };
    let close = |found: Option<f64>, wanted: f64| {
        assert!((found.unwrap() - wanted).abs() < 1e-6, "{found:?} is not {wanted}");
    };
    let (factors, magnitude) = rope(131_072, json!({}));
    assert_eq!(factors, LONG);
    // What `phi3.rope.scaling.attn_factor` is in the GGUF files of Phi 3 and 4 mini.
    close(magnitude, 1.190_238);
    assert_eq!(rope(4097, json!({})).0, LONG);
    assert_eq!(rope(4096, json!({})), (SHORT.to_vec(), None));
    assert_eq!(rope(2048, json!({})), (SHORT.to_vec(), None));
    // The older name.
    assert_eq!(rope(131_072, json!({"rope_scaling": longrope("su")})).0, LONG);
    let mut given = longrope("longrope");
    given["factor"] = json!(64.0);
    let (factors, magnitude) = rope(4096, json!({"rope_scaling": given}));
    assert_eq!(factors, SHORT);
    close(magnitude, 1.5f64.sqrt());
    given["attention_factor"] = json!(1.25);
    assert_eq!(rope(8192, json!({"rope_scaling": given})), (LONG.to_vec(), Some(1.25)));
    // As transformers writes it now; where both objects have the number, the outer one counts.
    let mut newer = longrope("longrope");
    newer["rope_theta"] = json!(1e4);
    newer["original_max_position_embeddings"] = json!(8192);
    let newer = |outer: Value| {
        rope(
            8192,
            json!({"rope_scaling": null, "rope_parameters": newer,
            "original_max_position_embeddings": outer}),
        )
    };
    assert_eq!(newer(Value::Null).0, SHORT);
    assert_eq!(newer(json!(4096)).0, LONG);
}

#[test]
fn heads_are_turned_in_part_where_the_family_does() {
    let share = |share: f64| good(&phi3(&json!({"partial_rotary_factor": share}))).rope.width;
    assert_eq!((share(1.0), share(0.75), share(0.5)), (None, Some(6), Some(4)));
    let nested = json!({"rope_parameters": {"rope_theta": 2e4, "rope_type": "default",
        "partial_rotary_factor": 0.75}});
    let rope = good(&phi3(&nested)).rope;
    assert_eq!(rope, Rope { width: Some(6), ..Rope::new(2e4, NONE) });
    let refused = |share: Value, wanted: &str| {
        refused(
            &phi3(&json!({"partial_rotary_factor": share})),
            &["partial_rotary_factor", wanted],
        );
    };
    for share in [json!(0), json!(-1), json!(1.5)] {
        refused(share, "above 0, at most 1");
    }
    refused(json!("all"), "a number");
    // Seven eighths of eight, and less than a pair.
    super::refused(&phi3(&json!({"partial_rotary_factor": 0.9})), &["`rope width`", "even", "7"]);
    super::refused(&phi3(&json!({"partial_rotary_factor": 0.1})), &["`rope width`", "2 to 8"]);
}

#[test]
fn bad_divisors_are_refused_by_key() {
    let refused = |key: &str, value: Value, wanted: &[&str]| {
        let mut scaling = longrope("longrope");
        scaling[key] = value;
        let all = json!({"rope_scaling": scaling, "original_max_position_embeddings": 128});
        refused(&phi3(&all), wanted);
    };
    refused("long_factor", Value::Null, &["rope_scaling.long_factor` is missing"]);
    refused("short_factor", json!([1, 2, 3]), &["short_factor", "4 numbers", "not 3"]);
    refused("long_factor", json!([1, 2, 3, "4"]), &["long_factor", "numbers"]);
    refused("long_factor", json!([1, 2, 3, 0]), &["`rope factors`", "above 0"]);
    refused("long_factor", json!([1, 2, 3, 1e300]), &["`rope factors`", "found inf"]);
    refused("attention_factor", json!(0), &["`rope magnitude`", "above 0"]);
    refused("factor", json!("2"), &["rope_scaling.factor", "a number"]);
    let no_original = json!({"rope_scaling": longrope("longrope")});
    super::refused(&phi3(&no_original), &["original_max_position_embeddings", "missing"]);
    for original in [0, 1] {
        let all = json!({"rope_scaling": longrope("longrope"),
            "original_max_position_embeddings": original});
        super::refused(&phi3(&all), &["original_max_position_embeddings", "2 or more"]);
    }
    let short_of_a_head = json!({"rope_scaling": longrope("longrope"),
        "original_max_position_embeddings": 128, "partial_rotary_factor": 0.75});
    super::refused(&phi3(&short_of_a_head), &["long_factor", "3 numbers", "not 4"]);
}

/// A file with divisors for heads of eight, made for 128 positions at first.
fn long_gguf(changes: impl FnOnce(Writer) -> Writer) -> Writer {
    gguf("phi3", |writer| {
        changes(
            heads(writer, "phi3", 4)
                .u32("phi3.rope.scaling.original_context_length", 128)
                .u32("phi3.attention.sliding_window", 200),
        )
    })
}

#[test]
fn gguf_files_of_phi3_are_read() {
    let both = |writer: Writer| {
        writer
            .f32_tensor("rope_factors_long.weight", &[4], &LONG)
            .f32_tensor("rope_factors_short.weight", &[4], &SHORT)
            .f32("phi3.rope.scaling.attn_factor", 1.25)
    };
    let config = read_gguf(&long_gguf(both)).unwrap();
    assert_eq!((config.architecture, config.tied), (Architecture::Phi3, true));
    assert_eq!(config.windows, vec![Some(200); 4]);
    let wanted =
        Rope { magnitude: Some(1.25), ..Rope::new(5e5, RopeScaling::Factors(LONG.into())) };
    assert_eq!(config.rope, wanted);
    // 512 positions are those of the context.
    let short = gguf("phi3", |writer| {
        both(heads(writer, "phi3", 4)).u32("phi3.rope.scaling.original_context_length", 512)
    });
    assert_eq!(read_gguf(&short).unwrap().rope.scaling, RopeScaling::Factors(SHORT.into()));
    // Where the file does not say it, it follows from the contexts, as in `config.json`.
    let unsaid = long_gguf(|writer| {
        writer.f32_tensor("rope_factors_long.weight", &[4], &LONG).f32_tensor(
            "rope_factors_short.weight",
            &[4],
            &SHORT,
        )
    });
    let magnitude = read_gguf(&unsaid).unwrap().rope.magnitude.unwrap();
    assert!((magnitude - (1.0 + 4.0_f64.ln() / 128.0_f64.ln()).sqrt()).abs() < 1e-12);
    // Phi 4: no divisors, and a window of zero, which is none.
    let plain = gguf("phi3", |writer| {
        heads(writer, "phi3", 4)
            .u32("phi3.attention.sliding_window", 0)
            .u32("phi3.rope.scaling.original_context_length", 512)
            .u32("phi3.rope.dimension_count", 6)
    });
    let config = read_gguf(&plain).unwrap();
    assert_eq!(config.windows, vec![None; 4]);
    assert_eq!(config.rope, Rope { width: Some(6), ..Rope::new(5e5, NONE) });
}

#[test]
fn bad_gguf_files_of_phi3_are_refused_by_key() {
    #[track_caller]
    fn check(writer: &Writer, wanted: &[&str]) {
        let error = read_gguf(writer).expect_err("bad metadata were read").to_string();
        for part in wanted {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
    }
    let no_original = gguf("phi3", |writer| {
        heads(writer, "phi3", 4).f32_tensor("rope_factors_long.weight", &[4], &LONG)
    });
    check(&no_original, &["phi3.rope.scaling.original_context_length` is missing"]);
    let short_alone = |writer: Writer| writer.f32_tensor("rope_factors_short.weight", &[4], &SHORT);
    check(&long_gguf(short_alone), &["`rope_factors_long.weight` is missing"]);
    let of_another =
        |writer: Writer| writer.f32_tensor("rope_factors_long.weight", &[3], &[1.0; 3]);
    check(&long_gguf(of_another), &["`rope_factors_long.weight`", "F32 [4]", "[3]"]);
    let zero = |writer: Writer| writer.f32_tensor("rope_factors_long.weight", &[4], &[0.0; 4]);
    check(&long_gguf(zero), &["`rope factors`", "above 0"]);
    let grown = |writer: Writer| {
        writer
            .f32_tensor("rope_factors_long.weight", &[4], &LONG)
            .f32("phi3.rope.scaling.attn_factor", f32::NAN)
    };
    check(&long_gguf(grown), &["`rope magnitude`", "NaN"]);
    for (count, wanted) in [(10, "at most the head size 8"), (7, "an even number"), (0, "2 to 8")] {
        let turned = |writer: Writer| writer.u32("phi3.rope.dimension_count", count);
        check(&long_gguf(turned), &[wanted]);
    }
}
