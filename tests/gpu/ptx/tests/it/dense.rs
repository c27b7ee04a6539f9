//! Kernels of candle's that choose and place elements, against the host.

use proptest::prelude::{Just, Strategy, any, prop};

use crate::{
    candle::module,
    cases::{Run, View, eighths, for_any},
    support::{
        Arg::{self, U64},
        Device,
    },
};

#[test]
fn elements_are_chosen_from_any_views() {
    let Some(text) = module("ternary") else { return };
    let cases = View::any(3, 7).prop_flat_map(|view| {
        let count = view.len();
        let ids = prop::collection::vec(0_u8..2, count);
        (Just(view), ids, eighths(count), eighths(count), any::<bool>())
    });
    for_any(cases, |(view, ids, on, off, is_contiguous)| {
        let count = view.len();
        let others = if is_contiguous { view.contiguous() } else { view.repeated() };
        let views = [&view, &others, &view];
        let info: Vec<u64> =
            view.dims.iter().chain(views.iter().flat_map(|it| &it.strides)).copied().collect();
        let is_so: Vec<bool> = view.elements(&ids).iter().map(|id| *id != 0).collect();
        let pairs = others.elements(&on).into_iter().zip(view.elements(&off));
        let want: Vec<f32> = is_so
            .iter()
            .zip(pairs)
            .map(|(is_so, (on, off))| if *is_so { on } else { off })
            .collect();
        let mut device = Device::default();
        let [info, on, off] = [device.place(&info), device.place(&on), device.place(&off)];
        let out = device.place(&vec![9_f32; count]);
        let wide: Vec<i64> = ids.iter().map(|id| i64::from(*id) << 40).collect();
        let words: Vec<u32> = ids.iter().map(|id| u32::from(*id) << 31).collect();
        for (name, ids) in [
            ("where_u8_f32", device.place(&ids)),
            ("where_u32_f32", device.place(&words)),
            ("where_i64_f32", device.place(&wide)),
        ] {
            let args = [
                U64(count as u64),
                U64(view.dims.len() as u64),
                U64(info),
                U64(ids),
                U64(on),
                U64(off),
                U64(out),
            ];
            let run = Run::of_elements(&text, name, count);
            assert_eq!(run.results::<f32>(&args, &device, (out, count)), want, "{name} {view:?}");
        }
    });
}

/// An operation on rows along one axis, by their numbers, of which some may be of none.
#[derive(Debug, Clone)]
struct Along {
    left: usize,
    right: usize,
    num_rows: usize,
    /// For each place before and behind the axis.
    ids: Vec<i64>,
    values: Vec<f32>,
}

impl Along {
    fn any() -> impl Strategy<Value = Self> {
        let sizes = (1_usize..5, 1_usize..8, 1_usize..6, 1_usize..6);
        sizes.prop_flat_map(|(left, right, num_rows, num_ids)| {
            let id = row_or_none(num_rows as i64);
            let ids = prop::collection::vec(id, left * num_ids * right);
            let values = eighths(left * num_rows.max(num_ids) * right);
            (ids, values).prop_map(move |(ids, values)| Self { left, right, num_rows, ids, values })
        })
    }

    fn num_ids(&self) -> usize {
        self.ids.len() / self.left / self.right
    }

    /// An element of an axis with so many rows.
    fn at(&self, rows: usize, (left, row, right): (usize, usize, usize)) -> usize {
        (left * rows + row) * self.right + right
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (num_ids, right) = (self.num_ids(), self.right);
        (0..self.left * num_ids * right)
            .map(move |it| (it / right / num_ids, it / right % num_ids, it % right))
    }
}

/// The number of a row, or that of none.
fn row_or_none(num_rows: i64) -> impl Strategy<Value = i64> {
    (0..num_rows + 1).prop_map(move |id| if id == num_rows { i64::MAX } else { id })
}

fn narrow(ids: &[i64]) -> Vec<u32> {
    ids.iter().map(|id| u32::try_from(*id).unwrap_or(u32::MAX)).collect()
}

#[test]
fn elements_are_gathered_along_any_axis() {
    let Some(text) = module("indexing") else { return };
    for_any(Along::any(), |along| {
        let Along { left, right, num_rows, ids, values } = &along;
        let want: Vec<f32> = along
            .places()
            .zip(ids)
            .map(|((left, _, right), id)| match id {
                &i64::MAX => 0.0,
                id => values[along.at(*num_rows, (left, *id as usize, right))],
            })
            .collect();
        let mut device = Device::default();
        let (count, input) = (ids.len(), device.place(values));
        let out = device.place(&vec![9_f32; count]);
        let sizes = [*left, *num_rows, along.num_ids(), *right].map(|it| U64(it as u64));
        for (name, ids) in
            [("gather_i64_f32", device.place(ids)), ("gather_u32_f32", device.place(&narrow(ids)))]
        {
            let args: Vec<Arg> =
                [count as u64, ids, input, out].map(U64).into_iter().chain(sizes).collect();
            let run = Run::of_elements(&text, name, count);
            assert_eq!(run.results::<f32>(&args, &device, (out, count)), want, "{name} {along:?}");
        }
    });
}

#[test]
fn elements_are_scattered_and_added_along_any_axis() {
    let Some(text) = module("indexing") else { return };
    for_any(Along::any(), |along| {
        let Along { left, right, num_rows, ids, values } = &along;
        let (num_ids, count) = (along.num_ids(), left * num_rows * right);
        let mut device = Device::default();
        let (input, out) = (device.place(values), device.place(&vec![0.5_f32; count]));
        let [wide, narrow] = [device.place(ids), device.place(&narrow(ids))];
        let sizes = [*left, num_ids, *num_rows, *right].map(|it| U64(it as u64));
        let added = |id: &dyn Fn(usize, usize) -> i64, adds: bool| {
            let mut want = vec![0.5; count];
            for (index, (left, row, right)) in along.places().enumerate() {
                let id = id(index, row);
                if id != i64::MAX {
                    let target = &mut want[along.at(*num_rows, (left, id as usize, right))];
                    let value = values[along.at(num_ids, (left, row, right))];
                    *target = if adds { *target + value } else { value };
                }
            }
            want
        };
        let of_all = |index: usize, _: usize| ids[index];
        let of_row = |_: usize, row: usize| ids[row];
        for (name, ids, want) in [
            ("sa_i64_f32", wide, added(&of_all, true)),
            ("sa_u32_f32", narrow, added(&of_all, true)),
            ("s_i64_f32", wide, added(&of_all, false)),
            ("ia_u32_f32", narrow, added(&of_row, true)),
        ] {
            let mut args = vec![U64(ids)];
            args.extend((name.starts_with("ia")).then_some(U64(num_ids as u64)));
            args.extend([U64(input), U64(out)]);
            args.extend(sizes);
            let run = Run::of_elements(&text, name, left * right);
            assert_eq!(run.results::<f32>(&args, &device, (out, count)), want, "{name} {along:?}");
        }
    });
}
