//! The elements of a cache: how they are read and written in CPU memory.

use std::ops::Range;

use candle_core::{CpuStorage, DType, Layout, Result, backend::BackendStorage, bail};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use sluicegate_spec::kv::KvType;

/// Converts a type to candle's.
pub(super) fn dtype(kind: KvType) -> DType {
    match kind {
        KvType::F32 => DType::F32,
        KvType::F16 => DType::F16,
        KvType::Bf16 => DType::BF16,
    }
}

/// A contiguous tensor of keys or values, in CPU memory.
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let all = offsets(layout)?;
        match storage {
            CpuStorage::F32(values) => Ok(Self::F32(&values[all])),
            CpuStorage::F16(values) => Ok(Self::F16(&values[all])),
            CpuStorage::BF16(values) => Ok(Self::Bf16(&values[all])),
            other => bail!("pages are f32, f16 or bf16, not {:?}", other.dtype()),
        }
    }

    /// Returns the scratch length that [`Numbers::read`] needs for `num` elements.
    pub(crate) fn room(&self, num: usize) -> usize {
        match self {
            Self::F32(_) => 0,
            Self::F16(_) | Self::Bf16(_) => num,
        }
    }

    /// Returns a part as f32: in place, or converted into `room`, which must be as long.
    #[inline]
    pub(crate) fn read<'b>(&self, part: Range<usize>, room: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::F32(values) => return &values[part],
            Self::F16(values) => values[part].convert_to_f32_slice(room),
            Self::Bf16(values) => {
                // A bf16 is the upper half of an f32, so a shift suffices, which vectorises.
                for (room, value) in room.iter_mut().zip(&values[part]) {
                    *room = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
            }
        }
        room
    }
}

/// As [`Numbers`], for writing.
pub(crate) enum NumbersMut<'a> {
    F32(&'a mut [f32]),
    F16(&'a mut [f16]),
    Bf16(&'a mut [bf16]),
}

impl<'a> NumbersMut<'a> {
    pub(crate) fn new(storage: &'a mut CpuStorage, layout: &Layout) -> Result<Self> {
        let all = offsets(layout)?;
        match storage {
            CpuStorage::F32(values) => Ok(Self::F32(&mut values[all])),
            CpuStorage::F16(values) => Ok(Self::F16(&mut values[all])),
            CpuStorage::BF16(values) => Ok(Self::Bf16(&mut values[all])),
            other => bail!("pages are f32, f16 or bf16, not {:?}", other.dtype()),
        }
    }

    /// Writes `new` from index `start` on, rounded to nearest.
    #[inline]
    pub(crate) fn write(&mut self, start: usize, new: &[f32]) {
        let part = start..start + new.len();
        match self {
            Self::F32(values) => values[part].copy_from_slice(new),
            Self::F16(values) => values[part].convert_from_f32_slice(new),
            Self::Bf16(values) => values[part].convert_from_f32_slice(new),
        }
    }
}

/// Returns the range of a contiguous tensor in its storage.
fn offsets(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("pages are not contiguous: strides {:?}", layout.stride()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Shape;

    use super::*;

    #[test]
    fn what_is_written_is_read_rounded() {
        let new: Vec<f32> = (0..19_u8).map(|it| 0.1 + f32::from(it) * 1.37).collect();
        let layout = Layout::contiguous(Shape::from(40));
        for kind in KvType::ALL {
            let mut storage = match kind {
                KvType::F32 => CpuStorage::F32(vec![0.0; 40]),
                KvType::F16 => CpuStorage::F16(vec![f16::ZERO; 40]),
                KvType::Bf16 => CpuStorage::BF16(vec![bf16::ZERO; 40]),
            };
            NumbersMut::new(&mut storage, &layout).unwrap().write(13, &new);
            let numbers = Numbers::new(&storage, &layout).unwrap();
            let mut room = vec![7.0; numbers.room(21)];
            let read = numbers.read(12..33, &mut room);
            assert_eq!((read[0], read[20]), (0.0, 0.0), "{kind}: only its own part is written");
            let rounded = |value: f32| match kind {
                KvType::F32 => value,
                KvType::F16 => f16::from_f32(value).to_f32(),
                KvType::Bf16 => bf16::from_f32(value).to_f32(),
            };
            let want: Vec<f32> = new.iter().copied().map(rounded).collect();
            assert_eq!(&read[1..20], want, "{kind}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_tensors() {
        for kind in KvType::ALL {
            assert_eq!(kind.num_bytes(), dtype(kind).size_in_bytes());
        }
    }
}
