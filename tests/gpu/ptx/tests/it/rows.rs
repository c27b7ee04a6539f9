//! Kernels of candle's that reduce, normalise, rotate and sort rows, against the host.

use proptest::{
    prelude::{Just, Strategy, any},
    prop_oneof,
};

use crate::{
    candle::module,
    cases::{Run, View, bf16s, eighths, f16s, for_any},
    support::{
        Arg::{self, F32, U32, U64},
        Device,
    },
};

/// Threads of a warp.
const WARP: usize = 32;

/// A view, how many elements its last axes have, which are reduced, and what it is a view of.
fn reduced() -> impl Strategy<Value = (View, usize, Vec<f32>)> {
    View::any(4, 7).prop_flat_map(|view| {
        let axes = 0..view.dims.len();
        (Just(view), axes).prop_flat_map(|(view, axis)| {
            let each = view.dims[axis..].iter().product::<u64>() as usize;
            let values = eighths(view.len());
            (Just(view), Just(each), values)
        })
    })
}

#[test]
fn any_views_are_reduced() {
    let Some(text) = module("reduce") else { return };
    for_any(reduced(), |(view, each, values)| {
        let num_rows = view.len() / each;
        let info: Vec<u64> = view.dims.iter().chain(&view.strides).copied().collect();
        let elements = view.elements(&values);
        let of_rows =
            |f: &dyn Fn(&[f32]) -> f32| elements.chunks(each).map(f).collect::<Vec<f32>>();
        let sum = |row: &[f32]| row.iter().sum::<f32>();
        let most = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = |row: &[f32]| row.iter().copied().fold(f32::INFINITY, f32::min);
        let mut device = Device::default();
        let [info, f32s, f16s, bf16s] = [
            device.place(&info),
            device.place(&values),
            device.place(&f16s(&values)),
            device.place(&bf16s(&values)),
        ];
        let out = device.place(&vec![0_f32; num_rows]);
        let args = |count: usize, input: u64| {
            [count as u64, each as u64, view.dims.len() as u64, info, input, out].map(U64)
        };
        let threads = each.next_power_of_two().min(1024);
        let run = |name| Run::in_blocks(&text, name, (num_rows, threads));
        let all = |input: u64| args(view.len(), input);
        let sums = of_rows(&sum);
        let check = |run: &Run<'_>, args: &[Arg], want: &[f32]| {
            let found = run.results::<f32>(args, &device, (out, num_rows));
            assert_eq!(found, want, "{} {view:?}", run.name);
        };
        check(&run("fast_max_f32"), &all(f32s), &of_rows(&most));
        check(&run("fast_min_f32"), &all(f32s), &of_rows(&least));
        let small = Run::of_elements(&text, "fast_sum_small_f32", num_rows);
        check(&small, &args(num_rows, f32s), &sums);
        let found = run("fast_max_f16").results::<u16>(&all(f16s), &device, (out, num_rows));
        assert_eq!(found, self::f16s(&of_rows(&most)));
        // As candle launches them: sums of fewer are small ones, since lanes read each other.
        if each > WARP {
            check(&run("fast_sum_f32"), &all(f32s), &sums);
            let found = run("fast_sum_bf16").results::<u16>(&all(bf16s), &device, (out, num_rows));
            assert_eq!(found, self::bf16s(&sums), "{view:?}");
        }
    });
}

#[test]
fn the_place_of_the_most_and_of_the_least_is_found() {
    let Some(text) = module("reduce") else { return };
    let cases = (1_usize..6, 1_usize..1500, any::<u64>()).prop_flat_map(|(rows, columns, _)| {
        let order: Vec<u32> = (0..(rows * columns) as u32).collect();
        (Just((rows, columns)), Just(order).prop_shuffle())
    });
    for_any(cases, |((rows, columns), values)| {
        let floats: Vec<f32> = values.iter().map(|it| *it as f32).collect();
        let mut device = Device::default();
        let info = device.place(&[rows as u64, columns as u64, columns as u64, 1]);
        let [words, floats] = [device.place(&values), device.place(&floats)];
        let out = device.place(&vec![0_u32; rows]);
        let place = |row: &[u32], most: bool| {
            let all = row.iter().enumerate();
            let found = if most { all.max_by_key(|it| it.1) } else { all.min_by_key(|it| it.1) };
            found.map_or(0, |(place, _)| place as u32)
        };
        for (name, input, most) in [
            ("fast_argmax_f32", floats, true),
            ("fast_argmin_f32", floats, false),
            ("fast_argmax_u32", words, true),
        ] {
            let args = [(rows * columns) as u64, columns as u64, 2, info, input, out].map(U64);
            let threads = columns.next_power_of_two().min(1024);
            let run = Run::in_blocks(&text, name, (rows, threads));
            let want: Vec<u32> = values.chunks(columns).map(|row| place(row, most)).collect();
            assert_eq!(run.results::<u32>(&args, &device, (out, rows)), want, "{name} {columns}");
        }
    });
}

/// Both as near as sums in another order are.
#[track_caller]
fn check_near(found: &[f32], want: &[f64], name: &str) {
    assert_eq!(found.len(), want.len());
    for (index, (found, want)) in found.iter().zip(want).enumerate() {
        let error = (f64::from(*found) - want).abs();
        assert!(error <= 1e-4 * (1.0 + want.abs()), "{name}, {index}: {found}, wanted {want}");
    }
}

#[test]
fn rows_are_normalised_with_and_without_weights() {
    let Some(text) = module("reduce") else { return };
    // Rows of which a warp takes one, and of which a whole block does.
    let columns = prop_oneof![4 => 1_usize..200, 1 => 1024_usize..1100];
    let cases = (1_usize..4, columns, any::<[bool; 2]>()).prop_flat_map(|(rows, columns, has)| {
        (Just((columns, has)), eighths(rows * columns), eighths(columns), eighths(columns))
    });
    for_any(cases, |((columns, [has_scale, has_shift]), values, scales, shifts)| {
        let mut device = Device::default();
        let [input, scale, shift] =
            [device.place(&values), device.place(&scales), device.place(&shifts)];
        let out = device.place(&vec![0_f32; values.len()]);
        let threads = if columns < 1024 { 32 } else { 1024 };
        let args = [
            U64(input),
            U64(out),
            U64(if has_scale { scale } else { 0 }),
            U64(if has_shift { shift } else { 0 }),
            U32(columns as u32),
            U32(threads),
            F32(1e-3),
        ];
        let rows = values.len() / columns;
        let run = Run::in_blocks(&text, "layernorm_f32", (rows, threads as usize));
        let found = run.results::<f32>(&args, &device, (out, values.len()));
        let want = values.chunks(columns).flat_map(|row| {
            let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
            let mean = row.iter().sum::<f64>() / columns as f64;
            let variance = row.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / columns as f64;
            let by = 1.0 / (variance + f64::from(1e-3_f32)).sqrt();
            let (scales, shifts) = (&scales, &shifts);
            row.into_iter()
                .enumerate()
                .map(move |(column, it)| {
                    let scale = if has_scale { scales[column].into() } else { 1.0 };
                    let shift: f64 = if has_shift { shifts[column].into() } else { 0.0 };
                    (it - mean) * by * scale + shift
                })
                .collect::<Vec<f64>>()
        });
        check_near(&found, &want.collect::<Vec<f64>>(), "layernorm");
    });
}

/// The sizes of heads that are rotated: of batches, heads, positions, and numbers of a position.
#[derive(Debug, Clone, Copy)]
struct Heads {
    batches: usize,
    heads: usize,
    positions: usize,
    width: usize,
    /// Whether each batch has angles of its own.
    has_own_angles: bool,
}

#[test]
fn heads_are_rotated_in_all_layouts() {
    let Some(text) = module("reduce") else { return };
    let sizes = (1_usize..3, 1_usize..4, 1_usize..6, 1_usize..9, any::<bool>());
    let cases = sizes.prop_flat_map(|(batches, heads, positions, half, has_own_angles)| {
        let sizes = Heads { batches, heads, positions, width: 2 * half, has_own_angles };
        let angles = if has_own_angles { batches } else { 1 } * positions * half;
        (
            Just(sizes),
            eighths(batches * heads * positions * 2 * half),
            eighths(angles),
            eighths(angles),
        )
    });
    for_any(cases, |(sizes, values, cos, sin)| {
        let Heads { batches, heads, positions, width, has_own_angles } = sizes;
        let half = width / 2;
        let mut device = Device::default();
        let [input, cosines, sines] =
            [device.place(&values), device.place(&cos), device.place(&sin)];
        let out = device.place(&vec![0_f32; values.len()]);
        // What is before a position and what is behind it, of which pairs are turned.
        let rotated = |place: &dyn Fn([usize; 3]) -> usize, is_interleaved: bool| {
            let mut want = vec![0.0; values.len()];
            for at in 0..batches * heads * positions * half {
                let (pair, position) = (at % half, at / half % positions);
                let head = at / half / positions % heads;
                let batch = at / half / positions / heads;
                let start = place([batch, head, position]) * width;
                let [a, b] =
                    if is_interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + half] };
                let angle = if has_own_angles { batch * positions } else { 0 } + position;
                let (cos, sin) = (cos[angle * half + pair], sin[angle * half + pair]);
                let (x, y) = (values[start + a], values[start + b]);
                (want[start + a], want[start + b]) = (x * cos - y * sin, x * sin + y * cos);
            }
            want
        };
        let by_head =
            |[batch, head, position]: [usize; 3]| (batch * heads + head) * positions + position;
        let by_position =
            |[batch, head, position]: [usize; 3]| (batch * positions + position) * heads + head;
        let stride = if has_own_angles { heads * positions * width } else { 0 };
        let of = |it: usize| U32(it as u32);
        let tensors = [input, cosines, sines, out].map(U64);
        let (rows, all) = (of(batches * heads), of(positions * width));
        for (name, more, want) in [
            ("rope_i_f32", vec![rows, all, of(stride)], rotated(&by_head, true)),
            ("rope_f32", vec![rows, all, of(width), of(stride)], rotated(&by_head, false)),
            (
                "rope_thd_f32",
                vec![of(batches), of(positions), of(heads), of(width), of(stride)],
                rotated(&by_position, false),
            ),
        ] {
            let args: Vec<Arg> = tensors.into_iter().chain(more).collect();
            let run = Run::of_elements(&text, name, values.len() / 2);
            assert_eq!(
                run.results::<f32>(&args, &device, (out, values.len())),
                want,
                "{name} {sizes:?}"
            );
        }
    });
}

#[test]
fn rows_are_sorted() {
    let Some(text) = module("sort") else { return };
    let cases = (1_usize..4, 1_usize..300).prop_flat_map(|(rows, columns)| {
        let order: Vec<u32> = (0..(rows * columns) as u32).collect();
        (Just(columns), Just(order).prop_shuffle())
    });
    for_any(cases, |(columns, values)| {
        let floats: Vec<f32> = values.iter().map(|it| *it as f32).collect();
        let mut device = Device::default();
        let [words, floats] = [device.place(&values), device.place(&floats)];
        let out = device.place(&vec![0_u32; values.len()]);
        let padded = columns.next_power_of_two();
        for (name, input, is_rising) in [
            ("asort_asc_f32", floats, true),
            ("asort_desc_f32", floats, false),
            ("asort_asc_u32", words, true),
        ] {
            let want: Vec<u32> = values
                .chunks(columns)
                .flat_map(|row| {
                    let mut places: Vec<u32> = (0..columns as u32).collect();
                    places.sort_by_key(|place| row[*place as usize]);
                    if !is_rising {
                        places.reverse();
                    }
                    places
                })
                .collect();
            let mut run = Run::in_blocks(&text, name, (values.len() / columns, padded.min(128)));
            run.sizes.shared_bytes = 4 * padded;
            let args = [U64(input), U64(out), U32(columns as u32), U32(padded as u32)];
            assert_eq!(
                run.results::<u32>(&args, &device, (out, values.len())),
                want,
                "{name} {columns}"
            );
        }
    });
}
