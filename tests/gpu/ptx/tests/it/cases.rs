//! Random shapes, views and values, and kernels that are run on them in turn and in drawn orders.

use half::{bf16, f16};
use proptest::{
    prelude::{Just, Strategy, prop},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sluicegate_ptx::{Launch, Module, Order};

use crate::support::{Arg, Device, Sizes, Value, params};

/// A view of a tensor: along which axes, in steps of how many elements.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) dims: Vec<u64>,
    pub(crate) strides: Vec<u64>,
}

impl View {
    /// All elements of a tensor, its axes in another order.
    pub(crate) fn any(num_axes: usize, most: u64) -> impl Strategy<Value = Self> {
        let dims = prop::collection::vec(1..=most, 1..=num_axes);
        let orders = dims.prop_flat_map(|dims| {
            let axes: Vec<usize> = (0..dims.len()).collect();
            (Just(dims), Just(axes).prop_shuffle())
        });
        orders.prop_map(|(dims, axes)| {
            let stride = |axis: &usize| dims[axis + 1..].iter().product();
            let strides = axes.iter().map(stride).collect();
            Self { dims: axes.iter().map(|axis| dims[*axis]).collect(), strides }
        })
    }

    /// Another view of the same shape, of as many elements.
    pub(crate) fn contiguous(&self) -> Self {
        let strides = (1..=self.dims.len()).map(|axis| self.dims[axis..].iter().product());
        Self { dims: self.dims.clone(), strides: strides.collect() }
    }

    /// Of the same shape, where all rows of the first axis are one.
    pub(crate) fn repeated(&self) -> Self {
        let mut view = self.contiguous();
        view.strides[0] = 0;
        view
    }

    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product::<u64>() as usize
    }

    /// Where an element lies.
    pub(crate) fn place(&self, element: usize) -> usize {
        let mut left = element as u64;
        let axes = self.dims.iter().zip(&self.strides).rev();
        let steps = axes.map(|(dim, stride)| {
            let along = left % dim;
            left /= dim;
            along * stride
        });
        steps.sum::<u64>() as usize
    }

    pub(crate) fn elements<T: Copy>(&self, values: &[T]) -> Vec<T> {
        (0..self.len()).map(|element| values[self.place(element)]).collect()
    }
}

/// A kernel that candle brings, and how it launches it.
pub(crate) struct Run<'t> {
    text: &'t str,
    pub(crate) name: &'t str,
    pub(crate) sizes: Sizes,
}

impl<'t> Run<'t> {
    /// With a thread for each of so many elements.
    pub(crate) fn of_elements(text: &'t str, name: &'t str, count: usize) -> Self {
        Self::in_blocks(text, name, (count.div_ceil(64), 64))
    }

    pub(crate) fn in_blocks(
        text: &'t str,
        name: &'t str,
        (blocks, threads): (usize, usize),
    ) -> Self {
        let (grid_size, block_size) = ([blocks as u32, 1, 1], [threads as u32, 1, 1]);
        Self { text, name, sizes: Sizes { grid_size, block_size, shared_bytes: 0 } }
    }

    /// Launches it in turn and in an order that is drawn, and returns what it left there.
    #[track_caller]
    pub(crate) fn results<T: Value>(
        &self,
        args: &[Arg],
        device: &Device,
        out: (u64, usize),
    ) -> Vec<T> {
        let module = Module::parse(self.text).unwrap();
        let kernel = module.kernel(self.name).unwrap();
        let params = params(&kernel, args);
        let Sizes { grid_size, block_size, shared_bytes } = self.sizes;
        let launch = Launch { grid_size, block_size, shared_bytes, params: &params };
        let mut in_turn = device.clone();
        kernel.launch(&launch, &mut in_turn).unwrap();
        let results = in_turn.values::<T>(out.0, out.1);
        let bytes = |values: &[T]| values.iter().flat_map(|it| it.bytes()).collect::<Vec<u8>>();
        // Another order for each size.
        for order in [Order::Shuffled(out.0), Order::Mixed(out.0)] {
            let mut drawn = device.clone();
            kernel.launch_in(order, &launch, &mut drawn).unwrap();
            assert_eq!(bytes(&results), bytes(&drawn.values::<T>(out.0, out.1)), "{}", self.name);
        }
        results
    }
}

/// Runs a property on a few cases, always the same.
pub(crate) fn for_any<S: Strategy>(strategy: S, property: impl Fn(S::Value)) {
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let property = |case| {
        property(case);
        Ok(())
    };
    TestRunner::new_with_rng(config, random).run(&strategy, property).unwrap();
}

/// Eighths, of which sums are exact.
pub(crate) fn eighths(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-64_i8..64).prop_map(|it| f32::from(it) / 8.0), count)
}

pub(crate) fn f16s(values: &[f32]) -> Vec<u16> {
    values.iter().map(|it| f16::from_f32(*it).to_bits()).collect()
}

pub(crate) fn bf16s(values: &[f32]) -> Vec<u16> {
    values.iter().map(|it| bf16::from_f32(*it).to_bits()).collect()
}
