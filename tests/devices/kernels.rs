//! What a layer does between its products: our kernels on a GPU against our loops on the CPU, over
//! drawn shapes.

use candle_core::{DType, Device, Tensor};
use sluicegate_model::{
    attention::{Heads, NewHeads},
    home::Executor,
    kv_pages::LayerPages,
    mlp::Gated,
    norm::RmsNorm,
    rope::Rotary,
    step::{PageCopies, RowInput, Step, StepBuilder, StepTables, TableInput},
    threads::Threads,
};
use sluicegate_spec::{
    config::{Rope, RopeScaling},
    family::Activation,
    kv::PAGE_TOKENS,
    units::Unit,
};
use sluicegate_tests::draws::Draws;

use crate::{
    operands::Operand,
    operations::{check_near, rounds},
    target::Target,
};

/// All that follows.
pub(crate) const ALL: [fn(&Target); 4] = [of_norms, of_gates, of_attention, of_copies];

const EPS: f64 = 1e-5;
/// How far off sums in another order may be, as a share of the largest number, of numbers that may be
/// rounded the other way.
fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2e-3,
        DType::BF16 => 1e-2,
        _ => 2e-5,
    }
}

/// Pages of a cache.
const NUM_PAGES: usize = 96;

/// The CPU and the device under test.
fn executors(device: &Device) -> [Executor; 2] {
    [&Device::Cpu, device].map(|device| Executor::new(Threads::inline(), device).unwrap())
}

fn floats(draws: &mut Draws, shape: &[usize], device: &Device) -> [Tensor; 2] {
    let operand = Operand::floats(draws, shape, DType::F32, device).unwrap();
    let Operand { whole, view } = operand.contiguous().unwrap();
    [whole, view]
}

/// Rows in one group and in several, with and without a sum before.
fn of_norms(target: &Target) {
    rounds(target, |draws, device| {
        let [rows, width, groups] = [1 + draws.below(9), 1 + draws.below(700), 1 + draws.below(3)];
        let dtype = [DType::F32, DType::F16, DType::BF16][draws.below(3)];
        let [inputs, deltas] = [(); 2].map(|()| floats(draws, &[rows, groups * width], device));
        let weights = floats(draws, &[width], device);
        let executors = executors(device).into_iter().zip(weights);
        let [own, found] = <[_; 2]>::try_from(
            executors
                .zip(inputs.into_iter().zip(deltas))
                .map(|((executor, weight), (input, delta))| {
                    let norm = RmsNorm::new(weight, EPS, executor);
                    let to = |tensor: Tensor| tensor.to_dtype(dtype).unwrap();
                    let normed = to(norm.forward(&input, dtype).unwrap());
                    let (sum, normed_sum) = norm.forward_sum(input, delta, dtype).unwrap();
                    [normed, sum, to(normed_sum)]
                })
                .collect::<Vec<_>>(),
        )
        .unwrap();
        for (own, found) in own.iter().zip(&found) {
            check_near(&format!("norms of [{rows}, {groups} * {width}]"), bound(dtype), own, found);
        }
    });
}

fn of_gates(target: &Target) {
    rounds(target, |draws, device| {
        let [rows, width] = [1 + draws.below(20), 1 + draws.below(300)];
        let dtype = [DType::F32, DType::F16, DType::BF16][draws.below(3)];
        let inputs = floats(draws, &[rows, 2 * width], device);
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let executors = executors(device).into_iter().zip(&inputs);
            let outputs: Vec<Tensor> = executors
                .map(|(executor, both)| {
                    Gated { activation, executor }.forward(both, dtype).unwrap()
                })
                .collect();
            let name = format!("{activation:?} of [{rows}, 2 * {width}]");
            let [own, found] = [0, 1].map(|side| outputs[side].to_dtype(dtype).unwrap());
            check_near(&name, bound(dtype), &own, &found);
        }
    });
}

/// One row of a step: its new tokens, those before, and its pages.
struct Row {
    past: usize,
    num: usize,
    first_position: usize,
    pages: Vec<u32>,
}

/// A layer's heads, and a step's rows.
struct Case {
    heads: Heads,
    rows: Vec<Row>,
    is_normed: bool,
    /// How many numbers of a head are rotated.
    rotated: usize,
    kv_type: DType,
}

impl Case {
    fn drawn(draws: &mut Draws) -> Self {
        let num_kv_heads = 1 + draws.below(3);
        // Now and then two numbers of a head for each thread.
        let most = if draws.below(4) == 0 { 128 } else { 40 };
        let head_dim = 2 * (1 + draws.below(most));
        let heads = Heads {
            num_heads: num_kv_heads * (1 + draws.below(5)),
            num_kv_heads,
            head_dim,
            scale: 0.3,
            cap: (draws.below(3) == 0).then_some(0.7),
            window: (draws.below(2) == 0).then(|| 1 + draws.below(60)),
        };
        let mut free = draws.permutation(NUM_PAGES);
        let num_rows = 1 + draws.below(3);
        let rows = (0..num_rows).map(|_| Row::drawn(draws, heads.window, &mut free)).collect();
        let kv_type = [DType::F32, DType::F16, DType::BF16][draws.below(3)];
        let rotated = 2 * (1 + draws.below(head_dim / 2));
        Self { rows, is_normed: draws.below(2) == 0, rotated, kv_type, heads }
    }

    fn step(&self, device: &Device) -> Step {
        let mut step = StepBuilder::new(1);
        for Row { past, num, first_position, pages } in &self.rows {
            let row = RowInput { tokens: &vec![0; *num], past: *past, logits: 0..0 };
            step.push(&row, [TableInput { first_position: *first_position, pages }]);
        }
        apart(step.build(|words| Ok(Operand::listed(words, device)?.view)).unwrap())
    }

    /// `[slots, 1]`, u32: one for each slot that some token sees.
    fn seen(&self, device: &Device) -> Tensor {
        let mut seen = vec![0; NUM_PAGES * PAGE_TOKENS];
        for Row { past, num, first_position, pages } in &self.rows {
            let window = self.heads.window.unwrap_or(usize::MAX);
            for position in (past + 1).saturating_sub(window)..past + num {
                let index = position - first_position;
                let page = pages[index / PAGE_TOKENS] as usize;
                seen[page * PAGE_TOKENS + index % PAGE_TOKENS] = 1;
            }
        }
        Operand::listed(seen, device).unwrap().view.unsqueeze(1).unwrap()
    }

    fn name(&self) -> String {
        let Self { heads, rows, is_normed, rotated, kv_type } = self;
        let rows: Vec<_> = rows.iter().map(|row| (row.past, row.num)).collect();
        format!("{heads:?}, {rows:?}, normed {is_normed}, {rotated} rotated, {kv_type:?}")
    }
}

/// The same with a memory for each tensor, beyond which a kernel finds an end, and not the next one.
fn apart(step: Step) -> Step {
    let apart = |tensor: Tensor| tensor.copy().unwrap();
    let tables = step.tables.into_iter().map(|tables| StepTables {
        write_slots: apart(tables.write_slots),
        first_pages: apart(tables.first_pages),
        first_positions: apart(tables.first_positions),
        pages: apart(tables.pages),
    });
    Step {
        tokens: apart(step.tokens),
        positions: apart(step.positions),
        tiles: apart(step.tiles),
        tables: tables.collect(),
        ..step
    }
}

/// What is not seen is no number.
fn poisoned(cache: &Tensor, seen: &Tensor) -> Tensor {
    let seen = seen.broadcast_as(cache.shape()).unwrap().contiguous().unwrap();
    let poison = cache.zeros_like().unwrap().affine(0.0, f64::NAN).unwrap();
    seen.where_cond(cache, &poison).unwrap()
}

impl Row {
    fn drawn(draws: &mut Draws, window: Option<usize>, free: &mut Vec<usize>) -> Self {
        // A token after a long past, or many after a short one.
        let (past, num) = match draws.below(2) {
            0 => (draws.below(400), 1),
            _ => (draws.below(50), 1 + draws.below(30)),
        };
        let first_seen = window.map_or(0, |window| (past + 1).saturating_sub(window));
        let first_position = first_seen / PAGE_TOKENS * PAGE_TOKENS;
        let num_pages = (past + num - first_position).div_ceil(PAGE_TOKENS);
        let pages = free.split_off(free.len() - num_pages);
        let pages = pages.into_iter().map(|page| u32::try_from(page).unwrap()).collect();
        Self { past, num, first_position, pages }
    }
}

/// New heads go to their places, and are attended from and to.
fn of_attention(target: &Target) {
    rounds(target, |draws, device| {
        let case = Case::drawn(draws);
        let Heads { num_heads, num_kv_heads, head_dim, .. } = case.heads;
        let tokens = case.rows.iter().map(|row| row.num).sum();
        let qkv = floats(draws, &[tokens, (num_heads + 2 * num_kv_heads) * head_dim], device);
        let norms = [(); 2].map(|()| floats(draws, &[head_dim], device));
        let caches = [(); 2]
            .map(|()| floats(draws, &[NUM_PAGES * PAGE_TOKENS, num_kv_heads * head_dim], device));
        let outputs: Vec<[Tensor; 5]> = executors(device)
            .into_iter()
            .enumerate()
            .map(|(side, executor)| {
                let qkv = &qkv[side];
                let device = qkv.device();
                let own = |tensors: &[Tensor; 2]| tensors[side].to_dtype(case.kv_type).unwrap();
                let [keys, values] = caches.each_ref().map(|cache| own(cache).copy().unwrap());
                let pages = LayerPages { unit: Unit::Layer(0), group_idx: 0, keys, values };
                let step = case.step(device);
                let rope = Rope { width: Some(case.rotated), ..Rope::new(1e4, RopeScaling::None) };
                let rotary = Rotary::new(&rope, head_dim, device, executor.clone()).unwrap();
                let [query_norm, key_norm] = norms.each_ref().map(|weights| {
                    case.is_normed
                        .then(|| RmsNorm::new(weights[side].clone(), EPS, executor.clone()))
                });
                let new = NewHeads {
                    heads: &case.heads,
                    query_norm: query_norm.as_ref(),
                    key_norm: key_norm.as_ref(),
                    angles: &rotary.angles(&step.positions).unwrap(),
                    write_slots: &step.tables[0].write_slots,
                };
                let queries = new.place(qkv, &pages, &executor).unwrap();
                let attend = |pages: &LayerPages| {
                    case.heads.attend(&queries, &step, pages, &executor).unwrap()
                };
                let output = attend(&pages);
                let LayerPages { keys, values, .. } = pages;
                let seen = case.seen(device);
                let [of_keys, of_values] = [&keys, &values].map(|cache| poisoned(cache, &seen));
                let pages = LayerPages { keys: of_keys, values: of_values, ..pages };
                let beside_poison = attend(&pages);
                [queries, keys, values, output, beside_poison]
            })
            .collect();
        check_near(&case.name(), 0.0, &outputs[0][3], &outputs[0][4]);
        let names = ["queries", "keys", "values", "output", "output beside what is not seen"];
        for (name, (own, found)) in names.iter().zip(outputs[0].iter().zip(&outputs[1])) {
            check_near(&format!("{name} of {}", case.name()), bound(case.kv_type), own, found);
        }
    });
}

/// Rows continue others: pages are copied, of which one may be another's target.
fn of_copies(target: &Target) {
    rounds(target, |draws, device| {
        let [num_rows, width] = [1 + draws.below(6), 2 * (1 + draws.below(80))];
        let kv_type = [DType::F32, DType::F16, DType::BF16][draws.below(3)];
        let caches = [(); 2].map(|()| floats(draws, &[NUM_PAGES * PAGE_TOKENS, width], device));
        let mut few = draws.permutation(2 * num_rows);
        let targets = few.split_off(num_rows);
        let parents: Vec<usize> = (0..num_rows).map(|_| draws.below(num_rows)).collect();
        let tails: Vec<usize> = (0..num_rows).map(|_| draws.below(2 * num_rows)).collect();
        let copied = draws.permutation(num_rows).split_off(draws.below(num_rows));
        let targets = &targets[..copied.len()];
        let caches: Vec<[Tensor; 2]> = executors(device)
            .into_iter()
            .enumerate()
            .map(|(side, executor)| {
                let [keys, values] = caches
                    .each_ref()
                    .map(|cache| cache[side].to_dtype(kv_type).unwrap().copy().unwrap());
                let pages = LayerPages { unit: Unit::Layer(0), group_idx: 0, keys, values };
                let indices = |numbers: &[usize]| {
                    let numbers = numbers.iter().map(|it| u32::try_from(*it).unwrap()).collect();
                    Operand::listed(numbers, pages.keys.device()).unwrap().view
                };
                let copies = PageCopies {
                    tail_pages: indices(&tails),
                    rows: indices(&copied),
                    target_pages: indices(targets),
                };
                pages.copy_on_write(&indices(&parents), &copies, &executor).unwrap();
                [pages.keys, pages.values]
            })
            .collect();
        for (own, found) in caches[0].iter().zip(&caches[1]) {
            check_near(&format!("{copied:?} of {num_rows} pages of {width}"), 0.0, own, found);
        }
    });
}
