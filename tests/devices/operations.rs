//! Each operation of candle that the model asks of a device which is no CPU, against the same on the
//! CPU: over drawn shapes, and operands that are views.

use candle_core::{D, DType, Device, Result, Tensor};
use sluicegate_tests::draws::Draws;

use crate::{
    operands::{Operand, values},
    target::Target,
};

/// How often each operation is tried.
const ROUNDS: u64 = 12;

type Operation = fn(&[Tensor]) -> Result<Tensor>;

/// Those whose operands are alike: how many, and how far off each value may be by its own size.
const ALIKE: [(&str, usize, f64, Operation); 17] = [
    ("contiguous", 1, 0.0, |of| of[0].contiguous()),
    ("copy", 1, 0.0, |of| of[0].copy()),
    ("affine", 1, 1e-6, |of| of[0].affine(2.5, -1.25)),
    ("to negative infinity", 1, 0.0, |of| of[0].zeros_like()?.affine(0.0, f64::NEG_INFINITY)),
    ("silu", 1, 1e-5, |of| of[0].silu()),
    ("gelu", 1, 1e-4, |of| of[0].gelu()),
    ("exp", 1, 1e-5, |of| of[0].exp()),
    ("tanh", 1, 1e-5, |of| of[0].tanh()),
    ("cos", 1, 1e-5, |of| of[0].cos()),
    ("sin", 1, 1e-5, |of| of[0].sin()),
    ("add", 2, 1e-6, |of| of[0].add(&of[1])),
    ("mul", 2, 1e-6, |of| of[0].mul(&of[1])),
    ("less or equal", 2, 0.0, |of| of[0].le(&of[1])),
    ("greater", 2, 0.0, |of| of[0].gt(&of[1])),
    ("where", 3, 0.0, |of| of[0].gt(&of[1])?.where_cond(&of[2], &of[0])),
    ("either", 3, 0.0, |of| of[0].gt(&of[1])?.maximum(&of[1].le(&of[2])?)),
    ("cat", 3, 0.0, |of| Tensor::cat(of, D::Minus1)),
];

/// All that follows.
pub(crate) const ALL: [fn(&Target); 6] =
    [of_elements, of_types, of_repetitions, of_indices, of_rows, of_products];

fn of_elements(target: &Target) {
    for device in target.handles() {
        for (name, num_operands, bound, operation) in ALIKE {
            for round in 0..ROUNDS {
                let mut draws = Draws::new(round);
                let shape = shape(&mut draws);
                let operands: Vec<Operand> = (0..num_operands)
                    .map(|_| Operand::floats(&mut draws, &shape, DType::F32, &device).unwrap())
                    .collect();
                check(&format!("{name} of {shape:?}"), bound, operands, operation);
            }
        }
    }
}

/// Numbers of other types, and from one to another.
fn of_types(target: &Target) {
    use DType::{BF16, F16, F32, U8, U32};
    for device in target.handles() {
        for round in 0..ROUNDS {
            let mut draws = Draws::new(round);
            let shape = shape(&mut draws);
            for (from, to) in [(F32, F16), (F32, BF16), (F16, F32), (BF16, F32), (F32, F32)] {
                let operand = Operand::floats(&mut draws, &shape, from, &device).unwrap();
                let cast = |of: &[Tensor]| of[0].to_dtype(to);
                check(&format!("{from:?} {shape:?} as {to:?}"), 0.0, vec![operand], cast);
            }
            let operand = Operand::indices(&mut draws, &shape, 200, &device).unwrap();
            for to in [F32, U32, U8] {
                let cast = |of: &[Tensor]| of[0].to_dtype(to);
                check(&format!("u32 {shape:?} as {to:?}"), 0.0, vec![operand.clone()], cast);
            }
            check(&format!("{shape:?} + 7"), 0.0, vec![operand], |of| &of[0] + 7.0);
        }
        let positions = Tensor::arange(3_u32, 303, &device).unwrap();
        let wanted = Tensor::arange(3_u32, 303, &Device::Cpu).unwrap();
        assert_eq!(values(&positions).unwrap(), values(&wanted).unwrap());
    }
}

/// Operands of which one is repeated along the others.
fn of_repetitions(target: &Target) {
    let each = |draws: &mut Draws, device: &Device| {
        let [rows, width] = [1 + draws.below(9), 1 + draws.below(70)];
        let operands = [[rows, width], [1, width], [rows, 1]]
            .map(|shape| Operand::floats(draws, &shape, DType::F32, device).unwrap());
        let operands = || operands.to_vec();
        check("added row", 1e-6, operands(), |of| of[0].broadcast_add(&of[1]));
        check("row by column", 1e-6, operands(), |of| of[1].broadcast_mul(&of[2]));
        check("row over column", 0.0, operands(), |of| of[1].broadcast_gt(&of[2]));
        check("row up to column", 0.0, operands(), |of| of[1].broadcast_le(&of[2]));
        check("row as matrix", 0.0, operands(), |of| {
            of[1].broadcast_as(of[0].shape())?.contiguous()
        });
        check("heads that share keys", 0.0, operands(), |of| {
            let (rows, width) = of[0].dims2()?;
            let shared = of[0].unsqueeze(1)?.broadcast_as((rows, 3, width))?;
            shared.contiguous()?.reshape((3 * rows, width))
        });
    };
    rounds(target, each);
}

/// Rows taken from a table, and written into one, by index.
fn of_indices(target: &Target) {
    let each = |draws: &mut Draws, device: &Device| {
        let [slots, width, count] = [2 + draws.below(60), 1 + draws.below(70), 1 + draws.below(20)];
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::U32] {
            let table = match dtype {
                DType::U32 => Operand::indices(draws, &[slots, width], 1000, device),
                _ => Operand::floats(draws, &[slots, width], dtype, device),
            };
            let indices = Operand::indices(draws, &[count], slots, device).unwrap();
            let operands = [table.unwrap(), indices].map(|it| it.contiguous().unwrap()).to_vec();
            check("index_select", 0.0, operands, |of| of[0].index_select(&of[1], 0));
        }
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            // Each slot at most once: which of two would win is not said.
            let written = slots.min(count);
            let order = draws.permutation(slots);
            let order = order[..written].iter().map(|slot| u32::try_from(*slot).unwrap());
            let pages = Operand::floats(draws, &[slots, width], dtype, device).unwrap();
            let new = Operand::floats(draws, &[written, width], dtype, device).unwrap();
            let index = Operand::listed(order.collect(), device).unwrap();
            let operands = vec![pages.contiguous().unwrap(), new.contiguous().unwrap(), index];
            check("scatter_set", 0.0, operands, |of| {
                let index = of[2].unsqueeze(1)?.broadcast_as(of[1].shape())?.contiguous()?;
                let pages = of[0].copy()?;
                pages.scatter_set(&index, &of[1], 0)?;
                Ok(pages)
            });
        }
    };
    rounds(target, each);
}

/// Sums over rows, and what is made of pairs of a row's values.
fn of_rows(target: &Target) {
    let each = |draws: &mut Draws, device: &Device| {
        let [rows, half] = [1 + draws.below(9), 1 + draws.below(600)];
        let floats = |draws: &mut Draws, shape: &[usize]| {
            Operand::floats(draws, shape, DType::F32, device).unwrap().contiguous().unwrap()
        };
        let matrix = vec![floats(draws, &[rows, 2 * half])];
        check("softmax", 1e-5, matrix, |of| candle_nn::ops::softmax(&of[0], D::Minus1));
        let normed = vec![floats(draws, &[rows, 2 * half]), floats(draws, &[2 * half])];
        check("rms_norm", 1e-4, normed, |of| candle_nn::ops::rms_norm(&of[0], &of[1], 1e-5));
        let [heads, half] = [1 + draws.below(4), 1 + draws.below(40)];
        let heads = floats(draws, &[1, rows, heads, 2 * half]);
        let turned = vec![heads, floats(draws, &[rows, half]), floats(draws, &[rows, half])];
        check("rope_thd", 1e-4, turned, |of| {
            candle_nn::rotary_emb::rope_thd(&of[0], &of[1], &of[2])
        });
    };
    rounds(target, each);
}

/// Products of matrices, one and many at once, the second transposed or not.
fn of_products(target: &Target) {
    let each = |draws: &mut Draws, device: &Device| {
        let [batch, rows, inner, columns] =
            [1 + draws.below(4), 1 + draws.below(20), 1 + draws.below(90), 1 + draws.below(30)];
        let floats = |draws: &mut Draws, shape: &[usize]| {
            let operand = Operand::floats(draws, shape, DType::F32, device);
            operand.unwrap().contiguous().unwrap()
        };
        let many = vec![
            floats(draws, &[batch, rows, inner]),
            floats(draws, &[batch, columns, inner]),
            floats(draws, &[batch, inner, columns]),
        ];
        let transposed: Operation = |of| of[0].matmul(&of[1].t()?);
        let plain: Operation = |of| of[0].matmul(&of[2]);
        for operation in [transposed, plain] {
            check("matmul", 1e-4, many.clone(), operation);
        }
        let one = vec![floats(draws, &[rows, inner]), floats(draws, &[columns, inner])];
        check("matmul", 1e-4, one, transposed);
    };
    rounds(target, each);
}

pub(crate) fn rounds(target: &Target, each: impl Fn(&mut Draws, &Device)) {
    for device in target.handles() {
        for round in 0..ROUNDS {
            each(&mut Draws::new(round), &device);
        }
    }
}

/// One to four dimensions; now and then one is longer than a block of threads.
fn shape(draws: &mut Draws) -> Vec<usize> {
    let mut shape: Vec<usize> = (0..=draws.below(4)).map(|_| 1 + draws.below(7)).collect();
    if draws.below(3) == 0 {
        let dim = draws.below(shape.len());
        shape[dim] = 1 + draws.below(1200) / shape.len().pow(2);
    }
    shape
}

/// The device gives what the CPU gives for the same values. `bound` is a share of the largest.
#[track_caller]
fn check(
    name: &str,
    bound: f64,
    operands: Vec<Operand>,
    operation: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let (whole, views): (Vec<_>, Vec<_>) =
        operands.into_iter().map(|operand| (operand.whole, operand.view)).unzip();
    let apply = |of: &[Tensor]| operation(of).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    check_near(name, bound, &apply(&whole), &apply(&views));
}

/// `found` is `wanted`. `bound` is a share of the largest value.
#[track_caller]
pub(crate) fn check_near(name: &str, bound: f64, wanted: &Tensor, found: &Tensor) {
    assert_eq!((wanted.shape(), wanted.dtype()), (found.shape(), found.dtype()), "{name}");
    let (wanted, found) = (values(wanted).unwrap(), values(found).unwrap());
    let is_finite = |value: &&f64| value.is_finite();
    let largest = wanted.iter().filter(is_finite).fold(0.0, |most: f64, it| most.max(it.abs()));
    for (index, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        let is_equal = wanted.to_bits() == found.to_bits();
        let is_near = is_equal || (wanted - found).abs() <= bound * largest;
        assert!(is_near, "{name}, value {index}: found {found}, wanted {wanted}");
    }
}
